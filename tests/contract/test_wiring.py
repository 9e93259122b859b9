"""All adapters at once, and the log."""

import json
import logging
import threading

import pytest

from infra.postgres import supervisor
from infra.settings import load_settings
from infra.telemetry import start_logging, stop_logging
from infra.wiring import open_adapters, open_catalog
from tests.contract.library import add


@pytest.mark.service
def test_everything_opens_works_and_ends(tmp_path):
    settings = load_settings(home=tmp_path / "home")
    before = set(threading.enumerate())  # threads of other tests may end meanwhile
    with open_adapters(settings, preload=("tests.contract.childish",)) as adapters:
        assert add(adapters.catalog, "a.mp4")
        adapters.artifacts.save("ab" * 32, {"x": 1})
        assert adapters.sandbox.call("tests.contract.childish:counting", 1) == 1
        assert supervisor(settings.home).status()["users"] == 1
    assert not supervisor(settings.home).status()["running"]
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive(), f"{thread.name} is still running"


@pytest.mark.service
def test_a_given_database_is_not_supervised(tmp_path, database_url):
    settings = load_settings(home=tmp_path / "home", database_url=database_url)
    with open_catalog(settings) as catalog:
        assert add(catalog, "a.mp4")
    assert not (tmp_path / "home" / "postgres").exists()


def test_what_is_logged_while_a_command_runs_is_in_its_home(tmp_path, database_url):
    log = logging.getLogger("rollcall")
    with open_adapters(load_settings(home=tmp_path / "home", database_url=database_url)):
        log.info("asset ended", extra={"asset": "ab"})
    log.info("later")
    (line,) = (tmp_path / "home" / "log" / "rollcall.jsonl").read_text().splitlines()
    assert json.loads(line)["asset"] == "ab"


@pytest.mark.logs_errors
def test_log_lines_have_fields(tmp_path):
    log = start_logging(tmp_path)
    start_logging(tmp_path)
    log.info("stage done", extra={"asset": "ab", "stage": "look", "seconds": 1.5})
    try:
        raise ValueError("x")
    except ValueError:
        log.log(logging.ERROR, "stage failed", exc_info=True)
    stop_logging()
    first, second = map(json.loads, (tmp_path / "log" / "rollcall.jsonl").read_text().splitlines())
    assert (first["message"], first["level"], first["asset"], first["stage"], first["seconds"]) == ("stage done", "info", "ab", "look", 1.5)
    assert "ValueError: x" in second["error"]


def test_a_full_disk_loses_lines_of_the_log_and_nothing_else(tmp_path, capfd):
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "rollcall.jsonl").symlink_to("/dev/full")
    log = start_logging(tmp_path)
    try:
        for _ in range(3):
            log.info("stage ended")
    finally:
        stop_logging()
    assert capfd.readouterr().err == ""

"""A deployed run that hangs: its process is ended, it says why, and the library is as before."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time

import pytest

from flows.limit import limited, longest_run
from infra.settings import load_settings
from infra.wiring import open_catalog
from tests.flow.libraries import ROOT, content, processes_of
from tests.material import SHORT_FILMS, folder_of
from tests.services.standing import Standing

HANGS = """
import sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from flows.limit import limited
ThreadPoolExecutor(1).submit(time.sleep, 600)  # at whose end an interpreter waits
with limited(lambda: 0.5, lambda why: print(why)):
    threading.Event().wait()
"""
DEPLOYED = """
import sys
from flows import limit
from flows.service import server_url
from infra import orchestrate
from infra.settings import load_settings
limit.AT_LEAST_SECONDS = 3.0
settings = load_settings()
orchestrate.prepare(settings.home)
from flows.deployments import process_asset_run
with orchestrate.connected(server_url(settings), settings.home):
    process_asset_run(*sys.argv[1:])
"""


def test_the_limit_follows_the_length(tmp_path):
    settings = load_settings(home=tmp_path)
    short, hour = longest_run(settings, 0.0), longest_run(settings, 3600.0)
    assert short >= 4 * 3600
    assert hour - short > 10 * 3600
    assert hour > longest_run(load_settings(home=tmp_path, limits={"seconds_per_media_second": 1.0}), 3600.0)


def test_what_ends_in_time_is_left_alone():
    said = []
    with limited(lambda: 0.1, said.append):
        pass
    time.sleep(1.5)
    assert said == []


def test_a_process_that_hangs_is_ended_with_all_its_threads():
    began = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", HANGS], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr  # else the worker would call the run crashed
    assert "its process was ended, nothing was published" in ended.stdout
    assert time.monotonic() - began < 30


def test_it_is_ended_whatever_the_server_answers():
    told = HANGS.replace("lambda why: print(why)", "lambda why: {}['status']")
    ended = subprocess.run([sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1, ended.stderr  # so that the worker calls it crashed


@pytest.mark.service
@pytest.mark.slow
def test_a_deployed_run_that_hangs_fails_and_leaves_the_library_as_it_was(films, tmp_path):
    (film,) = folder_of(tmp_path / "media", *films(SHORT_FILMS[0])).glob("*.mp4")
    sha256 = hashlib.sha256(film.read_bytes()).hexdigest()
    service = Standing(tmp_path / "home", ROLLCALL_LIMITS__SECONDS_AT_LEAST="0.5")
    try:
        service.run("up")
        with open_catalog(service.settings) as catalog, catalog.alone(f"asset:{sha256}"):  # as a process does that hangs itself
            process = subprocess.run(
                [sys.executable, "-c", DEPLOYED, str(film), str(film.parent)],
                cwd=ROOT, env=service.environment, capture_output=True, text=True, timeout=120, check=False,
            )  # fmt: skip
        assert process.returncode == 0, process.stderr
        (run,) = service.runs()
        assert run.state == "FAILED" and "the next scan tries again" in run.message
        assert [row[4] for row in content(service.home)["asset"]] == ["new"]
        del service.environment["ROLLCALL_LIMITS__SECONDS_AT_LEAST"]  # for films, more than that
        assert "1 done" in service.run("ingest", film.parent, "--direct")
    finally:
        service.close()
    assert processes_of(service.home) == []

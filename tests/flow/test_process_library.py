"""A library of short films: directly and through Prefect, again, changed, beside bad files, interrupted."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from asd_core.errors import NotFound, Unavailable, Unreadable
from flows.process_library import process_library
from infra import orchestrate
from infra.settings import child_environment, ensure_home, load_settings
from tasks.runner import Orchestrated
from tasks.stage import Retry
from tests.flow import libraries
from tests.flow.libraries import content, differences
from tests.material import LONG_FILM, OUR_MODELS, SHORT_FILMS, folder_of

pytestmark = pytest.mark.service


def settings_of(home, **told):
    return load_settings(home=home, models=OUR_MODELS, **told)


def of_stages(events, outcome):
    return sorted({event.stage for event in events if event.kind == "stage" and event.outcome == outcome})


@pytest.fixture(scope="module")
def folder(tmp_path_factory, films):
    """Two short films, one of them twice, a text file with a film's ending, and a text file."""
    folder = folder_of(tmp_path_factory.mktemp("library") / "media", *films(*SHORT_FILMS))
    (folder / "season").mkdir()
    shutil.copy2(folder / SHORT_FILMS[0], folder / "season" / "again.mp4")
    (folder / "broken.mp4").write_text("this is no film")
    (folder / "notes.txt").write_text("notes")
    for file in folder.rglob("*.*"):
        os.utime(file, (1e9, 1e9))
    return folder


@pytest.fixture(scope="module")
def directly(folder, tmp_path_factory):
    """The home of a direct run with two workers, its events and its summary."""
    home, events = tmp_path_factory.mktemp("direct") / "home", []
    summary = process_library([folder], direct=True, workers=2, span_seconds=60, on_event=events.append, settings=settings_of(home))
    return home, events, summary


@pytest.fixture(scope="module")
def orchestrated(folder, tmp_path_factory):
    """The home of a run through Prefect, one worker and other spans; its events and summary, and what Prefect's API then says."""
    home, events = tmp_path_factory.mktemp("prefect") / "home", []
    with orchestrate.supervisor(ensure_home(home), child_environment()).use() as info:
        summary = process_library([folder], workers=1, span_seconds=10, on_event=events.append, settings=settings_of(home))
        time.sleep(3)  # task runs reach the API as events, in the background
        flows, tasks = libraries.prefect(info["url"], "flow_runs"), libraries.prefect(info["url"], "task_runs")
    return home, events, summary, flows, tasks


def test_every_file_has_its_end(directly):
    _, _, summary = directly
    assert {one.name: one.state for one in summary.results} == {
        SHORT_FILMS[0]: "done", SHORT_FILMS[1]: "done", "season/again.mp4": "skipped", "broken.mp4": "quarantined",
    }  # fmt: skip
    (bad,) = summary.failed
    assert bad.reason and "\n" not in bad.reason
    assert summary.ignored == 1


def test_prefect_and_direct_give_the_same_library(directly, orchestrated):
    assert differences(content(directly[0]), content(orchestrated[0])) == {}


def test_runs_and_stages_are_seen_in_prefects_api(orchestrated):
    _, _, _, flows, tasks = orchestrated
    states = {run["name"]: run["state_name"] for run in flows}
    assert states == {"ingest library": "Completed", SHORT_FILMS[0]: "Completed", SHORT_FILMS[1]: "Completed", "broken.mp4": "Failed"}
    of_film = {run["id"] for run in flows if run["name"] == SHORT_FILMS[0]}
    stages = {run["name"]: run["state_name"] for run in tasks if run["flow_run_id"] in of_film}
    assert stages == dict.fromkeys(
        ["probe", "look 0-0", "listen", "stitch", "score", "embed", "decide", "group", "identify", "publish"], "Completed"
    )  # fmt: skip


def test_again_nothing_is_done_and_no_server_is_started(directly, folder, monkeypatch):
    home, *_ = directly
    monkeypatch.setattr(orchestrate.PrefectServer, "start", lambda self: pytest.fail("not needed"))
    before, events = content(home), []
    summary = process_library([folder], on_event=events.append, settings=settings_of(home))
    assert [one.state for one in summary.results if one.name != "broken.mp4"] == ["skipped"] * 3
    assert all(one.earlier for one in summary.of("quarantined")) and not summary.failed
    assert of_stages(events, "made") == of_stages(events, "cached") == []
    assert differences(before, content(home)) == {}


def test_a_changed_threshold_repeats_only_what_reads_it(directly, folder):
    home, *_ = directly
    events = []
    told = settings_of(home, decide={"price": 5.5})
    summary = process_library([folder], direct=True, on_event=events.append, settings=told)
    assert {one.state for one in summary.results if one.name in SHORT_FILMS} == {"done"}
    assert of_stages(events, "made") == ["decide", "identify", "publish"]
    assert "look" not in of_stages(events, "cached")
    process_library([folder], direct=True, settings=settings_of(home))  # as it was, for the tests that follow


def test_a_missing_analysis_is_made_again(directly, folder):
    home, *_ = directly
    before = content(home)
    shutil.rmtree(home / "objects")
    events = []
    process_library([folder], direct=True, on_event=events.append, settings=settings_of(home))
    assert "look" in of_stages(events, "made")
    assert differences(before, content(home)) == {}


def test_a_name_that_is_no_text_stops_nobody(directly, tmp_path):
    home, *_ = directly
    tmp_path.joinpath("broken.mp4").write_text("this is no film")
    os.utime(tmp_path / "broken.mp4", (1e9, 1e9))
    Path(os.fsdecode(bytes(tmp_path) + b"/\xff.mp4")).write_text("nor this")
    summary = process_library([tmp_path], direct=True, settings=settings_of(home))
    assert {one.name: one.state for one in summary.results} == {"broken.mp4": "quarantined", "\\xff.mp4": "failed"}
    assert "not UTF-8" in summary.of("failed")[0].reason


def test_a_folder_without_media_is_said_to_be_one(directly, tmp_path):
    (tmp_path / "notes.txt").write_text("notes")
    with pytest.raises(NotFound, match=r"nothing in .* is media: 1 other"):
        process_library([tmp_path], direct=True, settings=settings_of(directly[0]))


@pytest.mark.logs_errors
def test_a_bug_is_no_mark_on_the_file(films, tmp_path):
    folder = folder_of(tmp_path / "media", *films(SHORT_FILMS[0]))

    def broken(event):
        if event.kind == "stage" and event.stage == "probe":
            raise TypeError("a bug")

    told = settings_of(tmp_path / "home")
    (failed,) = process_library([folder], direct=True, on_event=broken, settings=told).results
    assert (failed.state, failed.retryable, failed.reason) == ("failed", True, "internal error: TypeError: a bug")
    assert "TypeError: a bug" in (tmp_path / "home" / "log" / "rollcall.jsonl").read_text()
    (again,) = process_library([folder], direct=True, settings=told).results
    assert again.state == "done"


def test_prefect_retries_transient_errors_only(tmp_path):
    home, tries = ensure_home(tmp_path / "home"), {"passing": 0, "lasting": 0}

    def passing(attempt):
        tries["passing"] += 1
        if attempt < 3:
            raise Unavailable("away for a moment")
        return "made"

    def lasting(attempt):
        tries["lasting"] += 1
        raise Unreadable("no media")

    with orchestrate.supervisor(home, child_environment()).use() as info, orchestrate.connected(info["url"], home):
        runner = Orchestrated(("test",))

        def body():
            runner.stage("passing", Retry((0.1, 0.1, 0.1)), passing, stopped=lambda: False)
            runner.stage("there", Retry((0.1,)), lambda attempt: "cached", stopped=lambda: False)
            runner.stage("lasting", Retry((0.1, 0.1, 0.1)), lasting, stopped=lambda: False)

        with pytest.raises(Unreadable):
            runner.flow("process-asset", "a film", body)
        time.sleep(3)
        tasks = {run["name"]: (run["state_name"], run["run_count"]) for run in libraries.prefect(info["url"], "task_runs")}
    assert tries == {"passing": 3, "lasting": 1}
    assert tasks == {"passing": ("Completed", 3), "there": ("Cached", 1), "lasting": ("Failed", 1)}
    assert libraries.processes_of(home) == []


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "prefect"])
def test_ctrl_c_leaves_nothing_running_and_nothing_half(films, tmp_path, direct):
    home, folder = tmp_path / "home", folder_of(tmp_path / "media", *films(*SHORT_FILMS, LONG_FILM))
    process = libraries.start(home, folder, direct=direct, workers=2)
    for line in process.stdout:
        if '"kind": "progress"' in line and '"look"' in line:
            break
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    code, _ = libraries.finish(process, timeout=60)
    assert code == 130
    assert time.monotonic() - began < 15
    assert libraries.processes_of(home) == []
    states = {row[1]: row[4] for row in content(home)["asset"]}
    assert set(states.values()) <= {"new", "done"} and "new" in states.values()
    code, events = libraries.finish(libraries.start(home, folder, direct=True))
    assert code == 0 and {state for state, *_ in events[-1]["states"].values()} <= {"done", "skipped"}


def test_two_commands_share_one_server(films, tmp_path):
    home = tmp_path / "home"
    folders = [folder_of(tmp_path / str(n), *films(name)) for n, name in enumerate(SHORT_FILMS)]
    both = [libraries.start(home, folder, workers=1) for folder in folders]
    ended = [libraries.finish(process) for process in both]
    assert [code for code, _ in ended] == [0, 0]
    assert sorted(row[4] for row in content(home)["asset"]) == ["done", "done"]
    assert libraries.processes_of(home) == []


def test_a_file_that_is_replaced_by_rubbish_and_then_by_a_film_is_not_set_aside(folder, tmp_path):
    home, media = tmp_path / "home", tmp_path / "media"
    film = folder_of(media, folder / SHORT_FILMS[0]) / SHORT_FILMS[0]

    def replace(event):
        if event.kind == "begin":
            film.write_text("this is no film")

    (one,) = process_library([media], direct=True, settings=settings_of(home), on_event=replace).results
    assert (one.state, one.retryable, "changed while" in one.reason) == ("failed", True, True)
    folder_of(media, folder / SHORT_FILMS[0])
    (one,) = process_library([media], direct=True, settings=settings_of(home)).results
    assert (one.state, content(home)["quarantine"]) == ("done", [])

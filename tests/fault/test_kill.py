"""kill -9 anywhere, then again: the same library, row for row."""

from __future__ import annotations

import os
import signal
import time

import pytest

from infra import orchestrate
from infra.settings import child_environment, ensure_home
from tests.flow import libraries
from tests.flow.libraries import content, differences
from tests.material import SHORT_FILMS, folder_of

pytestmark = pytest.mark.service

POINTS = [
    ("probe", "during"), ("look", "before"), ("look", "during"), ("listen", "during"), ("stitch", "after"), ("score", "before"), ("embed", "after"),
    ("decide", "after"), ("group", "before"), ("identify", "before"), ("identify", "after"), ("publish", "after"),
    ("score", "after"),
]  # fmt: skip  # identify stands inside the publishing transaction; the last point lies in the second film


@pytest.fixture(scope="module")
def folder(tmp_path_factory, films):
    return folder_of(tmp_path_factory.mktemp("killed") / "media", *films(*SHORT_FILMS))


@pytest.fixture(scope="module")
def undisturbed(folder, tmp_path_factory):
    home = tmp_path_factory.mktemp("undisturbed") / "home"
    assert libraries.finish(libraries.start(home, folder, direct=True, workers=1))[0] == 0
    return content(home)


@pytest.mark.timeout(600)
def test_killed_in_every_stage_directly(folder, undisturbed, tmp_path):
    home = tmp_path / "home"
    for point in POINTS:
        code, _ = libraries.finish(libraries.start(home, folder, kill=point, direct=True, workers=1))
        assert code == -9, point
    code, events = libraries.finish(libraries.start(home, folder, direct=True))
    assert code == 0 and events[-1]["reasons"] == []
    assert differences(undisturbed, content(home)) == {}
    assert sum(cached for _, _, cached in events[-1]["states"].values()) > 0  # what was whole was kept
    assert libraries.run_states(home) == [*["lost"] * len(POINTS), "done"]
    assert libraries.processes_of(home) == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("point", [("look", "during"), ("identify", "after")], ids=["look", "identify"])
def test_killed_under_prefect(folder, undisturbed, tmp_path, point):
    home = ensure_home(tmp_path / "home")
    supervisor = orchestrate.supervisor(home, child_environment())
    with supervisor.use() as info:
        assert libraries.finish(libraries.start(home, folder, kill=point, workers=2))[0] == -9
        code, events = libraries.finish(libraries.start(home, folder, workers=1))
        assert code == 0 and events[-1]["reasons"] == []
        time.sleep(2)
        states = [run["state_name"] for run in libraries.prefect(info["url"], "flow_runs")]
    assert differences(undisturbed, content(home)) == {}
    assert "Running" not in states and "Crashed" in states
    assert libraries.processes_of(home) == []


def test_a_killed_decoding_child_is_met_with_another_try(folder, undisturbed, tmp_path):
    home = tmp_path / "home"
    process = libraries.start(home, folder, direct=True, workers=1)
    for line in process.stdout:
        if '"kind": "progress"' in line and '"look"' in line:
            break
    for child in libraries.children_of(process.pid, "infra.sandbox"):
        os.kill(child, signal.SIGKILL)
    code, events = libraries.finish(process)
    assert code == 0 and events[-1]["reasons"] == []
    assert [event["stage"] for event in events if event.get("outcome") == "failed"] != []
    assert differences(undisturbed, content(home)) == {}

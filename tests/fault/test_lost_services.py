"""A service dies under a command, or somebody asks twice for its end: it ends soon, says why in one line, and leaves nothing running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from infra.settings import child_environment
from tests.flow import libraries
from tests.flow.libraries import content
from tests.material import LONG_FILM, OUR_MODELS, SHORT_FILMS, folder_of

pytestmark = [pytest.mark.service, pytest.mark.timeout(240)]

OURS = {f"ROLLCALL_MODELS__{role.upper()}": name for role, name in OUR_MODELS.items()}
COMMAND = [sys.executable, "-c", "from rollcall.cli import main; main()", "ingest", "--workers", "2"]


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path, films):
    return folder_of(tmp_path / "media", *films(*SHORT_FILMS, LONG_FILM))


def ingest(home, folder, *options):
    return subprocess.Popen(
        [*COMMAND, *options, str(folder)], cwd=libraries.ROOT, env=child_environment() | OURS | {"ROLLCALL_HOME": str(home)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def wait_for_stages(home, process):
    """Wait until the first artifact of an asset rests: everything is up, and work goes on."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if any(path.is_file() for path in (home / "objects").rglob("*")):
            return
        time.sleep(0.02)
    pytest.fail(f"nothing was begun: {process.communicate(timeout=10)}")


def service(home, name):
    return json.loads((home / "run" / f"{name}.json").read_text())["info"]["pid"]


def ended(process, seconds):
    """Return the exit status and stderr of a command that must end within some seconds."""
    try:
        _, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(f"still there after {seconds} s: {process.communicate()[1]}")
    return process.returncode, err


def nothing_runs(home, seconds=10):
    deadline = time.monotonic() + seconds
    while libraries.processes_of(home) and time.monotonic() < deadline:
        time.sleep(0.1)
    return libraries.processes_of(home) == []


def finishes(home, folder):
    code, err = ended(ingest(home, folder, "--direct"), 120)
    assert code == 0, err
    return {row[4] for row in content(home)["asset"]} == {"done"}


@pytest.mark.parametrize(("name", "options"), [("prefect", ()), ("postgres", ()), ("postgres", ("--direct",))])
def test_a_service_that_dies_ends_the_command(home, folder, name, options):
    process = ingest(home, folder, *options)
    wait_for_stages(home, process)
    os.kill(service(home, name), signal.SIGKILL)
    code, err = ended(process, 10)
    lines = [line for line in err.splitlines() if line.startswith("rollcall:")]
    assert code == 1, err
    assert len(lines) == 1 and " died; run the same command again" in lines[0], err
    assert not any(word in err for word in ("internal error", "Traceback", "pool", "ConnectError")), err
    assert nothing_runs(home)
    assert {row[4] for row in content(home)["asset"]} <= {"new", "done"}
    assert finishes(home, folder)
    assert nothing_runs(home)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_asked_twice_it_ends_at_once(home, folder, sign):
    process = ingest(home, folder)
    wait_for_stages(home, process)
    os.kill(service(home, "prefect"), signal.SIGSTOP)  # nobody hears from it, and it does not end when it is told to
    os.kill(process.pid, sign)
    time.sleep(1)
    assert process.poll() is None
    os.kill(process.pid, sign)
    assert ended(process, 2)[0] == 128 + sign
    assert nothing_runs(home, 30)

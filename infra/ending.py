"""How a process ends that must not wait: for a thread that was given up, or for anything at all.

Decoding children die with their parent. Services outlive the command that started them until somebody ends them; `leave_at_once` leaves
that to a process of its own, which waits until this one has gone and then does what the last user of a service does.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from typing import NoReturn

HEIR = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from infra.ending import inherit; inherit(int(sys.argv[2]))"
GIVEN_UP = threading.Event()  # a thread that cannot be stopped still runs, and others may wait for it


def leave(code: int) -> None:
    """End the process without the threads that were given up; return where there are none."""
    if GIVEN_UP.is_set():
        _leave(code)


def leave_at_once(code: int) -> NoReturn:
    """End the process now; services that nobody else uses end just after it."""
    with contextlib.suppress(OSError):
        subprocess.Popen(
            [sys.executable, "-c", HEIR, json.dumps(sys.path), str(os.getpid())],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    _leave(code)


def _leave(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, RuntimeError):  # RuntimeError: the signal came in the middle of a write
            stream.flush()
    os._exit(code)


def inherit(parent: int) -> None:
    """End the services that a process leaves behind and nobody else uses; runs in a process of its own."""
    from infra import orchestrate, postgres
    from infra.settings import child_environment, load_settings

    while os.getppid() == parent:
        time.sleep(0.02)
    home = load_settings().home
    if (home / "run").is_dir():
        for supervisor in (orchestrate.supervisor(home, child_environment()), postgres.supervisor(home)):
            supervisor.end_if_unused()

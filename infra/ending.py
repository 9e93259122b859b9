"""How work and processes end that must not wait: for a thread that was given up, or for anything at all.

Decoding children die with their parent. Services outlive the command that started them until somebody ends them; `leave_at_once` leaves
that to a process of its own, which waits until this one has gone and then does what the last user of a service does.
"""

from __future__ import annotations

import contextlib
import contextvars
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import NoReturn

from asd_core.errors import Unavailable

HEIR = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from infra.ending import inherit; inherit(int(sys.argv[2]))"
GIVEN_UP = threading.Event()  # a thread that cannot be stopped still runs, and others may wait for it
STOP_SECONDS = 8.0  # that Ctrl-C waits for the threads to notice
LOST_SECONDS = 2.0  # the same where a service has died, for which they may wait in vain
WATCH_SECONDS = 0.2  # between looks at the services


def attend(body: Callable[[], None], *, lost: Callable[[], str], give_up: Callable[[], None]) -> None:
    """Run a body in a thread of its own, so that this one hears Ctrl-C and sees services die, whatever the other waits for.

    Args:
        body: the work; it has the context of the caller.
        lost: asked time and again; says which service has died, nothing where all live.
        give_up: lets the body end, where this is interrupted or a service has died.

    Raises:
        Unavailable: what `lost` says. A body that does not end soon after is left behind (`leave`).
        BaseException: what the body raises.
    """
    ended: Future[None] = Future()
    context = contextvars.copy_context()

    def attended() -> None:
        try:
            context.run(body)
        except BaseException as error:  # noqa: BLE001 -- raised again by the thread that waits
            ended.set_exception(error)
        else:
            ended.set_result(None)

    try:
        threading.Thread(target=attended, name="library", daemon=True).start()
        while not ended.done():
            wait([ended], timeout=WATCH_SECONDS)
            said = lost()
            if said and not (ended.done() and ended.exception() is None):
                raise Unavailable(said)
        ended.result()
    except BaseException:
        give_up()
        wait([ended], timeout=LOST_SECONDS if lost() else STOP_SECONDS)
        if not ended.done():
            GIVEN_UP.set()
        raise


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

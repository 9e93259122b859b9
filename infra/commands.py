"""Commands of ours that stay in the background, as services (infra.supervise): the pages, a worker for each pool."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from asd_core.errors import Unavailable
from infra.supervise import Info, Supervisor, process_start

READY_SECONDS = 60.0
STOP_SECONDS = 40.0  # a worker ends what it runs first
LOG_LIMIT = 16 << 20
BOOT = "import sys; sys.argv[0] = 'rollcall'; from rollcall.cli import main; main()"


def supervisor(home: Path, name: str, arguments: Sequence[str], *, ready: str) -> Supervisor:
    """Return what keeps `rollcall ARGUMENTS` in the background; `ready`: a word of the line by which it tells that it is up."""
    return Supervisor(Command(home, name, arguments, ready=ready), home / "run", patience=READY_SECONDS + STOP_SECONDS)


class Command:
    """One command, with this process's environment; what it prints goes to `log/<name>.log`."""

    def __init__(self, home: Path, name: str, arguments: Sequence[str], *, ready: str) -> None:
        self.name = name
        self._log = home / "log" / f"{name}.log"
        self._arguments, self._ready = tuple(arguments), ready

    def start(self) -> Info:
        """Start the command and wait until it says that it is ready; `said` is that line."""
        with self._log.open("wb" if self._log.exists() and self._log.stat().st_size > LOG_LIMIT else "ab") as log:
            begins = log.tell()
            process = subprocess.Popen(
                [sys.executable, "-u", "-c", BOOT, *self._arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + READY_SECONDS
        lines: list[str] = []
        while time.monotonic() < deadline and process.poll() is None:
            lines = self._log.read_bytes()[begins:].decode(errors="replace").splitlines()
            said = next((line for line in lines if self._ready in line), None)
            if said is not None:
                return {"pid": process.pid, "started": process_start(process.pid), "said": said}
            time.sleep(0.1)
        self.stop({"pid": process.pid, "started": process_start(process.pid)})
        raise Unavailable(f"`rollcall {' '.join(self._arguments)}` does not start: {lines[-1] if lines else 'it says nothing'} (see {self._log})")

    def alive(self, info: Info) -> bool:
        """Say whether the process that `start` described still runs."""
        return bool(info.get("pid")) and process_start(info["pid"]) == info["started"] is not None

    def stop(self, info: Info) -> None:
        """Ask it to end, then make it."""
        for sign, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, 5.0)):
            deadline = time.monotonic() + seconds
            if self.alive(info):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(info["pid"], sign)
            while self.alive(info) and time.monotonic() < deadline:
                time.sleep(0.05)

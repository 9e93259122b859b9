"""Programs of Debian's packages that stay up for tests, on loopback, and of which nothing outlives the test run.

They are told to die with it. The kernel takes that to mean the thread that began them, so one thread begins all daemons of a server and lives
as long as the server: a timer may start them again.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
START_SECONDS = 120.0
STOP_SECONDS = 30.0
TOLD = 2000  # letters of a log that are shown

Daemon = subprocess.Popen[bytes]


class Daemons:
    """The daemons of one server, and their folder.

    Args:
        name: of the server.
        prefix: what every program is run by, such as `setpriv` with another user.
    """

    def __init__(self, name: str, prefix: Sequence[str] = ("setpriv",)) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"rollcall-{name}-", dir="/tmp"))  # a place that another user may be let into
        self._prefix = prefix
        self._running: list[Daemon] = []
        self._launcher = ThreadPoolExecutor(1, thread_name_prefix=name)

    def begin(self, *command: str, is_up: Callable[[], bool] = lambda: True, death: signal.Signals = signal.SIGKILL) -> Daemon:
        """Begin a program that stays, and wait until it is up; it gets a signal when the test run ends."""
        words = [*self._prefix, "--pdeathsig", death.name.removeprefix("SIG"), *command]
        with self._log(command[0]).open("ab") as log:
            told = {"env": ENVIRONMENT, "stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, "start_new_session": True, "cwd": "/"}
            daemon: Daemon = self._launcher.submit(subprocess.Popen, words, **told).result()
        self._running.append(daemon)
        deadline = time.monotonic() + START_SECONDS
        while not is_up():
            if daemon.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} does not come up:\n{self.said(command[0])}")
            time.sleep(0.05)
        return daemon

    def do(self, *command: str) -> bytes:
        """Run a program that ends; return what it printed."""
        words = [*self._prefix, *command]
        done = subprocess.run(words, env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, timeout=START_SECONDS, check=False, cwd="/")
        if done.returncode:
            raise RuntimeError(f"{' '.join(command[:2])} failed:\n{done.stderr.decode(errors='replace')[-TOLD:]}")
        return done.stdout

    def end(self, daemon: Daemon, by: signal.Signals = signal.SIGKILL) -> None:
        """End a daemon at once, in the middle of whatever it does."""
        daemon.send_signal(by)
        daemon.wait(STOP_SECONDS)
        self._running.remove(daemon)

    def close(self) -> None:
        """End all daemons, the last first, and forget what they kept."""
        for daemon in reversed(self._running[:]):
            self.end(daemon)
        self._launcher.shutdown()
        shutil.rmtree(self.folder, ignore_errors=True)

    def said(self, program: str) -> str:
        """Return the end of what a program said."""
        return self._log(program).read_text(errors="replace")[-TOLD:]

    def _log(self, program: str) -> Path:
        return self.folder / f"{Path(program).name}.log"


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])

"""The private Prefect server: on loopback, in the home folder, shared by commands that overlap; and the way to any Prefect server.

The server is a service of `infra.supervise`: started when a command first needs it, ended with its last user unless `up` pinned it. Its
database is SQLite (Prefect's migrations want an extension that the embedded PostgreSQL does not have). It listens on a free port that it
was given, kept in `run/prefect.json`; it sends nothing to anyone.

Prefect reads its settings when it is imported, so `connected` sets the environment first and imports it after. It never lets Prefect boot
a hidden server of its own ("ephemeral mode": a quarter of a minute, and a wall of tracebacks at the end).
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from asd_core.errors import Unavailable
from infra.supervise import Info, Supervisor, process_start

START_SECONDS = 180.0  # the first start makes the database: 12 s on an idle machine
STOP_SECONDS = 10.0
DRAIN_SECONDS = 10.0
ATTEMPTS = 3  # somebody else may take the free port before the server does
LOG_LIMIT = 16 << 20
TAG = "rollcall"  # of all our flow runs

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    "PREFECT_CLI_PROMPT": "false",
}
SERVER = {"PREFECT_SERVER_LOGGING_LEVEL": "ERROR", "PREFECT_LOGGING_LEVEL": "ERROR"}
CLIENT = {
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_INTERNAL_LOGGING_LEVEL": "CRITICAL",  # of the threads that carry events: they tell the terminal of each that got nowhere
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
}

# Prefect begins its SQLite transactions as readers; one that turns into a writer while another commits fails, the client sleeps for two
# seconds, and ten flow runs take twenty. As writers from the start they wait their turn, some milliseconds each (measured: 0.2 s a flow run).
# What they read beside, in a session of its own, must not: pausing a queue would wait for itself.
BOOT = """
import contextlib, runpy, sys
from prefect.server.database.configurations import SQLITE_BEGIN_MODE, AioSqliteConfiguration
@contextlib.asynccontextmanager
async def begin(self, session, with_for_update=False):
    async with session.begin() as transaction:
        token = SQLITE_BEGIN_MODE.set("IMMEDIATE")
        try:
            await session.connection()
        finally:
            SQLITE_BEGIN_MODE.reset(token)
        yield transaction
AioSqliteConfiguration.begin_transaction = begin
sys.argv[0] = "prefect"
runpy.run_module("prefect", run_name="__main__")
"""

_started: dict[int, subprocess.Popen[bytes]] = {}  # by this process: it must reap them


def supervisor(
    home: Path,
    environment: Mapping[str, str] | None = None,
    *,
    abandoned: Callable[[], bool] | None = None,
    database_url: str | None = None,
) -> Supervisor:
    """Return what shares, starts and stops the home folder's Prefect server; its info holds `url`, that of the API."""
    server = PrefectServer(home, environment, abandoned=abandoned, database_url=database_url)
    return Supervisor(server, home / "run", patience=START_SECONDS + STOP_SECONDS)


class PrefectServer:
    """A service (infra.supervise) that keeps its data in `home/prefect`.

    Args:
        home: the home folder.
        environment: of the server process, without secrets; Prefect's own variables are added.
        abandoned: asked while it comes up; True ends the start.
        database_url: of a PostgreSQL with the extension pg_trgm, for it alone; None: SQLite.
    """

    name = "prefect"

    def __init__(
        self,
        home: Path,
        environment: Mapping[str, str] | None = None,
        *,
        abandoned: Callable[[], bool] | None = None,
        database_url: str | None = None,
    ) -> None:
        self.data = home / "prefect"
        self.log = home / "log" / "prefect.log"
        self._environment = {"PATH": os.defpath} if environment is None else dict(environment)
        self._abandoned = abandoned or (lambda: False)
        self._database_url = database_url

    def start(self) -> Info:
        """Start the server on a free port and wait until its API is healthy."""
        self._end_leftovers()
        self.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = self._database_url is None and not (self.data / "prefect.db").exists()
        if new:
            self._copy_template()
        for attempt in range(1, ATTEMPTS + 1):
            port = _free_port(self._last_port() if attempt == 1 else 0)
            process = self._launch(port)
            url = f"http://127.0.0.1:{port}/api"
            if self._wait_until_healthy(url, process):
                if new:
                    self._keep_template()
                (self.data / "port").write_text(str(port))
                return {"url": url, "port": port, "pid": process.pid, "started": process_start(process.pid)}
            _end(process.pid)
            if self._abandoned():
                raise Unavailable("the Prefect server is not needed any more")
            if attempt == ATTEMPTS:
                raise Unavailable(f"the Prefect server does not start: {self._last_words()} (see {self.log}; --direct works without it)")
        raise AssertionError

    def alive(self, info: Info) -> bool:
        """Say whether the process that `start` described still runs."""
        return bool(info.get("pid")) and process_start(info["pid"]) == info["started"]

    def stop(self, info: Info) -> None:
        """Stop the server, and any that a killed command left on this folder."""
        if self.alive(info):
            _end(info["pid"])
        self._end_leftovers()

    def _launch(self, port: int) -> subprocess.Popen[bytes]:
        mode = "wb" if self.log.exists() and self.log.stat().st_size > LOG_LIMIT else "ab"
        environment = {**self._environment, **QUIET, **SERVER, "PREFECT_HOME": str(self.data), "HOME": str(self.data)}
        if self._database_url is not None:
            environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = f"postgresql+asyncpg://{self._database_url.partition('://')[2]}"
        with self.log.open(mode) as log:
            process = subprocess.Popen(
                [sys.executable, "-c", BOOT, "server", "start", "--host", "127.0.0.1", "--port", str(port)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd=self.data,
                start_new_session=True,  # Ctrl-C is for the command; the server ends when its last user does
            )  # fmt: skip
        _started[process.pid] = process
        return process

    def _wait_until_healthy(self, url: str, process: subprocess.Popen[bytes]) -> bool:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.poll() is None and not self._abandoned():
            if healthy(url):
                return process.poll() is None
            time.sleep(0.05)
        return False

    def _last_port(self) -> int:
        """Return the port of the last time: workers that wait for a server to come back look there."""
        with contextlib.suppress(OSError, ValueError):
            return int((self.data / "port").read_text())
        return 0

    def _copy_template(self) -> None:
        """Begin a new home with a database that was migrated before: ten seconds of work are done once an installation, not once a home."""
        template, database = _template(), self.data / "prefect.db"
        if template.exists():
            part = database.with_suffix(".part")
            with contextlib.suppress(OSError):
                shutil.copyfile(template, part)
                part.replace(database)

    def _keep_template(self) -> None:
        """Keep a database that nobody has used yet: one with runs in it would tell of them in every new home."""
        template, database = _template(), self.data / "prefect.db"
        if template.exists():
            return
        part = template.with_suffix(f".{os.getpid()}")
        with contextlib.suppress(OSError, sqlite3.Error):
            template.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.closing(sqlite3.connect(database, timeout=10)) as connection:
                connection.execute("VACUUM INTO ?", (str(part),))
            part.replace(template)

    def _end_leftovers(self) -> None:
        """End servers on this folder that no state file knows: their command was killed while they came up."""
        mark = f"PREFECT_HOME={self.data}".encode()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal() or int(entry.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes().split(b"\0")
                if b"server" in command and b"start" in command and mark in (entry / "environ").read_bytes().split(b"\0"):
                    _end(int(entry.name))

    def _last_words(self) -> str:
        lines = [line for line in self.log.read_text(errors="replace")[-4096:].splitlines() if line.strip()] if self.log.exists() else []
        return lines[-1][:300] if lines else "it says nothing"


def _template() -> Path:
    return Path(sys.prefix) / "share" / "rollcall" / f"prefect-{importlib.metadata.version('prefect')}.db"


def _free_port(wanted: int = 0) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of its predecessor may linger
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return _free_port()
        return int(probe.getsockname()[1])


def healthy(url: str) -> bool:
    """Say whether a Prefect API answers at a URL; waits at most 2 s."""
    with contextlib.suppress(OSError, ValueError), urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=2) as answer:  # noqa: S310
        return bool(answer.status == 200)
    return False


def _end(pid: int) -> None:
    """Ask a process to end, then make it, and wait until it has gone."""
    started = process_start(pid)
    for sign, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
        deadline = time.monotonic() + seconds
        with contextlib.suppress(ProcessLookupError):
            if started is not None and process_start(pid) == started:
                os.kill(pid, sign)
        while process_start(pid) == started and started is not None and time.monotonic() < deadline:
            if pid in _started:
                _started[pid].poll()
            time.sleep(0.02)
    if pid in _started:
        with contextlib.suppress(subprocess.TimeoutExpired):  # its first thread may be gone before the others
            _started[pid].wait(STOP_SECONDS)
            del _started[pid]


def prepare(home: Path) -> None:
    """Set what Prefect reads from the environment while it is imported; the slow import may then run in a thread of its own."""
    if "prefect" not in sys.modules:
        variables = {**QUIET, **CLIENT, "PREFECT_HOME": str(home / "prefect")}
        os.environ.update(variables)  # noqa: TID251 -- Prefect takes its start-up settings from nowhere else
    import prefect.flows
    import prefect.tasks  # noqa: F401


@contextlib.contextmanager
def connected(url: str, home: Path, key: str | None = None) -> Iterator[None]:
    """Let flows and tasks of this context report to the Prefect API at a URL.

    Flow heartbeats are off: each flow run would wait up to a second for its heartbeat's thread, and what was killed is found otherwise.
    """
    prepare(home)
    from prefect.events.worker import EventsWorker
    from prefect.settings import PREFECT_API_KEY, PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings({PREFECT_API_URL: url, PREFECT_API_KEY: key, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        try:
            yield
        finally:
            # Task runs travel as events, in the background; to a server that has gone none of them gets.
            EventsWorker.drain_all(timeout=DRAIN_SECONDS if healthy(url) else 0, at_exit=True)


def own_tags() -> tuple[str, ...]:
    """Return the tags of flow runs that this process makes: ours, and whose."""
    return TAG, f"process:{socket.gethostname()}:{os.getpid()}:{process_start(os.getpid()):.0f}"


def _is_lost(tags: Sequence[str]) -> bool:
    """Say whether the process that made a flow run is known to be gone: it was killed, and nobody said how its runs ended."""
    for tag in tags:
        kind, *rest = tag.split(":")
        if kind == "process" and len(rest) == 3 and rest[0] == socket.gethostname():
            started = process_start(int(rest[1]))
            return started is None or f"{started:.0f}" != rest[2]
    return False


def bury_lost_runs() -> int:
    """Mark flow runs as crashed that claim to run and whose process on this machine was killed; return how many. Needs `connected`."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType, FlowRunFilterTags
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    running = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[TAG]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING])),
    )
    with get_client(sync_client=True) as client:
        lost = [run for run in client.read_flow_runs(flow_run_filter=running) if _is_lost(run.tags)]
        for run in lost:
            client.set_flow_run_state(run.id, Crashed(message="its process was killed"), force=True)
    return len(lost)

"""The embedded PostgreSQL: the wheel's binaries under our own supervision (infra.supervise).

The wheel's own supervisor trusts bare process ids, kills strangers and opens parent folders (docs/decisions). Here a process counts as
this library's server only if its program is `postgres` and its working folder is the data folder. It listens on a unix socket in a
folder that only its user can enter, never on TCP.

PostgreSQL refuses to run as root. As root the data folder belongs to a system user, and nobody else's mode is changed: the server is
started with the data folder as its working folder and told `-D /proc/self/cwd`, so it never walks through parents that are closed to
it. Where the wheel lies in such a place its binaries are copied once to `/var/lib/rollcall-postgresql`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from asd_core.errors import Unavailable
from infra.programs import USER, PostgresFailed, become, find_programs, system_user
from infra.supervise import Info, Supervisor, process_start

PORT = 5432  # only part of the socket's name
SOCKET_LIMIT = 107  # bytes of a unix socket's path
START_SECONDS = 600.0  # recovery after a crash may take its time
STOP_SECONDS = 60.0
LOG_LIMIT = 16 << 20
OPTIONS = {
    "listen_addresses": "",
    "port": str(PORT),
    "max_connections": "100",
    "shared_buffers": "64MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "io_method": "sync",  # the workers of the default are three more processes on a laptop
    "jit": "off",
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] ",
}


def database_url(socket_folder: str) -> str:
    """Return the URL of the server that listens in a folder."""
    return f"postgresql://{USER}@/postgres?host={socket_folder}&port={PORT}"


def supervisor(home: Path) -> Supervisor:
    """Return what shares, starts and stops the home folder's PostgreSQL; its info holds `url`."""
    return Supervisor(EmbeddedPostgres(home), home / "run", patience=START_SECONDS)


class EmbeddedPostgres:
    """A service (infra.supervise) that keeps its data in `home/postgres`."""

    name = "postgres"

    def __init__(self, home: Path) -> None:
        self.home = home
        self.data = home / "postgres"

    # ---- service ----

    def start(self) -> Info:
        """Start the server, or adopt the one that runs on this folder; wait until it takes connections."""
        found = self._postmaster()
        if found is not None:
            with contextlib.suppress(PostgresFailed):  # it was dying: what is left of it is cleared below
                info = self._wait_until_ready(found)
                if _answers(info["socket"]):
                    return info
        self._clear_leftovers()
        owner = self._owner()
        binaries = find_programs(owner)
        if not (self.data / "PG_VERSION").exists():
            self._initialise(binaries, owner)
        return self._wait_until_ready(self._launch(binaries, owner, self._socket_folder(owner)))

    def alive(self, info: Info) -> bool:
        """Say whether the server runs, still has its folder, and answers: one that was just killed is there a little longer."""
        return self.runs(info) and _answers(info["socket"])

    def stop(self, info: Info) -> None:
        """Stop fast (transactions are rolled back); where that hangs, at once, as in a crash."""
        pid = info["pid"] if self.runs(info) else self._postmaster() or min(self._ours(), default=None)
        if pid is not None:
            self._end(pid)
        if info:
            with contextlib.suppress(OSError):  # nobody else would tidy up below /run
                Path(info["socket"]).rmdir()

    def _end(self, pid: int) -> None:
        for sign, seconds in ((signal.SIGINT, STOP_SECONDS), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sign)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                if not self._is_ours(pid):
                    return
                time.sleep(0.01)
        raise Unavailable(f"PostgreSQL (process {pid}) does not stop")

    # ---- finding processes ----

    def runs(self, info: Info) -> bool:
        """Say whether the server's process is there; cheaper than `alive`, which asks it."""
        return bool(info.get("pid")) and process_start(info["pid"]) == info["started"] and (self.data / "postmaster.pid").exists()

    def _is_ours(self, pid: int) -> bool:
        if process_start(pid) is None:
            return False
        try:
            program = Path(f"/proc/{pid}/exe").readlink().name
            return program.startswith("postgres") and Path(f"/proc/{pid}/cwd").samefile(self.data)
        except OSError:
            return False

    def _ours(self) -> list[int]:
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal() and self._is_ours(int(entry.name))]

    def _pid_file(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return []

    def _postmaster(self) -> int | None:
        lines = self._pid_file()
        if lines and lines[0].strip().isdecimal() and self._is_ours(int(lines[0])):
            return int(lines[0])
        return None

    def _clear_leftovers(self) -> None:
        """Wait for, then end, what a killed server left behind; then its pid file is stale, whoever has that pid now."""
        deadline = time.monotonic() + 10.0
        while left := self._ours():
            if time.monotonic() > deadline:
                for pid in left:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    # ---- setting up and starting ----

    def _owner(self) -> pwd.struct_passwd | None:
        """The system user to become; None for an ordinary user, who stays who they are."""
        try:
            uid = self.data.stat().st_uid
        except FileNotFoundError:
            return system_user() if os.geteuid() == 0 else None
        if os.geteuid() == 0:
            return pwd.getpwuid(uid) if uid else system_user()
        if uid != os.geteuid():
            raise PostgresFailed(f"{self.data} belongs to another user; set ROLLCALL_HOME to a folder of your own")
        return None

    def _run(self, command: list[str], folder: Path, owner: pwd.struct_passwd | None, **more: Any) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                command, cwd=folder, env={"PATH": os.defpath, "LC_ALL": "C"}, stdin=subprocess.DEVNULL, text=True, check=False,
                start_new_session=True, **become(owner), **more,
            )  # fmt: skip
        except OSError as error:
            raise PostgresFailed(f"cannot run {command[0]}: {error}") from error

    def _initialise(self, binaries: Path, owner: pwd.struct_passwd | None) -> None:
        """Make the data folder under a temporary name, so that a killed set-up is none."""
        part = self.home / "postgres.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(mode=0o700)
        if owner is not None:
            os.chown(part, owner.pw_uid, owner.pw_gid)
        command = [str(binaries / "initdb"), "-D", _here(part, owner), "-A", "trust", "-U", USER, "-E", "UTF8", "--no-instructions"]
        command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        done = self._run(command, part, owner, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            raise PostgresFailed(f"the database folder cannot be set up: {_gravest_line(done.stdout)}")
        part.rename(self.data)

    def _socket_folder(self, owner: pwd.struct_passwd | None) -> Path:
        digest = hashlib.sha256(str(self.home).encode()).hexdigest()[:12]
        if owner is not None:
            base = Path("/run/rollcall") if os.access("/run", os.W_OK) else Path(tempfile.gettempdir()) / "rollcall"
            base.mkdir(mode=0o755, exist_ok=True)
            folder = base / digest
        else:
            folder = self.home / "run" / "postgres"
            if len(str(folder).encode()) + len(f"/.s.PGSQL.{PORT}.lock") >= SOCKET_LIMIT:
                folder = Path(tempfile.gettempdir()) / f"rollcall-{os.getuid()}-{digest}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if owner is not None:
            os.chown(folder, owner.pw_uid, owner.pw_gid, follow_symlinks=False)
        facts = folder.lstat()
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != (os.getuid() if owner is None else owner.pw_uid) or facts.st_mode & 0o077:
            raise PostgresFailed(f"{folder} is not a private folder of ours; remove it")
        return folder

    def _launch(self, binaries: Path, owner: pwd.struct_passwd | None, sockets: Path) -> int:
        """Start the server as nobody's child, so that it neither dies with us nor becomes our zombie; return its pid."""
        options = [f"--{name}={value}" for name, value in (OPTIONS | {"unix_socket_directories": str(sockets)}).items()]
        for name in (f".s.PGSQL.{PORT}", f".s.PGSQL.{PORT}.lock"):  # stale like the pid file, and as easily taken for a living server's
            (sockets / name).unlink(missing_ok=True)
        log = self.home / "log" / "postgres.log"
        log.parent.mkdir(mode=0o700, exist_ok=True)
        with log.open("ab") as stream:
            if stream.tell() > LOG_LIMIT:
                stream.truncate(0)
            command = ["/bin/sh", "-c", '"$@" >&2 & echo $!', "sh"]
            command += [str(binaries / "postgres"), "-D", _here(self.data, owner), *options]
            done = self._run(command, self.data, owner, stdout=subprocess.PIPE, stderr=stream)
        return int(done.stdout)

    def _wait_until_ready(self, pid: int) -> Info:
        deadline = time.monotonic() + START_SECONDS
        started = process_start(pid)
        while started is not None and process_start(pid) == started:
            lines = self._pid_file()
            if len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready":
                return {"pid": pid, "started": started, "socket": lines[4].strip(), "url": database_url(lines[4].strip())}
            if time.monotonic() > deadline:
                raise Unavailable(f"PostgreSQL does not come up within {START_SECONDS:.0f} s; see {self.home / 'log' / 'postgres.log'}")
            time.sleep(0.005)
        raise PostgresFailed(f"PostgreSQL does not start: {_gravest_line(_tail(self.home / 'log' / 'postgres.log'))}")


def _here(folder: Path, owner: pwd.struct_passwd | None) -> str:
    return str(folder) if owner is None else "/proc/self/cwd"


def _answers(folder: str) -> bool:
    """Say whether a server answers on its socket: the 8 bytes ask whether it speaks TLS, and it says no."""
    try:
        with socket.socket(socket.AF_UNIX) as talk:
            talk.settimeout(5)
            talk.connect(f"{folder}/.s.PGSQL.{PORT}")
            talk.sendall(b"\x00\x00\x00\x08\x04\xd2\x16\x2f")
            return len(talk.recv(1)) == 1
    except OSError:
        return False


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - 4096))
            return stream.read().decode(errors="replace")
    except OSError:
        return ""


def _gravest_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    grave = [line for line in lines if "FATAL:" in line or "PANIC:" in line or "error:" in line]
    return (grave or lines or ["it says nothing"])[-1]


@contextlib.contextmanager
def embedded_database(home: Path) -> Iterator[str]:
    """Start or share the home folder's PostgreSQL for the length of a `with` block; give its URL."""
    with supervisor(home).use() as info:
        yield str(info["url"])

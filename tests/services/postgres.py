"""Debian's PostgreSQL for tests: a cluster of its own on a free port of loopback, with passwords, and with contrib (pg_trgm)."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.services.rgw import ENVIRONMENT, free_port

PACKAGES = "postgresql postgresql-contrib"
START_SECONDS = 60.0
STOP_SECONDS = 30.0
OPTIONS = {"listen_addresses": "127.0.0.1", "fsync": "on", "shared_buffers": "32MB", "max_connections": "200", "jit": "off"}


def programs() -> Path | None:
    """Return the folder of the newest server programs that Debian installed, None where there are none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    contrib = [path.parent for path in found if Path(f"/usr/share/postgresql/{path.parts[-3]}/extension/pg_trgm.control").exists()]
    return contrib[-1] if contrib else None


class PostgresServer:
    """A server that can be stopped and started again. PostgreSQL refuses root: as root it runs as the user that Debian's package made."""

    user = "rollcall"

    def __init__(self) -> None:
        self.password, self.port = secrets.token_hex(12), free_port()
        self._programs = programs()
        self._owner = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        self._folder = Path(tempfile.mkdtemp(prefix="rollcall-postgres-", dir="/tmp"))  # a place that another user may enter
        self._server: subprocess.Popen[bytes] | None = None
        self._launcher = ThreadPoolExecutor(1, thread_name_prefix="postgres-server")  # a thread that lives as long as the server (see rgw)
        try:
            self._create()
            self.start()
        except BaseException:
            self.close()
            raise

    def url(self, name: str) -> str:
        """Return the URL of a database."""
        return f"postgresql://{self.user}:{self.password}@127.0.0.1:{self.port}/{name}"

    def database(self, name: str) -> str:
        """Make an empty database, in place of one that has the name; return its URL."""
        import psycopg
        from psycopg import sql

        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url(name)

    def start(self) -> None:
        """Start the server; return when it takes connections."""
        import psycopg

        given = [part for name, value in OPTIONS.items() for part in ("-c", f"{name}={value}")]
        data = str(self._folder / "data")
        with (self._folder / "log").open("ab") as log:
            command = [*self._as_owner(), "--pdeathsig", "QUIT", f"{self._programs}/postgres", "-D", data, "-p", str(self.port), "-k", "", *given]
            told = {"env": ENVIRONMENT, "stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, "start_new_session": True, "cwd": "/"}
            self._server = self._launcher.submit(subprocess.Popen, command, **told).result()
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                if self._server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"PostgreSQL does not come up:\n{self._log()}") from None
                time.sleep(0.05)

    def stop(self) -> None:
        """End the server as a crash does: connections break, what is committed stays."""
        if self._server is not None:
            self._server.send_signal(signal.SIGQUIT)
            self._server.wait(STOP_SECONDS)
            self._server = None

    def close(self) -> None:
        """End the server and forget its databases."""
        self.stop()
        self._launcher.shutdown()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _create(self) -> None:
        word = self._folder / "password"
        word.write_text(self.password)
        for path in (self._folder, word):
            if self._owner is not None:
                os.chown(path, self._owner.pw_uid, self._owner.pw_gid)
        command = [f"{self._programs}/initdb", "-D", str(self._folder / "data"), "-U", self.user, "--pwfile", str(word), "-N"]
        command += ["--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8"]
        done = subprocess.run(
            [*self._as_owner(), *command], env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, timeout=START_SECONDS, check=False, cwd="/"
        )
        if done.returncode:
            raise RuntimeError(f"initdb failed:\n{done.stderr.decode(errors='replace')[-2000:]}")

    def _as_owner(self) -> list[str]:
        if self._owner is None:
            return ["setpriv"]
        return ["setpriv", "--reuid", str(self._owner.pw_uid), "--regid", str(self._owner.pw_gid), "--clear-groups"]

    def _log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")[-2000:]

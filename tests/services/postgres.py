"""Debian's PostgreSQL for tests: a cluster of its own on a free port of loopback, with passwords, and with contrib (pg_trgm)."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
from pathlib import Path

import psycopg
from psycopg import sql

from tests.services.daemons import Daemon, Daemons, free_port

PACKAGES = "postgresql postgresql-contrib"
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
        as_owner = ["--reuid", str(self._owner.pw_uid), "--regid", str(self._owner.pw_gid), "--clear-groups"] if self._owner is not None else []
        self._daemons = Daemons("postgres", ["setpriv", *as_owner])
        self.folder = self._daemons.folder
        self._server: Daemon | None = None
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
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url(name)

    def start(self) -> None:
        """Start the server; return when it takes connections."""
        given = [part for name, value in OPTIONS.items() for part in ("-c", f"{name}={value}")]
        command = [f"{self._programs}/postgres", "-D", str(self.folder / "data"), "-p", str(self.port), "-k", "", *given]
        self._server = self._daemons.begin(*command, is_up=self._answers, death=signal.SIGQUIT)

    def stop(self) -> None:
        """End the server as a crash does: connections break, what is committed stays."""
        if self._server is not None:
            self._daemons.end(self._server, signal.SIGQUIT)
            self._server = None

    def close(self) -> None:
        """End the server and forget its databases."""
        self.stop()
        self._daemons.close()

    def _create(self) -> None:
        word = self.folder / "password"
        word.write_text(self.password)
        if self._owner is not None:
            for path in (self.folder, word):
                shutil.chown(path, self._owner.pw_uid, self._owner.pw_gid)
        told = ["-U", self.user, "--pwfile", str(word), "-N", "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8"]
        self._daemons.do(f"{self._programs}/initdb", "-D", str(self.folder / "data"), *told)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=5).close()
            return True
        except psycopg.OperationalError:
            return False

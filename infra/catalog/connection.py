"""Connections to the library's database, and its migrations.

Migrations are numbered SQL files, applied forward only, each in a transaction, under an advisory lock; a file that changed after it was
applied is refused. Every function of this package takes a connection inside a transaction: callers say what belongs together.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
from collections.abc import Callable, Iterator
from importlib import resources
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from asd_core.errors import RequestError, RollcallError, Unavailable
from infra.catalog import locks

Connection = psycopg.Connection[TupleRow]
MIGRATION_LOCK = 0x726F6C6C  # advisory lock numbers: any constants that nobody else uses in this database
PUBLISH_LOCK = 0x726F6C6D
PUBLIC_VIEWS = ("who_spoke_when", "airtime_by_person_day", "co_appearance")
READER = "rollcall_reader"  # the role of dashboards: it may read the public views and nothing else
POOL_TIMEOUT = 30.0  # seconds to wait for a connection

# The pool's warnings would reach the terminal, by Python's last resort or through Prefect's handlers; its errors come as ours.
logging.getLogger("psycopg.pool").addHandler(logging.NullHandler())
logging.getLogger("psycopg.pool").propagate = False


class CatalogError(RollcallError):
    """The database is not one that this version can use."""


def migrations() -> list[tuple[int, str, str]]:
    """Return (version, sha256, SQL) of every migration, in order."""
    files = sorted(resources.files("infra.catalog").joinpath("migrations").iterdir(), key=lambda file: file.name)
    texts = [(int(file.name.split("_")[0]), file.read_text(encoding="utf-8")) for file in files if file.name.endswith(".sql")]
    return [(version, hashlib.sha256(text.encode()).hexdigest(), text) for version, text in texts]


def migrate(connection: Connection) -> int:
    """Bring the database to this version; return how many migrations were applied.

    Raises:
        CatalogError: the database is newer than the program, or a migration was changed after it was applied.
    """
    wanted = migrations()
    applied = 0
    connection.execute("SELECT pg_advisory_lock(%s)", (MIGRATION_LOCK,))
    try:
        connection.execute(
            """CREATE TABLE IF NOT EXISTS schema_version
               (version integer PRIMARY KEY, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"""
        )
        known: dict[int, str] = dict(connection.execute("SELECT version, sha256 FROM schema_version").fetchall())
        if known.keys() - {version for version, _, _ in wanted}:
            raise CatalogError(f"the library was made by a newer version (schema {max(known)}); update rollcall")
        for version, digest, text in wanted:
            if version not in known:
                with connection.transaction():
                    connection.execute(text.encode())
                    connection.execute("INSERT INTO schema_version (version, sha256) VALUES (%s, %s)", (version, digest))
                applied += 1
            elif known[version] != digest:
                raise CatalogError(f"migration {version} was changed after it had been applied to this library")
        _let_read(connection)
    finally:
        connection.execute("SELECT pg_advisory_unlock(%s)", (MIGRATION_LOCK,))
    return applied


def _let_read(connection: Connection) -> None:
    """Grant the public views to the role that dashboards come as, where the server has it and the views are not granted yet."""
    row = connection.execute(
        "SELECT bool_and(has_table_privilege(rolname, view, 'SELECT')) FROM pg_roles, unnest(%s::text[]) view WHERE rolname = %s",
        (list(PUBLIC_VIEWS), READER),
    ).fetchone()
    if row is not None and row[0] is False:
        connection.execute(f"GRANT SELECT ON {', '.join(PUBLIC_VIEWS)} TO {READER}".encode())


class Catalog:
    """The library's database: a pool that opens when it is first used. Safe for several threads.

    Args:
        url: of a PostgreSQL, version 15 or later.
        connections: the most that are open at once.
        lost: says whether the server is known to be gone for good.
    """

    def __init__(self, url: str, *, connections: int = 8, lost: Callable[[], bool] = lambda: False) -> None:
        self.lost = lost
        self._url, self._connections = url, connections
        self._pool: ConnectionPool[Connection] | None = None
        self._guard = threading.Lock()

    def _open(self) -> ConnectionPool[Connection]:
        with self._guard:
            if self._pool is None:
                try:
                    conninfo_to_dict(self._url)
                except psycopg.Error:  # its words repeat the URL, and with it the password
                    raise RequestError("settings: database_url is no URL of a PostgreSQL database") from None
                with _errors(), psycopg.connect(self._url, autocommit=True, connect_timeout=15) as connection:
                    migrate(connection)
                self._pool = ConnectionPool(
                    self._url, min_size=0, max_size=self._connections, timeout=POOL_TIMEOUT, open=True,
                    kwargs={"connect_timeout": 15}, check=ConnectionPool.check_connection,
                )  # fmt: skip
            return self._pool

    def open(self) -> None:
        """Connect and migrate now, so that what is wrong shows early."""
        self._open()

    def close(self) -> None:
        """Close all connections."""
        with self._guard:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    @contextlib.contextmanager
    def transaction(self, *, serial: bool = False) -> Iterator[Connection]:
        """Give a connection for one transaction: committed at the end of the block, rolled back by an error.

        `serial`: one at a time over all processes; whatever changes persons or vectors does it so. Under it the block sees everything
        that its predecessors committed.

        Raises:
            Unavailable: the database is out of reach, or the transaction lost against another: try again.
            RequestError: a value that no database holds: NUL, or bytes that are no text.
        """
        with _errors(), self._open().connection() as connection:
            if serial:
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (PUBLISH_LOCK,))
            yield connection

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection whose queries all see the same state of the library."""
        with _errors(), self._open().connection() as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield connection

    @contextlib.contextmanager
    def alone(self, what: str, *, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Be the only one, among all processes on this library, who is in this block for a name; who comes second waits.

        The lock lives with a connection of its own, so that it ends with the process, however that ends. A database that is restarted
        forgets it; it is taken again within seconds, but meanwhile another may come: what is done under it must bear to be done twice.

        Args:
            what: a name, such as `asset:<sha256>`.
            waiting: called twice a second by who waits; may raise.

        Raises:
            Unavailable: the database is out of reach.
        """
        with self._holding(locks.of_name(what), waiting):
            yield

    @contextlib.contextmanager
    def alive(self, run_id: int) -> Iterator[None]:
        """Let everybody see that the process of a run lives, as `alone` lets them see that a name is taken.

        Raises:
            Unavailable: the database is out of reach.
        """
        with self._holding(locks.of_run(run_id)):
            yield

    @contextlib.contextmanager
    def _holding(self, key: locks.Key, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
        self._open()
        with contextlib.ExitStack() as lock:
            with _errors():
                lock.enter_context(locks.held(self._url, key, waiting))
            yield

    def is_taken(self, what: str) -> bool:
        """Say whether somebody is in the block that `alone` guards."""
        with self.reading() as connection:
            return locks.is_taken(connection, what)


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except (PoolTimeout, PoolClosed) as error:
        raise Unavailable(f"the database gives no connection: {error}") from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise Unavailable(f"the database is out of reach: {_first_line(error)}") from error
    except (psycopg.DataError, UnicodeEncodeError) as error:  # NUL, or bytes that are no text: of a name or of a hostile file
        raise RequestError(f"this is no text that the library could hold: {_first_line(error)}") from error


def _first_line(error: Any) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__

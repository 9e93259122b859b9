"""What one process at a time may hold, on whatever machine: PostgreSQL's advisory locks, each held by a connection of its own.

There are locks of names, under which work is done once (`Catalog.alone`), and locks of runs, by which it is seen that their processes live.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Iterator

import psycopg
from psycopg.rows import TupleRow

NAMED_LOCK = 0x726F6C6E  # first number of the lock of a name: a constant that nobody else uses in this database
RUN_LOCK = 0x726F6C6F  # the same of the lock of a run
TRY_SECONDS = 0.5  # between two tries
KEEP_SECONDS = 5.0  # between two looks at whether a lock is still held
CONNECT_SECONDS = 15
RELEASE_SECONDS = 2.0
# A machine that vanishes says nothing: without these a connection would wait a quarter of an hour for it. Of no effect on a Unix socket.
SILENT = {"tcp_user_timeout": 15_000, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}

Key = tuple[int, int]
"""The two numbers of a lock, each of 32 bits with its sign."""


def _held(kind: int) -> str:
    return f"""SELECT objid::bigint AS number FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = {kind}
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""  # noqa: S608 -- a number of ours


HELD_NAMES, HELD_RUNS = _held(NAMED_LOCK), _held(RUN_LOCK)  # their second numbers, which PostgreSQL shows without their signs


def of_name(what: str) -> Key:
    """Return the lock of a name."""
    return NAMED_LOCK, int.from_bytes(hashlib.sha256(what.encode()).digest()[:4], "big", signed=True)


def of_run(run_id: int) -> Key:
    """Return the lock of a run."""
    return RUN_LOCK, run_id


@contextlib.contextmanager
def held(url: str, key: Key, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold a lock; `waiting` is called twice a second by who waits for it, and may raise.

    Raises:
        psycopg.Error: the database is out of reach.
    """
    lock = _Lock(url, key)
    try:
        while not lock.take():
            waiting()
            time.sleep(TRY_SECONDS)
        threading.Thread(target=lock.keep, name="lock", daemon=True).start()
        yield
    finally:
        lock.release()


def is_taken(connection: psycopg.Connection[TupleRow], what: str) -> bool:
    """Say whether somebody holds a name's lock."""
    return connection.execute(f"SELECT FROM ({HELD_NAMES}) held WHERE number = %s", (of_name(what)[1] % 2**32,)).fetchone() is not None


class _Lock:
    """A lock and the connection that holds it; `keep` runs in a thread of its own."""

    def __init__(self, url: str, key: Key) -> None:
        self._url, self._key = url, key
        self._over = threading.Event()
        self._using = threading.Lock()
        self._connection = self._connect()

    def _connect(self) -> psycopg.Connection[TupleRow]:
        return psycopg.connect(self._url, autocommit=True, connect_timeout=CONNECT_SECONDS, **SILENT)

    def take(self) -> bool:
        """Try once."""
        row = self._connection.execute("SELECT pg_try_advisory_lock(%s, %s)", self._key).fetchone()
        return row is not None and bool(row[0])

    def keep(self) -> None:
        """Take the lock again where the database was restarted, which forgets it, unless somebody else was quicker."""
        taken = True
        while not self._over.wait(KEEP_SECONDS):
            with self._using, contextlib.suppress(psycopg.Error):
                if self._connection.closed:
                    self._connection, taken = self._connect(), False
                taken = taken or self.take()
                self._connection.execute("SELECT")
                if self._over.is_set():
                    self._connection.close()

    def release(self) -> None:
        """Give the lock up, so that whoever looks next finds it free."""
        self._over.set()
        if self._using.acquire(timeout=RELEASE_SECONDS):  # else `keep` waits for a database that is away, and closes what it gets
            with contextlib.suppress(psycopg.Error):
                self._connection.execute("SELECT pg_advisory_unlock(%s, %s)", self._key)
            self._connection.close()
            self._using.release()

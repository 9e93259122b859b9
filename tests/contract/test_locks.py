"""Locks of the library by name: one holder among all processes; the lock ends with its process, and a second user of a name waits."""

import subprocess
import sys
import threading
import time

import pytest

from asd_core.errors import Unavailable
from infra.catalog import locks
from infra.catalog.connection import Catalog
from infra.settings import child_environment

pytestmark = [pytest.mark.service, pytest.mark.timeout(60)]
HOLD = """
import sys, time
from infra.catalog.connection import Catalog
with Catalog(sys.argv[1]).alone("a"):
    print("held", flush=True)
    time.sleep(60)
"""


class Enough(Exception):
    pass


def give_up():
    raise Enough


def test_a_name_has_one_holder_and_other_names_are_free(catalog, database_url):
    other = Catalog(database_url)
    with catalog.alone("a"), other.alone("b"):
        assert (other.is_taken("a"), catalog.is_taken("b"), catalog.is_taken("c")) == (True, True, False)
        with pytest.raises(Enough), other.alone("a", waiting=give_up):
            pass
    assert not other.is_taken("a")
    other.close()


def test_who_comes_second_goes_on_when_the_first_has_done(catalog):
    order, waits = [], threading.Event()

    def second():
        with catalog.alone("a", waiting=waits.set):
            order.append("second")

    thread = threading.Thread(target=second)
    with catalog.alone("a"):
        thread.start()
        assert waits.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_a_killed_process_holds_nothing(catalog, database_url):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, database_url], env=child_environment(), stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    assert catalog.is_taken("a")
    holder.kill()
    holder.communicate(timeout=10)
    with catalog.alone("a"):  # at the latest when the server has seen the connection end
        pass


def test_a_database_that_is_away_is_told(catalog, tmp_path):
    away = Catalog(f"postgresql://rollcall@/postgres?host={tmp_path}&port=5432")
    with pytest.raises(Unavailable), away.alone("a"):
        pass


def test_a_lock_that_the_database_forgot_is_taken_again(catalog, database_url, monkeypatch):
    """What a restart of the server does to a lock: its session is ended."""
    monkeypatch.setattr(locks, "KEEP_SECONDS", 0.05)
    other = Catalog(database_url)
    with catalog.alone("a"):
        with other.transaction() as connection:
            ended = connection.execute(
                """SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory' AND classid = %s
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())""",
                (locks.NAMED_LOCK,),
            ).fetchall()
        assert ended == [(True,)]
        deadline = time.monotonic() + 20
        while not other.is_taken("a"):
            assert time.monotonic() < deadline
    assert not other.is_taken("a")
    other.close()

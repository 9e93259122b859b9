"""Runs of the library: one whose process is gone is neither counted as at work nor left as running."""

import subprocess
import sys
import time

import pytest

from infra.catalog import runs
from infra.catalog.figures import read_figures
from infra.settings import child_environment

pytestmark = [pytest.mark.service, pytest.mark.timeout(60)]
RUN = """
import sys, time
from infra.catalog import runs
from infra.catalog.connection import Catalog
with runs.running(Catalog(sys.argv[1]), "ingest"):
    print("begun", flush=True)
    time.sleep(60)
"""


def states(catalog):
    with catalog.reading() as connection:
        return [state for (state,) in connection.execute("SELECT state FROM run ORDER BY id")]


def at_work(catalog):
    with catalog.reading() as connection:
        return read_figures(connection).runs


@pytest.fixture
def killed(catalog, database_url):
    """A run whose process was killed, as soon as the server has seen that."""
    process = subprocess.Popen([sys.executable, "-c", RUN, database_url], env=child_environment(), stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"begun\n"
    assert at_work(catalog) == {"ingest": 1}
    process.kill()
    process.communicate(timeout=10)
    deadline = time.monotonic() + 20
    while at_work(catalog) != {"ingest": 0}:
        assert time.monotonic() < deadline
    return catalog


def test_a_killed_run_is_lost_when_the_next_begins(killed):
    assert states(killed) == ["running"]
    with runs.running(killed, "ingest"):
        assert states(killed) == ["lost", "running"]
        assert at_work(killed) == {"ingest": 1}
    with killed.reading() as connection:
        assert connection.execute("SELECT count(*) FROM run WHERE state = 'lost' AND ended_at > started_at").fetchone() == (1,)


def test_runs_that_live_leave_each_other_alone(catalog, database_url):
    with runs.running(catalog, "ingest") as first, runs.running(catalog, "ingest"):
        assert states(catalog) == ["running", "running"]
        with catalog.transaction() as connection:
            runs.end_run(connection, first, "done")
    with runs.running(catalog, "watch"):
        assert states(catalog) == ["done", "lost", "running"]


def test_a_run_that_was_given_up_too_early_says_how_it_ended(catalog):
    with catalog.transaction() as connection:
        connection.execute("INSERT INTO run (kind) VALUES ('ingest')")  # as one whose lock the database forgot
    with runs.running(catalog, "ingest"):
        assert states(catalog) == ["lost", "running"]
    with catalog.transaction() as connection:
        runs.end_run(connection, 1, "done")
    assert states(catalog) == ["done", "running"]


def test_a_run_that_cannot_show_that_it_lives_leaves_no_row(catalog, monkeypatch):
    monkeypatch.setattr(catalog, "alive", lambda run_id: (_ for _ in ()).throw(RuntimeError))
    with pytest.raises(RuntimeError), runs.running(catalog, "ingest"):
        pass
    assert states(catalog) == []

"""A new home begins with a database that was migrated before, and never with one that somebody has used."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import types

import pytest

from infra import orchestrate
from infra.orchestrate import PrefectServer


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start the server of a home by name, without its process; it makes the database if there is none."""
    monkeypatch.setattr(orchestrate, "_template", lambda: tmp_path / "template.db")
    monkeypatch.setattr(PrefectServer, "_wait_until_healthy", lambda *_: True)

    def launch(server, _):
        with contextlib.closing(sqlite3.connect(server.data / "prefect.db")) as connection, connection:
            connection.execute("CREATE TABLE IF NOT EXISTS run (name text)")
        return types.SimpleNamespace(pid=os.getpid())

    monkeypatch.setattr(PrefectServer, "_launch", launch)

    def started(name):
        PrefectServer(tmp_path / name).start()
        return tmp_path / name / "prefect" / "prefect.db"

    return started


def runs(database):
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return connection.execute("SELECT name FROM run").fetchall()


def use(database):
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("INSERT INTO run VALUES ('secret film')")


def test_what_was_just_made_is_kept_for_the_next_home(start, tmp_path):
    use(start("first"))
    assert runs(tmp_path / "template.db") == []
    assert runs(start("second")) == []


def test_a_used_database_is_never_kept(start, tmp_path):
    use(start("first"))
    (tmp_path / "template.db").unlink()  # a new installation meets an old home
    assert runs(start("first")) == [("secret film",)]
    assert not (tmp_path / "template.db").exists()
    assert runs(start("second")) == []

"""`rollcall index` and what `doctor` says of it, on a library in a given database; and who writes snapshots."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import psycopg
import pytest

from infra.catalog import index_log
from infra.settings import child_environment, load_settings
from infra.wiring import open_adapters
from tasks.index import catch_up_index, index_state, open_index, snapshot_positions, verify_index
from tasks.plan import make_plan
from tests.contract.library import add

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.service


@pytest.fixture
def plan(tmp_path):
    return make_plan(load_settings(home=tmp_path / "home"))


@pytest.fixture
def library(catalog, database_url, plan):
    """A library of three faces whose vectors are of the embedder that is in use; gives the ids and a way to run SQL."""
    add(catalog, "a.mp4", (1, 2))
    add(catalog, "b.mp4", (3,))
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE model SET sha256 = %s WHERE role = 'embedder'", (plan.models["embedder"].sha256,))
        ids = [row[0] for row in connection.execute("SELECT id FROM track_embedding ORDER BY id")]
        for ident in ids:
            connection.execute("UPDATE track_embedding SET dimension = 512, vector = %s WHERE id = %s", (vector(ident), ident))
        yield ids, connection.execute


def vector(seed):
    made = np.random.default_rng(seed).normal(size=512)
    return (made / np.linalg.norm(made)).astype("<f4").tobytes()


@pytest.fixture
def rollcall(tmp_path, database_url):
    def run(*arguments, check=0):
        environment = child_environment() | {"ROLLCALL_HOME": str(tmp_path / "home"), "ROLLCALL_DATABASE_URL": database_url, "COLUMNS": "200"}
        done = subprocess.run(
            [sys.executable, "-c", "import sys; sys.argv[0] = 'rollcall'; from rollcall.cli import main; main()", *arguments],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert check is None or done.returncode == check, (done.stdout, done.stderr)
        return done.stdout

    return run


def doctor_on_the_index(rollcall):
    found = {finding["about"]: finding for finding in json.loads(rollcall("doctor", "--json", check=None))}
    return found["index"]["verdict"], found["index"]["words"]


def test_verify_finds_what_was_planted_and_rebuild_heals_it(library, rollcall, tmp_path):
    (first, second, third), sql = library
    assert rollcall("index", "verify") == "3 vectors compared: all are equal\n"
    assert not list((tmp_path / "home" / "vectors").glob("*.faiss"))
    assert rollcall("index", "snapshot").endswith("every one is looked at: written\n")
    assert "up to date" in rollcall("index", "snapshot")
    sql("UPDATE track_embedding SET vector = %s WHERE id = %s", (vector(99), second))  # behind the log's back
    assert f"1 vector not equal to the library's: {second}\n" in rollcall("index", "verify", check=1)
    sql("DELETE FROM track_embedding WHERE id = %s", (third,))
    told = json.loads(rollcall("index", "verify", "--quick", "--json", check=1))
    assert told == {"compared": 2, "differences": [f"1 vector in the index alone: {third}", f"1 vector not equal to the library's: {second}"]}
    assert "2 vectors" in rollcall("index", "rebuild")
    assert rollcall("index", "verify") == "2 vectors compared: all are equal\n"
    (file,) = (tmp_path / "home" / "vectors").glob("*.faiss")
    file.write_bytes(file.read_bytes()[:-1])
    assert "cut short" in rollcall("index", "verify", check=1)
    assert first


def test_doctor_says_whether_the_index_is_in_step(library, rollcall):
    (_, _, third), sql = library
    assert doctor_on_the_index(rollcall) == ("ok", "in step: 3 vectors (read from the library, no snapshot yet), exact")
    rollcall("index", "snapshot")
    assert doctor_on_the_index(rollcall) == ("ok", "in step: 3 vectors (3 in the snapshot, 0 changes since), exact")
    sql("DELETE FROM track_embedding WHERE id = %s", (third,))
    verdict, words = doctor_on_the_index(rollcall)
    assert (verdict, words.split(":")[0]) == ("wrong", "3 vectors, the library has 2")


def test_publishing_writes_a_snapshot_only_when_it_is_worth_it(library, plan, tmp_path, database_url):
    """Publishing alone writes no file; after some thousand changes whoever published writes the snapshot, once."""
    (first, *_), sql = library
    folder, model = tmp_path / "home" / "vectors", plan.models["embedder"].sha256
    settings = load_settings(home=tmp_path / "home", database_url=database_url)
    with open_adapters(settings) as adapters:
        catch_up_index(adapters, plan)
        assert not list(folder.glob("*.faiss"))
        assert len(open_index(adapters, plan)) == 3
        sql(
            """INSERT INTO track (asset_id, track_id, number, shot, start, "end", still)
               SELECT asset_id, 'm' || n, 1000 + n, 0, 0, 1, false FROM track, generate_series(1, 5001) n WHERE id = (SELECT min(id) FROM track)"""
        )
        sql(
            """INSERT INTO track_embedding (track_pk, model_id, dimension, vector, vectors, quality)
               SELECT t.id, e.model_id, 512, e.vector, '', '' FROM track t, track_embedding e WHERE t.track_id LIKE 'm%%' AND e.id = %s""",
            (first,),
        )
        sql("INSERT INTO index_log (model_id, vector_id, action) SELECT model_id, id, 'add' FROM track_embedding WHERE vectors = '' ORDER BY id")
        assert len(open_index(adapters, plan)) == 5_004
        assert not list(folder.glob("*.faiss"))
        catch_up_index(adapters, plan)
        (file,) = folder.glob("*.faiss")
        catch_up_index(adapters, plan)
        assert list(folder.glob("*.faiss")) == [file]
        state = index_state(adapters, plan)
        assert (state.in_step, state.snapshot, state.waiting, state.exact) == (True, 5_004, 0, True)
        assert verify_index(adapters, plan) == ([], 5_004)
        assert snapshot_positions(adapters) == {model: 5_004}
        with adapters.catalog.reading() as connection:
            assert index_log.index_waiting(connection, model, open_index(adapters, plan).stands_at) == 0

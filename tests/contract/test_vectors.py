"""The vector index: a snapshot and what the log says since, exact or through inverted lists, shared between processes and machines."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asd_core.errors import ModelMismatch, Unavailable
from infra.objects import FolderStore
from infra.vectors import VectorIndex, layer
from infra.vectors.files import START
from tests.contract.made_log import D, Log, unit

MODEL = "ab" * 32


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "vectors"


def opened(folder: Path, **given) -> VectorIndex:
    return VectorIndex(folder, model=MODEL, dimension=D, **given)


def files_of(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.suffix != ".lock"}


def assert_holds(index: VectorIndex, log: Log, *, queries: int = 5) -> None:
    """The index is what the log says, and finds what a loop over all vectors finds."""
    assert index.differences(np.array(sorted(log.vectors)), log.pairs()) == []
    assert (len(index), index.ids().tolist()) == (len(log.vectors), sorted(log.vectors))
    ids = np.array(sorted(log.vectors))
    matrix = np.stack([log.vectors[k] for k in ids]) if len(ids) else np.zeros((0, D), np.float32)
    asked = unit(queries, seed=99)
    for row, nearest, alike in zip(asked @ matrix.T, index.nearest(asked, 7), index.alike(asked, 0.3), strict=True):
        assert [m.id for m in nearest] == ids[np.argsort(-row, kind="stable")[:7]].tolist()
        assert [m.id for m in alike] == [k for _, k in sorted((-c, k) for c, k in zip(row, ids, strict=True) if c >= 0.3)]
        assert np.allclose([m.cosine for m in alike], np.sort(row[row >= 0.3])[::-1], atol=1e-6)


# ---- searching --------------------------------------------------------------------------------------------------------------


def test_an_empty_index_finds_nothing(folder: Path) -> None:
    index = opened(folder)
    assert (len(index), index.stands_at, index.ids().tolist(), index.faults()) == (0, START, [], [])
    assert index.nearest(unit(2), 5) == [[], []]
    assert index.alike(unit(1), -1.0) == [[]]
    assert index.nearest(unit(0), 5) == []
    assert index.vector(1) is None
    assert index.catch_up(Log()) == 0


@pytest.mark.parametrize("written", [False, True])
def test_search_is_exact(folder: Path, written: bool) -> None:
    log = Log().add(range(10, 310), unit(300))
    index = opened(folder)
    index.snapshot(log) if written else index.catch_up(log)
    assert index.is_exact
    assert_holds(index, log)


def test_the_threshold_itself_is_alike(folder: Path) -> None:
    for limit in (10, 0):
        same = np.eye(D, dtype=np.float32)
        index = opened(folder / str(limit), exact_limit=limit)
        index.snapshot(Log().add(range(10, 10 + D), same))
        assert [m.id for m in index.alike(same[:1], 1.0)[0]] == [10]


def test_models_do_not_mix(folder: Path) -> None:
    index, log = opened(folder), Log().add(range(3), unit(3))
    index.snapshot(log)
    other = VectorIndex(folder, model="cd" * 32, dimension=8)
    assert len(other) == 0
    for wrong in (unit(2, dimension=8), unit(2) * 2, np.full((1, D), np.nan, np.float32)):
        with pytest.raises(ModelMismatch):
            index.nearest(wrong, 1)
        with pytest.raises(ModelMismatch):
            index.catch_up(Log(entries=[*log.entries], vectors=dict(log.vectors)).add([7, 8][: len(wrong)], wrong))
    assert_holds(index, log)


# ---- snapshot and delta -----------------------------------------------------------------------------------------------------


def test_what_is_published_is_found_without_any_file_written(folder: Path) -> None:
    log = Log().add(range(20), unit(20))
    opened(folder).snapshot(log)
    before = files_of(folder)
    reader = opened(folder)
    reader.catch_up(log)
    new = unit(1, seed=5)
    log.add([77], new)
    assert reader.catch_up(log) == 21
    assert reader.nearest(new, 1)[0][0].id == 77
    assert reader.changes == 1
    assert files_of(folder) == before
    assert log.asked == [0, 20, 20]  # the snapshot's log is not read again


def _search_twice(folder: str, url: str, asked) -> None:
    """A process of its own that searches whenever it is told to, and says how many vectors it holds and how many faces it found."""
    from infra.catalog import index_log
    from infra.catalog.connection import Catalog
    from tests.contract.library import EMBEDDER, face

    index, catalog = VectorIndex(Path(folder), model=EMBEDDER, dimension=64), Catalog(url)
    for _ in range(2):
        asked.recv()
        with catalog.reading() as connection:
            held = index.catch_up(lambda since: index_log.index_changes(connection, EMBEDDER, since))
        asked.send((held, len(index.alike(face(9)[None], 0.9)[0])))
    catalog.close()


@pytest.mark.service
def test_a_second_process_finds_a_new_face_with_its_next_search(folder: Path, catalog, database_url) -> None:
    from tests.contract.library import add

    def answer() -> tuple[int, int]:
        ours.send("search")
        assert ours.poll(60)
        return ours.recv()

    add(catalog, "a.mp4", (1, 2))
    spawn = multiprocessing.get_context("spawn")
    ours, its = spawn.Pipe()
    reader = spawn.Process(target=_search_twice, args=(str(folder), database_url, its))
    reader.start()
    try:
        assert answer() == (2, 0)
        add(catalog, "b.mp4", (9,))
        assert answer() == (3, 1)
        reader.join(60)
        assert reader.exitcode == 0
    finally:
        reader.kill()
    assert files_of(folder) == {}


def test_removal_in_the_delta_hides_what_the_snapshot_holds(folder: Path) -> None:
    log = Log().add(range(50), unit(50))
    index = opened(folder)
    index.snapshot(log)
    log.remove(3, 4, 49).add([60, 61], unit(2, seed=1)).remove(60)
    index.catch_up(log)
    assert (index.vector(3), index.vector(60)) == (None, None)
    assert_holds(index, log)
    log.add([4], unit(1, seed=2))  # an id that comes back is what it is now
    index.catch_up(log)
    assert_holds(index, log)
    index.snapshot(log)
    assert (index.changes, index.vector(3)) == (0, None)
    assert_holds(index, log)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(0, 9), unique=True, max_size=5), st.lists(st.integers(0, 9), unique=True, max_size=5), st.booleans(), st.booleans()
        ),
        max_size=6,
    ),
    st.sampled_from([100, 2]),
)
def test_snapshot_and_delta_equal_a_rebuild(tmp_path_factory, steps, exact_limit: int) -> None:
    folder, log = tmp_path_factory.mktemp("index"), Log()
    index = opened(folder, exact_limit=exact_limit)
    for number, (added, removed, written, again) in enumerate(steps, start=1):
        log.remove(*(ident for ident in removed if ident in log.vectors))
        log.add(added, unit(10, seed=number)[added])
        if again:
            index = opened(folder, exact_limit=exact_limit)
        index.snapshot(log) if written else index.catch_up(log)
    index.catch_up(log)
    assert_holds(index, log)
    assert index.faults() == []
    afresh = opened(folder, exact_limit=exact_limit)
    afresh.snapshot(log, afresh=True)
    assert_holds(afresh, log)
    assert (afresh.changes, afresh.stands_at) == (0, index.stands_at)


def test_a_snapshot_is_written_once_for_what_the_log_says(folder: Path) -> None:
    log = Log().add(range(5), unit(5))
    index = opened(folder)
    assert index.snapshot(log)
    before = files_of(folder)
    assert not index.snapshot(log)
    assert not opened(folder).snapshot(log)
    assert files_of(folder) == before
    assert index.snapshot(log, afresh=True)
    assert len(list(folder.glob("*.faiss"))) == 1
    assert index.newest_snapshot() == ((5, "ours 5"), 5)
    assert not opened(folder / "empty").snapshot(Log())


def test_another_log_is_not_taken_for_this_one(folder: Path) -> None:
    """A database that was restored or exchanged: entries of the same numbers say other things."""
    opened(folder).snapshot(Log().add(range(9), unit(9)))
    for other in (Log("theirs").add(range(20, 32), unit(12, seed=3)), Log("short").add([1], unit(1, seed=4)), Log("none")):
        index = opened(folder)
        index.catch_up(other)
        assert_holds(index, other)
        index.snapshot(other)
        assert_holds(opened(folder), other) if other.vectors else assert_holds(index, other)


def test_snapshots_are_worth_it_when_much_has_changed() -> None:
    assert not VectorIndex.is_worth_a_snapshot(5_000, 0)
    assert VectorIndex.is_worth_a_snapshot(5_001, 100_000)
    assert not VectorIndex.is_worth_a_snapshot(5_001, 1_000_000)
    assert VectorIndex.is_worth_a_snapshot(20_001, 1_000_000)


def test_a_process_with_a_large_delta_goes_over_to_a_newer_snapshot(folder: Path) -> None:
    log = Log()
    reader, writer = opened(folder), opened(folder)
    reader.catch_up(log.add(range(5_001), unit(5_001)))
    writer.snapshot(log)
    log.add([9_999], unit(1, seed=1))
    reader.catch_up(log)
    assert reader.changes == 1
    assert_holds(reader, log, queries=1)


def test_threads_search_while_the_log_goes_on(folder: Path) -> None:
    vectors, log = unit(200), Log()
    index, ended = opened(folder), threading.Event()
    faults: list[str] = []

    def search() -> None:
        while not ended.is_set():
            held = len(index)
            found = index.alike(vectors[:1], -1.0)[0]
            if len(found) < held or len({m.id for m in found}) != len(found):
                faults.append(f"{len(found)} of {held}")

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for k in range(200):
        log.add([k], vectors[k : k + 1])
        index.snapshot(log) if k % 50 == 49 else index.catch_up(log)
    ended.set()
    for thread in threads:
        thread.join(30)
    assert faults == []
    assert_holds(index, log)


# ---- damage and death -------------------------------------------------------------------------------------------------------


def harmed(folder: Path, harm: str) -> None:
    (file,) = folder.glob("*.faiss")
    side = folder / f"{MODEL[:16]}.json"
    content = bytearray(file.read_bytes())
    if harm == "cut":
        file.write_bytes(content[:-40])
    elif harm == "flip":
        content[-100] ^= 1
        file.write_bytes(content)
    elif harm == "gone":
        file.unlink()
    elif harm == "side":
        side.write_text("{")
    elif harm == "old":
        side.write_text(json.dumps({**json.loads(side.read_text()), "format": 1}))
    elif harm == "path":
        side.write_text(side.read_text().replace(file.name, f"../vectors/{file.name}"))
    elif harm == "other":
        side.write_text(json.dumps({**json.loads(side.read_text()), "model": "ee" * 32}))


@pytest.mark.parametrize("harm", ["cut", "flip", "gone", "side", "old", "path", "other"])
def test_damage_is_told_and_costs_nothing_but_time(folder: Path, harm: str) -> None:
    log = Log().add(range(8), unit(8))
    opened(folder).snapshot(log)
    assert opened(folder).faults() == []
    harmed(folder, harm)
    index = opened(folder)
    assert len(index.faults()) == 1
    index.catch_up(log)
    assert_holds(index, log)
    assert index.snapshot(log)
    assert opened(folder).faults() == []
    assert len(opened(folder)) == 8


def test_a_crash_between_file_and_side_file_leaves_the_old_snapshot(folder: Path) -> None:
    log = Log().add(range(8), unit(8))
    index = opened(folder)
    index.snapshot(log)
    side, old = index._snapshots.side_path.read_bytes(), {path.name: path.read_bytes() for path in folder.glob("*.faiss")}
    index.snapshot(log.add([8], unit(1, seed=1)))
    for name, content in old.items():  # what a process leaves that dies before it replaces the side file
        (folder / name).write_bytes(content)
    index._snapshots.side_path.write_bytes(side)
    assert len(list(folder.glob("*.faiss"))) == 2
    found = opened(folder)
    assert len(found) == 8
    assert found.catch_up(log) == 9
    assert_holds(found, log)
    found.snapshot(log)
    assert len(list(folder.glob("*.faiss"))) == 1


def _write_for_ever(folder: str, limit: int) -> None:
    log, index = Log(), opened(Path(folder), exact_limit=limit)
    vectors = unit(4_000)
    for k in range(0, 4_000, 20):
        index.snapshot(log.add(range(k, k + 20), vectors[k : k + 20]))
    time.sleep(60)


@pytest.mark.parametrize("limit", [10_000, 100])
def test_kill_9_while_snapshots_are_written_loses_nothing(folder: Path, limit: int) -> None:
    vectors, spawn = unit(4_000), multiprocessing.get_context("spawn")
    delays = np.random.default_rng(7).uniform(0.02, 0.6, 5)
    for delay in delays:
        folder.mkdir(exist_ok=True)
        before = (folder / f"{MODEL[:16]}.json").stat().st_ino if (folder / f"{MODEL[:16]}.json").exists() else None
        writer = spawn.Process(target=_write_for_ever, args=(str(folder), limit))
        writer.start()
        deadline = time.monotonic() + 60
        side = folder / f"{MODEL[:16]}.json"
        while time.monotonic() < deadline and (not side.exists() or side.stat().st_ino == before):
            time.sleep(0.01)
        time.sleep(delay)
        os.kill(writer.pid, signal.SIGKILL)
        writer.join(30)
        index = opened(folder, exact_limit=limit)
        assert index.faults() == []
        number = index.stands_at[0]
        assert number > 0
        log = Log().add(range(number), vectors[:number])
        assert index.catch_up(log) == number
        assert index.differences(np.arange(number), log.pairs()) == []
        log.add(range(number, number + 20), unit(20, seed=8))
        assert index.catch_up(log) == number + 20
        for path in folder.iterdir():  # the next writer begins a library of its own
            if path.suffix == ".json":
                path.unlink()


def _write_on_a_full_disk(folder: str, said) -> None:
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, 8_000))
    log = Log().add(range(5), unit(5)).add(range(10, 400), unit(390, seed=1))
    index = opened(Path(folder))
    try:
        index.snapshot(log)
    except Unavailable as error:
        said.send((str(error), index.differences(np.array(sorted(log.vectors)), log.pairs())))


def test_a_full_disk_is_one_line_and_leaves_the_old_snapshot(folder: Path) -> None:
    opened(folder).snapshot(Log().add(range(5), unit(5)))
    before = files_of(folder)
    spawn = multiprocessing.get_context("spawn")
    ours, its = spawn.Pipe()
    writer = spawn.Process(target=_write_on_a_full_disk, args=(str(folder), its))
    writer.start()
    writer.join(60)
    assert ours.poll(1)
    words, differences = ours.recv()
    assert words.startswith("the vector index cannot be written")
    assert differences == []
    assert files_of(folder) == before


def _write_some(folder: str, first: int) -> None:
    index, log = opened(Path(folder)), Log()
    vectors = unit(40)
    for k in range(40):
        log.add([k], vectors[k : k + 1])
        if k % 2 == first:
            index.snapshot(log)


def test_processes_that_write_take_turns(folder: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_write_some, args=(str(folder), first)) for first in (0, 1, 0)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    index = opened(folder)
    assert index.faults() == []
    log = Log().add(range(40), unit(40))
    index.catch_up(log)
    assert_holds(index, log)
    assert len(list(folder.glob("*.faiss"))) == 1


def test_who_does_not_wait_leaves_writing_to_the_other(folder: Path) -> None:
    log = Log().add(range(5), unit(5))
    index, other = opened(folder), opened(folder)
    with other._snapshots.writing() as mine:
        assert mine
        assert not index.snapshot(log, wait=False)
        assert index.catch_up(log) == 5
    assert index.snapshot(log, wait=False)


# ---- the mirror -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def test_a_new_machine_starts_from_the_mirror(tmp_path: Path, store: FolderStore) -> None:
    log = Log().add(range(400), unit(400))
    opened(tmp_path / "one", store=store, exact_limit=100).snapshot(log)
    log.add([400], unit(1, seed=1))
    log.asked.clear()
    other = opened(tmp_path / "two", store=store)
    assert other.newest_snapshot() == ((400, "ours 400"), 400)
    other.catch_up(log)
    assert log.asked == [400]
    assert not other.is_exact
    assert (other.changes, other.faults()) == (1, [])
    assert other.differences(np.arange(401), log.pairs()) == []


def test_a_stale_mirror_is_passed_over_and_replaced(tmp_path: Path, store: FolderStore) -> None:
    log = Log().add(range(10), unit(10))
    opened(tmp_path / "one", store=store).snapshot(log)
    log.remove(1).add([11], unit(1, seed=1))
    opened(tmp_path / "two").snapshot(log)  # a machine that could not reach the store
    two = opened(tmp_path / "two", store=store)
    assert two.stands_at[0] == 12
    assert_holds(two, log)
    assert not two.snapshot(log)  # nothing new for the folder, yet the mirror gets it
    third = opened(tmp_path / "three", store=store)
    assert third.stands_at[0] == 12
    assert_holds(third, log)
    assert len({info.key.split("/")[1] for info in store.list("vectors/")}) == 2  # one snapshot: file and side file


@pytest.mark.parametrize("harm", ["part", "flip", "side"])
def test_a_damaged_mirror_costs_nothing_but_time(tmp_path: Path, store: FolderStore, harm: str) -> None:
    log = Log().add(range(10), unit(10))
    opened(tmp_path / "one", store=store).snapshot(log)
    side, part = f"vectors/{MODEL[:16]}.json", next(info.key for info in store.list("vectors/") if info.key.endswith("/00000"))
    if harm == "part":
        store.delete(part)
    elif harm == "flip":
        store.put(part, bytes(reversed(store.get(part))))
    else:
        store.put(side, b"{}")
    two = opened(tmp_path / "two", store=store)
    two.catch_up(log)
    assert_holds(two, log)
    two.snapshot(log.add([10], unit(1, seed=1)))
    assert_holds(opened(tmp_path / "three", store=store), log)


def test_a_store_out_of_reach_stops_no_search(tmp_path: Path) -> None:
    class Gone(FolderStore):
        def get(self, key):
            raise Unavailable("the store is out of reach")

    log = Log().add(range(10), unit(10))
    index = opened(tmp_path / "one", store=Gone(tmp_path / "store"))
    assert index.catch_up(log) == 10
    assert_holds(index, log)


# ---- above the limit --------------------------------------------------------------------------------------------------------


def crowd(people: int, each: int, seed: int) -> np.ndarray:
    """Faces of people: a centre and what differs from picture to picture."""
    rng = np.random.default_rng(seed)
    faces = np.repeat(unit(people, seed, 64), each, axis=0) + 0.6 * unit(people * each, seed + 1, 64) * rng.uniform(0.5, 1.5, (people * each, 1))
    return (faces / np.linalg.norm(faces, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(("looked_at", "recall"), [(layer.LOOKED_AT, 1.0), (5_000, 0.9)])
def test_inverted_lists_behave_as_the_exact_index_does(folder: Path, monkeypatch, looked_at: int, recall: float) -> None:
    monkeypatch.setattr(layer, "LOOKED_AT", looked_at)
    faces = crowd(1_000, 20, 0)
    log = Log().add(range(20_000), faces)
    exact = VectorIndex(folder / "exact", model=MODEL, dimension=64)
    lists = VectorIndex(folder / "lists", model=MODEL, dimension=64, exact_limit=1_000)
    exact.snapshot(log)
    lists.snapshot(log)
    assert (exact.is_exact, lists.is_exact, lists.faults()) == (True, False, [])
    removed = range(0, 20_000, 7)
    log.remove(*removed).add(range(30_000, 30_500), crowd(25, 20, 5))
    exact.catch_up(log)
    for step in ("delta", "snapshot", "opened"):
        if step == "snapshot":
            assert lists.snapshot(log)
        if step == "opened":
            lists = VectorIndex(folder / "lists", model=MODEL, dimension=64, exact_limit=1_000)
        lists.catch_up(log)
        assert lists.differences(exact.ids(), log.pairs()) == []
        assert lists.faults() == []
        queries = np.concatenate([crowd(1_000, 1, 0)[::10], crowd(25, 20, 5)[::10]])
        same, wanted, found = 0, 0, 0
        for true, near, all_true, all_near in zip(
            exact.nearest(queries, 5), lists.nearest(queries, 5), exact.alike(queries, 0.6), lists.alike(queries, 0.6), strict=True
        ):
            same += true[0].id == near[0].id
            truth = {m.id: m.cosine for m in all_true}
            assert {m.id for m in all_near} <= truth.keys()
            assert all(abs(truth[m.id] - m.cosine) < 1e-5 for m in all_near)
            assert not {m.id for m in (*near, *all_near)} & set(removed)
            wanted, found = wanted + len(all_true), found + len(all_near)
        assert same / len(queries) >= recall, step
        assert found / max(1, wanted) >= recall, step


def test_lists_come_and_go_with_the_limit(folder: Path) -> None:
    log = Log().add(range(300), unit(300))
    index = opened(folder, exact_limit=299)
    index.snapshot(log)
    assert not index.is_exact
    assert len(list(folder.glob("*.faiss"))) == 2
    index.snapshot(log.remove(5))
    assert index.is_exact
    assert len(list(folder.glob("*.faiss"))) == 1
    assert_holds(index, log)


def test_lists_are_learnt_anew_when_the_index_has_outgrown_them(folder: Path) -> None:
    log = Log().add(range(400), unit(400))
    index = opened(folder, exact_limit=10)
    sizes = []
    for count in (400, 600, 1_200):
        index.snapshot(log.add(range(len(log.vectors), count), unit(2_000, seed=2)[len(log.vectors) : count]))
        sizes.append(index._view.base._lists.nlist)
    assert sizes == [20, 20, 35]
    assert index.faults() == []
    assert index.differences(np.arange(1_200), log.pairs()) == []


# ---- verifying --------------------------------------------------------------------------------------------------------------


def test_a_planted_difference_is_found_and_named(folder: Path) -> None:
    log = Log().add(range(30), unit(30))
    index = opened(folder)
    index.snapshot(log)
    ids = np.arange(30)
    assert index.differences(ids, log.pairs()) == []
    log.vectors[7] = unit(1, seed=9)[0]
    assert index.differences(ids, log.pairs()) == ["1 vector not equal to the library's: 7"]
    assert index.differences(np.arange(31), []) == ["1 vector missing from the index: 30"]
    assert index.differences(np.arange(20), []) == ["10 vectors in the index alone: 20, 21, 22, 23, 24 and 5 more"]


def test_lists_that_are_not_those_of_the_vectors_are_told(folder: Path) -> None:
    import hashlib

    import faiss

    log = Log().add(range(300), unit(300))
    opened(folder, exact_limit=10).snapshot(log)
    (path,) = folder.glob("*.lists.faiss")
    lists = faiss.read_index(str(path))
    lists.remove_ids(faiss.IDSelectorBatch(np.array([17])))
    faiss.write_index(lists, str(path))
    side_path = folder / f"{MODEL[:16]}.json"
    side = json.loads(side_path.read_text())
    side["files"][1] |= {"size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    side_path.write_text(json.dumps(side))
    assert "do not hold the ids" in opened(folder).faults()[0]

"""One index for several threads and processes: they find what is new, and write in turns."""

from __future__ import annotations

import multiprocessing
import threading
from pathlib import Path

import pytest

from infra.vectors import VectorIndex
from tests.contract.made_log import Log, assert_holds, files_of, opened, unit

SPAWN = multiprocessing.get_context("spawn")


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
    ours, its = SPAWN.Pipe()
    reader = SPAWN.Process(target=_search_twice, args=(str(folder), database_url, its))
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


def _write_some(folder: str, first: int) -> None:
    index, log = opened(Path(folder)), Log()
    vectors = unit(40)
    for k in range(40):
        log.add([k], vectors[k : k + 1])
        if k % 2 == first:
            index.snapshot(log)


def test_processes_that_write_take_turns(folder: Path) -> None:
    writers = [SPAWN.Process(target=_write_some, args=(str(folder), first)) for first in (0, 1, 0)]
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

"""Damage, death and a full disk cost an index time, nothing else."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from asd_core.errors import Unavailable
from tests.contract.made_log import Log, assert_holds, files_of, opened, side_of, unit

SPAWN = multiprocessing.get_context("spawn")


def harmed(folder: Path, harm: str) -> None:
    (file,) = folder.glob("*.faiss")
    side = side_of(folder)
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
    vectors, side = unit(4_000), side_of(folder)
    delays = np.random.default_rng(7).uniform(0.02, 0.6, 5)
    for delay in delays:
        folder.mkdir(exist_ok=True)
        before = (side_of(folder)).stat().st_ino if (side_of(folder)).exists() else None
        writer = SPAWN.Process(target=_write_for_ever, args=(str(folder), limit))
        writer.start()
        deadline = time.monotonic() + 60
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
    ours, its = SPAWN.Pipe()
    writer = SPAWN.Process(target=_write_on_a_full_disk, args=(str(folder), its))
    writer.start()
    writer.join(60)
    assert ours.poll(1)
    words, differences = ours.recv()
    assert words.startswith("the vector index cannot be written")
    assert differences == []
    assert files_of(folder) == before

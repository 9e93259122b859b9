"""Snapshots in a store: a new machine starts from them. In a bucket: tests/services/test_index_mirror.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asd_core.errors import Unavailable
from infra.objects import FolderStore
from tests.contract.made_log import Log, assert_holds, opened, side_of, unit


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
    side, part = f"vectors/{side_of(tmp_path).name}", next(info.key for info in store.list("vectors/") if info.key.endswith("/00000"))
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

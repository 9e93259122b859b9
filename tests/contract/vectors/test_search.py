"""What a search of the vector index finds, and how an index that holds something else is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asd_core.errors import ModelMismatch
from infra.vectors import VectorIndex
from infra.vectors.files import START
from tests.contract.made_log import D, Log, assert_holds, opened, unit


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

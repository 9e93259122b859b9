"""Above the limit an index searches through inverted lists, and finds what the exact one finds."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import faiss
import numpy as np
import pytest

from infra.vectors import VectorIndex, layer
from tests.contract.made_log import MODEL, Log, assert_holds, opened, side_of, unit


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


def test_lists_that_are_not_those_of_the_vectors_are_told(folder: Path) -> None:
    log = Log().add(range(300), unit(300))
    opened(folder, exact_limit=10).snapshot(log)
    (path,) = folder.glob("*.lists.faiss")
    lists = faiss.read_index(str(path))
    lists.remove_ids(faiss.IDSelectorBatch(np.array([17])))
    faiss.write_index(lists, str(path))
    side_path = side_of(folder)
    side = json.loads(side_path.read_text())
    side["files"][1] |= {"size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    side_path.write_text(json.dumps(side))
    assert "do not hold the ids" in opened(folder).faults()[0]

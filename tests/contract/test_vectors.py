"""The vector index: exact, atomic, shared between processes, rebuilt when damaged."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asd_core.errors import ModelMismatch
from infra.vectors import VectorIndex

MODEL = "ab" * 32
D = 16


def unit(count: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, D)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def index(tmp_path: Path) -> VectorIndex:
    return VectorIndex(tmp_path / "vectors", model=MODEL, dimension=D)


def fill(index: VectorIndex, vectors: np.ndarray, *, stands_at: int = 1) -> None:
    index.rebuild(((10 + k, v) for k, v in enumerate(vectors)), stands_at=stands_at)


def test_an_empty_index_finds_nothing(index: VectorIndex) -> None:
    assert len(index) == 0
    assert index.stands_at == 0
    assert index.nearest(unit(2), 5) == [[], []]
    assert index.alike(unit(1), -1.0) == [[]]
    assert index.nearest(unit(0), 5) == []
    assert "never written" in str(index.verify())


def test_search_is_exact(index: VectorIndex) -> None:
    vectors, queries = unit(300), unit(5, seed=1)
    fill(index, vectors)
    cosines = queries @ vectors.T
    for row, nearest, alike in zip(cosines, index.nearest(queries, 7), index.alike(queries, 0.3), strict=True):
        assert [m.id - 10 for m in nearest] == np.argsort(-row)[:7].tolist()
        assert {m.id - 10 for m in alike} == set(np.flatnonzero(row >= 0.3).tolist())
        assert np.allclose([m.cosine for m in alike], np.sort(row[row >= 0.3])[::-1], atol=1e-6)


def test_the_threshold_itself_is_alike(index: VectorIndex) -> None:
    same = np.eye(D, dtype=np.float32)[:1]
    fill(index, same)
    assert [m.id for m in index.alike(same, 1.0)[0]] == [10]


def test_catching_up_applies_what_is_new_and_can_be_repeated(index: VectorIndex) -> None:
    vectors = unit(6)
    asked: list[int] = []

    def delta(after: int):
        asked.append(after)
        if after == 0:
            return 3, [(k, vectors[k].tobytes()) for k in range(4)], []
        return 5, [(4, vectors[4]), (1, vectors[5])], [0, 99]

    assert index.catch_up(delta) == 4
    assert index.catch_up(delta) == 4
    assert index.catch_up(delta) == 4
    assert asked == [0, 3, 5]
    assert index.ids().tolist() == [1, 2, 3, 4]
    assert np.allclose(index.vector(1), vectors[5])
    assert index.vector(0) is None
    assert index.verify() is None


def test_another_reader_sees_what_was_written(index: VectorIndex, tmp_path: Path) -> None:
    reader = VectorIndex(tmp_path / "vectors", model=MODEL, dimension=D)
    assert len(reader) == 0
    fill(index, unit(3))
    assert len(reader) == 3
    fill(index, unit(5), stands_at=9)
    assert (len(reader), reader.stands_at) == (5, 9)
    assert len(list((tmp_path / "vectors").glob("*.faiss"))) == 1


def test_models_do_not_mix(index: VectorIndex, tmp_path: Path) -> None:
    fill(index, unit(3))
    other = VectorIndex(tmp_path / "vectors", model="cd" * 32, dimension=8)
    assert len(other) == 0
    for wrong in (unit(2)[:, :8], unit(2) * 2, np.full((1, D), np.nan, np.float32)):
        with pytest.raises(ModelMismatch):
            index.nearest(wrong, 1)
        with pytest.raises(ModelMismatch):
            index.rebuild(enumerate(wrong), stands_at=2)
    assert index.stands_at == 1


@pytest.mark.parametrize("harm", ["cut", "flip", "gone", "side", "other"])
def test_damage_is_noticed_and_healed_by_catching_up(index: VectorIndex, tmp_path: Path, harm: str) -> None:
    vectors = unit(8)
    fill(index, vectors)
    (file,) = (tmp_path / "vectors").glob("*.faiss")
    side = tmp_path / "vectors" / f"{MODEL[:16]}.json"
    if harm == "cut":
        file.write_bytes(file.read_bytes()[:-40])
    elif harm == "flip":
        content = bytearray(file.read_bytes())
        content[-100] ^= 1
        file.write_bytes(content)
    elif harm == "gone":
        file.unlink()
    elif harm == "side":
        side.write_text("{")
    else:
        side.write_text(json.dumps({**json.loads(side.read_text()), "model": "ee" * 32}))
    opened = VectorIndex(tmp_path / "vectors", model=MODEL, dimension=D)
    assert opened.verify() is not None
    assert (len(opened), opened.stands_at) == (0, 0)
    opened.catch_up(lambda after: (4, list(enumerate(vectors)), []) if after == 0 else (after, [], []))
    assert (len(opened), opened.stands_at, opened.verify()) == (8, 4, None)


def _write_some(folder: str, first: int) -> None:
    index = VectorIndex(Path(folder), model=MODEL, dimension=D)
    vectors = unit(40)
    for k in range(first, 40, 2):
        index.catch_up(lambda after, k=k: (after + 1, [(k, vectors[k])], []))


def test_two_processes_take_turns(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_write_some, args=(str(tmp_path), first)) for first in (0, 1)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    index = VectorIndex(tmp_path, model=MODEL, dimension=D)
    # whoever came first found the index empty (0) and began it; all later changes were added to it
    assert index.ids().tolist() == list(range(40))
    assert index.stands_at == 40


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.lists(st.integers(0, 9), unique=True, max_size=5), st.lists(st.integers(0, 9), unique=True, max_size=5)), max_size=6))
def test_deltas_in_steps_equal_a_rebuild(tmp_path_factory, steps: list[tuple[list[int], list[int]]]) -> None:
    index = VectorIndex(tmp_path_factory.mktemp("index"), model=MODEL, dimension=D)
    truth: dict[int, np.ndarray] = {}
    for number, (added, removed) in enumerate(steps, start=1):
        vectors = unit(10, seed=number)
        for k in removed:
            truth.pop(k, None)
        truth |= {k: vectors[k] for k in added}
        index.catch_up(lambda after, n=number, a=added, r=removed, v=vectors: (n, [(k, v[k]) for k in a], r))
    assert index.ids().tolist() == sorted(truth)
    for k, vector in truth.items():
        assert np.allclose(index.vector(k), vector, atol=1e-6)

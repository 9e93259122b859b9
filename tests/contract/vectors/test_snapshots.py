"""A snapshot and, over it, what the log says since, are the library's vectors."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from infra.vectors import VectorIndex
from tests.contract.made_log import Log, assert_holds, files_of, opened, unit


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

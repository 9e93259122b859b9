"""What users have said: undo, anchors, unions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asd_core.identity.replay import holding_facts, replay, resolve
from asd_core.records import Anchor, Fact, Group


def group(asset: str, number: int, sightings: list[tuple[float, ...]] | None = None) -> Group:
    anchor = Anchor(asset, 5.0, (100.0 * number, 0.0, 100.0 * number + 60, 60.0))
    rows = np.array(sightings or [], np.float64).reshape(-1, 6)
    return Group(asset, f"p{number}", np.zeros((0, 8), np.float32), np.zeros(0, np.float32), anchor, rows, (), True)


GROUPS = [group(asset, number) for asset in "ab" for number in (1, 2, 3)]
SEVERAL = st.lists(st.sampled_from(GROUPS), min_size=2, max_size=3)


@st.composite
def logs(draw: st.DrawFn) -> list[Fact]:
    facts: list[Fact] = []
    for order in range(draw(st.integers(0, 8))):
        kind = draw(st.sampled_from(["rename", "merge", "undo", "hide"]))
        if kind == "undo" and not facts:
            continue
        if kind == "undo":
            facts.append(Fact(f"f{order}", order, "undo", value=draw(st.sampled_from(facts)).id))
        elif kind == "merge":
            facts.append(Fact(f"f{order}", order, "merge", tuple(g.anchor for g in draw(SEVERAL))))
        else:
            facts.append(Fact(f"f{order}", order, kind, (draw(st.sampled_from(GROUPS)).anchor,), draw(st.sampled_from(["Ann", "Bea", None]))))
    return facts


@settings(max_examples=150, deadline=None)
@given(logs(), st.randoms(use_true_random=False))
def test_neither_order_of_facts_nor_of_groups_matters(facts: list[Fact], random) -> None:
    shuffled, others = list(facts), list(GROUPS)
    random.shuffle(shuffled)
    random.shuffle(others)
    assert replay(shuffled, others) == replay(facts, GROUPS)


@settings(max_examples=150, deadline=None)
@given(logs(), logs())
def test_undoing_all_that_was_added_gives_the_state_before(before: list[Fact], more: list[Fact]) -> None:
    later = [Fact(f"x{f.id}", 100 + f.order, f.kind, f.anchors, f"x{f.value}" if f.kind == "undo" else f.value) for f in more]
    undos = [Fact(f"u{k}", 200 + k, "undo", value=f.id) for k, f in enumerate(later)]
    assert replay([*before, *later, *undos], GROUPS) == replay(before, GROUPS)


@settings(max_examples=100, deadline=None)
@given(logs())
def test_unions_are_disjoint_and_names_belong_to_groups(facts: list[Fact]) -> None:
    state = replay(facts, GROUPS)
    members = [key for union in state.unions for key in union]
    assert len(members) == len(set(members))
    assert set(state.names) <= {g.key for g in GROUPS}
    assert state.dormant == ()


def test_an_undone_undo_leaves_what_it_undid() -> None:
    log = [Fact("1", 1, "rename", (GROUPS[0].anchor,), "Ann"), Fact("2", 2, "undo", value="1"), Fact("3", 3, "undo", value="2")]
    assert [f.id for f in holding_facts(log[:2])] == []
    assert [f.id for f in holding_facts(log)] == ["1"]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown kind"):
        holding_facts([Fact("1", 1, "wish")])
    with pytest.raises(ValueError, match="one id"):
        holding_facts([Fact("1", 1, "hide"), Fact("1", 2, "hide")])


def test_facts_about_faces_that_are_not_here_lie_dormant() -> None:
    elsewhere = Anchor("z", 1.0, (0.0, 0.0, 9.0, 9.0))
    state = replay([Fact("1", 1, "rename", (elsewhere,), "Ann"), Fact("2", 2, "merge", (GROUPS[0].anchor, elsewhere))], GROUPS)
    assert state.dormant == ("1", "2")
    assert state.names == {}


def test_an_anchor_is_found_along_a_moving_track() -> None:
    moving = group("a", 1, [(0, t, 10.0 * t, 0, 10.0 * t + 40, 40) for t in range(0, 11)])
    beside = group("a", 2, [(0, t, 10.0 * t + 45, 0, 10.0 * t + 85, 40) for t in range(0, 11)])
    assert resolve(Anchor("a", 7.5, (74.0, 1.0, 116.0, 41.0)), [beside, moving]) == ("a", "p1")
    assert resolve(Anchor("a", 7.5, (120.0, 0.0, 160.0, 40.0)), [beside, moving]) == ("a", "p2")
    assert resolve(Anchor("a", 7.5, (300.0, 0.0, 340.0, 40.0)), [beside, moving]) is None
    assert resolve(Anchor("a", 12.0, (100.0, 0.0, 140.0, 40.0)), [beside, moving]) is None
    assert resolve(Anchor("b", 7.5, (75.0, 0.0, 115.0, 40.0)), [beside, moving]) is None

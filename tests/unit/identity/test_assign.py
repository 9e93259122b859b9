"""Persons of the library: independent of order and batches, ids that stay, names and merges that can be undone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asd_core.identity.assign import AssignOptions, assign, component, mint
from asd_core.records import Anchor, Fact, Group, LibraryPerson, Minted, Partition

DIMENSION = 32
OPTIONS = AssignOptions(library_cosine=0.6, margin=0.05)
NO_SIGHTINGS = np.zeros((0, 6))


def face(person: int, *, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    direction = np.random.default_rng(1000 + person).normal(size=DIMENSION)
    moved = direction / np.linalg.norm(direction) + noise * np.random.default_rng(seed).normal(size=DIMENSION) / np.sqrt(DIMENSION)
    return (moved / np.linalg.norm(moved)).astype(np.float32)


def group(asset: str, number: int, vector: np.ndarray, *, together: tuple[str, ...] = (), identifiable: bool = True) -> Group:
    anchor = Anchor(asset, float(number), (100.0 * number, 0.0, 100.0 * number + 60, 60.0))
    return Group(asset, f"p{number}", vector[None], np.ones(1, np.float32), anchor, NO_SIGHTINGS, together, identifiable)


def sets(partition: Partition) -> set[frozenset[tuple[str, str]]]:
    return {frozenset(p.members) for p in partition.persons}


def who(partition: Partition, key: tuple[str, str]) -> LibraryPerson:
    return next(p for p in partition.persons if key in p.members)


def remember(minted: list[Minted], partition: Partition) -> list[Minted]:
    return minted + [Minted(p.id, p.anchor, len(minted) + k) for k, p in enumerate(partition.persons) if p.new]


@st.composite
def libraries(draw: st.DrawFn) -> list[Group]:
    seed = draw(st.integers(0, 10_000))
    rng = np.random.default_rng(seed)
    groups = []
    for a in range(draw(st.integers(1, 6))):
        count = draw(st.integers(1, 4))
        for number in range(1, count + 1):
            vector = face(int(rng.integers(0, 5)), noise=float(rng.uniform(0, 1.4)), seed=int(rng.integers(1 << 30)))
            beside = tuple(f"p{k}" for k in range(1, count + 1) if k != number) if rng.random() < 0.5 else ()
            groups.append(group(f"asset{a}", number, vector, together=beside, identifiable=bool(rng.random() < 0.8)))
    return groups


@settings(max_examples=60, deadline=None)
@given(libraries(), st.randoms(use_true_random=False))
def test_order_does_not_matter(groups: list[Group], random) -> None:
    shuffled = list(groups)
    random.shuffle(shuffled)
    first, second = assign(groups, (), OPTIONS), assign(shuffled, (), OPTIONS)
    assert [(p.id, p.members) for p in first.persons] == [(p.id, p.members) for p in second.persons]
    assert first.nobody == second.nobody


@settings(max_examples=60, deadline=None)
@given(libraries(), st.randoms(use_true_random=False))
def test_batches_do_not_matter_and_components_suffice(groups: list[Group], random) -> None:
    """Ingest asset by asset, computing only the component touched: in the end the persons are those of one computation over all."""
    assets = sorted({g.asset for g in groups})
    random.shuffle(assets)
    minted: list[Minted] = []
    persons: dict[tuple[str, str], str] = {}
    library: list[Group] = []
    for asset in assets:
        arrived = [g for g in groups if g.asset == asset]
        library += arrived
        part = component(library, (), [g.key for g in arrived], OPTIONS)
        partition = assign(part, (), OPTIONS, minted=minted)
        minted = remember(minted, partition)
        for g in part:
            persons.pop(g.key, None)
        persons |= {key: p.id for p in partition.persons for key in p.members}
    ids: dict[str, set[tuple[str, str]]] = {}
    for key, ident in persons.items():
        ids.setdefault(ident, set()).add(key)
    assert {frozenset(members) for members in ids.values()} == sets(assign(groups, (), OPTIONS))


@settings(max_examples=60, deadline=None)
@given(libraries(), st.data())
def test_fact_then_undo_is_as_before(groups: list[Group], data: st.DataObject) -> None:
    before = assign(groups, (), OPTIONS)
    minted = remember([], before)
    chosen = data.draw(st.lists(st.sampled_from(groups), min_size=2, max_size=3))
    facts = [
        Fact("f1", 1, "rename", (chosen[0].anchor,), "Ann"),
        Fact("f2", 2, "merge", tuple(g.anchor for g in chosen)),
    ]
    after = assign(groups, facts, OPTIONS, minted=minted)
    together = who(after, chosen[0].key)
    assert all(g.key in together.members for g in chosen)
    assert together.name == "Ann"
    facts += [Fact("f3", 3, "undo", value="f2"), Fact("f4", 4, "undo", value="f1")]
    again = assign(groups, facts, OPTIONS, minted=remember(minted, after))
    assert [(p.id, p.name, p.members) for p in again.persons] == [(p.id, p.name, p.members) for p in before.persons]


@settings(max_examples=40, deadline=None)
@given(libraries())
def test_every_group_is_somebody_or_nobody_once(groups: list[Group]) -> None:
    partition = assign(groups, (), OPTIONS)
    told = [key for p in partition.persons for key in p.members] + list(partition.nobody)
    assert sorted(told) == sorted(g.key for g in groups)
    assert not {g.key for g in groups if g.identifiable} & set(partition.nobody)


def test_nothing_in_nothing_out() -> None:
    assert assign([], ()).persons == ()
    assert component([], (), []) == []


def test_two_in_one_frame_stay_two_whatever_they_look_like() -> None:
    twins = [group("a", 1, face(0), together=("p2",)), group("a", 2, face(0), together=("p1",))]
    assert len(assign(twins, (), OPTIONS).persons) == 2
    merge = Fact("f", 1, "merge", (twins[0].anchor, twins[1].anchor))
    assert len(assign(twins, [merge], OPTIONS).persons) == 1


def test_one_between_two_who_are_two_stays_unknown() -> None:
    left, right = face(0), face(1)
    between = (left + right) / np.linalg.norm(left + right)
    groups = [group("a", 1, left, together=("p2",)), group("a", 2, right, together=("p1",)), group("b", 1, between.astype(np.float32))]
    assert between @ left > OPTIONS.library_cosine
    assert len(assign(groups, (), OPTIONS).persons) == 3


def test_the_oldest_id_survives_and_the_other_becomes_an_alias() -> None:
    """Two persons stand apart until a group that is alike to both joins them; without it they are two again."""
    groups = [group("a", 1, face(0, noise=1.4, seed=1)), group("b", 1, face(0, noise=1.4, seed=2))]
    assert (groups[0].prototypes @ groups[1].prototypes.T).max() < OPTIONS.library_cosine
    minted: list[Minted] = []
    for one in groups[::-1]:
        minted = remember(minted, assign([one], (), OPTIONS, minted=minted))
    merge = Fact("m", 1, "merge", (groups[0].anchor, groups[1].anchor))
    joined = assign(groups, [merge], OPTIONS, minted=minted).persons
    assert [(p.id, p.aliases, p.new) for p in joined] == [(minted[0].id, (minted[1].id,), False)]
    named = [Fact("n", 0, "rename", (groups[0].anchor,), "Ann"), merge]
    assert [(p.id, p.name) for p in assign(groups, named, OPTIONS, minted=minted).persons] == [(minted[1].id, "Ann")]
    assert {p.id for p in assign(groups, (), OPTIONS, minted=minted).persons} == {m.id for m in minted}


def test_names_given_to_two_keep_them_two() -> None:
    groups = [group("a", 1, face(0)), group("b", 1, face(0, noise=0.1))]
    facts = [Fact("1", 1, "rename", (groups[0].anchor,), "Ann"), Fact("2", 2, "rename", (groups[1].anchor,), "Bea")]
    assert {p.name for p in assign(groups, facts, OPTIONS).persons} == {"Ann", "Bea"}
    facts.append(Fact("3", 3, "merge", (groups[1].anchor, groups[0].anchor)))
    assert [p.name for p in assign(groups, facts, OPTIONS).persons] == ["Bea"]


def test_a_later_name_replaces_the_former_and_none_takes_it_away() -> None:
    one = group("a", 1, face(0))
    facts = [Fact("1", 1, "rename", (one.anchor,), "Ann"), Fact("2", 2, "rename", (one.anchor,), "Anna")]
    assert assign([one], facts, OPTIONS).persons[0].name == "Anna"
    assert assign([one], [*facts, Fact("3", 3, "undo", value="2")], OPTIONS).persons[0].name == "Ann"
    assert assign([one], [*facts, Fact("3", 3, "rename", (one.anchor,), None)], OPTIONS).persons[0].name is None


def test_poor_views_join_but_found_nobody() -> None:
    poor = group("b", 1, face(0, noise=0.2), identifiable=False)
    assert assign([poor], (), OPTIONS).nobody == (("b", "p1"),)
    both = assign([group("a", 1, face(0)), poor], (), OPTIONS)
    assert [p.members for p in both.persons] == [(("a", "p1"), ("b", "p1"))]
    named = assign([poor], [Fact("1", 1, "rename", (poor.anchor,), "Ann")], OPTIONS)
    assert [p.name for p in named.persons] == ["Ann"]


def test_ids_are_minted_from_the_place_and_never_twice() -> None:
    place = Anchor("a", 1.0, (0.0, 0.0, 60.0, 60.0))
    first = mint(place, ())
    assert first == mint(place, ())
    assert mint(place, {first}) != first
    assert len(first) == 11


def test_ids_outlive_a_new_analysis() -> None:
    """The anchor moves with the analysis; the id stays with the face that is where its anchor was."""
    before = group("a", 1, face(0))
    minted = remember([], assign([before], (), OPTIONS))
    sightings = np.array([(0, t, 100.0 + t, 2.0, 161.0 + t, 61.0) for t in range(6)])
    anew = Group("a", "p3", face(0)[None], np.ones(1, np.float32), Anchor("a", 5.0, (105.0, 2.0, 166.0, 61.0)), sightings, (), True)
    assert [p.id for p in assign([anew], (), OPTIONS, minted=minted).persons] == [minted[0].id]


@pytest.mark.parametrize("kind", ["split", "hide", "verify"])
def test_facts_of_other_kinds_change_no_partition(kind: str) -> None:
    one = group("a", 1, face(0))
    assert sets(assign([one], [Fact("1", 1, kind, (one.anchor,))], OPTIONS)) == {frozenset([("a", "p1")])}

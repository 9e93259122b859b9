"""People of one asset: who is joined, who must not be, and what becomes of poor views and stills."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from asd_core.identity import cluster as cluster_module
from asd_core.identity.cluster import ClusterOptions, cluster
from asd_core.records import Chips, Embeddings, People, Track

DIMENSION = 64
OPTIONS = ClusterOptions(same_person_cosine=0.5, together_cosine=0.8)


def face(person: int, *, noise: float = 0.0, seed: int = 0, count: int = 3) -> np.ndarray:
    direction = np.random.default_rng(500 + person).normal(size=DIMENSION)
    moved = direction / np.linalg.norm(direction) + noise * np.random.default_rng(seed).normal(size=(count, DIMENSION)) / np.sqrt(DIMENSION)
    return (moved / np.linalg.norm(moved, axis=1, keepdims=True)).astype(np.float32)


class Scene:
    """Tracks with the faces that they show."""

    def __init__(self) -> None:
        self.tracks: list[Track] = []
        self.vectors: list[np.ndarray] = []
        self.chips: list[Chips] = []

    def add(self, vectors: np.ndarray, *, start: int, left: float = 0.0, length: int = 50, size: float = 60.0, quality: float = 0.5,
            still: bool = False, shot: int = 0) -> str:  # fmt: skip
        name = f"t{len(self.tracks) + 1}"
        box = np.array([left, 0, left + size, size], np.float32)
        self.tracks.append(Track(name, shot, start, np.tile(box, (length, 1)), np.ones(length, np.bool_), still))
        self.vectors.append(vectors)
        k = len(vectors)
        times = (start + np.arange(k)) / 25.0
        self.chips.append(Chips(times, np.tile(box, (k, 1)), np.full(k, quality, np.float32)))
        return name

    def people(self, order: list[int] | None = None) -> People:
        order = list(range(len(self.tracks))) if order is None else order
        embeddings = Embeddings("m", tuple(self.vectors[k] for k in order), tuple(self.chips[k].quality for k in order))
        return cluster([self.tracks[k] for k in order], embeddings, [self.chips[k] for k in order], OPTIONS)


def sets(people: People) -> list[set[str]]:
    return [set(p.track_ids) for p in people.people]


def test_no_tracks_no_people() -> None:
    assert Scene().people().people == ()


def test_one_face_in_three_shots_is_one_person() -> None:
    scene = Scene()
    for k in range(3):
        scene.add(face(0, noise=0.3, seed=k), start=100 * k, shot=k)
    (person,) = scene.people().people
    assert person.id == "p1"
    assert person.identifiable
    assert person.prototypes.shape == (1, DIMENSION)
    assert np.isclose(np.linalg.norm(person.prototypes), 1)
    assert person.anchor_time == 0.0


def test_ids_follow_the_first_appearance_then_the_left() -> None:
    scene = Scene()
    scene.add(face(0), start=200)
    right = scene.add(face(1), start=100, left=300)
    left = scene.add(face(2), start=100, left=10)
    assert sets(scene.people()) == [{left}, {right}, {"t1"}]


def test_two_faces_of_one_frame_are_two_people_unless_far_too_alike() -> None:
    scene = Scene()
    scene.add(face(0, noise=0.7, seed=1, count=1), start=0)
    scene.add(face(0, noise=0.7, seed=2, count=1), start=0, left=300)
    assert 0.5 < (scene.vectors[0] @ scene.vectors[1].T).max() < 0.8
    people = scene.people()
    assert len(people.people) == 2
    assert people.together == (("p1", "p2"),)
    mirror = Scene()
    mirror.add(face(0), start=0)
    mirror.add(face(0, noise=0.1), start=0, left=300)
    assert len(mirror.people().people) == 1


def test_one_face_found_twice_is_no_pair() -> None:
    scene = Scene()
    scene.add(face(0, noise=0.8, seed=1, count=1), start=0)
    scene.add(face(0, noise=0.8, seed=2, count=1), start=10, left=5)
    assert len(scene.people().people) == 1


def test_a_track_that_goes_on_where_another_ended_needs_less_likeness() -> None:
    vectors = [face(0), face(0, noise=2.2, seed=3, count=1)]
    cosine = float((vectors[0] @ vectors[1].T).max())
    assert 0.35 < cosine < 0.5
    for shot, people in ((0, 1), (1, 2)):
        scene = Scene()
        scene.add(vectors[0], start=0)
        scene.add(vectors[1], start=55, shot=shot)
        assert len(scene.people().people) == people


def test_poor_views_join_the_one_they_fit_and_else_teach_nothing() -> None:
    scene = Scene()
    scene.add(face(0), start=0)
    scene.add(face(0, noise=0.3), start=100, size=12)
    scene.add(face(7), start=200, size=12)
    scene.add(np.zeros((0, DIMENSION), np.float32), start=300)
    people = scene.people()
    assert sets(people) == [{"t1", "t2"}, {"t3"}, {"t4"}]
    assert [p.identifiable for p in people.people] == [True, False, False]
    assert people.people[2].prototypes.shape[0] == 0
    assert people.people[2].anchor_time == 13.0


def test_poor_views_never_bring_two_people_together() -> None:
    both = face(0, count=1) + face(1, count=1)
    scene = Scene()
    scene.add(face(0), start=0)
    scene.add(face(1), start=0, left=300)
    scene.add((both / np.linalg.norm(both)).astype(np.float32), start=100, size=12, shot=1)
    assert sets(scene.people()) == [{"t1"}, {"t2"}, {"t3"}]


def test_stills_join_but_are_nobody_alone() -> None:
    scene = Scene()
    scene.add(face(3), start=0, still=True)
    assert scene.people().people == ()
    scene.add(face(0), start=0, left=300)
    photograph = scene.add(face(0, noise=0.2), start=100, still=True)
    people = scene.people()
    assert sets(people) == [{"t2", photograph}]
    assert people.together == ()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_order_of_tracks_does_not_matter_and_each_has_one_person(seed: int, random) -> None:
    rng = np.random.default_rng(seed)
    scene = Scene()
    for k in range(int(rng.integers(1, 12))):
        scene.add(face(int(rng.integers(0, 4)), noise=float(rng.uniform(0, 1.5)), seed=k), start=int(rng.integers(0, 8)) * 25,
                  left=float(rng.integers(0, 4)) * 100, size=float(rng.choice([12, 60])), still=bool(rng.random() < 0.1))  # fmt: skip
    order = list(range(len(scene.tracks)))
    random.shuffle(order)
    people = scene.people()
    again = scene.people(order)
    assert sets(people) == sets(again)
    assert [p.anchor_time for p in people.people] == [p.anchor_time for p in again.people]
    assert all(np.allclose(a.prototypes, b.prototypes, atol=1e-5) for a, b in zip(people.people, again.people, strict=True))
    given_out = [t for p in people.people for t in p.track_ids]
    assert len(given_out) == len(set(given_out))
    assert {t.id for t in scene.tracks if not t.still} <= set(given_out)


def test_support_means_the_same_whatever_an_embedder_calls_quality() -> None:
    scene = Scene()
    scene.add(face(0), start=0)
    scene.add(face(0, noise=0.1), start=100)
    own = scene.people().people[0].support
    norms = Embeddings("m", tuple(scene.vectors), tuple(np.full(3, 17.0, np.float32) for _ in scene.tracks))
    assert np.allclose(cluster(scene.tracks, norms, scene.chips, OPTIONS).people[0].support, own)
    assert np.isclose(own.sum(), 6 * 0.5)


def test_a_long_programme_is_joined_part_by_part_with_the_same_people(monkeypatch) -> None:
    """Three people through forty shots, two of them side by side at times, with looks that only part of their tracks have."""
    scene, rng = Scene(), np.random.default_rng(3)
    for shot in range(40):
        scene.add(face(shot % 3, noise=float(rng.uniform(0.2, 0.9)), seed=shot), start=100 * shot, shot=shot)
        if shot % 4 == 0:
            scene.add(face((shot + 1) % 3, noise=0.5, seed=100 + shot), start=100 * shot, left=300, shot=shot)
    whole = scene.people()
    assert len(whole.people) == 3 and len(whole.together) == 3
    for at_once in (1, 7, 20):
        monkeypatch.setattr(cluster_module, "AT_ONCE", at_once)
        parts = scene.people()
        assert sets(parts) == sets(whole) and parts.together == whole.together
        assert all(np.allclose(a.prototypes, b.prototypes, atol=1e-5) for a, b in zip(parts.people, whole.people, strict=True))


def test_parts_are_joined_by_the_averages_of_all_their_tracks(monkeypatch) -> None:
    """One half of a person's tracks against the other: what counts is every pair, as if all had been compared at once."""
    seen = []
    monkeypatch.setattr(cluster_module, "AT_ONCE", 6)
    joining = cluster_module.agglomerate
    monkeypatch.setattr(cluster_module, "agglomerate", lambda *args: seen.append(args) or joining(*args))
    scene = Scene()
    for k in range(12):
        scene.add(face(k % 2, noise=0.6, seed=k, count=1), start=100 * k, shot=k)
    assert sets(scene.people()) == [{f"t{k + 1}" for k in range(12) if k % 2 == person} for person in range(2)]
    mean, best, _, _, sizes = seen[-1]
    assert sizes == [3, 3, 3, 3]
    vectors = np.concatenate(scene.vectors)
    cosines = vectors[[0, 2, 4]] @ vectors[[6, 8, 10]].T
    assert np.isclose(mean[0, 2], cosines.mean(), atol=1e-6) and np.isclose(best[0, 2], cosines.max(), atol=1e-6)

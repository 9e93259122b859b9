"""`cluster`: the face tracks of one asset become its people.

Tracks with a clear view are joined by how alike their templates are; two faces seen in one frame are two people, unless they are so much
alike that a mirror or a split screen is likelier. Poor views (tiny, blurred, turned away) join a person they fit, never bring two together,
and else remain people whom the library does not learn. Stills, faces that never move, may join a person and are never one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from asd_core.geometry import box_iou, box_sizes
from asd_core.identity.linkage import LinkageOptions, agglomerate
from asd_core.identity.prototypes import prototypes, template
from asd_core.records import Chips, Embeddings, People, Person, Track
from asd_core.timeline import GRID_HZ, instant_time

AT_ONCE = 1500  # tracks that are compared each with each: 40 MB


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """What makes two tracks one person. Cosines belong to an embedder: see `for_embedder`.

    Attributes:
        same_person_cosine: similarity of track templates from which tracks are joined (false matches of about 1 in 1000 pairs).
        together_cosine: the same for two faces seen in one frame.
        margin: how much better than the next a person must fit a poor view.
        best_share: weight of the most alike pair of tracks beside the average over all.
        continued_bonus: added for a track that begins in the same shot where another has just ended.
        continued_seconds: longest pause of such a continuation.
        clear_size: longer side in pixels of a face from which a view may found a person of the library.
        clear_quality: chip quality from which it may: nineteen of twenty frontal faces of 28 to 34 pixels have it, the back of a head has a tenth.
        most_prototypes: kept looks of a person.
    """

    same_person_cosine: float = 0.33
    together_cosine: float = 0.60
    margin: float = 0.05
    best_share: float = 0.3
    continued_bonus: float = 0.15
    continued_seconds: float = 1.0
    clear_size: float = 24.0
    clear_quality: float = 0.1
    most_prototypes: int = 4

    def for_embedder(self, thresholds: Mapping[str, float]) -> ClusterOptions:
        """Return these options with the cosines and the smallest clear face of an embedder's manifest, where it states them."""
        return replace(
            self,
            clear_size=thresholds.get("clear_size", self.clear_size),
            same_person_cosine=thresholds.get("same_person_cosine", self.same_person_cosine),
            together_cosine=thresholds.get("together_cosine", self.together_cosine),
        )


class _Pairs:
    """Some pairs of tracks, few of all that there could be."""

    def __init__(self) -> None:
        self._others: defaultdict[int, set[int]] = defaultdict(set)

    def add(self, a: int, b: int) -> None:
        self._others[a].add(b)
        self._others[b].add(a)

    def of(self, track: int) -> list[int]:
        return sorted(self._others.get(track, ()))

    def among(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which of the tracks `rows` and `columns` are pairs, (R, C)."""
        found = np.zeros((len(rows), len(columns)), np.bool_)
        place = {track: n for n, track in enumerate(columns.tolist())}
        for n, track in enumerate(rows.tolist()):
            found[n, [place[other] for other in self._others.get(track, ()) if other in place]] = True
        return found


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """The tracks of one asset in a canonical order, and what is known of each pair."""

    tracks: list[Track]
    vectors: list[NDArray[np.float32]]  # (K, D) of each
    weights: list[NDArray[np.float32]]  # (K,) of each, for means
    chips: list[Chips]
    templates: NDArray[np.float32]  # (N, D), zeros where a track has no chip
    together: _Pairs  # in one frame, as two faces
    continued: _Pairs  # one continues the other
    bonus: float  # of those
    clear: NDArray[np.bool_]  # (N,)
    still: NDArray[np.bool_]  # (N,)

    def likeness(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return how alike tracks are, (R, C): cosine of their templates, and the bonus of those that continue one another."""
        values = self.templates[rows] @ self.templates[columns].T
        values[self.continued.among(rows, columns)] += np.float32(self.bonus)
        return values


def cluster(tracks: Sequence[Track], embeddings: Embeddings, chips: Sequence[Chips], options: ClusterOptions | None = None) -> People:
    """Return the people of one asset; every track but a still belongs to exactly one.

    Args:
        tracks: in any order.
        embeddings: of the chips of each track, in the same order; a track may have none.
        chips: of each track.
        options: see `ClusterOptions`.

    Stills alike to a person join it; the others belong to nobody. No tracks, or stills alone: no people. The ids p1, p2 … follow the first
    appearance; ties go to the left.
    """
    options = options or ClusterOptions()
    if not tracks:
        return People((), ())
    view = _view(tracks, embeddings, chips, options)
    labels = _join_clear(view, options)
    labels = _attach(view, labels, np.flatnonzero(~view.clear & ~view.still), options, together=True)
    labels = _join_rest(view, labels, options)
    labels = _attach(view, labels, np.flatnonzero(view.still), options, together=False)
    members = sorted((np.flatnonzero(labels == label) for label in np.unique(labels[labels >= 0])), key=lambda m: _first_seen(view, m))
    people = tuple(_person(view, m, f"p{number}", options) for number, m in enumerate(members, start=1))
    return People(people, _pairs(view, members))


def _view(tracks: Sequence[Track], embeddings: Embeddings, chips: Sequence[Chips], options: ClusterOptions) -> _View:
    order = sorted(range(len(tracks)), key=lambda k: (tracks[k].first, *map(float, tracks[k].boxes[0]), len(tracks[k]), tracks[k].id))
    ours = [tracks[k] for k in order]
    vectors = [embeddings.vectors[k] for k in order]
    kept = [chips[k] for k in order]
    weights = _weights([embeddings.quality[k] for k in order], kept)
    dimension = max((v.shape[1] for v in vectors if v.ndim == 2), default=1)
    templates = np.stack([template(v, w) if len(v) else np.zeros(dimension, np.float32) for v, w in zip(vectors, weights, strict=True)])
    together, continued = _neighbourhood(ours, options)
    clear = np.array([len(v) > 0 and _is_clear(c, options) for v, c in zip(vectors, kept, strict=True)], np.bool_)
    still = np.array([t.still for t in ours], np.bool_)
    return _View(ours, vectors, weights, kept, templates.astype(np.float32), together, continued, options.continued_bonus, clear & ~still, still)


def _weights(quality: Sequence[NDArray[np.float32]], chips: Sequence[Chips]) -> list[NDArray[np.float32]]:
    """Return what each chip counts: its own quality 0..1, times the embedder's where that is another, relative to the asset's mean.

    So support means the same whatever the embedder: the number of chips as good as can be.
    """
    every = np.concatenate([*quality, np.zeros(0, np.float32)])
    scale = float(every.mean()) if len(every) else 1.0
    return [
        np.maximum(c.quality if np.array_equal(q, c.quality) else c.quality * q / max(scale, 1e-6), 1e-3).astype(np.float32)
        for q, c in zip(quality, chips, strict=True)
    ]


def _is_clear(chips: Chips, options: ClusterOptions) -> bool:
    return bool(((box_sizes(chips.boxes) >= options.clear_size) & (chips.quality >= options.clear_quality)).any())


def _neighbourhood(tracks: Sequence[Track], options: ClusterOptions) -> tuple[_Pairs, _Pairs]:
    """Return which are two faces of one frame, and which continue one another."""
    together, continued = _Pairs(), _Pairs()
    for a in range(len(tracks)):
        for b in range(a + 1, len(tracks)):
            first, second = tracks[a], tracks[b]
            gap = second.first - (first.first + len(first))
            if gap > options.continued_seconds * GRID_HZ:
                break  # tracks are in order of their beginning: the others lie later still
            if gap < 0:
                if _two_faces(first, second):
                    together.add(a, b)
            elif first.shot == second.shot and float(box_iou(first.boxes[-1:], second.boxes[:1])[0, 0]) >= 0.3:
                continued.add(a, b)
    return together, continued


def _two_faces(first: Track, second: Track) -> bool:
    """Return whether two tracks, `first` beginning first, share at least 0.2 s as two places; one face found twice is none."""
    start, end = second.first, min(first.first + len(first), second.first + len(second))
    if end - start < GRID_HZ // 5:
        return False
    left, right = first.boxes[start - first.first : end - first.first], second.boxes[: end - start]
    apart = [float(box_iou(left[k : k + 1], right[k : k + 1])[0, 0]) < 0.5 for k in range(0, end - start, GRID_HZ // 5)]
    return sum(apart) * 2 > len(apart)


def _join_clear(view: _View, options: ClusterOptions) -> NDArray[np.int64]:
    """Return the label (N,) of each clear track; -1 elsewhere."""
    labels = np.full(len(view.tracks), -1, np.int64)
    who = np.flatnonzero(view.clear)
    labels[who] = _agglomerate(view, who, options)
    return labels


def _agglomerate(view: _View, who: NDArray[np.int64], options: ClusterOptions) -> NDArray[np.int64]:
    """Return the cluster number (W,) of each of some tracks.

    More than `AT_ONCE` are joined part by part, in order of time, and then what came of the parts: each with each would take memory that grows
    with the square of a programme's length.
    """
    rules = LinkageOptions(options.same_person_cosine, options.best_share, overrule=options.together_cosine)
    if len(who) <= AT_ONCE:
        likeness = view.likeness(who, who)
        return agglomerate(likeness, likeness, view.together.among(who, who), rules)
    groups: list[NDArray[np.int64]] = []
    for part in np.array_split(who, -(-len(who) // AT_ONCE)):
        labels = _agglomerate(view, part, options)
        groups += [part[labels == label] for label in range(int(labels.max()) + 1)]
    sizes = [len(group) for group in groups]
    every, starts = np.concatenate(groups), np.cumsum([0, *sizes[:-1]])
    mean, best = np.zeros((len(groups), len(groups)), np.float32), np.zeros((len(groups), len(groups)), np.float32)
    forbidden = np.zeros((len(groups), len(groups)), np.bool_)
    for row, group in enumerate(groups):
        likeness = view.likeness(group, every)
        mean[row] = np.add.reduceat(likeness.mean(axis=0), starts) / sizes
        best[row] = np.maximum.reduceat(likeness.max(axis=0), starts)
        forbidden[row] = np.logical_or.reduceat(view.together.among(group, every).any(axis=0), starts)
    joined = agglomerate(mean, best, forbidden, rules, sizes)
    label_of = dict(zip(every.tolist(), np.repeat(joined, sizes).tolist(), strict=True))
    return np.array([label_of[track] for track in who.tolist()], np.int64)


def _attach(view: _View, labels: NDArray[np.int64], who: NDArray[np.int64], options: ClusterOptions, *, together: bool) -> NDArray[np.int64]:
    """Return the labels with each of `who` given to the person it fits, where one fits clearly better than all others."""
    known = np.unique(labels[labels >= 0])
    attached = labels.copy()
    if not len(known):
        return attached
    every = np.arange(len(labels))
    for k in who:
        alone = np.array([k])
        likeness = view.likeness(alone, every)[0] if len(view.vectors[k]) else np.where(view.continued.among(alone, every)[0], 1.0, 0.0)
        fits = np.array([_fit(likeness, labels == label, options) for label in known])
        seen = np.isin(known, labels[view.together.of(int(k))])
        fits[seen & (fits < options.together_cosine) & together] = -1.0
        best = int(fits.argmax())
        rival = float(np.delete(fits, best).max(initial=-1.0))
        if fits[best] >= options.same_person_cosine and fits[best] - rival >= options.margin:
            attached[k] = known[best]
    return attached


def _fit(likeness: NDArray[np.floating], members: NDArray[np.bool_], options: ClusterOptions) -> float:
    values = likeness[members]
    return float((1 - options.best_share) * values.mean() + options.best_share * values.max())


def _join_rest(view: _View, labels: NDArray[np.int64], options: ClusterOptions) -> NDArray[np.int64]:
    """Return the labels with the poor views that fit nobody joined among themselves."""
    rest = np.flatnonzero((labels < 0) & ~view.still)
    joined = labels.copy()
    if len(rest):
        joined[rest] = _agglomerate(view, rest, options) + labels.max(initial=-1) + 1
    return joined


def _first_seen(view: _View, members: NDArray[np.int64]) -> tuple[float, ...]:
    moving = [k for k in members if not view.still[k]]
    first = view.tracks[moving[0]]  # canonical order is by time, then from left to right
    return (first.first, *map(float, first.boxes[0]), float(moving[0]))


def _person(view: _View, members: NDArray[np.int64], name: str, options: ClusterOptions) -> Person:
    faces = [k for k in members if not view.still[k] and len(view.vectors[k])]
    vectors = np.concatenate([view.vectors[k] for k in faces]) if faces else np.zeros((0, 0), np.float32)
    weights = np.concatenate([view.weights[k] for k in faces]) if faces else np.zeros(0, np.float32)
    looks, support = prototypes(vectors, weights, most=options.most_prototypes)
    time, box = _anchor(view, members)
    return Person(
        id=name,
        track_ids=tuple(view.tracks[k].id for k in members),
        prototypes=looks,
        support=support,
        anchor_time=time,
        anchor_box=box,
        identifiable=bool(view.clear[members].any()),
    )


def _anchor(view: _View, members: NDArray[np.int64]) -> tuple[float, tuple[float, float, float, float]]:
    """Return the time and box at which the person is best seen: the best chip, else the middle of the longest track; ties go to the earlier."""
    moving = [k for k in members if not view.still[k]]
    shown = [(-float(c.quality[i]), float(c.times[i]), *map(float, c.boxes[i])) for k in moving for c in [view.chips[k]] for i in range(len(c))]
    if shown:
        _, time, x1, y1, x2, y2 = min(shown)
        return time, (x1, y1, x2, y2)
    longest = view.tracks[max(moving, key=lambda k: (len(view.tracks[k]), -k))]
    middle = len(longest) // 2
    x1, y1, x2, y2 = map(float, longest.boxes[middle])
    return instant_time(longest.first + middle), (x1, y1, x2, y2)


def _pairs(view: _View, members: Sequence[NDArray[np.int64]]) -> tuple[tuple[str, str], ...]:
    """Return the pairs of people of whom two moving tracks share a frame, sorted by number."""
    person_of = {int(k): number for number, tracks in enumerate(members, start=1) for k in tracks if not view.still[k]}
    shared = {(person_of[a], person_of[b]) for a in person_of for b in view.together.of(a) if b in person_of}
    return tuple((f"p{a}", f"p{b}") for a, b in sorted(shared) if a < b)

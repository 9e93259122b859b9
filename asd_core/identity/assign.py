"""`assign`: the people of all assets become the persons of the library.

A function of all groups and all facts, not of the order in which they came: groups are sorted by what they are, joined by likeness, and
then by what users have said. Who is alike enough to nobody, or to two who cannot be one, stays a person of their own, without a name. Ids
are kept where the face that founded them is: see `Minted`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from asd_core.identity.linkage import LinkageOptions, agglomerate
from asd_core.identity.prototypes import prototypes, template
from asd_core.identity.replay import Key, State, replay, resolve
from asd_core.records import Anchor, Fact, Group, LibraryPerson, Minted, Partition, People, Track
from asd_core.timeline import GRID_HZ, instant_time

BLOCK = 128  # groups compared at a time: one product of some hundred looks is quick, and all at once would not fit


@dataclass(frozen=True, slots=True)
class AssignOptions:
    """What makes two groups one person. Cosines belong to an embedder: see `for_embedder`.

    Attributes:
        library_cosine: likeness of two groups from which they are joined (false matches of about 1 in 10,000 pairs).
        poor_cosine: the same for a group that is not identifiable: poor views are alike to each other, whoever they show.
        margin: how much more alike a group must be to its person than to a rival who cannot be the same person.
        best_share: weight of the most alike pair of looks beside the average.
        most_prototypes: kept looks of a person.
    """

    library_cosine: float = 0.42
    poor_cosine: float = 0.60
    margin: float = 0.03
    best_share: float = 0.5
    most_prototypes: int = 8

    @property
    def loose_cosine(self) -> float:
        """Groups less alike than this cannot influence one another."""
        return self.library_cosine - self.margin

    def for_embedder(self, thresholds: Mapping[str, float]) -> AssignOptions:
        """Return these options with the cosines of an embedder's manifest, where it states them."""
        return replace(
            self,
            library_cosine=thresholds.get("library_cosine", self.library_cosine),
            poor_cosine=thresholds.get("together_cosine", self.poor_cosine),
        )


def groups_of(asset: str, people: People, tracks: Sequence[Track]) -> tuple[Group, ...]:
    """Return the people of one asset as groups of the library."""
    by_id = {track.id: track for track in tracks}
    beside: dict[str, list[str]] = {person.id: [] for person in people.people}
    for left, right in people.together:
        beside[left].append(right)
        beside[right].append(left)
    return tuple(
        Group(
            asset=asset,
            people_id=person.id,
            prototypes=person.prototypes,
            support=person.support,
            anchor=Anchor(asset, person.anchor_time, person.anchor_box),
            sightings=_sightings([by_id[t] for t in person.track_ids]),
            together=tuple(sorted(beside[person.id])),
            identifiable=person.identifiable,
        )
        for person in people.people
    )


def assign(
    groups: Sequence[Group],
    facts: Iterable[Fact],
    options: AssignOptions | None = None,
    *,
    minted: Sequence[Minted] = (),
    taken: Collection[str] = (),
) -> Partition:
    """Return who is who among the groups.

    Args:
        groups: all of the library, or whole components of it (`component`).
        facts: all of the library; those about other groups are reported as dormant.
        options: see `AssignOptions`.
        minted: the ids given out so far that may live among these groups (all of the library will do).
        taken: further ids that must not be minted again.

    Groups that are not identifiable join a person whom they fit, found none, and belong to nobody else, unless a fact is about them. Two people
    of one asset seen in one frame are never joined but by a merge; nor are two whom users have given different names. No groups: no persons.
    """
    options = options or AssignOptions()
    ours = sorted(groups, key=lambda g: (g.asset, g.anchor.time, g.anchor.box, g.people_id))
    state = replay(facts, ours)
    told = {*state.names, *(key for union in state.unions for key in union)}
    founders = [k for k, g in enumerate(ours) if g.key in told or (g.identifiable and len(g.prototypes))]
    labels = np.full(len(ours), -1, np.int64)
    labels[founders] = _join_alike([ours[k] for k in founders], state, options)
    labels = _join_told(ours, labels, state)
    labels = _attach(ours, labels, options)
    living = _living(ours, labels, minted)
    used = {m.id for m in minted} | set(taken)
    persons = []
    for label in np.unique(labels[labels >= 0]):
        members = [ours[k] for k in np.flatnonzero(labels == label)]
        person = _person(members, state, living.get(int(label), []), used, options)
        used.add(person.id)
        persons.append(person)
    nobody = tuple(sorted(ours[k].key for k in np.flatnonzero(labels < 0)))
    return Partition(tuple(sorted(persons, key=lambda p: p.id)), nobody, state.dormant)


def component(groups: Sequence[Group], facts: Iterable[Fact], touched: Collection[Key], options: AssignOptions | None = None) -> list[Group]:
    """Return the groups whose person may depend on those touched: all connected with them by likeness or by facts, in the order given.

    `assign` over these gives the same answer as over the whole library. When groups vanish (an asset is analysed anew or forgotten), touch
    those that shared a person with them or were alike.
    """
    options = options or AssignOptions()
    index = {g.key: k for k, g in enumerate(groups)}
    told: dict[int, set[int]] = {}
    for union in replay(facts, groups).unions:
        for key in union:
            told.setdefault(index[key], set()).update(index[other] for other in union)
    reached: NDArray[np.bool_] = np.zeros(len(groups), np.bool_)
    frontier = sorted(index[key] for key in touched if key in index)
    while frontier:
        reached[frontier] = True
        mean, best = _likeness([groups[k] for k in frontier], groups)
        # Clusters mix an average with a best pair: neither alone may lie below for them to matter to one another.
        wider = np.asarray((np.maximum(mean, best) >= options.loose_cosine).any(axis=0))
        wider[[other for k in frontier for other in told.get(k, ())]] = True
        frontier = np.flatnonzero(wider & ~reached).tolist()
    return [g for g, inside in zip(groups, reached, strict=True) if inside]


def _sightings(tracks: Sequence[Track]) -> NDArray[np.float64]:
    rows = [
        (number, instant_time(track.first + k), *map(float, track.boxes[k]))
        for number, track in enumerate(tracks)
        for k in sorted({*range(0, len(track), GRID_HZ), len(track) - 1})
    ]
    return np.array(rows, np.float64).reshape(-1, 6)


def _likeness(left: Sequence[Group], right: Sequence[Group]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return (M, N) the cosine of each pair of groups as wholes, and that of their most alike looks; -1 where one has no face.

    Rounded to five digits, so that the size of a matrix product, which moves the seventh, decides nothing.
    """
    mean: NDArray[np.float32] = np.full((len(left), len(right)), -1.0, np.float32)
    best = mean.copy()
    rows, columns = ([k for k, g in enumerate(side) if len(g.prototypes)] for side in (left, right))
    if rows and columns:
        ours, theirs = [left[k] for k in rows], [right[k] for k in columns]
        means = [np.stack([template(g.prototypes, g.support) for g in side]) for side in (ours, theirs)]
        mean[np.ix_(rows, columns)] = means[0] @ means[1].T
        looks = np.concatenate([g.prototypes for g in theirs])
        starts = _starts(theirs)
        for block in range(0, len(rows), BLOCK):
            few = ours[block : block + BLOCK]
            cosines = np.concatenate([g.prototypes for g in few]) @ looks.T
            most = np.maximum.reduceat(np.maximum.reduceat(cosines, starts, axis=1), _starts(few), axis=0)
            best[np.ix_(rows[block : block + BLOCK], columns)] = most
    return mean.round(5), np.maximum(best, mean).round(5)


def _starts(groups: Sequence[Group]) -> NDArray[np.int64]:
    """Return where each group's looks begin when all are stacked."""
    return np.cumsum([0, *(len(g.prototypes) for g in groups[:-1])])


def _join_alike(groups: list[Group], state: State, options: AssignOptions) -> NDArray[np.int64]:
    if not groups:
        return np.zeros(0, np.int64)
    mean, best = _likeness(groups, groups)
    rules = LinkageOptions(options.library_cosine, options.best_share, margin=options.margin)
    return agglomerate(mean, best, _forbidden(groups, state), rules)


def _forbidden(groups: Sequence[Group], state: State) -> NDArray[np.bool_]:
    """Return the pairs (N, N) that likeness must not join: seen in one frame, or given different names."""
    index = {g.key: k for k, g in enumerate(groups)}
    forbidden = np.zeros((len(groups), len(groups)), np.bool_)
    for k, group in enumerate(groups):
        for other in group.together:
            if (group.asset, other) in index:
                forbidden[k, index[group.asset, other]] = True
    union_of = {key: number for number, union in enumerate(state.unions) for key in union}
    name_of_union = {union_of[key]: name for key, name in state.names.items() if key in union_of}
    names = dict(state.names) | {key: name_of_union[u] for key, u in union_of.items() if u in name_of_union}
    named = [(index[key], name, union_of.get(key, key)) for key, name in sorted(names.items()) if key in index]
    for a, left, union_a in named:
        for b, right, union_b in named:
            forbidden[a, b] |= left != right and union_a != union_b
    return forbidden | forbidden.T


def _join_told(groups: Sequence[Group], labels: NDArray[np.int64], state: State) -> NDArray[np.int64]:
    """Return the labels after the merges that users have made: whole persons become one."""
    joined = labels.copy()
    index = {g.key: k for k, g in enumerate(groups)}
    for union in state.unions:
        told = [joined[index[key]] for key in union]
        joined[np.isin(joined, told)] = min(told)
    return joined


def _attach(groups: Sequence[Group], labels: NDArray[np.int64], options: AssignOptions) -> NDArray[np.int64]:
    """Return the labels with poor views given to the person they fit clearly best; they teach the library nothing."""
    attached = labels.copy()
    poor = [k for k, g in enumerate(groups) if labels[k] < 0 and len(g.prototypes)]
    known = np.unique(labels[labels >= 0])
    if not poor or not len(known):
        return attached
    mean, best_look = _likeness([groups[k] for k in poor], groups)
    index = {g.key: k for k, g in enumerate(groups)}
    for row, k in enumerate(poor):
        beside = {labels[index[groups[k].asset, other]] for other in groups[k].together if (groups[k].asset, other) in index}
        fits = np.array(
            [_fit(mean[row, labels == label], best_look[row, labels == label], options) if label not in beside else -1.0 for label in known]
        )
        best = int(fits.argmax())
        rival = float(np.delete(fits, best).max(initial=-1.0))
        if fits[best] >= options.poor_cosine and fits[best] - rival >= options.margin:
            attached[k] = known[best]
    return attached


def _fit(mean: NDArray[np.float32], best: NDArray[np.float32], options: AssignOptions) -> float:
    """Return how well a view fits a person of whom it is so much alike to each group."""
    return float((1 - options.best_share) * mean.mean() + options.best_share * best.max())


def _living(groups: Sequence[Group], labels: NDArray[np.int64], minted: Sequence[Minted]) -> dict[int, list[tuple[Minted, Key]]]:
    """Return for each label the ids whose founding face is there, oldest first."""
    label_of = {g.key: int(labels[k]) for k, g in enumerate(groups)}
    by_asset: dict[str, list[Group]] = {}
    for group in groups:
        by_asset.setdefault(group.asset, []).append(group)
    living: dict[int, list[tuple[Minted, Key]]] = {}
    for one in sorted(minted, key=lambda m: (m.order, m.id)):
        key = resolve(one.anchor, by_asset.get(one.anchor.asset, ()))
        if key is not None and label_of[key] >= 0:
            living.setdefault(label_of[key], []).append((one, key))
    return living


def _person(
    members: Sequence[Group], state: State, living: Sequence[tuple[Minted, Key]], used: Collection[str], options: AssignOptions
) -> LibraryPerson:
    """Return the person of some groups: the named id survives, else the oldest, else a new one is minted."""
    keys = {g.key for g in members}
    named = sorted((key for key in state.names if key in keys), key=lambda key: (key not in {k for _, k in living}, key))
    survivors = sorted(living, key=lambda one: (not named or one[1] not in named, one[0].order, one[0].id))
    if survivors:
        ident, anchor, new = survivors[0][0].id, survivors[0][0].anchor, False
    else:
        founder = min(members, key=lambda g: (not g.identifiable, g.asset, g.anchor.time, g.anchor.box))
        ident, anchor, new = mint(founder.anchor, used), founder.anchor, True
    seen = [g for g in members if g.identifiable and len(g.prototypes)] or [g for g in members if len(g.prototypes)]
    vectors = np.concatenate([g.prototypes for g in seen]) if seen else np.zeros((0, 0), np.float32)
    weights = np.concatenate([g.support for g in seen]) if seen else np.zeros(0, np.float32)
    looks, support = prototypes(vectors, weights, most=options.most_prototypes)
    return LibraryPerson(
        id=ident,
        name=state.names[named[0]] if named else None,
        members=tuple(sorted(keys)),
        aliases=tuple(sorted(one.id for one, _ in survivors[1:])),
        anchor=anchor,
        new=new,
        prototypes=looks,
        support=support,
    )


def mint(anchor: Anchor, used: Collection[str]) -> str:
    """Return an id that nobody has had: "P" and ten hexadecimal digits of the founding face's place; on a collision, of its successor."""
    place = f"{anchor.asset} {anchor.time:.3f} " + " ".join(f"{v:.1f}" for v in anchor.box)
    attempt = 0
    while (ident := "P" + hashlib.sha256(f"{place} {attempt}".encode()).hexdigest()[:10]) in used:
        attempt += 1
    return ident

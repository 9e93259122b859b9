"""`replay`: what users have said, as it stands. Facts are append-only; this says which hold and whom they are about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from asd_core.geometry import box_iou
from asd_core.records import FACT_KINDS, Anchor, Fact, Group

Key = tuple[str, str]  # asset and people id of a group

SAME_PLACE_IOU = 0.3  # two detectors' boxes of one face overlap by more than half; two faces side by side hardly touch
SIGHTING_SLACK = 0.6  # seconds outside a track at which an anchor is still its: sightings are a second apart, and analyses trim tracks
FAR_SECONDS = 2.0  # with no sightings at hand: how far the group's own anchor may lie from the one asked for


@dataclass(frozen=True, slots=True)
class State:
    """What the facts amount to, for the groups they were replayed over.

    Attributes:
        names: the group where each naming is anchored, and the name.
        unions: sets of two or more groups that a user has called one person, as sorted tuples in sorted order.
        holding: ids of the facts that hold, in the log's order (undone ones and undos are not among them).
        dormant: ids of facts that hold but whose faces are not among the groups, in the log's order.
    """

    names: Mapping[Key, str]
    unions: tuple[tuple[Key, ...], ...]
    holding: tuple[str, ...]
    dormant: tuple[str, ...]


def holding_facts(facts: Iterable[Fact]) -> list[Fact]:
    """Return the facts that hold, in the log's order, without the undos themselves. An undone undo leaves what it had undone in force.

    Raises:
        ValueError: a fact is of no known kind, or two have one id.
    """
    log = sorted(facts, key=lambda f: (f.order, f.id))
    unknown = [f.kind for f in log if f.kind not in FACT_KINDS]
    if unknown:
        raise ValueError(f"unknown kind of fact: {unknown[0]!r}")
    if len({f.id for f in log}) != len(log):
        raise ValueError("two facts have one id")
    undone: set[str] = set()
    holding = []
    for fact in reversed(log):  # only a later fact can undo
        if fact.id in undone:
            continue
        if fact.kind == "undo":
            undone.add(fact.value or "")
        else:
            holding.append(fact)
    return holding[::-1]


def resolve(anchor: Anchor, groups: Sequence[Group]) -> Key | None:
    """Return the group whose face stands at an anchor; None where no group of the asset has one there.

    The box that fits best wins, ties go to the smaller people id. Boxes between sightings are interpolated along a track.
    """
    best: tuple[float, Key] | None = None
    for group in sorted((g for g in groups if g.asset == anchor.asset), key=lambda g: g.key):
        overlap = _overlap(anchor, group)
        if overlap >= SAME_PLACE_IOU and (best is None or overlap > best[0] + 1e-6):
            best = (overlap, group.key)
    return None if best is None else best[1]


def replay(facts: Iterable[Fact], groups: Sequence[Group]) -> State:
    """Return the state that facts bring about among groups; the order of either does not matter.

    A rename gives the union of the anchored group a name; a merge makes one union of several, named as the first anchor's, else as the first
    named among the others. Kinds that say nothing about persons are passed over.
    """
    by_asset: dict[str, list[Group]] = {}
    for group in groups:
        by_asset.setdefault(group.asset, []).append(group)
    root: dict[Key, Key] = {}
    names: dict[Key, tuple[Key, str]] = {}  # of a union's root: where the name is anchored, and the name

    def find(key: Key) -> Key:
        while (up := root.get(key, key)) != key:
            key = up
        return key

    holding, dormant = [], []
    for fact in holding_facts(facts):
        holding.append(fact.id)
        if fact.kind not in ("rename", "merge"):
            continue
        found = [resolve(a, by_asset.get(a.asset, ())) for a in fact.anchors]
        known = [key for key in found if key is not None]
        if len(known) < len(found) or not known:
            dormant.append(fact.id)
        if not known:
            continue
        if fact.kind == "rename":
            names.pop(find(known[0]), None)
            if fact.value:
                names[find(known[0])] = (known[0], fact.value)
            continue
        roots = list(dict.fromkeys(find(key) for key in known))
        name = next((names[r] for r in roots if r in names), None)
        for key in roots:
            names.pop(key, None)
            root[key] = min(roots)
        if name is not None:
            names[min(roots)] = name
    unions: dict[Key, list[Key]] = {}
    for key in root:
        unions.setdefault(find(key), []).append(key)
    joined = sorted(tuple(sorted({*members, up})) for up, members in unions.items())
    return State(
        names=dict(sorted(names.values())),
        unions=tuple(members for members in joined if len(members) > 1),
        holding=tuple(holding),
        dormant=tuple(dormant),
    )


def _overlap(anchor: Anchor, group: Group) -> float:
    """Return how much (IoU) the group's face at the anchor's time covers the anchor's box; 0 where it is not seen then."""
    box = np.array([anchor.box], np.float32)
    if not len(group.sightings):
        near = abs(group.anchor.time - anchor.time) <= FAR_SECONDS
        return float(box_iou(box, np.array([group.anchor.box], np.float32))[0, 0]) if near else 0.0
    best = 0.0
    for track in np.unique(group.sightings[:, 0]):
        seen = group.sightings[group.sightings[:, 0] == track]
        times = seen[:, 1]
        if times[0] - SIGHTING_SLACK <= anchor.time <= times[-1] + SIGHTING_SLACK:
            there = np.array([[np.interp(anchor.time, times, seen[:, c]) for c in range(2, 6)]], np.float32)
            best = max(best, float(box_iou(box, there)[0, 0]))
    return best

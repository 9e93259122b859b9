"""How well an analysis tells what a demo programme shows: turn edges within a tolerance, and the people, no more and no fewer.

Faces are told apart by where the script put them, never by what the analysis says of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asd_core.demo.script import SIZE_WH
from asd_core.demo.truth import TrueTurn, Truth

TOLERANCE = 0.3  # seconds


@dataclass(frozen=True, slots=True)
class Scorecard:
    """The marks of one programme.

    `people` gives for each true person the ids that the analysis has for them: the library's where it has been asked, else the asset's.
    `strangers` are ids of people who are nobody in the truth (a photograph, a patch of wall).
    """

    programme: str
    edges: int  # of true turns, on and off screen
    edges_within: int
    extra_turns: tuple[str, ...]  # turns of the analysis that no true turn explains
    missed: tuple[str, ...]  # edges that are not within the tolerance, in words
    people: dict[str, tuple[str, ...]]
    strangers: tuple[str, ...]

    @property
    def persons_exact(self) -> bool:
        """Return whether every person has one id of their own and nobody else has one."""
        ids = [one for ids in self.people.values() for one in ids]
        return not self.strangers and all(len(ids) == 1 for ids in self.people.values()) and len(set(ids)) == len(ids)

    @property
    def edge_share(self) -> float:
        """Return the share of edges within the tolerance; a turn too many counts as two edges missed."""
        return self.edges_within / max(1, self.edges + 2 * len(self.extra_turns))


def scorecard(truth: Truth, document: Mapping[str, Any], *, tolerance: float = TOLERANCE) -> Scorecard:
    """Return the marks of one analysis, a document of schema rollcall.analysis/1, against the truth of its programme."""
    names = _name_people(truth, document)
    found = list(document["turns"])
    pairs = _match_turns(truth.turns, found, names)
    missed, within = [], 0
    for number, turn in enumerate(truth.turns):
        other = found[pairs[number]] if number in pairs else None
        for edge in ("start", "end"):
            off = other[edge] - getattr(turn, edge) if other is not None else None
            if off is not None and abs(off) <= tolerance:
                within += 1
            else:
                missed.append(f"{_words(turn)}: {edge} {'not found' if off is None else f'off by {off:+.2f} s'}")
    extra = [turn for k, turn in enumerate(found) if k not in set(pairs.values())]
    people: dict[str, set[str]] = {person: set() for person in truth.people}
    strangers: set[str] = set()
    alive = {track["people_id"] for track in document["tracks"] if track["people_id"] is not None and not track["still"]}
    for one in document["people"]:
        if one["id"] not in alive and one["person_id"] is None:
            continue  # a photograph that is shown, but is no person of the library
        people.get(names.get(one["id"]) or "", strangers).add(one["person_id"] or one["id"])
    return Scorecard(
        programme=truth.name,
        edges=2 * len(truth.turns),
        edges_within=within,
        extra_turns=tuple(f"{turn['start']:.2f} to {turn['end']:.2f} s, {turn['people_id'] or turn['voice_id']}" for turn in extra),
        missed=tuple(missed),
        people={name: tuple(sorted(ids)) for name, ids in people.items()},
        strangers=tuple(sorted(strangers)),
    )


@dataclass(frozen=True, slots=True)
class Verdict:
    """The marks of all programmes together: shares of edges, and whether each person is one id across the episodes."""

    edges: int
    edges_within: int
    extra_turns: int
    persons: dict[str, tuple[str, ...]]
    strangers: tuple[str, ...]

    @property
    def edge_share(self) -> float:
        """Return the share of edges within the tolerance; a turn too many counts as two edges missed."""
        return self.edges_within / max(1, self.edges + 2 * self.extra_turns)

    @property
    def persons_exact(self) -> bool:
        """Return whether the library has exactly the demo's persons."""
        ids = [one for ids in self.persons.values() for one in ids]
        return not self.strangers and all(len(ids) == 1 for ids in self.persons.values()) and len(set(ids)) == len(ids)

    @property
    def passed(self) -> bool:
        """Return whether at least 90 % of the edges and all persons are right."""
        return self.edge_share >= 0.9 and self.persons_exact


def verdict(cards: Sequence[Scorecard]) -> Verdict:
    """Return the marks of several programmes as one. Meaningful for persons only where the documents carry the library's ids."""
    persons: dict[str, set[str]] = defaultdict(set)
    for card in cards:
        for name, ids in card.people.items():
            persons[name].update(ids)
    return Verdict(
        edges=sum(card.edges for card in cards),
        edges_within=sum(card.edges_within for card in cards),
        extra_turns=sum(len(card.extra_turns) for card in cards),
        persons={name: tuple(sorted(ids)) for name, ids in sorted(persons.items())},
        strangers=tuple(sorted({one for card in cards for one in card.strangers})),
    )


def _name_people(truth: Truth, document: Mapping[str, Any]) -> dict[str, str | None]:
    """Return which true person each of the document's people is: whom most of their instants show. None: a photograph or nobody."""
    shown: dict[str, Counter[str | None]] = defaultdict(Counter)
    for track in document["tracks"]:
        if track["people_id"] is not None:
            shown[track["people_id"]].update(_shown(truth, track["times"], track["boxes"]))
    return {people: counts.most_common(1)[0][0] if counts else None for people, counts in shown.items()}


def _shown(truth: Truth, times: Iterable[float], boxes: Iterable[Sequence[float]]) -> Iterable[str | None]:
    """Yield for each box of a track who is there: the people of a split screen stand in equal columns, from left to right."""
    for time, (left, top, right, bottom) in zip(times, boxes, strict=True):
        x, y = (left + right) / 2, (top + bottom) / 2
        hung = any(s.start <= time < s.end and s.box[0] <= x <= s.box[2] and s.box[1] <= y <= s.box[3] for s in truth.stills)
        shot = next((shot for shot in truth.shots if shot.start <= time < shot.end), None)
        if hung or shot is None or not shot.people:
            yield None
        else:
            yield shot.people[min(len(shot.people) - 1, max(0, int(x / SIZE_WH[0] * len(shot.people))))]


def _match_turns(turns: Sequence[TrueTurn], found: Sequence[Mapping[str, Any]], names: Mapping[str, str | None]) -> dict[int, int]:
    """Return for true turns, by index, the found turn that is meant: same speaker (on screen), largest overlap first, one to one."""
    overlaps = []
    for i, turn in enumerate(turns):
        for j, other in enumerate(found):
            overlap = min(turn.end, other["end"]) - max(turn.start, other["start"])
            same = other["on_screen"] == turn.on_screen and (not turn.on_screen or names.get(other["people_id"]) == turn.speaker)
            if same and overlap > 0:
                overlaps.append((-overlap, i, j))
    pairs: dict[int, int] = {}
    for _, i, j in sorted(overlaps):
        if i not in pairs and j not in pairs.values():
            pairs[i] = j
    return pairs


def _words(turn: TrueTurn) -> str:
    return f"{turn.speaker} {'on' if turn.on_screen else 'off'} screen, {turn.start:.2f} to {turn.end:.2f} s"

"""How well two stretches of speech by one person are told from two by different people, none of whom was learnt from.

Most people come from one recording, so a measure may know the room instead of the voice. Therefore pairs are kept apart: of one person in
one track and from different recordings; of different people anywhere, from one source, whose recordings are more alike, and, by themselves,
from one recording, where the room tells nothing. And the same is asked of the pauses, in which there is no voice to know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.voice.data import THIRDS, Rows, Voice, Voices, third
from training.voice.linear import Discriminant, Vectors, learn, together

MOST = 10  # stretches of one person: pairs grow with the square
DRAWS = 200  # of people, for the interval


@dataclass(frozen=True, slots=True, eq=False)
class Stretches:
    """Stretches of speech, or of pauses, of equal length, with whose they are."""

    voices: list[Voice]
    rows: list[Rows]

    @classmethod
    def cut(cls, voices: Voices, rows: int, pauses: bool = False) -> Stretches:
        """Return stretches that do not overlap, at most `MOST` a person, from as many tracks as there are in turn."""
        by_person: dict[str, list[list[tuple[Voice, Rows]]]] = {}
        for voice in voices.voices:
            heard = voices.pauses(voice) if pauses else voices.speech(voice)
            pieces = [(voice, heard[first : first + rows]) for first in range(0, len(heard) - rows + 1, rows)]
            by_person.setdefault(voice.person, []).append(pieces)
        chosen: list[tuple[Voice, Rows]] = []
        for tracks in by_person.values():
            in_turn = [track[turn] for turn in range(MOST) for track in tracks if turn < len(track)]
            chosen += in_turn[:MOST]
        return cls([voice for voice, _ in chosen], [piece for _, piece in chosen])


def by_discriminants(discriminants: Sequence[Discriminant], stretches: Stretches) -> list[Vectors]:
    """Return per third of the people the vectors of all stretches by what was learnt without it."""
    vectors = np.stack([together(rows) for rows in stretches.rows])
    return [discriminant(vectors) for discriminant in discriminants]


def by_spectrum(stretches: Stretches) -> list[Vectors]:
    """Return the mean log spectrum of each stretch, its shape alone, once per third."""
    means = np.stack([np.log(rows.astype(np.float64) + 1).mean(axis=0) for rows in stretches.rows])
    means -= means.mean(axis=1, keepdims=True)
    return [(means - means.mean(axis=0)) / means.std(axis=0)] * THIRDS


def measure(stretches: Stretches, vectors: Sequence[Vectors], seed: int = 7) -> dict[str, float | str]:
    """Return for each kind of same and of different pairs the equal error rate with its interval over people, and how many pairs there are.

    Pairs are of people of one third, so that one measure judges both.
    """
    names = np.array([voice.person for voice in stretches.voices])
    tracks = np.array([voice.track for voice in stretches.voices])
    recordings = np.array([voice.recording for voice in stretches.voices])
    sources = np.array([voice.source for voice in stretches.voices])
    people, number = np.unique(names, return_inverse=True)
    a, b = np.triu_indices(len(names), 1)
    thirds = np.array([third(name) for name in names])
    of = thirds[a] == thirds[b]
    a, b = a[of], b[of]
    cosines = np.zeros(len(a))
    for part, found in enumerate(vectors):
        unit = found / np.linalg.norm(found, axis=1, keepdims=True)
        at = thirds[a] == part
        cosines[at] = (unit[a[at]] * unit[b[at]]).sum(axis=1)
    person = names[a] == names[b]
    same = {"one track": person & (tracks[a] == tracks[b]), "other recording": person & (recordings[a] != recordings[b])}
    different = {"any": ~person, "one source": ~person & (sources[a] == sources[b])}
    told: dict[str, float | str] = {"stretches": float(len(names)), "people": float(len(people))}
    told |= {f"{name}: pairs": f"{kind.sum()} of {len(np.unique(number[a[kind]]))}" for name, kind in (same | different).items()}
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(people), np.full(len(people), 1 / len(people)), size=DRAWS)
    for one, own in same.items():
        for other, foreign in different.items():
            if own.any() and foreign.any():
                rates = [equal_error(cosines, own, foreign)]
                for counts in drawn:
                    weights = counts[number[a]] * np.where(person, 1, counts[number[b]])
                    rates += [equal_error(cosines, own, foreign, weights)] if weights[own].any() and weights[foreign].any() else []
                low, high = np.quantile(rates[1:], [0.025, 0.975])
                told[f"{one} / {other}"] = f"{100 * rates[0]:.1f} ({100 * low:.0f} to {100 * high:.0f})"
    return told


def in_one_recording(voices: Voices, rows: int) -> dict[str, float]:
    """Return the equal error rate where two people of one recording are told apart by what was learnt without both."""
    cosines, same = [], []
    recordings = 0
    for recording in sorted({voice.recording for voice in voices.voices}):
        of = [voice for voice in voices.voices if voice.recording == recording and len(voices.speech(voice)) >= rows]
        people = frozenset(voice.person for voice in of)
        if len(people) > 1:
            recordings += 1
            measured = learn(voices, others_than(people))
            cut = [
                (voice.person, voices.speech(voice)[first : first + rows])
                for voice in of
                for first in range(0, len(voices.speech(voice)) - rows + 1, rows)
            ]
            vectors = measured(np.stack([together(piece) for _, piece in cut]))
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            a, b = np.triu_indices(len(cut), 1)
            names = np.array([person for person, _ in cut])
            cosines.append((vectors[a] * vectors[b]).sum(axis=1))
            same.append(names[a] == names[b])
    if not cosines:
        return {"recordings": 0}
    found, own = np.concatenate(cosines), np.concatenate(same)
    return {"recordings": recordings, "same": int(own.sum()), "different": int((~own).sum()), "equal error": equal_error(found, own, ~own)}


def others_than(people: frozenset[str]) -> Callable[[str], bool]:
    """Return who is none of some people."""
    return lambda person: person not in people


def equal_error(
    cosines: NDArray[np.float64], same: NDArray[np.bool_], different: NDArray[np.bool_], weights: NDArray[np.float64] | None = None
) -> float:
    """Return the share of errors at the cosine where as large a share of same pairs is missed as of different ones is taken for same."""
    weights = np.ones(len(cosines)) if weights is None else weights
    order = np.argsort(cosines, kind="stable")
    missed = np.cumsum((same * weights)[order]) / (same * weights).sum()
    passed = 1 - np.cumsum((different * weights)[order]) / (different * weights).sum()
    at = int(np.argmin(np.abs(missed - passed)))
    return float((missed[at] + passed[at]) / 2)

"""Faces compete for one voice: what each instant alone says about who speaks.

Every possible answer ("nobody", "somebody out of sight", "this face", "these two") gets a score per instant, in log-odds. The face with the
best lips wins over the others and over a constant rival that stands for "none of them" (a softmax without its common denominator), and how
sure the voice detector is decides between "nobody" and all the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

NOBODY: tuple[int, ...] = (-1,)
OUT_OF_SIGHT: tuple[int, ...] = (-2,)
_MOST_PAIRED = 4  # faces of one stretch that may speak at once with another: pairs grow with the square
_SATURATED = 15.0  # log-odds; a float32 probability cannot say more


@dataclass(frozen=True, slots=True)
class Company:
    """The instants [first, end) over which the same faces (indices of tracks, ascending) are visible; possibly none."""

    first: int
    end: int
    faces: tuple[int, ...]


def companies(visible: Sequence[tuple[int, int, int]], instants: int) -> list[Company]:
    """Return the instants from 0 to `instants`, cut wherever a face comes or goes.

    Args:
        visible: (index, first instant, end instant) of each face, in any order; those without length are left out.
        instants: length of the clock; no face lasts longer.
    """
    arrivals: dict[int, list[int]] = {}
    departures: dict[int, list[int]] = {}
    for face, first, end in visible:
        if end > first:
            arrivals.setdefault(first, []).append(face)
            departures.setdefault(end, []).append(face)
    edges = sorted({0, instants, *arrivals, *departures})
    present: set[int] = set()
    found = []
    for first, end in pairwise(edges):
        present.difference_update(departures.get(first, ()))
        present.update(arrivals.get(first, ()))
        found.append(Company(first, end, tuple(sorted(present))))
    return found


def log_odds(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return log(p / (1 - p)) of any shape, within ±15."""
    p = probabilities.astype(np.float64)
    with np.errstate(divide="ignore"):
        return np.asarray(np.clip(np.log(p) - np.log1p(-p), -_SATURATED, _SATURATED))


def answers(faces: Sequence[int], strength: NDArray[np.float64]) -> list[tuple[int, ...]]:
    """Return what may be true while the given faces are visible: nobody, out of sight, each face, and pairs of the likeliest.

    Args:
        faces: indices of the visible tracks.
        strength: (F,) each face's best evidence in the stretch; only the strongest few may speak at once with another.
    """
    strongest = sorted(faces[i] for i in np.argsort(-strength, kind="stable")[:_MOST_PAIRED])
    return [NOBODY, OUT_OF_SIGHT, *((face,) for face in faces), *combinations(strongest, 2)]


def emissions(
    voice: NDArray[np.float64],
    evidence: NDArray[np.float64],
    faces: Sequence[int],
    possible: Sequence[tuple[int, ...]],
    *,
    rival: float,
    overlap: float,
) -> NDArray[np.float64]:
    """Return the (T, A) score of each possible answer at each instant.

    Args:
        voice: (T,) log-odds that anybody speaks.
        evidence: (T, F) log-odds of each visible face.
        faces: (F,) indices that the answers use.
        possible: the answers, as `answers` gives them.
        rival: log-odds that a face must show to win over "somebody out of sight".
        overlap: log-odds by which a second face must exceed `rival` to speak as well.
    """
    column = {face: i for i, face in enumerate(faces)}
    scores = np.zeros((len(voice), len(possible)))
    for a, answer in enumerate(possible):
        if answer == NOBODY:
            continue
        if answer == OUT_OF_SIGHT:
            scores[:, a] = voice + rival
            continue
        lips = evidence[:, [column[face] for face in answer]].sum(axis=1)
        scores[:, a] = voice + lips - (len(answer) - 1) * (rival + overlap)
    return scores


def share_of_voice(evidence: NDArray[np.float64], *, rival: float) -> NDArray[np.float64]:
    """Return (T, F) the probability that each visible face is the one who speaks, given that somebody does.

    A softmax over the faces and one rival that stands for a voice out of sight. No faces: (T, 0).
    """
    if evidence.shape[1] == 0:
        return evidence
    top = np.maximum(evidence.max(axis=1, keepdims=True), rival)
    weights = np.exp(evidence - top)
    return np.asarray(weights / (weights.sum(axis=1, keepdims=True) + np.exp(rival - top)))

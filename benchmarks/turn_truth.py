"""What a scene is: its sound, its faces, and per instant who surely speaks. Truth is 1, 0 or -1 (unsure).

An instant is scored where all is sure and nothing changes within two instants: labels are not better than that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

HEARD, QUIET = 0.5, 0.15  # probability of a voice above and below which the labels call it sure
EDGE = 2  # instants beside a change that are not scored


@dataclass(frozen=True, eq=False)
class Face:
    """One face of a scene: from instant `first` on, the (T, 2) track and instant that each picture is from, and whether (T,) it speaks."""

    person: str
    first: int
    source: np.ndarray
    speaks: np.ndarray


@dataclass(frozen=True, eq=False)
class Scene:
    """Sound, faces, and whether (T,) somebody out of sight speaks."""

    kind: str
    samples: np.ndarray  # (640 T,) int16
    faces: tuple[Face, ...]
    unseen: np.ndarray

    def truth(self) -> np.ndarray:
        """Return (F + 1, T) of 1, 0, -1: each face, and last whoever is out of sight."""
        rows = np.zeros((len(self.faces) + 1, len(self.unseen)), np.int8)
        for row, face in zip(rows, self.faces, strict=False):
            row[face.first : face.first + len(face.speaks)] = face.speaks
        rows[-1] = self.unseen
        return rows

    def scored(self) -> np.ndarray:
        """Return (T,) whether an instant is scored."""
        truth = self.truth()
        changes = np.flatnonzero((np.diff(truth, axis=1) != 0).any(axis=0))
        near = np.zeros(truth.shape[1], np.bool_)
        for edge in changes:  # between edge and edge + 1
            near[max(0, edge + 1 - EDGE) : edge + 1 + EDGE] = True
        return ~near & (truth >= 0).all(axis=0)


def heard(voice: np.ndarray) -> np.ndarray:
    """Return whether a voice is heard: 1, 0, or -1 between the limits."""
    return np.where(voice >= HEARD, 1, np.where(voice < QUIET, 0, -1)).astype(np.int8)


def others_heard(labels: np.ndarray, voice: np.ndarray) -> np.ndarray:
    """Return (T,) whether somebody speaks who is none of the (F, T) faces: a voice while all of them are surely silent."""
    unknown = (labels == -1).any(axis=0) & ~(labels == 1).any(axis=0)
    return np.where((labels == 1).any(axis=0), 0, np.where(unknown, -1, heard(voice))).astype(np.int8)

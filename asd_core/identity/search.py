"""Search by photo: which tracks of the library show the face of a photo.

Two steps. Tracks alike enough to the photo itself are *sure*. If there are any, the best of them are added to the query, which then has seen
the person in video too, and tracks alike enough to that are found as well, small and blurred ones above all. Without a sure track nobody is
found: what a stranger resembles a little is never shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from asd_core.identity.prototypes import unit

PHOTO_SIZES = (None, 40.0, 28.0)  # pixels of the face: the photo as it is, and as a camera far away would have it
CHIP_FACE = 100.0  # longer side in chip pixels of the face in an aligned chip of 112


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """From which cosine a track is found. Cosines belong to an embedder: see `for_embedder`.

    Attributes:
        search_cosine: of a track to the photo, from which it is sure.
        support_cosine: of a track to the photo and its surest tracks together, from which it is found too.
        supporters: at most so many sure tracks join the query.
    """

    search_cosine: float = 0.35
    support_cosine: float = 0.39
    supporters: int = 3

    def for_embedder(self, thresholds: Mapping[str, float]) -> SearchOptions:
        """Return these options with the cosines of an embedder's manifest, where it states them."""
        return replace(
            self,
            search_cosine=thresholds.get("search_cosine", self.search_cosine),
            support_cosine=thresholds.get("support_cosine", self.support_cosine),
        )


class Near(Protocol):
    """A vector of an index and its cosine to a query."""

    @property
    def id(self) -> int:
        """Its number in the index."""

    @property
    def cosine(self) -> float:
        """The cosine to the query."""


@dataclass(frozen=True, slots=True)
class Found:
    """A track that shows the face: the cosine that it was judged by and the threshold that this met.

    `sure`: alike to the photo itself; else to the photo and its surest tracks together.
    """

    id: int
    cosine: float
    threshold: float
    sure: bool


def photo_views(chip: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the (V, 112, 112, 3) views of a photo's chip (112, 112, 3) whose vectors together are the query: sharp, and as seen from afar."""
    views = [chip]
    for size in PHOTO_SIZES[1:]:
        assert size is not None
        pixels = max(8, round(len(chip) * size / CHIP_FACE))
        small = cv2.resize(chip, (pixels, pixels), interpolation=cv2.INTER_AREA)
        views.append(np.asarray(cv2.resize(small, (chip.shape[1], chip.shape[0]), interpolation=cv2.INTER_LINEAR), np.uint8))
    return np.stack(views)


def photo_query(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the (D,) query of the vectors (V, D) of a photo's views."""
    return unit(vectors.sum(axis=0))


def find_tracks(
    query: NDArray[np.float32],
    alike: Callable[[NDArray[np.float32], float], Sequence[Sequence[Near]]],
    vector: Callable[[int], NDArray[np.float32] | None],
    options: SearchOptions | None = None,
) -> list[Found]:
    """Return the tracks that show the face of a query, best first: sure ones, then the others; ties by id.

    Args:
        query: (D,) of norm 1, see `photo_query`.
        alike: for (Q, D) queries the vectors of at least a cosine (the index's `alike`).
        vector: the (D,) vector of an id, None where it has gone.
        options: see `SearchOptions`.
    """
    options = options or SearchOptions()
    sure = sorted(alike(query[None], options.search_cosine)[0], key=lambda n: (-n.cosine, n.id))
    if not sure:
        return []
    best = [v for v in (vector(n.id) for n in sure[: options.supporters]) if v is not None]
    wider = unit(np.sum([query, *best], axis=0))
    known = {n.id for n in sure}
    others = sorted((n for n in alike(wider[None], options.support_cosine)[0] if n.id not in known), key=lambda n: (-n.cosine, n.id))
    return [Found(n.id, n.cosine, options.search_cosine, sure=True) for n in sure] + [
        Found(n.id, n.cosine, options.support_cosine, sure=False) for n in others
    ]

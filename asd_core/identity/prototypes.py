"""What a person looks like, as a few vectors: quality-weighted means of alike views (age, hair, light, pose)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]  # (N, D), L2 norm 1
Weights = NDArray[np.float32]  # (N,)

ROUNDS = 8  # of Lloyd's algorithm: the assignment of a few hundred faces settles within five


def unit(vectors: NDArray[np.floating]) -> Vectors:
    """Return the vectors (…, D) scaled to L2 norm 1; a zero vector stays zero."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.where(norms > 1e-9, vectors / np.maximum(norms, 1e-9), 0).astype(np.float32)


def template(vectors: Vectors, weights: Weights) -> Vectors:
    """Return the (D,) quality-weighted mean direction of (N, D) vectors; zero for none."""
    return unit(np.sum(vectors.astype(np.float64) * weights[:, None].astype(np.float64), axis=0))


def prototypes(vectors: Vectors, weights: Weights, *, most: int = 4, apart_cosine: float = 0.75) -> tuple[Vectors, Weights]:
    """Return at most `most` prototypes (P, D) of one person, and the weight (P,) behind each, heaviest first.

    Spherical k-means. It begins with the weighted mean; each further seed is the vector least like the seeds so far, while that is below
    `apart_cosine`. Views with less than a tenth of the weight are left to the others: one blurred chip is not a look. The result does not depend
    on the order of the vectors, but for rounding.

    Args:
        vectors: (N, D) of norm 1. Empty in, empty out.
        weights: (N,) not negative.
        most: the largest number of prototypes.
        apart_cosine: views more alike than this share a prototype.

    Source: Dhillon and Modha 2001, concept decompositions for large sparse text data using clustering (spherical k-means).
    """
    if len(vectors) == 0:
        return np.zeros((0, vectors.shape[1] if vectors.ndim == 2 else 0), np.float32), np.zeros(0, np.float32)
    order = np.lexsort((*vectors.T[:4][::-1], -weights))  # a canonical order, so that sums and ties come out alike
    vectors, weights = vectors[order], np.maximum(weights[order], 1e-6).astype(np.float32)
    centres = _seeds(vectors, weights, most=most, apart_cosine=apart_cosine)
    nearest = np.zeros(len(vectors), np.int64)
    for _ in range(ROUNDS):
        nearest = np.argmax(vectors @ centres.T, axis=1)
        moved = np.stack(
            [template(vectors[nearest == k], weights[nearest == k]) if (nearest == k).any() else centres[k] for k in range(len(centres))]
        )
        if np.allclose(moved, centres, atol=1e-6):
            break
        centres = moved
    support = np.array([weights[nearest == k].sum() for k in range(len(centres))], np.float32)
    kept = support >= 0.1 * support.sum()
    if not kept.all():
        nearest = np.argmax(np.where(kept, vectors @ centres.T, -2.0), axis=1)
    names = np.flatnonzero(kept)
    centres = np.stack([template(vectors[nearest == k], weights[nearest == k]) for k in names])
    support = np.array([weights[nearest == k].sum() for k in names], np.float32)
    heaviest = np.argsort(-support, kind="stable")
    return centres[heaviest], support[heaviest]


def _seeds(vectors: Vectors, weights: Weights, *, most: int, apart_cosine: float) -> Vectors:
    """Return up to `most` (P, D) starting points: the mean, then each time the vector least like those before."""
    seeds = [template(vectors, weights)]
    closest = vectors @ seeds[0]
    while len(seeds) < most:
        # A poor chip is unlike everything: weigh the distance by quality, or the first seed would be the worst face.
        farthest = int(np.argmax((1 - closest) * weights))
        if closest[farthest] >= apart_cosine:
            break
        seeds.append(vectors[farthest])
        closest = np.maximum(closest, vectors @ vectors[farthest])
    return np.stack(seeds)

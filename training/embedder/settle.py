"""The last layer settled after training: what differs between pictures of one person counts less, what all faces share is taken away."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from training.embedder.network import FaceEmbedder

MOST_PICTURES = 12  # of one person: nobody's own variation is everybody's
FLOOR = 0.1  # of the mean of the `LEADING` largest variances, added to all: directions that hardly vary say little either
LEADING = 128
POWER = 0.25  # of the inverse covariance; 0.5 whitens fully


def few_of_each(people: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the indices of at most `MOST_PICTURES` pictures of each named person."""
    return np.concatenate([rng.permutation(np.flatnonzero(people == person))[:MOST_PICTURES] for person in np.unique(people[people >= 0])])


def within(vectors: NDArray[np.float32], people: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the covariance (D, D) of vectors (N, D) around the mean of their person; a person with n pictures weighs as sqrt(n - 1)."""
    _, who, counts = np.unique(people, return_inverse=True, return_counts=True)
    means = np.zeros((len(counts), vectors.shape[1]))
    np.add.at(means, who, vectors)
    around = vectors - (means / counts[:, None])[who]
    weights = np.where(counts > 1, 1 / np.sqrt(np.maximum(counts - 1, 1)), 0.0)[who]
    return (around * weights[:, None]).T @ around / weights.sum()


def settle(network: FaceEmbedder, vectors: NDArray[np.float32], people: NDArray[np.int64]) -> FaceEmbedder:
    """Return the network, its last layer followed by a partial within-class covariance normalisation (Hatch, Kajarekar, Stolcke 2006).

    Args:
        network: changed in place.
        vectors: (N, 512), what it gives for training pictures.
        people: (N,) whose they are.
    """
    mean = vectors.mean(axis=0)
    variances, axes = np.linalg.eigh(within(vectors, people))
    shrunk = np.maximum(variances, 0) + FLOOR * variances[-LEADING:].mean()
    turn = (axes * shrunk**-POWER) @ axes.T
    turn /= np.linalg.norm((vectors - mean) @ turn, axis=1).mean()  # a clear face has a length of about 1
    with torch.no_grad():
        moved = torch.from_numpy(turn).float()
        network.head.bias.copy_(moved @ (network.head.bias - torch.from_numpy(mean)))
        network.head.weight.copy_(moved @ network.head.weight)
    return network

"""What the speaking network is asked to learn, term by term."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from training.speaking.sounds import FOREIGN

SOUND_WEIGHTS = (2.0, 1.0, 0.8, 0.8, 0.6, 1.0)  # of sounds.SETS
MARGIN = 2.0  # by which own sound should beat a foreign one on the same lips
TEMPERATURE = 0.1
TOLERANCE = 3  # instants: how far apart lips and sound may be and still be no example of disagreement


def judged_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy over all sounds; (B, S, T) logits, labels 1, 0, and -1 where not known."""
    weights = torch.tensor(SOUND_WEIGHTS)[None, :, None] * (labels >= 0)
    each = functional.binary_cross_entropy_with_logits(logits, labels.clamp(min=0).float(), reduction="none")
    return (each * weights).sum() / weights.sum().clamp(min=1)


def masked_loss(logits: Tensor, targets: Tensor, known: Tensor) -> Tensor:
    """Return the mean cross-entropy where `known`."""
    each = functional.binary_cross_entropy_with_logits(logits, targets.float(), reduction="none")
    return (each * known).sum() / known.sum().clamp(min=1)


def ranking_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return by how much own sound fails to beat the foreign sounds by `MARGIN` on lips that speak; (B, S, T)."""
    speaks = (labels[:, :1] == 1) & (labels[:, FOREIGN] == 0)
    short = functional.relu(MARGIN - (logits[:, :1] - logits[:, FOREIGN]))
    return (short * speaks).sum() / speaks.sum().clamp(min=1)


def contrast_loss(lips: Tensor, own: Tensor, foreign: Tensor, labels: Tensor) -> Tensor:
    """Return TalkNCE (Jung et al. 2024): among all instants of own and foreign sound, which goes with these lips?

    Args:
        lips: (B, T, C) projections of the lips.
        own: (B, T, C) projections of their own sound.
        foreign: (B, T, C) of another.
        labels: (B, T) under own sound; only instants of speech are asked about.
    """
    length = lips.shape[1]
    heard = functional.normalize(torch.cat([own, foreign], 1), dim=2)
    alike = functional.normalize(lips, dim=2) @ heard.transpose(1, 2) / TEMPERATURE  # (B, T, 2 T)
    place = torch.arange(length)
    near = (place[:, None] - place[None, :]).abs()
    spared = functional.pad((near > 0) & (near <= TOLERANCE), (0, length))  # too close to be wrong
    alike = alike.masked_fill(spared, -1e4)
    each = functional.cross_entropy(alike.flatten(0, 1), place.repeat(len(lips)), reduction="none").view_as(labels)
    speaks = labels == 1
    return (each * speaks).sum() / speaks.sum().clamp(min=1)

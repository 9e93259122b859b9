"""What the student is asked for: the teacher's direction, a length that says how sure it is, and people apart by AdaFace's adaptive margin."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def orthonormal(rows: int, columns: int, seed: int = 5) -> Tensor:
    """Return a fixed (rows, columns) matrix with orthonormal columns: it carries a teacher's vectors into more dimensions and keeps every cosine."""
    drawn = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.linalg.qr(drawn)[0].float()


def distillation(vectors: Tensor, targets: Tensor) -> Tensor:
    """Return the mean of 1 - cosine plus half the squared distance, of (B, D) to unit targets (B, D).

    The squared distance alone makes a student answer with the mean of all faces that the picture may show: the less a blurred picture tells,
    the shorter its vector. That is what makes the length a quality; the cosine keeps the direction of short vectors from being neglected.
    """
    away = 1 - functional.cosine_similarity(vectors, targets)
    return (away + 0.5 * (vectors - targets).square().sum(dim=1)).mean()


class AdaFace(nn.Module):
    """Softmax over people whose margin adapts to the feature's length (Kim, Jain, Liu 2022, arXiv 2204.00964).

    With q = clip((|z| - mean) / (deviation + eps) * h, -1, 1), no gradient through it, the true class gets
    s * (cos(angle + g_angle) - g_add), g_angle = -m * q, g_add = m + m * q; the others s * cos(angle).
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, prototypes: Tensor, margin: float = 0.4, concentration: float = 0.333, scale: float = 32.0, momentum: float = 0.01) -> None:
        """Start from `prototypes` (P, D), for example the teacher's mean vector of every person."""
        super().__init__()
        self.weight = nn.Parameter(functional.normalize(prototypes))
        self.margin, self.concentration, self.scale, self.momentum = margin, concentration, scale, momentum
        self.register_buffer("mean", torch.tensor(0.8))
        self.register_buffer("deviation", torch.tensor(0.1))

    def forward(self, vectors: Tensor, people: Tensor) -> Tensor:
        """Return the mean cross-entropy of vectors (B, D) of the people (B,)."""
        norms = vectors.norm(dim=1)
        cosines = (functional.normalize(vectors) @ functional.normalize(self.weight).T).clamp(-1 + 1e-3, 1 - 1e-3)
        return functional.cross_entropy(self.scale * self.with_margin(cosines, people, self.quality(norms)), people)

    @torch.no_grad()
    def quality(self, norms: Tensor) -> Tensor:
        """Return q in -1..1 for lengths (B,), and in training take them into the running mean and deviation."""
        if self.training:
            self.mean.lerp_(norms.mean(), self.momentum)
            self.deviation.lerp_(norms.std(), self.momentum)
        return ((norms - self.mean) / (self.deviation + 1e-3) * self.concentration).clamp(-1, 1)

    def with_margin(self, cosines: Tensor, people: Tensor, quality: Tensor) -> Tensor:
        """Return the cosines (B, P) with both margins on the true person's."""
        rows = torch.arange(len(people))
        angle = (cosines[rows, people].acos() - self.margin * quality).clamp(1e-3, torch.pi - 1e-3)
        put = cosines.clone()
        put[rows, people] = angle.cos() - (self.margin + self.margin * quality)
        return put

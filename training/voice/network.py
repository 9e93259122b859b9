"""A time-delay network over mel bands: mean and spread of what it sees over the stretch become 128 numbers (Snyder et al. 2018, x-vectors)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.voice.data import BANDS

DIMENSION = 128
WIDTH = 128


class Delay(nn.Module):
    """A convolution over time beside what came in, its channels weighed by their mean over the stretch (squeeze and excitation)."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(WIDTH, WIDTH, 3, padding=dilation, dilation=dilation)
        self.norm = nn.BatchNorm1d(WIDTH)
        self.weigh = nn.Sequential(nn.Linear(WIDTH, WIDTH // 4), nn.ReLU(), nn.Linear(WIDTH // 4, WIDTH), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, R) of the same."""
        y: Tensor = self.norm(torch.relu(self.convolution(x)))
        weights: Tensor = self.weigh(y.mean(2))
        return x + y * weights[:, :, None]


class VoiceEmbedder(nn.Module):
    """(B, R, 26) logarithms of band energies -> (B, 128), whose cosine says how alike two voices are.

    The mean of every band over the stretch is taken away first, and with it what microphone and room do to all of it alike.
    """

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.BatchNorm1d(BANDS), nn.Conv1d(BANDS, WIDTH, 5, padding=2), nn.ReLU(), nn.BatchNorm1d(WIDTH))
        self.delays = nn.Sequential(*(Delay(dilation) for dilation in (2, 3, 4)))
        self.leave = nn.Sequential(nn.Conv1d(WIDTH, 2 * WIDTH, 1), nn.ReLU())
        self.embed = nn.Sequential(nn.BatchNorm1d(4 * WIDTH), nn.Dropout(0.2), nn.Linear(4 * WIDTH, DIMENSION))

    def forward(self, rows: Tensor) -> Tensor:
        """Return the vectors, of any length."""
        x = (rows - rows.mean(1, keepdim=True)).transpose(1, 2)
        x = self.leave(self.delays(self.enter(x))).float()
        vectors: Tensor = self.embed(torch.cat([x.mean(2), x.var(2).clamp(min=1e-5).sqrt()], 1))
        return vectors


class Margin(nn.Module):
    """Softmax over people in which one's own angle must be smaller by a margin (Deng et al. 2019, arXiv 1801.07698)."""

    def __init__(self, people: int, margin: float = 0.2, scale: float = 30.0) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(functional.normalize(torch.randn(people, DIMENSION)))
        self.margin, self.scale = margin, scale

    def forward(self, vectors: Tensor, people: Tensor, share: float = 1.0) -> Tensor:
        """Return the mean cross-entropy of vectors (B, 128) of the people (B,), with a share of the margin."""
        cosines = (functional.normalize(vectors) @ functional.normalize(self.prototypes).T).clamp(-1 + 1e-4, 1 - 1e-4)
        own = functional.one_hot(people, len(self.prototypes)).bool()
        asked = (cosines.acos() + share * self.margin).clamp(max=torch.pi - 1e-3).cos()
        return functional.cross_entropy(self.scale * torch.where(own, asked, cosines), people)

"""Rollcall-sync: a small speaking network after SyncDiscriminator's interface, with an explicit channel for agreement of lips and sound.

Shape and interface: LR-ASD (Liao et al., IJCV 2025) and the card of NVIDIA's SyncDiscriminator: grey 112 x 112, four MFCC rows an instant,
separate encoders, gated fusion, a bidirectional GRU of 2 x 64. What is ours: the visual encoder mixes time by shifting channels (TSM, Lin et
al. 2019, arXiv 1811.08383) inside plain 3 x 3 convolutions, and the head measures how lips and sound go together over one, three and six seconds
(`Agreement`), which a network trained on concatenated features learns badly: it comes to ask only "do lips move, is there speech".
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

DIMENSION = 128  # of both encoders' features
WINDOWS = (8.0,)  # seconds: in which the head is best moved over a track, chosen on held-out people


class Conv(nn.Sequential):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, channels: int, out: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True))


class Shifted(nn.Module):
    """A 3 x 3 convolution over frames of which a quarter of the channels comes from the instant before and a quarter from the one after."""

    def __init__(self, channels: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = Conv(channels, out, stride=stride)
        self.same = channels == out and stride == 1

    def forward(self, frames: Tensor, length: int) -> Tensor:
        """Return (B T, out, H', W') of (B T, C, H, W); `length` is T."""
        moved = self.conv(Shift.apply(frames, length) if self.training else shift_exported(frames, length))
        return frames + moved if self.same else moved


class Shift(torch.autograd.Function):
    """`shift` with a gradient that keeps the channels-last layout; that of slices does not, and costs twice the time of a training step."""

    @staticmethod
    def forward(ctx: Any, frames: Tensor, length: int) -> Tensor:
        """Shift channels forwards in time."""
        ctx.length = length
        return shift(frames, length)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Shift them back."""
        return shift(gradient, ctx.length, back=True), None


def shift(frames: Tensor, length: int, back: bool = False) -> Tensor:
    """Return (B T, C, H, W) frames: the first quarter of the channels taken from the instant before, the second from the one after, zeros outside.

    With `back` the other way round.
    """
    quarter = frames.shape[1] // 4
    out = frames.clone(memory_format=torch.channels_last)
    source, target = frames.unflatten(0, (-1, length)), out.unflatten(0, (-1, length))
    first, second = (slice(quarter, 2 * quarter), slice(quarter)) if back else (slice(quarter), slice(quarter, 2 * quarter))
    target[:, 1:, first] = source[:, :-1, first]
    target[:, 0, first] = 0
    target[:, :-1, second] = source[:, 1:, second]
    target[:, -1, second] = 0
    return out


def shift_exported(frames: Tensor, length: int) -> Tensor:
    """Return what `shift` does, in slices and joins, as it goes into an ONNX file."""
    clips = frames.unflatten(0, (-1, length))
    quarter = frames.shape[1] // 4
    early, late, rest = clips[:, :, :quarter], clips[:, :, quarter : 2 * quarter], clips[:, :, 2 * quarter :]
    early = torch.cat([torch.zeros_like(early[:, :1]), early[:, :-1]], 1)
    late = torch.cat([late[:, 1:], torch.zeros_like(late[:, :1])], 1)
    return torch.cat([early, late, rest], 2).flatten(0, 1)


class Visual(nn.Module):
    """Lips: (B, T, 112, 112) grey 0..255 -> (B, T, 128). 0.4 M parameters, 30 M multiplications an instant, reach +-8."""

    def __init__(self, widths: tuple[int, int, int, int] = (16, 32, 64, 96)) -> None:
        super().__init__()
        first, second, third, fourth = widths
        self.stem = Conv(3, first, kernel=5, stride=2)  # 56 x 56; sees the frame and its difference to both neighbours
        self.blocks = nn.ModuleList(
            [
                Shifted(first, second, stride=2),  # 28 x 28
                Shifted(second, third, stride=2),  # 14 x 14
                Shifted(third, third),
                Shifted(third, fourth, stride=2),  # 7 x 7
                Shifted(fourth, fourth),
                Shifted(fourth, fourth),
            ]
        )
        self.pooled = nn.Linear(2 * fourth, DIMENSION)
        self.time = Temporal(DIMENSION)

    def forward(self, frames: Tensor) -> Tensor:
        """Return (B, T, 128) features of (B, T, H, W) frames."""
        length = frames.shape[1]
        grey = (frames / 255 - 0.42) / 0.17
        before = torch.cat([grey[:, :1], grey[:, :-1]], 1)
        after = torch.cat([grey[:, 1:], grey[:, -1:]], 1)
        x = torch.stack([grey, grey - before, after - grey], 2).flatten(0, 1)  # (B T, 3, 112, 112)
        if self.training:
            x = x.contiguous(memory_format=torch.channels_last)
        x = self.stem(x)
        for block in self.blocks:
            x = block(x, length)
        if x.requires_grad:
            x.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last))
        x = torch.cat([x.amax((2, 3)), x.mean((2, 3))], 1)  # (B T, 192)
        x = self.pooled(x).unflatten(0, (-1, length)).transpose(1, 2)  # (B, 128, T)
        return self.time(x).transpose(1, 2)


class Temporal(nn.Module):
    """A residual convolution over three steps: (B, C, T) -> (B, C, T)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.BatchNorm1d(channels), nn.ReLU(), nn.Conv1d(channels, channels, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of what comes in and what is seen in it."""
        return x + self.conv(x)


class Audio(nn.Module):
    """Sound: (B, 4 T, 13) MFCC rows -> (B, T, 128). Reach +-5 instants."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.rows = nn.Sequential(
            nn.BatchNorm1d(13),
            nn.Conv1d(13, width, 5, padding=2, bias=False), nn.BatchNorm1d(width), nn.ReLU(),
            nn.Conv1d(width, width, 4, stride=2, padding=1, bias=False), nn.BatchNorm1d(width), nn.ReLU(),
            nn.Conv1d(width, DIMENSION, 4, stride=2, padding=1),
        )  # fmt: skip
        self.time = nn.ModuleList([Temporal(DIMENSION) for _ in range(2)])

    def forward(self, mfcc: Tensor) -> Tensor:
        """Return (B, T, 128) features of (B, 4 T, 13) rows."""
        x = self.rows(mfcc.transpose(1, 2))
        for layer in self.time:
            x = layer(x)
        return x.transpose(1, 2)


class Agreement(nn.Module):
    """How projections of lips and sound go together around each instant.

    Both are projected to a few channels. Per channel: the correlation over a window, what is constant in it taken out. Over all channels: the
    same with the sound early or late by up to 0.3 s; own sound shows a peak at no delay, a foreign one none.
    """

    def __init__(
        self, channels: int = 32, windows: tuple[int, ...] = (25, 75, 149), delays: tuple[int, ...] = (-8, -6, -4, -2, 0, 2, 4, 6, 8)
    ) -> None:
        super().__init__()
        self.lips = nn.Linear(DIMENSION, channels)
        self.voice = nn.Linear(DIMENSION, channels)
        self._windows = windows
        self._delays = delays
        self.dimension = len(windows) * (channels + len(delays))

    def forward(self, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the (B, T, `dimension`) measures, and both projections (B, T, channels)."""
        lips, voice = self.lips(visual), self.voice(audio)
        v, a = lips.transpose(1, 2), voice.transpose(1, 2)
        measures = []
        for window in self._windows:
            seen, heard = standardised(v, window), standardised(a, window)
            measures.append(mean_around(seen * heard, window))  # (B, channels, T)
            reach = max(self._delays)
            padded = functional.pad(heard, (reach, reach))
            length = heard.shape[2]
            delayed = [(seen * padded[:, :, reach + d : reach + d + length]).mean(1, keepdim=True) for d in self._delays]
            measures.append(mean_around(torch.cat(delayed, 1), window))  # (B, delays, T)
        return torch.cat(measures, 1).transpose(1, 2), lips, voice


def mean_around(x: Tensor, window: int) -> Tensor:
    """Return the (B, C, T) mean of what lies within `window` steps around each; less of it at the ends."""
    return functional.avg_pool1d(x, window, stride=1, padding=window // 2, count_include_pad=False)


def standardised(x: Tensor, window: int) -> Tensor:
    """Return x less its mean around each step, over its spread there."""
    x = x - mean_around(x, window)
    return x * torch.rsqrt(mean_around(x * x, window) + 0.05)


class Head(nn.Module):
    """Fusion and recurrence: audio and visual features (B, T, 128) each -> (B, T) logits. Free of the encoders' padding: any window."""

    def __init__(self, hidden: int = 64) -> None:
        super().__init__()
        self.seen = nn.Sequential(nn.Linear(DIMENSION, DIMENSION), nn.ReLU())
        self.moving = Temporal(DIMENSION)
        self.agreement = Agreement()
        self.gate = nn.Linear(4 * DIMENSION, DIMENSION)
        self.fused = nn.Linear(4 * DIMENSION, DIMENSION)
        self.measured = nn.Sequential(nn.Linear(self.agreement.dimension, 64), nn.ReLU(), nn.Linear(64, DIMENSION))
        self.recurrent = nn.GRU(DIMENSION, hidden, batch_first=True, bidirectional=True)
        self.logit = nn.Linear(2 * hidden + self.agreement.dimension, 1)
        self.audio_norm = nn.LayerNorm(DIMENSION)
        self.visual_norm = nn.LayerNorm(DIMENSION)
        self.dropout = nn.Dropout(0.15)

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        """Return the (B, T) logits."""
        return self.parts(audio, visual)[0]

    def parts(self, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the logits, and the projections of lips and sound that are compared."""
        visual = self.moving(self.seen(visual).transpose(1, 2)).transpose(1, 2)
        audio, visual = self.dropout(self.audio_norm(audio)), self.dropout(self.visual_norm(visual))
        measures, lips, voice = self.agreement(audio, visual)
        both = torch.cat([visual, audio, visual * audio, (visual - audio).abs()], 2)
        fused = torch.sigmoid(self.gate(both)) * self.fused(both) + self.measured(measures)
        context, _ = self.recurrent(torch.relu(fused))
        return self.logit(self.dropout(torch.cat([context, measures], 2))).squeeze(2), lips, voice


class Sync(nn.Module):
    """The three parts, as they are exported."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = Visual()
        self.audio = Audio()
        self.detector = Head()

    def forward(self, frames: Tensor, mfcc: Tensor) -> Tensor:
        """Return (B, T) logits of (B, T, 112, 112) frames and (B, 4 T, 13) rows."""
        return self.detector(self.audio(mfcc), self.visual(frames))

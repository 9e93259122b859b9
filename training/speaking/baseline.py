"""The two-tower network of the AVA-ActiveSpeaker paper (Roth et al. 2019, arXiv 1901.01342), trained on the material that ours learns from.

Section 4 and table 3: two towers of depth-wise separable convolutions give an embedding of the face and of the sound; they are joined and
judged at each instant by itself (static: two fully connected layers) or through two GRUs. Each tower carries an auxiliary judgement of weight
0.4. The paper's faces
are 128 x 128 at 20 Hz and its sound is a mel spectrogram of the last half second; here both towers see the line's own inputs, 112 x 112 grey
at 25 Hz and MFCC rows. The four networks of the paper are `ava-static`, `ava-gru`, `ava-visual-static` and `ava-visual-gru`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.speaking.network import DIMENSION, Sync

PAPER = ("ava-visual-static", "ava-visual-gru", "ava-static", "ava-gru")
AUXILIARY = 0.4
STACK = 3  # frames that the visual tower sees at once; the paper finds that two or three suffice before a GRU


class Striding(nn.Conv2d):
    """A depth-wise convolution of stride 2, in float32 whatever is around it: its gradient in bfloat16 takes a CPU six times as long."""

    def __init__(self, width: int) -> None:
        super().__init__(width, width, 3, 2, 1, groups=width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, H / 2, W / 2) of (B, C, H, W)."""
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float())


def tower(channels: int) -> nn.Sequential:
    """Return the paper's table 3 down to the pooling: a convolution of stride 2, then six depth-wise separable ones."""
    layers: list[nn.Module] = [nn.Conv2d(channels, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU()]
    width = 32
    for stride in (1, 2, 2, 2, 2, 2):
        across = Striding(width) if stride == 2 else nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        layers += [across, nn.BatchNorm2d(width), nn.ReLU()]
        layers += [nn.Conv2d(width, 64, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
        width = 64
    return nn.Sequential(*layers)


class Face(nn.Module):
    """(B, T, 112, 112) grey 0..255 -> (B, T, 128): table 3 over a stack of frames as channels, the newest last."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = tower(STACK)
        self.embed = nn.Linear(64, DIMENSION)

    def forward(self, frames: Tensor) -> Tensor:
        """Return the embedding of each instant."""
        length = frames.shape[1]
        padded = functional.pad(frames / 255 - 0.5, (0, 0, 0, 0, STACK - 1, 0))
        stacks = torch.stack([padded[:, i : i + length] for i in range(STACK)], 2).flatten(0, 1)
        stacks = stacks.contiguous(memory_format=torch.channels_last)
        seen: Tensor = self.embed(self.tower(stacks).mean((2, 3)))
        return seen.reshape(-1, length, DIMENSION)


class Voice(nn.Module):
    """(B, 4 T, 13) MFCC rows -> (B, T, 128): the half second before each instant; the paper's tower in one dimension, as the rows are few."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(13)
        self.tower = nn.Sequential(
            nn.Conv1d(13, 64, 12, stride=4), nn.BatchNorm1d(64), nn.ReLU(),
            nn.Conv1d(64, 64, 11, groups=64), nn.Conv1d(64, 64, 1), nn.BatchNorm1d(64), nn.ReLU(),
        )  # fmt: skip
        self.embed = nn.Linear(64, DIMENSION)

    def forward(self, mfcc: Tensor) -> Tensor:
        """Return the embedding of each instant."""
        rows = functional.pad(self.norm(mfcc.transpose(1, 2)), (48, 0))  # 8 rows for the stride-4 window, 40 for ten instants before
        heard: Tensor = self.embed(self.tower(rows).transpose(1, 2))
        return heard


class Recurrent(nn.GRU):
    """Two GRUs of 100, one on the other."""

    def __init__(self, width: int) -> None:
        super().__init__(width, 100, num_layers=2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Return (B, T, 100), the outputs of all instants."""
        outputs: Tensor = super().forward(x)[0]
        return outputs


class Judgement(nn.Module):
    """Joined embeddings to a logit an instant: a layer of 128, or two GRUs of 100, and the last layer."""

    def __init__(self, recurrent: bool, sees_only: bool) -> None:
        super().__init__()
        self._sees_only = sees_only
        width = DIMENSION if sees_only else 2 * DIMENSION
        self.joined = Recurrent(width) if recurrent else nn.Sequential(nn.Linear(width, DIMENSION), nn.ReLU())
        self.logit = nn.Linear(100 if recurrent else DIMENSION, 1)

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        """Return the (B, T) logits."""
        x = torch.relu(visual if self._sees_only else torch.cat([visual, audio], 2))
        logits: Tensor = self.logit(self.joined(x))
        return logits.squeeze(2)


class TwoTowers(nn.Module):
    """The paper's network in the three parts of ours, and its two auxiliary judgements."""

    def __init__(self, recurrent: bool, sees_only: bool) -> None:
        super().__init__()
        self.visual, self.audio = Face(), Voice()
        self.detector = Judgement(recurrent, sees_only)
        self.lips, self.voice = nn.Linear(DIMENSION, 1), nn.Linear(DIMENSION, 1)

    def losses(self, crops: Tensor, mfcc: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the paper's terms: the joint judgement, and each tower's own at 0.4. (B, S, 4 T, 13) rows, (B, S, T) labels."""
        with torch.autocast("cpu", torch.bfloat16):
            seen = self.visual(crops)
        heard = self.audio(mfcc.flatten(0, 1))
        seen = seen.float().repeat_interleave(mfcc.shape[1], 0)
        known = (labels >= 0).flatten(0, 1)
        target = labels.clamp(min=0).float().flatten(0, 1)
        logits = {"judged": self.detector(heard, seen), "lips": self.lips(seen).squeeze(2), "voice": self.voice(heard).squeeze(2)}
        return {
            term: (1.0 if term == "judged" else AUXILIARY)
            * (functional.binary_cross_entropy_with_logits(logit, target, reduction="none") * known).sum()
            / known.sum().clamp(min=1)
            for term, logit in logits.items()
        }


class Lips(nn.Module):
    """The face's auxiliary judgement under the interface of a joint one."""

    def __init__(self, lips: nn.Linear) -> None:
        super().__init__()
        self._lips = lips

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        """Return the (B, T) logits; the sound is not heard."""
        logits: Tensor = self._lips(visual)
        return logits.squeeze(2).expand(len(audio), -1)


class FaceAlone(nn.Module):
    """Trained towers judged by the face's auxiliary layer: what the frames of one instant tell without any sound."""

    def __init__(self, towers: TwoTowers) -> None:
        super().__init__()
        self.visual, self.audio, self.detector = towers.visual, towers.audio, Lips(towers.lips)


def build(network: str) -> Sync | TwoTowers:
    """Return a network by the name that the command line knows it by.

    Raises:
        ValueError: no such network.
    """
    if network == "sync":
        return Sync()
    if network not in PAPER:
        raise ValueError(f"no network {network!r}; there are {', '.join(('sync', *PAPER))}")
    return TwoTowers(recurrent=network.endswith("gru"), sees_only="visual" in network)

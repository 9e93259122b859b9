"""The student: a shallow residual network of plain convolutions, which cost less per millisecond of CPU than depth-wise ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CHIP_SIZE = 112
LEFT, TOP, RIGHT, BOTTOM = 16, 16, 96, 112  # of the chip: the face; what lies outside is hair and background and would cost two fifths more
DIMENSION = 512


class Unit(nn.Sequential):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, inside: int, outside: int, size: int, stride: int = 1) -> None:
        super().__init__(nn.Conv2d(inside, outside, size, stride, size // 2, bias=False), nn.BatchNorm2d(outside), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """Two 3x3 convolutions around which the input is passed on (He et al. 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = Unit(width, width, 3)
        norm = nn.BatchNorm2d(width)
        nn.init.zeros_(norm.weight)  # each block begins as the identity
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), norm)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, H, W) for (B, C, H, W)."""
        return torch.relu(x + self.second(self.first(x)))


class FaceEmbedder(nn.Module):
    """Aligned faces (B, 3, 112, 112), RGB, (v - 127.5) / 127.5, to vectors (B, 512) that are not normalised.

    The direction says who it is; the length, at most about 1, how sure that is. A patch of 4 x 4 pixels
    becomes one position at once (as in ConvNeXt, Liu et al. 2022): at 56 x 56 a CPU would spend its time on memory. Every position of the last
    6 x 5 keeps its own weights (ArcFace, Deng et al. 2019): in an aligned face an eye is not averaged with a chin.
    """

    def __init__(self, widths: tuple[int, ...] = (32, 80, 160), blocks: tuple[int, ...] = (1, 2, 2), neck: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = [Unit(3, widths[0], 7, 4)]
        for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            if stage:
                layers.append(Unit(widths[stage - 1], width, 3, 2))
            layers += [Residual(width) for _ in range(count)]
        self.body = nn.Sequential(*layers, Unit(widths[-1], neck, 1))
        coarsest = 4 << (len(widths) - 1)
        self.head = nn.Linear(neck * ((RIGHT - LEFT) // coarsest) * ((BOTTOM - TOP) // coarsest), DIMENSION)
        nn.init.normal_(self.head.weight, std=3e-4)  # short vectors at first: unsure of everything
        nn.init.zeros_(self.head.bias)

    @torch.no_grad()
    def begin_with(self, faces: Tensor) -> None:
        """Set the first filters to the strongest patterns of patches of (B, 3, 112, 112), each with both signs (Jordan 2024, airbench)."""
        filters = self.body.get_parameter("0.0.weight")
        size = filters.shape[-1]
        patches = nn.functional.unfold(faces, size, stride=size).transpose(1, 2).flatten(0, 1)
        patterns = torch.linalg.eigh(torch.cov(patches.T))[1].T.flip(0)[: len(filters) // 2]
        filters.copy_(torch.cat([patterns, -patterns]).reshape(filters.shape))

    def forward(self, faces: Tensor) -> Tensor:
        """Return vectors (B, 512)."""
        return self.head(self.body(faces[:, :, TOP:BOTTOM, LEFT:RIGHT]).flatten(1))

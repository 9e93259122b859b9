"""Muon: momentum whose update is made orthogonal, for the weights of convolutions.

Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks" (kellerjordan.github.io/posts/muon).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, then the nearest orthogonal matrix of each filter bank (out, in x height x width).

    Every direction that a layer can learn in moves equally far in a step, where Adam moves what already moves.
    """

    def __init__(self, parameters: list[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.0) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step from the gradients."""
        for group in self.param_groups:
            for weight in group["params"]:
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                state["momentum"].lerp_(weight.grad, 1 - group["momentum"])
                ahead = weight.grad.lerp(state["momentum"], group["momentum"]).reshape(len(weight), -1)
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                scale = max(1.0, ahead.shape[0] / ahead.shape[1]) ** 0.5
                weight.add_(orthogonal(ahead).reshape(weight.shape), alpha=-group["lr"] * scale)


def orthogonal(matrix: Tensor, rounds: int = 5) -> Tensor:
    """Return about the nearest matrix (R, C) with orthonormal rows or columns: singular values come to lie in 0.7..1.2.

    A quintic Newton-Schulz iteration with the coefficients of the source, in bfloat16: what it rounds the next step corrects.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).bfloat16()
    x = x / (x.norm() + 1e-7)
    for _ in range(rounds):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return (x.T if tall else x).to(matrix.dtype)

"""The training run of the face detector."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from training.faces.assign import Anchors, anchors
from training.faces.data import Crops
from training.faces.loss import Targets, losses
from training.faces.network import FaceNetwork, Widths
from training.faces.prepare import Material
from training.run import Average, Run, laid_out, schedule, single_thread


@dataclass(frozen=True)  # no slots: the command line reads the defaults off the class
class Recipe:
    """All that decides a run besides the material; the defaults are the shipped file's."""

    steps: int = 30000
    fall: float = 0.5  # share of the steps over which the learning rate falls
    rate: float = 2.5e-3
    decay: float = 0.02
    warmup: int = 300
    average: float = 0.998
    small: tuple[int, int] = (256, 24)  # crop side, crops a batch
    large: tuple[int, int] = (384, 10)
    large_share: float = 0.3
    clip: float = 10.0  # largest norm of the gradient
    seed: int = 11
    log_every: int = 50
    save_every: int = 250


def train(material: Material, folder: Path, recipe: Recipe) -> FaceNetwork:
    """Train, going on from the folder's checkpoint if there is one, and return the network with the mean weights."""
    rng = single_thread(recipe.seed)
    run = Run(folder, {**asdict(recipe), "widths": asdict(Widths()), "pictures": len(material.pictures), "chips": len(material.chips)}, recipe.seed)
    network = laid_out(FaceNetwork(), torch.channels_last)
    mean = Average(network, recipe.average)
    optimiser = torch.optim.AdamW(_groups(network, recipe.decay), lr=recipe.rate, fused=True)
    first = 0
    if (saved := run.resume()) is not None:
        network.load_state_dict(saved["network"])
        mean.module.load_state_dict(saved["mean"])
        optimiser.load_state_dict(saved["optimiser"])
        first = saved["step"]
        rng = np.random.default_rng((recipe.seed, first))
    crops = Crops(material, rng)
    grids = {side: anchors(side, side) for side, _ in (recipe.small, recipe.large)}
    sums, crops_seen, since = np.zeros(3), 0, run.seconds
    for step in range(first, recipe.steps):
        side, count = recipe.large if rng.random() < recipe.large_share else recipe.small
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * schedule(step, recipe.steps, recipe.warmup, recipe.fall)
        sums += _step(network, optimiser, crops.batch(count, side), grids[side], recipe.clip)
        crops_seen += count
        mean.update(network)
        if (step + 1) % recipe.log_every == 0:
            score, box, point = (sums / recipe.log_every).tolist()
            pace = crops_seen / (run.seconds - since)
            run.log(step + 1, rate=optimiser.param_groups[0]["lr"], score=score, box=box, point=point, crops_per_second=pace)
            sums, crops_seen, since = np.zeros(3), 0, run.seconds
        if (step + 1) % recipe.save_every == 0 or step + 1 == recipe.steps:
            run.save(step + 1, network=network.state_dict(), mean=mean.module.state_dict(), optimiser=optimiser.state_dict())
    return mean.module


def trained(folder: Path) -> FaceNetwork:
    """Return the network with the mean weights of a run's last checkpoint.

    Raises:
        FileNotFoundError: the folder holds none.
    """
    network = FaceNetwork()
    network.load_state_dict(torch.load(folder / "checkpoint.pt", weights_only=True)["mean"])
    return network.eval()


def _step(
    network: FaceNetwork, optimiser: torch.optim.Optimizer, batch: tuple[torch.Tensor, Targets], grid: Anchors, clip: float
) -> NDArray[np.float64]:
    """Take one step and return the three losses before it."""
    pictures, targets = batch
    with torch.autocast("cpu", torch.bfloat16):
        rows = network.rows(pictures)
    parts = losses(rows, targets, grid)
    optimiser.zero_grad(set_to_none=True)
    parts.total.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), clip)
    optimiser.step()
    return np.array([part.item() for part in parts])


def _groups(network: FaceNetwork, decay: float) -> list[dict[str, object]]:
    """Return the parameters with weight decay (kernels) and without (norms and biases)."""
    kernels = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim == 1]
    return [{"params": kernels, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]

"""One training run of the speaking network.

Three phases. First the head and the audio encoder learn on the visual features of a teacher, which are at hand for every track: a hundred
seconds of faces a second, so foreign and shifted voices by the thousand. Beside that nothing is taken from the teacher's head, whose fault
(a foreign voice passes) is to be avoided. Then the visual encoder learns to give the same features, at a fifth of the teacher's cost. Last,
all learn together, on portraits too.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from training.run import OUT, Average, Run, hold_memory, laid_out, schedule, single_thread
from training.speaking.baseline import TwoTowers, build
from training.speaking.batches import Batch, Batches
from training.speaking.data import PORTRAITS, TRACKS, Clips
from training.speaking.evaluate import Bench, in_torch
from training.speaking.loss import contrast_loss, judged_loss, masked_loss, ranking_loss
from training.speaking.network import Sync
from training.speaking.sounds import FOREIGN

RUNS = OUT / "speaking" / "runs"
SMOOTHING = 0.02
ROWS_LOGGED = 25  # steps between two lines of the log
CHECK_SECONDS = 240  # of processor time between two looks at held-out people
IMITATION_ERROR = 0.3  # of a feature's spread: how far off the encoder's features may be for the head

BASELINE_STEPS, BASELINE_INSTANTS, BASELINE_LENGTHS = 300, 300, (50, 75, 100)  # four minutes of one CPU core


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that a run depends on besides the data and the code."""

    network: str = "sync"
    steps: tuple[int, int, int] = (360, 920, 1050)  # of the head, of the encoder, of both
    minutes: tuple[float, float, float] = (0.0, 0.0, 0.0)  # a phase ends earlier when its time is over, the rate falling in time; 0: no limit
    instants: tuple[int, int, int] = (1500, 450, 600)  # of faces, a step
    lengths: tuple[int, ...] = (50, 75, 100, 125, 150, 150, 200)  # of a step's pieces
    imitated: int = 32  # length of the pieces on which the encoder imitates: short, so that a batch holds many people
    rates: tuple[float, float, float] = (2e-3, 2e-3, 6e-4)
    decay: float = 0.05
    portraits: float = 0.4  # share of the faces where pieces are no longer than a portrait's clip
    lifeless: float = 0.06  # share of the tracks' faces that are photographs, or no faces
    untouched: float = 0.5
    seed: int = 11

    def faces(self, phase: int, length: int) -> int:
        """Return how many faces of `length` instants make a step."""
        return max(2, self.instants[phase] // length)


def paper_recipe(network: str, steps: int, instants: int = BASELINE_INSTANTS, lengths: tuple[int, ...] = BASELINE_LENGTHS) -> Recipe:
    """Return the recipe of a network of the AVA paper: one phase, from nothing, on the faces and sounds that ours learns from."""
    return Recipe(network=network, steps=(0, 0, steps), instants=(0, 0, instants), lengths=lengths, rates=(0.0, 0.0, 2e-3))


class Phase:
    """The steps of one phase: its optimiser, its pace, its log."""

    def __init__(self, run: Run, recipe: Recipe, index: int, module: nn.Module) -> None:
        self._run, self._index = run, index
        self._steps, self._seconds, self._rate = recipe.steps[index], recipe.minutes[index] * 60, recipe.rates[index]
        self._weights = list(module.parameters())
        self._optimiser = torch.optim.AdamW(grouped(module, recipe.decay), lr=self._rate)
        self._sums: dict[str, float] = {}
        self._began = self._logged = time.monotonic()
        self.step = 0

    @property
    def share(self) -> float:
        """Return how much of the phase is over."""
        timed = (time.monotonic() - self._began) / self._seconds if self._seconds else 0.0
        return max(self.step / self._steps, timed) if self._steps else 1.0

    def learn(self, terms: dict[str, Tensor]) -> None:
        """Make one step downhill along the sum of the terms."""
        for group in self._optimiser.param_groups:
            group["lr"] = self._rate * schedule(int(self.share * 10_000), 10_000, warmup=300, fall=0.4)
        self._optimiser.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()
        nn.utils.clip_grad_norm_(self._weights, 2.0)
        self._optimiser.step()
        self.step += 1
        for term, value in terms.items():
            self._sums[term] = self._sums.get(term, 0.0) + value.item() / ROWS_LOGGED
        if self.step % ROWS_LOGGED == 0:
            now = time.monotonic()
            self._run.log(self.step, phase=self._index, share=self.share, **self._sums, pace=(now - self._logged) / ROWS_LOGGED)
            self._sums, self._logged = {}, now


def train(recipe: Recipe, folder: Path, tracks: Path = TRACKS, portraits: Path = PORTRAITS, start: Path | None = None) -> Path:
    """Run a recipe and return its checkpoint, which holds the mean weights under "mean".

    Args:
        recipe: what to do.
        folder: of the run.
        tracks: decoded tracks.
        portraits: drawn portraits.
        start: a checkpoint whose weights to begin from.
    """
    rng = single_thread(recipe.seed)
    hold_memory()
    run = Run(folder, asdict(recipe), recipe.seed)
    batches = Batches(rng, recipe.portraits, recipe.lifeless, recipe.untouched, tracks, portraits)
    bench = Bench(Clips(tracks), limit=150, every=2)
    network = build(recipe.network)
    if start is not None:
        network.load_state_dict(fitting(torch.load(start, weights_only=True)["network"], network.state_dict()), strict=False)
    laid_out(network.visual, torch.channels_last)
    network.train()
    if isinstance(network, Sync):
        learn_head(run, recipe, network, batches, rng)
        learn_encoder(run, recipe, network, batches)
    learn_together(run, recipe, network, batches, bench, rng)
    return folder / "checkpoint.pt"


def learn_head(run: Run, recipe: Recipe, network: Sync, batches: Batches, rng: np.random.Generator) -> None:
    """Let the head and the audio encoder learn on the teacher's visual features, a little blurred."""
    phase = Phase(run, recipe, 0, nn.ModuleList([network.audio, network.detector]))
    while phase.share < 1:
        length = int(rng.choice(recipe.lengths))
        batch = batches.heard(recipe.faces(0, length), length)
        blurred = batch.teacher_visual + IMITATION_ERROR * torch.randn_like(batch.teacher_visual)
        phase.learn(judgements(network, batch, blurred))
    run.save(phase.step, network=network.state_dict(), mean=network.state_dict())


def learn_encoder(run: Run, recipe: Recipe, network: Sync, batches: Batches) -> None:
    """Let the visual encoder learn to give the teacher's features."""
    phase = Phase(run, recipe, 1, network.visual)
    while phase.share < 1:
        crops, wanted = batches.imitated(recipe.faces(1, recipe.imitated), recipe.imitated)
        phase.learn({"features": (see(network, crops) - wanted).square().mean()})
    run.save(phase.step, network=network.state_dict(), mean=network.state_dict())


def learn_together(run: Run, recipe: Recipe, network: Sync | TwoTowers, batches: Batches, bench: Bench, rng: np.random.Generator) -> None:
    """Let all parts learn from faces with their sounds; held-out people are looked at now and then, for the log alone."""
    phase, mean = Phase(run, recipe, 2, network), Average(network, decay=0.99)
    saved = time.process_time()
    settle(network)
    while phase.share < 1:
        length = int(rng.choice(recipe.lengths))
        batch = batches.draw(recipe.faces(2, length), length)
        if isinstance(network, Sync):
            seen = see(network, batch.crops)
            off = (seen - batch.teacher_visual).square().mean(2) * batch.taught[:, None]
            phase.learn({**judgements(network, batch, seen), "features": 0.5 * off.mean()})
        else:
            phase.learn(network.losses(batch.crops.float(), batch.mfcc, batch.labels))
        mean.update(network)
        if time.process_time() - saved > CHECK_SECONDS or phase.share >= 1:
            run.save(phase.step, network=network.state_dict(), mean=mean.module.state_dict())
            run.log(phase.step, **bench.measure(in_torch(mean.module)))
            settle(network)
            saved = time.process_time()


def fitting(saved: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return those of the saved weights that have a place of their shape: an encoder may begin where another run's ended."""
    return {name: weight for name, weight in saved.items() if name in wanted and wanted[name].shape == weight.shape}


def settle(network: nn.Module) -> None:
    """Set a network to training, but for the statistics of its normalisation if it is ours: a batch of few long pieces would spoil them."""
    network.train()
    if isinstance(network, Sync):
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.eval()


def load(checkpoint: Path, network: str = "sync") -> Sync | TwoTowers:
    """Return a network with a run's mean weights, ready to judge."""
    module = build(network)
    module.load_state_dict(torch.load(checkpoint, weights_only=True)["mean"])
    return module.eval()


def see(network: Sync, crops: Tensor) -> Tensor:
    """Return the (B, T, 128) visual features of (B, T, 112, 112) crops, computed in bfloat16 as far as that is safe."""
    with torch.autocast("cpu", torch.bfloat16):
        return network.visual(crops.float()).float()


def judgements(network: Sync, batch: Batch, seen: Tensor) -> dict[str, Tensor]:
    """Return the weighted terms of the loss that judge faces with visual features `seen` (B, T, 128) under all their sounds."""
    faces, sounds = batch.labels.shape[:2]
    heard = network.audio(batch.mfcc.flatten(0, 1))  # (B S, T, 128)
    logits, lips, voice = network.detector.parts(heard, seen.repeat_interleave(sounds, 0))
    logits, voice = logits.unflatten(0, (faces, sounds)), voice.unflatten(0, (faces, sounds))
    smooth = batch.labels.clamp(min=0).float() * (1 - 2 * SMOOTHING) + SMOOTHING
    return {
        "judged": judged_loss(logits, torch.where(batch.labels >= 0, smooth, -1.0)),
        "ranking": 0.3 * ranking_loss(logits, batch.labels),
        "contrast": 0.3 * contrast_loss(lips[::sounds], voice[:, 0], voice[:, FOREIGN.start], batch.labels[:, 0]),
        "teachers": 0.3 * masked_loss(logits[:, 0], batch.teacher_speaks, batch.untouched[:, None].expand_as(batch.teacher_speaks)),
    }


def grouped(module: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Return a module's weights for the optimiser; biases and norms are not pulled to zero."""
    matrices = [weight for weight in module.parameters() if weight.ndim > 1]
    rest = [weight for weight in module.parameters() if weight.ndim <= 1]
    return [{"params": matrices, "weight_decay": decay}, {"params": rest, "weight_decay": 0.0}]

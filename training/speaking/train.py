"""One training run of the speaking network, or of the baseline that it is compared with."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from asd_core.models.manifest import read_manifest
from training.run import OUT, Average, Run, schedule, single_thread
from training.speaking import evaluate, faces
from training.speaking.data import PORTRAITS, TEACHERS, TRACKS, Clips
from training.speaking.loss import Auxiliary, contrast_loss, judged_loss, masked_loss, ranking_loss
from training.speaking.network import Sync
from training.speaking.sounds import FOREIGN, Mixer, Piece, Pool, judged

RUNS = OUT / "speaking" / "runs"
SMOOTHING = 0.02


@dataclass(frozen=True)  # no slots: the command line reads the defaults off the class
class Recipe:
    """All that a run depends on besides the data and the code."""

    network: str = "sync"
    steps: int = 6000
    minutes: float = 0.0  # ends earlier, the learning rate falling in time, when this much time is over; 0: no limit
    instants: int = 450  # faces' instants a step
    lengths: tuple[int, ...] = (25, 50, 75, 75, 100, 125, 150)  # of a step's pieces: what the line's windows need
    rate: float = 2e-3
    decay: float = 0.05
    portraits: float = 0.25  # share of the faces
    frozen: float = 0.04  # share of the faces that are photographs
    untouched: float = 0.5  # share of the faces whose own sound is left alone, so that the teachers are asked
    check_minutes: float = 8.0
    seed: int = 11


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """B faces over T instants, each with S sounds."""

    crops: Tensor  # (B, T, 112, 112)
    mfcc: Tensor  # (B, S, 4 T, 13)
    labels: Tensor  # (B, S, T)
    teacher_visual: Tensor  # (B, T, 256), standardised
    teacher_speaks: Tensor  # (B, T) probability
    taught: Tensor  # (B,) the teachers saw this face
    untouched: Tensor  # (B,) and heard this sound


class Batches:
    """Draws batches without end."""

    def __init__(self, recipe: Recipe, rng: np.random.Generator, tracks: Path = TRACKS, portraits: Path = PORTRAITS) -> None:
        self._recipe, self._rng = recipe, rng
        clips = Clips(tracks)
        self._tracks, self._portraits = Pool(clips, held_out=False), Pool(Clips(portraits), held_out=False)
        self._mixer = Mixer(self._tracks, rng)
        sample = clips["teacher_visual"][:: max(1, len(clips["frames"]) // 5000)].astype(np.float32)
        self._mean, self._spread = sample.mean(0), sample.std(0) + 0.05
        manifests = Path(__file__).parents[2] / "asd_core" / "models" / "manifests"
        told = [read_manifest(manifests / f"{name}.toml").calibration for name in TEACHERS]
        self._slope, self._offset = np.array([t["slope"] for t in told]), np.array([t["offset"] for t in told])

    def draw(self) -> Batch:
        """Return the next batch."""
        length = int(self._rng.choice(self._recipe.lengths))
        rows = [self._face(length) for _ in range(max(1, self._recipe.instants // length))]
        return Batch(*(torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True)))

    def _face(self, length: int) -> tuple[NDArray, ...]:
        rng, recipe = self._rng, self._recipe
        made = rng.random() < recipe.portraits and length <= 125
        face = (self._portraits if made else self._tracks).draw(length, rng)
        if face is None:
            raise ValueError(f"no training track has {length} instants")
        frames, own = face["frames"], own_labels(face, made)
        photograph = not made and rng.random() < recipe.frozen
        if photograph:
            frames, own = faces.frozen(frames, rng), np.zeros_like(own)
        untouched = not made and not photograph and rng.random() < recipe.untouched
        mfcc, labels = self._mixer.sounds(face, own, treated=not untouched)
        features, speaks = np.zeros((length, len(self._mean)), np.float32), np.zeros(length, np.float32)
        if not made:
            features = ((face["teacher_visual"] - self._mean) / self._spread).astype(np.float32)
            logit = (face["teacher_logits"] * self._slope + self._offset).mean(1)
            speaks = (1 / (1 + np.exp(-logit))).astype(np.float32)
        taught = np.float32(not made and not photograph)
        return faces.shown(frames, rng), mfcc, labels, features, speaks, taught, np.float32(untouched)


def own_labels(face: Piece, made: bool) -> NDArray[np.int8]:
    """Return a face's labels under its own sound: edges left out, and pauses in which the AVA weights see nobody speak taken for pauses."""
    labels = np.array(face["label"])
    if not made:
        pause = (labels == -1) & (face["vad"] < 0.15) & (face["teacher_logits"][:, 0] < 0)
        labels = np.where(pause, 0, labels).astype(np.int8)
    return judged(labels)


def losses(network: Sync, auxiliary: Auxiliary, batch: Batch, share: float) -> dict[str, Tensor]:
    """Return the weighted terms of the loss. `share` of the run is over: the teachers' features count most at its beginning."""
    with torch.autocast("cpu", torch.bfloat16):
        seen = network.visual(batch.crops.float())
    seen = seen.float()  # (B, T, 128)
    faces_count, sounds = batch.labels.shape[:2]
    heard = network.audio(batch.mfcc.flatten(0, 1))  # (B S, T, 128)
    logits, lips, voice = network.detector.parts(heard, seen.repeat_interleave(sounds, 0))
    logits, voice = logits.unflatten(0, (faces_count, sounds)), voice.unflatten(0, (faces_count, sounds))
    own = batch.labels[:, 0]
    smooth = batch.labels.clamp(min=0).float() * (1 - 2 * SMOOTHING) + SMOOTHING
    terms = {
        "judged": judged_loss(logits, torch.where(batch.labels >= 0, smooth, -1.0)),
        "lips": 0.3 * masked_loss(auxiliary.lips(seen).squeeze(2), own.clamp(min=0), own >= 0),
        "ranking": 0.3 * ranking_loss(logits, batch.labels),
        "contrast": 0.3 * contrast_loss(lips[::sounds], voice[:, 0], voice[:, FOREIGN.start], own),
        "teachers": 0.4 * masked_loss(logits[:, 0], batch.teacher_speaks, batch.untouched[:, None].expand_as(own)),
    }
    off = (auxiliary.teachers(seen) - batch.teacher_visual).square().mean(2) * batch.taught[:, None]
    terms["features"] = (1.0 if share < 0.35 else 0.3) * off.mean()
    return terms


def train(recipe: Recipe, name: str, start: Path | None = None) -> Path:
    """Run a recipe and return its folder, in which `checkpoint.pt` holds the mean weights under "mean".

    Args:
        recipe: what to do.
        name: of the folder under out/training/speaking/runs.
        start: a checkpoint whose weights to begin from.
    """
    rng = single_thread(recipe.seed)
    run = Run(RUNS / name, asdict(recipe), recipe.seed)
    batches = Batches(recipe, rng)
    network, auxiliary = Sync(), Auxiliary(256)
    if start is not None:
        saved = torch.load(start, weights_only=True)
        network.load_state_dict(saved["network"])
        auxiliary.load_state_dict(saved["auxiliary"])
    network.visual.to(memory_format=torch.channels_last)
    mean = Average(network, decay=0.995)
    optimiser = torch.optim.AdamW([*grouped(network, recipe.decay), *grouped(auxiliary, recipe.decay)], lr=recipe.rate)
    bench = evaluate.Bench(Clips(TRACKS), limit=150, every=2)
    sums: dict[str, float] = {}
    checked = run.seconds
    saved_at = run.seconds
    for step in range(recipe.steps):
        share = max(step / recipe.steps, run.seconds / 60 / recipe.minutes if recipe.minutes else 0.0)
        if share >= 1:
            break
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * schedule(int(share * 100_000), 100_000, warmup=1500)
        began = time.monotonic()
        batch = batches.draw()
        drawn = time.monotonic()
        terms = losses(network.train(), auxiliary, batch, share)
        optimiser.zero_grad(set_to_none=True)
        sum(terms.values()).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimiser.step()
        mean.update(network)
        for term, value in {**{k: v.item() for k, v in terms.items()}, "drawing": drawn - began, "learning": time.monotonic() - drawn}.items():
            sums[term] = sums.get(term, 0.0) + value / 50
        if step % 50 == 49:
            run.log(step + 1, share=share, **sums)
            sums = {}
        if run.seconds - saved_at > 180 or step + 1 == recipe.steps:
            save(run, step + 1, network, auxiliary, mean)
            saved_at = run.seconds
        if run.seconds - checked > recipe.check_minutes * 60:
            run.log(step + 1, **bench.measure(evaluate.in_torch(mean.module)))
            checked = run.seconds
    save(run, step + 1, network, auxiliary, mean)
    run.log(step + 1, **bench.measure(evaluate.in_torch(mean.module)))
    return run.folder


def save(run: Run, step: int, network: Sync, auxiliary: Auxiliary, mean: Average) -> None:
    """Write the run's checkpoint."""
    run.save(step, network=network.state_dict(), auxiliary=auxiliary.state_dict(), mean=mean.module.state_dict())


def grouped(module: nn.Module, decay: float) -> list[dict]:
    """Return a module's weights for the optimiser; biases and norms are not pulled to zero."""
    matrices = [weight for weight in module.parameters() if weight.ndim > 1]
    rest = [weight for weight in module.parameters() if weight.ndim <= 1]
    return [{"params": matrices, "weight_decay": decay}, {"params": rest, "weight_decay": 0.0}]

"""The training run: batches of made, nameless and named faces; distillation for all, AdaFace for those with names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from training.embedder.augment import seen
from training.embedder.evaluate import HeldOut, verification
from training.embedder.loss import AdaFace, distillation, orthonormal
from training.embedder.muon import Muon
from training.embedder.network import DIMENSION, FaceEmbedder
from training.embedder.prepare import sampling_weights
from training.run import Average, Run, laid_out, schedule, single_thread


@dataclass(frozen=True, slots=True)
class Recipe:
    """The knobs of a run. The three shares are faces of one batch."""

    steps: int = 30000
    made: int = 30
    nameless: int = 4
    named: int = 14
    turn: float = 0.04  # rate of Muon: convolutions
    rate: float = 2e-3  # of AdamW: normalisation and biases
    head: float = 1e-4  # of AdamW: the last layer, whose weights are a thousandth
    pull: float = 0.5  # of plain descent: prototypes of people
    decay: float = 0.05
    adaface: float = 0.05  # weight beside the distillation: with few people, names are soon known by heart
    gentle: int = 2000  # steps over which pictures get as poor as they come
    fall: float = 0.75  # share of the steps over which the rates fall: a short run learns most while they do
    every: int = 250  # steps between looks at held-out people


class Faces:
    """What `prepare` wrote, and batches of it."""

    def __init__(self, cache: Path, recipe: Recipe) -> None:
        with np.load(cache / "faces.npz") as told:
            faces, vectors, people, out = told["faces"], told["vectors"], told["people"], told["held_out"]
        self.held_out = HeldOut(faces[out], vectors[out], people[out])
        self.faces, self.vectors = faces[~out], vectors[~out].astype(np.float32)
        self.people = np.where(people[~out] < 0, -1, np.searchsorted(np.unique(people[~out & (people >= 0)]), people[~out]))
        shards = sorted(p for p in cache.glob("made_??.npy"))
        self.made = [np.load(p, mmap_mode="r") for p in shards]
        self.made_vectors = [np.load(p.with_suffix(".vectors.npy")).astype(np.float32) for p in shards]
        self._recipe = recipe
        self._named, self._nameless = np.flatnonzero(self.people >= 0), np.flatnonzero(self.people < 0)
        weights = sampling_weights(self.people)[self._named]
        self._chances = weights / weights.sum()

    def batch(self, rng: np.random.Generator, harshness: float = 1.0) -> tuple[Tensor, NDArray[np.float32], Tensor]:
        """Return faces (B, 3, 112, 112), the teacher's vectors (B, D) and, of the last `named` of them, the people."""
        faces, vectors = [], []
        for _ in range(self._recipe.made):
            k = int(rng.integers(len(self.made)))
            i = int(rng.integers(len(self.made[k])))
            faces.append(seen(np.array(self.made[k][i]), rng, harshness))
            vectors.append(self.made_vectors[k][i])
        real = np.concatenate([rng.choice(self._nameless, self._recipe.nameless), rng.choice(self._named, self._recipe.named, p=self._chances)])
        faces += [seen(self.faces[i], rng, harshness) for i in real]
        return network_input(np.stack(faces)), np.stack([*vectors, *self.vectors[real]]), torch.from_numpy(self.people[real[self._recipe.nameless :]])

    def prototypes(self) -> NDArray[np.float32]:
        """Return the teacher's mean vector (P, D) of every named person."""
        summed = np.zeros((self.people.max() + 1, self.vectors.shape[1]), np.float32)
        np.add.at(summed, self.people[self._named], self.vectors[self._named])
        return summed


def train(cache: Path, folder: Path, recipe: Recipe, seed: int = 11) -> FaceEmbedder:
    """Run or go on with a run; return the network with the mean weights."""
    single_thread(seed)
    run = Run(folder, {name: getattr(recipe, name) for name in recipe.__dataclass_fields__}, seed)
    faces = Faces(cache, recipe)
    carry = orthonormal(DIMENSION, faces.vectors.shape[1])
    student = FaceEmbedder()
    student.begin_with(network_input(faces.faces[:: max(1, len(faces.faces) // 500)]))
    student = laid_out(student, torch.channels_last)
    adaface = AdaFace(torch.from_numpy(faces.prototypes()) @ carry.T)
    mean = Average(student)
    optimisers = _optimisers(student, adaface, recipe)
    modules: dict[str, nn.Module | torch.optim.Optimizer] = {"student": student, "mean": mean.module, "adaface": adaface, **optimisers}
    first = _resume(run, modules)
    run.log(first, faces=len(faces.faces), people=int(faces.people.max() + 1), made=sum(map(len, faces.made)), held_out=len(faces.held_out.people))
    student.train(), adaface.train()
    for step in range(first, recipe.steps):
        pace = schedule(step, recipe.steps, warmup=100, fall=recipe.fall)
        for optimiser in optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = group["full"] * pace
        fed, vectors, people = faces.batch(np.random.default_rng([seed, step]), min(1.0, 0.2 + step / recipe.gentle))
        with torch.autocast("cpu", torch.bfloat16):
            given = student(fed.contiguous(memory_format=torch.channels_last))
        given = given.float()
        taught = distillation(given, torch.from_numpy(vectors) @ carry.T)
        named = adaface(given[-len(people) :], people)
        for optimiser in optimisers.values():
            optimiser.zero_grad()
        (taught + recipe.adaface * named).backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        for optimiser in optimisers.values():
            optimiser.step()
        mean.update(student)
        if step % 25 == 0:
            run.log(step, taught=taught.item(), named=named.item(), norm=given.detach().norm(dim=1).mean().item())
        if (step + 1) % recipe.every == 0 or step + 1 == recipe.steps:
            run.log(step + 1, **_look(mean.module, faces.held_out, carry))
            run.save(step + 1, **{name: module.state_dict() for name, module in modules.items()})
    return mean.module


def network_input(chips: NDArray[np.uint8]) -> Tensor:
    """Return chips (N, 112, 112, 3) as the network takes them, (N, 3, 112, 112) in -1..1."""
    return torch.from_numpy(np.ascontiguousarray(chips)).permute(0, 3, 1, 2).float().sub_(127.5).div_(127.5)


@torch.no_grad()
def embed(network: FaceEmbedder, chips: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the raw vectors (N, 512) of chips (N, 112, 112, 3)."""
    parts = (network_input(chips[k : k + 64]).contiguous(memory_format=torch.channels_last) for k in range(0, len(chips), 64))
    return torch.cat([network(part) for part in parts]).numpy()


def _optimisers(student: FaceEmbedder, adaface: AdaFace, recipe: Recipe) -> dict[str, torch.optim.Optimizer]:
    """Return Muon for convolutions, AdamW for the rest of the network, and plain descent for prototypes.

    Adam would move the prototype of every person by a full step, however little one that is not in the batch is asked to move.
    """
    small = [p for p in student.parameters() if p.ndim == 1]
    optimisers: dict[str, torch.optim.Optimizer] = {
        "muon": Muon([p for p in student.parameters() if p.ndim == 4], recipe.turn, weight_decay=recipe.decay),
        "adamw": torch.optim.AdamW([{"params": [student.head.weight], "lr": recipe.head}, {"params": small, "weight_decay": 0.0}], lr=recipe.rate),
        "descent": torch.optim.SGD(adaface.parameters(), lr=recipe.pull),
    }
    for optimiser in optimisers.values():
        for group in optimiser.param_groups:
            group["full"] = group["lr"]
    return optimisers


def _resume(run: Run, modules: Mapping[str, nn.Module | torch.optim.Optimizer]) -> int:
    told = run.resume()
    if told is None:
        return 0
    for name, module in modules.items():
        module.load_state_dict(told[name])
    return int(told["step"])


def _look(network: FaceEmbedder, held_out: HeldOut, carry: Tensor) -> dict[str, float]:
    """Return how held-out people are told apart, sharp and at 28 pixels, and how near the vectors are to the teacher's."""
    sharp = embed(network, held_out.faces)
    likeness = functional.cosine_similarity(torch.from_numpy(sharp), torch.from_numpy(held_out.vectors) @ carry.T).mean()
    far = embed(network, held_out.from_afar(28))
    told = verification(sharp, sharp, held_out.people)
    small = verification(sharp, far, held_out.people)
    return {
        "likeness": float(likeness), "accuracy": told["accuracy"], "tar_1": told["tar_1"], "tar_01": told["tar_01"],
        "accuracy_28": small["accuracy"], "norm": float(np.linalg.norm(sharp, axis=1).mean()), "norm_28": float(np.linalg.norm(far, axis=1).mean()),
    }  # fmt: skip

"""Training of the voice network: stretches of speech of known people, through other rooms and noises, told apart by an angular margin.

The people are few, so all of them are judged by a network that never heard them: three runs, each without a third of the people.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.signal import lfilter
from torch import Tensor

from training.run import Average, Run, schedule, single_thread
from training.speaking.data import sound_bands
from training.speaking.sounds import music, noise
from training.voice.data import BANDS, SPEEDS, Rows, Voice, Voices
from training.voice.network import Margin, VoiceEmbedder

THIRDS = 3
ROWS_LOGGED = 50  # steps between two lines of the log


@dataclass(frozen=True)
class Recipe:
    """All that a run depends on besides the data and the code."""

    left_out: int = 0  # the third of the people that is not learnt from
    people: float = 1.0  # share of the others that is
    steps: int = 500
    batch: int = 64
    rows: int = 200  # of a stretch: 2 s
    rate: float = 2e-3
    decay: float = 0.1
    seed: int = 11


def place(person: str) -> float:
    """Return a person's place in 0..1, by the name alone: it decides what a person is used for."""
    return hashlib.sha256(person.encode()).digest()[0] / 256


def third(person: str) -> int:
    """Return which third of the people a person belongs to."""
    return int(place(person) * THIRDS)


class Batches:
    """Draws stretches of speech without end; a person at another speed is another person."""

    def __init__(self, voices: Voices, recipe: Recipe, rng: np.random.Generator) -> None:
        self._voices, self._recipe, self._rng = voices, recipe, rng
        by_person: dict[str, list[Voice]] = {}
        for voice in voices.voices:
            if third(voice.person) != recipe.left_out and (place(voice.person) * THIRDS) % 1 < recipe.people:
                by_person.setdefault(voice.person, []).append(voice)
        self.people = [(voices_of, speed) for voices_of in by_person.values() for speed in range(len(SPEEDS))]
        lengths = np.sqrt([sum(len(voices.speech(voice, speed)) for voice in of) for of, speed in self.people])
        self._chances = lengths / lengths.sum()
        self._beds = [sound_bands(make(rng), 500).reshape(-1, BANDS + 1)[:, :BANDS] for make in (noise, music) for _ in range(16)]

    def draw(self) -> tuple[Tensor, Tensor]:
        """Return (B, R, 26) log energies and the numbers (B,) of their people."""
        chosen = self._rng.choice(len(self.people), self._recipe.batch, p=self._chances)
        rows = np.stack([masked(np.log(self._heard(self._stretch(int(number))) + 1), self._rng) for number in chosen])
        return torch.from_numpy(rows.astype(np.float32)), torch.from_numpy(chosen)

    def _stretch(self, number: int) -> Rows:
        voices, speed = self.people[number]
        lengths = np.array([len(self._voices.speech(voice, speed)) for voice in voices], float)
        speech = self._voices.speech(voices[int(self._rng.choice(len(voices), p=lengths / lengths.sum()))], speed)
        first = int(self._rng.integers(max(1, len(speech) - self._recipe.rows + 1)))
        return speech[(first + np.arange(self._recipe.rows)) % len(speech)]

    def _heard(self, rows: Rows) -> Rows:
        """Return the rows as heard in another room, through another microphone, among other sounds."""
        rng = self._rng
        if rng.random() < 0.5:
            falling = 10 ** (-0.06 / rng.uniform(0.15, 0.9))  # of the energy in 10 ms, by the time in which it falls by 60 dB
            tail = lfilter([0, 1], [1, -falling], rows, axis=0).astype(np.float32)
            rows = rows + np.float32(rng.uniform(0.1, 1) * (1 - falling)) * tail
        rows = rows * (10 ** (np.interp(np.arange(BANDS), [0, 6, 13, 19, 25], rng.normal(0, 5, 5)) / 10)).astype(np.float32)
        if rng.random() < 0.6:
            over = self._stretch(int(rng.integers(len(self.people)))) if rng.random() < 0.3 else self._beds[int(rng.integers(len(self._beds)))]
            over = over[(int(rng.integers(len(over))) + np.arange(len(rows))) % len(over)]
            rows = rows + over * np.float32(10 ** (-rng.uniform(3, 25) / 10) * rows.mean() / max(over.mean(), 1e-9))
        return rows * np.float32(10 ** rng.uniform(4, 7) / max(rows.mean(), 1e-9))


def masked(rows: Rows, rng: np.random.Generator) -> Rows:
    """Return log energies with some bands, and a piece of the time, at their mean (SpecAugment, Park et al. 2019)."""
    if rng.random() < 0.6:
        first, at = int(rng.integers(BANDS - 4)), int(rng.integers(len(rows) - 30))
        rows = rows.copy()
        rows[:, first : first + int(rng.integers(1, 5))] = rows.mean()
        rows[at : at + int(rng.integers(5, 30))] = rows.mean(axis=0)
    return rows


def train(voices: Voices, recipe: Recipe, folder: Path) -> None:
    """Run a recipe; `load` gives the network with its mean weights."""
    rng = single_thread(recipe.seed)
    run = Run(folder, asdict(recipe), recipe.seed)
    batches = Batches(voices, recipe, rng)
    network, margin = VoiceEmbedder(), Margin(len(batches.people))
    weights = [*network.parameters(), *margin.parameters()]
    optimiser = torch.optim.AdamW(weights, lr=recipe.rate, weight_decay=recipe.decay)
    mean = Average(network, decay=0.98)
    total = 0.0
    for step in range(recipe.steps):
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * schedule(step, recipe.steps, warmup=30, fall=0.6)
        rows, people = batches.draw()
        with torch.autocast("cpu", torch.bfloat16):
            vectors = network(rows)
        loss = margin(vectors.float(), people, share=min(1.0, 2 * step / recipe.steps))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 2.0)
        optimiser.step()
        mean.update(network)
        total += loss.item() / ROWS_LOGGED
        if (step + 1) % ROWS_LOGGED == 0:
            run.log(step + 1, loss=total)
            total = 0.0
    run.save(recipe.steps, network=mean.module.state_dict())


def load(folder: Path) -> VoiceEmbedder:
    """Return the network of a run, ready to judge."""
    network = VoiceEmbedder()
    network.load_state_dict(torch.load(folder / "checkpoint.pt", weights_only=True)["network"])
    return network.eval()

"""One training run: its folder, its log, its checkpoints, its pace. What is learnt is told by the roles' own folders."""

from __future__ import annotations

import copy
import ctypes
import hashlib
import json
import random
import subprocess
import time
from pathlib import Path
from typing import Any, Generic, TypeVar

import cv2
import numpy as np
import torch
from torch import nn

OUT = Path(__file__).parents[1] / "out" / "training"
SHARED = Path(__file__).parents[2] / "shared"
M = TypeVar("M", bound=nn.Module)
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # of mallopt(3)


def single_thread(seed: int) -> np.random.Generator:
    """Set every seed, keep torch and OpenCV on one thread, and return the generator that all random choices of a run come from.

    Small networks gain little from a second thread and lose repeatability; two roles train side by side instead.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    cv2.setRNGSeed(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - for libraries that draw from the old global state
    torch.manual_seed(seed)
    return np.random.default_rng(seed)


def hold_memory() -> None:
    """Let the C library keep what is freed, if it is GNU's.

    A training step takes and frees the same hundreds of megabytes as the one before; to give them back to the system in between takes half of
    a small network's time.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_MMAP_MAX, 0)
        library.mallopt(_TRIM_THRESHOLD, -1)
        library.mallopt(_TOP_PAD, 256 << 20)


def schedule(step: int, steps: int, warmup: int = 300, fall: float = 0.3) -> float:
    """Return the share of the full learning rate at a step: a warm-up, a constant part, a linear fall to 0.01 over the last share `fall`.

    A longer run goes on from the constant part of a shorter one. Source: Hägele et al. 2024 (arXiv 2405.18392).
    """
    falling = max(1.0, steps * fall)
    return min(1.0, (step + 1) / max(1, warmup), max(0.01, (steps - step) / falling))


class Run:
    """A folder that holds all of one run: config.json, log.jsonl, checkpoint.pt.

    The digest of the configuration and the commit of the code are what a model card calls the run.
    """

    def __init__(self, folder: Path, config: dict[str, Any], seed: int) -> None:
        self.folder = folder
        self.config = {**config, "seed": seed}
        self.digest = hashlib.sha256(json.dumps(self.config, sort_keys=True).encode()).hexdigest()[:12]
        self._began = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        told = {"config": self.config, "digest": self.digest, "commit": _commit(), "torch": torch.__version__}
        (folder / "config.json").write_text(json.dumps(told, indent=1, sort_keys=True) + "\n")

    @property
    def seconds(self) -> float:
        """Return the seconds since this process began the run."""
        return time.monotonic() - self._began

    def log(self, step: int, **numbers: float | str) -> None:
        """Append a line to log.jsonl and print it."""
        row = {"step": step, "seconds": round(self.seconds, 1)} | {k: float(f"{v:.5g}") if isinstance(v, float) else v for k, v in numbers.items()}
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(row) + "\n")
        print(" ".join(f"{name}={value}" for name, value in row.items()), flush=True)

    def save(self, step: int, **states: Any) -> None:
        """Write checkpoint.pt: the step and the states by name. A kill while it is written leaves the one before."""
        part = self.folder / "checkpoint.part"
        torch.save({"step": step, "digest": self.digest, **states}, part)
        part.replace(self.folder / "checkpoint.pt")

    def resume(self) -> dict[str, Any] | None:
        """Return what was saved last, None at a new beginning. Only tensors and plain values are read, never code."""
        path = self.folder / "checkpoint.pt"
        return torch.load(path, weights_only=True) if path.is_file() else None


def laid_out(module: M, memory_format: torch.memory_format) -> M:
    """Return the module with its weights in a memory format, as `Module.to` does; torch's own types do not know that it can."""
    return module.to(memory_format=memory_format)  # type: ignore[call-overload, no-any-return]


class Average(Generic[M]):
    """The exponential mean of a module's weights over its steps, which generalises better than the last step's; buffers are copied."""

    def __init__(self, module: M, decay: float = 0.999) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self._decay = decay
        self._steps = 0

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take one step of `module` into the mean; the first steps count more, so that the random start is soon forgotten."""
        self._steps += 1
        keep = min(self._decay, self._steps / (self._steps + 10))
        for mean, now in zip(self.module.parameters(), module.parameters(), strict=True):
            mean.lerp_(now, 1 - keep)
        for kept, buffer in zip(self.module.buffers(), module.buffers(), strict=True):
            kept.copy_(buffer)


def _commit() -> str:
    asked = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return asked.stdout.strip() or "unknown"

"""`analyse` for one file outside a library: the whole line of the core in the decoding child, as the stages run it piece by piece."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asd_core import analysis
from asd_core.media.decode import read_frames
from asd_core.media.probe import probe
from asd_core.models.registry import Model
from asd_core.records import Analysis
from infra.inference import InferenceOptions, Profile, open_network
from tasks.probe import probe_file

if TYPE_CHECKING:
    from infra.sandbox import Sandbox
    from infra.settings import Settings
    from tasks.plan import Plan

Progress = Callable[[str, float, float], None]


def analyse_clip(path: Path, plan: Plan, sandbox: Sandbox, settings: Settings, *, on_progress: Progress | None = None) -> Analysis:
    """Return the analysis of a file, made in a child process within the limits that the settings give a file of its length.

    Raises:
        MediaError: the file cannot be decoded within the limits.
        ModelError: a network cannot be used.
    """
    made: Analysis = _in_child("tasks.clip:analyse_in_child", path, plan, sandbox, settings, on_progress)
    return made


def _in_child(function: str, path: Path, plan: Plan, sandbox: Sandbox, settings: Settings, on_progress: Progress | None) -> Any:
    info = probe_file(path.absolute(), sandbox, settings)
    return sandbox.call(
        function, str(path.absolute()), dict(plan.models), plan.options, plan.profile, plan.threads,
        timeout=settings.child_seconds(info.duration * (1 + len(info.audio_tracks))), on_progress=on_progress,
    )  # fmt: skip


def analyse_in_child(
    path: str,
    models: dict[str, Model],
    options: analysis.AnalysisOptions,
    profile: Profile,
    threads: int,
    on_progress: Progress | None = None,
) -> Analysis:
    """Return the analysis of a file; runs in the sandbox."""
    inference = InferenceOptions(profile=profile, threads=threads)
    networks = analysis.open_networks(models, partial(open_network, options=inference))
    return analysis.analyse_clip(Path(path), networks, options, on_progress=on_progress)


# ---- how fast ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Measured:
    """What one analysis took: seconds of the clock and of the CPU, those of decoding alone, and the most memory."""

    duration: float
    wall: float
    cpu: float
    decode_cpu: float
    peak_megabytes: float


def measure_clip(path: Path, plan: Plan, sandbox: Sandbox, settings: Settings, *, on_progress: Progress | None = None) -> dict[str, float]:
    """Return what the analysis of a file takes in a child of its own, networks loaded beforehand."""
    measured: Measured = _in_child("tasks.clip:measure_in_child", path, plan, sandbox, settings, on_progress)
    return asdict(measured)


def measure_in_child(
    path: str,
    models: dict[str, Model],
    options: analysis.AnalysisOptions,
    profile: Profile,
    threads: int,
    on_progress: Progress | None = None,
) -> Measured:
    """Measure decoding alone, then the whole line; runs in the sandbox."""
    info = probe(Path(path))
    began = time.process_time()
    for frame in read_frames(Path(path), info, start=0.0, end=info.duration, threads=threads) if info.video is not None else ():
        frame.luma((64, 36))
    decode_cpu = time.process_time() - began
    inference = InferenceOptions(profile=profile, threads=threads)
    networks = analysis.open_networks(models, partial(open_network, options=inference))
    began, wall = time.process_time(), time.monotonic()
    analysis.analyse_clip(Path(path), networks, options, on_progress=on_progress)
    cpu, took = time.process_time() - began, time.monotonic() - wall
    return Measured(info.duration, took, cpu, decode_cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)

"""`analyse` for one file outside a library: the whole line of the core in the decoding child, as the stages run it piece by piece."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from asd_core import analysis
from asd_core.models.registry import Model
from asd_core.records import Analysis
from infra.inference import InferenceOptions, Profile, open_network

if TYPE_CHECKING:
    from infra.sandbox import Sandbox
    from tasks.plan import Plan

Progress = Callable[[str, float, float], None]


def analyse_clip(path: Path, plan: Plan, sandbox: Sandbox, *, seconds: float, on_progress: Progress | None = None) -> Analysis:
    """Return the analysis of a file, made in a child process that may take so many seconds.

    Raises:
        MediaError: the file cannot be decoded within the limits.
        ModelError: a network cannot be used.
    """
    made: Analysis = sandbox.call(
        "tasks.clip:analyse_in_child",
        str(path.absolute()),
        dict(plan.models),
        plan.options,
        plan.profile,
        plan.threads,
        timeout=seconds,
        on_progress=on_progress,
    )
    return made


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

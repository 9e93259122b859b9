"""`look`: one decode of a span gives shots, tracks, visual features and chips. Runs in a decoding child, several spans side by side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from asd_core.look import LookOptions, look
from asd_core.models.registry import Model
from asd_core.records import Look, MediaInfo
from tasks.networks import detector, speaking
from tasks.probe import PROBE
from tasks.stage import Job, Stage

if TYPE_CHECKING:
    from infra.inference import Profile


def span_name(marks: range) -> str:
    """Return the name of a span: its first and last 10 s block."""
    return f"{marks[0]}-{marks[-1]}"


def look_in_child(
    path: Path,
    info: MediaInfo,
    first_mark: int,
    last_mark: int,
    detector_model: Model,
    speaking_model: Model,
    options: LookOptions,
    profile: str,
    threads: int,
    on_progress: Callable[[str, float, float], None] | None = None,
) -> Look:
    """Return what one decode of the blocks from `first_mark` to `last_mark` shows."""
    numeric = cast("Profile", profile)  # a plain string between processes
    return look(
        path,
        info,
        range(first_mark, last_mark + 1),
        detector=detector(detector_model, numeric, threads),
        encoder=speaking(speaking_model, numeric, threads),
        options=options,
        decode_threads=threads,
        on_progress=on_progress,
    )


def _look(job: Job, span: str, info: MediaInfo) -> Look:
    first, last = (int(mark) for mark in span.split("-"))
    plan, adapters = job.plan, job.adapters
    seen: Look = adapters.sandbox.call(
        "tasks.look:look_in_child", job.path(), info, first, last, plan.models["detector"], plan.models["speaking"], plan.options.look,
        plan.profile, plan.threads, timeout=adapters.settings.child_seconds(info.duration), on_progress=job.progress("look", span, info.duration),
    )  # fmt: skip
    return seen


LOOK = Stage(
    "look", version=2, makes=Look, work=_look, after=(PROBE,), reads=lambda plan: plan.options.look, roles=("detector", "speaking"), opens=True
)

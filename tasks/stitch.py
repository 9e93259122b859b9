"""`stitch`: the spans of an asset become one: shots, tracks, their features and chips."""

from __future__ import annotations

from collections.abc import Sequence

from asd_core.records import Look, MediaInfo, Stitched
from asd_core.stitch import stitch
from tasks.look import LOOK
from tasks.probe import PROBE
from tasks.stage import Job, Stage


def _stitch(job: Job, span: str, looks: Sequence[Look], info: MediaInfo) -> Stitched:
    return stitch(looks, info, job.plan.options.stitch)


STITCH = Stage("stitch", version=2, makes=Stitched, work=_stitch, after=(PROBE, LOOK), reads=lambda plan: plan.options.stitch)

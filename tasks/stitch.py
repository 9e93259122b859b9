"""`stitch`: the spans of an asset become one: shots, tracks, and where their features and chips lie."""

from __future__ import annotations

from asd_core.records import MediaInfo, Stitched
from asd_core.stitch import stitch
from tasks.look import LOOK, Looks
from tasks.probe import PROBE
from tasks.stage import Job, Stage


def _stitch(job: Job, span: str, looks: Looks, info: MediaInfo) -> Stitched:
    return stitch(looks, info, job.plan.options.stitch)


STITCH = Stage("stitch", version=3, makes=Stitched, work=_stitch, after=(PROBE, LOOK), reads=lambda plan: plan.options.stitch)

"""`decide`: who of the visible speaks when, and which speech nobody visible explains. No inference: seconds for a new threshold."""

from __future__ import annotations

from asd_core.records import Scores, Sound, Stitched, TrackTurns
from asd_core.turns.decide import decide
from tasks.listen import LISTEN
from tasks.score import SCORE
from tasks.stage import Job, Stage
from tasks.stitch import STITCH


def _decide(job: Job, span: str, picture: Stitched, scores: Scores, sound: Sound) -> TrackTurns:
    return decide(picture.tracks, scores, sound, job.plan.options.turns)


DECIDE = Stage("decide", version=3, makes=TrackTurns, work=_decide, after=(STITCH, SCORE, LISTEN), reads=lambda plan: plan.options.turns)

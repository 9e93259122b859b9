"""`score`: lips and sound brought together, a speaking logit for every track and instant."""

from __future__ import annotations

from asd_core.records import Scores, Sound, Stitched
from asd_core.speech.score import score_tracks
from asd_core.stitch import visual_features
from tasks.listen import LISTEN
from tasks.look import Looks
from tasks.networks import speaking
from tasks.stage import Job, Stage
from tasks.stitch import STITCH


def _score(job: Job, span: str, picture: Stitched, looks: Looks, sound: Sound) -> Scores:
    network = speaking(job.plan.models["speaking"], job.plan.profile, job.plan.threads)
    return score_tracks(picture.tracks, lambda n: visual_features(picture.pieces[n], looks.block), sound, network, job.plan.options.score)


SCORE = Stage(
    "score",
    version=1,
    makes=Scores,
    work=_score,
    after=(STITCH, LISTEN),
    reads=lambda plan: (plan.options.score, plan.models["speaking"].manifest.calibration, plan.models["speaking"].manifest.windows),
    roles=("speaking",),
)

"""`group`: the tracks of an asset become its people."""

from __future__ import annotations

from asd_core.identity.cluster import cluster
from asd_core.records import Embeddings, People, Stitched
from tasks.embed import EMBED
from tasks.stage import Job, Stage
from tasks.stitch import STITCH


def _group(job: Job, span: str, picture: Stitched, embeddings: Embeddings) -> People:
    return cluster(picture.tracks, embeddings, picture.chips, job.plan.options.cluster)


GROUP = Stage("group", version=2, makes=People, work=_group, after=(STITCH, EMBED), reads=lambda plan: plan.options.cluster)

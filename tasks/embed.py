"""`embed`: chips become vectors, with their quality."""

from __future__ import annotations

from asd_core.faces.embed import embed_tracks
from asd_core.records import Embeddings, Stitched
from asd_core.stitch import chip_faces
from tasks.look import Looks
from tasks.networks import embedder
from tasks.stage import Job, Stage
from tasks.stitch import STITCH


def _embed(job: Job, span: str, picture: Stitched, looks: Looks) -> Embeddings:
    network = embedder(job.plan.models["embedder"], job.plan.profile, job.plan.threads)
    return embed_tracks(picture.chips, lambda n: chip_faces(picture.pieces[n], looks.block), network)


EMBED = Stage("embed", version=1, makes=Embeddings, work=_embed, after=(STITCH,), roles=("embedder",))

"""`publish`: what was found of an asset becomes rows and persons in one transaction; the index follows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from asd_core.identity.assign import groups_of
from asd_core.identity.prototypes import template
from asd_core.records import Analysis
from infra.catalog.publish import Publication, publish
from tasks.decide import DECIDE
from tasks.embed import EMBED
from tasks.group import GROUP
from tasks.identify import IDENTIFY
from tasks.plan import Plan, digest
from tasks.score import SCORE
from tasks.stage import Job, Stage, stage_key


def _publish(job: Job, span: str, analysis: Analysis) -> None:
    key = stage_key(PUBLISH, job.plan, job.asset.sha256)
    if not job.adapters.artifacts.has(key):
        job.adapters.artifacts.save(key, analysis)
    publication = Publication(
        analysis,
        groups=groups_of(job.asset.sha256, analysis.people, analysis.tracks),
        vectors=track_vectors(analysis),
        thumbnails={track.id: jpeg for track, jpeg in zip(analysis.tracks, analysis.thumbnails, strict=True) if jpeg},
        analysis_key=key,
        plan_digest=plan_digest(job.plan),
    )
    job.check_unchanged()
    with job.adapters.catalog.transaction(serial=True) as connection:
        publish(connection, job.asset.sha256, publication)
        job.within(IDENTIFY, connection)


# The result is in the library, not in the store: a second time costs little and changes nothing. The analysis as a whole rests under its key.
PUBLISH = Stage("publish", version=3, makes=type(None), work=_publish, after=(SCORE, EMBED, DECIDE, GROUP), stored=False)


def plan_digest(plan: Plan) -> str:
    """Return a digest of all that is asked for of an asset: one that was published under the same has nothing to do."""
    return digest({"publish": stage_key(PUBLISH, plan, ""), "identify": stage_key(IDENTIFY, plan, "")})


def track_vectors(analysis: Analysis) -> Mapping[str, NDArray[np.float32]]:
    """Return for each track with chips the (D,) vector by which the index knows it."""
    found = zip(analysis.tracks, analysis.embeddings.vectors, analysis.embeddings.quality, strict=True)
    return {track.id: template(vectors, np.maximum(quality, 1e-3).astype(np.float32)) for track, vectors, quality in found if len(vectors)}

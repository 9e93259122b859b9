"""One asset's way through the stages: read it as the table of the line. `asd_core.analysis.analyse_clip` says the same for a clip alone."""

from __future__ import annotations

from collections.abc import Callable

from asd_core.analysis import gather
from asd_core.look import spans_of_marks
from asd_core.records import Analysis, Look, MediaInfo
from tasks.decide import DECIDE
from tasks.embed import EMBED
from tasks.group import GROUP
from tasks.listen import LISTEN
from tasks.look import LOOK, span_name
from tasks.probe import PROBE
from tasks.publish import PUBLISH
from tasks.score import SCORE
from tasks.stage import Job
from tasks.stitch import STITCH

LookAt = Callable[[Job, MediaInfo, list[range]], list[Look]]


def look_at(job: Job, info: MediaInfo, spans: list[range]) -> list[Look]:
    """Return what was seen in some spans, which run side by side as far as there are decoding children."""
    if not spans:
        return []
    return job.together(*(lambda marks=marks: job.make(LOOK, info, span=span_name(marks)) for marks in spans), width=job.adapters.settings.workers)


def process_asset(job: Job, look: LookAt = look_at) -> Analysis:
    """Return what is known of an asset, after it has been published to the library.

    Args:
        job: the asset in work.
        look: looks at the spans of its picture, in their order; flows.split has others help.

    Raises:
        RollcallError: a stage failed for good; what earlier stages made stays in the store.
        Stopped: the command is being stopped.
    """
    info = job.make(PROBE)
    picture, sound = job.together(
        lambda: job.make(STITCH, lambda: look(job, info, spans_of_marks(info, job.plan.span_marks)), info),
        lambda: job.make(LISTEN, info),
    )
    scores = job.make(SCORE, picture, sound)
    embeddings = job.make(EMBED, picture)
    spoken = job.make(DECIDE, picture, scores, sound)
    people = job.make(GROUP, picture, embeddings)
    analysis = gather(info, picture, sound, scores, embeddings, people, spoken, job.plan.model_names(), job.plan.options)
    job.make(PUBLISH, analysis)
    return analysis

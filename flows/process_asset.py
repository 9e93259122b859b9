"""One asset's way through the stages: read it as the table of the line. `asd_core.analysis.analyse_clip` says the same for a clip alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from asd_core.analysis import gather
from asd_core.records import Analysis, MediaInfo
from asd_core.speech.listen import without_cepstra
from tasks.decide import DECIDE
from tasks.embed import EMBED
from tasks.group import GROUP
from tasks.listen import LISTEN
from tasks.look import LOOK, Looks, span_name
from tasks.probe import PROBE
from tasks.publish import PUBLISH
from tasks.score import SCORE
from tasks.stage import Job
from tasks.stitch import STITCH

LookAt = Callable[[Job, MediaInfo, list[range]], None]


def look_at(job: Job, info: MediaInfo, spans: list[range]) -> None:
    """See to it that some spans have been looked at; they run side by side as far as there are decoding children."""

    def look(marks: range) -> None:  # what it gives rests in the store: all spans of a programme at once would not fit
        job.make(LOOK, info, span=span_name(marks))

    if spans:
        job.together(*(partial(look, marks) for marks in spans), width=job.adapters.settings.workers)


def process_asset(job: Job, look: LookAt = look_at) -> Analysis:
    """Return what is known of an asset, after it has been published to the library.

    Args:
        job: the asset in work.
        look: sees to it that the spans of its picture have been looked at; flows.split has others help.

    Raises:
        RollcallError: a stage failed for good; what earlier stages made stays in the store.
        Stopped: the command is being stopped.
    """
    info = job.make(PROBE)
    job.progress(PROBE.name, "", info.duration)(PROBE.name, info.duration, info.duration)  # so that all who listen know how long it is
    looks = Looks(job, info)

    def looked_at() -> Looks:
        look(job, info, looks.spans)
        return looks

    picture, sound = job.together(lambda: job.make(STITCH, looked_at, info), lambda: job.make(LISTEN, info))
    scores = job.make(SCORE, picture, looks, sound)
    sound = without_cepstra(sound)
    embeddings = job.make(EMBED, picture, looks)
    spoken = job.make(DECIDE, picture, scores, sound)
    people = job.make(GROUP, picture, embeddings)
    analysis = gather(info, picture, sound, scores, embeddings, people, spoken, job.plan.model_names(), job.plan.options)
    job.make(PUBLISH, analysis)
    return analysis

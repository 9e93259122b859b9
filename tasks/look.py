"""`look`: one decode of a span gives shots, tracks, visual features and chips. Runs in a decoding child, several spans side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

from asd_core.look import LookOptions, look, spans_of_marks
from asd_core.models.registry import Model
from asd_core.records import Block, Look, MediaInfo
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
    "look", version=3, makes=Look, work=_look, after=(PROBE,), reads=lambda plan: plan.options.look, roles=("detector", "speaking"), opens=True
)


class Looks:
    """What was seen of an asset, span by span out of the store, and never more than `KEPT` spans of it at a time.

    A span that is not there (any more) is looked at again.
    """

    KEPT = 3

    def __init__(self, job: Job, info: MediaInfo) -> None:
        self._job, self._info = job, info
        self.spans = spans_of_marks(info, job.plan.span_marks)
        self._span_of = {mark: number for number, marks in enumerate(self.spans) for mark in marks}
        self._kept: dict[int, dict[int, Block]] = {}  # by number of the span, the one used last at the end

    def __iter__(self) -> Iterator[Look]:
        """Yield the look of each span, in order."""
        for number in range(len(self.spans)):
            yield self._load(number)

    def block(self, mark: int) -> Block:
        """Return the block of a mark; cheap where marks come nearly in order."""
        number = self._span_of[mark]
        blocks = self._kept.pop(number, None)
        if blocks is None:
            while len(self._kept) >= self.KEPT:
                del self._kept[next(iter(self._kept))]
            blocks = {block.mark: block for block in self._load(number).blocks}
        self._kept[number] = blocks
        return blocks[mark]

    def _load(self, number: int) -> Look:
        span = span_name(self.spans[number])
        return self._job.stored(LOOK, span) or self._job.make(LOOK, self._info, span=span)

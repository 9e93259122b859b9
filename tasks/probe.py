"""`probe`: what the container says. Runs in a decoding child."""

from __future__ import annotations

from pathlib import Path

from asd_core.media.probe import probe
from asd_core.records import MediaInfo
from tasks.stage import Job, Stage

SLOWEST_BYTES = 4 << 20  # a second: the packets of a whole file may have to be walked


def probe_in_child(path: Path) -> MediaInfo:
    """Return what a file says about itself."""
    return probe(path)


def _probe(job: Job, span: str) -> MediaInfo:
    limit = max(job.adapters.settings.limits.seconds_at_least, job.asset.path.stat().st_size / SLOWEST_BYTES)
    info: MediaInfo = job.adapters.sandbox.call("tasks.probe:probe_in_child", job.asset.path, timeout=limit)
    return info


PROBE = Stage("probe", version=1, makes=MediaInfo, work=_probe)

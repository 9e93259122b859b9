"""`probe`: what the container says. Runs in a decoding child."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from asd_core.media.probe import probe
from asd_core.records import MediaInfo
from tasks.stage import Job, Stage

if TYPE_CHECKING:
    from infra.sandbox import Sandbox
    from infra.settings import Settings

SLOWEST_BYTES = 4 << 20  # a second: the packets of a whole file may have to be walked


def probe_in_child(path: Path) -> MediaInfo:
    """Return what a file says about itself."""
    return probe(path)


def probe_file(path: Path, sandbox: Sandbox, settings: Settings) -> MediaInfo:
    """Return what a file says about itself, read in a decoding child: from it follows how long other work on the file may take."""
    limit = max(settings.limits.seconds_at_least, path.stat().st_size / SLOWEST_BYTES)
    info: MediaInfo = sandbox.call("tasks.probe:probe_in_child", path, timeout=limit)
    return info


def _probe(job: Job, span: str) -> MediaInfo:
    return probe_file(job.path(), job.adapters.sandbox, job.adapters.settings)


PROBE = Stage("probe", version=1, makes=MediaInfo, work=_probe, opens=True)

"""A long asset looked at by several workers: they warm the artifact store, and whoever works on the asset finds its spans there.

Keys of artifacts are known before anything runs, so nothing is handed over. Who works on the asset looks at its own part first, and at every
other part that nobody has begun by then or whose run failed: a single worker needs no second one.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING

from asd_core.errors import RollcallError
from flows.process_asset import look_at
from flows.service import SPAN_FLOW, bury_if_lost, pool_of
from flows.walk import pick
from infra.catalog import assets
from infra.prefect_api import WAITING, FlowRun, PrefectApi
from infra.wiring import open_adapters
from tasks.look import span_name
from tasks.plan import make_plan
from tasks.probe import PROBE
from tasks.runner import Reporting
from tasks.stage import Asset, Job

if TYPE_CHECKING:
    from asd_core.records import MediaInfo
    from infra.settings import Settings

LOOK_SECONDS = 15.0  # between two looks at whether another's process lives


class Split:
    """Lets other workers look at parts of an asset that is longer than `split_seconds`.

    Args:
        api: the Prefect server.
        settings: say how long a part is.
        uri: of the asset.
        root: the folder or prefix below which its name is told.
    """

    def __init__(self, api: PrefectApi, settings: Settings, uri: str, root: str) -> None:
        self._api, self._settings, self._uri, self._root = api, settings, uri, root

    def look(self, job: Job, info: MediaInfo, spans: list[range]) -> None:
        """See to it that all spans of an asset have been looked at, together with whoever comes."""
        parts = parts_of(spans, info.duration, self._settings.split_seconds or info.duration)
        runs = [self._submit(job, part, n) for n, part in enumerate(parts[1:], start=2)]
        look_at(job, info, parts[0])
        for part, run in zip(parts[1:], runs, strict=True):
            if run is not None:
                self._wait(job, run)
            look_at(job, info, part)  # found in the store, or made here after all

    def _submit(self, job: Job, part: list[range], number: int) -> FlowRun | None:
        """Ask for a part to be looked at; None where nobody can be asked."""
        names = [span_name(marks) for marks in part]
        parameters = {"uri": self._uri, "root": self._root, "sha256": job.asset.sha256, "spans": names}
        with contextlib.suppress(RollcallError):
            key = f"{job.asset.sha256}:{names[0]}:{names[-1]}:{job.plan.models['detector'].key[:12]}"
            return self._api.submit(f"{SPAN_FLOW}/{pool_of(self._settings)}", parameters, key=key, name=f"{job.asset.name} part {number}", again=True)
        return None

    def _wait(self, job: Job, run: FlowRun) -> None:
        """Wait for a part that somebody has begun, as long as its process lives; take back one that nobody has."""
        with contextlib.suppress(RollcallError):
            run = self._api.run(run.id)
            if run.state in WAITING:
                self._api.set_state(run.id, "CANCELLED", "who works on the asset was quicker", force=True)
                return
            while not run.ended and not bury_if_lost(self._api, job.adapters, run):
                run = self._api.wait(run.id, seconds=LOOK_SECONDS, stopped=job.stop.is_set)
                job.check_stopped()


def parts_of(spans: list[range], duration: float, longest: float) -> list[list[range]]:
    """Return the spans of an asset in parts of about the same length, which is at most `longest` seconds where spans are shorter."""
    count = max(1, min(len(spans), math.ceil(duration / max(longest, 1.0))))
    return [spans[len(spans) * n // count : len(spans) * (n + 1) // count] for n in range(count)]


def look_at_spans(settings: Settings, *, uri: str, root: str, sha256: str, spans: list[str]) -> int:
    """Look at spans of an asset, and leave them in the store; return how many there are.

    Nothing is published. Where the library knows other bytes at the place by now, or none, nothing is done.
    """
    plan = make_plan(settings)
    with open_adapters(settings, preload=("tasks.probe", "tasks.look")) as adapters:
        with adapters.catalog.reading() as connection:
            place = assets.locations(connection, [uri]).get(uri)
        for one in pick([root], [uri], adapters.places):
            if place is not None and place.sha256 == sha256 and place.version == one.version:
                job = Job(Asset(sha256, one.name, one.uri, one.version, one.size), plan, adapters, Reporting())
                try:
                    look_at(job, job.make(PROBE), [marks_of(span) for span in spans])
                finally:
                    job.close()
                return len(spans)
    return 0


def marks_of(span: str) -> range:
    """Return the blocks of a span's name."""
    first, last = (int(mark) for mark in span.split("-"))
    return range(first, last + 1)

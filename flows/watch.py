"""A scan of the places that are watched: what lies there and is not in the library is worked on. It finds what no notification told of.

What is new goes to the queue `live`; the first scan of a place, and a heap of new files, go to `backfill`, which live arrivals overtake. What
was submitted and not begun or not ended is left alone; a run whose process was killed together with its worker is found by the lock that it
no longer holds, and its asset is submitted again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from flows.process_library import MOST_ATTEMPTS
from flows.service import ASSET_FLOW, Queue, submit_asset, work_key
from flows.walk import SETTLE_SECONDS, Found, walk
from infra.catalog import assets, runs
from infra.prefect_api import WAITING, FlowRun, PrefectApi
from tasks.publish import plan_digest

if TYPE_CHECKING:
    from infra.settings import Place
    from infra.wiring import Adapters
    from tasks.plan import Plan

HEAP = 50  # files that are new at once and more: a backfill
PACE_SECONDS = 3600.0  # over which the throughput is looked at
LOCK_SECONDS = 60.0  # after its start in which a run may not yet hold its lock


@dataclass(frozen=True, slots=True)
class Scan:
    """What a scan of one place found.

    indexed: in the library as it is asked for. waiting: not yet, of which `submitted` were handed on by this scan, to `queue`. growing: written
    to a moment ago. failed and quarantined: left to `retry`. `seconds_left`: until all that waits is done at the pace of the last hour; None
    where nothing waits or nothing was done.
    """

    root: str
    collection: str
    indexed: int = 0
    waiting: int = 0
    submitted: int = 0
    growing: int = 0
    failed: int = 0
    quarantined: int = 0
    queue: Queue | None = None
    seconds_left: float | None = None
    submissions: tuple[FlowRun, ...] = field(default=(), repr=False)

    def sentence(self) -> str:
        """Return the scan as a line."""
        parts = [f"{self.indexed} indexed", f"{self.waiting} not indexed"]
        parts += [
            f"{count} {word}" for word, count in (("growing", self.growing), ("failed", self.failed), ("quarantined", self.quarantined)) if count
        ]
        told = f"; {self.submitted} submitted to {self.queue}" if self.submitted else ""
        left = f"; all done in about {self.seconds_left / 60:.0f} min" if self.seconds_left is not None else ""
        return f"{self.root} ({self.collection}): {', '.join(parts)}{told}{left}"


def scan(place: Place, adapters: Adapters, plan: Plan, api: PrefectApi, *, queue: Queue | None = None) -> Scan:
    """Submit what lies in a place and has work to do; return what was found.

    Args:
        place: a folder or bucket, with its collection.
        adapters: of the library.
        plan: what is asked for of an asset.
        api: the Prefect server.
        queue: where it goes; None: as the module says.
    """
    files, _ = walk([Path(place.root)])
    digest = plan_digest(plan)
    work, counts = _sort(adapters, files, digest)
    with adapters.catalog.reading() as connection:
        first = not runs.has_run(connection, "watch", {"root": place.root})
        pace = runs.pace(connection, PACE_SECONDS)
    under_way = {run.key for run in _under_way(adapters, api)}
    fresh = [one for one in work if not any(key is not None and key.startswith(work_key(one.uri, one.version)) for key in under_way)]
    queue = queue or ("backfill" if first or len(fresh) >= HEAP else "live")
    submissions = tuple(
        submit_asset(api, adapters.settings, uri=one.uri, version=one.version, name=one.name, place=place, queue=queue, again=True) for one in fresh
    )
    if first or submissions:
        with adapters.catalog.transaction() as connection:
            told = {"root": place.root, "collection": place.collection}
            runs.end_run(connection, runs.start_run(connection, "watch", told), "done", {**counts, "submitted": len(submissions)})
    return Scan(
        place.root, place.collection, waiting=len(work), submitted=len(submissions), queue=queue if submissions else None,
        seconds_left=len(work) / pace if work and pace else None, submissions=submissions, **counts,
    )  # fmt: skip


def _sort(adapters: Adapters, files: Iterable[Found], digest: str) -> tuple[list[Found], dict[str, int]]:
    """Return what has work to do, and how many others there are of each kind."""
    work: list[Found] = []
    counts: Counter[str] = Counter(indexed=0, growing=0, failed=0, quarantined=0)
    with adapters.catalog.reading() as connection:
        nameable = [one for one in files if one.nameable]
        known = assets.locations(connection, [one.uri for one in nameable])
    for one in nameable:
        place = known.get(one.uri)
        if place is None or place.version != one.version or place.sha256 is None:
            if _grows(one):
                counts["growing"] += 1
            else:
                work.append(one)
        elif place.state == "done" and place.plan_digest == digest:
            counts["indexed"] += 1
        elif place.state == "quarantined":
            counts["quarantined"] += 1
        elif place.state == "failed" and not (place.retryable and place.attempts < MOST_ATTEMPTS):
            counts["failed"] += 1
        else:
            work.append(one)
    return work, dict(counts)


def _grows(one: Found) -> bool:
    """Say whether a file was written to a moment ago; objects of a bucket are whole."""
    try:
        return "://" not in one.uri and 0 <= time.time() - Path(one.uri).stat().st_mtime < SETTLE_SECONDS
    except OSError:
        return True


def _under_way(adapters: Adapters, api: PrefectApi) -> Iterable[FlowRun]:
    """Give the runs that will end by themselves; those whose process is gone are marked as crashed."""
    yield from api.runs(ASSET_FLOW, WAITING)
    for run in api.runs(ASSET_FLOW, {"RUNNING", "CANCELLING"}):
        if time.time() - (run.began or 0.0) < LOCK_SECONDS or adapters.catalog.is_taken(run_lock(run.id)):
            yield run
        else:
            api.set_state(run.id, "CRASHED", "its process was killed", force=True)


def run_lock(run_id: str) -> str:
    """Return the name of the lock that a deployed run holds as long as it lives."""
    return f"run:{run_id}"

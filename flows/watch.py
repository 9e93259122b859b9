"""A scan of a place: what lies there and is not in the library is handed to the workers. It finds what no notification told of.

What is new goes to the queue `live`; the first scan of a place, and a heap of new files, go to `backfill`, which live arrivals overtake. What
was submitted and not begun or not ended is left alone; a run whose process was killed together with its worker is found by the lock that it
no longer holds, and its asset is submitted again. So is an asset whose analysis is no longer in the store.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING, Literal

from flows.service import ASSET_FLOW, AT_WORK, Queue, bury_if_lost, open_api, submit_asset, work_key
from flows.summary import AssetResult, Summary
from flows.walk import SETTLE_SECONDS, Found, walk
from infra.catalog import assets, runs
from infra.places import below, is_object
from infra.prefect_api import WAITING, FlowRun, PrefectApi
from infra.settings import Place
from infra.wiring import open_adapters
from tasks.plan import make_plan
from tasks.publish import plan_digest
from tasks.stage import Event

if TYPE_CHECKING:
    from infra.artifacts import ArtifactStore
    from infra.settings import Settings
    from infra.wiring import Adapters
    from tasks.plan import Plan

HEAP = 50  # files that are new at once and more: a backfill
LOOKED_FOR = 1000  # analyses that a scan looks for in the store, chosen by chance: a bucket takes milliseconds, and money, for each
PACE_SECONDS = 3600.0  # over which the throughput is looked at
LOOK_SECONDS = 1.0  # between two looks at what the workers have done
TROUBLED: tuple[Literal["failed"], Literal["quarantined"]] = ("failed", "quarantined")

Kind = Literal["work", "indexed", "growing", "failed", "quarantined"]


@dataclass(frozen=True, slots=True)
class Scan:
    """What a scan of one place found.

    Attributes:
        root: of the place.
        collection: of what lies there.
        found: indexed: in the library as it is asked for. work: not yet. growing: written to a moment ago. failed and quarantined: left
            to `retry`.
        ignored: other files.
        runs: those that do the work, by uri.
        submitted: how many of them this scan asked for, in `queue`.
        seconds_left: until the work is done at the pace of the last hour; None where there is none, or none was done.
    """

    root: str
    collection: str
    found: Mapping[Kind, tuple[Found, ...]] = field(default_factory=dict, repr=False)
    ignored: int = 0
    runs: Mapping[str, FlowRun] = field(default_factory=dict, repr=False)
    submitted: int = 0
    queue: Queue | None = None
    seconds_left: float | None = None

    def count(self, kind: Kind) -> int:
        """Return how many files are of a kind."""
        return len(self.found.get(kind, ()))

    def sentence(self) -> str:
        """Return the scan as a line."""
        parts = [f"{self.count('indexed')} indexed", f"{self.count('work')} not indexed"]
        kinds: tuple[Kind, ...] = ("growing", "failed", "quarantined")
        parts += [f"{self.count(kind)} {kind}" for kind in kinds if self.count(kind)]
        told = f"; {self.submitted} submitted to {self.queue}" if self.submitted else ""
        left = f"; all done in about {self.seconds_left / 60:.0f} min" if self.seconds_left is not None else ""
        return f"{self.root} ({self.collection}): {', '.join(parts)}{told}{left}"


def scan(place: Place, adapters: Adapters, plan: Plan, api: PrefectApi) -> Scan:
    """Hand on what lies in a place and has work to do; return what was found.

    Raises:
        NotFound: the place is not there.
        Unavailable: database, store or Prefect server are out of reach.
    """
    files, ignored = walk([place.root], adapters.places)
    found = _sort(adapters, files, plan_digest(plan))
    with adapters.catalog.reading() as connection:
        first = not runs.has_run(connection, "watch", {"root": place.root})
        pace = runs.pace(connection, PACE_SECONDS)
    under_way = {run.work: run for run in _under_way(adapters, api)}
    keys = {one.uri: work_key(one.uri, one.version) for one in found["work"]}
    fresh = sum(key not in under_way for key in keys.values())
    queue: Queue = "backfill" if first or fresh >= HEAP else "live"
    submissions = {
        one.uri: under_way.get(keys[one.uri])
        or submit_asset(api, adapters.settings, uri=one.uri, version=one.version, name=one.name, place=place, queue=queue, again=True)
        for one in found["work"]
    }
    with adapters.catalog.transaction() as connection:
        assets.miss_locations(connection, below(place.root), [one.uri for one in files if one.nameable])
        if first or fresh:
            told = {"root": place.root, "collection": place.collection}
            runs.note_run(connection, "watch", told, summary={"files": len(files), "submitted": fresh})
    return Scan(
        place.root, place.collection, found, ignored, runs=submissions, submitted=fresh, queue=queue if fresh else None,
        seconds_left=len(keys) / pace if keys and pace else None,
    )  # fmt: skip


def ingest_by_service(paths: Sequence[str], *, collection: str, settings: Settings, on_event: Callable[[Event], None]) -> Summary:
    """Hand folders, files and buckets to the workers, wait until all is done, and say what became of each file.

    Who stops waiting stops nothing: the work goes on.

    Raises:
        NotFound: a path is not there.
        Unavailable: database, store or Prefect server are out of reach.
    """
    began = time.monotonic()
    plan, api = make_plan(settings), open_api(settings)
    with open_adapters(settings) as adapters:
        scans = [scan(Place(root=path, collection=collection), adapters, plan, api) for path in paths]
        results = [result for one in scans for result in _settled(adapters, one)]
        waiting = {one.uri: (one, each.runs[one.uri].id) for each in scans for one in each.found["work"]}
        on_event(Event("found", total=len(waiting)))
        while waiting:
            alive = {run.id for run in api.runs(ASSET_FLOW, WAITING | AT_WORK)}
            for uri, (one, run_id) in list(waiting.items()):
                if run_id not in alive:
                    results.append(_became(adapters, one, api.run(run_id)))
                    on_event(Event("asset", asset=one.name, outcome=results[-1].state, reason=results[-1].reason, seconds=results[-1].seconds))
                    del waiting[uri]
            time.sleep(LOOK_SECONDS if waiting else 0.0)
    ordered = tuple(sorted(results, key=lambda one: (one.name, str(one.uri))))
    return Summary(ordered, sum(one.ignored for one in scans), time.monotonic() - began, plan.terms())


def _sort(adapters: Adapters, files: Iterable[Found], digest: str) -> dict[Kind, tuple[Found, ...]]:
    """Return the files by what is to be done with them."""
    found: dict[Kind, list[Found]] = {"work": [], "indexed": [], "growing": [], "failed": [], "quarantined": []}
    nameable = [one for one in files if one.nameable]
    with adapters.catalog.reading() as connection:
        known = assets.locations(connection, [one.uri for one in nameable])
    lost = _lost(adapters.artifacts, {place.analysis_key for place in known.values() if place.state == "done" and place.analysis_key is not None})
    for one in nameable:
        found[_kind(one, known.get(one.uri), digest, lost)].append(one)
    return {kind: tuple(files) for kind, files in found.items()}


def _lost(artifacts: ArtifactStore, keys: Collection[str]) -> Collection[str]:
    """Return the keys of analyses that are gone from the store, among so many that are looked for: in a large library it takes some scans."""
    some = SystemRandom().sample(sorted(keys), min(len(keys), LOOKED_FOR))
    return set(some) - artifacts.present(some)


def _kind(one: Found, place: assets.Location | None, digest: str, lost: Collection[str]) -> Kind:
    if place is None or place.version != one.version or place.sha256 is None:
        return "growing" if _grows(one) else "work"
    if place.state == "done" and place.plan_digest == digest:
        return "work" if place.analysis_key is None or place.analysis_key in lost else "indexed"
    return place.verdict(digest) or "work"


def _grows(one: Found) -> bool:
    """Say whether a file was written to a moment ago; objects of a bucket are whole."""
    try:
        return not is_object(one.uri) and 0 <= time.time() - Path(one.uri).stat().st_mtime < SETTLE_SECONDS
    except OSError:
        return True


def _under_way(adapters: Adapters, api: PrefectApi) -> Iterable[FlowRun]:
    """Give the runs that will end by themselves; those whose process is gone are marked as crashed."""
    yield from api.runs(ASSET_FLOW, WAITING)
    for run in list(api.runs(ASSET_FLOW, AT_WORK)):
        if not bury_if_lost(api, adapters, run):
            yield run


# ---- what became of files ----------------------------------------------------------------------------------------------------


def _settled(adapters: Adapters, one: Scan) -> list[AssetResult]:
    """Return the results of what needed no work."""
    results = [AssetResult(each.name, each.uri, "failed", reason="it is still being written", retryable=True) for each in one.found["growing"]]
    with adapters.catalog.reading() as connection:
        files = [*one.found["indexed"], *one.found["failed"], *one.found["quarantined"]]
        known = assets.locations(connection, [each.uri for each in files])
    for each in files:
        place = known[each.uri]
        if place.state in TROUBLED:
            results.append(AssetResult(each.name, each.uri, place.state, place.sha256, place.reason or "", earlier=True))
        else:
            results.append(AssetResult(each.name, each.uri, "skipped", place.sha256))
    return results


def _became(adapters: Adapters, one: Found, run: FlowRun) -> AssetResult:
    """Return what the library says of a file whose run has ended; the run's own words where it says nothing."""
    with adapters.catalog.reading() as connection:
        place = assets.locations(connection, [one.uri]).get(one.uri)
    sha256 = place.sha256 if place is not None else None
    if run.state == "COMPLETED":
        return AssetResult(one.name, one.uri, "done", sha256, seconds=run.seconds)
    if run.state == "CANCELLED":
        return AssetResult(one.name, one.uri, "stopped", sha256, "its run was cancelled", seconds=run.seconds)
    if place is not None and place.state in TROUBLED:
        return AssetResult(one.name, one.uri, place.state, sha256, place.reason or "", retryable=place.retryable, seconds=run.seconds)
    return AssetResult(one.name, one.uri, "failed", sha256, run.message or f"its run {run.state.lower()}", retryable=True, seconds=run.seconds)

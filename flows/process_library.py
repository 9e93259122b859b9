"""A library's way through the stages: what is new in some folders and buckets is analysed and published, the rest is left alone.

An asset that has nothing to do costs one look at its size and time, or its etag; it is neither opened nor fetched, and never reaches
Prefect. Of what has work to do, each asset is a flow run of its own, so many at a time; one bad file does not stop its neighbours. The
private Prefect server, the database, the decoding children and the model files come up side by side.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from asd_core.errors import MediaError, NotFound, RollcallError
from flows.process_asset import LookAt, look_at, process_asset
from flows.service import prefect_key, server_for_command
from flows.summary import AssetResult, AssetState, Summary
from flows.walk import Found, as_text, identify, is_text, pick, walk
from infra import orchestrate
from infra.catalog import assets, runs
from infra.ending import attend
from infra.places import Copy, Places, as_uri, below, is_object
from infra.settings import load_settings
from infra.wiring import open_adapters
from tasks.index import catch_up_index
from tasks.plan import Plan, make_plan
from tasks.publish import plan_digest
from tasks.runner import Direct, Orchestrated, Reporting
from tasks.stage import Asset, Event, Job, Runner, Stopped, ignore_event

if TYPE_CHECKING:
    from infra.settings import Settings
    from infra.wiring import Adapters

LOG = logging.getLogger("rollcall")
PRELOAD = ("tasks.probe", "tasks.look", "tasks.listen")
WATCH_SECONDS = 0.2  # between looks at whether the command is being stopped


def process_library(
    paths: Sequence[Path | str],
    *,
    collection: str = "library",
    workers: int | None = None,
    direct: bool = False,
    span_seconds: int | None = None,
    only: Collection[str] | None = None,
    on_event: Callable[[Event], None] = ignore_event,
    settings: Settings | None = None,
    deployed: LookAt | None = None,
) -> Summary:
    """Bring folders, buckets and files into the library, and say what became of each.

    Args:
        paths: folders and `s3://bucket/prefix`, which are walked, and files and objects, which are tried whatever they are called.
        collection: of the assets.
        workers: assets at a time; None as the settings say.
        direct: run the stages in this process, without Prefect; same cache, same retries, same result.
        span_seconds: of one `look`; 0 for the whole asset, None as the settings say.
        only: uris of the files to try, named by their paths below `paths`; None for all that lies there.
        on_event: hears what happens; called from several threads, one at a time.
        settings: None: read from the environment and the home folder.
        deployed: called in a flow run that a worker of the service began: stages are task runs of that very run, and the spans of a picture
            are looked at in this way. None: a command, whose flow runs are made here.

    Raises:
        NotFound: a path is not there, or nothing that lies there may be media.
        ModelError: a role has no usable model.
        RequestError: the service of a bucket refuses, or nothing can be stored.
        Unavailable: the database, the S3 service or Prefect cannot be reached, or died meanwhile; what was not finished stays so. Threads that
            wait for Prefect's client may then live on for some minutes (`infra.ending` ends a process without them).
        KeyboardInterrupt: after everything that was started here has been ended.
    """
    began = time.monotonic()
    settings = settings or load_settings(workers=workers)
    if workers is not None and workers != settings.workers:
        settings = settings.model_copy(update={"workers": workers})
    roots, places = [as_uri(path) for path in paths], Places(settings)
    files, ignored = walk(roots, places) if only is None else (pick(roots, only, places), 0)
    plan = make_plan(settings, span_seconds=span_seconds)
    with open_adapters(settings) as adapters:
        run = _Run(adapters, plan, collection, on_event, direct=direct, deployed=deployed)
        run.sort_out(files)
        run.work(roots if only is None else [])
    if not files and only is None:
        given = ", ".join(as_text(str(path)) for path in paths)
        raise NotFound(f"nothing in {given} is media{f': {ignored} other files were passed over' if ignored else ''}")
    results = tuple(sorted(run.results, key=lambda one: (one.name, one.uri)))
    return Summary(results, ignored, time.monotonic() - began, plan.terms())


class _Run:
    """One call of `process_library`: what is known of its files, and what became of them."""

    def __init__(
        self, adapters: Adapters, plan: Plan, collection: str, on_event: Callable[[Event], None], *, direct: bool, deployed: LookAt | None
    ) -> None:
        self.results: list[AssetResult] = []
        self._adapters, self._plan, self._collection, self._direct = adapters, plan, collection, direct
        self._deployed = deployed
        self._digest = plan_digest(plan)
        self._hear, self._ears = on_event, threading.Lock()
        self._stop = threading.Event()
        self._pending: list[tuple[Found, str | None]] = []  # with the hash, where the bytes are known
        self._claimed: dict[str, Found] = {}
        self._unchanged: list[str] = []
        self._kept: frozenset[str] = frozenset()  # analyses that were in the store when the run began
        self._run_id: int | None = None
        self._server_lost: Callable[[], bool] = lambda: False

    def _emit(self, event: Event) -> None:
        with self._ears:
            self._hear(event)

    # ---- what has work to do ----

    def sort_out(self, files: Sequence[Found]) -> None:
        """Set apart what is as it was at its last visit and needs nothing."""
        with self._adapters.catalog.reading() as connection:
            known = assets.locations(connection, [one.uri for one in files if one.nameable])
        done = (place.analysis_key for place in known.values() if place.state == "done" and place.plan_digest == self._digest)
        self._kept = self._adapters.artifacts.present(key for key in done if key is not None)
        for one in files:
            if not one.nameable:
                reason = "its name is not UTF-8: rename it" if not is_text(one.uri) else "its name is no path: rename it"
                self._end(AssetResult(as_text(one.name), as_text(one.uri), "failed", reason=reason))
                continue
            place = known.get(one.uri)
            if place is None or place.version != one.version:
                self._pending.append((one, None))
            elif place.sha256 is None or not self._is_settled(one, place):
                self._pending.append((one, place.sha256))
            else:
                self._unchanged.append(one.uri)

    def _is_settled(self, one: Found, place: assets.Location) -> bool:
        """Note what a known asset needs no work for; return False where it does."""
        if place.state == "done" and place.plan_digest == self._digest and self._is_kept(place):
            self._end(AssetResult(one.name, one.uri, "skipped", place.sha256))
            return True
        verdict = place.verdict(self._digest)
        if verdict is not None:
            self._end(AssetResult(one.name, one.uri, verdict, place.sha256, place.reason or "", earlier=True))
            return True
        return False

    def _is_kept(self, place: assets.Location) -> bool:
        """Say whether the analysis of a published asset is still in the store."""
        key = place.analysis_key
        return key is not None and (key in self._kept or self._adapters.artifacts.has(key))

    def _end(self, result: AssetResult) -> None:
        self.results.append(result)
        self._emit(Event("asset", asset=result.name, outcome=result.state, reason=result.reason, seconds=result.seconds))
        if not result.earlier and result.state != "skipped":
            told = {"asset": result.sha256, "outcome": result.state, "seconds": round(result.seconds, 3)}
            LOG.info("asset ended", extra=told)

    # ---- the work ----

    def work(self, roots: Sequence[str]) -> None:
        """Do all that is pending, and note what is gone from the roots."""
        with self._adapters.catalog.transaction() as connection:
            assets.see_unchanged(connection, self._unchanged)
            seen = [*self._unchanged, *(one.uri for one, _ in self._pending)]
            for root in roots:
                if is_text(root) and (is_object(root) or Path(root).is_dir()):
                    assets.miss_locations(connection, below(root), seen)
        if not self._pending:
            return
        self._adapters.objects.check()
        self._emit(Event("found", total=len(self._pending)))
        self._adapters.sandbox.warm()
        arguments = {"collection": self._collection, "files": len(self._pending), "direct": self._direct}
        with runs.running(self._adapters.catalog, "ingest", arguments) as self._run_id:
            state: Literal["done", "failed", "stopped"] = "stopped"
            try:
                with self._runner() as runner:
                    attend(lambda: self._library(runner), lost=self._lost, give_up=self._give_up)
                state = "failed" if any(one.state in {"failed", "quarantined"} and not one.earlier for one in self.results) else "done"
            finally:
                self._finish(state)

    def _finish(self, state: Literal["done", "failed", "stopped"]) -> None:
        if self._adapters.catalog.lost():
            return
        counts = Counter(one.state for one in self.results)
        with contextlib.suppress(RollcallError) if state == "stopped" else contextlib.nullcontext():
            if self._run_id is not None:
                with self._adapters.catalog.transaction() as connection:
                    runs.end_run(connection, self._run_id, state, {str(name): count for name, count in counts.items()})
            if counts["done"]:
                catch_up_index(self._adapters, self._plan)

    @contextlib.contextmanager
    def _runner(self) -> Iterator[Runner]:
        if self._direct:
            yield Direct(self._stop)
            return
        if self._deployed is not None:
            yield Reporting()
            return
        settings = self._adapters.settings
        with server_for_command(settings, self._stop) as (url, self._server_lost), orchestrate.connected(url, settings.home, prefect_key(settings)):
            yield Orchestrated(orchestrate.own_tags())

    def _lost(self) -> str:
        """Return what is to be said where a service that this run needs has died; nothing where all live."""
        if self._adapters.catalog.lost():
            return "the library's database died; run the same command again: it goes on from what is finished"
        if self._server_lost():
            return "the Prefect server died; run the same command again: it goes on from what is finished (--direct works without it)"
        return ""

    def _give_up(self) -> None:
        """Let everybody end who works or waits."""
        self._stop.set()
        self._adapters.sandbox.close()
        if self._adapters.catalog.lost():
            self._adapters.catalog.close()  # whoever waits for a connection waits in vain

    def _library(self, runner: Runner) -> None:
        if not self._direct and self._deployed is None:
            orchestrate.bury_lost_runs()
        runner.flow("process-library", f"ingest {self._collection}", lambda: self._all(runner))

    def _all(self, runner: Runner) -> None:
        """Work on everything pending, so many assets at a time, until all is done or the command is being stopped."""
        workers = self._adapters.settings.workers
        pool = ThreadPoolExecutor(workers, thread_name_prefix="asset")
        futures: set[Future[None]] = set()
        try:
            for one, known in self._pending:
                job = self._job(runner, one, known)
                if job is not None:
                    futures.add(pool.submit(contextvars.copy_context().run, self._one, runner, one, job))
                while len(futures) > workers:  # hash a little ahead, not the whole library
                    futures = self._wait_for_some(futures)
            while futures:
                futures = self._wait_for_some(futures)
        except BaseException:
            self._give_up()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def _wait_for_some(self, futures: set[Future[None]]) -> set[Future[None]]:
        """Return the futures that still run after one has ended."""
        ended, rest = wait(futures, timeout=WATCH_SECONDS, return_when=FIRST_COMPLETED)
        for future in ended:
            future.result()
        self._check_stopped()
        return rest

    def _is_stopping(self) -> bool:
        """Say whether what just failed is no fault of the file's: the command ends, as it does where a service has died."""
        if self._lost():
            self._stop.set()
        return self._stop.is_set()

    def _check_stopped(self) -> None:
        if self._stop.is_set():
            raise Stopped

    def _job(self, runner: Runner, one: Found, known: str | None) -> Job | None:
        """Return the work on an asset, whose hash is known or taken; None where there is nothing to do, or nothing can be done."""
        copy: Copy | None = None
        try:
            steady, sha256 = one, known
            if sha256 is None:
                steady, sha256, copy = identify(one, self._adapters.places, self._check_stopped)
            with self._adapters.catalog.transaction() as connection:
                assets.see_location(
                    connection, collection=self._collection, uri=one.uri, name=one.name, size=steady.size, version=steady.version, sha256=sha256
                )
                place = assets.locations(connection, [one.uri])[one.uri]
            if not self._is_settled(one, place) and not self._is_claimed(one, sha256):
                asset = Asset(sha256, one.name, one.uri, steady.version, steady.size)
                job = Job(asset, self._plan, self._adapters, runner, run_id=self._run_id, emit=self._emit, stop=self._stop, copy=copy)
                copy = None  # which the job closes
                return job
        except (OSError, RollcallError) as error:
            if self._is_stopping():
                raise Stopped from error
            self._end(AssetResult(one.name, one.uri, "failed", None, _sentence(error, one), retryable=True))
        finally:
            if copy is not None:
                copy.close()
        return None

    def _is_claimed(self, one: Found, sha256: str) -> bool:
        """Say whether the same bytes were met in this run, elsewhere; they are worked on once."""
        first = self._claimed.setdefault(sha256, one)
        if first is not one:
            self._end(AssetResult(one.name, one.uri, "skipped", sha256, f"the same bytes as {first.name}"))
        return first is not one

    def _one(self, runner: Runner, one: Found, job: Job) -> None:
        """Work on one asset; whatever goes wrong stays with it."""
        began, asset = time.monotonic(), job.asset
        result = AssetResult(asset.name, asset.uri, "done", asset.sha256)
        self._emit(Event("begin", asset=asset.name))
        try:
            job.check_stopped()
            with self._adapters.catalog.alone(f"asset:{asset.sha256}", waiting=job.check_stopped):
                if self._done_meanwhile(one):
                    result = replace(result, state="skipped", reason="another worker has done it")
                else:
                    runner.flow("process-asset", asset.name, lambda: process_asset(job, self._deployed or look_at))
        except Stopped:
            result = replace(result, state="stopped", reason="the command was stopped")
        except Exception as error:  # noqa: BLE001 -- the asset is the border: neighbours go on
            result = self._failure(result, error, one)
        finally:
            job.close()
        count = Counter(outcome for _, outcome in job.outcomes)
        self._end(replace(result, made=count["made"], cached=count["cached"], seconds=time.monotonic() - began))

    def _done_meanwhile(self, one: Found) -> bool:
        """Say whether whoever held the asset's lock before has left nothing to do."""
        with self._adapters.catalog.reading() as connection:
            place = assets.locations(connection, [one.uri]).get(one.uri)
        return place is not None and place.state == "done" and place.plan_digest == self._digest and self._is_kept(place)

    def _failure(self, result: AssetResult, error: Exception, one: Found) -> AssetResult:
        if self._is_stopping():
            return replace(result, state="stopped", reason="the command was stopped")
        if not isinstance(error, RollcallError):
            LOG.error("asset failed unexpectedly", extra={"asset": result.sha256}, exc_info=error)
        state: AssetState = "quarantined" if isinstance(error, MediaError) else "failed"
        # Only of a file that is no good is it known that another run changes nothing: models are put right, and so is this program.
        result = replace(result, state=state, reason=_sentence(error, one), retryable=state == "failed")
        with contextlib.suppress(RollcallError), self._adapters.catalog.transaction() as connection:
            if state == "quarantined":
                assets.quarantine(
                    connection, uri=one.uri, name=one.name, error=type(error).__name__, reason=result.reason, sha256=result.sha256,
                    plan_digest=self._digest,
                )  # fmt: skip
            elif result.sha256 is not None:
                assets.set_state(connection, result.sha256, "failed", reason=result.reason, retryable=result.retryable, plan_digest=self._digest)
        return result


def _sentence(error: Exception, one: Found) -> str:
    """Return what went wrong as one line."""
    if isinstance(error, RollcallError):
        return " ".join(str(error).split())
    if isinstance(error, OSError):
        return f"{one.name}: {error.strerror or error}"
    return f"internal error: {type(error).__name__}: {' '.join(str(error).split())}"

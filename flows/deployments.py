"""What Prefect runs for the service: its flows, and `register`, which makes pools, queues, deployments and schedules known to a server.

A deployed run works on one asset as a command would, `process_library` with `only` one place, except that its stages are task runs of this
very flow run. Rollcall's settings, and with them credentials, come from the worker's environment and home folder: Prefect stores neither.
Entry points are names of modules, so that any machine with Rollcall installed can be a worker.

Imports Prefect: `infra.orchestrate.prepare` must have been called where its settings matter.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.context import get_run_context
from prefect.states import Completed, Failed
from prefect.types.entrypoint import EntrypointType

from asd_core.errors import NotFound, RollcallError
from flows.cluster import look_on_cluster
from flows.limit import limited, longest_run
from flows.process_asset import LookAt, look_at
from flows.process_library import process_library
from flows.report import Report
from flows.service import ASSET_FLOW, POOLS, QUEUES, SPAN_FLOW, WATCH_FLOW, Queue, open_api, pool_of, prefect_key, run_lock, server_url
from flows.split import Split, look_at_spans, marks_of
from flows.summary import Summary
from flows.watch import scan
from infra import orchestrate
from infra.prefect_api import PrefectApi
from infra.settings import MARK_SECONDS, load_settings
from infra.wiring import open_adapters, open_catalog
from tasks.plan import make_plan

if TYPE_CHECKING:
    from infra.settings import Settings

AGAIN_SECONDS = (5.0, 30.0, 120.0)  # before another try of an asset that failed for what passes
LONGEST_SCAN = 3600.0  # seconds; stages of an asset have limits of their own, which follow its length
MODULE = "flows.deployments"
SCAN = "scan"  # name of the deployment of `watch`


@flow(name=ASSET_FLOW, persist_result=False, validate_parameters=False)
def process_asset_run(uri: str, root: str, collection: str = "library") -> Any:
    """Take one object into the library, or note that it is gone.

    Args:
        uri: where it lies: a path, or `s3://bucket/key`.
        root: the folder or prefix below which its name is told.
        collection: of the asset.
    """
    settings = load_settings()
    look, report = _look(settings, uri, root), Report(settings.pages_url)
    with ExitStack() as held:
        held.enter_context(limited(lambda: longest_run(settings, report.duration), _fail(settings)))
        locked = False
        for delay in (*AGAIN_SECONDS, None):
            report = Report(settings.pages_url)
            try:
                if not locked:
                    catalog = held.enter_context(open_catalog(settings))
                    held.enter_context(catalog.alone(run_lock(_run_id())))
                    locked = True
                summary = process_library([root], collection=collection, only=[uri], on_event=report, settings=settings, deployed=look)
            except RollcallError as error:
                if delay is None or not error.retryable:
                    return Failed(message=str(error))
            else:
                again = any(result.retryable for result in summary.results)
                if delay is None or not again:
                    return _ended(uri, summary, report)
            time.sleep(delay)
    raise AssertionError


def _look(settings: Settings, uri: str, root: str) -> LookAt:
    """Return who looks at the picture: a cluster, other workers too, or this one alone."""
    if settings.span_runner is not None:
        return partial(look_on_cluster, root=root)
    if settings.split_seconds is not None:
        return Split(open_api(settings), settings, uri, root).look
    return look_at


def _fail(settings: Settings) -> Callable[[str], object]:
    """Return what tells the server that this run has failed, from any thread."""
    run_id = _run_id()
    return lambda why: open_api(settings).set_state(run_id, "FAILED", why, force=True)


def _run_id() -> str:
    return str(get_run_context().flow_run.id)  # type: ignore[union-attr]


def _ended(uri: str, summary: Summary, report: Report) -> Any:
    """Return the state of a run, and leave its report."""
    if not summary.results:
        return Completed(name="Gone", message=f"nothing lies at {uri} any more")
    (result,) = summary.results
    create_markdown_artifact(key=f"asset-{(result.sha256 or 'unknown')[:16]}", markdown=report.markdown(result), description=result.name)
    if result.state == "done":
        return Completed(message="done")
    if result.state == "skipped":
        return Completed(name="Skipped", message=result.reason or "there was nothing to do")
    return Failed(name=result.state.capitalize(), message=result.reason)


@flow(name=SPAN_FLOW, persist_result=False, validate_parameters=False)
def look_span_run(uri: str, root: str, sha256: str, spans: list[str]) -> Any:
    """Look at some spans of a long asset, so that whoever works on the asset finds them in the store.

    Args:
        uri: where it lies.
        root: the folder or prefix below which its name is told.
        sha256: of its bytes; where other bytes lie there by now, nothing is done.
        spans: their names, such as `0-5`.
    """
    settings = load_settings()
    seconds = MARK_SECONDS * sum(len(marks_of(span)) for span in spans)
    with limited(lambda: longest_run(settings, seconds), _fail(settings)), open_catalog(settings) as catalog, catalog.alone(run_lock(_run_id())):
        made = look_at_spans(settings, uri=uri, root=root, sha256=sha256, spans=spans)
    return Completed(message=f"{made} spans")


@flow(name=WATCH_FLOW, persist_result=False, timeout_seconds=LONGEST_SCAN)
def watch_run() -> Any:
    """Scan all watched places, and submit what is not in the library."""
    settings = load_settings()
    plan = make_plan(settings)
    api = open_api(settings)
    lines = []
    with open_adapters(settings) as adapters:
        for place in settings.watch.places:
            try:
                lines.append(scan(place, adapters, plan, api).sentence())
            except NotFound as error:  # the other places are looked at all the same
                lines.append(f"{place.root}: {error}")
    create_markdown_artifact(
        key="watched-places",
        markdown="\n".join(f"- {line}" for line in lines) or "No place is watched: setting watch.places.",
        description="What lies in the watched places and is not indexed",
    )
    return Completed(message="; ".join(lines)[:1000])


def deployments(settings: Settings) -> list[Any]:
    """Return the deployments that the settings ask for."""
    wanted: list[tuple[Any, str, str, Queue, dict[str, Any]]] = [
        *((process_asset_run, "process_asset_run", pool, "backfill", {}) for pool in POOLS),
        *((look_span_run, "look_span_run", pool, "live", {}) for pool in POOLS),
        (watch_run, "watch_run", pool_of(settings), "live", {"cron": settings.watch.cron, "concurrency_limit": 1}),
    ]
    made = []
    for each, function, pool, queue, more in wanted:
        name = SCAN if each is watch_run else pool
        deployment = each.to_deployment(name, work_pool_name=pool, work_queue_name=queue, entrypoint_type=EntrypointType.MODULE_PATH, **more)
        deployment.entrypoint = f"{MODULE}.{function}"
        made.append(deployment)
    return made


def register(settings: Settings) -> list[str]:
    """Make pools, queues, deployments and schedules known to the Prefect server; return a line for each. Twice is once.

    Raises:
        Unavailable: the server is out of reach.
    """
    from prefect.workers.process import ProcessWorker

    url = server_url(settings)
    api = PrefectApi(url, prefect_key(settings))
    lines = []
    template = ProcessWorker.get_default_base_job_template()
    for pool in POOLS:
        api.ensure_pool(pool, template)
        for queue, priority in QUEUES.items():
            api.ensure_queue(pool, queue, priority)
        lines.append(f"work pool {pool}, queues {', '.join(f'{queue} ({priority})' for queue, priority in QUEUES.items())}")
    with orchestrate.connected(url, settings.home, prefect_key(settings)):
        for deployment in deployments(settings):
            deployment.apply()
            when = f", at {settings.watch.cron} (UTC)" if deployment.schedules else ""
            lines.append(f"deployment {deployment.full_name} on {deployment.work_pool_name}/{deployment.work_queue_name}{when}")
    return lines

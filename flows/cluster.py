"""A long asset looked at on a cluster of Dask or Ray (setting `span_runner`): its machines warm the artifact store, as those of flows.split do.

A task of the cluster is a part of the picture. It gets names, no media and no results: its machine has Rollcall, settings, database and store
of its own, and leaves what it has seen in the store, where whoever works on the asset finds it. What the cluster did not do is done here.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from asd_core.errors import RequestError
from flows.process_asset import look_at
from flows.split import look_at_spans, parts_of
from infra.settings import load_settings
from tasks.look import span_name
from tasks.stage import Stopped

if TYPE_CHECKING:
    from asd_core.records import MediaInfo
    from tasks.stage import Job

LOG = logging.getLogger("rollcall")
PACKAGES = {"dask": "prefect_dask", "ray": "prefect_ray"}
WAIT_SECONDS = 1.0  # between two looks at whether the run is being stopped
CONNECT_SECONDS = 15


def check(runner: str | None) -> None:
    """Raise RequestError where what a value of `span_runner` needs is not installed."""
    if runner is not None:
        kind = runner.partition("://")[0]
        if importlib.util.find_spec(PACKAGES[kind]) is None:
            raise RequestError(f"setting span_runner names a cluster of {kind}, which is not installed here: pip install 'rollcall[{kind}]'")


def look_on_cluster(job: Job, info: MediaInfo, spans: list[range], *, root: str) -> None:
    """See to it that all spans of an asset have been looked at, by a cluster; an asset of one part is looked at here.

    Args:
        job: the asset in work, in a flow run.
        info: of the asset.
        spans: of its picture.
        root: the folder or prefix below which its name is told.
    """
    settings = job.adapters.settings
    part_seconds = settings.split_seconds or settings.span_seconds
    parts = parts_of(spans, info.duration, part_seconds)
    if len(parts) > 1:
        with _what_fails_is_done_here(job):
            _hand_out(job, parts, root, patience=settings.child_seconds(part_seconds))
    look_at(job, info, spans)


def _hand_out(job: Job, parts: list[list[range]], root: str, *, patience: float) -> None:
    """Give each part to the cluster, and wait until all are done, or none was for so many seconds."""
    from prefect import task
    from prefect.cache_policies import NO_CACHE

    asset = job.asset
    with _task_runner(str(job.adapters.settings.span_runner)) as runner:
        futures = []
        for number, part in enumerate(parts, start=1):
            look = task(name="look-part", task_run_name=f"look part {number}", cache_policy=NO_CACHE, persist_result=False)(look_at_part)
            told = {"uri": asset.uri, "root": root, "sha256": asset.sha256, "spans": [span_name(marks) for marks in part]}
            futures.append(runner.submit(look, told))
        for future in futures:
            _wait(job, future, patience)


def _wait(job: Job, future: Any, patience: float) -> None:
    """Wait until a task has ended, however it has.

    Raises:
        TimeoutError: it has not: nobody works there, and who waited for the next one too would wait for hours.
    """
    deadline = time.monotonic() + patience
    while True:
        job.check_stopped()
        try:
            future.result(timeout=WAIT_SECONDS, raise_on_failure=False)
        except TimeoutError:
            if time.monotonic() > deadline:
                raise
        except Exception as error:  # noqa: BLE001 -- a worker of the cluster died, say: its part is done here
            LOG.warning("cluster failed", extra={"asset": job.asset.sha256, "error": type(error).__name__})
            return
        else:
            return


@contextlib.contextmanager
def _what_fails_is_done_here(job: Job) -> Iterator[None]:
    try:
        yield
    except Stopped:
        raise
    except Exception as error:  # noqa: BLE001 -- a cluster's libraries raise what they like, and nothing is lost by it
        LOG.warning("cluster failed", extra={"asset": job.asset.sha256, "error": type(error).__name__})


def _task_runner(runner: str) -> Any:
    """Return Prefect's task runner for a cluster that stands."""
    kind, _, address = runner.partition("://")
    if kind == "dask":
        from prefect_dask import DaskTaskRunner

        return DaskTaskRunner(address=f"tcp://{address}", client_kwargs={"timeout": CONNECT_SECONDS})
    from prefect_ray import RayTaskRunner

    return RayTaskRunner(address=runner, init_kwargs={"log_to_driver": False})


def look_at_part(uri: str, root: str, sha256: str, spans: list[str]) -> int:
    """Look at spans of an asset on a machine of a cluster, with that machine's settings; return how many there are."""
    return look_at_spans(load_settings(), uri=uri, root=root, sha256=sha256, spans=spans)

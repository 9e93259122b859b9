"""The service as those see it who hand work to it: names of pools, queues and deployments, and how an asset is submitted. No Prefect import.

Work waits in a pool's queues: `live` goes before `backfill`. What an asset is asked for is known by place and version (`work_key`), so that
a notification that comes twice, the scan that finds what was notified, and a command all mean one flow run.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Literal

from asd_core.errors import RequestError, Unavailable
from flows.walk import pick
from infra import orchestrate
from infra.catalog import assets
from infra.places import below
from infra.prefect_api import FlowRun, PrefectApi
from infra.settings import Settings, child_environment

if TYPE_CHECKING:
    from infra.settings import Place
    from infra.supervise import Supervisor
    from infra.wiring import Adapters

AT_WORK = frozenset({"RUNNING", "CANCELLING"})
Queue = Literal["live", "backfill"]
POOLS = ("cpu", "gpu")
QUEUES: dict[Queue, int] = {"live": 1, "backfill": 2}  # with their priorities: 1 goes first
LOCK_SECONDS = 120.0  # after its start in which a run may not yet hold its lock: on a machine with ten processes a core it took more than 60
PATIENCE = 5  # looks of two seconds at a server that has much to do
ASSET_FLOW, SPAN_FLOW, WATCH_FLOW = "process-asset", "look-span", "watch"


def pool_of(settings: Settings) -> str:
    """Return the pool whose machines have what the settings compute on."""
    return "cpu" if settings.models.provider == "cpu" else "gpu"


def server_url(settings: Settings) -> str:
    """Return the URL of the Prefect API that the service uses: the one of the settings, else the private server where it is up.

    Raises:
        Unavailable: there is none, or it does not answer.
    """
    url = settings.prefect_api_url
    if url is None:
        status = orchestrate.supervisor(settings.home).status() if (settings.home / "run").is_dir() else None
        if status is None or not status["running"]:
            raise Unavailable("no Prefect server is up: `rollcall up --service` starts one, or set ROLLCALL_PREFECT_API_URL")
        url = str(status["info"]["url"])
    if not any(orchestrate.healthy(url) for _ in range(PATIENCE)):
        raise Unavailable(f"no Prefect API answers at {url}")
    return url


def open_api(settings: Settings) -> PrefectApi:
    """Return the Prefect server that the service uses."""
    return PrefectApi(server_url(settings), prefect_key(settings))


def prefect_key(settings: Settings) -> str | None:
    """Return the key that the Prefect server wants."""
    return settings.prefect_api_key.get_secret_value() if settings.prefect_api_key is not None else None


def use_server(settings: Settings) -> Callable[[], None]:
    """Let the private Prefect server live as long as this process; return what ends that. A server of the settings needs nothing."""
    if settings.prefect_api_url is not None:
        return lambda: None
    supervisor = _private_server(settings)
    supervisor.acquire()
    return supervisor.release


@contextlib.contextmanager
def server_for_command(settings: Settings, stop: threading.Event) -> Iterator[tuple[str, Callable[[], bool]]]:
    """Give the URL of the Prefect API to which a command reports, and what says whether its server has died.

    A private server comes up while this process imports Prefect, and lives as long as the command.

    Args:
        settings: name a server; else it is the home folder's.
        stop: set when the command is being stopped: the start is given up.

    Raises:
        Unavailable: there is none, or it does not start.
    """
    if settings.prefect_api_url is not None:
        if not orchestrate.healthy(settings.prefect_api_url):
            raise Unavailable(f"no Prefect API answers at {settings.prefect_api_url}; --direct works without it")
        yield settings.prefect_api_url, lambda: False
        return
    supervisor = _private_server(settings, abandoned=stop.is_set)
    with ThreadPoolExecutor(1, thread_name_prefix="prefect") as beside:
        starting = beside.submit(supervisor.acquire)
        try:
            orchestrate.prepare(settings.home)
            while not starting.done():
                wait([starting], timeout=0.2)
        except BaseException:
            stop.set()
            if starting.exception() is None:
                supervisor.release()
            raise
    info = starting.result()
    try:
        yield str(info["url"]), lambda: not supervisor.service.alive(info)
    finally:
        supervisor.release()


def _private_server(settings: Settings, abandoned: Callable[[], bool] | None = None) -> Supervisor:
    database = settings.prefect_database_url
    url = database.get_secret_value() if database is not None else None
    return orchestrate.supervisor(settings.home, child_environment(), abandoned=abandoned, database_url=url)


def work_key(uri: str, version: str) -> str:
    """Return the key under which a version of an object is worked on once."""
    return hashlib.sha256(f"{uri}\n{version}".encode()).hexdigest()


def place_of(places: tuple[Place, ...], uri: str) -> Place:
    """Return the watched place in which something lies: the innermost one.

    Raises:
        RequestError: it lies in none.
    """
    holding = [place for place in places if uri == place.root or uri.startswith(below(place.root))]
    if not holding:
        raise RequestError(f"{uri} lies in no place that is watched (setting watch.places)")
    return max(holding, key=lambda place: len(place.root))


def submit_asset(
    api: PrefectApi, settings: Settings, *, uri: str, version: str, name: str, place: Place, queue: Queue, again: bool = False
) -> FlowRun:
    """Ask for an asset to be worked on; return its flow run, which may be an earlier one of the same version.

    Raises:
        RequestError: the deployments are not registered.
        Unavailable: the Prefect server is out of reach.
    """
    parameters = {"uri": uri, "root": place.root, "collection": place.collection}
    return api.submit(f"{ASSET_FLOW}/{pool_of(settings)}", parameters, key=work_key(uri, version), name=name, queue=queue, again=again)


def note_gone(adapters: Adapters, place: Place, uri: str) -> bool:
    """Note that nothing lies at a place any more, where that is so; return whether it is. Nothing is deleted from the library."""
    if pick([place.root], [uri], adapters.places):
        return False
    with adapters.catalog.transaction() as connection:
        assets.lose_location(connection, uri)
    return True


def run_lock(run_id: str) -> str:
    """Return the name of the lock that a deployed run holds as long as it lives."""
    return f"run:{run_id}"


def bury_if_lost(api: PrefectApi, adapters: Adapters, run: FlowRun) -> bool:
    """Mark a run as crashed that claims to run and whose process was killed together with its worker; return whether it is one."""
    if run.state not in AT_WORK or time.time() - (run.began or 0.0) < LOCK_SECONDS or adapters.catalog.is_taken(run_lock(run.id)):
        return False
    api.set_state(run.id, "CRASHED", "its process was killed", force=True)
    return True

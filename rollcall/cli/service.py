"""`rollcall deploy|worker|watch`: the library kept by a Prefect server and its workers, on one machine or many."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rollcall.cli.show import note, show_json, show_line

if TYPE_CHECKING:
    from flows.watch import Scan
    from infra.settings import Settings

Pool = Literal["cpu", "gpu"]


def add_commands(app: typer.Typer) -> None:
    """Add the commands of the service."""
    app.command("deploy")(deploy)
    app.command("worker")(worker)
    app.command("watch")(watch)


def deploy() -> None:
    """Register work pools, queues, deployments and the schedule with the Prefect server; again changes only what differs.

    Example:  rollcall deploy
    """
    from infra import orchestrate
    from infra.settings import load_settings

    settings = load_settings()
    orchestrate.prepare(settings.home)
    from flows.deployments import register

    for line in register(settings):
        show_line(line)


def worker(
    pool: Annotated[Pool, typer.Option("--pool", metavar="POOL", help="cpu or gpu: whose work is taken.")] = "cpu",
    limit: Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="Runs at a time; else as `workers` says, 1 on a GPU.")] = None,
) -> None:
    """Work for the Prefect server until Ctrl-C: on any machine that has the settings.

    Example:  rollcall worker --limit 2
    """
    from flows.worker import run_worker
    from infra.settings import ensure_home, load_settings

    settings = load_settings()
    ensure_home(settings.home)
    run_worker(settings, pool=pool, limit=limit or (settings.workers if pool == "cpu" else 1), say=note)


def watch(
    once: Annotated[bool, typer.Option("--once", help="Scan now, and end.")] = False,
    submit: Annotated[bool, typer.Option("--submit", help="Leave the work to the service; else it is done here.")] = False,
    pause: Annotated[bool, typer.Option("--pause-backfill", help="Hold back what waits of old material, and end; new arrivals go on.")] = False,
    resume: Annotated[bool, typer.Option("--resume-backfill", help="Let it go on, and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print each scan as JSON.")] = False,
) -> None:
    """Scan the watched places now and on their schedule, until Ctrl-C; what is new is taken in, or handed to the service.

    Example:  rollcall watch --once
    """
    from asd_core.errors import RequestError
    from infra.settings import load_settings

    settings = load_settings()
    if pause or resume:
        _hold_back(settings, paused=pause)
        return
    if not settings.watch.places:
        raise RequestError("no place is watched: set watch.places in rollcall.toml")
    while True:
        for one in _scans(settings) if submit else _ingested(settings):
            if as_json:
                show_json(_as_json(one))
            else:
                show_line(one.sentence())
        if once:
            return
        _wait_for_next(settings.watch.cron)


def _hold_back(settings: Settings, *, paused: bool) -> None:
    from flows.service import open_api, pool_of

    open_api(settings).pause_queue(pool_of(settings), "backfill", paused)
    show_line("The backfill is held back; new arrivals go on" if paused else "The backfill goes on")


def _scans(settings: Settings) -> list[Scan]:
    """Hand on what is new to the service."""
    from flows.service import open_api
    from flows.watch import scan
    from infra.wiring import open_adapters
    from tasks.plan import make_plan

    plan, api = make_plan(settings), open_api(settings)
    with open_adapters(settings) as adapters:
        return [scan(place, adapters, plan, api) for place in settings.watch.places]


def _ingested(settings: Settings) -> list[Scan]:
    """Take in what is new, in this process."""
    from asd_core.errors import NotFound
    from flows.process_library import process_library
    from flows.watch import Scan
    from rollcall.cli.ingest import shown_events

    scans = []
    for place in settings.watch.places:
        with ExitStack() as stack:
            hear = stack.enter_context(shown_events())
            try:
                summary = process_library([place.root], collection=place.collection, on_event=hear, settings=settings)
            except NotFound as error:
                note(str(error))
                scans.append(Scan(place.root, place.collection))
                continue
        count = {state: len(summary.of(state)) for state in ("done", "skipped", "failed", "quarantined")}
        indexed = count["done"] + count["skipped"]
        scans.append(Scan(place.root, place.collection, indexed=indexed, failed=count["failed"], quarantined=count["quarantined"]))
    return scans


def _as_json(one: Scan) -> dict[str, object]:
    from dataclasses import asdict

    told = asdict(one)
    told["submissions"] = [each.id for each in one.submissions]
    return told


def _wait_for_next(cron: str) -> None:
    import datetime
    import time

    from cronsim import CronSim

    now = datetime.datetime.now(datetime.UTC)
    time.sleep((next(CronSim(cron, now)) - now).total_seconds())

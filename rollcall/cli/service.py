"""`rollcall deploy|worker|watch`: the library kept by a Prefect server and its workers, on one machine or many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rollcall.cli.ingest import show_summary, shown_events
from rollcall.cli.show import complain, note, show_json, show_line

if TYPE_CHECKING:
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
        _scan_all(settings, as_json=as_json) if submit else _ingest_all(settings, as_json=as_json)
        if once:
            return
        _wait_for_next(settings.watch.cron)


def _hold_back(settings: Settings, *, paused: bool) -> None:
    from flows.service import open_api, pool_of

    open_api(settings).pause_queue(pool_of(settings), "backfill", paused)
    show_line("The backfill is held back; new arrivals go on" if paused else "The backfill goes on")


def _scan_all(settings: Settings, *, as_json: bool) -> None:
    """Hand on what is new to the service."""
    from asd_core.errors import NotFound
    from flows.service import open_api
    from flows.watch import scan
    from infra.wiring import open_adapters
    from tasks.plan import make_plan

    plan, api = make_plan(settings), open_api(settings)
    with open_adapters(settings) as adapters:
        for place in settings.watch.places:
            try:
                one = scan(place, adapters, plan, api)
            except NotFound as error:
                complain(str(error))
                continue
            if as_json:
                counts = {kind: len(files) for kind, files in one.found.items()}
                show_json({"root": one.root, "collection": one.collection, **counts, "submitted": one.submitted, "seconds_left": one.seconds_left})
            else:
                show_line(one.sentence())


def _ingest_all(settings: Settings, *, as_json: bool) -> None:
    """Take in what is new, in this process."""
    from asd_core.errors import NotFound
    from flows.process_library import process_library

    for place in settings.watch.places:
        try:
            with shown_events() as hear:
                summary = process_library([place.root], collection=place.collection, on_event=hear, settings=settings)
        except NotFound as error:
            complain(str(error))
        else:
            show_summary(summary, as_json=as_json)


def _wait_for_next(cron: str) -> None:
    import datetime
    import time

    from cronsim import CronSim

    now = datetime.datetime.now(datetime.UTC)
    time.sleep((next(CronSim(cron, now)) - now).total_seconds())

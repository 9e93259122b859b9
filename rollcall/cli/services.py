"""`rollcall serve|up|down`: the pages, and the local services that commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rollcall.cli.opening import open_adapters
from rollcall.cli.show import note, show_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fastapi import FastAPI

    from infra.settings import Settings
    from infra.supervise import Supervisor
    from infra.wiring import Adapters

LOOPBACK = "127.0.0.1"
BACKLOG = 128


def add_commands(app: typer.Typer) -> None:
    """Add `serve`, `up` and `down`."""
    app.command("serve")(serve)
    app.command("up")(up)
    app.command("down")(down)


def serve(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, metavar="N", help="0 takes a free one.")] = 8765,
    listen: Annotated[
        str, typer.Option("--listen", metavar="ADDRESS", help="0.0.0.0: all that this machine has; behind a proxy that asks who it is.")
    ] = LOOPBACK,
    name: Annotated[
        list[str] | None, typer.Option("--name", metavar="HOST", help="Another name that browsers may address it by; repeatable.")
    ] = None,
) -> None:
    """Show the library in a browser until Ctrl-C, and its numbers at /metrics: on this machine only, unless told to listen elsewhere.

    Example:  rollcall serve
    """
    import socket

    import uvicorn

    from asd_core.errors import RequestError

    with open_adapters() as adapters:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((listen, port))
        except OSError as error:
            raise RequestError(f"port {port} cannot be used ({error.strerror}); choose another with --port") from error
        config = uvicorn.Config(application(adapters, name or ()), log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=2)
        with listener:
            listener.listen(BACKLOG)  # who comes as soon as the line is read must not be turned away
            show_line(f"Rollcall is at http://{listen}:{listener.getsockname()[1]}/  (Ctrl-C ends it)")
            uvicorn.Server(config).run(sockets=[listener])


def application(adapters: Adapters, names: Iterable[str] = ()) -> FastAPI:
    """Return the pages over a library, to be addressed by these names besides loopback's; proxies are made in the decoding child."""
    from rollcall.api import events
    from rollcall.api.metrics import Telling
    from rollcall.library import Library
    from rollcall.web.app import create_app
    from rollcall.web.proxies import GIGABYTE, Proxies
    from tasks.index import snapshot_positions
    from tasks.probe import probe_file

    settings = adapters.settings
    limit = int(settings.cache_gigabytes * GIGABYTE)

    def make(source: Path, audio_track: int | None, target: Path, report: Callable[[str, float, float], None]) -> None:
        seconds = settings.child_seconds(probe_file(source, adapters.sandbox, settings).duration)
        adapters.sandbox.call("rollcall.exports.rendition:write_proxy", str(source), audio_track, str(target), timeout=seconds, on_progress=report)

    proxies = Proxies(settings.home / "cache" / "proxies", limit, make)
    library = Library(adapters.catalog, adapters.artifacts, adapters.places)
    telling = Telling(adapters.catalog, settings.home, index_positions=lambda: snapshot_positions(adapters))
    app = create_app(library, proxies, telling=telling, hosts=frozenset(name.lower() for name in names))
    app.include_router(events.routes(adapters))
    return app


def up(
    service: Annotated[
        bool, typer.Option("--service", help="The whole service: the pages too, and a worker; deployments and schedule are registered.")
    ] = False,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, metavar="N", help="Of the pages; 0 takes a free one.")] = 8765,
) -> None:
    """Start the local services, PostgreSQL and Prefect, and let them stay: later commands begin at once.

    Example:  rollcall up --service
    """
    from infra import orchestrate, postgres
    from infra.settings import child_environment, ensure_home, load_settings

    settings = load_settings()
    home = ensure_home(settings.home)
    if settings.database_url is None:
        postgres.supervisor(home).pin()
        show_line("PostgreSQL is up")
    else:
        show_line("PostgreSQL is the one that the settings name")
    if settings.prefect_api_url is None:
        database = settings.prefect_database_url
        info = orchestrate.supervisor(home, child_environment(), database_url=database.get_secret_value() if database else None).pin()
        show_line(f"Prefect is up: {str(info['url']).removesuffix('/api')}")
    else:
        show_line("Prefect is the one that the settings name")
    if service:
        _up_service(settings, port)


def _up_service(settings: Settings, port: int) -> None:
    from flows.service import pool_of
    from infra import orchestrate

    orchestrate.prepare(settings.home)
    from flows.deployments import register

    show_line(f"{len(register(settings))} pools and deployments are registered")
    pool = pool_of(settings)
    _worker(settings.home, pool).pin()
    show_line(f"A worker is up for the pool {pool}")
    said = str(_pages(settings.home, port).pin()["said"])
    show_line(said.partition("  (")[0])


def _worker(home: Path, pool: str) -> Supervisor:
    from infra import commands

    return commands.supervisor(home, f"worker-{pool}", ["worker", "--pool", pool], ready="started!")


def _pages(home: Path, port: int = 0) -> Supervisor:
    from infra import commands

    return commands.supervisor(home, "pages", ["serve", "--port", str(port)], ready="Rollcall is at")


def down() -> None:
    """End the local services that `up` made stay; those in use end with their last user.

    Example:  rollcall down
    """
    from infra import orchestrate, postgres
    from infra.settings import load_settings

    home = load_settings().home
    if not home.is_dir():
        show_line("Nothing is up")
        return
    for name, command in (("The pages are", _pages(home)), ("The worker is", _worker(home, "cpu")), ("The worker is", _worker(home, "gpu"))):
        if command.status()["running"]:
            command.down()
            show_line(f"{name} down")
    for name, supervisor in (("Prefect", orchestrate.supervisor(home)), ("PostgreSQL", postgres.supervisor(home))):
        users = supervisor.down()
        if users:
            note(f"{name} is in use by {users} command{'s' if users > 1 else ''} and ends with the last one")
        else:
            show_line(f"{name} is down")

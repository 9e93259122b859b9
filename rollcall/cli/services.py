"""`rollcall serve|up|down`: the pages, and the local services that commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rollcall.cli.opening import open_adapters
from rollcall.cli.show import note, show_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI

    from infra.wiring import Adapters

LOOPBACK = "127.0.0.1"


def add_commands(app: typer.Typer) -> None:
    """Add `serve`, `up` and `down`."""
    app.command("serve")(serve)
    app.command("up")(up)
    app.command("down")(down)


def serve(port: Annotated[int, typer.Option("--port", min=0, max=65535, metavar="N", help="0 takes a free one.")] = 8765) -> None:
    """Show the library in a browser, on this machine only, until Ctrl-C.

    Example:  rollcall serve
    """
    import socket

    import uvicorn

    from asd_core.errors import RequestError

    with open_adapters() as adapters:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError as error:
            raise RequestError(f"port {port} cannot be used ({error.strerror}); choose another with --port") from error
        show_line(f"Rollcall is at http://{LOOPBACK}:{listener.getsockname()[1]}/  (Ctrl-C ends it)")
        config = uvicorn.Config(application(adapters), log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=2)
        with listener:
            uvicorn.Server(config).run(sockets=[listener])


def application(adapters: Adapters) -> FastAPI:
    """Return the pages over a library; proxies are made in the decoding child."""
    from rollcall.library import Library
    from rollcall.web.app import create_app
    from rollcall.web.proxies import GIGABYTE, Proxies
    from tasks.probe import probe_file

    settings = adapters.settings
    limit = int(settings.cache_gigabytes * GIGABYTE)

    def make(source: Path, audio_track: int | None, target: Path, report: Callable[[str, float, float], None]) -> None:
        seconds = settings.child_seconds(probe_file(source, adapters.sandbox, settings).duration)
        adapters.sandbox.call("rollcall.exports.rendition:write_proxy", str(source), audio_track, str(target), timeout=seconds, on_progress=report)

    return create_app(Library(adapters.catalog, adapters.artifacts), Proxies(settings.home / "cache" / "proxies", limit, make))


def up() -> None:
    """Start the local services, PostgreSQL and Prefect, and let them stay: later commands begin at once.

    Example:  rollcall up
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
        info = orchestrate.supervisor(home, child_environment()).pin()
        show_line(f"Prefect is up: {str(info['url']).removesuffix('/api')}")
    else:
        show_line("Prefect is the one that the settings name")


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
    for name, supervisor in (("Prefect", orchestrate.supervisor(home)), ("PostgreSQL", postgres.supervisor(home))):
        users = supervisor.down()
        if users:
            note(f"{name} is in use by {users} command{'s' if users > 1 else ''} and ends with the last one")
        else:
            show_line(f"{name} is down")

"""The pages: routes, and what every answer carries. Read-only, on loopback, no queries of their own.

Strangers' pages cannot read these: the Host header must name this machine (against DNS rebinding), nothing allows other origins, and
the content security policy admits only our own scripts, styles and media.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles

from asd_core.errors import RollcallError
from rollcall.api import metrics
from rollcall.api.metrics import Telling
from rollcall.library import Library
from rollcall.web import assets, people
from rollcall.web.pages import environment, problem
from rollcall.web.proxies import Proxies

HERE = Path(__file__).parent
HOSTS = {"localhost", "127.0.0.1", "[::1]"}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def create_app(library: Library, proxies: Proxies, *, telling: Telling | None = None, hosts: frozenset[str] = frozenset()) -> FastAPI:
    """Return the application.

    Args:
        library: what is shown.
        proxies: copies for browsers.
        telling: what `/metrics` tells; None: it is not there.
        hosts: names besides those of loopback under which the server may be addressed.
    """
    app = FastAPI(title="Rollcall", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.library, app.state.proxies, app.state.pages, app.state.telling = library, proxies, environment(), telling
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    for router in (assets.router, people.router, *([metrics.router] if telling is not None else [])):
        for route in router.routes:
            if isinstance(route, APIRoute) and "GET" in route.methods:
                route.methods.add("HEAD")
        app.include_router(router)
    allowed = HOSTS | hosts

    @app.middleware("http")
    async def guard(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        if _host_name(request.headers.get("host", "")) not in allowed:
            return Response("This server answers only to the name of this machine.", status_code=421, media_type="text/plain")
        response = await answer(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    @app.exception_handler(RollcallError)
    def explain(request: Request, error: RollcallError) -> Response:
        return problem(request, error.http_status, str(error))

    @app.exception_handler(RequestValidationError)
    def not_understood(request: Request, error: RequestValidationError) -> Response:
        places = [wrong["loc"] for wrong in error.errors()]
        if any(place[0] == "path" for place in places):
            return problem(request, 404, "There is no such page.")
        return problem(request, 422, f"This address needs another {' and '.join(str(place[-1]) for place in places)}.")

    @app.exception_handler(404)
    def nothing_there(request: Request, _: Exception) -> Response:
        return problem(request, 404, "There is no such page.")

    return app


def _host_name(host: str) -> str:
    """Return the Host header without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].lower()

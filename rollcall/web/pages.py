"""Pages out of templates: everything that comes from outside is escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
from fastapi import Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from rollcall.shown import clock
from rollcall.web import views

TEMPLATES = Path(__file__).parent / "templates"


def environment() -> jinja2.Environment:
    """Return the templates with their filters; a value that a template misses is an error."""
    pages = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    pages.filters |= {"clock": clock, "length_words": views.length_words}
    pages.globals["here"] = ""
    return pages


def problem(request: Request, status: int, message: str) -> Response:
    """Return a page, or JSON for a script, that says in one sentence what is wrong."""
    if request.url.path.endswith(".json") or "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"error": message}, status_code=status)
    title = "Not found" if status == 404 else "This cannot be shown"
    return HTMLResponse(render(request, "problem.html", title=title, message=message), status_code=status)


def render(request: Request, template: str, **values: Any) -> str:
    """Return a page."""
    pages: jinja2.Environment = request.app.state.pages
    return pages.get_template(template).render(**values)

"""Routes of the people pages: everybody, one person with every appearance, and the best view of a face."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from infra.catalog import lookups
from infra.catalog.rows import PersonRow
from rollcall.library import Library
from rollcall.shown import short
from rollcall.web.pages import render

router = APIRouter()
NO_FACE = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 112 112"><rect width="112" height="112" fill="#8a9296"/>'
    b'<circle cx="56" cy="44" r="20" fill="#d5d9da"/><path d="M16 112c4-30 20-42 40-42s36 12 40 42z" fill="#d5d9da"/></svg>'
)


@router.get("/people")
def people_page(request: Request) -> HTMLResponse:
    """Show everybody whom the library knows by face."""
    library: Library = request.app.state.library
    with library.catalog.reading() as connection:
        rows = lookups.list_persons(connection)
    return HTMLResponse(render(request, "people.html", here="people", people=[_shown(row) for row in rows]))


@router.get("/people/{person_id}", response_model=None)
def person_page(request: Request, person_id: str) -> Response:
    """Show one person and every appearance; an alias leads to the id that lives on."""
    library: Library = request.app.state.library
    with library.catalog.reading() as connection:
        person = lookups.find_person(connection, person_id)
        if person.id != person_id:
            return RedirectResponse(f"/people/{person.id}")
        durations = {row.sha256: row.duration for row in lookups.list_assets(connection)}
        inside = lookups.person_in_assets(connection, person.id)
        turns = lookups.person_turns(connection, person.id)
        seen = lookups.person_appearances(connection, person.id)
    appearances: dict[str, dict[str, Any]] = {}
    for row in inside:
        entry = appearances.setdefault(
            row.asset_sha256,
            {"sha256": row.asset_sha256, "name": row.asset, "talk_time": 0.0, "screen_time": 0.0, "duration": durations.get(row.asset_sha256) or 1.0},
        )
        entry["talk_time"] += row.talk_time
        entry["screen_time"] += row.screen_time
    for sha256, entry in appearances.items():
        entry["turns"] = [turn for turn in turns if turn.asset_sha256 == sha256]
        entry["seen"] = [stretch for stretch in seen if stretch.asset_sha256 == sha256]
    page = render(request, "person.html", here="people", person=_shown(person), appearances=list(appearances.values()))
    return HTMLResponse(page)


@router.get("/people/{person_id}/face")
def person_face(request: Request, person_id: str) -> Response:
    """Give the best view of a face; a silhouette where none was kept."""
    library: Library = request.app.state.library
    with library.catalog.reading() as connection:
        picture = lookups.person_thumbnail(connection, lookups.find_person(connection, person_id).id)
    kept = {"Cache-Control": "private, max-age=300"}
    if picture is None:
        return Response(NO_FACE, media_type="image/svg+xml", headers=kept)
    return Response(bytes(picture), media_type="image/png" if picture[:4] == b"\x89PNG" else "image/jpeg", headers=kept)


def _shown(person: PersonRow) -> dict[str, Any]:
    return {
        "id": person.id,
        "short": short(person.id),
        "name": person.name,
        "talk_time": person.talk_time,
        "screen_time": person.screen_time,
        "assets": person.assets,
    }

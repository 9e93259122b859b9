"""Routes of the people pages: everybody, one person with every appearance, and the best view of a face, or of all in an asset."""

from __future__ import annotations

from typing import Annotated, Any

import cv2
import numpy as np
from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from infra.catalog import lookups
from infra.catalog.rows import PersonRow
from rollcall.library import Library
from rollcall.shown import short
from rollcall.web.pages import render

router = APIRouter()
FACE = 112  # pixels, of a face in a row of them
MOST_FACES = 12  # of a row
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


@router.get("/assets/{sha256}/people")
def asset_people_row(request: Request, sha256: Annotated[str, Path(pattern="^[0-9a-f]{64}$")]) -> Response:
    """Give the best views of the people of an asset side by side, who speaks most first; a silhouette where there are none.

    Reports of runs show it: it is put together when it is asked for, and nobody keeps it, so that who was forgotten is in none. Pages of
    other ports and hosts of our site may show it, such as Prefect's; those of other sites may not.
    """
    library: Library = request.app.state.library
    with library.catalog.reading() as connection:
        people = sorted(lookups.asset_people(connection, lookups.find_asset(connection, sha256).sha256), key=lambda row: -row.talk_time)
        found = dict.fromkeys(row.person_id for row in people if row.person_id is not None)
        pictures = [lookups.person_thumbnail(connection, person_id) for person_id in list(found)[:MOST_FACES]]
    told = {"Cache-Control": "no-store", "Cross-Origin-Resource-Policy": "same-site"}
    faces = [cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR) for picture in pictures if picture is not None]
    faces = [face for face in faces if face is not None]
    if not faces:
        return Response(NO_FACE, media_type="image/svg+xml", headers=told)
    _, row = cv2.imencode(".jpg", cv2.hconcat([cv2.resize(face, (FACE, FACE)) for face in faces]))
    return Response(row.tobytes(), media_type="image/jpeg", headers=told)


def _shown(person: PersonRow) -> dict[str, Any]:
    return {
        "id": person.id,
        "short": short(person.id),
        "name": person.name,
        "talk_time": person.talk_time,
        "screen_time": person.screen_time,
        "assets": person.assets,
    }

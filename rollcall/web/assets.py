"""Routes of the library page and of one asset: page, document, timeline, faces, video."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response

from asd_core.errors import NotFound
from infra.catalog import lookups
from infra.catalog.rows import AssetRow
from rollcall.api.document import Document, dumps
from rollcall.library import Library
from rollcall.web import views
from rollcall.web.pages import render
from rollcall.web.playable import media_type
from rollcall.web.proxies import Proxies

router = APIRouter()
Sha256 = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]
LONGEST_FACES = 120.0  # seconds of boxes in one answer


@router.get("/")
def library_page(request: Request, collection: str | None = None) -> HTMLResponse:
    """Show every asset with its state."""
    library: Library = request.app.state.library
    with library.catalog.reading() as connection:
        rows = lookups.list_assets(connection, collection=collection)
        collections = [name for name, _ in lookups.list_collections(connection)]
        known = {row.sha256 for row in rows}
        # Files that could not even be hashed have no asset; with a collection asked for, the others' are not its matter.
        aside = [] if collection is not None else [row for row in lookups.list_quarantine(connection) if row.sha256 not in known]
    states = sorted(Counter([row.state for row in rows] + ["quarantined"] * len(aside)).items())
    length = sum(row.duration or 0.0 for row in rows)
    shown = {"assets": rows, "aside": aside, "states": states, "total_duration": length, "collections": collections, "collection": collection}
    return HTMLResponse(render(request, "library.html", here="library", **shown))


@router.get("/assets/{sha256}")
def asset_page(request: Request, sha256: Sha256) -> HTMLResponse:
    """Show one asset: video, boxes, who spoke when."""
    doc = _document(request, sha256)
    people = views.people_rows(doc)
    alive = sum(not person["still"] for person in people)
    shown = {"asset": doc["asset"], "turns": views.turn_rows(doc), "people": people, "alive": alive, "models": doc["models"]}
    return HTMLResponse(render(request, "asset.html", **shown))


@router.get("/assets/{sha256}/document.json")
def asset_document(request: Request, sha256: Sha256) -> Response:
    """Give the whole document."""
    return Response(dumps(_document(request, sha256)), media_type="application/json")


@router.get("/assets/{sha256}/timeline.json")
def asset_timeline(request: Request, sha256: Sha256) -> JSONResponse:
    """Give what the timeline draws."""
    return JSONResponse(views.timeline(_document(request, sha256)))


@router.get("/assets/{sha256}/faces.json")
def asset_faces(request: Request, sha256: Sha256, start: Annotated[float, Query(ge=0)], end: Annotated[float, Query(ge=0)]) -> JSONResponse:
    """Give the boxes of a stretch, at most two minutes of it."""
    return JSONResponse(views.faces(_document(request, sha256), start, min(end, start + LONGEST_FACES)))


@router.get("/assets/{sha256}/playable")
def asset_playable(request: Request, sha256: Sha256) -> JSONResponse:
    """Say whether the video can be played now; begin a proxy where one is needed."""
    asset = _asset(request, sha256)
    if _direct_type(request, asset) is not None:
        return JSONResponse({"state": "ready"})
    state = _proxies(request).ask(asset.sha256, _library(request).source(asset).path, asset.audio_track)
    return JSONResponse({"state": state.state, "share": round(state.share, 3), "reason": state.reason})


@router.api_route("/assets/{sha256}/video", methods=["GET", "HEAD"])
def asset_video(request: Request, sha256: Sha256) -> FileResponse:
    """Give the file, or its proxy, whole or by byte ranges."""
    asset = _asset(request, sha256)
    direct = _direct_type(request, asset)
    if direct is not None:
        return FileResponse(_library(request).source(asset).path(), media_type=direct, content_disposition_type="inline")
    proxy = _proxies(request).path(asset.sha256)
    if not proxy.is_file():
        raise NotFound(f"no copy of {asset.name} for browsers is there yet")
    return FileResponse(proxy, media_type="video/mp4", content_disposition_type="inline")


def _library(request: Request) -> Library:
    library: Library = request.app.state.library
    return library


def _proxies(request: Request) -> Proxies:
    proxies: Proxies = request.app.state.proxies
    return proxies


def _asset(request: Request, sha256: str) -> AssetRow:
    return _library(request).asset(sha256)


def _document(request: Request, sha256: str) -> dict[str, Any]:
    library = _library(request)
    doc: Document = library.document(library.asset(sha256))
    return doc


def _direct_type(request: Request, asset: AssetRow) -> str | None:
    library = _library(request)
    analysis = library.analysis(asset)
    library.source(asset)  # it is there
    return media_type(analysis.info, analysis.audio_track, PurePosixPath(str(asset.uri)).suffix)

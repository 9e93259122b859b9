"""`POST /events/s3`: an S3 service tells of objects that came or went, in the standard event JSON; each is worked on once.

Whoever tells must bear the token of the setting `watch.events_token`; without one the route is not there. What is told is never believed: the
run that is asked for looks at what lies there by then, so that a late event does no harm, and one that comes twice is one run.
"""

from __future__ import annotations

import hmac
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from asd_core.errors import RequestError, RollcallError
from flows.service import note_gone, open_api, place_of, submit_asset
from infra.places import below

if TYPE_CHECKING:
    from infra.wiring import Adapters

LOG = logging.getLogger("rollcall")
BODY_LIMIT = 1 << 20  # bytes: S3 services send a handful of records at a time
MOST_RECORDS = 1000


@dataclass(frozen=True, slots=True)
class ObjectEvent:
    """One object that came or went; `version` is its etag, as in listings (infra.s3)."""

    uri: str
    version: str
    removed: bool


def routes(adapters: Adapters) -> APIRouter:
    """Return the route for these settings; none where no token is set."""
    router = APIRouter()
    token = adapters.settings.watch.events_token
    if token is None:
        return router

    @router.post("/events/s3")
    async def hear(request: Request) -> Response:
        if not _bears(request.headers.get("authorization", ""), token.get_secret_value()):
            return JSONResponse({"error": "This needs the token of the setting watch.events_token."}, status_code=401)
        body = await _body(request)
        if body is None:
            return JSONResponse({"error": f"An event has at most {BODY_LIMIT} bytes."}, status_code=413)
        try:
            events = list(read_events(body))
        except ValueError as error:
            return JSONResponse({"error": f"This is no S3 event: {error}"}, status_code=400)
        return await run_in_threadpool(_answer, adapters, events)

    return router


def _bears(header: str, token: str) -> bool:
    """Say whether an Authorization header holds the token, alone or as a bearer's; takes as long whatever it holds."""
    given = header.removeprefix("Bearer ").strip()
    return hmac.compare_digest(given.encode(), token.encode())


async def _body(request: Request) -> bytes | None:
    """Return the body; None where it is too long."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > BODY_LIMIT:
            return None
        parts.append(part)
    return b"".join(parts)


def read_events(body: bytes) -> Iterator[ObjectEvent]:
    """Give the objects of an event document that came or went; other events are passed over.

    Raises:
        ValueError: it is none.

    Source: S3 event message structure 2.x; keys in it are URL-encoded as in a form.
    """
    try:
        records = json.loads(body)["Records"]
        if not isinstance(records, list) or len(records) > MOST_RECORDS:
            raise ValueError(f"Records must be a list of at most {MOST_RECORDS}")
        for record in records:
            what = str(record["eventName"]).removeprefix("s3:")
            if what.startswith(("ObjectCreated:", "ObjectRemoved:")):
                yield _event(record, removed=what.startswith("ObjectRemoved:"))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__} {error}") from error


def _event(record: dict[str, Any], *, removed: bool) -> ObjectEvent:
    stored = record["s3"]["object"]
    uri = f"s3://{record['s3']['bucket']['name']}/{unquote_plus(str(stored['key']))}"
    return ObjectEvent(uri, str(stored.get("eTag") or "").strip('"'), removed)


def _answer(adapters: Adapters, events: list[ObjectEvent]) -> Response:
    """Act on events; answer what was begun, what was known, and what is refused."""
    settings = adapters.settings
    told: dict[str, list[Any]] = {"started": [], "known": [], "gone": [], "refused": []}
    try:
        for event in events:
            try:
                place = place_of(settings.watch.places, event.uri)
            except RequestError as error:
                told["refused"].append({"uri": event.uri, "reason": str(error)})
                continue
            if event.removed:
                told["gone" if note_gone(adapters, place, event.uri) else "known"].append(event.uri)
                continue
            name = event.uri.removeprefix(below(place.root))
            run = submit_asset(open_api(settings), settings, uri=event.uri, version=event.version, name=name, place=place, queue="live")
            told["started" if run.created else "known"].append({"uri": event.uri, "run": run.id})
    except RollcallError as error:  # the S3 service keeps the event and tells it again
        LOG.warning("event not taken", extra={"error": type(error).__name__})
        return JSONResponse({"error": str(error), **told}, status_code=503 if error.retryable else error.http_status)
    LOG.info("events heard", extra={key: len(value) for key, value in told.items()})
    refused_all = bool(told["refused"]) and len(told["refused"]) == len(events)
    return JSONResponse(told, status_code=403 if refused_all else 200)

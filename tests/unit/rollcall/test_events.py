"""S3 events: what is read of them, whom they are taken from, and that nothing but an event passes for one."""

import asyncio
import contextlib
import json
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from flows.service import place_of, work_key
from infra.settings import Place, WatchSettings
from rollcall.api import events
from rollcall.api.events import BODY_LIMIT, ObjectEvent, read_events


def record(key="tv/a.mp4", name="ObjectCreated:Put", bucket="media", etag='"abc"'):
    return {"eventName": name, "s3": {"bucket": {"name": bucket}, "object": {"key": key, "size": 3, "eTag": etag, "sequencer": "1"}}}


def document(*records):
    return json.dumps({"Records": list(records)}).encode()


def post(content, headers=None, **watch):
    """Post to an application with these settings; return its answer."""
    app = FastAPI()
    app.include_router(events.routes(SimpleNamespace(settings=SimpleNamespace(watch=WatchSettings(**watch)))))

    async def ask():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as door:
            return await door.post("/events/s3", content=content, headers=headers or {})

    return asyncio.run(ask())


def test_keys_are_url_encoded_and_etags_lose_their_quotes():
    told = list(read_events(document(record("tv/two+words%2B%C3%A9.mp4"), record(name="s3:ObjectRemoved:DeleteMarkerCreated"))))
    assert told == [ObjectEvent("s3://media/tv/two words+é.mp4", "abc", False), ObjectEvent("s3://media/tv/a.mp4", "abc", True)]


def test_what_neither_came_nor_went_is_passed_over():
    assert list(read_events(document(record(name="ObjectTagging:Put"), record(name="s3:TestEvent")))) == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"Records": 3}', b'{"Records": [{}]}', b'{"Records": [[]]}', b"\xff", b"[" * 100_000])
def test_anything_else_is_a_value_error(body):
    with pytest.raises(ValueError):
        list(read_events(body))


NESTED = st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["eventName", "s3", "object"]), inner)
)


@given(NESTED)
def test_made_up_records_are_a_value_error_or_nothing(made):
    with contextlib.suppress(ValueError):
        assert list(read_events(json.dumps({"Records": [made]}).encode())) == []


def test_without_a_token_there_is_no_route():
    assert post(document()).status_code == 404


@pytest.mark.parametrize("said", [None, b"Bearer wrong", b"x", b"Bearer \xe9"])
def test_the_token_must_be_borne(said):
    assert post(document(), {"Authorization": said} if said else {}, events_token="right").status_code == 401


@pytest.mark.parametrize("said", ["Bearer right", "right"])
def test_what_is_too_long_or_no_event_is_told_so(said):
    assert post(b"x" * (BODY_LIMIT + 1), {"Authorization": said}, events_token="right").status_code == 413
    assert post(b"x", {"Authorization": said}, events_token="right").status_code == 400


def test_what_lies_in_no_watched_place_is_refused():
    answer = post(document(record()), {"Authorization": "right"}, events_token="right")
    assert answer.status_code == 403
    assert "watch.places" in answer.json()["refused"][0]["reason"]


def test_the_innermost_place_holds_it():
    places = (Place(root="s3://media"), Place(root="s3://media/tv/"), Place(root="/films"))
    assert place_of(places, "s3://media/tv/a.mp4").root == "s3://media/tv"
    assert place_of(places, "s3://media/tvs/a.mp4").root == "s3://media"
    assert place_of(places, "/films/a.mp4").root == "/films"


def test_a_key_tells_places_and_versions_apart():
    assert len({work_key(*each) for each in (("a", "b"), ("a", "c"), ("ab", ""), ("", "ab"))}) == 4


@pytest.mark.parametrize("told", [{"places": [{"root": "films"}]}, {"cron": "every minute"}, {"cron": "* * * * * *"}, {"cron": "61 * * * *"}])
def test_settings_that_cannot_be_are_refused(told):
    with pytest.raises(ValueError):
        WatchSettings(**told)

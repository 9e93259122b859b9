"""The pages over HTTP, without a browser."""

import json
import re
import time

import cv2
import httpx
import jsonschema
import numpy as np
import pytest

from infra.catalog import lookups
from rollcall.api.document import schema


@pytest.fixture(scope="module")
def client(address):
    with httpx.Client(base_url=address, headers={"accept": "text/html"}, timeout=30) as client:
        yield client


def test_library_lists_every_asset_with_its_state(client, made):
    page = client.get("/").text
    assert f'href="/assets/{made.first}"' in page
    assert "evening/tuesday &lt;i&gt;.avi" in page
    assert "not a media file" in page
    assert "quarantined" in page
    assert re.findall(r'0:04.0</td>\s*<td class="number">(\d+)</td>', page) == ["2", "2"]  # people; a still picture is none
    assert f'href="/assets/{made.failed}"' not in page


def test_asset_page_has_turns_people_and_the_line_that_names_them(client, made):
    page = client.get(f"/assets/{made.first}").text
    assert "Ann &lt;b&gt;" in page
    assert "<b>" not in page
    assert f'rollcall name {made.unnamed[:8]} "…"' in page
    assert page.count('class="seek"') == 3
    assert "voice v1" in page
    assert "off screen" in page


def test_asset_page_tells_the_terms_of_the_models(client, made):
    assert client.get(f"/assets/{made.first}").text.count("not for commercial use") == 3


def test_document_is_the_published_one(client, made):
    doc = client.get(f"/assets/{made.first}/document.json").json()
    jsonschema.Draft202012Validator(schema()).validate(doc)
    assert doc["people"][0]["person_id"] == made.ann


def test_timeline_has_a_lane_for_each_voice_and_face(client, made):
    told = client.get(f"/assets/{made.first}/timeline.json").json()
    assert [lane["id"] for lane in told["lanes"]] == ["p1", "p2", "p3", "voice v1"]
    assert told["lanes"][0]["turns"][0]["start"] == 0.2
    assert told["lanes"][0]["seen"] == [[0.0, 3.0]]


def test_faces_come_by_the_stretch(client, made):
    faces = client.get(f"/assets/{made.first}/faces.json", params={"start": 0, "end": 60}).json()
    assert len(faces) == 5
    assert faces[0]["speaking"] == [[0.2, 1.0]]
    assert client.get(f"/assets/{made.first}/faces.json", params={"start": 60, "end": 120}).json() == []
    assert client.get(f"/assets/{made.first}/faces.json", params={"start": -1, "end": 2}).status_code == 422


def test_video_comes_by_byte_ranges_and_head(client, made):
    url = f"/assets/{made.first}/video"
    whole = client.get(url)
    assert whole.status_code == 200
    assert whole.headers["content-type"] == "video/mp4"
    head = client.head(url)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(whole.content)))
    part = client.get(url, headers={"range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole.content)}"
    assert client.get(url, headers={"range": "bytes=-5"}).content == whole.content[-5:]
    assert client.get(url, headers={"range": "bytes=999999999-"}).status_code == 416


def test_what_browsers_cannot_play_gets_a_copy_once(client, made):
    url = f"/assets/{made.second}"
    assert client.get(f"{url}/video").status_code == 404 or made.proxies.path(made.second).exists()
    for _ in range(200):
        state = client.get(f"{url}/playable").json()
        if state["state"] != "making":
            break
        time.sleep(0.05)
    assert state["state"] == "ready"
    assert client.get(f"{url}/video").content[4:8] == b"ftyp"
    before = made.proxies.path(made.second).stat().st_ino
    assert client.get(f"{url}/playable").json()["state"] == "ready"
    assert made.proxies.path(made.second).stat().st_ino == before


def test_people_page_shows_faces_times_and_the_line_for_the_unnamed(client, made):
    page = client.get("/people").text
    assert "Ann &lt;b&gt;" in page
    assert f'rollcall name {made.unnamed[:8]} "…"' in page
    assert f"rollcall name {made.ann[:8]}" not in page
    face = client.get(f"/people/{made.ann}/face")
    assert face.headers["content-type"] == "image/png"
    assert face.content[:4] == b"\x89PNG"


def test_person_page_lists_every_appearance(client, made):
    page = client.get(f"/people/{made.unnamed}").text
    assert page.count("<h3>Speaks</h3>") == 2
    assert f"/assets/{made.first}#t=1.8" in page
    assert f"/assets/{made.second}#t=1.8" in page


def test_people_of_an_asset_come_as_a_row_that_nobody_keeps(client, made):
    answer = client.get(f"/assets/{made.first}/people")
    assert (answer.status_code, answer.headers["content-type"], answer.headers["cache-control"]) == (200, "image/jpeg", "no-store")
    assert answer.headers["cross-origin-resource-policy"] == "same-site"  # Prefect's pages may show it
    row = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
    with made.catalog.reading() as connection:
        persons = {one.person_id for one in lookups.asset_people(connection, made.first)} - {None}
    assert row.shape == (112, 112 * len(persons), 3)
    with made.catalog.transaction() as connection:  # as if all had been forgotten
        kept = connection.execute("SELECT id, thumbnail FROM track").fetchall()
        connection.execute("UPDATE track SET thumbnail = NULL")
    try:
        assert client.get(f"/assets/{made.first}/people").headers["content-type"] == "image/svg+xml"
    finally:
        with made.catalog.transaction() as connection, connection.cursor() as cursor:
            cursor.executemany("UPDATE track SET thumbnail = %s WHERE id = %s", [(picture, number) for number, picture in kept])
    assert client.get(f"/assets/{'0' * 64}/people").status_code == 404
    assert client.get("/people").headers["cross-origin-resource-policy"] == "same-origin"


def test_beginning_of_an_id_leads_to_the_person(client, made):
    answer = client.get(f"/people/{made.ann[:6]}", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, f"/people/{made.ann}")


@pytest.mark.parametrize(
    ("path", "status"),
    [("/nothing", 404), ("/assets/" + "0" * 64, 404), ("/assets/..%2f..%2fetc%2fpasswd", 404), ("/people/nobody", 404), ("/static/../app.py", 404)],
)
def test_what_is_not_there_is_a_page_that_says_so(client, path, status):
    answer = client.get(path)
    assert answer.status_code == status
    assert "Traceback" not in answer.text


def test_failed_asset_says_why(client, made):
    answer = client.get(f"/assets/{made.failed}")
    assert answer.status_code == 400
    assert "not a media file" in answer.text


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "[::2]"])
def test_other_names_are_refused(client, host):
    assert client.get("/", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "localhost:9", "127.0.0.1:8000", "[::1]:8000"])
def test_names_of_this_machine_are_served(client, host):
    assert client.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/people", "/static/asset.js", "/nothing"])
def test_policy_admits_only_our_own(client, path):
    answer = client.get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_pages_only_show(client, made, method):
    for path in ("/", "/people", f"/assets/{made.first}", f"/assets/{made.first}/video"):
        assert client.request(method, path).status_code == 405


def test_pages_hold_no_inline_script_or_style_and_no_other_host(client, made):
    for path in ("/", "/people", f"/people/{made.ann}", f"/assets/{made.first}"):
        page = client.get(path).text
        assert "style=" not in page
        assert "<style" not in page
        assert " on" + "click" not in page
        assert "//" not in page.replace("http://www.w3.org", "")
        assert "<script>" not in page


def test_errors_of_scripts_are_json(client):
    answer = client.get("/assets/" + "0" * 64 + "/timeline.json")
    assert answer.status_code == 404
    assert "error" in json.loads(answer.text)


def test_head_says_what_get_would(client, made):
    for place in ("/", "/people", f"/assets/{made.first}", f"/assets/{made.first}/timeline.json"):
        head = client.head(place)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == client.get(place).headers["content-type"]


@pytest.mark.parametrize(
    ("place", "status"),
    [
        ("/assets/zzz", 404),
        ("/people/%00", 400),
        ("/?collection=%00", 400),
        ("/people/%ff", 404),
        ("/static/%2e%2e/app.py", 404),
        ("/people/..%2f..", 404),
    ],
)
def test_odd_addresses_get_a_page_that_says_so(client, place, status):
    answer = client.get(place)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert "Traceback" not in answer.text


def test_what_an_address_lacks_is_named(client, made):
    answer = client.get(f"/assets/{made.first}/faces.json", params={"start": "nan"})
    assert (answer.status_code, answer.json()) == (422, {"error": "This address needs another start and end."})

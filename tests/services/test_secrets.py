"""What is secret stays out of all that an ingest through Prefect leaves behind, and every line of its log can be counted by asset and stage."""

import hashlib
import json

import psycopg
import pytest

from infra.settings import load_settings
from tests.flow import libraries
from tests.material import OUR_MODELS, SHORT_FILMS, folder_of
from tests.services.leavings import found_in, left_behind

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]
KEY, TOKEN = "pnu_4c1d9e52aa", "token-77b1f0c3"


@pytest.fixture(scope="module")
def ingested(postgres_server, s3_server, films, tmp_path_factory):
    """The home of an ingest through Prefect of a film and a broken file; what was said on its streams; its secrets; where it stored."""
    home, folder = tmp_path_factory.mktemp("secrets") / "home", tmp_path_factory.mktemp("media")
    folder_of(folder, *films(SHORT_FILMS[0]))
    (folder / "broken.mp4").write_text("this is no film")
    url = postgres_server.database("secrets")
    s3_server.client().make_bucket(bucket_name="secrets")
    settings = {
        "database_url": url, "prefect_api_key": KEY, "objects_url": "s3://secrets/objects", "watch": {"events_token": TOKEN},
        "s3": s3_server.section(),
    }  # fmt: skip
    process = libraries.start(home, folder, settings=settings, workers=1)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    secrets = {"database": postgres_server.password, "s3": s3_server.secret_key, "prefect": KEY, "events": TOKEN}
    told = load_settings(home=home, models=OUR_MODELS, **settings)
    return home, out + err + repr(told) + str(told), secrets, url, s3_server.client()


def test_no_secret_is_left_in_files_streams_objects_and_databases(ingested):
    home, said, secrets, url, client = ingested
    left = left_behind(home, database=url, client=client, bucket="secrets") | {"streams": said.encode()}
    assert "log/rollcall.jsonl" in left and any(name.startswith("prefect") for name in left)
    assert sum(name.startswith("s3 ") for name in left) > 5 and b"COPY public.asset" in left["database"]
    assert found_in(left, secrets) == []


def test_the_log_says_of_each_stage_which_asset_how_it_ended_and_how_long_it_took(ingested):
    home, _, _, url, _ = ingested
    lines = [json.loads(line) for line in (home / "log" / "rollcall.jsonl").read_text().splitlines()]
    stages = [line for line in lines if line["message"] == "stage ended"]
    with psycopg.connect(url) as connection:
        recorded = connection.execute(
            "SELECT a.sha256, s.stage, s.span, s.outcome, s.attempt, s.key, s.run_id FROM stage_run s JOIN asset a ON a.id = s.asset_id"
        ).fetchall()
    assert sorted(
        (s["asset"], s["stage"], s["span"], s["outcome"], s["attempt"], s.get("key", ""), s["run"]) for s in stages if "key" in s
    ) == sorted(row for row in recorded if row[3] != "failed")
    assert {"probe", "look", "listen", "stitch", "score", "embed", "decide", "group", "identify", "publish"} == {s["stage"] for s in stages}
    assert all(s["seconds"] >= 0 for s in stages)
    (failed,) = [s for s in stages if s["outcome"] == "failed"]
    assert (failed["asset"], failed["stage"]) == (hashlib.sha256(b"this is no film").hexdigest(), "probe")
    assert failed["error"] in {"Unreadable", "Unsupported", "MediaError"}
    ended = {line["asset"]: line["outcome"] for line in lines if line["message"] == "asset ended"}
    assert sorted(ended.values()) == ["done", "quarantined"]
    assert not any("mp4" in line for line in map(json.dumps, stages))

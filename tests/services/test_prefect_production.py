"""The service on PostgreSQL and S3: what comes into a bucket is searchable, told of or not, once each, and no secret goes astray."""

from __future__ import annotations

import io
import json

import psycopg
import pytest

from flows.service import WATCH_FLOW
from tests.flow.libraries import processes_of
from tests.material import SHORT_FILMS
from tests.services.leavings import found_in, left_behind
from tests.services.standing import TOKEN, Standing, notification, remuxed, wait_until

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(400)]
EVERY_MINUTE, NEVER = "* * * * *", "0 0 29 2 *"


@pytest.fixture(scope="module")
def service(postgres_server, s3_server, tmp_path_factory):
    """A service that watches a bucket and scans it only when told; library and Prefect have a database each, objects a bucket."""
    for name in ("media", "objects"):
        s3_server.client().make_bucket(bucket_name=name)
    library, prefect = (postgres_server.database(name) for name in ("library", "prefect"))
    more = {"ROLLCALL_DATABASE_URL": library, "ROLLCALL_PREFECT_DATABASE_URL": prefect, "ROLLCALL_WATCH__CRON": NEVER}
    standing = Standing(tmp_path_factory.mktemp("service") / "home", ["s3://media/tv"], **more, **s3_server.environment("objects"))
    standing.run("up", "--service", "--port", "0")
    standing.bucket, standing.library, standing.prefect = s3_server.client(), library, prefect
    standing.secrets = {"database": postgres_server.password, "s3": s3_server.secret_key, "events": TOKEN}
    yield standing
    standing.close()
    assert processes_of(standing.home) == []


def put(service, film, key, folder):
    """Put a film of its own into the bucket; return the event that an S3 service would tell."""
    data = remuxed(film, folder / "made.mp4", title=key).read_bytes()
    etag = service.bucket.put_object(bucket_name="media", object_name=key, data=io.BytesIO(data), length=len(data)).etag
    return notification("media", key, etag)


def rows(service, sql):
    with psycopg.connect(service.library) as connection:
        return connection.execute(sql).fetchall()


def turns(service, name):
    return rows(service, f"SELECT t.id FROM turn t JOIN asset a ON a.id = t.asset_id WHERE a.name = '{name}' AND a.state = 'done'")


def test_what_is_told_of_is_searchable_and_twice_is_once(service, films, tmp_path):
    told = put(service, films(SHORT_FILMS[0])[0], "tv/first act.mp4", tmp_path)
    first, second = service.tell(told)[1], service.tell(told)[1]
    assert [len(each[answer]) for each in (first, second) for answer in ("started", "known")] == [1, 0, 0, 1]
    took = wait_until(lambda: turns(service, "first act.mp4"), 120)
    print(f"\nnotification path: searchable {took:.1f} s after the event")
    wait_until(lambda: service.runs()[0].ended, 30)
    assert service.tell(told)[1]["known"]
    (run,) = service.runs()
    assert (run.state, run.parameters["uri"]) == ("COMPLETED", "s3://media/tv/first act.mp4")
    assert json.loads(service.run("turns", "first act.mp4", "--json"))
    (place,) = rows(service, "SELECT version FROM location")
    assert place[0] == told["Records"][0]["s3"]["object"]["eTag"]  # so that a scan and an event mean the same work


def test_a_late_event_for_a_replaced_object_does_no_harm(service, films, tmp_path):
    first = put(service, films(SHORT_FILMS[0])[0], "tv/replaced.mp4", tmp_path)
    second = put(service, films(SHORT_FILMS[1])[0], "tv/replaced.mp4", tmp_path)
    for told in (second, first):
        (started,) = service.tell(told)[1]["started"]
        assert service.api.wait(started["run"], seconds=120).state == "COMPLETED"
    found = rows(service, "SELECT l.version, a.state FROM location l JOIN asset a ON a.id = l.asset_id WHERE l.name = 'replaced.mp4'")
    assert found == [(second["Records"][0]["s3"]["object"]["eTag"], "done")]
    assert rows(service, "SELECT count(*) FROM stage_run WHERE stage = 'publish' AND outcome = 'made'")[0][0] == 2


def test_a_removal_is_noted_where_it_is_so(service):
    removal = notification("media", "tv/replaced.mp4", "", "ObjectRemoved:Delete")
    assert service.tell(removal)[1]["known"] == ["s3://media/tv/replaced.mp4"]
    service.bucket.remove_object(bucket_name="media", object_name="tv/replaced.mp4")
    assert service.tell(removal)[1]["gone"] == ["s3://media/tv/replaced.mp4"]
    assert rows(service, "SELECT gone_at IS NOT NULL FROM location WHERE name = 'replaced.mp4'") == [(True,)]


def test_what_is_not_watched_and_who_bears_no_token_are_refused(service):
    assert service.tell(notification("media", "radio/a.mp4", "x"))[0] == 403
    assert service.tell(notification("media", "tv/a.mp4", "x"), token="guess")[0] == 401
    assert service.tell(b"no event")[0] == 400


def test_what_nobody_told_of_is_found_by_the_schedule(service, films, tmp_path):
    service.environment["ROLLCALL_WATCH__CRON"] = EVERY_MINUTE
    service.run("deploy")
    put(service, films(SHORT_FILMS[1])[0], "tv/untold.mp4", tmp_path)
    took = wait_until(lambda: turns(service, "untold.mp4"), 150)
    print(f"\nschedule path, every minute: searchable {took:.1f} s after the object was put")
    assert any(run.state == "COMPLETED" for run in service.runs(WATCH_FLOW))
    service.environment["ROLLCALL_WATCH__CRON"] = NEVER
    service.run("deploy")


def test_no_secret_is_in_prefects_database_in_logs_or_in_objects(service):
    left = left_behind(service.home, database=service.prefect, client=service.bucket, bucket="objects")
    assert b"process-asset" in left["database"] and b"first act" in left["database"]
    assert {name.split("/")[0] for name in left} >= {"log", "s3 artifacts"}
    assert found_in(left, service.secrets) == []

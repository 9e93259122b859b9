"""What S3 adds to the contract of the stores (tests/contract/test_objects.py): refusals, dead servers, long lists, parts, links, versions."""

import json
import logging
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import pytest

from asd_core.errors import NotFound, RequestError, Unavailable
from infra.objects import S3Url
from infra.s3 import PART, S3Service
from infra.settings import child_environment
from tests.services.daemons import free_port
from tests.services.rgw import s3_settings

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]


@pytest.fixture
def store(s3_server, bucket):
    return S3Service(s3_settings(s3_server)).store(bucket)


def _acts(store):
    return (store.check, lambda: store.put("a", b"x"), lambda: store.get("a"), lambda: store.open("a"), lambda: list(store.list()))


def test_a_wrong_secret_is_one_clear_line_that_says_no_key(s3_server, bucket, caplog):
    caplog.set_level(logging.DEBUG)
    wrong = s3_settings(s3_server, secret_key="not-the-secret-key")
    service = S3Service(wrong)
    store = service.store(bucket)
    for act in (*_acts(store), lambda: store.stat("a"), lambda: store.delete("a")):
        with pytest.raises(RequestError) as caught:
            act()
        said = f"{caught.value!r} {store!r} {service!r} {wrong!r} {caplog.text}"
        assert bucket in str(caught.value)
        assert "s3.secret_key" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert "not-the-secret-key" not in said
        assert s3_server.secret_key not in said


def test_an_unknown_key_is_refused(s3_server, bucket):
    with pytest.raises(RequestError, match="InvalidAccessKeyId"):
        S3Service(s3_settings(s3_server, access_key="nobody")).store(bucket).get("a")


def test_without_credentials_what_is_not_public_is_refused(s3_server, bucket):
    with pytest.raises(RequestError, match="AccessDenied"):
        S3Service(s3_settings(s3_server, access_key=None, secret_key=None)).store(bucket).get("a")


def test_a_missing_bucket_is_named(s3_server):
    for act in _acts(S3Service(s3_settings(s3_server)).store("no-such-bucket")):
        with pytest.raises(RequestError, match="no bucket no-such-bucket"):
            act()


@pytest.mark.parametrize("name", ["A", "..", "a b", "x" * 80, "1.2.3.4"])
def test_what_cannot_be_a_bucket_is_a_request_error(s3_server, name):
    with pytest.raises(RequestError):
        S3Service(s3_settings(s3_server)).store(name).get("a")


def test_a_server_that_is_not_there_is_unavailable_within_seconds(s3_server, bucket):
    began = time.monotonic()
    for act in _acts(S3Service(s3_settings(s3_server, endpoint=f"127.0.0.1:{free_port()}")).store(bucket)):
        with pytest.raises(Unavailable):
            act()
    assert time.monotonic() - began < 10


def test_a_server_that_takes_calls_and_never_answers_is_unavailable(s3_server, bucket):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        store = S3Service(s3_settings(s3_server, endpoint=f"127.0.0.1:{mute.getsockname()[1]}")).store(bucket)
        began = time.monotonic()
        with pytest.raises(Unavailable):
            store.get("a")
        assert time.monotonic() - began < 35


def test_a_server_that_dies_and_comes_back(s3_server, store):
    store.put("a", b"x")
    s3_server.stop()
    try:
        with pytest.raises(Unavailable):
            store.get("a")
    finally:
        s3_server.start()
    assert store.get("a") == b"x"


def test_a_body_that_breaks_off_is_unavailable(s3_server, store):
    store.put("a", bytes(48 << 20))
    with store.open("a") as stream:
        stream.read(1000)
        s3_server.stop()
        try:
            with pytest.raises(Unavailable):
                while stream.read(1 << 20):
                    pass
        finally:
            s3_server.start()


def test_many_thousand_keys_come_sorted_and_as_they_are_asked_for(s3_server, bucket, store, caplog):
    client = s3_server.client()
    keys = [f"news/{n % 7}/{n:05d} é.mp4" for n in range(5200)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: client.put_object(bucket_name=bucket, object_name=key, data=BytesIO(b"x"), length=1), keys))
    caplog.set_level(logging.DEBUG, "urllib3.connectionpool")  # a line for each request

    def pages():
        return sum("list-type=2" in record.getMessage() for record in caplog.records)

    assert next(iter(store.list())).key == min(keys)
    assert pages() == 1
    assert [info.key for info in store.list()] == sorted(keys)
    assert pages() == 1 + 6
    assert [info.key for info in store.list("news/3/")] == sorted(key for key in keys if key.startswith("news/3/"))


def test_parts(s3_server, bucket, store):
    data = bytes(range(256)) * (PART // 256) + b"the end"
    store.put("long", data)
    assert store.stat("long").version.endswith("-2")
    assert store.get("long") == data
    with store.open("long", start=PART - 2) as stream:
        assert stream.read() == b"\xfe\xffthe end"


PUT_FILE = """
import json, resource, sys
from pathlib import Path
from infra.s3 import S3Service
from infra.settings import S3Settings
store = S3Service(S3Settings(**json.loads(sys.argv[1]))).store(sys.argv[2])
store.put("short", b"x")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
store.put_file("a/film.mp4", Path(sys.argv[3]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_long_file_is_stored_a_few_parts_at_a_time(s3_server, bucket, store, tmp_path):
    film, size = tmp_path / "film.mp4", 20 * PART + 7
    with film.open("wb") as out:
        out.write(b"the beginning")
        out.truncate(size)
    command = [sys.executable, "-c", PUT_FILE, json.dumps(s3_server.section()), bucket, str(film)]
    done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) << 10 < 10 * PART
    assert store.stat("a/film.mp4").size == size
    with store.open("a/film.mp4", length=13) as stream:
        assert stream.read() == b"the beginning"


def test_links_open_one_object_for_a_while_and_in_ranges(store):
    store.put("a b/é.mp4", b"0123456789")
    link = store.presigned("a b/é.mp4", 60)
    with urllib.request.urlopen(urllib.request.Request(link, headers={"Range": "bytes=3-5"}), timeout=30) as answer:
        assert (answer.status, answer.headers["Content-Range"], answer.read()) == (206, "bytes 3-5/10", b"345")
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(link.replace("Signature=", "Signature=0"), timeout=30)
    short = store.presigned("a b/é.mp4", 1)
    time.sleep(2.5)
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(short, timeout=30)


def test_a_read_can_insist_on_a_version(store):
    store.put("a", b"one")
    first = store.stat("a").version
    with store.open("a", version=first) as stream:
        assert stream.read() == b"one"
    store.put("a", b"two")
    with pytest.raises(Unavailable, match="replaced"):
        store.open("a", version=first)
    store.delete("a")
    with pytest.raises(NotFound):
        store.open("a", version=first)


def test_what_was_called_compressed_is_read_as_it_is_stored(s3_server, bucket, store):
    import gzip

    data = gzip.compress(b"x" * 1000)
    s3_server.client().put_object(
        bucket_name=bucket, object_name="a", data=BytesIO(data), length=len(data), metadata={"Content-Encoding": "gzip"}
    )  # fmt: skip
    assert store.get("a") == data


def test_urls():
    assert S3Url.parse("s3://b/a/c é") == S3Url("b", "a/c é")
    assert S3Url.parse("s3://b") == S3Url("b", "")
    assert str(S3Url("b", "a")) == "s3://b/a"
    for wrong in ("b/a", "s3://", "s3:///a", "http://b/a"):
        with pytest.raises(RequestError):
            S3Url.parse(wrong)


def test_without_an_endpoint_the_settings_are_named():
    from infra.settings import S3Settings

    with pytest.raises(RequestError, match="ROLLCALL_S3__ENDPOINT"):
        S3Service(S3Settings())

"""The services that other tests rely on: they check who asks, keep what they were given over a crash, and nothing of them stays behind."""

import subprocess
import sys
import textwrap
import threading
import time
import urllib.request
from datetime import timedelta
from io import BytesIO

import psycopg
import pytest
from minio import Minio
from minio.error import S3Error

from tests.flow.libraries import ROOT, processes_of

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]


def test_the_s3_server_checks_signatures(s3_server, bucket):
    wrong = Minio(endpoint=s3_server.endpoint, access_key=s3_server.access_key, secret_key="wrong", region=s3_server.region, secure=False)
    with pytest.raises(S3Error) as caught:
        list(wrong.list_objects(bucket_name=bucket))
    assert caught.value.code == "SignatureDoesNotMatch"


def test_the_s3_server_keeps_objects_over_a_crash(s3_server, bucket):
    client = s3_server.client()
    client.put_object(bucket_name=bucket, object_name="a", data=BytesIO(b"0123456789"), length=10)
    s3_server.stop()
    _in_a_thread(s3_server.start)
    link = client.presigned_get_object(bucket_name=bucket, object_name="a", expires=timedelta(seconds=60))
    request = urllib.request.Request(link, headers={"Range": "bytes=2-4"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert (answer.status, answer.read()) == (206, b"234")


def test_postgres_has_trigrams_wants_a_password_and_survives_a_crash(postgres_server):
    url = postgres_server.database("trial")
    with psycopg.connect(url) as connection:
        connection.execute("CREATE EXTENSION pg_trgm")
        connection.execute("CREATE TABLE a AS SELECT 7 AS b")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url.replace(postgres_server.password, "wrong"))
    postgres_server.stop()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    _in_a_thread(postgres_server.start)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT b FROM a").fetchone() == (7,)


@pytest.mark.parametrize("name", ["rgw.S3Server", "postgres.PostgresServer"])
def test_a_killed_test_run_leaves_no_process(name, s3_server, postgres_server):
    script = f"""
        import os, time
        from tests.services import rgw, postgres
        server = {name}()
        print(server.folder, flush=True)
        time.sleep(100)
    """
    run = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, cwd=ROOT)
    folder = run.stdout.readline().decode().strip()
    assert processes_of(folder)
    run.kill()
    run.wait()
    run.stdout.close()
    deadline = time.monotonic() + 20
    while processes_of(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    left = processes_of(folder)
    subprocess.run(["rm", "-rf", folder], check=True)
    assert not left


def _in_a_thread(act):
    """Do something in a thread that ends, as a timer does."""
    thread = threading.Thread(target=act)
    thread.start()
    thread.join()
    time.sleep(0.5)

"""Fixtures of the services: started once a test run, where Debian's packages are installed; else a skip that the summary counts."""

from __future__ import annotations

import uuid

import pytest

from tests.services import postgres, rgw

MARK = "servers"


@pytest.fixture(scope="session")
def s3_server():
    """An S3 server that checks signatures: `endpoint`, `access_key`, `secret_key`, `client()`, `environment(bucket)`, `stop()`, `start()`."""
    missing = rgw.missing_programs()
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: apt install {rgw.PACKAGES}")
    server = rgw.S3Server()
    yield server
    server.close()


@pytest.fixture
def bucket(s3_server):
    """The name of an empty bucket of that server."""
    name = f"t-{uuid.uuid4().hex[:12]}"
    s3_server.client().make_bucket(bucket_name=name)
    return name


@pytest.fixture(scope="session")
def postgres_server():
    """A PostgreSQL: `database(name)` makes an empty database and returns its URL, `stop()` crashes the server, `start()` brings it back."""
    if postgres.programs() is None:
        pytest.skip(f"needs PostgreSQL with contrib: apt install {postgres.PACKAGES}")
    server = postgres.PostgresServer()
    yield server
    server.close()

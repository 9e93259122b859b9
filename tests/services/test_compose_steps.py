"""What containers do when they first start, done to real servers: databases and roles, buckets."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from infra.catalog.connection import PUBLIC_VIEWS, Catalog
from infra.settings import child_environment
from tests.contract.library import add
from tests.services.postgres import PACKAGES, PostgresServer, programs

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]
WORDS = {"ROLLCALL_DATABASE_PASSWORD": "one1", "PREFECT_DATABASE_PASSWORD": "two2", "ROLLCALL_READER_PASSWORD": "three3"}


class Fresh(PostgresServer):
    """A server as the image makes it, before the script."""

    user = "postgres"


@pytest.fixture(scope="module")
def made():
    """A function that gives URLs of a server after the script."""
    folder = programs()
    if folder is None:
        pytest.skip(f"needs PostgreSQL with contrib: apt install {PACKAGES}")
    server = Fresh()
    try:
        environment = {"PATH": f"{folder}:{os.defpath}", "POSTGRES_USER": "postgres", "PGPASSWORD": server.password, "PGHOST": "127.0.0.1"}
        environment |= {"PGPORT": str(server.port), **WORDS}
        done = subprocess.run(["sh", ROOT / "infra/docker/postgres-init.sh"], env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        yield lambda role, word, database: f"postgresql://{role}:{word}@127.0.0.1:{server.port}/{database}"
    finally:
        server.close()


def test_the_reader_sees_the_views_and_nothing_else(made):
    catalog = Catalog(made("rollcall", "one1", "rollcall"))
    add(catalog, "a.mp4")
    catalog.close()
    with psycopg.connect(made("rollcall_reader", "three3", "rollcall"), autocommit=True) as reader:
        for view in PUBLIC_VIEWS:
            reader.execute(f"SELECT count(*) FROM {view}")
        for table in ("api_token", "asset", "track", "correction"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(f"SELECT * FROM {table}")
        with pytest.raises(psycopg.errors.Error):
            reader.execute("CREATE TABLE mine (x integer)")


def test_prefects_database_takes_its_extension_and_nobody_elses_role(made):
    with psycopg.connect(made("prefect", "two2", "prefect"), autocommit=True) as connection:
        connection.execute("CREATE EXTENSION pg_trgm")
    for role, word in (("rollcall", "one1"), ("rollcall_reader", "three3")):
        with pytest.raises(psycopg.OperationalError, match="permission denied"):
            psycopg.connect(made(role, word, "prefect"))


def test_missing_buckets_are_made(s3_server, tmp_path):
    environment = child_environment() | s3_server.environment("steps-objects") | {
        "ROLLCALL_HOME": str(tmp_path), "ROLLCALL_OBJECTS_URL": "s3://steps-objects/x", "PYTHONPATH": str(ROOT),
        "ROLLCALL_WATCH__PLACES": '[{"root": "s3://steps-media/news", "collection": "news"}]',
    }  # fmt: skip
    command = [sys.executable, ROOT / "infra/docker/make_buckets.py"]
    for said in ("steps-media was made\nsteps-objects was made\n", "steps-media is there\nsteps-objects is there\n"):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, said), done.stderr

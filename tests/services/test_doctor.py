"""What doctor says of services that are there, refuse, or are gone."""

import json

import psycopg
import pytest

from infra.catalog.connection import migrate, migrations
from tests.unit.rollcall.test_door import rollcall

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]


def findings(home, **told):
    """Verdict and words of services, under settings of the file."""
    home.mkdir(exist_ok=True)
    lines = [f"{name} = {json.dumps(value)}" for name, value in told.items() if not isinstance(value, dict)]
    lines += [
        f"[{name}]\n" + "\n".join(f"{key} = {json.dumps(each)}" for key, each in value.items())
        for name, value in told.items()
        if isinstance(value, dict)
    ]
    (home / "rollcall.toml").write_text("\n".join(lines))
    done = rollcall("doctor", "--json", home=home)
    assert done.stderr == ""
    found = {row["about"]: (row["verdict"], row["words"]) for row in json.loads(done.stdout)}
    assert done.returncode == int(any(verdict == "wrong" for verdict, _ in found.values()))
    return found, done.stdout


def test_database(postgres_server, tmp_path):
    url = postgres_server.database("doctor")
    found, said = findings(tmp_path / "home", database_url=url)
    assert found["postgresql"][0] == "ok" and "no library yet" in found["postgresql"][1]
    assert postgres_server.password not in said
    with psycopg.connect(url, autocommit=True) as connection:
        migrate(connection)
        found, _ = findings(tmp_path / "home", database_url=url)
        assert found["postgresql"][1].endswith(f"schema {migrations()[-1][0]}")
        connection.execute("INSERT INTO schema_version VALUES (999, 'x')")
    found, _ = findings(tmp_path / "home", database_url=url)
    assert found["postgresql"][0] == "wrong" and "newer version" in found["postgresql"][1]
    found, said = findings(tmp_path / "home", database_url=url.replace(postgres_server.password, "not-this-one"))
    assert found["postgresql"][0] == "wrong" and "not-this-one" not in said


def test_buckets_and_prefect(s3_server, bucket, tmp_path):
    told = {"objects_url": f"s3://{bucket}/objects", "prefect_api_url": "http://127.0.0.1:9/api", "s3": s3_server.section()}
    found, said = findings(tmp_path / "home", **told)
    assert found["objects"] == ("ok", f"s3://{bucket}/objects answers")
    assert found["prefect"][0] == "wrong" and "127.0.0.1:9" in found["prefect"][1]
    assert s3_server.secret_key not in said
    found, said = findings(tmp_path / "home", **told | {"s3": s3_server.section(secret_key="not-this-one")})
    assert found["objects"][0] == "wrong" and "not-this-one" not in said
    found, _ = findings(tmp_path / "home", **told | {"objects_url": "s3://no-such-bucket/x"})
    assert found["objects"][0] == "wrong"

"""Fixtures of the contract suites."""

import pytest


@pytest.fixture(scope="session")
def embedded_url(tmp_path_factory):
    """An embedded PostgreSQL of this session, under our own supervisor."""
    from infra.postgres import embedded_database
    from infra.settings import ensure_home

    with embedded_database(ensure_home(tmp_path_factory.mktemp("postgres") / "home")) as url:
        yield url


@pytest.fixture(scope="session")
def template_database(embedded_url):
    """The name of a migrated database, to be cloned: a clone takes a tenth of a second."""
    import psycopg

    from infra.catalog.connection import migrate

    with psycopg.connect(embedded_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE library_template")
    with psycopg.connect(embedded_url.replace("/postgres?", "/library_template?"), autocommit=True) as connection:
        migrate(connection)
    return "library_template"


@pytest.fixture
def database_url(embedded_url, template_database, request):
    """A fresh migrated database."""
    import uuid

    import psycopg

    name = f"t_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(embedded_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template_database}")
    yield embedded_url.replace("/postgres?", f"/{name}?")
    with psycopg.connect(embedded_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def catalog(database_url):
    """A catalog on a fresh database."""
    from infra.catalog.connection import Catalog

    catalog = Catalog(database_url)
    yield catalog
    catalog.close()

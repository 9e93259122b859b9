"""What `doctor` says of services: which answer, in which version, and what is in the way of those that do not. Nothing is changed there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from infra.settings import Settings

Said = tuple[str, Literal["ok", "lost", "wrong"], str]
"""What it is about, the verdict, the words."""


def services(settings: Settings) -> Iterator[Said]:
    """Yield what is known of the database, the Prefect server, and the buckets that the settings name."""
    from infra import orchestrate, postgres

    yield _database(settings) if settings.database_url is not None else ("postgresql", "ok", _embedded(settings, postgres.supervisor))
    yield _prefect(settings) if settings.prefect_api_url is not None else ("prefect", "ok", _embedded(settings, orchestrate.supervisor))
    yield from _buckets(settings)


def _embedded(settings: Settings, supervise: Any) -> str:
    if not settings.home.exists():
        return "embedded; starts when it is needed"
    state = supervise(settings.home).status()
    users = f"running, {state['users']} user{'s' if state['users'] != 1 else ''}"
    words = users if state["running"] else "not running; starts when it is needed"
    return f"embedded; {words}{', stays (rollcall down ends it)' if state['pinned'] else ''}"


def _database(settings: Settings) -> Said:
    import psycopg

    from infra.catalog.connection import migrations

    assert settings.database_url is not None  # the caller has looked
    newest = migrations()[-1][0]
    try:
        with psycopg.connect(settings.database_url.get_secret_value(), connect_timeout=5, autocommit=True) as connection:
            version = connection.info.server_version
            there = connection.execute("SELECT to_regclass('schema_version')").fetchone()
            schema = None
            if there is not None and there[0] is not None:
                schema = (connection.execute("SELECT max(version) FROM schema_version").fetchone() or (None,))[0]
    except psycopg.OperationalError as error:
        return "postgresql", "wrong", f"does not answer: {str(error).strip().splitlines()[0]}"
    except psycopg.Error:  # its words repeat the URL
        return "postgresql", "wrong", "database_url is no URL of a PostgreSQL database"
    server = f"PostgreSQL {version // 10000}.{version % 10000} answers"
    if version < 150000:
        return "postgresql", "wrong", f"{server}; 15 or newer is needed"
    if schema is None:
        return "postgresql", "ok", f"{server}; no library yet"
    if schema > newest:
        return "postgresql", "wrong", f"{server}; its library was made by a newer version (schema {schema}, this program knows {newest})"
    return "postgresql", "ok", f"{server}; schema {schema}{'' if schema == newest else f', the next command brings it to {newest}'}"


def _prefect(settings: Settings) -> Said:
    from asd_core.errors import RollcallError
    from flows.service import open_api, pool_of

    pool = pool_of(settings)
    try:
        api = open_api(settings)
        version = api.ask("GET", "/admin/version")
    except RollcallError as error:
        return "prefect", "wrong", str(error)
    try:
        workers = api.online_workers(pool)
    except RollcallError:
        return "prefect", "lost", f"Prefect {version} answers; it knows no pool {pool}: `rollcall deploy` registers it"
    if not workers:
        return "prefect", "lost", f"Prefect {version} answers; no worker of the pool {pool} is there: `rollcall worker` starts one"
    return "prefect", "ok", f"Prefect {version} answers; {workers} worker{'s' if workers != 1 else ''} of the pool {pool}"


def _buckets(settings: Settings) -> Iterator[Said]:
    from asd_core.errors import RollcallError

    roots = [place.root for place in settings.watch.places if place.root.startswith("s3://")]
    for about, url in [*([("objects", settings.objects_url)] if settings.objects_url is not None else []), *(("watched", root) for root in roots)]:
        from infra.s3 import S3Service  # only now: the client is slow to import

        try:
            S3Service(settings.s3).at(url).check()
        except RollcallError as error:
            yield about, "wrong", f"{url}: {error}"
        else:
            yield about, "ok", f"{url} answers"

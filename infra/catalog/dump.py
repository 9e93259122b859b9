"""The library's database as one file: pg_dump, pg_restore and psql, of the wheel or of the system.

A dump can be restored on an older server than it was taken from (from the embedded PostgreSQL to a given one): what the dump's own
programs print is replayed, without the one setting that older servers do not know. Passwords travel in the environment of the children, not
on their command lines.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import IO

from psycopg.pq import Conninfo

from asd_core.errors import RequestError, RollcallError
from infra.catalog.connection import Catalog, Connection, migrations
from infra.programs import find_programs

SCHEMA = "public"
WHEEL_MAJOR = 18
SYSTEM_FOLDERS = "/usr/lib/postgresql/{major}/bin"  # Debian's; elsewhere on the PATH
FIRST_STATEMENT = re.compile(rb"(CREATE|COPY|ALTER) ")
PREAMBLE = b"BEGIN;\nSET lock_timeout = '60s';\n"  # somebody still uses the library: an error, not a wait without end
UNKNOWN_TO_OLD = b"SET transaction_timeout"  # PostgreSQL 17 brought it


class DumpFailed(RollcallError):
    """One of PostgreSQL's programs failed; the message is its own."""


def named_artifacts(connection: Connection) -> tuple[set[str], set[str]]:
    """Return the keys of artifacts that the library names anywhere, and of those the analyses that finished assets need."""
    named = {row[0] for row in connection.execute("SELECT DISTINCT key FROM stage_run WHERE asset_id IS NOT NULL")}
    wanted = {row[0] for row in connection.execute("SELECT analysis_key FROM asset WHERE state = 'done' AND analysis_key IS NOT NULL")}
    return named | wanted, wanted


def is_empty(catalog: Catalog) -> bool:
    """Say whether nothing was ever taken in, said or granted here."""
    with catalog.reading() as connection:
        tables = ("asset", "person", "correction", "api_token", "opt_out", "webhook")
        return not any(connection.execute(f"SELECT 1 FROM {table} LIMIT 1".encode()).fetchone() for table in tables)  # noqa: S608 -- names from above


def write(connection: Connection, path: Path) -> None:
    """Dump the library as the connection's transaction, which is a REPEATABLE READ one, sees it.

    Raises:
        DumpFailed: pg_dump says why.
    """
    row = connection.execute("SELECT pg_export_snapshot()").fetchone()
    assert row is not None  # a function
    command = [str(_programs(connection) / "pg_dump"), "--format=custom", "--compress=1", f"--schema={SCHEMA}", "--no-owner", "--no-privileges"]
    done = subprocess.run(
        [*command, f"--snapshot={row[0]}", f"--file={path}"], env=_environment(connection), capture_output=True, text=True, check=False
    )  # fmt: skip
    if done.returncode:
        path.unlink(missing_ok=True)
        raise DumpFailed(f"the database cannot be dumped: {_words(done.stderr)}")
    path.chmod(0o600)


def replace_with(catalog: Catalog, path: Path) -> None:
    """Replace the library by that of a dump, in one transaction, and bring it to this program's schema.

    Raises:
        RequestError: the database holds tables that are not ours.
        DumpFailed: the dump cannot be replayed; the library is as it was.
    """
    with catalog.reading() as connection:
        programs, environment, old = _programs(connection), _environment(connection), connection.info.server_version < 170000
        found = {row[0] for row in connection.execute("SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace AND relkind IN "
                                                      "('r', 'p', 'v', 'm', 'f')", (SCHEMA,))}  # fmt: skip
    strangers = found - {name for _, name in _objects()}
    if strangers:
        raise RequestError(f"the database holds tables that are not Rollcall's ({', '.join(sorted(strangers))}); restore into one of its own")
    catalog.close()
    _replay(programs, environment, path, without=UNKNOWN_TO_OLD if old else None)
    catalog.open()


def _replay(programs: Path, environment: dict[str, str], path: Path, *, without: bytes | None) -> None:
    reading = [str(programs / "pg_restore"), "--file=-", f"--schema={SCHEMA}", "--no-owner", "--no-privileges", str(path)]
    writing = [str(programs / "psql"), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output=/dev/null", "--file=-"]
    with tempfile.TemporaryFile() as said:
        reader = subprocess.Popen(reading, env=environment, stdout=subprocess.PIPE, stderr=said)
        writer = subprocess.Popen(writing, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said)
        assert reader.stdout is not None and writer.stdin is not None  # PIPE
        try:
            writer.stdin.write(PREAMBLE + b"".join(f"DROP {kind} IF EXISTS {name} CASCADE;\n".encode() for kind, name in reversed(_objects())))
            _pour(reader.stdout, writer.stdin, without)
            whole = reader.wait() == 0
            if whole:  # else psql meets the end of its input outside a commit, and the server rolls back
                writer.stdin.write(b"COMMIT;\n")
        except BrokenPipeError:  # psql has stopped at an error and says which
            whole = False
        finally:
            for pipe in (writer.stdin, reader.stdout):
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
            reader.wait()
            status = writer.wait()
        if status or not whole:
            said.seek(0)
            raise DumpFailed(f"the backup cannot be replayed, and the library is as it was: {_words(said.read().decode(errors='replace'))}")


def _pour(source: IO[bytes], sink: IO[bytes], without: bytes | None) -> None:
    """Copy SQL, leaving out a setting that stands before the first statement."""
    for line in source:
        if without is None or not line.startswith(without):
            sink.write(line)
        if FIRST_STATEMENT.match(line):
            break
    shutil.copyfileobj(source, sink)


def _objects() -> list[tuple[str, str]]:
    """Return kind and name of what our migrations make, in their order."""
    made = re.findall(r"^CREATE (TABLE|VIEW|MATERIALIZED VIEW|FUNCTION) (\w+)", "\n".join(text for _, _, text in migrations()), flags=re.MULTILINE)
    return [("TABLE", "schema_version"), *made]


def _programs(connection: Connection) -> Path:
    """Return a folder with programs at least as new as the server, as pg_dump wants them."""
    major = connection.info.server_version // 10000
    if major <= WHEEL_MAJOR:
        return find_programs(None)
    for folder in (SYSTEM_FOLDERS.format(major=major), os.defpath):
        found = shutil.which("pg_dump", path=folder)
        if found is not None and _major(found) >= major:
            return Path(found).parent
    raise RequestError(f"the server is PostgreSQL {major}: install its client programs (apt-get install postgresql-client-{major})")


def _major(program: str) -> int:
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"\d+", told)
    return int(found.group()) if found else 0


def _environment(connection: Connection) -> dict[str, str]:
    """Return what tells libpq's programs where the connection goes."""
    told = connection.info.get_parameters() | ({"password": connection.info.password} if connection.info.password else {})
    names = {option.keyword.decode(): option.envvar.decode() for option in Conninfo.get_defaults() if option.envvar}
    return {"PATH": os.defpath, "LC_ALL": "C"} | {names[keyword]: str(value) for keyword, value in told.items() if keyword in names}


def _words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in lines if "error:" in line.lower() or "fatal:" in line.lower()), lines[0] if lines else "it says nothing")

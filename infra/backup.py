"""Backup and restore: the database and the artifacts in one folder; a backup that was not finished changes nothing of the one before.

    backup.json            what the backup holds; written last, in one step: the backup is what this file says
    database-STAMP.dump    pg_dump's custom format, of one snapshot
    artifacts-STAMP.tsv    key, bytes and SHA-256 of every artifact
    artifacts/ab/ab…       the artifacts; what is there already is not copied again

The database comes first, then the artifacts: they are named by what they were made from, so that later ones do no harm. An artifact leaves
the folder when neither the store nor the database names it any more. Settings, model files and media are not part of a backup; the vector
index is made from the database. Restoring replaces the library in one transaction: it is the old one or the new one.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from asd_core.errors import RequestError, RollcallError
from infra.artifacts import FOLDER
from infra.catalog import dump
from infra.catalog.connection import Catalog, migrations
from infra.objects import FolderStore, ObjectStore

FORMAT = "rollcall.backup/1"
MANIFEST = "backup.json"
LOCK = "backup.lock"
Progress = Callable[[str, float, float], None]


class BackupDamaged(RollcallError):
    """The folder holds no whole backup; the message says what is missing or changed."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file of the backup."""

    file: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What `backup.json` says: of which state of the library it is, and what belongs to it."""

    format: str
    made_at: str
    schema: int
    assets: int
    database: Part
    artifacts: Part
    count: int  # artifacts
    bytes: int  # of all of them


@dataclass(frozen=True, slots=True)
class Copied:
    """What a backup or a restore did with the artifacts: `missing` are analyses that a finished asset names and nobody has."""

    manifest: Manifest
    copied: int
    kept: int
    missing: int = 0
    damaged: int = 0


def ignore_progress(_: str, __: float, ___: float) -> None:
    """Show nothing."""


def back_up(catalog: Catalog, objects: ObjectStore, target: Path, *, on_progress: Progress = ignore_progress) -> Copied:
    """Bring the backup in a folder to the library's present state.

    Raises:
        RequestError: the folder holds something else, or another backup writes to it.
        Unavailable: database or store cannot be reached; the backup is as it was.
    """
    kept = FolderStore(target)
    with _alone(target):
        before = {key: (size, sha256) for key, size, sha256 in _entries(target, _read(kept))} if kept.stat(MANIFEST) else {}
        made_at = datetime.datetime.now(datetime.UTC)
        stamp = made_at.strftime("%Y%m%dT%H%M%S%f")
        on_progress("database", 0, 1)
        with catalog.reading() as connection:
            (assets,) = connection.execute("SELECT count(*) FROM asset").fetchone() or (0,)
            named, wanted = dump.named_artifacts(connection)
            dump.write(connection, target / f"database-{stamp}.dump")
        on_progress("database", 1, 1)
        entries, copied = _copy_artifacts(objects, kept, before, named, on_progress)
        listing = target / f"artifacts-{stamp}.tsv"
        listing.write_text("".join(f"{key}\t{size}\t{sha256}\n" for key, (size, sha256) in sorted(entries.items())), encoding="ascii")
        manifest = Manifest(
            format=FORMAT,
            made_at=made_at.isoformat(timespec="seconds"),
            schema=migrations()[-1][0],
            assets=assets,
            database=_part(target / f"database-{stamp}.dump"),
            artifacts=_part(listing),
            count=len(entries),
            bytes=sum(size for size, _ in entries.values()),
        )
        kept.put(MANIFEST, json.dumps(asdict(manifest), indent=1).encode())
        _tidy(kept, {MANIFEST, LOCK, manifest.database.file, manifest.artifacts.file, *map(_object_key, entries)})
    return Copied(manifest, copied, len(entries) - copied, missing=len(wanted - entries.keys()))


def restore(catalog: Catalog, objects: ObjectStore, source: Path, *, replace: bool = False, on_progress: Progress = ignore_progress) -> Copied:
    """Put the library of a backup in place of an empty one, or, if told to `replace`, of any; bring it to this program's schema.

    Nobody else may use the library meanwhile. What was in the store stays there. A snapshot of an index knows by itself whether it is of the log
    that was brought back.

    Raises:
        RequestError: there is a library here already.
        BackupDamaged: the dump is not what the manifest says. A damaged artifact is left out and counted: the next ingest makes it again.
    """
    kept = FolderStore(source)
    manifest = _read(kept)
    if manifest.schema > migrations()[-1][0]:
        raise RequestError(f"the backup is of a newer version of rollcall (schema {manifest.schema}); update rollcall")
    if not replace and not dump.is_empty(catalog):
        raise RequestError("there is a library here already; --replace puts the backup in its place")
    entries = list(_entries(source, manifest))
    on_progress("checking", 0, 1)
    _check(source, manifest.database)
    copied = damaged = 0
    for number, (key, size, sha256) in enumerate(entries):
        on_progress("artifacts", number, len(entries))
        there = objects.stat(_object_key(key))
        if there is not None and there.size == size:
            continue
        data = kept.get(_object_key(key))
        if data is None or hashlib.sha256(data).hexdigest() != sha256:
            damaged += 1
            continue
        objects.put(_object_key(key), data)
        copied += 1
    on_progress("database", 0, 1)
    dump.replace_with(catalog, source / manifest.database.file)
    on_progress("database", 1, 1)
    return Copied(manifest, copied, len(entries) - copied - damaged, damaged=damaged)


def _copy_artifacts(
    objects: ObjectStore, kept: FolderStore, before: dict[str, tuple[int, str]], named: set[str], on_progress: Progress
) -> tuple[dict[str, tuple[int, str]], int]:
    """Copy what the folder lacks; return all that the backup then holds by key, and how many were copied."""
    held = {key: facts for key, facts in before.items() if key in named and _is_there(kept, key, facts[0])}
    copied = 0
    for number, info in enumerate(objects.list(f"{FOLDER}/")):  # as it comes: nobody knows how many there are
        on_progress("artifacts", number, 0)
        key = info.key.rpartition("/")[2]
        if key in before and before[key][0] == info.size and _is_there(kept, key, info.size):
            held[key] = before[key]
        elif (data := objects.get(info.key)) is not None:  # else it was damaged or forgotten a moment ago
            kept.put(_object_key(key), data)
            held[key] = (len(data), hashlib.sha256(data).hexdigest())
            copied += 1
    return held, copied


def _object_key(key: str) -> str:
    return f"{FOLDER}/{key[:2]}/{key}"


def _is_there(kept: FolderStore, key: str, size: int) -> bool:
    there = kept.stat(_object_key(key))
    return there is not None and there.size == size


def _read(kept: FolderStore) -> Manifest:
    text = kept.get(MANIFEST)
    if text is None:
        raise RequestError(f"{kept.root} holds no backup: {MANIFEST} is missing")
    try:
        told: dict[str, Any] = json.loads(text)
        if told["format"] != FORMAT:
            raise RequestError(f"{kept.root} holds a backup of another form: {told['format']}")
        return Manifest(**told | {"database": Part(**told["database"]), "artifacts": Part(**told["artifacts"])})
    except (ValueError, TypeError, KeyError) as error:
        raise BackupDamaged(f"{kept.root / MANIFEST} cannot be read: {error}") from error


def _entries(folder: Path, manifest: Manifest) -> Iterator[tuple[str, int, str]]:
    """Yield key, size and SHA-256 of the artifacts of a backup."""
    _check(folder, manifest.artifacts)
    for line in (folder / manifest.artifacts.file).read_text(encoding="ascii").splitlines():
        key, size, sha256 = line.split("\t")
        yield key, int(size), sha256


def _check(folder: Path, part: Part) -> None:
    path = folder / Path(part.file).name
    if not path.is_file():
        raise BackupDamaged(f"{path} is missing")
    if _part(path) != part:
        raise BackupDamaged(f"{path} is not what it was when the backup was made")


def _part(path: Path) -> Part:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        os.fsync(stream.fileno())
        return Part(path.name, os.fstat(stream.fileno()).st_size, digest)


@contextlib.contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Make the folder where it is missing, refuse one that holds something else, and keep a second backup out of it."""
    try:
        target.mkdir(parents=True, exist_ok=True, mode=0o700)  # faces and names
        ours = (target / MANIFEST).exists() or (target / LOCK).exists() or not any(target.iterdir())
    except OSError as error:
        raise RequestError(f"cannot write to {target}: {error.strerror}") from error
    if not ours:
        raise RequestError(f"{target} holds other files; name a new folder, or that of an earlier backup")
    with (target / LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RequestError(f"another backup writes to {target}") from None
        yield


def _tidy(kept: FolderStore, wanted: set[str]) -> None:
    """Remove what earlier and unfinished backups left."""
    for info in list(kept.list()):
        if info.key not in wanted:
            kept.delete(info.key)

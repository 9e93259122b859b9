"""Media fetched from buckets: a cache of bounded size on this machine, which several processes share.

A file lies under the SHA-256 of its bytes, which is taken while they come, so that nothing is read twice. It is written under a temporary
name, synced and renamed; a process that is killed leaves only such a part behind, which the next one removes. Files in use are locked and
never removed; of the others those go first that were used least recently. What is in use may exceed the bound, or nothing could be done.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from asd_core.errors import Unavailable
from infra.objects import TEMPORARY
from infra.s3 import Replaced, S3Store

CHUNK = 1 << 20  # bytes that are read, hashed and written at a time
PATIENCE_SECONDS = 60.0  # without a byte from a service that is out of reach; it goes on where it stopped
WAIT_SECONDS = 0.5
YOUNG_SECONDS = 60.0  # a part this young may not be locked yet, a folder may be about to be used
NOTE = ".note"
NOTE_SECONDS = 86400.0  # that what a download found is remembered
LONGEST_NAME = 200  # bytes; a key's last part may be longer than a file system takes
FULL = {errno.ENOSPC, errno.EDQUOT}


class Fetched:
    """A file of the cache that stays until `close`."""

    def __init__(self, path: Path, sha256: str, descriptor: int) -> None:
        self.path, self.sha256, self._descriptor = path, sha256, descriptor

    def close(self) -> None:
        """Let the file be removed when there is need."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class MediaCache:
    """The cache in a folder, of at most `limit` bytes."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit

    def fetch(
        self, store: S3Store, key: str, *, version: str, size: int, sha256: str | None = None, check: Callable[[], None] = lambda: None
    ) -> Fetched:
        """Return an object's bytes as a file; they come from the service only where they are not here.

        Args:
            store: the bucket.
            key: of the object.
            version: that is wanted, and no other.
            size: bytes of it.
            sha256: of its bytes, where it is known.
            check: called for every chunk; what it raises ends the download.

        Raises:
            NotFound: there is no such object.
            Replaced: it is another by now.
            Unavailable: the service stays out of reach, or the disk is full.
        """
        name = os.fsdecode(os.fsencode(key.rsplit("/", 1)[-1])[-LONGEST_NAME:])
        with _told(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._alone(f"{store!r} {key} {version}", check) as note:
                sha256 = sha256 or note.read().decode() or None
                held = self._hold(sha256, name, size) if sha256 is not None else None
                while held is None:
                    found = self._download(store, key, version, size, name, check)
                    if sha256 is not None and found != sha256:
                        raise Replaced(f"{key} in the bucket {store.bucket} has changed without a new version; it is tried again in the next run")
                    held = self._hold(found, name, size)  # None: it was removed in this instant
                note.seek(0)
                note.write(held.sha256.encode())
        return held

    def _path(self, sha256: str, name: str) -> Path:
        return self.folder / sha256 / name  # by its own name: errors of a file say how it is called

    def _hold(self, sha256: str, name: str, size: int) -> Fetched | None:
        path = self._path(sha256, name)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        facts = os.fstat(descriptor)
        if facts.st_nlink == 0 or facts.st_size != size:
            os.close(descriptor)
            return None
        os.utime(descriptor)
        return Fetched(path, sha256, descriptor)

    # ---- from the service ----

    @contextlib.contextmanager
    def _alone(self, what: str, check: Callable[[], None]) -> Iterator[BinaryIO]:
        """Give the note about an object, in which its hash is kept; one at a time downloads it, the others wait."""
        path = self.folder / f"{hashlib.sha256(what.encode()).hexdigest()}{NOTE}"
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b") as note:
            while not _lock(note.fileno()):
                check()
                time.sleep(0.05)
            yield note

    def _download(self, store: S3Store, key: str, version: str, size: int, name: str, check: Callable[[], None]) -> str:
        """Place the bytes under their hash, and return it."""
        self._make_room(size)
        descriptor, part = tempfile.mkstemp(prefix=TEMPORARY, dir=self.folder)
        try:
            with os.fdopen(descriptor, "wb") as target:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                sha256 = _copy(store, key, version, size, target, check)
                target.flush()
                os.fsync(descriptor)
                path = self._path(sha256, name)
                path.parent.mkdir(exist_ok=True, mode=0o700)
                Path(part).replace(path)
        except BaseException as error:
            Path(part).unlink(missing_ok=True)
            if isinstance(error, OSError) and error.errno in FULL:
                self._make_room(self.limit)  # so that another try may find room
            raise
        return sha256

    # ---- room ----

    def _make_room(self, size: int) -> None:
        """Remove what was used least recently until so many bytes more keep the bound, and what killed processes left."""
        now, coming = time.time(), size
        files: list[tuple[float, int, Path]] = []
        for path, facts in _files(self.folder):
            old = now - facts.st_mtime > (NOTE_SECONDS if path.suffix == NOTE else YOUNG_SECONDS)
            if path.parent != self.folder:
                files.append((facts.st_mtime, facts.st_size, path))
            elif not (old and _remove_unused(path)) and path.suffix != NOTE:
                coming += facts.st_size
        left = coming + sum(length for _, length, _ in files)
        for _, length, path in sorted(files):
            if left <= self.limit:
                return
            if _remove_unused(path):
                left -= length


def _copy(store: S3Store, key: str, version: str, size: int, target: BinaryIO, check: Callable[[], None]) -> str:
    """Write an object's bytes as they come, over breaks of the line; return their SHA-256."""
    hashing, done, heard = hashlib.sha256(), 0, time.monotonic()
    while done < size:
        check()
        try:
            with store.open(key, start=done, version=version) as stream:
                while chunk := stream.read(CHUNK):
                    check()
                    target.write(chunk)
                    hashing.update(chunk)
                    done, heard = done + len(chunk), time.monotonic()
            if done < size:
                raise Unavailable(f"{key} in the bucket {store.bucket} ends after {done} of {size} bytes")
        except Replaced:
            raise
        except Unavailable:
            if time.monotonic() - heard > PATIENCE_SECONDS:
                raise
            time.sleep(WAIT_SECONDS)
    return hashing.hexdigest()


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for here, folders, names in os.walk(folder):
        if not folders and not names and time.time() - Path(here).stat().st_mtime > YOUNG_SECONDS:
            with contextlib.suppress(OSError):
                Path(here).rmdir()
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                yield Path(here, name), Path(here, name).stat()


def _remove_unused(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        if not _lock(descriptor):
            return False
        path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)
    return True


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"cannot keep media in {folder}: {error.strerror}") from error

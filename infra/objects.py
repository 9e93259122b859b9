"""Object stores: named bytes in a folder, or in a bucket (infra.s3).

A key is a relative path with `/` between its parts. Contract of every store (tests/contract/test_objects.py): `put` is atomic (a reader
sees the old bytes, the new ones or nothing), durable when it returns, and replaces; `get` and `stat` of what is not there give None;
`delete` of what is not there is no error; `list` is sorted by key.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from asd_core.errors import NotFound, RequestError, Unavailable

SCHEME = "s3://"
TEMPORARY = ".part-"  # begins the names of files that are still being written


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store says about an object: `version` changes whenever the bytes may have changed (mtime or etag)."""

    key: str
    size: int  # bytes
    version: str


@dataclass(frozen=True, slots=True)
class S3Url:
    """`s3://bucket/key`; the key may be empty, or begin the names of many objects."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, url: str) -> S3Url:
        """Return the parts of a URL.

        Raises:
            RequestError: it is none.
        """
        bucket, _, key = url.removeprefix(SCHEME).partition("/")
        if not url.startswith(SCHEME) or not bucket:
            raise RequestError(f"not the URL of a bucket: {url!r}; it looks like s3://bucket/prefix")
        return cls(bucket, key)

    @property
    def folder(self) -> str:
        """Return what the keys below it begin with."""
        return f"{self.key.rstrip('/')}/" if self.key.rstrip("/") else ""

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.key}"


class Stream(Protocol):
    """Bytes of an object as they come."""

    def read(self, size: int = -1, /) -> bytes:
        """Return so many bytes, fewer only at the end; all that are left without a size."""

    def close(self) -> None:
        """Let go of what it is read from."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None: ...


class ObjectStore(Protocol):
    """A place for named bytes."""

    def check(self) -> None:
        """Raise RequestError or Unavailable where nothing can be stored, before work is done for it."""

    def put(self, key: str, data: bytes) -> None:
        """Store bytes under a key."""

    def get(self, key: str) -> bytes | None:
        """Return the bytes, None where there are none."""

    def open(self, key: str, *, start: int = 0, length: int | None = None) -> Stream:
        """Return a stream of the bytes [start, start + length); raises NotFound."""

    def stat(self, key: str) -> ObjectInfo | None:
        """Return size and version, None where there is nothing."""

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield what begins with `prefix`, sorted by key."""

    def delete(self, key: str) -> None:
        """Remove an object, if it is there."""


def check_key(key: str) -> str:
    """Return a key that every store takes; raises RequestError for any other."""
    if not key or "\\" in key or "\0" in key or any(part in {"", ".", ".."} or part.startswith(TEMPORARY) for part in key.split("/")):
        raise RequestError(f"not an object name: {key!r}")
    return key


class _Range:
    """A stream that ends after `length` bytes."""

    def __init__(self, stream: Stream, length: int) -> None:
        self._stream, self._left = stream, length

    def read(self, size: int = -1, /) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._stream.read(wanted)
        self._left -= len(data)
        return data

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        self.close()


class FolderStore:
    """Objects as files below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def _path(self, key: str) -> Path:
        return self.root.joinpath(*check_key(key).split("/"))

    def check(self) -> None:
        """Raise Unavailable where the folder cannot be written."""
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            tempfile.TemporaryFile(dir=self.root).close()
        except OSError as error:
            raise Unavailable(f"cannot write {self.root}: {error.strerror}") from error

    def put(self, key: str, data: bytes) -> None:
        """Store bytes under a key: temporary name, sync, rename, sync of the folder."""
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, temporary = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)
            try:
                with os.fdopen(descriptor, "wb") as stream:
                    stream.write(data)
                    stream.flush()
                    os.fsync(stream.fileno())
                Path(temporary).replace(path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
            _sync_folder(path.parent)
        except OSError as error:
            raise Unavailable(f"cannot write {path}: {error.strerror}") from error

    def get(self, key: str) -> bytes | None:
        """Return the bytes, None where there are none."""
        try:
            return self._path(key).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise Unavailable(f"cannot read {key}: {error.strerror}") from error

    def open(self, key: str, *, start: int = 0, length: int | None = None) -> Stream:
        """Return a stream of the bytes [start, start + length), to the end without a length."""
        try:
            stream = self._path(key).open("rb")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise NotFound(f"no object {key}") from error
        stream.seek(start)
        return stream if length is None else _Range(stream, length)

    def stat(self, key: str) -> ObjectInfo | None:
        """Return size and version, None where there is nothing."""
        path = self._path(key)
        try:
            facts = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return ObjectInfo(key, facts.st_size, str(facts.st_mtime_ns)) if path.is_file() else None

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield what begins with `prefix`, sorted by key."""
        found = []
        for folder, _, names in os.walk(self.root):
            for name in names:
                key = Path(folder, name).relative_to(self.root).as_posix()
                if key.startswith(prefix) and not name.startswith(TEMPORARY):
                    found.append(key)
        for key in sorted(found):
            info = self.stat(key)
            if info is not None:
                yield info

    def delete(self, key: str) -> None:
        """Remove an object, if it is there."""
        self._path(key).unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

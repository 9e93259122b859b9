"""Where media lie: files of this machine, and objects of buckets, whose bytes are fetched when they are wanted (infra.fetched).

A place is named by a uri: `/a/path` or `s3://bucket/key`. Its version changes when it is written.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from infra.objects import SCHEME, ObjectInfo, S3Url

if TYPE_CHECKING:
    from infra.fetched import Fetched, MediaCache
    from infra.s3 import S3Service
    from infra.settings import Settings

GIGABYTE = 1 << 30
CHUNK = 1 << 20  # bytes that are hashed at a time
Check = Callable[[], None]


def is_object(uri: str) -> bool:
    """Say whether a uri means a bucket or what lies in one."""
    return uri.startswith(SCHEME)


def as_uri(given: Path | str) -> str:
    """Return the uri of a place as a user gives it: links keep their names."""
    return given if isinstance(given, str) and is_object(given) else os.path.abspath(given)  # noqa: PTH100 -- Path.resolve follows links


def below(uri: str) -> str:
    """Return what the uris of everything in a folder or under a prefix begin with."""
    if not is_object(uri):
        return f"{uri.rstrip('/')}/"
    parts = S3Url.parse(uri)
    return str(S3Url(parts.bucket, parts.folder))


def file_version(path: Path) -> str:
    """Return what changes when a file is written: its time and size."""
    stat = path.stat()
    return f"{stat.st_mtime_ns}-{stat.st_size}"


class Places:
    """All places that the settings open. No service is asked before something of it is wanted. Safe for several threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opening = threading.Lock()

    @cached_property
    def _service(self) -> S3Service:
        from infra.s3 import S3Service  # only now: the client is slow to import

        return S3Service(self._settings.s3)

    @cached_property
    def _cache(self) -> MediaCache:
        from infra.fetched import MediaCache

        return MediaCache(self._settings.home / "cache" / "media", int(self._settings.media_cache_gigabytes * GIGABYTE))

    def stat(self, uri: str) -> ObjectInfo | None:
        """Return size and version of what lies at a place, under its uri; None where there is nothing."""
        if not is_object(uri):
            path = Path(uri)
            return ObjectInfo(uri, path.stat().st_size, file_version(path)) if path.is_file() else None
        parts = S3Url.parse(uri)
        found = self._opened().store(parts.bucket).stat(parts.key)
        return replace(found, key=uri) if found is not None else None

    def list(self, url: str) -> Iterator[ObjectInfo]:
        """Yield what lies below `s3://bucket/prefix`, by the rest of its key, sorted, as the listing comes."""
        return self._opened().at(url).list()

    def copy(self, uri: str, *, version: str, size: int, sha256: str | None = None) -> Copy:
        """Return the bytes of a version of a place as a file; nothing is fetched before its path is asked for."""
        if not is_object(uri):
            return Copy(Path(uri))
        parts = S3Url.parse(uri)
        store = self._opened().store(parts.bucket)
        return Copy(lambda check: self._cache.fetch(store, parts.key, version=version, size=size, sha256=sha256, check=check))

    def put(self, url: str, path: Path) -> None:
        """Store a file as the object `s3://bucket/key`."""
        parts = S3Url.parse(url)
        self._opened().store(parts.bucket).put_file(parts.key, path)

    def _opened(self) -> S3Service:
        with self._opening:
            return self._service


class Copy:
    """A place's bytes as a file of this machine, which stays as it is until `close`. Safe for several threads."""

    def __init__(self, source: Path | Callable[[Check], Fetched]) -> None:
        self._source = source
        self._fetched: Fetched | None = None
        self._fetching = threading.Lock()

    def path(self, check: Check = lambda: None) -> Path:
        """Return where the file lies; an object is fetched at the first call.

        Args:
            check: called every so many bytes; what it raises ends the fetching.

        Raises:
            NotFound: there is no such object.
            Unavailable: its service is out of reach, it is another by now, or there is no room.
        """
        return self._source if isinstance(self._source, Path) else self._held(self._source, check).path

    def sha256(self, check: Check = lambda: None) -> str:
        """Return the SHA-256 of the bytes; errors as of `path`."""
        return _hashed(self._source, check) if isinstance(self._source, Path) else self._held(self._source, check).sha256

    def close(self) -> None:
        """Let the cache remove the file when it needs room."""
        with self._fetching:
            if self._fetched is not None:
                self._fetched.close()
                self._fetched = None

    def _held(self, fetch: Callable[[Check], Fetched], check: Check) -> Fetched:
        with self._fetching:
            if self._fetched is None:
                self._fetched = fetch(check)
            return self._fetched


def _hashed(path: Path, check: Check) -> str:
    hashing = hashlib.sha256()
    with path.open("rb", buffering=0) as stream:
        while chunk := stream.read(CHUNK):
            check()
            hashing.update(chunk)
    return hashing.hexdigest()

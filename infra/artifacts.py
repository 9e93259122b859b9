"""Artifacts: what stages leave behind, under the key of the work that made them.

An artifact carries its own checksum (infra.codec); one that is missing or damaged is made again, never trusted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from asd_core.errors import ArtifactDamaged, RequestError
from infra.codec import encode, unpack

T = TypeVar("T")
FOLDER = "artifacts"
ASKED_AT_ONCE = 16


class _Stat(Protocol):
    @property
    def key(self) -> str: ...
    @property
    def size(self) -> int: ...


class _Objects(Protocol):
    """What artifacts need of an object store."""

    def put(self, key: str, data: bytes) -> None: ...
    def get(self, key: str) -> bytes | None: ...
    def stat(self, key: str) -> _Stat | None: ...
    def list(self, prefix: str = "") -> Iterator[_Stat]: ...
    def delete(self, key: str) -> None: ...


class ArtifactStore:
    """Records by key (hexadecimal digits, a SHA-256 as a rule)."""

    def __init__(self, objects: _Objects) -> None:
        self._objects = objects

    @staticmethod
    def object_key(key: str) -> str:
        """Return the name in the object store; the first two digits make folders of bearable size."""
        if not re.fullmatch(r"[0-9a-f]{8,128}", key):
            raise RequestError(f"not an artifact key: {key!r}")
        return f"{FOLDER}/{key[:2]}/{key}"

    def has(self, key: str) -> bool:
        """Say whether something is stored under a key; `load` says whether it is whole."""
        return self._objects.stat(self.object_key(key)) is not None

    def present(self, keys: Iterable[str]) -> frozenset[str]:
        """Return those of the keys under which something is stored; many are asked for at a time, since a bucket takes milliseconds for each."""
        with ThreadPoolExecutor(ASKED_AT_ONCE, thread_name_prefix="present") as pool:
            return frozenset(key for key, there in pool.map(lambda key: (key, self.has(key)), keys) if there)

    def size(self, key: str) -> int | None:
        """Return the stored bytes, None where there is nothing."""
        stat = self._objects.stat(self.object_key(key))
        return None if stat is None else stat.size

    def load(self, key: str, kind: type[T]) -> T | None:
        """Return the record, None where there is none of this kind; what is damaged is deleted.

        What is whole but of another kind is another version's of this program, which may still want it.
        """
        data = self._objects.get(self.object_key(key))
        if data is None:
            return None
        try:
            packed = unpack(data)
        except ArtifactDamaged:
            self.delete(key)
            return None
        try:
            return packed.build(kind)
        except ArtifactDamaged:
            return None

    def save(self, key: str, record: Any) -> int:
        """Store a record atomically; return its size in bytes."""
        data = encode(record)
        self._objects.put(self.object_key(key), data)
        return len(data)

    def delete(self, key: str) -> None:
        """Remove an artifact, if it is there."""
        self._objects.delete(self.object_key(key))

    def keys(self) -> Iterator[str]:
        """Yield the keys of all artifacts, sorted."""
        for stat in self._objects.list(f"{FOLDER}/"):
            yield stat.key.rsplit("/", 1)[1]

"""Snapshots of an index: files in a folder, and their mirror in the object store.

A snapshot is a FAISS file of all vectors, one of inverted lists where there are any, and a side file (JSON) that names them with their sizes
and checksums and says for which embedder, how many vectors, and at which place of the log. The side file is replaced last and atomically:
a reader sees the old snapshot or the new one, and so does whoever comes after a crash. Writers of all processes of a machine take turns
under a file lock, which ends with the process that holds it.

In the store a file is a run of parts under a name that is never used twice, so the same holds between machines: the last side file wins.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asd_core.errors import Unavailable
from infra.vectors.layer import Layer

if TYPE_CHECKING:
    from infra.objects import ObjectStore

Position = tuple[int, str]
"""A place in a library's log: the number of an entry, and when it was written; so that another library's log is not taken for this one."""
START: Position = (0, "")

FORMAT = 2
LOCK_SECONDS = 60.0
PART = 64 << 20  # bytes of a file in the store that are one object
FOLDER = "vectors"  # in the store
LEFT_OVER = 3600.0  # seconds after which files in the store that no side file names are what a killed writer left


@dataclass(frozen=True, slots=True)
class File:
    """One file of a snapshot."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Side:
    """What a side file says; the first file holds the vectors, the second, if there is one, the lists."""

    model: str
    dimension: int
    count: int
    stands_at: Position
    files: tuple[File, ...]

    def as_json(self) -> bytes:
        """Return the side file."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1).encode()

    @staticmethod
    def from_json(data: bytes) -> Side:
        """Return what a side file says.

        Raises:
            ValueError: it is none.
        """
        try:
            fields = json.loads(data)
            if fields.pop("format") != FORMAT:
                raise ValueError("written by another version")
            number, mark = fields.pop("stands_at")
            files = tuple(File(**file) for file in fields.pop("files"))
            if not 1 <= len(files) <= 2 or any(Path(file.name).name != file.name for file in files):
                raise ValueError("names no files")
            return Side(**fields, stands_at=(int(number), str(mark)), files=files)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a side file: {error}") from error


class Snapshots:
    """The snapshots of one embedder's index: the newest is what counts."""

    def __init__(self, folder: Path, store: ObjectStore | None, *, model: str, dimension: int) -> None:
        """Look into a folder, which is made if it is missing, and into the store, if one is given."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder, self._store, self._model, self._dimension = folder, store, model, dimension
        self._stem = model[:16]

    @property
    def side_path(self) -> Path:
        """Where the side file lies."""
        return self._folder / f"{self._stem}.json"

    def here(self) -> Side | None:
        """Return the side file of the folder, None where there is none that can be used."""
        try:
            return self._ours(self.side_path.read_bytes())
        except OSError:
            return None

    def mirrored(self) -> Side | None:
        """Return the side file of the store, None where there is none that can be used or the store is out of reach."""
        with contextlib.suppress(Unavailable):
            data = self._store.get(self._side_key) if self._store is not None else None
            return None if data is None else self._ours(data)
        return None

    def read(self, side: Side) -> Layer:
        """Map the files that a side file names into memory, their checksums looked at first.

        Raises:
            ValueError: they are not what it says; one clause says what is wrong.
        """
        paths = [self._folder / file.name for file in side.files]
        for path, file in zip(paths, side.files, strict=True):
            if not path.is_file() or path.stat().st_size != file.size:
                raise ValueError(f"{file.name} is missing or cut short")
            with path.open("rb") as stream:
                if hashlib.file_digest(stream, "sha256").hexdigest() != file.sha256:
                    raise ValueError(f"{file.name} does not have the checksum that its side file states")
        layer = Layer.read(paths[0], paths[1] if len(paths) > 1 else None)
        if len(layer) != side.count or layer.dimension != side.dimension:
            raise ValueError(f"{paths[0].name} holds {len(layer)} vectors of {layer.dimension} numbers, expected {side.count} of {side.dimension}")
        return layer

    def lists_path(self, side: Side) -> Path | None:
        """Return the file of a snapshot's lists, None where there is none."""
        path = self._folder / side.files[-1].name
        return path if len(side.files) > 1 and path.is_file() else None

    @contextlib.contextmanager
    def writing(self, *, wait: bool = True) -> Iterator[bool]:
        """Give whether this process is now the only one of this machine that writes.

        Raises:
            Unavailable: another one has been writing for a minute. Without `wait` the block is entered at once, with False.
        """
        deadline = time.monotonic() + LOCK_SECONDS
        with (self._folder / f"{self._stem}.lock").open("a") as lock:
            while not (mine := _locked(lock.fileno())) and wait:
                if time.monotonic() > deadline:
                    raise Unavailable("another process is writing the vector index; try again")
                time.sleep(0.02)
            yield mine

    def write(self, layer: Layer, stands_at: Position) -> Side:
        """Put a layer into new files, then make the side file name them, then drop the old ones. Within `writing`.

        Raises:
            Unavailable: the disk is full or does not let us.
        """
        name = f"{self._stem}-{stands_at[0]}-{time.time_ns():x}"
        names = [f"{name}.faiss", f"{name}.lists.faiss"][: 1 + layer.has_lists]
        paths = [self._folder / name for name in names]
        try:
            layer.write(paths[0], paths[1] if layer.has_lists else None)
            side = Side(self._model, self._dimension, len(layer), stands_at, tuple(_settled(path) for path in paths))
            _replace(self.side_path, side.as_json())
        except OSError as error:
            for path in paths:
                path.unlink(missing_ok=True)
            raise Unavailable(f"the vector index cannot be written: {error.strerror or error}") from error
        self._sweep(side)
        return side

    # ---- the mirror ---------------------------------------------------------------------------------------------------------

    def push(self, side: Side) -> None:
        """Put a snapshot of the folder into the store, if one was given. Within `writing`.

        Raises:
            Unavailable: the store is out of reach; the snapshot stays in the folder.
        """
        if self._store is None:
            return
        before = self.mirrored()
        if before == side:
            return
        for file in side.files:
            with (self._folder / file.name).open("rb") as stream:
                for number, part in enumerate(iter(lambda: stream.read(PART), b"")):
                    self._store.put(f"{FOLDER}/{file.name}/{number:05d}", part)
        self._store.put(self._side_key, side.as_json())
        named, replaced = ({file.name for file in one.files} if one is not None else set() for one in (side, before))
        for found in list(self._store.list(f"{FOLDER}/{self._stem}-")):
            name = found.key.split("/")[1]
            if name not in named and (name in replaced or _age(name) > LEFT_OVER):
                self._store.delete(found.key)

    def fetch(self, side: Side) -> bool:
        """Copy a snapshot of the store into the folder; say whether it came whole. Within `writing`."""
        assert self._store is not None
        try:
            for file in side.files:
                self._fetch(self._store, file)
            _replace(self.side_path, side.as_json())
        except (OSError, ValueError, Unavailable):
            for file in side.files:
                (self._folder / file.name).unlink(missing_ok=True)
            return False
        self._sweep(side)
        return True

    def _fetch(self, store: ObjectStore, file: File) -> None:
        digest = hashlib.sha256()
        with (self._folder / file.name).open("wb") as stream:
            for number in range(-(-file.size // PART)):
                part = store.get(f"{FOLDER}/{file.name}/{number:05d}")
                if part is None:
                    raise ValueError("a part is missing")
                digest.update(part)
                stream.write(part)
            stream.flush()
            os.fsync(stream.fileno())
        if digest.hexdigest() != file.sha256:
            raise ValueError("damaged")

    # ---- within -------------------------------------------------------------------------------------------------------------

    @property
    def _side_key(self) -> str:
        return f"{FOLDER}/{self._stem}.json"

    def _ours(self, data: bytes) -> Side | None:
        try:
            side = Side.from_json(data)
        except ValueError:
            return None
        return side if (side.model, side.dimension) == (self._model, self._dimension) else None

    def _sweep(self, side: Side) -> None:
        """Delete the files that a side file no longer names; who has them mapped keeps them."""
        named = {file.name for file in side.files}
        for path in self._folder.glob(f"{self._stem}-*.faiss"):
            if path.name not in named:
                path.unlink(missing_ok=True)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _settled(path: Path) -> File:
    """Return a file's name, size and checksum once it is on the disk."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        os.fsync(stream.fileno())
    return File(path.name, path.stat().st_size, digest)


def _age(name: str) -> float:
    """Return the seconds since a file was named; 0 for a name that is not ours."""
    try:
        return time.time() - int(name.partition(".")[0].rpartition("-")[2], 16) / 1e9
    except ValueError:
        return 0.0


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new."""
    part = path.with_name(f".part-{path.name}")
    with part.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

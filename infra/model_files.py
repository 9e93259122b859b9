"""Model files from a folder or an https address into a model folder: whole, and what the manifest says, before they are put in place.

The names of the files come from the manifest, never from the address; a file whose manifest states no checksum is not taken.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import hashlib
import http.client
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import IO
from urllib.parse import quote, urlsplit, urlunsplit

from asd_core.errors import ModelMismatch, NotFound, RequestError, Unavailable
from asd_core.models.manifest import Manifest

LARGEST = 2 << 30  # bytes of one file: the largest face network that is published has 0.26 GB
PIECE = 1 << 20
PATIENCE = 60  # seconds without a byte
PART = ".part-"
FULL = (errno.ENOSPC, errno.EDQUOT)


def pull_model(manifest: Manifest, source: str, target: Path, *, largest: int = LARGEST) -> tuple[Path, ...]:
    """Copy the files of a model into a folder, and return where they are; all of them or none.

    Args:
        manifest: says which files these are.
        source: a folder that holds them, or an https address below which they lie.
        target: the folder to put them in, created when missing.
        largest: bytes that one file may have.

    Raises:
        RequestError: the source is neither a folder nor an https address, or a file has no checksum to be compared with.
        NotFound: a file is not there.
        ModelMismatch: a file is not the one that the manifest describes.
        Unavailable: the address does not answer, or the target cannot be written; a full disk is called that.
    """
    unknown = [entry.file for entry in manifest.files.values() if entry.sha256 is None]
    if unknown:
        raise RequestError(f"the manifest of {manifest.name} states no sha256 for {unknown[0]}, so what comes could not be checked")
    _check_source(source)
    with _writing(target), contextlib.ExitStack() as stack:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        _clear_parts(target)
        written = []
        for entry in manifest.files.values():
            part = stack.enter_context(_part_file(target))
            with contextlib.closing(_pieces(source, entry.file)) as pieces:
                digest = _copy(pieces, part, entry.file, largest)
            if digest != entry.sha256:
                raise ModelMismatch(
                    f"{entry.file} from {_shown(source)} is not the file that the manifest of {manifest.name} describes; nothing was kept"
                )
            written.append((Path(part.name), target / entry.file))
        for path, final in written:
            path.replace(final)
    return tuple(final for _, final in written)


def place_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all.

    Raises:
        Unavailable: the folder cannot be written.
    """
    with _writing(path.parent), _part_file(path.parent) as part:
        part.write(text.encode())
        part.flush()
        os.fsync(part.fileno())
        Path(part.name).replace(path)


def source_folder(source: str) -> Path:
    """Return the folder that a source names, a leading `~` resolved.

    Raises:
        NotFound: it begins with the home of a user who is not known.
    """
    try:
        return Path(source).expanduser()
    except RuntimeError as error:
        raise NotFound(f"no such folder: {source}") from error


def _check_source(source: str) -> None:
    if "://" not in source:
        if not source_folder(source).is_dir():
            raise NotFound(f"no such folder: {source}")
        return
    try:
        address = urlsplit(source)
    except ValueError as error:
        raise RequestError(f"not an address: {error}") from error
    if address.scheme != "https" or not address.hostname:
        raise RequestError(f"models are fetched by https only, not from {_shown(source)}")
    if address.username is not None:
        raise RequestError(f"an address with a name and password is not taken; fetch the files of {_shown(source)} into a folder and name that")


def _shown(source: str) -> str:
    """Return a source without what may be a secret in an address: name and password, query."""
    if "://" not in source:
        return source
    address = urlsplit(source)
    return urlunsplit((address.scheme, address.netloc.rpartition("@")[2], address.path, "", ""))


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Say of which folder it was that something could not be written."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise Unavailable(f"the disk of {folder} is full; nothing was kept") from error
        raise Unavailable(f"{folder} cannot be written: {error.strerror}; nothing was kept") from error


@contextlib.contextmanager
def _part_file(folder: Path) -> Iterator[IO[bytes]]:
    """Give a file under a passing name, locked; what was not renamed by the end is removed."""
    while True:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=PART, delete=False) as part:
            fcntl.flock(part, fcntl.LOCK_EX)
            if os.fstat(part.fileno()).st_nlink == 0:
                continue  # another pull cleared it before it was locked
            try:
                yield part
            finally:
                Path(part.name).unlink(missing_ok=True)
            return


def _clear_parts(folder: Path) -> None:
    """Remove what killed processes left: the lock of a part ends with its process. What is locked or another user's stays."""
    for path in folder.glob(f"{PART}*"):
        with contextlib.suppress(OSError), path.open("rb+") as part:
            fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def _pieces(source: str, file: str) -> Generator[bytes, None, None]:
    """Yield a file of a source piece by piece. A generator, so that only its own errors are told as those of the source."""
    if "://" not in source:
        path = source_folder(source) / file
        if not path.is_file():
            raise NotFound(f"{source} holds no {file}")
        try:
            with path.open("rb") as stream:
                yield from iter(functools.partial(stream.read, PIECE), b"")
        except OSError as error:
            raise Unavailable(f"{path} cannot be read: {error.strerror}") from error
        return
    address = urlsplit(source)
    url = urlunsplit(address._replace(path=f"{address.path.rstrip('/')}/{quote(file)}", fragment=""))
    try:
        with urllib.request.build_opener(_HttpsOnly).open(url, timeout=PATIENCE) as answer:  # the scheme was checked
            yield from iter(functools.partial(answer.read, PIECE), b"")
    except urllib.error.HTTPError as error:
        error.close()
        kind = NotFound if error.code in {403, 404, 410} else Unavailable
        raise kind(f"{_shown(source)} does not give {file}: {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"{file} could not be fetched from {_shown(source)}: {getattr(error, 'reason', error)}") from error


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirections that stay with https."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        if urlsplit(newurl).scheme != "https":
            raise RequestError(f"{_shown(req.full_url)} leads to {_shown(newurl)}; models are fetched by https only")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _copy(pieces: Iterable[bytes], part: IO[bytes], file: str, largest: int) -> str:
    """Write all pieces and return the SHA-256 of what came."""
    digest, size = hashlib.sha256(), 0
    for piece in pieces:
        size += len(piece)
        if size > largest:
            raise RequestError(f"{file} is larger than {largest / 1e6:.0f} MB; nothing was kept")
        digest.update(piece)
        part.write(piece)
    part.flush()
    os.fsync(part.fileno())
    return digest.hexdigest()

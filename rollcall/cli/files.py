"""Files that commands read and write: asked for clearly, checked before the work begins, whole or not there."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

STDOUT = "-"


def media_file(path: Path) -> Path:
    """Return the path of a file that can be read.

    Raises:
        NotFound: there is none.
        RequestError: it is a folder, or may not be read.
    """
    from asd_core.errors import NotFound, RequestError

    if path.is_dir():
        raise RequestError(f"{path} is a folder; rollcall ingest {path} takes all of it")
    if not path.exists():
        raise NotFound(f"no such file: {path}")
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise RequestError(f"{os.fsencode(path).decode('utf-8', 'backslashreplace')}: its name is not UTF-8; rename it") from None
    if not path.is_file() or not os.access(path, os.R_OK):
        raise RequestError(f"{path} cannot be read")
    return path


def sha256_of(path: Path) -> str:
    """Return the hex digest by which the file is known as an asset."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_writable(*paths: Path | None) -> None:
    """Refuse, before the work begins, what could not be written at its end; `-` is stdout.

    Raises:
        RequestError: a folder is missing or may not be written, or the path is a folder.
    """
    from asd_core.errors import RequestError

    for path in paths:
        if path is None or str(path) == STDOUT:
            continue
        if path.is_dir():
            raise RequestError(f"{path} is a folder; name a file")
        if not path.absolute().parent.is_dir():
            raise RequestError(f"no such folder: {path.absolute().parent}")
        if not os.access(path.absolute().parent, os.W_OK):
            raise RequestError(f"{path.absolute().parent} may not be written")


def write_text(path: Path, text: str) -> None:
    """Write text to a file in one step, or to stdout for `-`."""
    if str(path) == STDOUT:
        sys.stdout.write(text)
        return
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8", newline="")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)

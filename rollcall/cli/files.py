"""Files that commands read: asked for clearly, refused in words. What they write is in `outputs`."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


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

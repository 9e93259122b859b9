"""Files that commands write: refused before the work begins where they cannot be written, whole or not there afterwards.

A regular file is replaced in one step, also where a link leads to it. Devices, pipes and sockets are written to, never replaced.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

STDOUT = "-"
LONGEST_BEGINNING = 40  # characters of a name that its temporary name repeats: the longest names leave no room for more


def check_writable(*texts: Path | None, film: Path | None = None, source: Path | None = None) -> None:
    """Refuse what could not be written in the end; `-` is stdout.

    Args:
        texts: written by `write_text`.
        film: written by replacing what is there, so that it must be a regular file or none.
        source: what is read; nothing may be written over it.

    Raises:
        RequestError: a folder is missing or may not be written, the path is a folder, two outputs are one, or one is the source.
    """
    from asd_core.errors import RequestError

    named = [path for path in (*texts, film) if path is not None]
    for place, path in enumerate(named):
        if path is film or str(path) != STDOUT:
            _check_place(path, replaced=path is film)
        if source is not None and _is_same(path, source):
            raise RequestError(f"{path} is what is read; name another file")
        if any(_is_same(path, other) for other in named[:place]):
            raise RequestError(f"{path} is named for two outputs")


def _check_place(path: Path, *, replaced: bool) -> None:
    from asd_core.errors import RequestError

    if path.is_dir():
        raise RequestError(f"{path} is a folder; name a file")
    if path.exists() and not path.is_file():
        if replaced:
            raise RequestError(f"{path} is no regular file; a video cannot be written there")
        if not os.access(path, os.W_OK):
            raise RequestError(f"{path} may not be written")
        return
    folder = path.resolve().parent
    if not folder.is_dir():
        raise RequestError(f"no such folder: {folder}")
    if not os.access(folder, os.W_OK):
        raise RequestError(f"{folder} may not be written")


def _is_same(one: Path, other: Path) -> bool:
    if one.is_file() and other.is_file():
        return one.samefile(other)
    return one == other and (str(one) == STDOUT or not one.exists())


def write_text(path: Path, text: str) -> None:
    """Write text to a file in one step, to a device or pipe as it is, or to stdout for `-`."""
    if str(path) == STDOUT:
        sys.stdout.write(text)
        return
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8", newline="")
        return
    target = path.resolve()
    part = target.with_name(f".{target.name[:LONGEST_BEGINNING]}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8", newline="")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)

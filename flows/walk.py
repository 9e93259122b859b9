"""Which files of a folder are media, what they are called, and whether they have settled."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from asd_core.errors import NotFound, Unavailable
from tasks.stage import file_version

SETTLE_SECONDS = 1.0  # a file that was written to more recently may still grow
PATIENCE_SECONDS = 5.0

# What lies beside programmes in every archive. Any other ending is tried: containers have many.
WORDS = """
txt md rst json jsonl xml yaml yml toml ini cfg conf csv tsv log pdf doc docx xls xlsx html htm css js py sh
srt vtt ass ssa sub idx ttml rttm edl otio aaf fcpxml nfo md5 sha1 sha256
jpg jpeg png gif bmp tif tiff webp svg psd heic exr dpx
zip gz bz2 xz zst tar 7z rar db sqlite onnx npz npy pkl pt pth part tmp lock torrent
"""
NO_MEDIA = frozenset(WORDS.split())


@dataclass(frozen=True, slots=True)
class Found:
    """A file to work on. `name` is its path below the folder that was given, `version` changes when it is written."""

    path: Path
    name: str
    size: int
    version: str

    @property
    def uri(self) -> str:
        """Return where it lies, as the catalog keeps it."""
        return str(self.path)

    @property
    def nameable(self) -> bool:
        """Say whether its path is text: on disk a name may be any bytes, in the catalog, in JSON and on pages it may not."""
        return is_text(self.path)


def is_text(path: Path) -> bool:
    """Say whether a path can be written down as UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def as_text(name: str) -> str:
    r"""Return a name that can be shown: bytes that are no text stand as `\xff`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def walk(paths: Iterable[Path]) -> tuple[list[Found], int]:
    """Return the files to try, sorted by name, and how many others were passed over.

    Folders are walked, without hidden files and folders and without following links to folders. In them, files whose ending says that they
    are no media are passed over, and so is what may not be looked at; a file that is given itself is always tried. What is given twice is
    found once, what goes away meanwhile not at all.

    Raises:
        NotFound: a path is not there.
    """
    found: dict[Path, Found] = {}
    ignored = 0
    for given in paths:
        path = Path(os.path.abspath(given))  # noqa: PTH100 -- links keep their names
        if path.is_dir():
            for file in _files(path):
                if file.suffix.lower().removeprefix(".") in NO_MEDIA or not file.suffix:
                    ignored += 1
                    continue
                try:
                    if file.is_file():
                        _add(found, file, file.relative_to(path).as_posix())
                except FileNotFoundError:
                    continue
                except OSError:
                    ignored += 1
        elif path.is_file():
            _add(found, path, path.name)
        else:
            raise NotFound(f"no file or folder {given}")
    return sorted(found.values(), key=lambda one: (one.name, one.uri)), ignored


def pick(roots: Iterable[Path], uris: Iterable[str]) -> list[Found]:
    """Return the files at these places, whatever they are called, named by their path below the first of the folders that holds them."""
    found: dict[Path, Found] = {}
    folders = [Path(os.path.abspath(root)) for root in roots]  # noqa: PTH100 -- as in walk
    for path in sorted(Path(uri) for uri in uris):
        root = next((folder for folder in folders if folder in path.parents), path.parent)
        if path.is_file():
            _add(found, path, path.relative_to(root).as_posix())
    return sorted(found.values(), key=lambda one: (one.name, one.uri))


def _files(folder: Path) -> Iterator[Path]:
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(here, name)


def _add(found: dict[Path, Found], path: Path, name: str) -> None:
    if path not in found:
        found[path] = Found(path, name, path.stat().st_size, file_version(path))


def settled(one: Found) -> Found:
    """Return a file as it is once it has not been written to for a moment.

    Raises:
        Unavailable: it keeps changing: it is tried again in the next run.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        stat = one.path.stat()
        age = time.time() - stat.st_mtime
        if not 0 <= age < SETTLE_SECONDS:
            return Found(one.path, one.name, stat.st_size, file_version(one.path))
        if time.monotonic() > deadline:
            raise Unavailable(f"{one.name} is still being written; it is tried again in the next run")
        time.sleep(min(0.2, SETTLE_SECONDS))

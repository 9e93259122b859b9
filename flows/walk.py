"""What of a folder or bucket is media, what it is called, whether it has settled, and the hash by which it is known."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from asd_core.errors import NotFound, Unavailable
from infra.objects import S3Url
from infra.places import Copy, Places, as_uri, below, file_version, is_object

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
    """Media to work on: a file or an object. `name` is its path below the place that was given, `version` changes when it is written."""

    uri: str
    name: str
    size: int
    version: str

    @property
    def nameable(self) -> bool:
        """Say whether it can be taken in under its name: it is text (on disk a name may be any bytes), and of an object a path."""
        return is_text(self.uri) and not (is_object(self.uri) and {"", ".", ".."} & set(self.name.split("/")))


def is_text(name: str) -> bool:
    """Say whether a name can be written down as UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_text(name: str) -> str:
    r"""Return a name that can be shown: bytes that are no text stand as `\xff`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def walk(roots: Iterable[Path | str], places: Places) -> tuple[list[Found], int]:
    """Return the media to try, sorted by name, and how many others were passed over.

    Folders and prefixes of buckets are walked, without what is hidden and without following links to folders. In them, what has an ending that
    says that it is no media is passed over, and so is what may not be looked at; a file or object that is given itself is always tried. What is
    given twice is found once, what goes away meanwhile not at all.

    Raises:
        NotFound: a path is not there; a prefix without objects is as an empty folder.
        RequestError: the service of a bucket refuses.
        Unavailable: it does not answer.
    """
    found: dict[str, Found] = {}
    ignored = 0
    for root in map(as_uri, roots):
        ignored += _walk_bucket(found, root, places) if is_object(root) else _walk_folder(found, Path(root))
    return _sorted(found), ignored


def pick(roots: Iterable[Path | str], uris: Iterable[str], places: Places) -> list[Found]:
    """Return what lies at these places, whatever it is called, named by its path below the first of the roots that holds it."""
    found: dict[str, Found] = {}
    bases = [below(as_uri(root)) for root in roots]
    for uri in sorted(uris):
        info = places.stat(uri)
        if info is not None:
            base = next((base for base in bases if uri.startswith(base)), f"{uri.rpartition('/')[0]}/")
            found.setdefault(uri, Found(uri, uri.removeprefix(base), info.size, info.version))
    return _sorted(found)


def _sorted(found: dict[str, Found]) -> list[Found]:
    return sorted(found.values(), key=lambda one: (one.name, one.uri))


def _is_passed_over(name: str) -> bool:
    ending = PurePosixPath(name).suffix
    return not ending or ending.lower().removeprefix(".") in NO_MEDIA


def _walk_bucket(found: dict[str, Found], url: str, places: Places) -> int:
    base, ignored, empty = below(url), 0, True
    for info in places.list(url):
        empty = False
        if info.key.endswith("/") or any(part.startswith(".") and part.strip(".") for part in info.key.split("/")):
            continue  # what tools leave for folders, and what is hidden
        if _is_passed_over(info.key):
            ignored += 1
        else:
            found.setdefault(base + info.key, Found(base + info.key, info.key, info.size, info.version))
    if empty and S3Url.parse(url).key:
        for one in pick([], [url], places):
            found.setdefault(one.uri, one)
    return ignored


def _walk_folder(found: dict[str, Found], path: Path) -> int:
    ignored = 0
    if path.is_dir():
        for file in _files(path):
            if _is_passed_over(file.name):
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
        raise NotFound(f"no file or folder {as_text(str(path))}")
    return ignored


def _files(folder: Path) -> Iterator[Path]:
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(here, name)


def _add(found: dict[str, Found], path: Path, name: str) -> None:
    if str(path) not in found:
        found[str(path)] = Found(str(path), name, path.stat().st_size, file_version(path))


def settled(one: Found) -> Found:
    """Return a file as it is once it has not been written to for a moment; an object appears whole, and is as it was listed.

    Raises:
        Unavailable: it keeps changing: it is tried again in the next run.
    """
    if is_object(one.uri):
        return one
    path, deadline = Path(one.uri), time.monotonic() + PATIENCE_SECONDS
    while True:
        stat = path.stat()
        age = time.time() - stat.st_mtime
        if not 0 <= age < SETTLE_SECONDS:
            return replace(one, size=stat.st_size, version=file_version(path))
        if time.monotonic() > deadline:
            raise Unavailable(f"{one.name} is still being written; it is tried again in the next run")
        time.sleep(min(0.2, SETTLE_SECONDS))


def identify(one: Found, places: Places, check: Callable[[], None]) -> tuple[Found, str, Copy]:
    """Return media as they are once they have settled, the SHA-256 of their bytes, and the copy that it was taken from.

    Raises:
        Unavailable: they changed meanwhile, or are out of reach.
    """
    steady = settled(one)
    copy = places.copy(steady.uri, version=steady.version, size=steady.size)
    try:
        sha256 = copy.sha256(check)
        if settled(steady).version != steady.version:
            raise Unavailable(f"{one.name} is still being written; it is tried again in the next run")
    except BaseException:
        copy.close()
        raise
    return steady, sha256, copy

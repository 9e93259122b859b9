"""Copies of assets for browsers that cannot play the original: made on demand, one at a time, kept in a folder of limited size.

A proxy can always be made again, so the folder may be emptied at any time; the least recently watched go first.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from asd_core.errors import RollcallError

VERSION = 1  # raised when proxies are made in another way: the old ones are then evicted unused
GIGABYTE = 1 << 30

Make = Callable[[Path, int | None, Path, Callable[[str, float, float], None]], None]


@dataclass(frozen=True, slots=True)
class ProxyState:
    """Whether a proxy is there: `share` of the work done, `reason` of a failure."""

    state: Literal["ready", "making", "failed"]
    share: float = 0.0
    reason: str = ""


class Proxies:
    """The proxies of one folder.

    Args:
        folder: made when the first proxy is.
        limit_bytes: beyond this, the least recently watched are deleted; the newest always stays.
        make: called as (source, audio_track, target, on_progress); leaves a whole file at target or raises a RollcallError.
    """

    def __init__(self, folder: Path, limit_bytes: int, make: Make) -> None:
        self._folder, self._limit, self._make = folder, limit_bytes, make
        self._states: dict[str, ProxyState] = {}
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="proxy")

    def path(self, sha256: str) -> Path:
        """Return where the proxy of an asset is or would be."""
        return self._folder / f"{sha256}.v{VERSION}.mp4"

    def ask(self, sha256: str, source: Callable[[], Path], audio_track: int | None) -> ProxyState:
        """Return the state of an asset's proxy; begin to make it where it is not there: with that sound, of the file that `source` gives."""
        path = self.path(sha256)
        if path.is_file():
            path.touch()  # the file's time is when it was last watched
            return ProxyState("ready")
        with self._lock:
            state = self._states.get(sha256)
            if state is not None and state.state == "failed":  # told once: whoever asks again may have made room, or mended the file
                return self._states.pop(sha256)
            if state is None or state.state == "ready":  # "ready", yet gone: evicted
                state = self._states[sha256] = ProxyState("making")
                self._worker.submit(self._run, sha256, source, audio_track)
            return state

    def close(self) -> None:
        """Begin no further proxy."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _run(self, sha256: str, source: Callable[[], Path], audio_track: int | None) -> None:
        def report(_: str, done: float, total: float) -> None:
            self._set(sha256, ProxyState("making", share=done / total if total else 0.0))

        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._make(source(), audio_track, self.path(sha256), report)
            self.evict(keep=self.path(sha256))
            self._set(sha256, ProxyState("ready", share=1.0))
        except (RollcallError, OSError) as error:
            self._set(sha256, ProxyState("failed", reason=str(error)))

    def _set(self, sha256: str, state: ProxyState) -> None:
        with self._lock:
            self._states[sha256] = state

    def evict(self, keep: Path | None = None) -> None:
        """Delete the least recently watched proxies until the folder keeps to its limit."""
        kept = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in self._folder.glob("*.mp4"))
        size = sum(entry[1] for entry in kept)
        for _, length, path in kept:
            if size <= self._limit:
                return
            if path != keep:
                path.unlink(missing_ok=True)
                size -= length

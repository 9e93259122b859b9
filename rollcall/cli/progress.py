"""How far a long command is: one bar on a terminal, a plain line now and then elsewhere; always on stderr."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from rollcall.cli.show import err, note, plain

LINE_SECONDS = 10.0  # between two plain lines of one stage


class _Bar:
    """One bar: that of the present stage."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.Lock()

    def __call__(self, stage: str, done: float, total: float) -> None:
        with self._lock:
            if stage not in self._tasks:
                for earlier in self._tasks.values():
                    self._progress.remove_task(earlier)
                self._tasks = {stage: self._progress.add_task(plain(stage), total=total or None)}
            self._progress.update(self._tasks[stage], completed=done, total=total or None)


class _Lines:
    """A line when a stage begins, and every ten seconds while it lasts."""

    def __init__(self) -> None:
        self._said: dict[str, float] = {}
        self._lock = threading.Lock()

    def __call__(self, stage: str, done: float, total: float) -> None:
        now = time.monotonic()
        with self._lock:
            if stage in self._said and now - self._said[stage] < LINE_SECONDS:
                return
            first = stage not in self._said
            self._said[stage] = now
        note(f"{stage} …" if first and done == 0 else f"{stage} {100 * done / total:.0f} %" if total else f"{stage} {done:.0f}")


@contextmanager
def shown_progress() -> Iterator[_Bar | _Lines]:
    """Give a function (stage, done, total) that shows how far things are."""
    if not err.is_terminal:
        yield _Lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        yield _Bar(progress)

"""What processes cost: the CPU seconds of groups of them over a stretch of time, and the memory of a tree at its peak. Linux."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
FRESH = 0.1  # CPU seconds: a process that has used less may not yet be what it will be
Key = tuple[int, str]  # process id and the time at which it began


def environment_of(pid: int) -> str:
    """Return the environment that a process began with, where it may be read."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    return ""


@dataclass(frozen=True, slots=True)
class Process:
    """A process at one moment: `cpu` seconds so far."""

    key: Key
    parent: int
    cpu: float


def table() -> dict[int, Process]:
    """Return all processes by id."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError, IndexError):
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                found[int(entry.name)] = Process((int(entry.name), fields[19]), int(fields[1]), (int(fields[11]) + int(fields[12])) / TICK)
    return found


def words_of(pid: int) -> str:
    """Return the command line of a process; nothing where it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


class Clock(threading.Thread):
    """Looks at all processes twice a second until `stop`; `between` says what each group used.

    Args:
        group: of a process by its command line, for those that are given one; None for all others. Children are in their parent's group.
    """

    def __init__(self, group: Callable[[int, str], str | None], every: float = 0.5) -> None:
        super().__init__(daemon=True)
        self._group, self._every, self._ended = group, every, threading.Event()
        self._groups: dict[Key, str | None] = {}
        self._looks: list[tuple[float, dict[Key, float]]] = []

    def run(self) -> None:
        """Look until told to stop."""
        while not self._ended.is_set():
            seen = table()
            self._looks.append((time.time(), {each.key: each.cpu for each in seen.values() if self._of(each, seen)}))
            self._ended.wait(self._every)

    def stop(self) -> None:
        """End the looking."""
        self._ended.set()
        self.join()

    def _of(self, process: Process, seen: dict[int, Process]) -> str | None:
        if process.key not in self._groups or process.cpu < FRESH:
            own = self._group(process.key[0], words_of(process.key[0]))
            above = seen.get(process.parent)
            found = own or (self._of(above, seen) if above is not None and process.parent > 1 else None)
            self._groups[process.key] = found or self._groups.get(process.key)  # one that has just ended has no command line any more
        return self._groups[process.key]

    def between(self, start: float, end: float) -> dict[str, float]:
        """Return the CPU seconds of each group from one time to another, both in seconds since the epoch."""
        inside = [cpu for at, cpu in self._looks if start <= at <= end]
        before = next((cpu for at, cpu in reversed(self._looks) if at < start), {})
        used: dict[str, float] = {}
        for key in {key for cpu in inside for key in cpu}:
            last = max(cpu[key] for cpu in inside if key in cpu)
            name = str(self._groups[key])
            used[name] = used.get(name, 0.0) + last - before.get(key, 0.0)
        return used


def tree_memory(root: int) -> tuple[float, int]:
    """Return the MiB that a process and all its descendants hold, pages that they share counted once, and how many processes they are."""
    seen = table()
    inside = {root}
    while more := {pid for pid, each in seen.items() if each.parent in inside} - inside:
        inside |= more
    held, count = 0, 0
    for pid in inside:
        with contextlib.suppress(OSError, IndexError, StopIteration):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            held += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
            count += 1
    return held / 1024, count


class Peak(threading.Thread):
    """Looks at the memory of a process tree until it ends or `stop`; `curve` holds (seconds, MiB)."""

    def __init__(self, root: int, every: float = 1.0) -> None:
        super().__init__(daemon=True)
        self.curve: list[tuple[float, float]] = []
        self._root, self._every, self._ended = root, every, threading.Event()

    def run(self) -> None:
        """Look until told to stop."""
        began = time.monotonic()
        while not self._ended.is_set():
            held, count = tree_memory(self._root)
            if count:
                self.curve.append((round(time.monotonic() - began, 1), round(held, 1)))
            self._ended.wait(self._every)

    def stop(self) -> float:
        """End the looking; return the most MiB that were seen."""
        self._ended.set()
        self.join()
        return max((held for _, held in self.curve), default=0.0)

"""Faults of the service: each is done to a library at work, and told as what was seen. Tests assert on it, `make reliability` prints it.

A fault is a function of the arena (tests/services/arena.py) that gives an `Outcome` for each thing that went wrong. Seconds to recover begin
where the fault ends (the process is dead, the service is back, the disk has room) and end when the last row is in the library.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from flows.process_library import process_library
from tests.services.arena import COLLECTION, MEDIA, OBJECTS, Arena, Library
from tests.services.standing import notification, wait_until

ALONE, TOGETHER = "alone.mp4", "together.mp4"
BOTH = (ALONE, TOGETHER)
REPLACED = "the new bytes are published; of the old ones a row of an asset that failed is left, with the reason"
OUTAGE_SECONDS = 20.0
DISK = "24m"
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
CLOCK_STEPS = ("+3600", "-3600", "+0")  # seconds that the worker's clock is wrong by, one after the other
STEP_SECONDS = 6.0

# Stages in the order in which a run comes to them; those that decode are killed in the middle of it.
POINTS = (
    ("probe", "during"), ("look", "during"), ("listen", "during"), ("stitch", "before"), ("score", "before"), ("embed", "before"),
    ("decide", "before"), ("group", "before"), ("identify", "before"), ("identify", "after"), ("publish", "after"),
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What became of a library to which something was done. `differing`: tables whose rows are not those of an undisturbed library."""

    fault: str
    outcome: str
    seconds: float
    differing: dict = field(default_factory=dict)


class CannotBeTried(Exception):
    """A fault needs what is not here."""


# ---- processes ----


def killed_in_every_stage(arena: Arena):
    """One film; its worker and run are killed at every stage in turn, and another worker goes on, until it is killed too."""
    told = []
    with arena.library("killed", TOGETHER) as library:
        library.spare()
        library.spare()
        library.hold(*POINTS[0])
        library.scan()
        library.await_hold()
        for point, following in zip(POINTS, (*POINTS[1:], None), strict=True):
            library.kill_at_work()
            began = time.monotonic()
            if following is not None:
                library.hold(*following)
            library.spare()
            library.scan()
            if following is None:
                seconds = library.until_done(since=began)
            else:
                library.await_hold()
                seconds = time.monotonic() - began
            told.append((point, seconds))
        differing = library.compared()
        made = {stage: library.stages(stage) for stage in ("look", "listen", "embed", "publish")}
    assert made["look"] <= 2 and made["listen"] <= 2 and made["embed"] == 1, made  # what rests in the store is not made again
    words = {"during": "in the middle of", "before": "at the beginning of", "after": "after"}
    said = "another worker goes on from what is stored"
    return [Outcome(f"kill -9 of worker and run {words[when]} `{stage}`", said, seconds, differing) for (stage, when), seconds in told]


# ---- services ----


def postgres_stopped(arena: Arena):
    """Library and Prefect lose their database in the middle of the work."""
    with arena.library("postgres", TOGETHER) as library:
        seconds = _without(library, arena.postgres.stop, arena.postgres.start, OUTAGE_SECONDS)
        return [_told(library, f"PostgreSQL (library and Prefect) killed, back after {OUTAGE_SECONDS:.0f} s", seconds)]


def s3_stopped(arena: Arena):
    """Media and artifacts are out of reach in the middle of the work."""
    with arena.library("s3", TOGETHER) as library:
        seconds = _without(library, arena.s3.stop, arena.s3.start, OUTAGE_SECONDS)
        return [_told(library, f"S3 killed, back after {OUTAGE_SECONDS:.0f} s", seconds)]


def prefect_restarted(arena: Arena):
    """The Prefect server dies and comes back, while a run is at work and another waits."""
    with arena.library("prefect_gone", *BOTH) as library:
        seconds = _without(library, arena.kill_prefect, arena.start_prefect, 5)
        return [_told(library, "Prefect server killed, started again after 5 s", seconds)]


def _without(library: Library, stop: Callable[[], None], start: Callable[[], None], seconds: float) -> float:
    """Stop a service in the middle of the work, start it again so many seconds later; return the seconds until all is done."""
    library.work("--limit", "1")
    library.reach("look")
    stop()
    library.go()
    time.sleep(seconds)
    start()
    return library.until_done()


# ---- disk ----


def disk_full(arena: Arena):
    """The home's disk is full: when media are fetched, and when artifacts are stored in a folder of it."""
    with _small_disk(arena.folder / "small") as disk, arena.library("disk", TOGETHER, home=disk, ROLLCALL_OBJECTS_URL="") as library:
        library.work("--limit", "1")
        ballast = _fill(disk)
        library.scan()
        wait_until(lambda: any(reason for _, reason in library.ask("SELECT name, reason FROM asset")) or _is_trying(library), 60)
        time.sleep(6)
        fetched = list((disk / "cache" / "media").rglob("*.mp4"))
        library.hold("look")
        ballast.unlink()
        seconds = [library.await_hold(scanning=True)]
        ballast = _fill(disk)
        library.go()
        time.sleep(8)
        stored = library.stages("look")
        ballast.unlink()
        seconds.append(library.until_done())
        assert (fetched, stored) == ([], 0)
        return [
            _told(library, "Home's disk full while media are fetched", seconds[0], "the run tries again; with room it goes on"),
            _told(library, "Home's disk full while artifacts are stored there", seconds[1], "the stage tries again; with room it goes on"),
        ]


def _is_trying(library: Library) -> bool:
    return any(run.state == "RUNNING" for run in library.runs())


# ---- what is stored ----


def artifacts_corrupt(arena: Arena):
    """All artifacts of an asset are damaged before they are read again: a bit, the end, everything."""
    with arena.library("corrupt", TOGETHER) as library:
        library.work("--limit", "1")
        library.spare()
        library.reach("publish")
        library.kill_at_work()
        began, damaged = time.monotonic(), 0
        for number, one in enumerate(arena.bucket.list_objects(bucket_name=OBJECTS, prefix="corrupt/artifacts/", recursive=True)):
            with arena.bucket.get_object(bucket_name=OBJECTS, object_name=one.object_name) as answer:
                data = answer.read()
            _damage(arena, one.object_name, data, number % 3)
            damaged += 1
        library.scan()
        seconds = library.until_done(since=began)
        made = library.stages("look")
        assert damaged >= 8 and made == 2, (damaged, made)
        said = "found by their checksums and made again"
        return [_told(library, f"All {damaged} artifacts of an asset damaged (a bit, cut off, empty), its run killed", seconds, said)]


def _damage(arena: Arena, key: str, data: bytes, how: int) -> None:
    middle = len(data) // 2
    bad = (data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :], data[:middle], b"")[how]
    arena.bucket.put_object(bucket_name=OBJECTS, object_name=key, data=io.BytesIO(bad), length=len(bad))


# ---- notifications ----


def told_twice(arena: Arena):
    """The same notification comes four times, twice of them at once, and once more after the work."""
    with arena.library("twice", *BOTH) as library:
        library.work("--limit", "1")
        events = [notification(MEDIA, f"tv/{name}", arena.put(name, arena.films[name])) for name in BOTH]
        began = time.monotonic()
        answers = library.tell(*events, *events)
        seconds = library.until_done(since=began, scanning=False)
        answers += library.tell(*events)
        runs = [run.parameters["uri"] for run in library.runs()]
        assert sum(len(answer.started) for answer in answers) == len(runs) == len(BOTH), (answers, runs)
        return [_told(library, "A notification told twice at once, and again later", seconds, "one run for each object")]


def told_late(arena: Arena):
    """Notifications of an earlier version, and of an object that is gone, come after that of what lies there by then."""
    with arena.library("late", *BOTH) as library:
        library.work("--limit", "1")
        earlier = arena.put(ALONE, arena.films[TOGETHER])
        now = [notification(MEDIA, f"tv/{name}", arena.put(name, arena.films[name])) for name in BOTH]
        began = time.monotonic()
        library.tell(*now)
        library.tell(notification(MEDIA, f"tv/{ALONE}", earlier), notification(MEDIA, "tv/gone.mp4", "0" * 32))
        seconds = library.until_done(since=began, scanning=False)
        said = "what lies there is taken once; the late runs find nothing to do"
        return [_told(library, "Notifications late: of a version that was replaced, of an object that is gone", seconds, said)]


def told_never(arena: Arena):
    """No notification comes; the scan finds the objects."""
    with arena.library("never", *BOTH) as library:
        library.work("--limit", "1")
        began = time.monotonic()
        library.scan()
        seconds = library.until_done(since=began)
        return [_told(library, "No notification at all", seconds, "the next scan submits what it finds; seconds from the scan")]


# ---- media ----


def object_replaced(arena: Arena):
    """An object is replaced by another film while it is decoded."""
    with arena.library("replaced", ALONE) as library:
        arena.put(ALONE, arena.films[TOGETHER])
        library.work("--limit", "1")
        library.hold("listen")
        library.scan()
        library.await_hold()
        arena.fill(ALONE)
        library.go()
        seconds = library.until_done()
        differing = library.compared(without=_sha256(arena.films[TOGETHER]))
        return [Outcome("An object replaced while it is decoded", REPLACED, seconds, differing)]


def file_replaced(arena: Arena):
    """A file of a watched folder is replaced by another film while it is decoded, and no artifact of the mixture is kept."""
    folder = arena.folder / "watched"
    folder.mkdir()
    path = folder / ALONE
    _place(arena.films[ALONE], path)
    with arena.library("file_as_it_should_be", ALONE, root=str(folder)) as library:
        process_library([str(folder)], collection=COLLECTION, direct=True, settings=library.settings)
        wanted = library.rows()
    _place(arena.films[TOGETHER], path)
    with arena.library("file", ALONE, root=str(folder)) as library:
        library.work("--limit", "1")
        library.reach("look", "during")
        _place(arena.films[ALONE], path)
        seconds = library.until_done()
        differing = library.compared(wanted, without=_sha256(arena.films[TOGETHER]))
        return [Outcome("A file of a folder replaced while it is decoded", REPLACED, seconds, differing)]


def _sha256(film: Path) -> str:
    return hashlib.sha256(film.read_bytes()).hexdigest()


def _place(film: Path, path: Path) -> None:
    """Replace a file at once by a film, which has settled."""
    part = path.with_name(".part")
    shutil.copyfile(film, part)
    os.utime(part, (1e9, 1e9))
    part.replace(path)


# ---- the clock ----


def clock_jumps(arena: Arena):
    """The clock of a worker's machine jumps an hour ahead, two hours back, and is put right, in the middle of the work."""
    if not FAKETIME.exists():
        raise CannotBeTried("needs libfaketime: apt install libfaketime")
    clock = arena.folder / "clock-is-wrong-by"
    clock.write_text("+0")
    told = {"LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_CACHE_DURATION": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    with arena.library("clock", TOGETHER, **told) as library:
        library.work("--limit", "1")
        library.reach("look")
        clock.write_text(CLOCK_STEPS[0])
        library.go()
        for step in CLOCK_STEPS[1:]:
            time.sleep(STEP_SECONDS)
            clock.write_text(step)
        seconds = library.until_done()
        said = "S3 refuses signatures that are an hour off; the stage waits until the clock is right"
        return [_told(library, "A worker's clock an hour ahead, then an hour behind, then right", seconds, said)]


# ---- what they share ----


def _told(library: Library, fault: str, seconds: float, outcome: str = "work waits or is tried again; nothing is lost") -> Outcome:
    return Outcome(fault, outcome, seconds, library.compared())


@contextlib.contextmanager
def _small_disk(folder: Path):
    """Give a folder on a disk of its own."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=755", "tmpfs", str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotBeTried(f"needs the right to mount a small disk: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _fill(disk: Path) -> Path:
    """Fill a disk to the last byte; return the file that does."""
    ballast = disk / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as out:
        while out.write(bytes(4096)):
            pass
    return ballast


FAULTS: tuple[Callable[[Arena], list[Outcome]], ...] = (
    postgres_stopped, s3_stopped, prefect_restarted, disk_full, artifacts_corrupt, told_twice, told_late, told_never,
    object_replaced, file_replaced, clock_jumps, killed_in_every_stage,
)  # fmt: skip

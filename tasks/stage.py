"""What a stage is: its key, and how it is looked up, verified, run, stored and recorded. The one clever file here; the others are thin.

The key of a stage is the SHA-256 of everything its result depends on: name and version, the asset's bytes, the span, the options it reads,
the models it uses with their numeric profile, and the keys of the stages it follows. Same key, same artifact: what is found whole is not
made again, and what is found damaged is. Keys come from keys, not from results, so all of them are known before anything runs.

A span is part of the key of its own artifact, but not of the stages after it: any span length gives the same result.

Retry policy is data beside each stage and serves both ways of running (`runner`).
"""

from __future__ import annotations

import contextvars
import errno
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

from asd_core.errors import RollcallError, Unavailable
from asd_core.models.manifest import Role
from infra.catalog import runs
from infra.memory import give_back
from infra.places import is_object
from tasks.plan import Plan, digest

if TYPE_CHECKING:
    from infra.places import Copy
    from infra.wiring import Adapters

LOG = logging.getLogger("rollcall")
T = TypeVar("T")
Outcome = Literal["made", "cached"]

# What the machine may have again in a moment: disk, memory, descriptors, a network folder.
PASSING_ERRNOS = {
    errno.EAGAIN, errno.EBUSY, errno.EDQUOT, errno.EIO, errno.EINTR, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC,
    errno.ESTALE, errno.ETIMEDOUT,
}  # fmt: skip


class Stopped(Exception):
    """The command is being stopped; the asset stays as it was."""


class Changed(Unavailable):
    """The file is no longer what was hashed. The same work would end the same way; the next run takes what lies there by then."""

    retryable = False


def is_transient(error: BaseException) -> bool:
    """Say whether the same work may succeed later: network, database, disk pressure; never bad input."""
    if isinstance(error, RollcallError):
        return error.retryable
    return isinstance(error, OSError) and error.errno in PASSING_ERRNOS


@dataclass(frozen=True, slots=True)
class Retry:
    """How often transient errors are met with another try: once after each delay, in seconds. Together longer than a service's restart."""

    delays: tuple[float, ...] = (0.5, 2.0, 8.0, 20.0)


@dataclass(frozen=True, slots=True)
class Stage(Generic[T]):
    """One row of the line.

    Attributes:
        name: as in the catalog, the progress and Prefect.
        version: raised when the same inputs give another result.
        makes: the record that is stored.
        work: (job, span, *inputs) -> record.
        after: the stages whose results it reads.
        reads: what it takes from the plan's options.
        roles: the models it uses.
        retry: for transient errors only.
        stored: whether the result rests as an artifact; what only touches the database does not.
        opens: whether it opens the media: its result counts only where they are still what was hashed.
    """

    name: str
    version: int
    makes: type[T]
    work: Callable[..., T]
    after: tuple[Stage[Any], ...] = ()
    reads: Callable[[Plan], Any] | None = None
    roles: tuple[Role, ...] = ()
    retry: Retry = Retry()
    stored: bool = True
    opens: bool = False


def stage_key(stage: Stage[Any], plan: Plan, asset: str, span: str = "") -> str:
    """Return the key of a stage's artifact for an asset (its sha256); `span` is empty for the asset as a whole."""
    return digest(
        {
            "stage": stage.name,
            "version": stage.version,
            "asset": asset,
            "span": span,
            "options": stage.reads(plan) if stage.reads is not None else None,
            "models": {role: plan.models[role].key for role in stage.roles},
            "profile": plan.profile if stage.roles else "",
            "after": [stage_key(before, plan, asset) for before in stage.after],
        }
    )


@dataclass(frozen=True, slots=True)
class Asset:
    """One media file in work, where it lies, and as what it was hashed; without a version it is not watched."""

    sha256: str
    name: str
    uri: str
    version: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """What a command may show: `kind` says which of the other fields mean something.

    found: `total` assets have work to do · begin: work on `asset` begins · progress: `done` of `total` seconds of `stage` ·
    stage: `stage` has an `outcome` (made, cached, failed) after `seconds` · asset: `asset` has an `outcome` (done, skipped, failed,
    quarantined, stopped), with a `reason` where it is not done.
    """

    kind: Literal["found", "begin", "progress", "stage", "asset"]
    asset: str = ""
    stage: str = ""
    done: float = 0.0
    total: float = 0.0
    outcome: str = ""
    reason: str = ""
    seconds: float = 0.0


def ignore_event(_: Event) -> None:
    """Show nothing."""


class Runner(Protocol):
    """How stages and flows are run: here and now, or as Prefect's task and flow runs."""

    def stage(self, name: str, retry: Retry, body: Callable[[int], Outcome], *, stopped: Callable[[], bool]) -> None:
        """Run `body(attempt)` until it succeeds, has failed for good, or was stopped."""

    def flow(self, name: str, run_name: str, body: Callable[[], T]) -> T:
        """Run a body that runs stages; return what it returns."""


class Job:
    """One asset in work: `make` gives the results of its stages. Safe for the threads of one asset.

    Args:
        asset: the file.
        plan: what is asked for.
        adapters: store, catalog, decoding children.
        runner: how stages are run.
        run_id: row of the run in the catalog, None outside one.
        emit: hears events; called from several threads.
        stop: set when the command is being stopped.
        copy: the asset's bytes where they are at hand; None: looked up by the adapters when they are wanted.
    """

    def __init__(
        self,
        asset: Asset,
        plan: Plan,
        adapters: Adapters,
        runner: Runner,
        *,
        run_id: int | None = None,
        emit: Callable[[Event], None] = ignore_event,
        stop: threading.Event | None = None,
        copy: Copy | None = None,
    ) -> None:
        self.asset, self.plan, self.adapters, self.runner = asset, plan, adapters, runner
        self.stop = stop or threading.Event()
        self.outcomes: list[tuple[str, Outcome]] = []
        self._run_id, self._emit, self._copy = run_id, emit, copy
        self._spans_done: dict[tuple[str, str], float] = {}
        self._later: dict[str, dict[str, Any]] = {}  # stages inside a transaction: their rows must wait for its end
        self._guard = threading.Lock()

    # ---- the media ----

    def path(self) -> Path:
        """Return the asset's file on this machine; what lies in a bucket is fetched at the first call, and kept until `close`."""
        asset = self.asset
        with self._guard:
            if self._copy is None:
                self._copy = self.adapters.places.copy(asset.uri, version=asset.version, size=asset.size, sha256=asset.sha256)
        return self._copy.path(self.check_stopped)

    def close(self) -> None:
        """Let go of the asset's file."""
        if self._copy is not None:
            self._copy.close()

    def check_unchanged(self) -> None:
        """Raise Changed where the file is no longer what was hashed: it is still being written, or was replaced."""
        asset = self.asset
        if asset.version:
            now = self.adapters.places.stat(asset.uri)
            if now is None or now.version != asset.version:
                raise Changed(f"{asset.name} changed while it was being analysed; it is tried again in the next run")

    # ---- stages ----

    def make(self, stage: Stage[T], *inputs: Any, span: str = "") -> T:
        """Return a stage's result: from the store where it is there and whole, else made and stored.

        Inputs that can be called are called only where the result must be made.
        """
        key = stage_key(stage, self.plan, self.asset.sha256, span)
        found = self.stored(stage, span) if stage.stored else None
        box = [found] if found is not None else []
        given = [value() if callable(value) else value for value in inputs] if found is None else []

        def attempt(number: int) -> Outcome:
            self.check_stopped()
            began = time.monotonic()
            size = None
            try:
                if found is None:
                    box[:] = [self._work(stage, span, given)]
                    size = self.adapters.artifacts.save(key, box[0]) if stage.stored else None
                self._record(stage, key, span, "made" if found is None else "cached", began, number, size=size)
            except Exception as error:
                if self.stop.is_set():
                    raise Stopped from error
                self._record_failure(stage, key, span, began, number, error)
                raise
            return "made" if found is None else "cached"

        self.runner.stage(f"{stage.name} {span}".strip(), stage.retry, attempt, stopped=self.stop.is_set)
        give_back()
        return box[0]

    def stored(self, stage: Stage[T], span: str = "") -> T | None:
        """Return the result of a stage that rests in the store, None where there is none: a second look, which is not recorded."""
        key = stage_key(stage, self.plan, self.asset.sha256, span)
        return self._patiently(stage.retry, lambda: self.adapters.artifacts.load(key, stage.makes))

    def _work(self, stage: Stage[T], span: str, given: list[Any]) -> T:
        """Return what a stage makes; what it makes or says of a file that was replaced meanwhile is another file's."""
        if not stage.opens or is_object(self.asset.uri):  # of an object it opens a copy, which stays
            return stage.work(self, span, *given)
        try:
            made = stage.work(self, span, *given)
        except RollcallError:
            self.check_unchanged()
            raise
        self.check_unchanged()
        return made

    def within(self, stage: Stage[T], *inputs: Any) -> T:
        """Return the result of a stage that runs inside another one's transaction; it is recorded with that one."""
        box: list[T] = []

        def attempt(number: int) -> Outcome:
            self.check_stopped()
            began = time.monotonic()
            box[:] = [stage.work(self, "", *inputs)]
            seconds = time.monotonic() - began
            self._later[stage.name] = {"key": stage_key(stage, self.plan, self.asset.sha256), "seconds": seconds, "attempt": number}
            return "made"

        self.runner.stage(stage.name, stage.retry, attempt, stopped=self.stop.is_set)
        return box[0]

    def together(self, *parts: Callable[[], Any], width: int = 4) -> list[Any]:
        """Return what the parts return, run side by side; the first error after all have ended."""
        if len(parts) == 1:
            return [parts[0]()]
        with ThreadPoolExecutor(min(width, len(parts)), thread_name_prefix="stage") as pool:
            futures = [pool.submit(contextvars.copy_context().run, part) for part in parts]
        return [future.result() for future in futures]

    def check_stopped(self) -> None:
        """Raise Stopped where the command is being stopped."""
        if self.stop.is_set():
            raise Stopped

    def _patiently(self, retry: Retry, look_up: Callable[[], T]) -> T:
        for delay in retry.delays:
            self.check_stopped()
            try:
                return look_up()
            except (RollcallError, OSError) as error:
                if not is_transient(error):
                    raise
                self.stop.wait(delay)
        return look_up()

    # ---- what is told ----

    def progress(self, stage: str, span: str, total: float) -> Callable[[str, float, float], None]:
        """Return a progress function for one span of a stage; spans add up to `total` seconds."""

        def report(_: str, done: float, __: float) -> None:
            with self._guard:
                self._spans_done[stage, span] = done
                summed = sum(part for (name, _), part in self._spans_done.items() if name == stage)
            self._emit(Event("progress", asset=self.asset.name, stage=stage, done=min(summed, total), total=total))

        return report

    def _record(self, stage: Stage[Any], key: str, span: str, outcome: Outcome, began: float, attempt: int, *, size: int | None) -> None:
        told = {"key": key, "seconds": time.monotonic() - began, "attempt": attempt, "span": span, "size": size}
        with self._guard:
            waiting, self._later = self._later, {}
        with self.adapters.catalog.transaction() as connection:
            for name, row in (*waiting.items(), (stage.name, told)):
                runs.record_stage(connection, stage=name, outcome=outcome, sha256=self.asset.sha256, run_id=self._run_id, **row)
        for name, row in (*waiting.items(), (stage.name, told)):
            self.outcomes.append((name, outcome))
            self._emit(Event("stage", asset=self.asset.name, stage=name, outcome=outcome, seconds=row["seconds"]))
            self._log(name, outcome, **row)

    def _record_failure(self, stage: Stage[Any], key: str, span: str, began: float, attempt: int, error: Exception) -> None:
        seconds = time.monotonic() - began
        self._emit(Event("stage", asset=self.asset.name, stage=stage.name, outcome="failed", reason=str(error), seconds=seconds))
        self._log(stage.name, "failed", seconds=seconds, attempt=attempt, span=span, error=type(error).__name__)
        try:
            with self.adapters.catalog.transaction() as connection:
                runs.record_stage(
                    connection, stage=stage.name, key=key, outcome="failed", seconds=seconds, sha256=self.asset.sha256, run_id=self._run_id,
                    span=span, attempt=attempt, error=f"{type(error).__name__}: {error}"[:2000],
                )  # fmt: skip
        except RollcallError as unrecorded:  # the database is away: the error that counts is the first one
            error.add_note(f"not recorded: {unrecorded}")

    def _log(self, stage: str, outcome: str, *, seconds: float, attempt: int, span: str = "", size: int | None = None, **more: str) -> None:
        """Leave a line: hashes, numbers and classes of errors, whose words may name files."""
        told = {"asset": self.asset.sha256, "stage": stage, "span": span, "outcome": outcome, "seconds": round(seconds, 3), "attempt": attempt}
        LOG.info("stage ended", extra={**told, "run": self._run_id, "bytes": size, **more})

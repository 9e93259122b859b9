"""Local services that commands share: started when first needed, stopped when the last user ends, kept by `up`, ended by `down`.

A *service* (embedded PostgreSQL, the private Prefect server) says how to start, how to stop, and whether it is alive. `Supervisor`
does the rest, the same for all: a lock so that two commands at once start it once; the list of users, each a process known by its id
and its start time, so that a killed command or a recycled process id never counts; the pin that `up` sets.

    supervisor = Supervisor(service, home / "run")
    with supervisor.use() as info:     # started or shared; `info` is what `start` returned, e.g. {"url": …}
        …
    supervisor.pin()                   # up: start, and stay
    supervisor.down()                  # down: unpin, and stop unless somebody uses it

A service is any object with `name`, `start() -> dict`, `alive(info) -> bool`, `stop(info) -> None`. `start` is called under the lock
and returns when the service is ready; it finds what a crash left behind and deals with it. `stop` must bear that nothing runs, and an
empty `info` after a `start` that failed.
What `start` returns is kept in `run/<name>.json`, readable by the home's owner only.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from asd_core.errors import Unavailable

Info = dict[str, Any]


def process_start(pid: int) -> float | None:
    """Return when a process started (kernel ticks since boot), None when there is none or only its zombie is left."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return None if fields[0] in {"Z", "X"} else float(fields[19])


def _state_of(text: str | None) -> dict[str, Any]:
    """Return what a state file says; that nothing is known where there is none, or one that we did not write."""
    try:
        told = json.loads(text or "")
        users = [{"pid": int(user["pid"]), "started": user["started"], "token": str(user["token"])} for user in told["users"]]
        info = told["info"]
        if info is None or isinstance(info, dict):
            return {"pinned": bool(told["pinned"]), "users": users, "info": info}
    except (ValueError, TypeError, KeyError):
        pass
    return {"pinned": False, "users": [], "info": None}


class Service(Protocol):
    """What a supervisor needs to know of a service."""

    @property
    def name(self) -> str:
        """Name of its files in the run folder."""

    def start(self) -> Info:
        """Start it and wait until it serves; return what its users need to know."""

    def alive(self, info: Info) -> bool:
        """Say whether the one that `start` described still runs; cheap."""

    def stop(self, info: Info) -> None:
        """Stop it and wait until it is gone; nothing to stop is no error."""


class Supervisor:
    """Shares one service among the processes and threads of this machine."""

    def __init__(self, service: Service, folder: Path, *, patience: float = 180.0) -> None:
        self.service = service
        self._folder, self._patience = folder, patience
        self._tokens: list[str] = []
        self._guard = threading.Lock()

    # ---- state ----

    @contextlib.contextmanager
    def _state(self) -> Iterator[dict[str, Any]]:
        """Lock, read, let change, write. Users that are no more are left out."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self._folder / f"{self.service.name}.lock").open("a") as lock:
            self._lock(lock.fileno())
            path = self._folder / f"{self.service.name}.json"
            before = None
            with contextlib.suppress(OSError):
                before = path.read_text(errors="replace")
            state = _state_of(before)
            state["users"] = [user for user in state["users"] if process_start(user["pid"]) == user["started"]]
            try:
                yield state
            finally:
                after = json.dumps(state)
                if after != before:  # a look at a full disk must not need room on it
                    temporary = path.with_suffix(".part")
                    temporary.touch(mode=0o600)
                    temporary.write_text(after)
                    temporary.replace(path)

    def _lock(self, descriptor: int) -> None:
        deadline = time.monotonic() + self._patience
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Unavailable(f"another command has been starting or stopping {self.service.name} for {self._patience:.0f} s") from None
                time.sleep(0.02)
            else:
                return

    def _running(self, state: dict[str, Any]) -> bool:
        return state["info"] is not None and self.service.alive(state["info"])

    def _ensure(self, state: dict[str, Any]) -> Info:
        if not self._running(state):
            state["info"] = None
            try:
                state["info"] = self.service.start()
            except BaseException:  # Ctrl-C while it comes up must not leave half a service behind
                self.service.stop({})
                raise
        info: Info = state["info"]
        return info

    def _end_if_unused(self, state: dict[str, Any]) -> bool:
        if state["pinned"] or state["users"] or state["info"] is None:
            return False
        self.service.stop(state["info"])
        state["info"] = None
        return True

    # ---- users ----

    def acquire(self) -> Info:
        """Become a user: start the service or share the running one; return what `start` returned."""
        token = uuid.uuid4().hex
        with self._state() as state:
            info = self._ensure(state)
            state["users"].append({"pid": os.getpid(), "started": process_start(os.getpid()), "token": token})
        with self._guard:
            self._tokens.append(token)
        return info

    def release(self) -> None:
        """Stop being a user; the last one stops the service, unless it is pinned."""
        with self._guard:
            if not self._tokens:
                return
            token = self._tokens.pop()
        with self._state() as state:
            state["users"] = [user for user in state["users"] if user["token"] != token]
            self._end_if_unused(state)

    @contextlib.contextmanager
    def use(self) -> Iterator[Info]:
        """Be a user for the length of a `with` block."""
        info = self.acquire()
        try:
            yield info
        finally:
            self.release()

    # ---- up, down, doctor ----

    def pin(self) -> Info:
        """Start the service, and let it stay when its last user ends."""
        with self._state() as state:
            info = self._ensure(state)
            state["pinned"] = True
            return info

    def down(self, *, force: bool = False) -> int:
        """Unpin; stop the service unless somebody uses it (`force`: even then). Return how many users it still has."""
        with self._state() as state:
            state["pinned"] = False
            if force:
                state["users"] = []
            if not state["users"]:  # also what no state knows: its command was killed while it came up
                self.service.stop(state["info"] or {})
                state["info"] = None
            return len(state["users"])

    def end_if_unused(self) -> None:
        """Stop the service unless somebody uses or pinned it; also one that was coming up when its command was killed."""
        with self._state() as state:
            if not state["pinned"] and not state["users"]:
                self.service.stop(state["info"] or {})
                state["info"] = None

    def status(self) -> Info:
        """Return {"running", "pinned", "users", "info"}; starts nothing."""
        with self._state() as state:
            return {"running": self._running(state), "pinned": state["pinned"], "users": len(state["users"]), "info": state["info"]}

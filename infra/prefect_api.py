"""What the doors ask of a Prefect server: submit by the name of a deployment, look at runs, pause a queue. Plain HTTP.

Prefect itself takes seconds to import and is not needed to talk to its server: the pages accept an event, and a command submits, without it.
"""

from __future__ import annotations

import datetime
import itertools
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from asd_core.errors import NotFound, RequestError, Unavailable

FINAL = frozenset({"COMPLETED", "FAILED", "CANCELLED", "CRASHED"})
WAITING = frozenset({"SCHEDULED", "PENDING"})
CREATED = 201  # else the server found what was asked for before
AGAIN_SECONDS = 60
PAGE = 200  # the most runs that the server tells at a time
ANSWER_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class FlowRun:
    """A flow run as the server knows it. `state` is the type in capitals, `message` what the run said of it, `created`: by this call."""

    id: str
    key: str | None
    state: str
    message: str
    parameters: Mapping[str, Any]
    began: float | None = None  # seconds since the epoch
    seconds: float = 0.0  # that it has run
    created: bool = False

    @property
    def work(self) -> str:
        """Return the key of the work, whichever attempt this is."""
        return (self.key or "").partition(":")[0]

    @property
    def ended(self) -> bool:
        """Say whether nothing more will come."""
        return self.state in FINAL


class PrefectApi:
    """A Prefect server. Safe for several threads.

    Args:
        url: of its API.
        key: its key, where it wants one.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        self.url = url.rstrip("/")
        self._key = key

    def submit(
        self, deployment: str, parameters: Mapping[str, Any], *, key: str, name: str, queue: str | None = None, again: bool = False
    ) -> FlowRun:
        """Ask for a run of a deployment, unless one with this key was asked for; return the one or the other.

        Args:
            deployment: its name, `flow/deployment`.
            parameters: of the flow.
            key: what is the same is done once.
            name: as it is shown.
            queue: of the deployment's pool; None for the deployment's own.
            again: a run that has ended counts for nothing: ask for another.

        Raises:
            RequestError: there is no such deployment, or it does not take these parameters.
            Unavailable: the server is out of reach.
        """
        try:
            found = self.ask("GET", f"/deployments/name/{deployment}")
        except NotFound as error:
            raise RequestError(f"the Prefect server knows no deployment {deployment}: `rollcall deploy` registers it") from error
        told = {"parameters": dict(parameters), "name": name, "state": {"type": "SCHEDULED"}}
        if queue is not None:
            told["work_queue_name"] = queue
        path = f"/deployments/{found['id']}/create_flow_run"
        status, answer = self._ask("POST", path, {**told, "idempotency_key": key})
        if again and _flow_run(answer).ended:  # who asks twice within a minute means the same
            status, answer = self._ask("POST", path, {**told, "idempotency_key": f"{key}:{time.time() // AGAIN_SECONDS:.0f}"})
        return _flow_run(answer, created=status == CREATED)

    def run(self, run_id: str) -> FlowRun:
        """Return a flow run."""
        return _flow_run(self.ask("GET", f"/flow_runs/{run_id}"))

    def runs(self, flow: str, states: Iterable[str]) -> Iterator[FlowRun]:
        """Give the runs of a flow that are in these states, oldest first."""
        wanted = {"flows": {"name": {"any_": [flow]}}, "flow_runs": {"state": {"type": {"any_": sorted(states)}}}, "sort": "START_TIME_ASC"}
        for offset in itertools.count(0, PAGE):
            page = self.ask("POST", "/flow_runs/filter", {**wanted, "limit": PAGE, "offset": offset})
            yield from (_flow_run(each) for each in page)
            if len(page) < PAGE:
                return

    def wait(self, run_id: str, *, seconds: float, stopped: Callable[[], bool] = lambda: False, every: float = 1.0) -> FlowRun:
        """Return a run when it has ended, when so many seconds are over, or when asked to stop."""
        deadline = time.monotonic() + seconds
        while True:
            run = self.run(run_id)
            if run.ended or stopped() or time.monotonic() > deadline:
                return run
            time.sleep(every)

    def set_state(self, run_id: str, kind: str, message: str = "", *, force: bool = False) -> bool:
        """Propose a state; return whether the server took it."""
        told = {"state": {"type": kind, "message": message}, "force": force}
        return bool(self.ask("POST", f"/flow_runs/{run_id}/set_state", told)["status"] == "ACCEPT")

    # ---- pools and queues ----

    def ensure_pool(self, name: str, template: Mapping[str, Any]) -> None:
        """Make a work pool of processes, unless it is there."""
        try:
            self.ask("GET", f"/work_pools/{name}")
        except NotFound:
            self.ask("POST", "/work_pools/", {"name": name, "type": "process", "base_job_template": dict(template)})

    def ensure_queue(self, pool: str, name: str, priority: int) -> None:
        """Make a queue of a pool, or give it its priority: 1 goes first."""
        try:
            self.ask("PATCH", f"/work_pools/{pool}/queues/{name}", {"priority": priority})
        except NotFound:
            self.ask("POST", f"/work_pools/{pool}/queues", {"name": name, "priority": priority})

    def pause_queue(self, pool: str, name: str, paused: bool) -> None:
        """Hold back what waits in a queue, or let it go on; what runs is not touched."""
        try:
            self.ask("PATCH", f"/work_pools/{pool}/queues/{name}", {"is_paused": paused})
        except NotFound as error:
            raise RequestError(f"the Prefect server knows no queue {name} in {pool}: `rollcall deploy` registers it") from error

    def queue_is_paused(self, pool: str, name: str) -> bool:
        """Say whether a queue is held back."""
        return bool(self.ask("GET", f"/work_pools/{pool}/queues/{name}")["is_paused"])

    def online_workers(self, pool: str) -> int:
        """Return how many workers of a pool said of late that they are there."""
        return sum(worker["status"] == "ONLINE" for worker in self.ask("POST", f"/work_pools/{pool}/workers/filter", {}))

    # ---- HTTP ----

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Return what the server answers.

        Raises:
            NotFound: it knows nothing of that name.
            RequestError: it does not take what it was told.
            Unavailable: it is out of reach, or in trouble.
        """
        return self._ask(method, path, body)[1]

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None) -> tuple[int, Any]:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self._key}"} if self._key else {})
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data=data, method=method, headers=headers)  # noqa: S310 -- from the settings
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:  # noqa: S310
                text, status = answer.read(), int(answer.status)
        except urllib.error.HTTPError as error:
            raise _refusal(error, f"{method} {path}") from error
        except (OSError, ValueError) as error:
            raise Unavailable(f"no Prefect API answers at {self.url}: {getattr(error, 'reason', None) or error}") from error
        return status, json.loads(text) if text else None


def _refusal(error: urllib.error.HTTPError, asked: str) -> Exception:
    if error.code == 404:
        return NotFound(f"the Prefect server knows nothing of it ({asked})")
    if error.code >= 500:
        return Unavailable(f"the Prefect server is in trouble: {error.code} ({asked})")
    try:
        detail = json.dumps(json.loads(error.read()).get("detail"))[:300]
    except (ValueError, AttributeError, OSError):
        detail = str(error.reason)
    return RequestError(f"the Prefect server refuses: {error.code} {detail} ({asked})")


def _flow_run(told: Mapping[str, Any], *, created: bool = False) -> FlowRun:
    state = told.get("state") or {}
    return FlowRun(
        id=str(told["id"]),
        key=told.get("idempotency_key"),
        state=str(state.get("type") or told.get("state_type") or "SCHEDULED"),
        message=str(state.get("message") or ""),
        parameters=told.get("parameters") or {},
        began=datetime.datetime.fromisoformat(told["start_time"]).timestamp() if told.get("start_time") else None,
        seconds=float(told.get("total_run_time") or 0.0),
        created=created,
    )

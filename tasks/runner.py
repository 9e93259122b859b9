"""How stages are run: here and now, or as Prefect's task and flow runs.

`Direct` runs them with nothing beside it, `Orchestrated` makes flow runs of its own, `Reporting` is called in one that a worker began.
All keep to the retry policy beside each stage. Nothing large passes through Prefect: a task's result is how its stage ended, records
rest in the artifact store.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from tasks.stage import Outcome, Retry, Stopped, is_transient

T = TypeVar("T")


class Direct:
    """Runs stages in this process, with nothing beside it."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def stage(self, name: str, retry: Retry, body: Callable[[int], Outcome], *, stopped: Callable[[], bool]) -> None:
        """Run a stage; transient errors are met with another try."""
        for attempt, delay in enumerate(retry.delays, start=1):
            try:
                body(attempt)
            except Exception as error:
                if not is_transient(error) or stopped():
                    raise
                self._stop.wait(delay)
            else:
                return
        body(len(retry.delays) + 1)

    def flow(self, name: str, run_name: str, body: Callable[[], T]) -> T:
        """Run a body."""
        return body()


class Orchestrated:
    """Runs stages as Prefect tasks and bodies as Prefect flows; needs `infra.orchestrate.connected`.

    Args:
        tags: of every run, by which lost ones are found.
    """

    def __init__(self, tags: tuple[str, ...] = ()) -> None:
        self._tags = tags

    def stage(self, name: str, retry: Retry, body: Callable[[int], Outcome], *, stopped: Callable[[], bool]) -> None:
        """Run a stage as a task run whose state says "Completed" where it was made and "Cached" where it was there."""
        from prefect import task
        from prefect.cache_policies import NO_CACHE
        from prefect.context import TaskRunContext
        from prefect.states import Cancelled, Completed

        ended: list[BaseException | None] = []

        def attempted() -> Any:
            context = TaskRunContext.get()
            try:
                outcome = body(context.task_run.run_count if context is not None else 1)
            except Stopped as stop:
                ended[:] = [stop]
                return Cancelled(message="the command was stopped")
            except BaseException as error:
                ended[:] = [error]
                raise
            ended[:] = [None]
            return Completed(name="Cached", message="the artifact was there") if outcome == "cached" else Completed(message="made and stored")

        def again(_: Any, __: Any, state: Any) -> bool:
            return bool(ended) and ended[0] is not None and is_transient(ended[0]) and not stopped()

        run = task(
            name=name.split(" ", maxsplit=1)[0], task_run_name=name, retries=len(retry.delays), retry_delay_seconds=list(retry.delays),
            retry_condition_fn=again, cache_policy=NO_CACHE, persist_result=False,
        )(attempted)  # fmt: skip
        state = run(return_state=True)
        if not ended:
            raise RuntimeError(f"Prefect did not run {name}: {state}")
        if ended[0] is not None:
            raise ended[0]

    def flow(self, name: str, run_name: str, body: Callable[[], T]) -> T:
        """Run a body as a flow run; an interrupted one ends as cancelled, a failed one as failed."""
        from prefect import flow, tags
        from prefect.states import Cancelled, Completed

        ended: list[BaseException] = []
        results: list[T] = []

        def watched() -> Any:
            try:
                results.append(body())
            except (Stopped, KeyboardInterrupt, SystemExit) as stop:
                ended.append(stop)
                return Cancelled(message="the command was stopped")
            except BaseException as error:
                ended.append(error)
                raise
            return Completed()

        with tags(*self._tags):
            state = flow(name=name, flow_run_name=run_name, persist_result=False, validate_parameters=False)(watched)(return_state=True)
        if ended:
            raise ended[0]
        if not results:
            raise RuntimeError(f"Prefect did not run {name}: {state}")
        return results[0]


class Reporting(Orchestrated):
    """Runs stages as task runs of the flow run that it is in: a deployed one, which needs none below it."""

    def flow(self, name: str, run_name: str, body: Callable[[], T]) -> T:
        """Run a body."""
        return body()

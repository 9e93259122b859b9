"""A worker: takes flow runs from a pool and runs each in a process of its own, which ends with everything it started.

Prefect's process worker, with this interpreter for its children: no search for a workspace, of which installed code has none. Children
inherit the environment, and with it Rollcall's settings; nothing of it is told to the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

from flows.cluster import check
from flows.service import QUEUES, prefect_key, server_url, use_server
from infra import orchestrate
from infra.settings import worker_variables

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.settings import Settings

POLL_SECONDS = 2.0  # between two looks for work


def run_worker(settings: Settings, *, pool: str, limit: int, say: Callable[[str], None]) -> None:
    """Work until SIGINT or SIGTERM; what runs then is ended and goes back to whoever finds it.

    Args:
        settings: of the children too.
        pool: whose runs are taken: those of the queue `live` first.
        limit: runs at a time.
        say: told when the worker is ready.

    Raises:
        RequestError: the package of the cluster that `span_runner` names is missing.
        Unavailable: no Prefect server answers.
    """
    check(settings.span_runner)
    release = use_server(settings)
    try:
        url = server_url(settings)
        variables = {"PREFECT_API_URL": url, "PREFECT_WORKER_QUERY_SECONDS": str(POLL_SECONDS), **worker_variables(settings, limit)}
        key = prefect_key(settings)
        if key is not None:
            variables["PREFECT_API_KEY"] = key
        os.environ.update(variables)  # noqa: TID251 -- the children's too
        orchestrate.prepare(settings.home)
        asyncio.run(_work(pool, limit, say))
    finally:
        release()


async def _work(pool: str, limit: int, say: Callable[[str], None]) -> None:
    from prefect.utilities.processutils import command_to_string
    from prefect.workers.process import ProcessJobConfiguration, ProcessWorker

    class Configuration(ProcessJobConfiguration):
        def prepare_for_flow_run(self, *args: Any, **kwargs: Any) -> None:
            self.command = command_to_string([sys.executable, "-m", "prefect.engine"])
            self.stream_output = False
            super().prepare_for_flow_run(*args, **kwargs)

    name = f"{socket.gethostname()}-{os.getpid()}"
    worker = ProcessWorker(work_pool_name=pool, work_queues=list(QUEUES), name=name, limit=limit, create_pool_if_not_found=False)
    worker.job_configuration = Configuration
    task = asyncio.ensure_future(worker.start(printer=lambda text: say(str(text))))
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sign, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task

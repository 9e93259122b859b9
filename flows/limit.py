"""The longest that a deployed run may take: one that hangs must not hold a worker for ever.

Stages that decode have limits of their own (infra.sandbox), and so has all that answers or does not answer at all. This one is for what is left:
a query whose server has fallen silent, a lock that a hung process holds, a network's session that never returns. Nothing in the process can
be relied on by then, so all of it is ended. The library is as before: what is published is published in one transaction.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from infra.ending import leave_at_once

if TYPE_CHECKING:
    from infra.settings import Settings

AT_LEAST_SECONDS = 4 * 3600.0  # to fetch and hash hundreds of gigabytes, or to wait for whoever works on the same asset
CHILDREN = 2  # times what a decoding child may take for the whole asset
WATCH_SECONDS = 1.0


def longest_run(settings: Settings, media_seconds: float) -> float:
    """Return how many seconds a run may take for media of a length."""
    return AT_LEAST_SECONDS + CHILDREN * settings.child_seconds(media_seconds)


@contextlib.contextmanager
def limited(seconds: Callable[[], float], say: Callable[[str], object]) -> Iterator[None]:
    """End this process, and with it all that it started, where the block takes too long.

    Args:
        seconds: that it may take; asked time and again, because the length of media is known only when they were opened.
        say: tells the server that the run has failed, and why.
    """
    ended, began = threading.Event(), time.monotonic()

    def watch() -> None:
        while not ended.wait(WATCH_SECONDS):
            longest = seconds()
            if time.monotonic() - began > longest:
                told = False
                try:
                    say(f"not done after {longest / 3600:.1f} h: its process was ended, nothing was published, and the next scan tries again")
                    told = True
                finally:  # whatever the server answers, or does not
                    leave_at_once(0 if told else 1)

    threading.Thread(target=watch, name="limit", daemon=True).start()
    try:
        yield
    finally:
        ended.set()

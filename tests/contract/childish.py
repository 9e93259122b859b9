"""What the sandbox's children are asked to do in tests."""

import os
import signal
import sys
import time

import numpy as np
from numpy.typing import NDArray

from asd_core.errors import Unsupported
from asd_core.records import Analysis, Span


def turned(span: Span, by: float = 0.0) -> Span:
    return Span(span.end + by, span.start + by)


def same(analysis: Analysis) -> Analysis:
    return analysis


def counting(steps: int, on_progress=None) -> int:
    for step in range(steps):
        if on_progress is not None:
            on_progress("count", step + 1, steps)
        time.sleep(0.01)
    return steps


def talking(seconds: float, on_progress=None) -> int:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        on_progress("talk", 1, 1)
    return 0


def process() -> int:
    return os.getpid()


def environment() -> dict[str, str]:
    return dict(os.environ)  # noqa: TID251 -- what a child sees


def refuses(path: str) -> int:
    raise Unsupported(f"{path}: no such codec")


def fails() -> int:
    raise ValueError("a bug")


def crashes(number: int) -> int:
    sys.stderr.write("noise\nlast words\n")
    sys.stderr.flush()
    os.kill(os.getpid(), number)
    time.sleep(5)
    return 0


def sleeps(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def stuck() -> int:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    while True:
        pass


def eats() -> int:
    eaten = []
    while True:
        eaten.append(np.ones(2_000_000))
        time.sleep(0.005)


def devours() -> int:
    return len(np.zeros(1 << 33, np.uint8))


def noisy() -> int:
    for _ in range(60_000):
        os.write(2, b"x" * 100)
    return 1


def prints() -> int:
    print("this must not reach the answers")
    return 1


def large(count: int) -> dict[str, NDArray[np.float32]]:
    return {"a": np.arange(count, dtype=np.float32)}


def lies() -> int:
    return "not a number"


def core_limit() -> int:
    import resource

    return resource.getrlimit(resource.RLIMIT_CORE)[1]

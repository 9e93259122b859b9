"""Children with limits: whatever happens in them, the parent gets an answer or a clear error, and the next call works."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from asd_core.errors import DecodeLimit, Unavailable, Unreadable, Unsupported
from asd_core.records import Span
from infra import sandbox as sandbox_module
from infra.codec import encode
from infra.sandbox import ChildFailed, Sandbox
from infra.supervise import process_start
from tests.contract.library import made_analysis

CHILD = "tests.contract.childish:"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(2, timeout=20, memory=600 << 20) as sandbox:
        yield sandbox


def gone(pid, seconds=5.0):
    deadline = time.monotonic() + seconds
    while process_start(pid) is not None and time.monotonic() < deadline:
        time.sleep(0.02)
    return process_start(pid) is None


def test_records_there_and_back(sandbox):
    assert sandbox.call(f"{CHILD}turned", Span(1, 2), by=3) == Span(5, 4)
    analysis = made_analysis("a")
    assert encode(sandbox.call(f"{CHILD}same", analysis)) == encode(analysis)


def test_the_child_stays(sandbox):
    assert sandbox.call(f"{CHILD}process") == sandbox.call(f"{CHILD}process") != os.getpid()


def test_a_child_is_replaced_after_some_calls(monkeypatch):
    monkeypatch.setattr(sandbox_module, "CALLS", 3)
    with Sandbox() as own:
        pids = [own.call(f"{CHILD}process") for _ in range(7)]
        assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 1]
        assert all(gone(pid) for pid in pids[:6])


def test_progress_arrives(sandbox):
    told = []
    assert sandbox.call(f"{CHILD}counting", 12, on_progress=lambda *args: told.append(args)) == 12
    assert told[-1] == ("count", 12.0, 12.0)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert sandbox.call(f"{CHILD}counting", 2) == 2


def test_an_error_in_the_listener_ends_the_call_and_the_child(sandbox):
    def listener(*_):
        raise KeyError

    with pytest.raises(KeyError):
        sandbox.call(f"{CHILD}counting", 12, on_progress=listener)
    assert sandbox.call(f"{CHILD}counting", 2) == 2


def test_our_errors_keep_their_class(sandbox):
    with pytest.raises(Unsupported, match=r"x\.mp4: no such codec"):
        sandbox.call(f"{CHILD}refuses", "x.mp4")


def test_other_errors_are_bugs_with_their_trace(sandbox):
    with pytest.raises(ChildFailed, match="ValueError in fails: a bug") as caught:
        sandbox.call(f"{CHILD}fails")
    assert "childish.py" in caught.value.__notes__[0]


def test_a_crash_is_an_unreadable_file(sandbox):
    with pytest.raises(Unreadable, match=r"SIGSEGV.*last words"):
        sandbox.call(f"{CHILD}crashes", int(signal.SIGSEGV))
    with pytest.raises(Unavailable, match="killed from outside"):
        sandbox.call(f"{CHILD}crashes", int(signal.SIGKILL))
    assert sandbox.call(f"{CHILD}counting", 1) == 1


@pytest.mark.parametrize("name", ["stuck", "sleeps", "talking"])
def test_time_is_limited(sandbox, name):
    start = time.monotonic()
    with pytest.raises(DecodeLimit, match="more than 1 s"):
        sandbox.call(CHILD + name, *([] if name == "stuck" else [30.0]), timeout=1, on_progress=lambda *_: None)
    assert time.monotonic() - start < 3


def test_memory_is_limited(sandbox):
    with pytest.raises(DecodeLimit, match="memory"):
        sandbox.call(f"{CHILD}eats")
    with pytest.raises(DecodeLimit, match="memory"):
        sandbox.call(f"{CHILD}devours")


def test_noise_harms_nothing(sandbox):
    assert sandbox.call(f"{CHILD}noisy") == 1
    assert sandbox.call(f"{CHILD}prints") == 1


def test_large_answers(sandbox):
    np.testing.assert_array_equal(sandbox.call(f"{CHILD}large", 5_000_000)["a"], np.arange(5_000_000, dtype=np.float32))


def test_a_wrong_answer_is_refused(sandbox):
    with pytest.raises(Unreadable, match="wrong answer"):
        sandbox.call(f"{CHILD}lies")


def test_no_core_dumps_and_no_secrets(sandbox, monkeypatch):
    monkeypatch.setenv("ROLLCALL_DATABASE_URL", "secret")
    with Sandbox() as fresh:
        assert "secret" not in str(fresh.call(f"{CHILD}environment"))
    assert sandbox.call(f"{CHILD}core_limit") == 0


def test_a_child_that_died_between_calls_is_replaced():
    with Sandbox() as sandbox:
        pid = sandbox.call(f"{CHILD}process")
        os.kill(pid, signal.SIGKILL)
        assert gone(pid)
        assert sandbox.call(f"{CHILD}process") != pid


def test_threads_get_children_of_their_own(sandbox):
    pids, start = [], time.monotonic()
    threads = [threading.Thread(target=lambda: pids.append(sandbox.call(f"{CHILD}sleeps", 0.5))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == 4
    assert len(set(pids)) == 2
    assert time.monotonic() - start < 4


def test_close_ends_busy_children():
    caught = []
    sandbox = Sandbox()
    pid = sandbox.call(f"{CHILD}process")

    def work():
        try:
            sandbox.call(f"{CHILD}sleeps", 60.0)
        except Unavailable as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.2)
    sandbox.close()
    thread.join(timeout=5)
    assert caught
    assert gone(pid)
    with pytest.raises(Unavailable):
        sandbox.call(f"{CHILD}process")


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_children_end_with_their_parent(end):
    """Kill: the kernel ends the child. Ctrl-C: the parent does, though the child itself ignores it."""
    code = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
from infra.sandbox import Sandbox
with Sandbox() as sandbox:
    print(sandbox.call("{CHILD}process"), flush=True)
    sandbox.call("{CHILD}sleeps", 60.0)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as parent:
        pid = int(parent.stdout.readline())
        time.sleep(0.3)
        assert process_start(pid) is not None
        parent.send_signal(end)
        assert parent.wait(timeout=10) != 0
        assert gone(pid)

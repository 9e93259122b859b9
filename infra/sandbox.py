"""The sandbox: a function of ours in a child process with limits, because decoding untrusted media must not harm the parent.

Children persist between calls, so that networks stay loaded; one call has one child to itself, and up to `children` calls run side by
side. Requests and answers are encoded records (infra.codec); the answer is built by the return annotation of the function, so that
a child taken over by a hostile file can at most return wrong numbers.

How a child ends: the parent closes the pipe; the parent dies (PR_SET_PDEATHSIG, sent when the thread that started the child ends,
hence one spawning thread for the life of the sandbox); a limit of time or memory is passed; it crashes. After the last two the call
raises, and the next call gets a fresh child. Children ignore Ctrl-C: the parent decides.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import typing
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from asd_core import errors
from asd_core.errors import ArtifactDamaged, DecodeLimit, RollcallError, Unavailable, Unreadable
from infra.codec import Packed, encode, unpack
from infra.memory import give_back
from infra.supervise import process_start

Progress = Callable[[str, float, float], None]
GIGABYTE = 1 << 30
PROGRESS, RESULT, ERROR = b"P", b"R", b"E"
WATCH_SECONDS = 0.25  # between looks at a child's memory
CALLS = 32  # of a child, which is then replaced: each leaves a megabyte behind that nobody gives back
NOISE_LIMIT = 1 << 20  # bytes of a child's stderr that are kept
PROGRESS_SECONDS = 0.05  # between two progress messages of a child
BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from infra.sandbox import serve; serve(json.loads(sys.argv[2]))"


class ChildFailed(RollcallError):
    """The function in the child raised an error that is none of ours: a bug, not the file's fault."""


@functools.cache
def _resolve(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    return typing.cast("Callable[..., Any]", getattr(importlib.import_module(module), function))


# ---- the parent --------------------------------------------------------------------------------------------------------------


def _search_path() -> list[str]:
    """Where a child finds modules: what the parent has, made independent of the working folder."""
    return [str(Path(entry).absolute()) if Path(entry).exists() else entry for entry in sys.path]


class _Child:
    """One child process and its pipes; used by one call at a time."""

    def __init__(self, environment: Mapping[str, str], preload: tuple[str, ...], memory: int) -> None:
        self.noise = tempfile.TemporaryFile()  # noqa: SIM115 -- lives as long as the child
        answers, answers_child = os.pipe()
        options = {"answers": answers_child, "parent": os.getpid(), "preload": preload, "memory": memory}
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-c", BOOT, json.dumps(_search_path()), json.dumps(options)],
                stdin=subprocess.PIPE, stdout=self.noise, stderr=self.noise, pass_fds=(answers_child,), env=dict(environment), bufsize=0,
            )  # fmt: skip
        finally:
            os.close(answers_child)
        self.answers = answers
        self.watch_again = 0.0  # monotonic time of the next look at the limits
        self.calls = 0

    def alive(self) -> bool:
        # The system tells of a process's end only when the last of its threads is gone; one that was killed is a zombie before that.
        return self.process.poll() is None and process_start(self.process.pid) is not None

    def send(self, data: bytes) -> None:
        stdin = self.process.stdin
        if stdin is None:
            raise BrokenPipeError
        view = memoryview(len(data).to_bytes(8, "little") + data)
        while view:
            view = view[stdin.write(view) :]

    def memory(self) -> int:
        """Resident bytes; 0 where the system does not tell."""
        try:
            return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError, ValueError):
            return 0

    def tail(self) -> str:
        """The last line that the child or its libraries wrote."""
        with contextlib.suppress(OSError, ValueError):
            size = self.noise.seek(0, os.SEEK_END)
            self.noise.seek(max(0, size - 4096))
            lines = [line for line in self.noise.read().decode(errors="replace").splitlines() if line.strip()]
            return lines[-1][:300] if lines else ""
        return ""

    def forget_noise(self, at_least: int = 0) -> None:
        with contextlib.suppress(OSError, ValueError):
            if os.fstat(self.noise.fileno()).st_size > at_least:
                os.ftruncate(self.noise.fileno(), 0)

    def end(self) -> int:
        """Kill, reap, close; return the exit status."""
        with contextlib.suppress(OSError):
            self.process.kill()
        status = self.process.wait()
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        with contextlib.suppress(OSError):
            os.close(self.answers)
        self.answers = -1
        self.noise.close()
        return status


class Sandbox:
    """A pool of children; safe for use by several threads.

    Args:
        children: how many calls may run side by side; further ones wait.
        environment: of the children (no credentials: infra.settings.child_environment).
        preload: modules that a child imports while it starts.
        memory: resident bytes that a child may use.
        timeout: seconds that a call may take where the call does not say.
    """

    def __init__(
        self,
        children: int = 1,
        *,
        environment: Mapping[str, str] | None = None,
        preload: tuple[str, ...] = (),
        memory: int = 4 * GIGABYTE,
        timeout: float = 600.0,
    ) -> None:
        self._environment = {"PATH": os.defpath} if environment is None else environment
        self._preload, self._memory, self._timeout = preload, memory, timeout
        self._places = threading.BoundedSemaphore(children)
        self._spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sandbox")
        self._lock = threading.Lock()
        self._idle: list[_Child] = []
        self._busy: set[_Child] = set()
        self._closed = False

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def warm(self) -> None:
        """Start one child in the background, so that the first call finds it ready."""
        self._spawner.submit(self._spawn_idle)

    def _spawn_idle(self) -> None:
        child = _Child(self._environment, self._preload, self._memory)
        with self._lock:
            if not self._closed:
                self._idle.append(child)
                return
        child.end()

    def _take(self) -> _Child:
        while True:
            with self._lock:
                if self._closed:
                    raise Unavailable("the sandbox is closed")
                child = self._idle.pop() if self._idle else None
                if child is not None and child.alive():
                    self._busy.add(child)
                    return child
            if child is not None:
                child.end()
                continue
            try:
                self._spawner.submit(self._spawn_idle).result()
            except (OSError, RuntimeError) as error:
                raise Unavailable(f"cannot start a child process: {error}") from error

    def _give_back(self, child: _Child, *, usable: bool) -> None:
        child.calls += 1
        with self._lock:
            self._busy.discard(child)
            if usable and not self._closed and child.calls < CALLS:
                child.forget_noise()
                self._idle.append(child)
                return
        child.end()

    def close(self) -> None:
        """End all children, busy ones too: their calls raise Unavailable."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            for child in self._busy:
                with contextlib.suppress(OSError):
                    child.process.kill()
        for child in idle:
            child.end()
        self._spawner.shutdown(wait=False, cancel_futures=True)

    def call(self, function: str, *args: Any, timeout: float | None = None, on_progress: Progress | None = None, **kwargs: Any) -> Any:
        """Return what `"package.module:function"` returns for these arguments, run in a child.

        The function's annotations say how arguments and result are built. Where it takes `on_progress`, its calls arrive here.

        Raises:
            RollcallError: what the function raised, of the same class; DecodeLimit where time or memory ran out; Unreadable where
                the child crashed; ChildFailed for any other error in it; Unavailable where the sandbox was closed or the child killed.
        """
        returns = typing.get_type_hints(_resolve(function))["return"]
        request = encode({"function": function, "args": args, "kwargs": kwargs, "progress": on_progress is not None})
        seconds = self._timeout if timeout is None else timeout
        with self._places:
            child = self._take()
            usable = False
            try:
                answer = self._converse(child, request, seconds, on_progress)
                usable = True
            finally:
                self._give_back(child, usable=usable)
        return self._outcome(answer, returns, function)

    def _converse(self, child: _Child, request: bytes, seconds: float, on_progress: Progress | None) -> tuple[bytes, bytearray]:
        deadline = time.monotonic() + seconds
        try:
            child.send(request)
            while True:
                kind, body = self._receive(child, deadline, seconds)
                if kind != PROGRESS:
                    return kind, body
                if on_progress is not None:
                    stage, done, total = json.loads(body)
                    on_progress(str(stage), float(done), float(total))
        except (BrokenPipeError, EOFError) as error:
            raise self._crash(child) from error

    def _receive(self, child: _Child, deadline: float, seconds: float) -> tuple[bytes, bytearray]:
        def read(count: int) -> bytearray:
            whole, got = bytearray(count), 0  # filled in place: the sound of ten hours is 190 MB
            while got < count:
                self._await(child, poller, deadline, seconds)
                part = os.readv(child.answers, [memoryview(whole)[got : got + (1 << 20)]])
                if not part:
                    raise EOFError
                got += part
            return whole

        poller = select.poll()
        poller.register(child.answers, select.POLLIN)
        head = read(9)
        length = int.from_bytes(head[1:], "little")
        if length > self._memory:
            raise DecodeLimit(f"the answer of the decoding child has {length} bytes")
        return bytes(head[:1]), read(length)

    def _await(self, child: _Child, poller: select.poll, deadline: float, seconds: float) -> None:
        """Wait for bytes, and meanwhile watch the limits (a child that keeps talking is watched too)."""
        ready = False
        while not ready:
            ready = bool(poller.poll(WATCH_SECONDS * 1000))
            now = time.monotonic()
            if now < child.watch_again:
                continue
            child.watch_again = now + WATCH_SECONDS
            if now > deadline:
                raise DecodeLimit(f"decoding took more than {seconds:.0f} s")
            if child.memory() > self._memory:
                raise DecodeLimit(f"decoding needed more than {self._memory / GIGABYTE:.1f} GiB of memory")
            child.forget_noise(NOISE_LIMIT)

    def _crash(self, child: _Child) -> RollcallError:
        if self._closed:
            return Unavailable("the sandbox was closed")
        try:
            status = child.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            status = 0
        noise = child.tail()
        said = f": {noise}" if noise else ""
        if status == -signal.SIGKILL:
            return Unavailable("the decoding child was killed from outside, most likely for want of memory")
        if status < 0:
            return Unreadable(f"the decoder crashed ({signal.Signals(-status).name}){said}")
        return ChildFailed(f"the decoding child ended with status {status}{said}")

    def _outcome(self, answer: tuple[bytes, bytearray], returns: Any, function: str) -> Any:
        kind, body = answer
        try:
            if kind == RESULT:
                return unpack(body).build(returns)
            told = json.loads(body)
            name, message, trace = str(told["class"]), str(told["message"]), str(told["trace"])
        except (ArtifactDamaged, ValueError, KeyError, TypeError) as error:
            raise Unreadable(f"the decoding child gave a wrong answer: {error}") from error
        known = getattr(errors, name, None)
        if isinstance(known, type) and issubclass(known, RollcallError):
            raise known(message)
        failure = ChildFailed(f"{name} in {function.partition(':')[2]}: {message}")
        failure.add_note(trace)
        raise failure


# ---- the child ---------------------------------------------------------------------------------------------------------------


def serve(options: dict[str, Any]) -> None:
    """Answer requests from stdin until it closes. Runs in the child."""
    _restrict(options["parent"], options["memory"])
    for module in options["preload"]:
        importlib.import_module(module)
    with open(0, "rb", closefd=False) as requests, open(options["answers"], "wb") as answers:  # noqa: PTH123 -- descriptors
        while head := requests.read(8):
            data = requests.read(int.from_bytes(head, "little"))
            _send(answers, *_answer(unpack(data), answers))
            del data
            give_back()  # and keep nothing of it while waiting


def _restrict(parent: int, memory: int) -> None:
    import resource

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:  # died before the call above
            os._exit(1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The parent looks at resident memory four times a second; this stops what grows faster. Libraries reserve about twice what they
    # touch (1.1 GB for 0.63 GB resident, measured on a clip).
    for limit, wanted in ((resource.RLIMIT_NOFILE, 512), (resource.RLIMIT_DATA, 2 * memory + GIGABYTE)):
        _, hard = resource.getrlimit(limit)
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(limit, (value, value))


def _send(answers: typing.BinaryIO, kind: bytes, body: bytes) -> None:
    answers.write(kind + len(body).to_bytes(8, "little"))
    answers.write(body)
    answers.flush()


def _reporter(answers: typing.BinaryIO) -> Progress:
    last = ("", -PROGRESS_SECONDS)

    def report(stage: str, done: float, total: float) -> None:
        nonlocal last
        now = time.monotonic()
        if stage != last[0] or done >= total or now - last[1] >= PROGRESS_SECONDS:
            last = stage, now
            _send(answers, PROGRESS, json.dumps([stage, float(done), float(total)]).encode())

    return report


def _arguments(function: Callable[..., Any], request: Packed) -> tuple[list[Any], dict[str, Any]]:
    hints = typing.get_type_hints(function)
    names = list(inspect.signature(function).parameters)
    args = [value.build(hints.get(name, Any)) for name, value in zip(names, request.item("args").items(), strict=False)]
    given = request.item("kwargs")
    kwargs = {key: Packed(tree, given.arrays).build(hints.get(key, Any)) for key, tree in given.tree["d"]}
    return args, kwargs


def _answer(request: Packed, answers: typing.BinaryIO) -> tuple[bytes, bytes]:
    import traceback

    try:
        function = _resolve(request.item("function").build(str))
        args, kwargs = _arguments(function, request)
        if "on_progress" in inspect.signature(function).parameters and request.item("progress").build(bool):
            kwargs["on_progress"] = _reporter(answers)
        return RESULT, encode(function(*args, **kwargs))
    except MemoryError:
        told = {"class": "DecodeLimit", "message": "decoding ran out of memory", "trace": ""}
    except Exception as error:  # noqa: BLE001 -- the border between processes: the parent raises it again
        told = {"class": type(error).__name__, "message": str(error), "trace": traceback.format_exc(limit=20)}
    return ERROR, json.dumps(told).encode()

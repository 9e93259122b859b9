"""The door: commands in, exit codes out. 0 done, 1 cannot be served, 2 usage, 3 some assets failed, 130 interrupted, 128 + n by signal n.

A terminal that closes and a SIGTERM end a command as Ctrl-C does: what it started is ended first. A second such signal ends it at once.

Results go to stdout, everything else to stderr. Every error that a user may meet becomes one line; `--debug` adds the trace.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import traceback
from typing import Annotated, Any

import typer

from rollcall.cli import analyse, backup, corrections, doctor, export, index, ingest, looks, models, retry, search, service, services
from rollcall.cli.show import complain

INTERRUPTED = 130
ENDING_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
ONE_SIGNAL_SECONDS = 0.3  # a wrapper passes on what the terminal sent too: that is one signal, not two

app = typer.Typer(
    name="rollcall",
    help="Who spoke when, over a whole library of video.\n\nBegin with:  rollcall analyse FILE   or   rollcall ingest FOLDER",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_debug = False
_asked_at: float | None = None  # to end, on the monotonic clock


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"rollcall {version('rollcall')}")  # noqa: T201 -- stdout is where results go
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the trace of an error.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)] = False,
) -> None:
    global _debug  # noqa: PLW0603 -- read once, where the process ends
    _debug = debug


for group in (analyse, ingest, retry, looks, search, corrections, export, models, index, doctor, backup, services, service):
    group.add_commands(app)


def main() -> None:
    """Run the command that the arguments name, and end the process with its exit code."""
    for name in ENDING_SIGNALS:
        with contextlib.suppress(ValueError):  # not the main thread: a test
            if signal.getsignal(getattr(signal, name)) != signal.SIG_IGN:  # nohup: the command is to outlive its terminal
                signal.signal(getattr(signal, name), _end)
    code: Any = 1
    try:
        app()
    except SystemExit as ending:
        code = ending.code
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        code = 0
    except Exception as error:  # noqa: BLE001 -- the door: one line, never a trace
        code = _explain(error)
    if code == INTERRUPTED:
        complain("interrupted")
    _close_quietly()
    if "infra.ending" in sys.modules:  # else no thread was given up
        from infra.ending import leave

        leave(code if isinstance(code, int) else 0 if code is None else 1)
    sys.exit(code)


def _end(number: int, _: object) -> None:
    global _asked_at  # noqa: PLW0603 -- a signal knows nothing else
    now = time.monotonic()
    if _asked_at is not None:
        if now - _asked_at > ONE_SIGNAL_SECONDS:
            from infra.ending import leave_at_once

            leave_at_once(128 + number)
        return
    _asked_at = now
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


def _explain(error: Exception) -> int:
    from asd_core.errors import RollcallError

    if _debug:
        traceback.print_exception(error)
    if isinstance(error, RollcallError):
        complain(str(error))
        return error.exit_code
    if isinstance(error, OSError):
        about = f": {error.filename}" if error.filename else ""
        complain(f"{error.strerror or error}{about}")
        return 1
    complain(f"internal error: {type(error).__name__}: {error} (rollcall --debug shows where)")
    return 1


def _close_quietly() -> None:
    """Flush now: a reader that has gone away must not make noise while the interpreter ends."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

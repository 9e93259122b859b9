"""Telemetry: what the machine says to whoever runs it. A log of JSON lines in the home folder; nothing leaves the machine.

Messages are constant, what varies is in fields (`extra={"asset": …, "stage": …, "seconds": …}`): a log can be counted and searched. No
names of people, no vectors, no secrets: callers pass hashes, ids, stages, numbers.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import logging.handlers
import sys
import traceback
from pathlib import Path

LOGGER = logging.getLogger("rollcall")
SIZE_LIMIT = 8 << 20  # bytes of one file
FILES = 4
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """One JSON object a line: time (UTC), level, message, process, then the fields that the caller gave."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        line = {
            "time": datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            "process": record.process,
        }
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = "".join(traceback.format_exception(record.exc_info[1]))[-4000:]
        return json.dumps(line, default=str, ensure_ascii=False)


class _Appending(logging.handlers.RotatingFileHandler):
    """Rotation that several processes bear: the file is opened for each line, and who finds it too long renames it."""

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        self.close_stream()

    def close_stream(self) -> None:
        """Close the file until the next line, so that another process may rename it."""
        stream, self.stream = self.stream, None  # type: ignore[assignment]  # the base class opens it again
        if stream:
            with contextlib.suppress(OSError):  # a full disk: the line is lost, and nothing else
                stream.close()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 -- the base class's name
        """Say nothing of a line that the disk has no room for; of anything else what logging says."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def start_logging(home: Path, *, level: int = logging.INFO) -> logging.Logger:
    """Send what the program logs to `home/log/rollcall.jsonl`, and nothing to the terminal; return the logger.

    Twice is once; another home takes the place of the one before.
    """
    folder = home / "log"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / "rollcall.jsonl"
    logs = [handler for handler in LOGGER.handlers if isinstance(handler, _Appending)]
    for other in logs:
        if Path(other.baseFilename) != path.absolute():
            LOGGER.removeHandler(other)
            other.close()
    if not any(Path(handler.baseFilename) == path.absolute() for handler in logs):
        handler = _Appending(path, maxBytes=SIZE_LIMIT, backupCount=FILES, delay=True, encoding="utf-8")
        handler.setFormatter(JsonLines())
        LOGGER.addHandler(handler)
    LOGGER.setLevel(level)
    LOGGER.propagate = False
    return LOGGER


def stop_logging() -> None:
    """Close the log file; what is logged then goes where the program that uses us sends it."""
    for handler in list(LOGGER.handlers):
        if isinstance(handler, _Appending):
            LOGGER.removeHandler(handler)
            handler.close()
    LOGGER.propagate = True

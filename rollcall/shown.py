"""How times and ids are written for people, on a terminal and on a page alike."""

from __future__ import annotations

SHORT_ID = 8  # characters of a person's or asset's id that are shown


def clock(seconds: float | None) -> str:
    """Return `m:ss.s`, or `h:mm:ss.s` from an hour on; nothing for None.

    >>> clock(75.25)
    '1:15.3'
    """
    if seconds is None:
        return ""
    tenths = int(seconds * 10 + 0.5)
    hours, minutes, rest = tenths // 36000, tenths // 600 % 60, tenths % 600 / 10
    return f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def short(identifier: object) -> str:
    """Return the beginning of an id, enough to name it by."""
    return str(identifier)[:SHORT_ID]

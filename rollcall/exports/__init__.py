"""Formats: pure functions from the document of `rollcall.api.document` to text; and the overlay, which is a video.

`TEXT_FORMATS` is the table of formats: a new one is a function, a line here and a golden file.
"""

from __future__ import annotations

from collections.abc import Callable

from rollcall.api.document import Document, dumps
from rollcall.exports.text import ava, rttm, turns_csv, vtt

TEXT_FORMATS: dict[str, Callable[[Document], str]] = {"json": dumps, "rttm": rttm, "vtt": vtt, "csv": turns_csv, "ava": ava}

__all__ = ["TEXT_FORMATS", "ava", "dumps", "rttm", "turns_csv", "vtt"]

"""How results look: tables on a terminal, plain aligned lines elsewhere, JSON for programs; shares and people in words."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rollcall.shown import short

out = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def complain(message: str) -> None:
    """Say on stderr, in one line, what went wrong."""
    err.print(f"rollcall: {plain(message)}")


def note(message: str) -> None:
    """Say something on stderr that is no result."""
    err.print(plain(message))


def plain(text: object) -> str:
    """Return text on one line without control characters: names come from files, and a terminal obeys escape sequences."""
    return " ".join("".join(c if unicodedata.category(c)[0] != "C" else " " for c in str(text)).split())


def show_json(value: object) -> None:
    """Print a value as JSON on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")


def show_line(text: str = "", style: str | None = None) -> None:
    """Print one line of a result."""
    out.print(Text(text, style=style or ""))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> None:
    """Print rows as a table; columns named in `right` hold numbers. Without a terminal nothing is cut to a width."""
    cells = [["" if value is None else plain(value) for value in row] for row in rows]
    if not out.is_terminal:
        _show_plain(columns, cells, right)
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(value) for value in row))
    out.print(table)


def _show_plain(columns: Sequence[str], cells: list[list[str]], right: Sequence[str]) -> None:
    widths = [max(len(str(line[i])) for line in ([*columns], *cells)) for i in range(len(columns))]
    for line in ([*columns], *cells):
        pads = (value.rjust(width) if name in right else value.ljust(width) for name, value, width in zip(columns, line, widths, strict=True))
        sys.stdout.write("  ".join(pads).rstrip() + "\n")


def share(part: float, whole: float) -> str:
    """Return a percentage, empty where there is no whole."""
    return f"{100 * part / whole:.0f} %" if whole > 0 else ""


def reason_words(asset: str, reason: str | None) -> str:
    """Return why an asset could not be served, without its name in front: the line says it already."""
    words = plain(reason or "")
    return words.removeprefix(f"{asset}: ").removeprefix(f"{asset.rpartition('/')[2]}: ")


def person_words(name: str | None, person_id: object) -> str:
    """Return a person's name, else the beginning of the id."""
    return name or (short(person_id) if person_id else "")


def as_json_list(rows: Iterable[dict[str, Any]]) -> None:
    """Print rows as a JSON list, an empty one too."""
    show_json(list(rows))

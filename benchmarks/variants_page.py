"""docs/variants.md as text, from the rows of benchmarks/variants.py."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

WANTED = 0.95  # share of edges
BETWEEN = 0.1  # seconds beyond lips and voice within which a shifted file's edge may lie

HEAD = """# Technical variants

Written by `make variants`; every number is reproduced by it. One clip of twelve seconds (two people, one handover) was made anew in many
containers, codecs, frame rates and geometries. What the line says of each is held against what it says of the clip itself. Nothing was
tuned on these files. Networks: {models}.

Speakers are matched by their place in the picture. Turns correspond one to one; the edges of a turn without counterpart count as
not near. *Late* is by how much the sound and the picture stand later on the asset's clock than in the clip, measured on the samples and the
pictures that the core reads (`benchmarks/variant_clock.py`); where a file declares no priming, or its stamps begin before its picture, both
are late alike, and the turns with them. *Faces* is the lowest mean IoU of a face's boxes with the clip's.
"""

SHIFT_WORDS = """The lips move at one time and the voice is heard at another. Expected is that tracks move with the picture, speech with the
sound, and nothing else moves. An edge where a voice begins or ends follows the sound; where one speaker hands over to another, lips say who,
and it may lie anywhere from where the lips put it to where the voice does. Nothing corrects such an offset yet.
"""


def progress_line(row: Any) -> str:
    """Return one line about a file, for whoever waits."""
    return f"{row.name}: {row.by_sound.near} of {row.by_sound.edges} edges near, {row.by_sound.lost} turns missing or added"


def page(rows: Sequence[Any], models: dict[str, dict[str, str]]) -> str:
    """Return the page."""
    by_kind = {kind: [row for row in rows if row.kind == kind] for kind in ("same", "shifted", "altered")}
    parts = [HEAD.format(models=", ".join(f"`{model['name']}` ({role})" for role, model in sorted(models.items())))]
    parts += ["## Same picture, same sound", "", pooled_line(by_kind["same"]), "", _same_table(by_kind["same"])]
    parts += ["## Container shifts", "", SHIFT_WORDS, _shift_table(by_kind["shifted"])]
    parts += ["## Other sound, other size", "", "Listed with their differences; they belong to no pool.", "", _altered_table(by_kind["altered"])]
    return "\n".join(parts).rstrip() + "\n"


def pooled_line(rows: Sequence[Any]) -> str:
    """Return the pooled result of the files in which picture and sound are the same."""
    near, edges, lost = (sum(getattr(row.by_sound, name) for row in rows) for name in ("near", "edges", "lost"))
    share = near / max(edges, 1)
    verdict = "met" if share >= WANTED and lost == 0 else "**missed**"
    return (
        f"Pooled over {len(rows)} files: **{near} of {edges} turn edges ({100 * share:.1f} %) within 0.1 s of the clip's, "
        f"{lost} turns longer than 0.3 s missing or added**. Bar: at least {100 * WANTED:.0f} %, and none. It is {verdict}."
    )


def _seconds(values: Iterable[float]) -> str:
    return ", ".join("0" if abs(value) < 0.0005 else f"{value:+.2f}" for value in values)


def _milliseconds(late: tuple[float, float]) -> str:
    return ", ".join(f"{1000 * seconds:+.0f}" if abs(seconds) >= 0.0005 else "0" for seconds in late)


def _same_table(rows: Sequence[Any]) -> str:
    lines = ["| file | what | edges near | moved by, s | missing or added | late: sound, picture, ms | faces |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        difference = row.by_sound
        cells = [f"{difference.near} of {difference.edges}", _seconds(difference.moves), _lost(difference), _milliseconds(row.late)]
        lines.append(f"| `{row.name}` | {row.what} | {' | '.join(cells)} | {row.face_iou:.2f} |")
    return "\n".join([*lines, ""])


def _lost(difference: Any) -> str:
    return "; ".join([f"missing {_turn(turn)}" for turn in difference.missing] + [f"added {_turn(turn)}" for turn in difference.added]) or "none"


def _turn(turn: Any) -> str:
    side = "out of sight" if turn.place is None else f"{100 * turn.place[0]:.0f} % from the left"
    return f"{turn.start:.2f} to {turn.end:.2f} ({side})"


def between_lips_and_voice(row: Any) -> bool:
    """Return whether every edge of a shifted file lies from where the lips put it to where the voice does, and none is without counterpart."""
    sound, picture = row.by_sound, row.by_picture
    if sound.missing or sound.added or picture.missing or picture.added:
        return False
    return all(min(a, b) <= BETWEEN + 1e-6 and max(a, b) >= -BETWEEN - 1e-6 for a, b in zip(sound.moves, picture.moves, strict=True))


def _shift_table(rows: Sequence[Any]) -> str:
    lines = ["| file | expected late: sound, picture, ms | measured | faces | edges moved against the voice, s | against the lips, s | all between |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for row in rows:
        cells = [
            _milliseconds(row.shift),
            _milliseconds(row.late),
            f"{row.face_iou:.2f}",
            _seconds(row.by_sound.moves),
            _seconds(row.by_picture.moves),
        ]
        lines.append(f"| `{row.name}` | {' | '.join(cells)} | {'yes' if between_lips_and_voice(row) else '**no**'} |")
    return "\n".join([*lines, ""])


def _altered_table(rows: Sequence[Any]) -> str:
    lines = ["| file | in which | edges near | moved by, s | missing or added | late: sound, picture, ms | faces |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        difference = row.by_sound
        against = " against the voice" if row.shift[0] else ""
        cells = [f"{difference.near} of {difference.edges}{against}", _seconds(difference.moves), _lost(difference), _milliseconds(row.late)]
        lines.append(f"| `{row.name}` | {row.why} | {' | '.join(cells)} | {row.face_iou:.2f} |")
    return "\n".join([*lines, ""])

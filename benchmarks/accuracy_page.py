"""docs/accuracy.md as text, from the marks of benchmarks/accuracy.py."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

PAGE = Path(__file__).parents[1] / "docs" / "accuracy.md"
LINE_HEADING = "# Accuracy"
NETWORKS_HEADING = "## The networks, each by itself"
TRUSTED = ("label", "exact", "hand")
SIDES = ("ours", "recipe", "own")
MAIN_COLLAR = 0.5
COLLAR_NAMES = {0.0: "no collar", 0.25: "0.125 s each side", 0.5: "0.25 s each side"}

HEAD = """# Accuracy

Written by `make accuracy`; every number is reproduced by it. The clips are short and few (12 minutes in all): they say something about
correctness and little about accuracy in general. Thresholds are chosen on training material; where the clips were looked at too early is said in
`docs/decisions/0005-test-set.md`.

**Ours** is `asd_core.analyse_clip` with default options. **Recipe** is the reference recipe (detector on every frame, IoU tracks, windows of
1 to 6 s averaged, threshold 0), re-implemented plainly in `benchmarks/recipe.py` on the same networks:
{models}. **Ours, own networks** is the same line on the networks that come with Rollcall: {own}.

Error rates are (missed + false alarm + confusion) / speech of the truth, by pyannote.metrics. Speakers are not mapped by what fits best:
each track's person is known from given boxes, from its place, from stills, or from being the only one (`benchmarks/matching.py`), the same way
for both sides, and never from its score. So the right voice on the wrong face is an error (confusion). What a side says of a face that is
nobody in the truth counts as false alarm or confusion. Ours also names people who are heard and not seen; unknown voices name nobody and
count as nothing. "0.25 s each side" is md-eval's collar of 0.25 s (pyannote's 0.5); pyannote's own 0.25 is 0.125 s each side.
"""


def put_section(heading: str, text: str, path: Path = PAGE) -> None:
    """Write one part of the page and leave the other as it is: the line's marks first, then those of the networks (benchmarks/networks)."""
    line, mark, networks = (path.read_text(encoding="utf-8") if path.is_file() else "").partition(NETWORKS_HEADING)
    parts = {LINE_HEADING: line.strip(), NETWORKS_HEADING: (mark + networks).strip()} | {heading: text.strip()}
    path.write_text("\n\n".join(part for part in parts.values() if part) + "\n", encoding="utf-8")


def progress_line(row: dict[str, Any]) -> str:
    """Return one line about a clip, for whoever waits."""
    rates = {side: _rate([row[side].errors.get(MAIN_COLLAR)]) for side in SIDES}
    return f"{row['clip']}: " + ", ".join(f"{side} {_percent(rates[side])}, {row[side].tracks} tracks" for side in SIDES)


def page(rows: Sequence[dict[str, Any]], models: dict[str, dict[str, str]], own: dict[str, dict[str, str]]) -> str:
    """Return the page."""
    trusted = [row for row in rows if row["truth"]["confidence"] in TRUSTED]
    by_voice = [row for row in rows if row["truth"]["confidence"] == "vad"]
    unknown = [row for row in rows if row["truth"]["confidence"] == "none"]
    named = [", ".join(f"`{model['name']}` ({role})" for role, model in sorted(networks.items())) for networks in (models, own)]
    parts = [HEAD.format(models=named[0], own=named[1])]
    parts += ["## Pooled", "", _pooled_table(trusted, by_voice)]
    parts += ["## Clips whose truth is from labels, construction or hand", "", _clip_table(row for row in trusted if _speaks(row))]
    parts += ["## Clips whose truth is voice detection given to the visible person", ""]
    parts += ["Such a truth comes from the same voice detector that the line uses: agreement with it is worth less.", ""]
    parts += [_clip_table(row for row in by_voice if _speaks(row))]
    parts += ["## False alarms", "", "Seconds in which somebody in the picture is said to speak, where nobody does.", ""]
    parts += [_silence_table(row for row in (*trusted, *by_voice) if not _speaks(row)), _surely_table(rows)]
    parts += ["## Average precision where boxes are given", "", _precision_table(rows)]
    parts += ["## Clips without a truth about speech", "", "What was found there, for the record.", "", _unknown_table(unknown)]
    return "\n".join(parts).rstrip() + "\n"


def _speaks(row: dict[str, Any]) -> bool:
    return bool(row["truth"]["speech"])


def _rate(errors: Iterable[dict[str, float] | None]) -> float | None:
    known = [e for e in errors if e is not None]
    total = sum(e["total"] for e in known)
    return sum(e["missed"] + e["false_alarm"] + e["confusion"] for e in known) / total if total > 0 else None


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.1f} %"


def _pooled_table(trusted: Sequence[dict[str, Any]], by_voice: Sequence[dict[str, Any]]) -> str:
    lines = [
        "| truth | clips | speech s | collar | ours | recipe | ours, own networks | missed / false alarm / confusion: ours | recipe | own |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, rows in (("label, exact, hand", trusted), ("voice detection", by_voice)):
        if not rows:
            continue
        for collar, words in COLLAR_NAMES.items():
            errors = {side: [row[side].errors[collar] for row in rows] for side in SIDES}
            cells = [f"{_percent(_rate(errors[side]))} ({_interval(errors[side])})" for side in SIDES]
            kinds = [" / ".join(f"{_kind_share(errors[side], kind):.1f}" for kind in ("missed", "false_alarm", "confusion")) for side in SIDES]
            speech = sum(e["total"] for e in errors["ours"])
            lines.append(f"| {name} | {len(rows)} | {speech:.1f} | {words} | {' | '.join([*cells, *kinds])} |")
    lines += ["", "Clips without speech add their false alarms to the pool. In brackets: 95 % interval from 2,000 bootstrap draws of clips.", ""]
    return "\n".join(lines)


def _kind_share(errors: Sequence[dict[str, float]], kind: str) -> float:
    return 100 * sum(e[kind] for e in errors) / max(sum(e["total"] for e in errors), 1e-9)


def _interval(errors: Sequence[dict[str, float]]) -> str:
    wrong = np.array([e["missed"] + e["false_alarm"] + e["confusion"] for e in errors])
    total = np.array([e["total"] for e in errors])
    draws = np.random.default_rng(0).integers(0, len(errors), (2000, len(errors)))
    sums = total[draws].sum(axis=1)
    low, high = np.percentile(100 * wrong[draws].sum(axis=1)[sums > 0] / sums[sums > 0], [2.5, 97.5])
    return f"{low:.0f} to {high:.0f}"


def _clip_table(rows: Iterable[dict[str, Any]]) -> str:
    lines = [
        "| clip | truth | speech s | 0.25 s each side: ours | recipe | own | no collar: ours | recipe | own | nobody's tracks: ours, recipe, own |"
    ]
    lines += ["|---|---|---|---|---|---|---|---|---|---|"]
    for row in rows:
        rates = [_percent(_rate([row[side].errors[collar]])) for collar in (MAIN_COLLAR, 0.0) for side in SIDES]
        strays = ", ".join(f"{row[side].unmatched} of {row[side].tracks}" for side in SIDES)
        speech = row["ours"].errors[0.0]["total"]
        lines.append(f"| `{row['clip']}` | {row['truth']['confidence']} | {speech:.1f} | {' | '.join(rates)} | {strays} |")
    return "\n".join([*lines, ""])


def _silence_table(rows: Iterable[dict[str, Any]]) -> str:
    lines = [
        "| clip in which nobody visible is heard | seconds | ours | recipe | own | ours: off-screen turns | own |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        said = [f"{row[side].said:.2f}" for side in SIDES] + [f"{row[side].off_screen:.2f}" for side in ("ours", "own")]
        lines.append(f"| `{row['clip']}` | {row['truth']['duration_s']:.1f} | {' | '.join(said)} |")
    return "\n".join([*lines, ""])


def _surely_table(rows: Iterable[dict[str, Any]]) -> str:
    lines = ["| clip with a person who surely does not speak for a while | seconds | ours | recipe | own |", "|---|---|---|---|---|"]
    for row in rows:
        silent = row["truth"]["surely_not_speaking"] or []
        if silent:
            seconds = sum(one["end"] - one["start"] for one in silent)
            lines.append(f"| `{row['clip']}` | {seconds:.1f} | " + " | ".join(f"{row[side].surely_silent:.2f}" for side in SIDES) + " |")
    return "\n".join([*lines, ""])


def _precision_table(rows: Iterable[dict[str, Any]]) -> str:
    lines = ["AVA's average precision over every given box; a box takes the score of the track that overlaps it most.", ""]
    lines += ["| clip | ours (logits) | recipe (smoothed scores) | ours, own networks (logits) |", "|---|---|---|---|"]
    for row in rows:
        if row["ours"].average_precision is not None:
            lines.append(f"| `{row['clip']}` | " + " | ".join(_percent(row[side].average_precision) for side in SIDES) + " |")
    return "\n".join([*lines, ""])


def _unknown_table(rows: Iterable[dict[str, Any]]) -> str:
    lines = ["| clip | seconds | on screen: ours | recipe | own | off-screen turns: ours | own | tracks: ours, recipe, own |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for row in rows:
        seconds = [f"{row[side].said:.1f}" for side in SIDES] + [f"{row[side].off_screen:.1f}" for side in ("ours", "own")]
        tracks = ", ".join(str(row[side].tracks) for side in SIDES)
        lines.append(f"| `{row['clip']}` | {row['truth']['duration_s']:.1f} | {' | '.join(seconds)} | {tracks} |")
    return "\n".join([*lines, ""])

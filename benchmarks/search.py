"""`make search-accuracy`: every photograph of ../shared/media/stills against a library of the labelled clips; writes docs/search.md.

The library is built with `rollcall ingest` and asked with `rollcall search --image`, as a user would, at the default threshold (which was
chosen on training faces only: `benchmarks/calibrate_embedder.py`). What counts is the pair (person, clip): found, missed, or wrong.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MEDIA = ROOT.parent / "shared" / "media"
HOME = ROOT / "out" / "search-home"
ROLLCALL = Path(sys.executable).with_name("rollcall")


def main() -> None:
    if not MEDIA.is_dir():
        sys.exit("The search benchmark needs the clips and stills of ../shared/media.")
    HOME.mkdir(parents=True, exist_ok=True)
    clips = sorted(str(path) for path in (MEDIA / "clips").glob("*.mp4"))
    ingested = rollcall("ingest", *clips)
    if ingested.returncode:
        sys.exit(f"the clips could not be taken in: {ingested.stderr.strip()}")
    rollcall("up")
    try:
        rows = [ask(still) for still in json.loads((MEDIA / "manifest.json").read_text())["stills"]]
    finally:
        rollcall("down")
    page = as_page(rows)
    (ROOT / "docs" / "search.md").write_text(page)
    print(page)


def rollcall(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["env", f"ROLLCALL_HOME={HOME}", str(ROLLCALL), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def ask(still: dict[str, Any]) -> dict[str, Any]:
    """Return what a search by one photograph found, by clip with the best cosine, beside what it should find."""
    answer = rollcall("search", "--image", str(MEDIA / still["file"]), "--json")
    if answer.returncode:
        sys.exit(f"search by {still['file']} failed: {answer.stderr.strip()}")
    best: dict[str, float] = {}
    for hit in json.loads(answer.stdout):
        best[hit["asset"]] = max(best.get(hit["asset"], -1.0), hit["cosine"])
    wanted = {Path(clip).name for clip in still.get("person_in_clips") or []}
    return {"still": Path(still["file"]).stem, "wanted": wanted, "found": best}


def as_page(rows: list[dict[str, Any]]) -> str:
    """Return docs/search.md."""
    wanted = sum(len(row["wanted"]) for row in rows)
    found = sum(len(row["wanted"] & set(row["found"])) for row in rows)
    wrong = [(row["still"], clip, cosine) for row in rows for clip, cosine in row["found"].items() if clip not in row["wanted"]]
    missed = [(row["still"], clip) for row in rows for clip in sorted(row["wanted"] - set(row["found"]))]
    lines = [
        "# Search by photograph",
        "",
        "Made by `make search-accuracy`: each photograph of the test stills against a library of the 41 labelled clips, at the default",
        "threshold, which was chosen on other people (`benchmarks/calibrate_embedder.py`).",
        "",
        f"**{found} of {wanted} pairs (person, clip) found ({found / max(1, wanted):.0%}), {len(wrong)} wrong.**",
        "",
        "| photograph | clips with the person | found | missed | wrong |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        right = sorted(row["wanted"] & set(row["found"]))
        cells = (
            ", ".join(f"{Path(clip).stem} ({row['found'][clip]:.2f})" for clip in right) or "-",
            ", ".join(Path(clip).stem for clip in sorted(row["wanted"] - set(row["found"]))) or "-",
            ", ".join(f"{Path(clip).stem} ({row['found'][clip]:.2f})" for clip in sorted(set(row["found"]) - row["wanted"])) or "-",
        )
        lines.append(f"| {row['still']} | {len(row['wanted'])} | {cells[0]} | {cells[1]} | {cells[2]} |")
    if missed:
        lines += ["", "Missed: " + "; ".join(f"{still} in {Path(clip).stem}" for still, clip in missed) + "."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

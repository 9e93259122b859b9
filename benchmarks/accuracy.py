"""`make accuracy`: docs/accuracy.md, who spoke when on the labelled clips, ours beside the reference recipe on the same networks.

Error rates come from pyannote.metrics. Speakers are not mapped by what fits best: a track's person is known by boxes, place or stills
(benchmarks/matching.py), so that the right voice on the wrong face is an error. Answers are kept in out/accuracy, by the digests of the
clip, its decoded sound, the models and the code that gave them; a second run only scores.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from asd_core.analysis import Networks, analyse_clip, open_networks
from asd_core.evaluate.ava import SPEAKING, AvaRow, score_ava
from asd_core.geometry import box_iou
from asd_core.media.probe import probe
from asd_core.models.manifest import PACKAGED
from asd_core.models.registry import ModelFolder, find
from asd_core.models.session import open_session
from benchmarks import accuracy_page
from benchmarks.matching import FoundTrack, match_tracks, read_boxes
from benchmarks.recipe import default_sound, run_recipe

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
OUT = ROOT / "out" / "accuracy"
COLLARS = (0.0, 0.25, 0.5)  # pyannote's: seconds in all around an edge, half on each side; md-eval's 0.25 is 0.5 here
ORDER = ("label", "exact", "hand", "vad", "none")  # kinds of truth, firmest first
ROLES = ("detector", "speaking", "embedder")
UNSEEN_SCORE = -20.0  # of a given box that no track covers
LINE_CODE = ("asd_core",)
RECIPE_CODE = ("benchmarks/recipe.py", *(f"asd_core/{name}.py" for name in ("faces/detect", "faces/scrfd", "speech/mfcc")))


@dataclass(frozen=True, slots=True)
class Found:
    """What one side says of a clip. `heard` are off-screen turns of people: (start, end, their tracks' numbers); `voices` those of unknown voices."""

    tracks: tuple[FoundTrack, ...]
    heard: tuple[tuple[float, float, tuple[int, ...]], ...] = ()
    voices: tuple[tuple[float, float], ...] = ()


@dataclass(slots=True)
class ClipScore:
    """One side's marks on one clip: components of the error rate by collar, seconds said of people who are surely silent, and so on."""

    errors: dict[float, dict[str, float]] = field(default_factory=dict)
    said: float = 0.0  # seconds in which somebody in the picture is said to speak
    surely_silent: float = 0.0
    off_screen: float = 0.0
    average_precision: float | None = None
    tracks: int = 0
    unmatched: int = 0


def main() -> None:
    """Score every clip, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", help="names of clips; prints, writes no page")
    arguments = parser.parse_args()
    if not (SHARED / "media" / "clips").is_dir():
        sys.exit("The accuracy report needs the clips of ../shared/media and the models of ../shared/models.")
    networks = open_networks({role: find(role, [ModelFolder(SHARED / "models")]) for role in ROLES}, open_session)
    own = open_networks({role: find(role, [ModelFolder(ROOT / "asd_core" / "models" / "weights")]) for role in ROLES}, open_session)
    sides = (("ours", networks, find_ours, LINE_CODE), ("recipe", networks, find_recipe, RECIPE_CODE), ("own", own, find_ours, LINE_CODE))
    clips = sorted((SHARED / "media" / "clips").glob("*.mp4"), key=lambda clip: (ORDER.index(_truth(clip)["confidence"]), clip.name))
    rows = []
    for clip in clips:
        if arguments.only and clip.stem not in arguments.only:
            continue
        truth = _truth(clip)
        row: dict[str, Any] = {"clip": clip.stem, "truth": truth}
        for side, used, find_all, code in sides:
            found = _kept(clip, side, used, code, find_all)
            row[side] = score(clip, truth, found, networks)  # whose track it is, the same networks tell for all sides
        print(accuracy_page.progress_line(row), file=sys.stderr, flush=True)
        rows.append(row)
    page = accuracy_page.page(rows, networks.models, own.models)
    if arguments.only:
        print(page)
    else:
        accuracy_page.put_section(accuracy_page.LINE_HEADING, page)


def _truth(clip: Path) -> dict[str, Any]:
    return json.loads((clip.parents[1] / "truth" / f"{clip.stem}.json").read_text(encoding="utf-8"))


def find_ours(clip: Path, networks: Networks) -> Found:
    """Return what the line says of a clip."""
    analysis = analyse_clip(clip, networks)
    numbers = {track.id: number for number, track in enumerate(analysis.tracks)}
    spoken: dict[int, list[tuple[float, float]]] = {number: [] for number in numbers.values()}
    of_people = {person.id: tuple(numbers[track] for track in person.track_ids) for person in analysis.people.people}
    heard, voices = [], []
    for turn in analysis.turns:
        for part in turn.parts:
            if part.track_id is not None:
                spoken[numbers[part.track_id]].append((part.start, part.end))
        if not turn.on_screen and turn.people_id is not None:
            heard.append((turn.start, turn.end, of_people[turn.people_id]))
        elif not turn.on_screen:
            voices.append((turn.start, turn.end))
    return Found(
        tuple(
            FoundTrack(track.first, track.boxes, logits, tuple(spoken[number]))
            for number, (track, logits) in enumerate(zip(analysis.tracks, analysis.scores.logits, strict=True))
        ),
        tuple(heard),
        tuple(voices),
    )


def find_recipe(clip: Path, networks: Networks) -> Found:
    """Return what the reference recipe says of a clip."""
    return Found(
        tuple(
            FoundTrack(track.first, track.boxes.astype(np.float32), track.smoothed.astype(np.float32), tuple(track.speaking()))
            for track in run_recipe(clip, networks)
        )
    )


def _kept(clip: Path, side: str, networks: Networks, code: Iterable[str], find_all: Callable[[Path, Networks], Found]) -> Found:
    """Return the answer for a clip, made once for the same clip, models and code."""
    info = probe(clip)
    parts = [clip.read_bytes(), json.dumps(networks.models, sort_keys=True).encode(), repr(info).encode(), default_sound(clip, info).tobytes()]
    parts += [(PACKAGED / f"{model['name']}.toml").read_bytes() for model in networks.models.values()]
    for name in code:
        path = ROOT / name
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        parts += [file.read_bytes() for file in files if "demo" not in file.parts and "evaluate" not in file.parts]
    kept = OUT / f"{clip.stem}.{side}.{hashlib.sha256(b'|'.join(parts)).hexdigest()[:16]}.json"
    if not kept.is_file():
        found = find_all(clip, networks)
        OUT.mkdir(parents=True, exist_ok=True)
        for old in OUT.glob(f"{clip.stem}.{side}.*"):
            old.unlink()
        tracks = [[t.first, np.round(t.boxes, 1).tolist(), np.round(t.scores, 4).tolist(), t.speaking] for t in found.tracks]
        unfinished = kept.with_suffix(".part")
        unfinished.write_text(json.dumps({"tracks": tracks, "heard": found.heard, "voices": found.voices}, default=float))
        unfinished.replace(kept)
    document = json.loads(kept.read_text())
    return Found(
        tuple(
            FoundTrack(first, np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), tuple((a, b) for a, b in spoken))
            for first, boxes, scores, spoken in document["tracks"]
        ),
        tuple((start, end, tuple(tracks)) for start, end, tracks in document["heard"]),
        tuple((start, end) for start, end in document["voices"]),
    )


def score(clip: Path, truth: dict[str, Any], found: Found, networks: Networks) -> ClipScore:
    """Return the marks of one side on one clip."""
    names = match_tracks(clip, truth, found.tracks, networks)
    said = [(name or f"nobody {k}", a, b) for k, (name, track) in enumerate(zip(names, found.tracks, strict=True)) for a, b in track.speaking]
    heard = [(_usual_name(names, tracks, found), start, end) for start, end, tracks in found.heard]
    result = ClipScore(tracks=len(names), unmatched=names.count(None))
    result.said = _length([(a, b) for _, a, b in said])
    result.off_screen = _length([*((a, b) for _, a, b in heard), *found.voices])
    for silent in truth["surely_not_speaking"] or []:
        result.surely_silent += _length([(max(a, silent["start"]), min(b, silent["end"])) for who, a, b in said if who == silent["person"]])
    if truth["speech"] is not None:
        reference = [(speech["person"], speech["start"], speech["end"]) for speech in truth["speech"]]
        result.errors = {collar: _errors(reference, [*said, *heard], truth["duration_s"], collar) for collar in COLLARS}
    given = clip.parents[1] / "labels" / f"{clip.stem}_faceboxes.csv"
    if given.is_file():
        result.average_precision = average_precision_of_boxes(clip.stem, truth, found.tracks, given)
    return result


def _usual_name(names: Sequence[str | None], tracks: Sequence[int], found: Found) -> str:
    """Return whom the tracks of one of our people mostly show."""
    lengths: dict[str, int] = {}
    for number in tracks:
        name = names[number] or f"nobody {number}"
        lengths[name] = lengths.get(name, 0) + len(found.tracks[number].boxes)
    return max(lengths, key=lambda name: (lengths[name], name), default="nobody")


def _length(spans: Iterable[tuple[float, float]]) -> float:
    """Return the seconds that the union of spans covers."""
    covered, last = 0.0, -1e9
    for start, end in sorted(spans):
        covered += max(0.0, end - max(start, last))
        last = max(last, end)
    return covered


def _errors(reference: list[tuple[str, float, float]], said: list[tuple[str, float, float]], duration: float, collar: float) -> dict[str, float]:
    """Return missed, false_alarm, confusion and total seconds, by pyannote.metrics with the names as they are."""
    from pyannote.core import Annotation, Segment, Timeline
    from pyannote.metrics.identification import IdentificationErrorRate

    def annotate(spans: list[tuple[str, float, float]]) -> Any:
        annotation = Annotation()
        for number, (who, start, end) in enumerate(spans):
            if end > start:
                annotation[Segment(start, end), number] = who
        return annotation.support()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metric = IdentificationErrorRate(collar=collar)
        found = metric.compute_components(annotate(reference), annotate(said), uem=Timeline([Segment(0, duration)]))
    return {"missed": found["missed detection"], "false_alarm": found["false alarm"], "confusion": found["confusion"], "total": found["total"]}


def average_precision_of_boxes(name: str, truth: dict[str, Any], tracks: Sequence[FoundTrack], given: Path) -> float:
    """Return AVA's average precision over the given boxes; each takes the score of the track that overlaps it most, at least IoU 0.3."""
    rows, predictions = [], []
    for person, boxes in read_boxes(given).items():
        for instant, box in boxes.items():
            time = instant / 25
            speaks = any(s["person"] == person and s["start"] <= time < s["end"] for s in truth["speech"])
            row = AvaRow(name, f"{time:.2f}", tuple(map(float, box)), SPEAKING if speaks else "NOT_SPEAKING", person)
            best = (0.3, UNSEEN_SCORE)
            for track in tracks:
                k = instant - track.first
                if 0 <= k < min(len(track.boxes), len(track.scores)):
                    best = max(best, (float(box_iou(track.boxes[k : k + 1], box[None])[0, 0]), float(track.scores[k])))
            rows.append(row)
            predictions.append(AvaRow(name, row.timestamp, row.box, SPEAKING, person, best[1]))
    return score_ava(rows, predictions).average_precision


if __name__ == "__main__":
    main()

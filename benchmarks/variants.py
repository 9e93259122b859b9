"""`make variants`: docs/variants.md, one clip in many technical guises, each held against the clip it was made from.

Every file of ../shared/media/clips/derived is analysed with default options. People are matched by their place in the picture, never by
ids. What a container shifts on purpose is expected to be shifted, and nothing else. Answers are kept in out/variants, by the digests of the
files, the models and the code; a second run only compares. All differences are written to out/variants.json.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import inspect
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from asd_core.analysis import Networks, analyse_clip, open_networks
from asd_core.models.registry import ModelFolder, find
from asd_core.models.session import open_session
from asd_core.records import Analysis
from asd_core.timeline import GRID_HZ
from benchmarks import variant_clock, variants_page

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
OUT = ROOT / "out" / "variants"
ROLES = ("detector", "speaking", "embedder")
BASE = "base_2997fps.mp4"
NEAR = 0.1  # seconds within which an edge stands where the source's does
SHORT = 0.3  # seconds: a turn up to this length may be missing or added
ELSEWHERE = 0.1  # share of the picture's width or height: speakers further apart are two people
MADE_FROM = {"talker_with_synthetic_music.mp4": "talker_static_man_glasses.mp4"}  # of ../shared/media/clips; all others from BASE
# Seconds by which (sound, picture) are later than in the base: what the key `timing` of the media manifest says, as numbers.
SHIFTED = {
    "audio_late_520ms_container.mkv": (0.52, 0.0),
    "audio_late_520ms_container.mp4": (0.52, 0.0),
    "video_late_400ms_container.mp4": (0.0, 0.4),
    "desync_audio_late_400ms_baked.mp4": (0.4, 0.0),
}
ALTERED = {
    "audio_mono_8k.mp4": "the sound has nothing above 4 kHz",
    "audio_quiet_minus30db.mp4": "the sound is 30 dB quieter",
    "small_320x180.mp4": "the picture has a seventh of the pixels; the faces are 40 pixels wide",
    "talker_with_synthetic_music.mp4": "tones are mixed under the voice",
    "desync_audio_late_400ms_baked.mp4": "the sound is late in its samples, and no stamp says so",
}


@dataclass(frozen=True, slots=True)
class Said:
    """A turn without ids: `place` is the mean (x, y) of the speaker's face as shares of the picture; None for a voice out of sight."""

    start: float
    end: float
    place: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Face:
    """A track without ids: its `first` grid instant, and per instant (x1, y1, x2, y2) as shares of the picture."""

    first: int
    boxes: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the line says of a file: `seen` is when the picture begins and ends, `speech` where anybody is heard."""

    duration: float
    seen: tuple[float, float]
    turns: tuple[Said, ...]
    faces: tuple[Face, ...]
    speech: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """How turns differ from those expected. `moves` holds, per edge that has a counterpart, the seconds by which it is later."""

    moves: tuple[float, ...]
    missing: tuple[Said, ...]
    added: tuple[Said, ...]

    @property
    def edges(self) -> int:
        """Return how many edges there are, those of turns without counterpart included."""
        return len(self.moves) + 2 * (len(self.missing) + len(self.added))

    @property
    def near(self) -> int:
        """Return how many edges stand within `NEAR` of their counterpart."""
        return sum(abs(move) <= NEAR + 1e-6 for move in self.moves)

    @property
    def lost(self) -> int:
        """Return how many turns longer than `SHORT` are missing or added."""
        return sum(turn.end - turn.start > SHORT + 1e-6 for turn in (*self.missing, *self.added))


@dataclass(frozen=True, slots=True)
class Row:
    """One file: `late` is measured by `variant_clock`; `by_sound` and `by_picture` expect the turns to have moved with the one or the other."""

    name: str
    what: str
    kind: str  # same, shifted, altered
    why: str
    shift: tuple[float, float]
    late: tuple[float, float]
    face_iou: float
    by_sound: Difference
    by_picture: Difference
    turns: tuple[Said, ...]


def main() -> None:
    """Analyse every file, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", help="names of files; prints, writes nothing")
    arguments = parser.parse_args()
    clips = SHARED / "media" / "clips"
    if not (clips / "derived").is_dir():
        sys.exit("The variants report needs the clips of ../shared/media and the models of ../shared/models.")
    networks = open_networks({role: find(role, [ModelFolder(SHARED / "models")]) for role in ROLES}, open_session)
    told = {Path(entry["file"]).name: entry for entry in json.loads((SHARED / "media" / "manifest.json").read_text(encoding="utf-8"))["derived"]}
    rows = []
    for path in sorted((clips / "derived").iterdir()):
        if path.name != BASE and (not arguments.only or path.name in arguments.only):
            rows.append(examine(path, told[path.name]["what"], networks))
            print(variants_page.progress_line(rows[-1]), file=sys.stderr, flush=True)
    page = variants_page.page(rows, networks.models)
    if arguments.only:
        print(page)
        return
    (ROOT / "docs" / "variants.md").write_text(page, encoding="utf-8")
    (ROOT / "out" / "variants.json").write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")


def examine(path: Path, what: str, networks: Networks) -> Row:
    """Return how a file's answer differs from that of the file it was made from."""
    clips = SHARED / "media" / "clips"
    source_path = clips / MADE_FROM[path.name] if path.name in MADE_FROM else clips / "derived" / BASE
    source, _ = kept_answer(source_path, source_path, networks)
    answer, late = kept_answer(path, source_path, networks)
    shift = SHIFTED.get(path.name, (0.0, 0.0))
    return Row(
        name=path.name,
        what=what,
        kind="altered" if path.name in ALTERED else "shifted" if path.name in SHIFTED else "same",
        why=ALTERED.get(path.name, ""),
        shift=shift,
        late=late,
        face_iou=worst_face(source, answer, picture=shift[1]),
        by_sound=compare(source, answer, later=shift[0]),
        by_picture=compare(source, answer, later=shift[1]),
        turns=answer.turns,
    )


def answer_of(analysis: Analysis) -> Answer:
    """Return what is compared of an analysis."""
    video = analysis.info.video
    size = np.array([video.width, video.height] * 2 if video else [1.0] * 4)
    faces = {track.id: track.boxes / size for track in analysis.tracks}
    said = []
    for turn in analysis.turns:
        boxes = [faces[part.track_id].mean(axis=0) for part in turn.parts if part.track_id is not None]
        x1, y1, x2, y2 = np.mean(boxes, axis=0) if boxes else np.zeros(4)
        said.append(Said(turn.start, turn.end, (float(x1 + x2) / 2, float(y1 + y2) / 2) if boxes else None))
    return Answer(
        duration=analysis.info.duration,
        seen=(video.start, video.start + video.duration) if video else (0.0, 0.0),
        turns=tuple(said),
        faces=tuple(Face(track.first, tuple(tuple(box) for box in np.round(faces[track.id], 5).tolist())) for track in analysis.tracks),
        speech=tuple((span.start, span.end) for span in analysis.speech),
    )


def compare(source: Answer, variant: Answer, *, later: float = 0.0) -> Difference:
    """Return how a variant's turns differ from the source's `later` seconds later, one to one, each speaker's with the same speaker's."""
    wanted = [shifted for turn in source.turns if (shifted := _shifted(turn, later, variant)) is not None]
    overlap = np.array([[_overlap(a, b) for b in variant.turns] for a in wanted]).reshape(len(wanted), len(variant.turns))
    pairs = [(int(i), int(j)) for i, j in zip(*linear_sum_assignment(-overlap), strict=True) if overlap[i, j] > 0]
    moves = [move for i, j in pairs for move in (variant.turns[j].start - wanted[i].start, variant.turns[j].end - wanted[i].end)]
    return Difference(
        moves=tuple(round(move, 4) for move in moves),
        missing=tuple(turn for i, turn in enumerate(wanted) if i not in {i for i, _ in pairs}),
        added=tuple(turn for j, turn in enumerate(variant.turns) if j not in {j for _, j in pairs}),
    )


def _shifted(turn: Said, later: float, variant: Answer) -> Said | None:
    """Return a turn `later` seconds later, as far as the variant lasts and, on screen, has a picture; None where nothing of it is left."""
    low, high = variant.seen if turn.place is not None else (0.0, variant.duration)
    start, end = max(turn.start + later, low), min(turn.end + later, high)
    return Said(start, end, turn.place) if end > start else None


def _overlap(left: Said, right: Said) -> float:
    """Return the seconds that two turns share; none where their speakers are not in the same place."""
    if left.place is None or right.place is None:
        same = left.place is right.place
    else:
        same = max(abs(left.place[0] - right.place[0]), abs(left.place[1] - right.place[1])) <= ELSEWHERE
    return max(0.0, min(left.end, right.end) - max(left.start, right.start)) if same else 0.0


def worst_face(source: Answer, variant: Answer, *, picture: float = 0.0) -> float:
    """Return the lowest mean IoU of a source's face with its counterpart `picture` seconds later; 0 where one has none, 1 for no faces.

    A face is what is seen for a second: a box that flickers up for less has no counterpart to be held to.
    """
    faces = [face for face in source.faces if len(face.boxes) >= GRID_HZ]
    return min((max((_mean_iou(face, other, picture) for other in variant.faces), default=0.0) for face in faces), default=1.0)


def _mean_iou(face: Face, other: Face, later: float) -> float:
    begins = face.first + round(later * GRID_HZ)
    first, end = max(begins, other.first), min(begins + len(face.boxes), other.first + len(other.boxes))
    if end - first < len(face.boxes) / 2:
        return 0.0
    a, b = np.array(face.boxes)[first - begins : end - begins], np.array(other.boxes)[first - other.first : end - other.first]
    shared = np.clip(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0, None).prod(axis=1)
    areas = (a[:, 2:] - a[:, :2]).prod(axis=1) + (b[:, 2:] - b[:, :2]).prod(axis=1)
    return float((shared / (areas - shared)).mean())


@functools.cache
def _code() -> bytes:
    """Return the code that gives the answers, as it was when the run began."""
    files = [
        file for file in sorted((ROOT / "asd_core").rglob("*")) if file.suffix in {".py", ".toml"} and not {"demo", "evaluate"} & set(file.parts)
    ]
    return b"|".join([*(file.read_bytes() for file in files), inspect.getsource(answer_of).encode(), inspect.getsource(variant_clock).encode()])


def kept_answer(path: Path, source: Path, networks: Networks) -> tuple[Answer, tuple[float, float]]:
    """Return the answer for a file and how late it is against its source, made once for the same files, models and code."""
    models = json.dumps(networks.models, sort_keys=True).encode()
    parts = [path.read_bytes(), source.read_bytes(), models, _code()]
    kept = OUT / f"{path.name}.{hashlib.sha256(b'|'.join(parts)).hexdigest()[:16]}.json"
    if not kept.is_file():
        answer, late = answer_of(analyse_clip(path, networks)), variant_clock.lateness(source, path)
        OUT.mkdir(parents=True, exist_ok=True)
        for old in OUT.glob(f"{path.name}.*"):
            old.unlink()
        unfinished = kept.with_suffix(".part")
        unfinished.write_text(json.dumps({"answer": asdict(answer), "late": late}), encoding="utf-8")
        unfinished.replace(kept)
    document = json.loads(kept.read_text(encoding="utf-8"))
    return _read(document["answer"]), (document["late"][0], document["late"][1])


def _read(answer: dict[str, Any]) -> Answer:
    return Answer(
        duration=answer["duration"],
        seen=(answer["seen"][0], answer["seen"][1]),
        turns=tuple(Said(turn["start"], turn["end"], tuple(turn["place"]) if turn["place"] else None) for turn in answer["turns"]),
        faces=tuple(Face(face["first"], tuple(map(tuple, face["boxes"]))) for face in answer["faces"]),
        speech=tuple((start, end) for start, end in answer["speech"]),
    )


if __name__ == "__main__":
    main()

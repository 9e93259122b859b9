"""Own voices against foreign ones: which stretches of which tracks, with whose sound. The list is foreign_voices.json, committed.

`python -m benchmarks.networks.foreign_voices` makes it anew from the clips, the truth, the voice detector and a seed; no speaking network
has a part in it. The rules:

- A *piece* is five seconds of the track of a person who is truly the voice heard (`TALKERS`), with the five seconds of sound under it. An
  instant of it is *voiced* where the voice detector gives at least 0.5 and, by the truth, that person speaks and nobody else does.
- Pieces are *paired* with pieces of other people of other programmes. Each picture of a pair is scored with its own sound and with the
  other's, at the instants that are voiced in both. So a pair gives the same sounds, and the same pictures, once as right and once as
  wrong: from sound alone, or from picture alone, the area under the ROC is 0.5 by construction.
- Own and foreign sound are treated alike: cut out at the same edges (silence around), and scaled to the same level in its voiced part.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asd_core.records import Track
from asd_core.speech.activity import INSTANT_SAMPLES
from asd_core.timeline import GRID_HZ
from benchmarks.networks.material import MEDIA, Clip, read_clip, speaks_alone

LIST = Path(__file__).with_name("foreign_voices.json")
SEED = 11
INSTANTS = 125  # of a piece
FEWEST_VOICED = 40  # instants of a piece
MOST_PIECES = 4  # a person
ROUNDS = 8  # of pairing: foreign voices of a piece
VOICED = 0.5
LEVEL = 10 ** (-26 / 20) * 32768  # RMS of voiced sound
EDGE_MARGIN = {"hand": 0.35, "label": 0.1, "vad": 0.0}  # seconds off the truth's edges, by its kind

# Who is in the picture and truly the voice that is heard, by clip. Left out: drama and film (dubbed, or recorded afterwards), voices on
# music, the clips built from others, and the debate whose truth comes from separated voices.
TALKERS = {
    "ad_portrait_single_factory": ("s_brown",),
    "ad_two_senators_alternating": ("ossoff", "hickenlooper"),
    "host_outdoor_lowerthird": ("aws_host",),
    "interview_two_tradeshow_part1": ("cap_host",),
    "interview_two_tradeshow_part2": ("priemer",),
    "news_split_two_interview": ("news_guest",),
    "phone_closeup_office_single": ("dub_man",),
    "restaurant_noise_single_profile": ("restaurant_man",),
    "speech_podium_japanese_abe": ("abe",),
    "talk_stage_small_profile_lrs3": ("ted_man",),
    "talker_static_man_beard": ("marlin03",),
    "talker_static_man_glasses": ("marlin01",),
    "three_on_stage_msdwild00001": ("msd_left", "msd_mid"),
    "webcam_home_conan": ("conan",),
}


@dataclass(frozen=True, slots=True)
class Piece:
    """`INSTANTS` of the track of a person, from grid instant `first` of a clip on."""

    clip: str
    person: str
    first: int

    @property
    def programme(self) -> str:
        """Return what tells recordings apart: parts of one interview are one programme."""
        return self.clip.split("_part")[0]


def read_list(path: Path = LIST) -> tuple[list[Piece], list[tuple[int, int]]]:
    """Return the committed pieces and the pairs of their numbers."""
    told = json.loads(path.read_text(encoding="utf-8"))
    return [Piece(**piece) for piece in told["pieces"]], [(a, b) for a, b in told["pairs"]]


def track_of(piece: Piece, clip: Clip) -> int:
    """Return the number of the track that a piece was cut from.

    Raises:
        LookupError: no track of the person covers it: the list and the tracks no longer belong together.
    """
    for number, (track, person) in enumerate(zip(clip.tracks, clip.people, strict=True)):
        if person == piece.person and track.first <= piece.first and piece.first + INSTANTS <= track.first + len(track):
            return number
    raise LookupError(f"{LIST.name} names {piece}, but no track shows that; make the list anew and say so in its commit")


def a_second_off(piece: Piece, clip: Clip) -> Piece | None:
    """Return the piece of the same track a second later, or else earlier; None where the track is too short for both."""
    track = clip.tracks[track_of(piece, clip)]
    for first in (piece.first + GRID_HZ, piece.first - GRID_HZ):
        if track.first <= first and first + INSTANTS <= track.first + len(track):
            return Piece(piece.clip, piece.person, first)
    return None


def voiced(piece: Piece, clip: Clip) -> NDArray[np.bool_]:
    """Return the (INSTANTS,) instants at which the person is heard, alone."""
    heard = clip.sound.activity[piece.first : piece.first + INSTANTS] >= VOICED
    alone = speaks_alone(clip.truth, piece.person, piece.first, INSTANTS, margin=EDGE_MARGIN[clip.truth["confidence"]])
    return np.pad(heard, (0, INSTANTS - len(heard))) & alone


def levelled(piece: Piece, clip: Clip) -> NDArray[np.int16]:
    """Return the piece's sound (640 * INSTANTS,), scaled so that its voiced part has the common level."""
    cut = clip.samples[piece.first * INSTANT_SAMPLES : (piece.first + INSTANTS) * INSTANT_SAMPLES].astype(np.float64)
    cut = np.pad(cut, (0, INSTANTS * INSTANT_SAMPLES - len(cut)))
    loud = np.sqrt(np.square(cut[np.repeat(voiced(piece, clip), INSTANT_SAMPLES)]).mean())
    return np.clip(np.round(cut * (LEVEL / max(loud, 1.0))), -32768, 32767).astype(np.int16)


def make_pairs(pieces: Sequence[Piece], rounds: int = ROUNDS, seed: int = SEED) -> list[tuple[int, int]]:
    """Return pairs (a, b), a < b, of other people in other programmes; a round gives every piece at most one partner, and no pair comes twice."""
    rng = np.random.default_rng(seed)
    pairs: set[tuple[int, int]] = set()
    for _ in range(rounds):
        free = [int(number) for number in rng.permutation(len(pieces))]
        while free:
            one = free.pop(0)
            for other in free:
                pair = (min(one, other), max(one, other))
                if pieces[one].person != pieces[other].person and pieces[one].programme != pieces[other].programme and pair not in pairs:
                    pairs.add(pair)
                    free.remove(other)
                    break
    return sorted(pairs)


def find_pieces(clip: Clip, person: str) -> list[Piece]:
    """Return at most `MOST_PIECES` pieces of a person in a clip, end to end within tracks, spread evenly."""
    found = []
    for track, shown in zip(clip.tracks, clip.people, strict=True):
        if shown == person:
            found += [piece for piece in _tiles(clip, person, track) if voiced(piece, clip).sum() >= FEWEST_VOICED]
    chosen = np.unique(np.linspace(0, len(found) - 1, min(MOST_PIECES, len(found))).round().astype(int)) if found else []
    return [found[k] for k in chosen]


def _tiles(clip: Clip, person: str, track: Track) -> list[Piece]:
    spare = (len(track) % INSTANTS) // 2
    return [Piece(clip.name, person, track.first + spare + k * INSTANTS) for k in range(len(track) // INSTANTS)]


def main() -> None:
    """Make the list."""
    pieces = []
    for name, people in TALKERS.items():
        clip = read_clip(MEDIA / "clips" / f"{name}.mp4")
        for person in people:
            found = find_pieces(clip, person)
            print(f"{name}: {person}, {len(found)} pieces")
            pieces += found
    pairs = make_pairs(pieces)
    lines = ",\n".join(json.dumps(asdict(piece)) for piece in pieces)
    LIST.write_text(f'{{"seed": {SEED}, "instants": {INSTANTS}, "pieces": [\n{lines}\n],\n"pairs": {json.dumps(pairs)}}}\n', encoding="utf-8")
    print(f"{len(pieces)} pieces, {len(pairs)} pairs")


if __name__ == "__main__":
    main()

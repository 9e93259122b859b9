"""`stitch`: the blocks of an asset become its shots and tracks.

Neighbouring blocks saw 56 instants in common, the mark in their middle. A track of the left block and one of the right are the same face
where their boxes agree in that overlap; each keeps the instants that its block owns.

Nothing here holds the features and pixels of a whole asset: looks are read one after the other, and a track only knows where its pieces lie.
Whoever wants them (`visual_features`, `chip_faces`) says how a block is come by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from asd_core.faces.align import CHIP_SIZE, chip_jpeg, thin_chips
from asd_core.faces.track import join
from asd_core.records import Block, Chips, KindSpan, Look, MediaInfo, Pieces, Shot, Stitched, Track
from asd_core.timeline import MARK_INSTANTS, instant_time, instants_span, union


@dataclass(frozen=True, slots=True)
class StitchOptions:
    """What counts as a track, a still, a black stretch.

    Attributes:
        shortest_instants: tracks of fewer instants are dropped (5 is 0.2 s).
        fewest_observed: tracks that the detector saw fewer times are dropped; one look may be a wallpaper.
        still_motion: a track whose crops change by less than this many grey values an instant, on average, shows nothing that lives.
        black_luma: a frame darker than this on average, in grey values 0..255, may be black.
        black_flatness: it is where its grey values deviate by less than this as well.
        black_seconds: shorter black stretches are not told.
    """

    shortest_instants: int = 5
    fewest_observed: int = 2
    still_motion: float = 0.6
    black_luma: float = 20.0
    black_flatness: float = 6.0
    black_seconds: float = 0.5


def stitch(looks: Iterable[Look], info: MediaInfo, options: StitchOptions | None = None) -> Stitched:
    """Return the shots and tracks of an asset from the `look` of all its spans, in any order and of any length, each taken once.

    Without a picture the result is empty.
    """
    options = options or StitchOptions()
    blocks = sorted((_outline(block) for found in looks for block in found.blocks), key=lambda b: b.mark)
    if info.video is None or not blocks:
        return Stitched((), (), (), (), (), ())
    shots = _shots(blocks, info)
    starts = np.array([shot.start for shot in shots])
    whole = sorted((_whole(chain) for chain in _chains(blocks)), key=lambda w: (w.first, float(w.boxes[0, 0]), float(w.boxes[0, 1])))
    kept = [w for w in whole if len(w.boxes) >= options.shortest_instants and w.observed.sum() >= options.fewest_observed]
    tracks = tuple(
        Track(
            id=f"t{number}",
            shot=max(0, int(np.searchsorted(starts, instant_time(w.first) + 1e-6, side="right")) - 1),
            first=w.first,
            boxes=w.boxes,
            observed=w.observed,
            still=w.motion < options.still_motion,
        )
        for number, w in enumerate(kept, start=1)
    )
    return Stitched(
        shots, _black(blocks, info, options), tracks, tuple(w.chips for w in kept), tuple(w.thumbnail for w in kept), tuple(w.pieces for w in kept)
    )


def visual_features(pieces: Pieces, block: Callable[[int], Block]) -> NDArray[np.float16]:
    """Return the (T, D) visual features of a track.

    Args:
        pieces: of the track.
        block: gives the block of a mark.
    """
    return np.concatenate([block(mark).tracks[number].visual for mark, number in pieces.tracks.tolist()])


def chip_faces(pieces: Pieces, block: Callable[[int], Block]) -> NDArray[np.uint8]:
    """Return the chips of a track (K, 112, 112, 3) RGB, in the order of its `Chips`; `block` as above."""
    faces = np.zeros((len(pieces.chips), CHIP_SIZE, CHIP_SIZE, 3), np.uint8)
    for row in np.lexsort((pieces.chips[:, 1], pieces.chips[:, 0])).tolist():  # piece by piece: a block is asked for once
        piece, chip = pieces.chips[row].tolist()
        mark, number = pieces.tracks[piece].tolist()
        faces[row] = block(mark).tracks[number].faces[chip]
    return faces


@dataclass(frozen=True, slots=True, eq=False)
class _TrackOutline:
    """What stitching needs of a block's track, in memory of its own."""

    at: tuple[int, int]  # the block's mark, and the number of the track in it
    first: int
    boxes: NDArray[np.float32]
    observed: NDArray[np.bool_]
    own: range  # instants that the block owns
    motion: NDArray[np.float32]
    chips: Chips
    thumbnail: bytes  # the best chip


@dataclass(frozen=True, slots=True, eq=False)
class _Outline:
    """What stitching needs of a block."""

    mark: int
    cuts: NDArray[np.int64]
    luma: NDArray[np.float32]
    tracks: tuple[_TrackOutline, ...]


def _outline(block: Block) -> _Outline:
    tracks = []
    for number, track in enumerate(block.tracks):
        chips = Chips(track.chips.times.copy(), track.chips.boxes.copy(), track.chips.quality.copy())
        best = thin_chips(chips, most=1)
        tracks.append(
            _TrackOutline(
                at=(block.mark, number),
                first=track.first,
                boxes=track.boxes.copy(),
                observed=track.observed.copy(),
                own=range(track.own_first, track.own_first + len(track.visual)),
                motion=track.motion.astype(np.float32),
                chips=chips,
                thumbnail=chip_jpeg(track.faces[best[0]]) if len(best) else b"",
            )
        )
    return _Outline(block.mark, block.cuts.copy(), block.luma.copy(), tuple(tracks))


def _shots(blocks: Sequence[_Outline], info: MediaInfo) -> tuple[Shot, ...]:
    assert info.video is not None
    start, end = info.video.start, info.video.start + info.video.duration
    inner = [t for t in (instant_time(int(i)) for block in blocks for i in block.cuts) if start < t < end]
    edges = [start, *inner, end]
    return tuple(Shot(a, b) for a, b in pairwise(edges))


def _chains(blocks: Sequence[_Outline]) -> list[list[_TrackOutline]]:
    """Return the block tracks grouped into faces, each group in time order."""
    chains: list[list[_TrackOutline]] = []
    ends: list[tuple[_TrackOutline, list[_TrackOutline]]] = []  # tracks of the block before that reach the mark, and their chain
    for before, block in zip([None, *blocks], blocks, strict=False):
        adjacent = before is not None and before.mark == block.mark - 1
        mark = block.mark * MARK_INSTANTS
        left = [end for end in ends if end[0].own.stop == mark] if adjacent else []
        right = [] if mark in block.cuts else [t for t in block.tracks if t.own.start == mark]
        pairs = {r: k for k, r in join([t for t, _ in left], right)} if left and right else {}
        ends = []
        for track in block.tracks:
            position = next((n for n, t in enumerate(right) if t is track), None)
            if position is not None and position in pairs:
                chain = left[pairs[position]][1]
                chain.append(track)
            else:
                chain = [track]
                chains.append(chain)
            ends.append((track, chain))
    return chains


@dataclass(frozen=True, slots=True, eq=False)
class _Whole:
    """A face through all the blocks it spans."""

    first: int
    boxes: NDArray[np.float32]
    observed: NDArray[np.bool_]
    motion: float
    chips: Chips
    thumbnail: bytes
    pieces: Pieces


def _whole(chain: Sequence[_TrackOutline]) -> _Whole:
    owned = [slice(t.own.start - t.first, t.own.stop - t.first) for t in chain]
    motion = np.concatenate([t.motion for t in chain])
    every = Chips(*(np.concatenate([getattr(t.chips, name) for t in chain]) for name in ("times", "boxes", "quality")))
    places = np.array([(piece, chip) for piece, t in enumerate(chain) for chip in range(len(t.chips))], np.int64).reshape(-1, 2)
    kept = thin_chips(every)
    return _Whole(
        first=chain[0].own.start,
        boxes=np.concatenate([t.boxes[s] for t, s in zip(chain, owned, strict=True)]),
        observed=np.concatenate([t.observed[s] for t, s in zip(chain, owned, strict=True)]),
        motion=float(motion.mean()) if len(motion) else 0.0,
        chips=Chips(every.times[kept], every.boxes[kept], every.quality[kept]),
        thumbnail=chain[places[kept[0], 0]].thumbnail if len(kept) else b"",
        pieces=Pieces(np.array([t.at for t in chain], np.int64), places[kept]),
    )


def _black(blocks: Sequence[_Outline], info: MediaInfo, options: StitchOptions) -> tuple[KindSpan, ...]:
    luma = np.concatenate([b.luma for b in blocks])
    dark = luma[(luma[:, 1] < options.black_luma) & (luma[:, 2] < options.black_flatness), 0].astype(np.int64)
    spans = union([instants_span(int(i), 1, duration=info.duration) for i in dark], gap=1e-6)
    return tuple(KindSpan(span.start, span.end, "black") for span in spans if span.end - span.start >= options.black_seconds)

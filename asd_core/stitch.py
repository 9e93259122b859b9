"""`stitch`: the blocks of an asset become its shots and tracks.

Neighbouring blocks saw 56 instants in common, the mark in their middle. A track of the left block and one of the right are the same face
where their boxes agree in that overlap; each keeps the instants that its block owns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from asd_core.faces.align import thin_chips
from asd_core.faces.track import join
from asd_core.records import Block, BlockTrack, Chips, KindSpan, Look, MediaInfo, Shot, Stitched, Track
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


def stitch(looks: Sequence[Look], info: MediaInfo, options: StitchOptions | None = None) -> Stitched:
    """Return the shots and tracks of an asset from the `look` of all its spans, in any order and of any length.

    Without a picture the result is empty.
    """
    options = options or StitchOptions()
    blocks = sorted((block for found in looks for block in found.blocks), key=lambda b: b.mark)
    if info.video is None or not blocks:
        return Stitched((), (), (), (), ())
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
    return Stitched(shots, _black(blocks, info, options), tracks, tuple(w.visual for w in kept), tuple(w.chips for w in kept))


def _shots(blocks: Sequence[Block], info: MediaInfo) -> tuple[Shot, ...]:
    assert info.video is not None
    start, end = info.video.start, info.video.start + info.video.duration
    inner = [t for t in (instant_time(int(i)) for block in blocks for i in block.cuts) if start < t < end]
    edges = [start, *inner, end]
    return tuple(Shot(a, b) for a, b in pairwise(edges))


def _chains(blocks: Sequence[Block]) -> list[list[BlockTrack]]:
    """Return the block tracks grouped into faces, each group in time order."""
    chains: list[list[BlockTrack]] = []
    ends: list[tuple[BlockTrack, list[BlockTrack]]] = []  # tracks of the block before that reach the mark, and their chain
    for before, block in zip([None, *blocks], blocks, strict=False):
        adjacent = before is not None and before.mark == block.mark - 1
        mark = block.mark * MARK_INSTANTS
        left = [end for end in ends if end[0].own_first + len(end[0].visual) == mark] if adjacent else []
        right = [] if mark in block.cuts else [t for t in block.tracks if t.own_first == mark]
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
    visual: NDArray[np.float16]
    motion: float
    chips: Chips


def _whole(chain: Sequence[BlockTrack]) -> _Whole:
    owned = [slice(t.own_first - t.first, t.own_first - t.first + len(t.visual)) for t in chain]
    motion = np.concatenate([t.motion for t in chain]).astype(np.float32)
    return _Whole(
        first=chain[0].own_first,
        boxes=np.concatenate([t.boxes[s] for t, s in zip(chain, owned, strict=True)]),
        observed=np.concatenate([t.observed[s] for t, s in zip(chain, owned, strict=True)]),
        visual=np.concatenate([t.visual for t in chain]),
        motion=float(motion.mean()) if len(motion) else 0.0,
        chips=_all_chips([t.chips for t in chain]),
    )


def _all_chips(parts: Sequence[Chips]) -> Chips:
    return thin_chips(
        Chips(
            times=np.concatenate([c.times for c in parts]),
            boxes=np.concatenate([c.boxes for c in parts]),
            colour=np.concatenate([c.colour for c in parts]),
            quality=np.concatenate([c.quality for c in parts]),
        )
    )


def _black(blocks: Sequence[Block], info: MediaInfo, options: StitchOptions) -> tuple[KindSpan, ...]:
    luma = np.concatenate([b.luma for b in blocks])
    dark = luma[(luma[:, 1] < options.black_luma) & (luma[:, 2] < options.black_flatness), 0].astype(np.int64)
    spans = union([instants_span(int(i), 1, duration=info.duration) for i in dark], gap=1e-6)
    return tuple(KindSpan(span.start, span.end, "black") for span in spans if span.end - span.start >= options.black_seconds)

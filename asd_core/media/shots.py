"""Shot cuts from small grey thumbnails on the 25 Hz grid: where one picture is replaced by another, at once or gradually.

Every decision depends on at most `CUT_REACH` instants on either side and on nothing else, so that a span of any length, cut out anywhere,
finds the same cuts. All sums are of whole numbers in float64 and thus exact in any order.

A hard cut is a step far above those around it that lasts (after a flash the old picture returns). A dissolve or fade is a stretch in
which every picture is a mixture of the first and the last; motion is not. Source of both ideas: Lienhart 1999, comparison of automatic
shot boundary detection algorithms; thresholds were set on made programmes of still pictures with camera moves, passers-by and flashes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

THUMBNAIL_WH = (64, 36)
CUT_REACH = 28  # instants on both sides that a decision depends on at most
_CELL = 4  # pixels
_CHUNK = 200  # instants decided at once: bounds the table of distances
_PEAK = 3  # instants within which only the largest step can be a cut
_AROUND = 8  # instants on both sides that say how restless the picture is
_FLASH = 6  # instants within which an old picture that returns makes a flash of a cut
_HALVES = (5, 9, 14)  # half lengths of a gradual change, in instants
_CHANGED = 12.0  # grey levels by which a cell has changed
_FLAT = 1.0  # variance in squared grey levels below which a picture is as good as flat
_BAND = 2 * max(_HALVES)  # instants: no two pictures further apart are compared
_APART = 5  # instants within which only the best gradual change counts

Table = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CutOptions:
    """What makes a change a cut; grey levels are root mean squares over 16 x 9 cells of 0..255."""

    step: float = 12.0  # grey levels that a hard cut changes at least
    step_ratio: float = 2.5  # times the restlessness around it
    lasting: float = 0.7  # share of its step by which a cut's two sides stay apart
    gradual: float = 18.0  # grey levels between the ends of a dissolve or fade at least
    extent: float = 0.35  # share of the picture that a hard cut changes at least: captions come and hands wave within a shot
    likeness: float = 0.6  # correlation of the ends of a dissolve at most
    mixture: float = 0.05  # share of the whole change that a picture within may be no mixture of the ends


def cuts(thumbnails: NDArray[np.uint8], first_instant: int, options: CutOptions = CutOptions()) -> NDArray[np.int64]:
    """Return the instants at which a new shot begins, for (T, h, w) thumbnails of consecutive instants from `first_instant` on."""
    return np.asarray(find_cuts(thumbnails, options), np.int64) + first_instant


def find_cuts(thumbnails: NDArray[np.uint8], options: CutOptions = CutOptions()) -> list[int]:
    """Return the sorted indices at which a new shot begins; the middle of a dissolve or fade.

    Args:
        thumbnails: (T, h, w) grey, `THUMBNAIL_WH` or alike, of consecutive instants. Empty in, empty out; index 0 is never a cut.
        options: thresholds.
    """
    found: list[int] = []
    count = len(thumbnails)
    for begin in range(0, count, _CHUNK):
        stop = min(begin + _CHUNK, count)
        low, high = max(0, begin - CUT_REACH), min(count, stop + CUT_REACH)
        changes = _Changes(thumbnails[low:high])
        hard = _hard_cuts(changes, options)
        decided = hard | _gradual_cuts(changes, hard, options)
        found += [low + int(k) for k in np.flatnonzero(decided) if begin <= low + k < stop and low + k > 0]
    return found


class _Changes:
    """How far the pictures of a stretch are from each other, up to `CUT_REACH` apart."""

    def __init__(self, thumbnails: NDArray[np.uint8]) -> None:
        self.cells = cells = _cells(thumbnails)  # (T, C)
        self.count, size = cells.shape
        sums = cells.sum(axis=1)
        products = _near_products(cells)
        centred = (products * size - sums[:, None] * sums[None, :]) / size**2  # covariance
        self.energy = np.maximum(np.diagonal(centred), 0.0)  # (T,) variance
        self.products = centred
        means = sums / size
        # A change of brightness alone counts little: lights and exposure do that within a shot.
        self.squares = np.maximum(self.energy[:, None] + self.energy[None, :] - 2 * centred, 0.0) + 0.1 * (means[:, None] - means[None, :]) ** 2

    def between(self, left: NDArray[np.int64], right: NDArray[np.int64]) -> Table:
        """Return the distances in grey levels of pairs of instants; those beyond the ends are taken for the end."""
        return np.asarray(np.sqrt(self.squares[self.inside(left), self.inside(right)]), np.float64)

    def extents(self) -> Table:
        """Return (T,) the share of cells that differ from those an instant before by `_CHANGED` grey levels; 0 at the first."""
        changed = np.abs(np.diff(self.cells, axis=0, prepend=self.cells[:1])) > _CHANGED
        return np.asarray(changed.mean(axis=1), np.float64)

    def likeness(self, left: NDArray[np.int64], right: NDArray[np.int64]) -> Table:
        """Return the correlation of pairs of instants; near 0 where either is flat."""
        left, right = self.inside(left), self.inside(right)
        return np.asarray(self.products[left, right] / (np.sqrt(self.energy[left] * self.energy[right]) + _FLAT), np.float64)

    def inside(self, instants: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.clip(instants, 0, self.count - 1)


def _cells(thumbnails: NDArray[np.uint8]) -> Table:
    """Return (T, C) mean grey values of `_CELL` x `_CELL` pixels: coarse enough to forgive a hand-held camera; exact in binary."""
    count, height, width = thumbnails.shape
    side = _CELL if min(height, width) >= _CELL else 1
    whole = thumbnails[:, : height // side * side, : width // side * side].astype(np.float64)
    blocks = whole.reshape(count, height // side, side, width // side, side).sum(axis=(2, 4))
    return np.asarray(blocks.reshape(count, -1) / side**2, np.float64)


def _near_products(cells: Table) -> Table:
    """Return the (T, T) inner products of instants up to `_BAND` apart, 0 beyond; exact in any order, being whole numbers over 2**8.

    By diagonals: a full matrix product is more work, and its threads cost six times the product itself.
    """
    count = len(cells)
    products = np.zeros((count, count))
    for apart in range(min(count, _BAND + 1)):
        here = np.arange(count - apart)
        products[here, here + apart] = products[here + apart, here] = np.einsum("tc,tc->t", cells[: count - apart], cells[apart:])
    return products


def _hard_cuts(changes: _Changes, options: CutOptions) -> NDArray[np.bool_]:
    """Return (T,) where a picture has replaced the one before at once. Reach: `_AROUND` + 1 instants."""
    here = np.arange(changes.count)
    steps = changes.between(here - 1, here)  # (T,) 0 at the first
    offsets = np.array([k for k in range(-_AROUND, _AROUND + 1) if k])
    exists = (here[:, None] + offsets >= 0) & (here[:, None] + offsets < changes.count)
    beside = np.where(exists, steps[changes.inside(here[:, None] + offsets)], 0.0)  # (T, 16)
    # The quieter side tells: a shot may begin or end with a rush.
    restless = np.minimum(_third_largest(beside[:, :_AROUND], exists[:, :_AROUND]), _third_largest(beside[:, _AROUND:], exists[:, _AROUND:]))
    restless = np.where(np.isfinite(restless), restless, 0.0)
    close = beside[:, np.abs(offsets) <= _PEAK]
    earlier = offsets[np.abs(offsets) <= _PEAK] < 0
    peak = (steps > np.where(earlier, close, -1.0).max(axis=1)) & (steps >= close.max(axis=1))
    after = np.arange(1, _FLASH + 1)
    returns = np.minimum(
        changes.between(here[:, None] - 1, here[:, None] + after).min(axis=1), changes.between(here[:, None] - 1 - after, here[:, None]).min(axis=1)
    )
    wide = changes.extents() >= options.extent
    found = peak & wide & (steps > options.step) & (steps > options.step_ratio * restless) & (returns > options.lasting * steps)
    return np.asarray(found, np.bool_)


def _third_largest(steps: Table, exists: NDArray[np.bool_]) -> Table:
    """Return for each row the third largest step, so that another cut near by does not count; infinite where fewer exist."""
    ordered = np.sort(np.where(exists, steps, -1.0), axis=1)[:, -3]
    return np.where(ordered >= 0, ordered, np.inf)


def _gradual_cuts(changes: _Changes, hard: NDArray[np.bool_], options: CutOptions) -> NDArray[np.bool_]:
    """Return (T,) where a dissolve or fade is half done. Reach: the longest half + `_APART`, and the hard cuts' own within it."""
    scores = np.max([_mixing(changes, hard, half, options) for half in _HALVES], axis=0)
    padded = np.pad(scores, _APART)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * _APART + 1)  # (T, 11)
    best = (scores > windows[:, :_APART].max(axis=1)) & (scores >= windows[:, _APART + 1 :].max(axis=1))
    return np.asarray(best & (scores > 0), np.bool_)


def _mixing(changes: _Changes, hard: NDArray[np.bool_], half: int, options: CutOptions) -> Table:
    """Return (T,) how large a gradual change of a given half length lies around each instant, where there is one, else 0."""
    score = np.zeros(changes.count)
    here = np.arange(half, changes.count - half)
    if len(here) == 0:
        return score
    first, last = here - half, here + half
    whole = changes.squares[first, last]  # (U,)
    like = changes.likeness(first, last)
    quiet = np.concatenate([[0], np.cumsum(hard)])
    able = (np.sqrt(whole) > options.gradual) & (like < options.likeness) & (quiet[last + 1] - quiet[first] == 0)
    here, first, last, whole = here[able], first[able], last[able], whole[able]
    if len(here) == 0:
        return score
    within = here[:, None] + np.arange(-half + 1, half)  # (U, 2 half - 1)
    from_first = changes.squares[first[:, None], within]
    from_last = changes.squares[last[:, None], within]
    share = (whole[:, None] + from_first - from_last) / (2 * whole[:, None])  # how much of the last picture each holds
    rest = from_first / whole[:, None] - share**2  # what is neither, as a share of the whole change
    steps = np.diff(share, axis=1, prepend=0.0, append=1.0)
    middle = share[:, half - 1]
    smooth = (rest.max(axis=1) < options.mixture) & (steps.min(axis=1) > -0.1) & (steps.max(axis=1) < 0.6) & (np.abs(middle - 0.5) < 0.25)
    score[here] = np.where(smooth, np.sqrt(whole) * (1 - np.abs(2 * middle - 1)), 0.0)
    return score

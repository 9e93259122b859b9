"""Tracks: which detections at successive instants are one face, where it is in between, and which tracks of neighbouring blocks are one.

Detections come at irregular instants (a coarse schedule, more where something happens). Faces are linked from instant to instant by the
overlap of their boxes with where the track is expected; between its observations a track's boxes are interpolated and smoothed. Cuts are
somebody else's knowledge: `Tracker.cut` ends all tracks.

Everything here is local: a box at instant i depends on the observations up to `TrackOptions.reach` instants away and no further, so a
stream that waits that long and a batch agree to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from asd_core.geometry import box_centres, box_iou
from asd_core.records import Detections

SMOOTH_SIGMA = 2.0  # instants
SMOOTH_REACH = 4  # instants: two sigma
VELOCITY_SPAN = (4, 12)  # instants over which a face's velocity is taken: shorter is noise, longer is history
SAME_FACE_IOU = 0.5  # mean over shared instants from which tracks of neighbouring blocks are one
REFUSED = 1e6  # cost of a forbidden pair
FOREVER = 2**62


@dataclass(frozen=True, slots=True)
class TrackOptions:
    """How faces are linked.

    Attributes:
        high_score: detector score from which a detection may begin a track; lower ones only continue what is there.
        max_gap_instants: most instants between two consecutive observations of one track (10 = 0.4 s). It is counted between observations,
            not between looks: at a schedule of every 8th instant a face must be seen at each look, or at a refinement in between.
        min_iou: overlap with the expected box from which a detection may be the same face.
        near: centre distance, in sizes of the face, that will do instead of overlap at once; it grows by `near_per_instant` for each
            instant since the track was seen, to `near_most` (below 1: two faces side by side are a size apart).
        max_size_ratio: largest ratio of sizes (square roots of areas) of one face between two observations.
        min_likeness: correlation of two looks below which they are not one face, however near: in a push wipe one face comes to where
            another was. Of one face 0.32 s apart 1 in 100 falls below; what is parted wrongly is one person again by its chips.
    """

    high_score: float = 0.5
    max_gap_instants: int = 10
    min_iou: float = 0.2
    near: float = 0.3
    near_per_instant: float = 0.05
    near_most: float = 0.8
    max_size_ratio: float = 1.7
    min_likeness: float = 0.4

    @property
    def reach(self) -> int:
        """Return how many instants away an observation can be that a box depends on."""
        return self.max_gap_instants + SMOOTH_REACH


@dataclass(frozen=True, slots=True, eq=False)
class RawTrack:
    """One face's observations, by rising instant: `instants` (K,), `boxes` (K, 4), `scores` (K,), `landmarks` (K, 5, 2)."""

    key: int  # numbered within the tracker by first instant, then from left to right
    instants: NDArray[np.int64]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    landmarks: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """A piece of a track at consecutive instants from `first` on: `boxes` (T, 4), `observed` (T,) detected there, not interpolated."""

    key: int
    first: int
    boxes: NDArray[np.float32]
    observed: NDArray[np.bool_]


class Boxed(Protocol):
    """Anything with boxes (T, 4) at consecutive instants from `first` on."""

    @property
    def first(self) -> int:
        """Return the instant of the first box."""
        ...

    @property
    def boxes(self) -> NDArray[np.float32]:
        """Return the boxes."""
        ...


class Tracker:
    """Tracks of one block, fed instant by instant.

    A stream asks after each `update` for the stretches of the instants before `settled_until`: nothing that comes later can change them.
    """

    def __init__(self, options: TrackOptions = TrackOptions()) -> None:
        self.options = options
        self._tracks: list[_Observations] = []  # all, by key
        self._live: list[_Observations] = []
        self._settled = -FOREVER
        self._last = -FOREVER

    @property
    def settled_until(self) -> int:
        """Return the first instant whose boxes may still change; all before it are final."""
        return self._settled

    def update(self, instant: int, found: Detections, looks: NDArray[np.float32] | None = None) -> NDArray[np.int64]:
        """Take the detections of an instant and return the (N,) keys of their tracks, -1 for those that belong to none.

        The instant must be later than all before; no face found is news too and must be told. `looks` (N, L) are unit vectors whose
        products say how alike two faces look; without them faces are linked by their boxes alone.
        """
        if instant <= self._last:
            raise ValueError(f"instants must rise: {instant} after {self._last}")
        self._last = instant
        self._live = [track for track in self._live if instant - track.instants[-1] <= self.options.max_gap_instants]
        order = np.lexsort((*found.boxes.T[::-1],))  # from left to right, whatever the detector's order
        high = order[found.scores[order] >= self.options.high_score]
        low = order[found.scores[order] < self.options.high_score]
        looks = np.ones((len(found), 1), np.float32) if looks is None else looks
        free_tracks, free_high = self._link(instant, found, looks, self._live, high)
        self._link(instant, found, looks, free_tracks, low)
        for row in free_high:
            track = _Observations(len(self._tracks))
            track.add(instant, found, looks, int(row))
            self._tracks.append(track)
            self._live.append(track)
        self._live = [track for track in self._live if instant - track.instants[-1] < self.options.max_gap_instants]
        self._settled = max(self._settled, min([instant + 1, *(track.settled_until for track in self._live)]))
        keys = np.full(len(found), -1, np.int64)
        for track in self._tracks:
            if track.instants[-1] == instant:
                keys[track.row] = track.key
        return keys

    def cut(self, instant: int) -> None:
        """End all tracks before `instant`, at which a new shot begins."""
        if instant <= self._last:
            raise ValueError(f"a cut at {instant} must be told before the detections of {self._last}")
        self._live = []
        self._settled = max(self._settled, instant)

    def finish(self) -> list[RawTrack]:
        """End all tracks and return their observations, by key."""
        self._live = []
        self._settled = FOREVER
        return [track.raw() for track in self._tracks]

    def stretches(self, first: int, stop: int) -> list[Stretch]:
        """Return, by key, the pieces of all tracks within [first, stop); `stop` must not exceed `settled_until`.

        For the crops of [first, stop) ask for six instants more on both sides and drop those rows of `crop_squares` again: what ends
        earlier than asked is the end of its track.
        """
        if stop > self._settled:
            raise ValueError(f"instants from {self._settled} on are not settled yet, asked for boxes before {stop}")
        pieces = []
        for track in self._tracks:
            start, end = max(first, track.instants[0]), min(stop, track.instants[-1] + 1)
            if start < end:
                pieces.append(track.stretch(start, end))
        return pieces

    def _link(
        self, instant: int, found: Detections, looks: NDArray[np.float32], tracks: list[_Observations], rows: NDArray[np.int64]
    ) -> tuple[list[_Observations], NDArray[np.int64]]:
        """Give detections to tracks one to one; return the tracks and the rows that are left."""
        if not tracks or not len(rows):
            return tracks, rows
        expected = np.stack([track.expected(instant) for track in tracks])
        last = np.stack([track.boxes[-1] for track in tracks])
        gaps = np.array([instant - track.instants[-1] for track in tracks])
        alike = np.stack([track.look for track in tracks]) @ looks[rows].T >= self.options.min_likeness
        pairs = _associate(expected, last, gaps, found.boxes[rows], self.options, alike)
        for left, right in pairs:
            tracks[left].add(instant, found, looks, int(rows[right]))
        free = [track for i, track in enumerate(tracks) if i not in pairs[:, 0]]
        return free, np.delete(rows, pairs[:, 1])


def match_faces(left: NDArray[np.float32], right: NDArray[np.float32], gap_instants: int, options: TrackOptions) -> NDArray[np.int64]:
    """Return the (P, 2) index pairs of boxes that may be one face seen `gap_instants` apart, one to one, by rising left index.

    What is in no pair has appeared or vanished in between: the place to look again. Tracks decide with more knowledge (velocity).
    """
    if not len(left) or not len(right):
        return np.zeros((0, 2), np.int64)
    return _associate(left, left, np.full(len(left), abs(gap_instants)), right, options)


def fill(instants: NDArray[np.int64], boxes: NDArray[np.float32]) -> tuple[int, NDArray[np.float32], NDArray[np.bool_]]:
    """Return a track's first instant, its boxes (T, 4) at all instants up to its last, and which of them (T,) were observed.

    Between observations the corners move in straight lines; then all are smoothed by a Gaussian of two instants' deviation, cut at four.
    Towards the track's ends the kernel shrinks on both sides alike, so a steady movement stays as it is and the ends keep their boxes.

    Args:
        instants: (K,) rising, at least one.
        boxes: (K, 4) observed then.
    """
    first, last = int(instants[0]), int(instants[-1])
    return first, _filled(instants, boxes, first, last + 1), np.isin(np.arange(first, last + 1), instants)


def join(left: Sequence[Boxed], right: Sequence[Boxed]) -> list[tuple[int, int]]:
    """Return the pairs (left index, right index) of tracks of two neighbouring blocks that are one face, one to one, by left index.

    Two tracks are one when their boxes overlap by at least 0.5 in the mean over the instants that both have; of several possible pairings
    the one with most overlap in all is taken. Tracks without a common instant are not joined.
    """
    if not left or not right:
        return []
    gains = np.zeros((len(left), len(right)))
    for i, one in enumerate(left):
        for j, other in enumerate(right):
            start, stop = max(one.first, other.first), min(one.first + len(one.boxes), other.first + len(other.boxes))
            if start < stop:
                overlaps = _paired_iou(one.boxes[start - one.first : stop - one.first], other.boxes[start - other.first : stop - other.first])
                gains[i, j] = overlaps.sum() if overlaps.mean() >= SAME_FACE_IOU else 0
    from scipy.optimize import linear_sum_assignment  # half a second that commands without a track to link need not wait

    rows, columns = linear_sum_assignment(gains, maximize=True)
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if gains[i, j] > 0]


class _Observations:
    """A track while it grows."""

    def __init__(self, key: int) -> None:
        self.key = key
        self.row = -1  # of the latest observation among its instant's detections
        self.look = np.zeros(0, np.float32)  # of the latest observation
        self.instants: list[int] = []
        self.boxes: list[NDArray[np.float32]] = []
        self.scores: list[float] = []
        self.landmarks: list[NDArray[np.float32]] = []

    @property
    def settled_until(self) -> int:
        return max(self.instants[0], self.instants[-1] - SMOOTH_REACH + 1)

    def add(self, instant: int, found: Detections, looks: NDArray[np.float32], row: int) -> None:
        self.row = row
        self.look = looks[row]
        self.instants.append(instant)
        self.boxes.append(found.boxes[row])
        self.scores.append(float(found.scores[row]))
        self.landmarks.append(found.landmarks[row])

    def expected(self, instant: int) -> NDArray[np.float32]:
        """Return the box moved on with the face's recent velocity, of which little is believed when it was seen over few instants only."""
        earlier = self._earlier()
        over = self.instants[-1] - self.instants[earlier]
        if over == 0:
            return self.boxes[-1]
        moved = box_centres(self.boxes[-1][None])[0] - box_centres(self.boxes[earlier][None])[0]
        velocity = moved / over * (over / (over + 2))
        moved_on: NDArray[np.float32] = (self.boxes[-1] + np.tile(velocity * (instant - self.instants[-1]), 2)).astype(np.float32)
        return moved_on

    def _earlier(self) -> int:
        """Return the index of the observation against which velocity is taken: the latest that is long enough ago, else the oldest at hand."""
        index = len(self.instants) - 1
        while index > 0 and self.instants[-1] - self.instants[index] < VELOCITY_SPAN[0]:
            if self.instants[-1] - self.instants[index - 1] > VELOCITY_SPAN[1]:
                break
            index -= 1
        return index

    def stretch(self, start: int, stop: int) -> Stretch:
        instants = np.array(self.instants, np.int64)
        boxes = _filled(instants, np.stack(self.boxes), start, stop)
        return Stretch(self.key, start, boxes, np.isin(np.arange(start, stop), instants))

    def raw(self) -> RawTrack:
        return RawTrack(
            self.key, np.array(self.instants, np.int64), np.stack(self.boxes), np.array(self.scores, np.float32), np.stack(self.landmarks)
        )


def _associate(
    expected: NDArray[np.float32],
    last: NDArray[np.float32],
    gaps: NDArray[np.int64],
    found: NDArray[np.float32],
    options: TrackOptions,
    alike: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Return the (P, 2) pairs (track, detection) of least total cost among the allowed ones, and those that look alike (M, N), where told.

    A track may be where its velocity leads or where it was: heads turn back as often as they go on.
    """
    ious = np.maximum(box_iou(expected, found), box_iou(last, found)).astype(np.float64)  # (M, N)
    sizes, found_sizes = _sizes(last), _sizes(found)
    ratios = np.maximum(sizes[:, None] / found_sizes, found_sizes / sizes[:, None])
    away = np.minimum(_distances(expected, found), _distances(last, found)) / np.minimum(sizes[:, None], found_sizes)
    near = np.minimum(options.near + options.near_per_instant * gaps, options.near_most)
    allowed = (ratios <= options.max_size_ratio) & ((ious >= options.min_iou) | (away <= near[:, None]))
    if alike is not None:
        allowed &= alike
    costs = np.where(allowed, 1 - ious + away, REFUSED)
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(costs)
    fits = allowed[rows, columns]
    return np.column_stack([rows[fits], columns[fits]]).astype(np.int64)


def _filled(instants: NDArray[np.int64], boxes: NDArray[np.float32], start: int, stop: int) -> NDArray[np.float32]:
    """Return the boxes of [start, stop), each by the same arithmetic whatever the range asked for."""
    first, last = int(instants[0]), int(instants[-1])
    padded = np.clip(np.arange(start - SMOOTH_REACH, stop + SMOOTH_REACH), first, last)
    after = np.clip(np.searchsorted(instants, padded, side="right"), 1, max(len(instants) - 1, 1))
    before = after - 1
    after = np.minimum(after, len(instants) - 1)
    parts = (padded - instants[before]) / np.maximum(instants[after] - instants[before], 1)  # (T + 8,)
    corners = boxes.astype(np.float64)
    lines = corners[before] + (corners[after] - corners[before]) * parts[:, None]  # (T + 8, 4)
    wanted = np.arange(start, stop)
    reach = np.minimum(np.minimum(wanted - first, last - wanted), SMOOTH_REACH)  # (T,)
    total, weights = np.zeros((stop - start, 4)), np.zeros((stop - start, 1))
    for offset in range(-SMOOTH_REACH, SMOOTH_REACH + 1):
        weight = np.where(abs(offset) <= reach, np.exp(-0.5 * (offset / SMOOTH_SIGMA) ** 2), 0.0)[:, None]
        total += weight * lines[SMOOTH_REACH + offset : SMOOTH_REACH + offset + len(wanted)]
        weights += weight
    return (total / weights).astype(np.float32)


def _sizes(boxes: NDArray[np.float32]) -> NDArray[np.float64]:
    areas: NDArray[np.float64] = (boxes[:, 2:] - boxes[:, :2]).astype(np.float64).prod(axis=1)
    return np.sqrt(np.maximum(areas, 1e-6))


def _distances(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the (M, N) distances between centres in pixels."""
    across: NDArray[np.float64] = np.linalg.norm((box_centres(left)[:, None] - box_centres(right)[None]).astype(np.float64), axis=2)
    return across


def _paired_iou(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the (T,) overlaps of the boxes of two tracks, instant by instant."""
    overlap = np.clip(np.minimum(left[:, 2:], right[:, 2:]) - np.maximum(left[:, :2], right[:, :2]), 0, None).astype(np.float64).prod(axis=1)
    areas = np.square(_sizes(left)) + np.square(_sizes(right))
    ious: NDArray[np.float64] = overlap / np.maximum(areas - overlap, 1e-12)
    return ious

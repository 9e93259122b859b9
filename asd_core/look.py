"""`look`: one streamed decode of a span gives its shots, face tracks, visual features and chips.

The asset's picture is cut at fixed marks, 10 s apart, into blocks. A block sees its own instants and 28 more on both sides, and nothing
else: tracking, cut detection and smoothing begin afresh in every block. So what a block finds does not depend on the span in which it was
decoded, and a span is merely a run of blocks that share one decode. `stitch` joins the tracks of neighbouring blocks by the boxes that both
saw in the overlap.

Within a block the detector runs on a schedule (every `stride` instants) and wherever the schedule is too coarse: on both sides of a cut, and,
by halving the interval, where a face appears, vanishes or moves too far for its box to be interpolated. Frames wait in a short queue until
the boxes around them are final; then the speaking network's crop is cut from them and only 112 x 112 grey values live on.
"""

from __future__ import annotations

import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from asd_core.faces.align import BUCKET_SECONDS, CHIP_SIZE, align_matrix, chip_quality, chip_worth
from asd_core.faces.crop import CROP_SIZE, MEDIAN_REACH, crop_matrix, crop_squares
from asd_core.faces.detect import Detector
from asd_core.faces.track import RawTrack, Tracker, TrackOptions, fill, match_faces
from asd_core.geometry import box_centres, box_iou, box_sizes, square_to_patch
from asd_core.media.decode import Frame, read_frames
from asd_core.media.shots import CUT_REACH, THUMBNAIL_WH, find_cuts
from asd_core.records import Block, BlockTrack, Chips, Detections, Look, MediaInfo
from asd_core.speech.score import ENCODER_REACH
from asd_core.timeline import GRID_HZ, MARK_INSTANTS, instant_count, instant_time

OVERLAP = max(CUT_REACH, MEDIAN_REACH + ENCODER_REACH)  # instants a block sees beyond its own on both sides
LOOK_SIZE = 32  # pixels of the patches whose correlation tells whether a face is still the same

Looks = NDArray[np.float32]  # (N, 1024)


@dataclass(frozen=True, slots=True)
class LookOptions:
    """How closely to look.

    Attributes:
        stride: grid instants between scheduled detections; 8 is 0.32 s. Fewer finds short appearances more surely and costs more.
        finest: intervals of so many instants are not halved again.
        steady_iou: a face whose boxes at both ends of an interval overlap less than this is looked for in the middle too.
        steady_likeness: so is one whose pictures at both ends correlate less than this: it turned, or another face came to its place
            (1 in 50 of the faces of labelled tracks 0.32 s apart).
        top_faces: at most so many faces a frame, None for all.
        top_by: which faces those are: the largest ("area") or those nearest the centre ("centre").
        tracking: how detections are linked; its `high_score` is the detector's own threshold.
    """

    stride: int = 8
    finest: int = 2
    steady_iou: float = 0.5
    steady_likeness: float = 0.6
    top_faces: int | None = None
    top_by: Literal["area", "centre"] = "area"
    tracking: TrackOptions = field(default_factory=TrackOptions)


class VisualEncoder(Protocol):
    """The speaking network's visual encoder."""

    def encode_visual(self, crops: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Return (T, D) features of (T, 112, 112) grey crops."""


def picture_instants(info: MediaInfo) -> range:
    """Return the grid instants at which the asset shows a picture; empty without one."""
    if info.video is None:
        return range(0)
    return range(instant_count(info.video.start), instant_count(info.video.start + info.video.duration))


def picture_marks(info: MediaInfo) -> range:
    """Return the marks of the blocks that hold the asset's picture; empty without one."""
    instants = picture_instants(info)
    return range(instants[0] // MARK_INSTANTS, instants[-1] // MARK_INSTANTS + 1) if instants else range(0)


def spans_of_marks(info: MediaInfo, span_marks: int | None) -> list[range]:
    """Return the asset's marks as consecutive spans of at most `span_marks` blocks (None: one span)."""
    marks = picture_marks(info)
    step = span_marks or max(1, len(marks))
    return [marks[i : i + step] for i in range(0, len(marks), step)]


def look(
    path: Path,
    info: MediaInfo,
    marks: range,
    *,
    detector: Detector,
    encoder: VisualEncoder,
    options: LookOptions | None = None,
    decode_threads: int = 1,
    on_progress: Callable[[str, float, float], None] | None = None,
) -> Look:
    """Return what one decode of the blocks `marks` shows.

    Args:
        path: the media file.
        info: what `probe` said of it.
        marks: consecutive blocks; empty in, empty out.
        detector: finds faces in an RGB picture.
        encoder: the speaking network's visual encoder.
        options: see `LookOptions`.
        decode_threads: threads of the video decoder.
        on_progress: called as (stage, done, total) with seconds of the asset's time.

    Raises:
        MediaError: the picture cannot be decoded at all.
    """
    options = options or LookOptions()
    options = replace(options, tracking=replace(options.tracking, high_score=detector.score_threshold))
    if not marks:
        return Look(blocks=())
    start, end = instant_time(marks[0] * MARK_INSTANTS - OVERLAP), instant_time((marks[-1] + 1) * MARK_INSTANTS + OVERLAP)
    own_start, own_end = instant_time(marks[0] * MARK_INSTANTS), min(info.duration, instant_time((marks[-1] + 1) * MARK_INSTANTS))
    faces = _FaceFinder(detector, options)
    coming = list(marks)
    views: list[_BlockView] = []
    finished: list[Callable[[], Block]] = []
    blocks: list[Block] = []
    with ThreadPoolExecutor(1, thread_name_prefix="encode") as encoding:

        def encode(crops: NDArray[np.uint8]) -> Future[NDArray[np.float16]]:
            return encoding.submit(encoder.encode_visual, crops)

        for frame, thumbnail in _ahead(read_frames(path, info, start=start, end=end, threads=decode_threads)):
            while coming and frame.instant >= coming[0] * MARK_INSTANTS - OVERLAP:
                views.append(_BlockView(coming.pop(0), faces, options))
            for view in [v for v in views if frame.instant >= v.window.stop]:
                finished.append(view.finish(encode))
                views.remove(view)
                if len(finished) > 1:  # the encoder may lag by one block: no more, for its crops wait in memory
                    blocks.append(finished.pop(0)())
            for view in views:
                view.push(frame, thumbnail)
            faces.forget_before(min(view.oldest for view in views))
            if on_progress is not None and frame.instant % GRID_HZ == 0:
                on_progress("look", min(max(0.0, frame.time - own_start), own_end - own_start), own_end - own_start)
        finished += [view.finish(encode) for view in views]
        blocks += [block() for block in finished]
    return Look(blocks=tuple(blocks))


def _ahead(frames: Iterator[Frame], depth: int = 12) -> Iterator[tuple[Frame, NDArray[np.uint8]]]:
    """Yield the frames of an iterator that runs in a thread of its own, at most `depth` frames ahead, each with its thumbnail."""
    done = object()
    ready: queue.Queue[object] = queue.Queue(depth)
    stop = threading.Event()

    def put(thing: object) -> None:
        while not stop.is_set():
            try:
                ready.put(thing, timeout=0.2)
            except queue.Full:
                continue
            return

    def read() -> None:
        try:
            for frame in frames:
                put((frame, frame.luma(THUMBNAIL_WH)))
                if stop.is_set():
                    return
            put(done)
        except BaseException as error:  # noqa: BLE001  carried to the reader, who raises it
            put(error)

    reader = threading.Thread(target=read, name="decode", daemon=True)
    reader.start()
    try:
        while True:
            thing = ready.get()
            if thing is done:
                return
            if isinstance(thing, BaseException):
                raise thing
            yield thing  # type: ignore[misc]
    finally:
        stop.set()
        reader.join()


class _FaceFinder:
    """Detections by instant and what each face looks like; a frame meets the detector at most once, although two blocks may ask."""

    def __init__(self, detector: Detector, options: LookOptions) -> None:
        self._detector = detector
        self._options = options
        self._found: dict[int, tuple[Detections, Looks]] = {}

    def at(self, frame: Frame) -> tuple[Detections, Looks]:
        """Return the faces of a frame, in pixels of the upright picture, and their looks (N, 1024): unit vectors that multiply to a correlation."""
        if frame.instant not in self._found:
            size_wh = self._detector.fitted_size(frame.width, frame.height)
            found = self._detector.detect(frame.picture(size_wh), top=self._options.top_faces, by=self._options.top_by)
            scale = np.array([frame.width / size_wh[0], frame.height / size_wh[1]], np.float32)
            upright = Detections(found.boxes * np.tile(scale, 2), found.scores, found.landmarks * scale)
            self._found[frame.instant] = upright, _looks(frame, upright.boxes)
        return self._found[frame.instant]

    def forget_before(self, instant: int) -> None:
        for known in [i for i in self._found if i < instant]:
            del self._found[known]


def _looks(frame: Frame, boxes: NDArray[np.float32]) -> Looks:
    """Return each face as 32 x 32 grey values less their mean, of norm 1: the product of two is their normalised cross-correlation."""
    patches = np.zeros((len(boxes), LOOK_SIZE * LOOK_SIZE), np.float32)
    for row, (centre, side) in enumerate(zip(box_centres(boxes), box_sizes(boxes), strict=True)):
        square = square_to_patch((float(centre[0]), float(centre[1])), max(float(side), 1.0), LOOK_SIZE)
        patches[row] = frame.warp_luma(square, LOOK_SIZE).ravel()
    patches -= patches.mean(axis=1, keepdims=True)
    patches /= np.maximum(np.linalg.norm(patches, axis=1, keepdims=True), 1e-6)
    return patches


class _Gathered:
    """What a block gathers of one track while its frames pass."""

    def __init__(self) -> None:
        self.crop_first = 0
        self.crops: list[NDArray[np.uint8]] = []
        self._best: dict[int, tuple[float, float, NDArray[np.float32], NDArray[np.uint8]]] = {}  # by stretch of two seconds

    def offer_chip(self, frame: Frame, box: NDArray[np.float32], landmarks: NDArray[np.float32], score: float) -> None:
        """Keep the frame's chip if it is the best of its stretch of time; cut it only where it could be."""
        stretch = int(frame.time / BUCKET_SECONDS + 1e-9)
        worth = chip_worth(box, landmarks, score)
        if stretch in self._best and worth <= self._best[stretch][0]:
            return
        chip = frame.warp_colour(align_matrix(landmarks), CHIP_SIZE)
        quality = chip_quality(worth, chip)
        if stretch not in self._best or quality > self._best[stretch][0]:
            self._best[stretch] = (quality, frame.time, box, chip)

    def chips(self) -> tuple[Chips, NDArray[np.uint8]]:
        """Return the best chip of each stretch of time, in order of time, and their pixels (K, 112, 112, 3)."""
        chosen = [self._best[stretch] for stretch in sorted(self._best)]
        chips = Chips(
            times=np.array([time for _, time, _, _ in chosen], np.float64),
            boxes=np.array([box for _, _, box, _ in chosen], np.float32).reshape(-1, 4),
            quality=np.array([quality for quality, _, _, _ in chosen], np.float32),
        )
        return chips, np.array([chip for _, _, _, chip in chosen], np.uint8).reshape(-1, CHIP_SIZE, CHIP_SIZE, 3)


class _BlockView:
    """One block while its frames pass: `push` them in order, then `finish`."""

    def __init__(self, mark: int, faces: _FaceFinder, options: LookOptions) -> None:
        self.mark = mark
        self.own = range(mark * MARK_INSTANTS, (mark + 1) * MARK_INSTANTS)
        self.window = range(self.own.start - OVERLAP, self.own.stop + OVERLAP)
        self._faces = faces
        self._options = options
        self._tracker = Tracker(options.tracking)
        self._gathered: defaultdict[int, _Gathered] = defaultdict(_Gathered)  # by the tracker's key
        self._frames: dict[int, Frame] = {}  # those that an interval, a crop or a chip may still need
        self._thumbnails: list[NDArray[np.uint8]] = []
        self._instants: list[int] = []
        self._cuts: list[int] = []
        self._looked: int | None = None  # the last instant of which the tracker knows
        self._cropped = self.own.start - ENCODER_REACH - 1  # the next instant to crop; one more than the encoder reaches, for the motion

    @property
    def oldest(self) -> int:
        """The earliest instant whose detections may still be asked for."""
        return self.window.start if self._looked is None else self._looked

    def push(self, frame: Frame, thumbnail: NDArray[np.uint8]) -> None:
        """Take the next frame, and work on every interval of the schedule for which the cut detector has all it reads."""
        self._frames[frame.instant] = frame
        self._instants.append(frame.instant)
        self._thumbnails.append(thumbnail)
        while (stop := self._next_stop()) + CUT_REACH <= frame.instant:
            self._interval(stop)

    def finish(self, encode: Callable[[NDArray[np.uint8]], Future[NDArray[np.float16]]]) -> Callable[[], Block]:
        """Return what waits for the encoder and then gives the block; to be called once all frames have been pushed."""
        while self._instants and (self._looked is None or self._looked < self._instants[-1]):
            self._interval(min(self._next_stop(), self._instants[-1]))
        raws = self._tracker.finish()
        if self._instants:
            self._crop(self._instants[-1] + 1)
        waiting = [(raw, self._gathered[raw.key], encode(np.stack(self._gathered[raw.key].crops))) for raw in raws if self._gathered[raw.key].crops]
        self._frames.clear()
        return lambda: self._block(waiting)

    def _next_stop(self) -> int:
        begin = self._looked if self._looked is not None else self._instants[0]
        return (begin // self._options.stride + 1) * self._options.stride

    def _interval(self, stop: int) -> None:
        """Detect and link within (looked, stop]; the first interval of a block begins with its first frame."""
        begin = self._instants[0] if self._looked is None else self._looked
        cuts = [c for c in self._cuts_near(begin, stop) if begin < c <= stop]
        held = sorted({i for i in (begin, stop, *cuts, *(c - 1 for c in cuts)) if i in self._frames and i >= begin})
        looked = set(held)
        for left, right in pairwise(held):
            if right not in cuts:
                looked.update(self._between(left, right))
        for instant in sorted(looked):
            if instant in cuts:
                self._tracker.cut(instant)
            if self._looked is None or instant > self._looked:
                self._observe(instant)
        self._cuts += cuts
        self._looked = stop
        self._crop(self._tracker.settled_until - MEDIAN_REACH)
        for passed in [i for i in self._frames if i < min(self._cropped, stop)]:
            del self._frames[passed]

    def _cuts_near(self, begin: int, stop: int) -> list[int]:
        low = int(np.searchsorted(self._instants, begin - CUT_REACH))
        high = int(np.searchsorted(self._instants, stop + CUT_REACH, side="right"))
        if low == high:  # a stretch without a picture: the file is damaged
            return []
        return [self._instants[low + k] for k in find_cuts(np.stack(self._thumbnails[low:high]))]

    def _between(self, left: int, right: int) -> list[int]:
        """Return the instants between two detections at which to look as well: halfway, again and again, while a face is unaccounted for."""
        middle = (left + right) // 2
        if right - left <= self._options.finest or middle not in self._frames:
            return []
        if self._steady(self._frames[left], self._frames[right]):
            return []
        return [*self._between(left, middle), middle, *self._between(middle, right)]

    def _steady(self, left: Frame, right: Frame) -> bool:
        """Return whether every sure face of either frame has its counterpart in the other: hardly moved, and looking the same."""
        (before, looked), (after, looks) = self._faces.at(left), self._faces.at(right)
        pairs = match_faces(before.boxes, after.boxes, right.instant - left.instant, self._options.tracking)
        sure = self._options.tracking.high_score
        alone = np.setdiff1d(np.flatnonzero(before.scores >= sure), pairs[:, 0]), np.setdiff1d(np.flatnonzero(after.scores >= sure), pairs[:, 1])
        if len(alone[0]) or len(alone[1]):
            return False
        were, are = before.boxes[pairs[:, 0]], after.boxes[pairs[:, 1]]
        if (np.diag(box_iou(were, are)) < self._options.steady_iou).any():
            return False
        return bool(((looked[pairs[:, 0]] * looks[pairs[:, 1]]).sum(axis=1) >= self._options.steady_likeness).all())

    def _observe(self, instant: int) -> None:
        frame = self._frames[instant]
        found, looks = self._faces.at(frame)
        keys = self._tracker.update(instant, found, looks)
        if instant in self.own:
            for row in np.flatnonzero(keys >= 0):
                self._gathered[int(keys[row])].offer_chip(frame, found.boxes[row], found.landmarks[row], float(found.scores[row]))

    def _crop(self, stop: int) -> None:
        """Cut the crops of all tracks from where the last call ended up to `stop`, as far as the encoder will read."""
        stop = min(stop, self.own.stop + ENCODER_REACH)
        first = self._cropped
        if stop <= first:
            return
        for stretch in self._tracker.stretches(first - MEDIAN_REACH, stop + MEDIAN_REACH):
            squares = crop_squares(stretch.boxes)
            for instant in range(max(first, stretch.first), min(stop, stretch.first + len(stretch.boxes))):
                gathered = self._gathered[stretch.key]
                if not gathered.crops:
                    gathered.crop_first = instant
                frame = self._frames.get(instant)
                if frame is not None:
                    gathered.crops.append(frame.warp_luma(crop_matrix(squares[instant - stretch.first]), CROP_SIZE))
                else:  # a hole in the picture: the face stands still
                    gathered.crops.append(gathered.crops[-1] if gathered.crops else np.full((CROP_SIZE, CROP_SIZE), 110, np.uint8))
        self._cropped = stop

    def _block(self, waiting: Sequence[tuple[RawTrack, _Gathered, Future[NDArray[np.float16]]]]) -> Block:
        tracks = [self._track(raw, gathered, features.result()) for raw, gathered, features in waiting]
        owned = [k for k, i in enumerate(self._instants) if i in self.own]
        luma = np.array([(self._instants[k], self._thumbnails[k].mean(), self._thumbnails[k].std()) for k in owned], np.float32).reshape(-1, 3)
        cuts = np.array([c for c in self._cuts if c in self.own], np.int64)
        return Block(self.mark, cuts, luma, tuple(track for track in tracks if track is not None))

    def _track(self, raw: RawTrack, gathered: _Gathered, features: NDArray[np.float16]) -> BlockTrack | None:
        first, boxes, observed = fill(raw.instants, raw.boxes)
        own = range(max(first, self.own.start), min(first + len(boxes), self.own.stop))
        if not own:
            return None
        crops = np.stack(gathered.crops).astype(np.int16)
        moved = np.concatenate([[0.0], np.abs(np.diff(crops, axis=0)).mean(axis=(1, 2))])
        rows = slice(own.start - gathered.crop_first, own.stop - gathered.crop_first)
        return BlockTrack(first, boxes, observed, own.start, features[rows], moved[rows].astype(np.float16), *gathered.chips())

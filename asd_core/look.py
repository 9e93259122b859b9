"""`look`: one streamed decode of a span gives its shots, face tracks, visual features and chips.

The asset's picture is cut at fixed marks, 10 s apart, into blocks. A block sees its own instants and one second on both sides, and nothing
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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from asd_core.faces.align import BUCKET_SECONDS, CHIP_SIZE, align_matrix, chip_quality, chip_worth
from asd_core.faces.crop import CROP_SIZE, MEDIAN_REACH, crop_matrix, crop_squares
from asd_core.faces.detect import Detector
from asd_core.faces.track import RawTrack, Tracker, TrackOptions, fill
from asd_core.geometry import box_iou
from asd_core.media.decode import Frame, read_frames
from asd_core.media.shots import CUT_REACH, THUMBNAIL_WH, find_cuts
from asd_core.records import Block, BlockTrack, Chips, Detections, Look, MediaInfo
from asd_core.speech.score import ENCODER_REACH
from asd_core.timeline import GRID_HZ, MARK_INSTANTS, instant_time, nearest_instant

OVERLAP = max(CUT_REACH, MEDIAN_REACH + ENCODER_REACH)  # instants a block sees beyond its own on both sides


@dataclass(frozen=True, slots=True)
class LookOptions:
    """How closely to look.

    Attributes:
        stride: grid instants between scheduled detections; 8 is 0.32 s. Fewer finds short appearances more surely and costs more.
        finest: intervals of so many instants are not halved again.
        steady_iou: a face whose boxes at both ends of an interval overlap less than this is looked for in the middle too.
        top_faces: at most so many faces a frame, None for all.
        top_by: which faces those are: the largest ("area") or those nearest the centre ("centre").
        tracking: how detections are linked.
    """

    stride: int = 8
    finest: int = 2
    steady_iou: float = 0.5
    top_faces: int | None = None
    top_by: str = "area"
    tracking: TrackOptions = field(default_factory=TrackOptions)


class VisualEncoder(Protocol):
    """The speaking network's visual encoder."""

    def encode_visual(self, crops: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Return (T, D) features of (T, 112, 112) grey crops."""


def picture_instants(info: MediaInfo) -> range:
    """Return the grid instants at which the asset shows a picture; empty without one."""
    if info.video is None:
        return range(0)
    first = nearest_instant(info.video.start)
    return range(first, max(first + 1, nearest_instant(info.video.start + info.video.duration)))


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
    if not marks:
        return Look(blocks=())
    start, end = instant_time(marks[0] * MARK_INSTANTS - OVERLAP), instant_time((marks[-1] + 1) * MARK_INSTANTS + OVERLAP)
    frames = read_frames(path, info, start=start, end=end, threads=decode_threads)
    faces = _FaceFinder(detector, options)
    blocks: list[Block] = []
    waiting = list(marks)
    active: list[_BlockView] = []
    first_time = instant_time(marks[0] * MARK_INSTANTS)
    total = max(0.0, min(info.duration, end) - first_time)
    with ThreadPoolExecutor(1) as encoding:
        for frame in _ahead(frames):
            while waiting and frame.instant >= waiting[0] * MARK_INSTANTS - OVERLAP:
                active.append(_BlockView(waiting.pop(0), faces, encoder, encoding, options))
            for view in [v for v in active if frame.instant >= v.window.stop]:
                blocks.append(view.finish())
                active.remove(view)
            for view in active:
                view.push(frame)
            faces.forget_before(min((v.oldest for v in active), default=frame.instant))
            if on_progress is not None and frame.instant % GRID_HZ == 0:
                on_progress("look", min(max(0.0, frame.time - first_time), total), total)
        blocks += [view.finish() for view in active]
    return Look(blocks=tuple(sorted(blocks, key=lambda b: b.mark)))


def _ahead(frames: Iterator[Frame], depth: int = 12) -> Iterator[Frame]:
    """Yield the frames of an iterator that runs in a thread of its own, at most `depth` frames ahead."""
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
                frame.luma(THUMBNAIL_WH)  # made here, kept by the frame: the cascade costs as much as a small network
                put(frame)
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
    """Detections by instant; each frame meets the detector at most once, although two blocks may ask."""

    def __init__(self, detector: Detector, options: LookOptions) -> None:
        self._detector = detector
        self._options = options
        self._found: dict[int, Detections] = {}

    def at(self, frame: Frame) -> Detections:
        """Return the faces of a frame, in pixels of the upright picture."""
        if frame.instant not in self._found:
            size_wh = self._detector.fitted_size(frame.width, frame.height)
            found = self._detector.detect(frame.picture(size_wh), top=self._options.top_faces, by=self._options.top_by)
            scale = np.array([frame.width / size_wh[0], frame.height / size_wh[1]], np.float32)
            self._found[frame.instant] = Detections(found.boxes * np.tile(scale, 2), found.scores, found.landmarks * scale)
        return self._found[frame.instant]

    def forget_before(self, instant: int) -> None:
        for known in [i for i in self._found if i < instant]:
            del self._found[known]


class _OpenTrack:
    """What a block gathers of one track while its frames pass."""

    def __init__(self) -> None:
        self.next_crop: int | None = None
        self.crops: list[NDArray[np.uint8]] = []
        self.crop_first = 0
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

    def chips(self) -> Chips:
        """Return the best chip of each stretch of time, in order of time."""
        chosen = [self._best[stretch] for stretch in sorted(self._best)]
        return Chips(
            times=np.array([time for _, time, _, _ in chosen], np.float64),
            boxes=np.array([box for _, _, box, _ in chosen], np.float32).reshape(-1, 4),
            colour=np.array([chip for _, _, _, chip in chosen], np.uint8).reshape(-1, CHIP_SIZE, CHIP_SIZE, 3),
            quality=np.array([quality for quality, _, _, _ in chosen], np.float32),
        )


class _BlockView:
    """One block while its frames pass: `push` them in order, then `finish`."""

    def __init__(self, mark: int, faces: _FaceFinder, encoder: VisualEncoder, encoding: ThreadPoolExecutor, options: LookOptions) -> None:
        self.mark = mark
        self.own = range(mark * MARK_INSTANTS, (mark + 1) * MARK_INSTANTS)
        self.window = range(self.own.start - OVERLAP, self.own.stop + OVERLAP)
        self._crop_range = range(self.own.start - ENCODER_REACH - 1, self.own.stop + ENCODER_REACH)
        self._faces = faces
        self._encoder = encoder
        self._encoding = encoding
        self._options = options
        self._tracker = Tracker(options.tracking)
        self._open: dict[int, _OpenTrack] = {}
        self._done: list[tuple[RawTrack, _OpenTrack, Future[NDArray[np.float16]] | None]] = []
        self._frames: dict[int, Frame] = {}  # frames whose boxes are not final yet
        self._thumbnails: list[NDArray[np.uint8]] = []
        self._instants: list[int] = []
        self._cuts: list[int] = []
        self._looked: int | None = None  # the last instant the tracker has heard of
        self._last: int | None = None

    @property
    def oldest(self) -> int:
        """The earliest instant that may still be asked for."""
        return self._looked if self._looked is not None else self.window.start

    def push(self, frame: Frame) -> None:
        self._frames[frame.instant] = frame
        self._instants.append(frame.instant)
        self._thumbnails.append(frame.luma(THUMBNAIL_WH))
        self._last = frame.instant
        self._advance(final=False)

    def finish(self) -> Block:
        """Return the block, once all its frames have been pushed."""
        self._advance(final=True)
        for raw in self._tracker.finish():
            self._close(raw)
        tracks = [t for t in (self._block_track(*done) for done in self._done) if t is not None]
        owned = [k for k, i in enumerate(self._instants) if i in self.own]
        luma = np.array([(self._instants[k], self._thumbnails[k].mean(), self._thumbnails[k].std()) for k in owned], np.float32).reshape(-1, 3)
        cuts = np.array([c for c in self._cuts if c in self.own], np.int64)
        return Block(self.mark, cuts, luma, tuple(sorted(tracks, key=lambda t: (t.first, float(t.boxes[0, 0]), float(t.boxes[0, 1])))))

    # ---- detection and tracking: interval by interval of the schedule ---------------------------------------------------

    def _advance(self, *, final: bool) -> None:
        """Work on every interval of the schedule for which the cut detector has all it reads."""
        while self._last is not None:
            begin = self._instants[0] if self._looked is None else self._looked
            stop = (begin // self._options.stride + 1) * self._options.stride
            if final and stop > self._last:
                stop = self._last
                if self._looked is not None and stop <= begin:
                    return
            elif stop + CUT_REACH > self._last and not final:
                return
            self._interval(begin, stop)

    def _interval(self, begin: int, stop: int) -> None:
        """Detect and link within (begin, stop]; the first interval of a block includes `begin`."""
        cuts = [c for c in self._cuts_near(begin, stop) if begin < c <= stop]
        edges = sorted({begin, stop, *cuts, *(c - 1 for c in cuts if c - 1 > begin)})
        held = [e for e in edges if e in self._frames]
        looked = dict.fromkeys(held)
        for left, right in zip(held, held[1:], strict=False):
            if right not in cuts:
                looked |= dict.fromkeys(self._halve(left, right))
        self._cuts += cuts
        for instant in sorted(looked):
            if instant in cuts:
                self._tracker.cut(instant)
            if self._looked is None or instant > self._looked:
                self._observe(instant)
        self._looked = stop
        for raw in self._tracker.take_ended():
            self._close(raw)
        for raw in self._tracker.live():
            self._crop(raw, ended=False)
        self._release()

    def _cuts_near(self, begin: int, stop: int) -> list[int]:
        low = max(0, np.searchsorted(self._instants, begin - CUT_REACH))
        high = np.searchsorted(self._instants, stop + CUT_REACH, side="right")
        found = find_cuts(np.stack(self._thumbnails[low:high]))
        return [self._instants[low + k] for k in found]

    def _halve(self, left: int, right: int) -> list[int]:
        """Return the instants between two detections at which to look as well."""
        if right - left <= self._options.finest:
            return []
        if self._steady(self._faces.at(self._frames[left]), self._faces.at(self._frames[right])):
            return []
        middle = (left + right) // 2
        if middle not in self._frames:
            return []
        return [*self._halve(left, middle), middle, *self._halve(middle, right)]

    def _steady(self, before: Detections, after: Detections) -> bool:
        """Return whether every sure face of either frame has its counterpart, hardly moved, in the other."""
        sure = self._faces_threshold
        overlap = box_iou(before.boxes, after.boxes)
        lost = overlap.max(axis=1, initial=0)[before.scores >= sure] < self._options.steady_iou
        new = overlap.max(axis=0, initial=0)[after.scores >= sure] < self._options.steady_iou
        return not (lost.any() or new.any())

    @property
    def _faces_threshold(self) -> float:
        return self._options.tracking.high_score

    def _observe(self, instant: int) -> None:
        frame = self._frames[instant]
        found = self._faces.at(frame)
        for index, serial in enumerate(self._tracker.update(instant, found)):
            if serial is not None and instant in self.own:
                track = self._open.setdefault(serial, _OpenTrack())
                track.offer_chip(frame, found.boxes[index], found.landmarks[index], float(found.scores[index]))

    # ---- crops and features -----------------------------------------------------------------------------------------------

    def _crop(self, raw: RawTrack, *, ended: bool) -> None:
        """Cut the crops of a track as far as its boxes are final."""
        track = self._open.setdefault(raw.serial, _OpenTrack())
        last = raw.instants[-1] if ended else raw.instants[-1] - MEDIAN_REACH
        begin = max(raw.instants[0], self._crop_range.start) if track.next_crop is None else track.next_crop
        end = min(last + 1, self._crop_range.stop)
        if begin >= end:
            return
        if track.next_crop is None:
            track.crop_first = begin
        first, boxes, _ = fill(raw)
        squares = crop_squares(boxes)
        for instant in range(begin, end):
            frame = self._frames.get(instant)
            if frame is None:  # a hole in the picture: the face stands still
                track.crops.append(track.crops[-1] if track.crops else np.full((CROP_SIZE, CROP_SIZE), 110, np.uint8))
            else:
                track.crops.append(frame.warp_luma(crop_matrix(squares[instant - first]), CROP_SIZE))
        track.next_crop = end

    def _close(self, raw: RawTrack) -> None:
        """Take leave of a track that has ended: its last crops, and off to the encoder."""
        self._crop(raw, ended=True)
        track = self._open.pop(raw.serial)
        features = self._encoding.submit(self._encoder.encode_visual, np.stack(track.crops)) if track.crops else None
        self._done.append((raw, track, features))

    def _release(self) -> None:
        """Let go of the frames that no live track will be cropped from and no interval starts from."""
        assert self._looked is not None
        keep = self._looked
        for raw in self._tracker.live():
            track = self._open.get(raw.serial)
            keep = min(keep, raw.instants[-1] - MEDIAN_REACH if track is None or track.next_crop is None else track.next_crop)
        keep = min(keep, self._looked - MEDIAN_REACH)
        for instant in [i for i in self._frames if i < keep]:
            del self._frames[instant]

    def _block_track(self, raw: RawTrack, track: _OpenTrack, features: Future[NDArray[np.float16]] | None) -> BlockTrack | None:
        first, boxes, observed = fill(raw)
        own_first, own_stop = max(first, self.own.start), min(first + len(boxes), self.own.stop)
        if own_first >= own_stop or features is None:
            return None
        visual = features.result()[own_first - track.crop_first : own_stop - track.crop_first]
        crops = np.stack(track.crops)
        moved = np.zeros(len(crops), np.float16)
        moved[1:] = [np.abs(crops[k].astype(np.int16) - crops[k - 1]).mean() for k in range(1, len(crops))]
        motion = moved[own_first - track.crop_first : own_stop - track.crop_first]
        return BlockTrack(first, boxes, observed, own_first, visual, motion, track.chips())


"""The line's face tracks of a clip with the crops themselves, as arrays that can be kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asd_core.faces.detect import open_detector
from asd_core.look import look, picture_marks
from asd_core.media.probe import probe
from asd_core.models.registry import Model
from asd_core.models.session import open_session
from asd_core.records import Track
from asd_core.stitch import chip_faces, stitch, visual_features


class _Crops:
    """An encoder that keeps the crops themselves as features: whole numbers to 255 are exact in float16."""

    def encode_visual(self, crops: NDArray[np.uint8]) -> NDArray[np.float16]:
        return crops.reshape(len(crops), -1).astype(np.float16)


def find_tracks(path: Path, detecting: Model) -> dict[str, np.ndarray]:
    """Return the line's tracks of a clip, with one detector, as named arrays: boxes, crops and chips by number."""
    info = probe(path)
    seen = look(path, info, picture_marks(info), detector=open_detector(detecting, open_session), encoder=_Crops())
    picture = stitch([seen], info)
    kept: dict[str, np.ndarray] = {"count": np.array(len(picture.tracks))}
    block = {block.mark: block for block in seen.blocks}.__getitem__
    for k, (track, pieces) in enumerate(zip(picture.tracks, picture.pieces, strict=True)):
        kept |= {f"{k}.boxes": track.boxes, f"{k}.observed": track.observed, f"{k}.told": np.array([track.first, track.shot, track.still])}
        kept |= {f"{k}.crops": visual_features(pieces, block).astype(np.uint8).reshape(-1, 112, 112), f"{k}.faces": chip_faces(pieces, block)}
    return kept


def unpacked(seen: dict[str, np.ndarray]) -> tuple[tuple[Track, ...], tuple[NDArray[np.uint8], ...], tuple[NDArray[np.uint8], ...]]:
    """Return the tracks, their crops (T, 112, 112) and their chips (K, 112, 112, 3) from what `find_tracks` gave."""
    numbers = range(int(seen["count"]))
    told = [seen[f"{k}.told"] for k in numbers]
    tracks = tuple(Track(f"t{k + 1}", int(told[k][1]), int(told[k][0]), seen[f"{k}.boxes"], seen[f"{k}.observed"], bool(told[k][2])) for k in numbers)
    return tracks, tuple(seen[f"{k}.crops"] for k in numbers), tuple(seen[f"{k}.faces"] for k in numbers)

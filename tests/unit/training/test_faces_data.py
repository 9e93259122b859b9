"""The training crops: labels stay on the faces whatever is done to the picture, and material is read back as it was written."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: make train-setup")

from training.faces import data  # noqa: E402
from training.faces.data import Crops  # noqa: E402
from training.faces.looks import spoil, tint  # noqa: E402
from training.faces.prepare import Faces, Material, Picture, _fuse, read_material, write_material  # noqa: E402

BOX = (60, 40, 100, 90)
POINTS = ((70, 58), (90, 58), (80, 68), (72, 78), (88, 78))


def _jpeg(picture: np.ndarray) -> bytes:
    return cv2.imencode(".png", picture)[1].tobytes()


def _material() -> Material:
    """One picture with one "face": a bright ellipse in its box, dark points where eyes, nose and mouth are; one picture without."""
    picture = np.full((120, 160, 3), 40, np.uint8)
    cv2.ellipse(picture, (80, 65), (20, 25), 0, 0, 360, (230, 230, 230), -1)
    faces = Faces(np.array([BOX], np.float32), np.array([POINTS], np.float32), np.array([0.9], np.float32))
    none = Faces(np.zeros((0, 4), np.float32), np.zeros((0, 5, 2), np.float32), np.zeros(0, np.float32))
    return Material([Picture("a", "scene", _jpeg(picture), faces), Picture("b", "scene", _jpeg(np.full((90, 90, 3), 40, np.uint8)), none)], [])


def test_boxes_follow_the_face_through_every_view(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "spoil", lambda picture, boxes, rng: (picture, np.zeros(len(boxes), bool)))
    monkeypatch.setattr(data, "SHARES", {"face": 0.7, "big": 0.2, "mosaic": 0.0, "empty": 0.1})
    crops, seen = Crops(_material(), np.random.default_rng(4)), 0
    for _ in range(60):
        crop = crops.crop(128)
        for box, learnt in zip(crop.boxes, crop.learnt, strict=True):
            if not learnt or (box <= 1).any() or (box >= 127).any():
                continue
            seen += 1
            bright = (crop.picture[..., 0] > 150) & (np.ptp(crop.picture.astype(int), axis=2) < 30)
            y, x = np.nonzero(bright[int(box[1]) - 1 : int(box[3]) + 2, int(box[0]) - 1 : int(box[2]) + 2])
            assert np.ptp(x) == pytest.approx(float(box[2] - box[0]), abs=3 + 0.06 * float(box[2] - box[0]))
            assert np.ptp(y) == pytest.approx(float(box[3] - box[1]), abs=3 + 0.06 * float(box[3] - box[1]))
    assert seen > 15


def test_points_keep_left_and_right_when_mirrored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "SHARES", {"face": 1.0, "big": 0.0, "mosaic": 0.0, "empty": 0.0})
    crops = Crops(_material(), np.random.default_rng(4))
    for _ in range(30):
        for points in crops.crop(128).points:
            assert points[0, 0] < points[1, 0], "the eye that is left in the picture comes first"
            assert points[3, 0] < points[4, 0]


def test_a_batch_is_what_the_network_takes() -> None:
    crops = Crops(_material(), np.random.default_rng(4))
    pictures, targets = crops.batch(8, 128)
    assert pictures.shape == (8, 3, 128, 128)
    assert pictures.min() >= -1 and pictures.max() <= 1
    assert len(targets.boxes) == len(targets.owners) == len(targets.points) == len(targets.learnt) == len(targets.pointed)
    sides = (targets.boxes[:, 2:] - targets.boxes[:, :2]).amax(dim=1)
    assert (sides[targets.learnt] >= data.SMALLEST).all()
    assert (targets.pointed == (sides >= data.POINTED)).all()


def test_the_same_seed_draws_the_same_crops() -> None:
    one, other = (Crops(_material(), np.random.default_rng(9)).batch(4, 128) for _ in range(2))
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1].boxes, other[1].boxes)


def test_a_face_behind_a_plate_is_not_learnt() -> None:
    boxes = np.array([[0, 0, 64, 64]], np.float32)
    hidden = [spoil(np.zeros((64, 64, 3), np.uint8), boxes, np.random.default_rng(seed))[1][0] for seed in range(150)]
    assert not any(hidden), "no plate covers half of a face that fills the picture"
    small = np.array([[28, 28, 36, 36]], np.float32)
    assert any(spoil(np.zeros((64, 64, 3), np.uint8), small, np.random.default_rng(seed))[1][0] for seed in range(600))


def test_grey_is_tinted_without_moving_pixels() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    tinted = [tint(grey, np.random.default_rng(seed)) for seed in range(20)]
    assert any(np.ptp(each.astype(int), axis=2).max() > 10 for each in tinted)
    assert any(np.ptp(each.astype(int), axis=2).max() == 0 for each in tinted)
    assert all((np.diff(each.reshape(-1, 3).astype(int), axis=0) >= 0).all() for each in tinted)


def test_looks_that_agree_are_averaged_and_a_lonely_look_counts_little() -> None:
    def row(box: tuple[float, ...], score: float, look: int) -> list[float]:
        return [*box, *np.tile([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2], 5), score, look, 1.0]

    rows = np.array([row((10, 10, 50, 50), 0.9, 0), row((12, 10, 52, 50), 0.9, 1), row((100, 100, 140, 140), 0.8, 0)], np.float32)
    faces = _fuse(rows, [1.0, 1.0])
    np.testing.assert_allclose(faces.boxes, [[11, 10, 51, 50], [100, 100, 140, 140]], atol=1e-3)
    np.testing.assert_allclose(faces.scores, [0.9, 0.4], atol=1e-3)


def test_material_is_read_back_as_written(tmp_path: Path) -> None:
    material = _material()
    write_material(material, tmp_path / "material.zip")
    back = read_material(tmp_path / "material.zip")
    assert [picture.jpeg for picture in back.pictures] == [picture.jpeg for picture in material.pictures]
    assert [picture.kind for picture in back.pictures] == ["scene", "scene"]
    np.testing.assert_array_equal(back.pictures[0].faces.points, material.pictures[0].faces.points)
    assert back.pictures[1].faces.boxes.shape == (0, 4)

"""Detectors decode rows as a plain loop does, suppress without regard to order, and answer in the picture's own pixels."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asd_core.faces.detect import KINDS, Detector, choose_top, network_input, suppress
from asd_core.faces.scrfd import decode_scrfd
from asd_core.faces.yunet import decode_yunet
from asd_core.geometry import box_iou
from asd_core.models.manifest import InputFormat
from asd_core.records import Detections

FORM = InputFormat(name="input", size_wh=(640, 384), mean=(127.5,) * 3, scale=(128.0,) * 3, free_size=True)


def scrfd_outputs(canvas_wh, generator):
    width, height = canvas_wh
    rows = [2 * (width // stride) * (height // stride) for stride in (8, 16, 32)]
    values = [generator.random((count, columns), np.float32) for columns in (1, 4, 10) for count in rows]
    return {str(i): value for i, value in enumerate(values)}


def test_scrfd_rows_decode_as_a_plain_loop_does():
    canvas = (64, 96)
    outputs = scrfd_outputs(canvas, np.random.default_rng(0))
    values = list(outputs.values())
    expected = []
    for level, stride in enumerate((8, 16, 32)):
        row = 0
        for y in range(canvas[1] // stride):
            for x in range(canvas[0] // stride):
                for _ in range(2):
                    score, (left, up, right, down) = values[level][row, 0], values[3 + level][row] * stride
                    if score >= 0.7:
                        point = values[6 + level][row].reshape(5, 2) * stride + (x * stride, y * stride)
                        expected.append((x * stride - left, y * stride - up, x * stride + right, y * stride + down, score, *point.ravel()))
                    row += 1
    boxes, scores, points = decode_scrfd(outputs, canvas, 0.7)
    np.testing.assert_allclose(np.column_stack([boxes, scores, points.reshape(-1, 10)]), np.array(expected), rtol=1e-5, atol=1e-4)


def test_yunet_rows_decode_as_a_plain_loop_does():
    canvas, generator, outputs, expected = (64, 96), np.random.default_rng(1), {}, []
    for stride in (8, 16, 32):
        cells = (canvas[0] // stride) * (canvas[1] // stride)
        for kind, columns in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            outputs[f"{kind}_{stride}"] = generator.random((1, cells, columns), np.float32) * 1.2
        for row in range(cells):
            y, x = divmod(row, canvas[0] // stride)
            score = np.sqrt(min(outputs[f"cls_{stride}"][0, row, 0], 1) * min(outputs[f"obj_{stride}"][0, row, 0], 1))
            if score >= 0.7:
                dx, dy, dw, dh = outputs[f"bbox_{stride}"][0, row]
                cx, cy, w, h = (x + dx) * stride, (y + dy) * stride, np.exp(dw) * stride, np.exp(dh) * stride
                point = np.add(outputs[f"kps_{stride}"][0, row].reshape(5, 2), (x, y)) * stride
                expected.append((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2, score, *point.ravel()))
    boxes, scores, points = decode_yunet(outputs, canvas, 0.7)
    np.testing.assert_allclose(np.column_stack([boxes, scores, points.reshape(-1, 10)]), np.array(expected), rtol=1e-5, atol=1e-4)


def test_no_row_above_the_threshold_gives_empty_arrays():
    outputs = scrfd_outputs((64, 64), np.random.default_rng(0))
    boxes, scores, points = decode_scrfd(outputs, (64, 64), 2.0)
    assert boxes.shape == (0, 4)
    assert scores.shape == (0,)
    assert points.shape == (0, 5, 2)


boxes_and_scores = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(1, 40), st.integers(1, 40), st.sampled_from([0.5, 0.6, 0.9])),
    max_size=12,
    unique=True,
)


@given(boxes_and_scores, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_suppression_is_idempotent_and_order_free(rows, random):
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h, _ in rows], np.float32).reshape(-1, 4)
    scores = np.array([row[4] for row in rows], np.float32)
    kept = suppress(boxes, scores, 0.4)
    overlaps = box_iou(boxes[kept], boxes[kept]) - np.eye(len(kept))
    assert (overlaps <= 0.4 + 1e-6).all()
    assert suppress(boxes[kept], scores[kept], 0.4).tolist() == list(range(len(kept)))
    order = np.array(random.sample(range(len(rows)), len(rows)), np.int64)
    again = suppress(boxes[order], scores[order], 0.4)
    assert boxes[order][again].tolist() == boxes[kept].tolist()


def test_the_chosen_faces_are_the_largest_or_the_most_central():
    boxes = np.array([[0, 0, 50, 50], [90, 90, 110, 110], [60, 60, 90, 90]], np.float32)
    found = Detections(boxes, np.array([0.9, 0.8, 0.7], np.float32), np.zeros((3, 5, 2), np.float32))
    assert choose_top(found, (200, 200), top=1, by="area").tolist() == [0]
    assert choose_top(found, (200, 200), top=2, by="centre").tolist() == [1, 2]


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_network_input_equals_the_formula(channels):
    picture = np.random.default_rng(2).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    form = InputFormat(name="input", size_wh=(64, 32), channels=channels, mean=(10.0, 20.0, 30.0), scale=(2.0, 3.0, 4.0))
    canvas = np.zeros((32, 64, 3), np.uint8)
    canvas[2:22, 5:35] = picture
    ordered = canvas if channels == "rgb" else canvas[..., ::-1]
    expected = ((ordered - np.array(form.mean)) / form.scale).transpose(2, 0, 1)[None]
    np.testing.assert_allclose(network_input(picture, form, (5, 2), (64, 32)), expected, atol=1e-5)


class BrightSpot:
    """A network that sees one face: the box round all bright pixels of its input, as one SCRFD row at stride 8."""

    sha256 = "0" * 64
    profile = "cpu-fp32"

    def __init__(self, smallest_missed=np.inf):
        self.shapes = []
        self.smallest_missed = smallest_missed

    def run(self, feeds):
        feed = feeds["input"]
        height, width = feed.shape[2:]
        self.shapes.append((width, height))
        outputs = scrfd_outputs((width, height), np.random.default_rng(0))
        for i in range(3):
            list(outputs.values())[i][:] = 0
        ys, xs = np.nonzero(feed[0, 0] > 0.5)
        if len(xs) and np.ptp(xs) < self.smallest_missed:
            values = list(outputs.values())
            values[0][0] = 0.9
            values[3][0] = np.array([-xs.min(), -ys.min(), xs.max() + 1, ys.max() + 1]) / 8
            values[6][0] = np.tile([xs.min(), ys.min()], 5) / 8
        return outputs


def detector(network, *, second_look=False):
    return Detector(network, KINDS["scrfd"], FORM, input_size_wh=(640, 384), score=0.5, low=0.2, nms_iou=0.4, second_look=second_look)


@pytest.mark.parametrize(
    ("size_wh", "canvas_wh"),
    [((640, 360), (640, 384)), ((1920, 1080), (640, 384)), ((320, 180), (640, 384)), ((720, 1280), (384, 640)), ((640, 480), (512, 384))],
)
def test_boxes_come_in_the_pictures_own_pixels(size_wh, canvas_wh):
    width, height = size_wh
    picture = np.zeros((height, width, 3), np.uint8)
    cv2.rectangle(picture, (width // 4, height // 4), (width // 2 - 1, height // 2 - 1), (255, 255, 255), -1)
    network = BrightSpot()
    found = detector(network).detect(picture)
    assert network.shapes == [canvas_wh]
    assert len(found) == 1
    scale = max(width / 640, height / 640, 1)
    np.testing.assert_allclose(found.boxes[0], [width / 4, height / 4, width / 2, height / 2], atol=1.5 * scale)
    np.testing.assert_allclose(found.landmarks[0, 0], [width / 4, height / 4], atol=1.5 * scale)


def test_a_picture_of_the_fitted_size_is_not_scaled_again():
    ours = detector(BrightSpot())
    assert ours.fitted_size(1920, 1080) == (640, 360)
    assert ours.fitted_size(*ours.fitted_size(1920, 1080)) == (640, 360)
    assert ours.fitted_size(1080, 1920) == (360, 640)


def test_a_second_look_finds_the_face_that_fills_the_picture():
    picture = np.zeros((360, 640, 3), np.uint8)
    picture[40:320, 100:540] = 255
    assert len(detector(BrightSpot(smallest_missed=300)).detect(picture)) == 0
    network = BrightSpot(smallest_missed=300)
    found = detector(network, second_look=True).detect(picture)
    np.testing.assert_allclose(found.boxes[0], [100, 40, 540, 320], atol=2)
    assert len(network.shapes) == 2
    assert np.prod(network.shapes[1]) < 0.45 * np.prod(network.shapes[0])


def test_a_black_picture_has_no_faces():
    assert len(detector(BrightSpot()).detect(np.zeros((10, 10, 3), np.uint8))) == 0

import cv2
import numpy as np
import pytest

from asd_core.geometry import square_to_patch
from asd_core.media.decode import read_frames
from asd_core.media.picture import GREY
from asd_core.media.probe import probe
from tests.unit.media.films import write_film

SIZE_WH = (240, 136)
COLOURS = [(200, 60, 50), (60, 180, 70), (50, 80, 210), (120, 120, 120)]


def fields(_, size_wh):
    """Four fields of colour, soft at no edge."""
    width, height = size_wh
    picture = np.zeros((height, width, 3), np.uint8)
    for k, colour in enumerate(COLOURS):
        picture[(k // 2) * height // 2 :, (k % 2) * width // 2 :] = colour
    return picture


def blobs(_, size_wh):
    width, height = size_wh
    noise = np.random.default_rng(3).integers(0, 255, (height, width)).astype(np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 4), None, 20, 235, cv2.NORM_MINMAX)


def first(path):
    return next(iter(read_frames(path, probe(path), start=0, end=1)))


FORMATS = [("ffv1", f) for f in ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv411p")]
FORMATS += [("mjpeg", "yuvj420p"), ("qtrle", "rgb24"), ("libx264", "nv12"), ("libx264", "yuv420p")]


@pytest.mark.parametrize(("codec", "pixel_format"), FORMATS)
def test_colours_come_through_every_format(tmp_path, codec, pixel_format):
    path = write_film(
        tmp_path / ("colours.mov" if codec == "qtrle" else "colours.mkv"), codec, count=2, size_wh=SIZE_WH, pixel_format=pixel_format, draw=fields
    )
    frame = first(path)
    small = frame.picture((64, 36))
    grey = frame.luma((64, 36))
    for k, colour in enumerate(COLOURS):
        seen = small[9 + 18 * (k // 2), 16 + 32 * (k % 2)]
        assert np.abs(seen.astype(int) - colour).max() <= 8, (colour, seen)
        assert abs(int(grey[9 + 18 * (k // 2), 16 + 32 * (k % 2)]) - np.dot(colour, (0.299, 0.587, 0.114))) <= 6
    patch = frame.warp_colour(square_to_patch((60, 34), 40, 16), 16)
    assert np.abs(patch.astype(int) - COLOURS[0]).max() <= 8


def test_grey_has_no_colour(tmp_path):
    frame = first(write_film(tmp_path / "grey.mkv", "ffv1", count=2, size_wh=SIZE_WH, pixel_format="gray", draw=blobs))
    small = frame.picture((60, 34)).astype(int)
    assert np.ptp(small, axis=2).max() == 0
    assert np.ptp(small) > 100


@pytest.mark.parametrize("side", [30.0, 60.0, 100.0, 180.0])
@pytest.mark.parametrize("turn", [0.0, 25.0])
def test_a_grey_patch_is_what_warping_the_whole_picture_gives(tmp_path, side, turn):
    frame = first(write_film(tmp_path / "blobs.mkv", "ffv1", count=2, size_wh=SIZE_WH, draw=blobs))
    whole = frame.luma(SIZE_WH)
    size = 24
    matrix = square_to_patch((121.3, 70.8), side, size)
    spin = cv2.getRotationMatrix2D(((size - 1) / 2, (size - 1) / 2), turn, 1.0)
    matrix = np.column_stack([spin[:, :2] @ matrix[:, :2], spin[:, :2] @ matrix[:, 2] + spin[:, 2]])
    scale = size / side
    blurred = cv2.GaussianBlur(whole, (0, 0), 0.5 / scale) if scale < 0.5 else whole
    expected = cv2.warpAffine(blurred, matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=GREY)
    patch = frame.warp_luma(matrix, size)
    inside = cv2.warpAffine(np.full(whole.shape, 255, np.uint8), matrix, (size, size)) == 255
    inside = cv2.erode(inside.astype(np.uint8), np.ones((3, 3))) > 0
    assert np.abs(patch.astype(int) - expected)[inside].mean() < 4


def test_outside_the_picture_lies_grey_or_black(tmp_path):
    frame = first(write_film(tmp_path / "edge.mkv", "ffv1", count=2, size_wh=SIZE_WH, draw=blobs))
    beyond = square_to_patch((-200, -200), 50, 16)
    assert (frame.warp_luma(beyond, 16) == GREY).all()
    assert (frame.warp_colour(beyond, 16) == 0).all()
    across = frame.warp_luma(square_to_patch((0, 68), 64, 16), 16)
    assert (across[:, :7] == GREY).all()
    assert not (across[:, 9:] == GREY).all()


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_rotated_pictures_stand_upright(tmp_path, turn):
    plain = first(write_film(tmp_path / "plain.mp4", count=2, size_wh=SIZE_WH, draw=blobs))
    turned = first(write_film(tmp_path / "turned.mp4", count=2, size_wh=SIZE_WH, draw=blobs, rotation=turn))
    expected = np.rot90(plain.luma(SIZE_WH), turn // 90)
    assert (turned.width, turned.height) == expected.shape[::-1]
    assert np.abs(turned.luma(expected.shape[::-1]).astype(int) - expected).max() <= 1
    matrix = square_to_patch((50.0, 60.0), 48, 48)
    warped = cv2.warpAffine(np.ascontiguousarray(expected), matrix, (48, 48), flags=cv2.INTER_LINEAR)
    assert np.abs(turned.warp_luma(matrix, 48).astype(int) - warped).max() <= 3


def test_oblong_pixels_are_stretched(tmp_path):
    frame = first(write_film(tmp_path / "wide.mp4", count=2, size_wh=SIZE_WH, draw=blobs, aspect=2))
    plain = first(write_film(tmp_path / "plain.mp4", count=2, size_wh=SIZE_WH, draw=blobs))
    assert (frame.width, frame.height) == (480, 136)
    wide = cv2.resize(plain.luma(SIZE_WH), (480, 136), interpolation=cv2.INTER_LINEAR)
    matrix = square_to_patch((230.0, 60.0), 64, 64)
    warped = cv2.warpAffine(wide, matrix, (64, 64), flags=cv2.INTER_LINEAR)
    assert np.abs(frame.warp_luma(matrix, 64).astype(int) - warped).mean() < 2


def test_scaling_neither_shifts_nor_stretches(tmp_path):
    """A step at three quarters of the width stays there at any size, whatever the sides' remainders."""

    def step(_, size_wh):
        picture = np.full((size_wh[1], size_wh[0]), 40, np.uint8)
        picture[:, size_wh[0] * 3 // 4 :] = 220
        return picture

    frame = first(write_film(tmp_path / "step.mkv", "ffv1", count=2, size_wh=(1004, 566), draw=step))
    for width in (502, 334, 251, 96, 64):
        row = frame.luma((width, 36))[18].astype(float)
        edge = width - (row - 40).sum() / 180
        assert edge == pytest.approx(width * 3 / 4, abs=0.6)


def test_patches_and_pictures_are_not_views_of_the_decoder(tmp_path):
    frame = first(write_film(tmp_path / "own.avi", "mjpeg", count=2, size_wh=SIZE_WH, pixel_format="yuvj420p", draw=blobs))
    before = frame.luma(SIZE_WH).copy()
    frame.luma(SIZE_WH)[:] = 0
    assert np.array_equal(frame.luma(SIZE_WH), before)

"""Photographs: odd shapes, and files that are none."""

import cv2
import numpy as np
import pytest

from asd_core.errors import NotFound, Unreadable
from asd_core.media.photo import LONGEST_SIDE, read_photo


@pytest.mark.parametrize(("shape", "read"), [((1, 60000), (1, 4096)), ((60000, 1), (4096, 1)), ((6000, 3000), (4096, 2048)), ((1, 1), (1, 1))])
def test_large_pictures_are_scaled_down_and_thin_ones_keep_a_row(tmp_path, shape, read):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((*shape, 3), (10, 20, 30), np.uint8))
    picture = read_photo(tmp_path / "a.png")
    assert picture.shape == (*read, 3)
    assert max(picture.shape) <= LONGEST_SIDE
    assert picture[0, 0].tolist() == [30, 20, 10]


def test_what_is_no_picture(tmp_path):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("hello")
    with pytest.raises(Unreadable, match="empty"):
        read_photo(tmp_path / "empty.jpg")
    with pytest.raises(NotFound):
        read_photo(tmp_path / "none.jpg")
    assert read_photo(tmp_path / "text.jpg") is None

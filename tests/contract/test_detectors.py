"""What every detector must do, whichever it is: the line depends on nothing else."""

import cv2
import numpy as np
import pytest

from asd_core.errors import ModelMismatch
from asd_core.faces.detect import open_detector
from asd_core.geometry import box_iou
from asd_core.models.session import open_session

PHOTO_BOX = np.array([[180, 58, 272, 179]], np.float32)  # the face of skimage's astronaut, between the recorded boxes of both kinds


@pytest.fixture(
    scope="module", params=["rollcall_face", *(pytest.param(name, marks=pytest.mark.models) for name in ("scrfd_500m_kps", "yunet_n_dynamic"))]
)
def detector(request, find_model):
    return open_detector(find_model("detector", request.param), open_session)


@pytest.fixture(scope="module")
def astronaut():
    return pytest.importorskip("skimage.data").astronaut()


def standing(found, detector):
    return found.boxes[found.scores >= detector.score_threshold]


@pytest.mark.parametrize("scale", [0.3, 1.0, 2.5])
def test_a_face_is_found_at_any_size_of_the_picture(detector, astronaut, scale):
    picture = cv2.resize(astronaut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    boxes = standing(detector.detect(picture), detector)
    assert len(boxes) == 1
    assert box_iou(boxes, PHOTO_BOX * scale)[0, 0] > 0.75


@pytest.mark.parametrize("size_wh", [(1280, 720), (720, 1280), (641, 353), (1440, 1080)])
def test_a_face_is_found_in_any_shape_of_picture(detector, astronaut, size_wh):
    shift = np.array([[1, 0, (size_wh[0] - 450) // 2], [0, 1, (size_wh[1] - 240) // 2]], np.float64)
    picture = cv2.warpAffine(astronaut, shift, size_wh, borderMode=cv2.BORDER_REFLECT)
    overlaps = box_iou(standing(detector.detect(picture), detector), PHOTO_BOX + np.tile(shift[:, 2], 2).astype(np.float32))
    assert overlaps.max(initial=0) > 0.7


def test_the_five_points_stand_in_their_order(detector, astronaut):
    eye_left, eye_right, nose, mouth_left, mouth_right = detector.detect(astronaut).landmarks[0]
    assert eye_left[0] < nose[0] < eye_right[0]
    assert mouth_left[0] < nose[0] < mouth_right[0]
    assert max(eye_left[1], eye_right[1]) < nose[1] < min(mouth_left[1], mouth_right[1])


def test_scores_fall_and_low_ones_are_given_too(detector, astronaut):
    found = detector.detect(np.tile(cv2.resize(astronaut, (180, 180)), (2, 3, 1)))
    assert (np.diff(found.scores) <= 0).all()
    assert (found.scores >= detector.low_score).all()
    assert detector.low_score <= detector.score_threshold


def test_at_most_so_many_as_asked(detector, astronaut):
    crowd = np.tile(cv2.resize(astronaut, (200, 200)), (2, 3, 1))
    assert len(standing(detector.detect(crowd), detector)) >= 4
    assert len(detector.detect(crowd, top=2)) == 2
    (box,) = detector.detect(crowd, top=1, by="centre").boxes
    centres = (PHOTO_BOX[0, :2] + PHOTO_BOX[0, 2:]) / 2 * (200 / 512) + [(x * 200, y * 200) for x in range(3) for y in range(2)]
    nearest = centres[np.linalg.norm(centres - (300, 200), axis=1).argmin()]
    np.testing.assert_allclose((box[:2] + box[2:]) / 2, nearest, atol=6)


def test_nothing_to_see_is_an_empty_record(detector):
    for picture in (np.zeros((360, 640, 3), np.uint8), np.full((1, 1, 3), 200, np.uint8)):
        found = detector.detect(picture)
        assert len(found) == 0
        assert found.landmarks.shape == (0, 5, 2)


def test_the_same_picture_gives_the_same_bits(detector, astronaut):
    first = detector.detect(astronaut)
    detector.detect(astronaut[:300, :200])
    again = detector.detect(astronaut)
    assert (first.boxes == again.boxes).all()
    assert (first.landmarks == again.landmarks).all()


def test_the_given_picture_is_not_changed(detector, astronaut):
    before = astronaut.copy()
    detector.detect(astronaut)
    assert (astronaut == before).all()


@pytest.mark.models
def test_a_close_up_is_found_by_a_second_look(find_model, astronaut):
    """A face twice as tall as the picture: one pass of SCRFD does not see it."""
    model = find_model("detector", "scrfd_500m_kps")
    matrix = np.array([[5.0, 0, -226 * 5 + 320], [0, 5.0, -119 * 5 + 180]])
    picture = cv2.warpAffine(astronaut, matrix, (640, 360))
    once, twice = open_detector(model, open_session, second_look=False), open_detector(model, open_session, second_look=True)
    assert not len(standing(once.detect(picture), once))
    assert len(standing(twice.detect(picture), twice)) == 1


def test_a_size_that_no_file_takes_is_refused(find_model):
    with pytest.raises(ModelMismatch, match="multiples of 32"):
        open_detector(find_model("detector", "rollcall_face"), open_session, input_size_wh=(640, 360))


@pytest.mark.models
def test_a_size_that_the_file_does_not_take_is_refused(find_model):
    with pytest.raises(ModelMismatch, match="640"):
        open_detector(find_model("detector", "face_detection_yunet_2023mar"), open_session, input_size_wh=(320, 320))

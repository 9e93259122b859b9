import numpy as np
import pytest

from asd_core.demo.portraits import PORTRAITS, Figure, Pose, load_portrait, take_view


@pytest.fixture(scope="module", params=sorted(PORTRAITS))
def figure(request):
    portrait = PORTRAITS[request.param]
    return Figure(portrait, load_portrait(request.param), portrait.view, (640, 360))


def test_an_unposed_figure_is_the_photograph(figure):
    assert np.array_equal(figure.draw(Pose()), figure.still)


def test_an_open_mouth_darkens_the_mouth_and_nothing_far_away(figure):
    change = np.abs(figure.draw(Pose(opening=0.8)).astype(int) - figure.still).sum(axis=2)
    rows, columns = np.nonzero(change)
    assert len(rows) > 200
    portrait, scale = figure.portrait, 640 / (figure.portrait.view[2] - figure.portrait.view[0])
    middle = (np.array(portrait.lips[1]) - portrait.view[:2]) * scale
    assert np.hypot(rows - middle[1], columns - middle[0]).max() < 1.2 * portrait.head[1][1] * scale
    y, x = int(middle[1] + 0.25 * (portrait.chin[1] - portrait.lips[1][1]) * scale), int(middle[0])
    assert figure.draw(Pose(opening=0.8))[y, x].mean() < 0.6 * figure.still[y, x].mean()


def test_the_wider_the_mouth_the_more_has_changed(figure):
    changed = [int((np.abs(figure.draw(Pose(opening=o)).astype(int) - figure.still).sum(axis=2) > 60).sum()) for o in (0.0, 0.3, 0.6, 1.0)]
    assert changed == sorted(changed)
    assert changed[-1] > 1.5 * changed[1]


def test_drawing_leaves_the_figure_as_it_was(figure):
    before = figure.still.copy()
    figure.draw(Pose(opening=1, rounding=1, sway=(0.1, 0.1), blink=1))
    assert np.array_equal(figure.still, before)


def test_a_view_beyond_the_border_is_mirrored():
    picture = np.zeros((40, 40, 3), np.uint8)
    picture[:, :10] = 200
    wide = take_view(picture, (-10, 0, 40, 40), (50, 40))
    assert (wide[:, 1:18] > 150).all()
    assert (wide[:, 25:] < 50).all()

"""The face detector's rows, its decoding and its assignment, on examples small enough to do by hand."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: make train-setup")

from asd_core.faces.scrfd import decode_scrfd  # noqa: E402
from training.faces.assign import anchors, assign, iou  # noqa: E402
from training.faces.export import OUTPUTS  # noqa: E402
from training.faces.loss import Targets, distance_iou, losses, quality_focal  # noqa: E402
from training.faces.network import ANCHOR_SIDES, STRIDES, FaceNetwork, Rows, folded  # noqa: E402


@pytest.fixture
def network() -> FaceNetwork:
    """A network whose norms have seen something, so that folding them is not the identity."""
    torch.manual_seed(3)
    network = FaceNetwork().train()
    with torch.no_grad():
        for _ in range(3):
            network.rows(torch.randn(2, 3, 64, 96) * 2 + 0.5)
        for head in network.heads:
            head.weight.normal_(std=0.3)
    return network.eval()


def _targets(boxes: list[list[float]], learnt: list[bool]) -> Targets:
    rows = torch.tensor(boxes).reshape(-1, 4)
    centres = (rows[:, :2] + rows[:, 2:]) / 2
    return Targets(
        torch.zeros(len(rows), dtype=torch.long),
        rows,
        centres.repeat(1, 5),
        torch.tensor(learnt, dtype=torch.bool),
        torch.ones(len(rows), dtype=torch.bool),
    )


def _perfect(grid: object, box: torch.Tensor, points: torch.Tensor, logit: float) -> Rows:
    """Rows that say the same face everywhere."""
    at = grid.points
    distances = torch.cat([at - box[:2], box[2:] - at], dim=1)[None]
    return Rows(torch.full((1, len(at)), logit), distances, (points - at.repeat(1, 5))[None])


def test_anchors_are_the_decoders_in_order() -> None:
    grid = anchors(64, 32)
    assert grid.counts == (64, 16, 4)
    assert grid.points[:4].tolist() == [[0, 0], [0, 0], [8, 0], [8, 0]]
    assert grid.points[16].tolist() == [0, 8]
    assert sorted(set(grid.sides.tolist())) == sorted(side for pair in ANCHOR_SIDES for side in pair)


def test_no_face_gives_no_anchor() -> None:
    assert (assign(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), 2, anchors(32, 32)) == -1).all()


def test_a_face_on_an_anchor_takes_that_anchor() -> None:
    grid = anchors(64, 64)
    matched = assign(torch.tensor([[24.0, 24.0, 40.0, 40.0]]), torch.tensor([1]), 2, grid)
    assert (matched[0] == -1).all(), "the other picture of the batch has no face"
    chosen = torch.nonzero(matched[1] >= 0)[:, 0]
    # By hand: among 27 candidates only the 16-pixel anchor at (32, 32), IoU 1, and its four neighbours, IoU 1/3, could reach mean + deviation.
    best = chosen[iou(torch.tensor([[24.0, 24.0, 40.0, 40.0]]), _squares(grid, chosen)).argmax()]
    assert grid.points[best].tolist() == [32, 32]
    assert grid.sides[best] == 16
    assert (grid.points[chosen] - 32).abs().max() < 8, "no anchor whose point lies outside the face"


def _squares(grid: object, rows: torch.Tensor) -> torch.Tensor:
    half = grid.sides[rows, None] / 2
    return torch.cat([grid.points[rows] - half, grid.points[rows] + half], dim=1)


def test_of_two_faces_each_anchor_takes_the_one_it_overlaps_more() -> None:
    grid = anchors(64, 64)
    boxes = torch.tensor([[24.0, 24.0, 40.0, 40.0], [20.0, 20.0, 52.0, 52.0]])
    matched = assign(boxes, torch.zeros(2, dtype=torch.long), 1, grid)[0]
    chosen = torch.nonzero(matched >= 0)[:, 0]
    assert set(matched[chosen].tolist()) == {0, 1}
    contested = [row for row in chosen.tolist() if grid.points[row].tolist() == [32, 32] and grid.sides[row] == 16]
    assert [matched[row].item() for row in contested] == [0]


def test_every_face_of_a_learnt_size_gets_an_anchor() -> None:
    grid, rng = anchors(256, 256), np.random.default_rng(5)
    sides = np.exp(rng.uniform(np.log(11), np.log(240), 300))
    corners = rng.random((300, 2)) * (256 - sides)[:, None]
    boxes = torch.tensor(np.concatenate([corners, corners + sides[:, None] * (0.8, 1)], axis=1), dtype=torch.float32)
    for box in boxes:
        assert (assign(box[None], torch.tensor([0]), 1, grid) == 0).any(), box


def test_rows_that_are_right_cost_nothing_but_their_score() -> None:
    grid, targets = anchors(64, 64), _targets([[20.0, 22.0, 44.0, 50.0]], [True])
    parts = losses(_perfect(grid, targets.boxes[0], targets.points, 0.0), targets, grid)
    assert parts.box.item() == pytest.approx(0, abs=1e-6)
    assert parts.point.item() == pytest.approx(0, abs=1e-6)
    assert parts.score.item() > 0


def test_a_face_that_is_not_learnt_is_no_background_either() -> None:
    grid = anchors(64, 64)
    sure = _perfect(grid, torch.tensor([20.0, 20.0, 44.0, 44.0]), torch.full((10,), 32.0), -8.0)
    sure.scores[0, (grid.points == 32).all(dim=1)] = 8.0
    as_background = losses(sure, _targets([], []), grid).score
    ignored = losses(sure, _targets([[20.0, 20.0, 44.0, 44.0]], [False]), grid).score
    assert as_background > 10
    assert ignored < 0.01


def test_quality_focal_is_least_where_score_is_the_quality() -> None:
    logits = torch.linspace(-4, 4, 81)
    values = quality_focal(logits, torch.full_like(logits, 0.6))
    assert logits[values.argmin()].sigmoid().item() == pytest.approx(0.6, abs=0.02)


def test_distance_iou_by_hand() -> None:
    boxes, wanted = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 2]]), torch.tensor([[0.0, 0, 2, 2], [2, 0, 4, 2]])
    assert distance_iou(boxes, wanted).tolist() == pytest.approx([1.0, -4 / 20])


def test_the_line_decodes_what_training_means(network: FaceNetwork) -> None:
    picture = torch.randn(1, 3, 96, 160)
    with torch.no_grad():
        rows, outputs = network.rows(picture), folded(network)(picture)
    grid = anchors(160, 96)
    boxes, scores, points = decode_scrfd({name: value.numpy() for name, value in zip(OUTPUTS, outputs, strict=True)}, (160, 96), 0.0)
    np.testing.assert_allclose(scores, rows.scores.sigmoid()[0], atol=1e-4)
    expected = torch.cat([grid.points - rows.distances[0, :, :2], grid.points + rows.distances[0, :, 2:]], dim=1)
    np.testing.assert_allclose(boxes, expected, atol=0.2, rtol=1e-3)
    np.testing.assert_allclose(points.reshape(-1, 10), rows.offsets[0] + grid.points.repeat(1, 5), atol=0.2, rtol=1e-3)


def test_outputs_are_nine_in_scrfds_order(network: FaceNetwork) -> None:
    shapes = [tuple(each.shape) for each in network(torch.zeros(1, 3, 64, 96))]
    counts = [64 * 96 // stride**2 * 2 for stride in STRIDES]
    assert shapes == [(count, size) for size in (1, 4, 10) for count in counts]

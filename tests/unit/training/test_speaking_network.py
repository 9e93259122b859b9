"""The speaking network's shapes, reach and the two ways of shifting; the baseline's towers; exported files equal the module."""

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: make train-setup")

from asd_core.speech.score import ENCODER_REACH  # noqa: E402
from training.speaking.baseline import PAPER, FaceAlone, TwoTowers, build  # noqa: E402
from training.speaking.export import LARGEST_DIFFERENCE, export_sync  # noqa: E402
from training.speaking.network import Agreement, Sync, mean_around, shift, shift_exported  # noqa: E402


@pytest.fixture(scope="module")
def sync():
    torch.manual_seed(0)
    return Sync().eval()


@pytest.mark.parametrize("length", [1, 2, 7])
def test_any_length_gives_a_logit_an_instant(sync, length):
    with torch.no_grad():
        logits = sync(torch.rand(2, length, 112, 112) * 255, torch.randn(2, 4 * length, 13))
    assert logits.shape == (2, length)
    assert torch.isfinite(logits).all()


def test_it_is_small_enough(sync):
    assert sum(weight.numel() for weight in sync.parameters()) <= 840_000


@pytest.mark.parametrize("part", ["visual", "audio"])
def test_encoders_see_no_further_than_the_line_believes(sync, part):
    length, at = 2 * ENCODER_REACH + 5, 1
    shape, rows = ((1, length, 112, 112), 1) if part == "visual" else ((1, 4 * length, 13), 4)
    values = torch.rand(shape)
    changed = values.clone()
    changed[:, rows * (at + ENCODER_REACH + 1) :] += 50
    with torch.no_grad():
        before, after = getattr(sync, part)(values), getattr(sync, part)(changed)
    torch.testing.assert_close(before[:, : at + 1], after[:, : at + 1])
    assert not torch.allclose(before[:, -1], after[:, -1])


def test_digital_silence_gives_finite_logits(sync):
    rows = torch.full((1, 100, 13), -36.0)
    with torch.no_grad():
        assert torch.isfinite(sync.detector(sync.audio(rows), torch.zeros(1, 25, 128))).all()


def test_a_shift_takes_a_quarter_from_before_and_a_quarter_from_after():
    frames = torch.arange(2 * 3 * 8, dtype=torch.float32).reshape(6, 8, 1, 1)
    moved = shift(frames, 3)
    torch.testing.assert_close(moved, shift_exported(frames, 3))
    torch.testing.assert_close(moved[1, :2], frames[0, :2])
    torch.testing.assert_close(moved[1, 2:4], frames[2, 2:4])
    torch.testing.assert_close(moved[1, 4:], frames[1, 4:])
    assert moved[0, :2].eq(0).all() and moved[3, :2].eq(0).all() and moved[2, 2:4].eq(0).all()


def test_training_and_exported_shift_have_the_same_gradient(sync):
    sync = Sync()
    block = sync.visual.blocks[1].eval()
    frames = torch.randn(6, 32, 8, 8, requires_grad=True)
    gradients = []
    for training in (True, False):
        block.training = training
        frames.grad = None
        block(frames, 3).square().sum().backward()
        gradients.append(frames.grad.clone())
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)


def test_agreement_is_highest_where_lips_and_sound_move_alike():
    measure = Agreement(channels=4)
    with torch.no_grad():
        measure.voice.weight.copy_(measure.lips.weight)
        measure.voice.bias.copy_(measure.lips.bias)
        lips = torch.nn.functional.avg_pool1d(10 * torch.randn(1, 128, 160), 5, 1, 2).transpose(1, 2)
        own, foreign = (measure(sound, lips)[0][0, 40:120] for sound in (lips, lips.roll(37, dims=1)))
    assert (own[:, :4].mean() > 0.6) and (foreign[:, :4].mean().abs() < 0.3)
    undelayed = own[:, 4 + 4]  # the middle of nine delays in the window of one second
    assert all((undelayed >= own[:, 4 + other] - 1e-5).float().mean() > 0.9 for other in (0, 8))


def test_a_mean_at_the_end_is_of_what_is_there():
    x = torch.arange(5.0).reshape(1, 1, 5)
    assert mean_around(x, 3)[0, 0].tolist() == pytest.approx([0.5, 1, 2, 3, 3.5])
    assert mean_around(x, 51)[0, 0].tolist() == pytest.approx([2.0] * 5)


@pytest.mark.parametrize("name", PAPER)
def test_the_baseline_takes_the_same_inputs_and_judges_each_tower(name):
    network = build(name)
    assert isinstance(network, TwoTowers)
    mfcc = torch.randn(2, 3, 40, 13)
    terms = network.losses(torch.rand(2, 10, 112, 112) * 255, mfcc, torch.randint(-1, 2, (2, 3, 10)))
    assert set(terms) == {"judged", "lips", "voice"}
    sum(terms.values()).backward()
    features = network.audio(mfcc[:, 0])
    assert features.shape == network.visual(torch.zeros(2, 10, 112, 112)).shape == (2, 10, 128)
    if "visual" in name:
        torch.testing.assert_close(network.detector(features, features), network.detector(features * 0, features))


def test_the_face_alone_is_judged_without_the_sound():
    torch.manual_seed(2)
    alone = FaceAlone(build("ava-gru").eval())
    with torch.no_grad():
        seen = alone.visual(torch.rand(1, 6, 112, 112) * 255)
        heard = [alone.detector(alone.audio(torch.randn(1, 24, 13)), seen) for _ in range(2)]
    torch.testing.assert_close(*heard)
    assert heard[0].shape == (1, 6)


def test_an_unknown_network_is_refused():
    with pytest.raises(ValueError, match="there are sync"):
        build("lstm")


@pytest.mark.filterwarnings("ignore")
def test_exported_files_say_what_the_module_says(tmp_path):
    torch.manual_seed(1)
    assert max(export_sync(Sync(), tmp_path).values()) < LARGEST_DIFFERENCE
    sizes = [path.stat().st_size for path in tmp_path.glob("*.onnx")]
    assert len(sizes) == 3 and sum(sizes) < 2_000_000
    for path in tmp_path.glob("*.onnx"):
        assert b"/training/" not in path.read_bytes()

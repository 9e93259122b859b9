"""The embedder's losses against their formulas by hand, its data rules, its export."""

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: make train-setup")

from asd_core.models.manifest import read_manifest  # noqa: E402
from training.embedder.augment import seen  # noqa: E402
from training.embedder.evaluate import spearman, verification  # noqa: E402
from training.embedder.export import MANIFEST, restate, write  # noqa: E402
from training.embedder.loss import AdaFace, distillation, orthonormal  # noqa: E402
from training.embedder.muon import Muon, orthogonal  # noqa: E402
from training.embedder.network import FaceEmbedder  # noqa: E402
from training.embedder.pool import make_face  # noqa: E402
from training.embedder.prepare import sampling_weights  # noqa: E402
from training.embedder.settle import few_of_each, settle, within  # noqa: E402


@pytest.fixture(autouse=True)
def _single_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def faces(count=2, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 14, 14, 3), np.uint8)
    return np.repeat(np.repeat(coarse, 8, axis=1), 8, axis=2)


class TestAdaFace:
    def test_margin_by_hand(self):
        loss = AdaFace(torch.eye(3))
        put = loss.with_margin(torch.tensor([[0.5, 0.1, -0.2], [0.3, 0.6, 0.0]]), torch.tensor([0, 1]), torch.tensor([0.5, -1.0]))
        # clear: g_angle = -0.4 * 0.5, g_add = 0.4 + 0.4 * 0.5; unclear: g_angle = 0.4, g_add = 0
        assert put[0, 0].item() == pytest.approx(np.cos(np.arccos(0.5) - 0.2) - 0.6, abs=1e-5)
        assert put[1, 1].item() == pytest.approx(np.cos(np.arccos(0.6) + 0.4), abs=1e-5)
        assert put[0, 1:].tolist() == pytest.approx([0.1, -0.2])

    def test_quality_is_clipped_and_scaled(self):
        loss = AdaFace(torch.eye(3)).eval()
        loss.mean.fill_(0.6)
        loss.deviation.fill_(0.1)
        got = loss.quality(torch.tensor([0.6, 0.7, 5.0, 0.0]))
        assert got.tolist() == pytest.approx([0.0, 0.1 / 0.101 * 0.333, 1.0, -1.0], abs=1e-5)

    def test_running_length_moves_in_training_only(self):
        loss = AdaFace(torch.eye(3))
        loss.quality(torch.tensor([2.0, 2.0, 2.0]))
        assert loss.mean.item() == pytest.approx(0.8 + 0.01 * (2.0 - 0.8))
        loss.eval().quality(torch.tensor([9.0, 9.0]))
        assert loss.mean.item() == pytest.approx(0.812)

    def test_loss_is_the_cross_entropy_of_scaled_cosines(self):
        loss = AdaFace(torch.eye(3), margin=0.0)
        vectors = torch.tensor([[0.6, 0.8, 0.0]] * 2)
        logits = 32 * np.array([0.6, 0.8, 0.0])
        assert loss(vectors, torch.tensor([0, 0])).item() == pytest.approx(np.log(np.exp(logits).sum()) - logits[0], rel=1e-3)

    def test_no_gradient_through_the_quality(self):
        loss = AdaFace(torch.eye(4)).eval()
        vectors = torch.tensor([[0.9, 0.2, 0.1, 0.0]], requires_grad=True)
        loss(vectors, torch.tensor([0])).backward()
        assert (vectors.grad @ vectors.detach().T).item() == pytest.approx(0.0, abs=1e-4)  # length alone changes nothing but the margin


class TestDistillation:
    def test_carried_vectors_keep_their_cosines(self):
        carry = orthonormal(512, 128)
        few = torch.nn.functional.normalize(torch.randn(6, 128, generator=torch.Generator().manual_seed(1)))
        assert torch.allclose((few @ carry.T) @ (few @ carry.T).T, few @ few.T, atol=1e-5)
        assert torch.equal(carry, orthonormal(512, 128))

    def test_by_hand(self):
        target = torch.tensor([[1.0, 0.0]])
        assert distillation(target, target).item() == pytest.approx(0.0, abs=1e-6)
        assert distillation(torch.tensor([[0.0, 0.5]]), target).item() == pytest.approx(1 + 0.5 * 1.25)

    def test_the_best_answer_to_two_possible_people_is_short(self):
        targets = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        sure, unsure = torch.tensor([[0.707, 0.707]]), torch.tensor([[0.5, 0.5]])
        assert distillation(unsure.expand(2, 2), targets) < distillation(sure.expand(2, 2), targets)


class TestData:
    def test_a_person_with_many_pictures_is_drawn_as_often_as_the_root_says(self):
        weights = sampling_weights(np.array([0] * 16 + [1] + [-1]))
        assert weights[:16].sum() / weights[16] == pytest.approx(4.0)
        assert weights[17] > 0

    def test_made_and_seen_faces_are_faces_again_and_repeatable(self):
        one, other = faces()
        for k in range(12):
            made = make_face(one, other, np.random.default_rng(k))
            looked = seen(made.copy(), np.random.default_rng(k))
            assert made.shape == looked.shape == (112, 112, 3)
            assert made.dtype == looked.dtype == np.uint8
            assert np.array_equal(looked, seen(made.copy(), np.random.default_rng(k)))

    def test_a_face_seen_is_where_it_was(self):
        """Over many draws the middle of a disc stays the middle: shrinking and enlarging shift nothing."""
        y, x = np.mgrid[:112, :112]
        disc = np.repeat(((np.square(x - 55.5) + np.square(y - 55.5) < 400) * 255).astype(np.uint8)[..., None], 3, axis=2)
        centres = []
        for k in range(200):
            light = seen(disc.copy(), np.random.default_rng(k)).mean(axis=2)
            light = light - np.median(light)
            light[light < light.max() / 2] = 0
            if 800 < (light > 0).sum() < 1800:  # neither covered nor washed out
                centres.append([np.average(x, weights=light), np.average(y, weights=light)])
        assert len(centres) > 120
        assert np.abs(np.mean(centres, axis=0) - 55.5).max() < 0.5


class TestEvaluation:
    def test_perfect_and_blind_embedders(self):
        people = np.repeat(np.arange(40), 3)
        perfect = np.eye(40, dtype=np.float32)[people]
        assert verification(perfect, perfect, people)["accuracy"] == 1.0
        assert verification(perfect, perfect, people)["same_pairs"] == 120
        blind = np.random.default_rng(0).normal(size=(120, 32)).astype(np.float32)
        assert 0.3 < verification(blind, blind, people)["accuracy"] < 0.7

    def test_spearman_with_ties(self):
        assert spearman(np.array([1, 2, 3, 4]), np.array([9.0, 7.0, 5.0, 1.0])) == pytest.approx(-1.0)
        assert spearman(np.array([0, 0, 1, 1]), np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx(0.894, abs=1e-3)


class TestSettle:
    def test_what_varies_within_people_counts_less_afterwards(self):
        rng = np.random.default_rng(0)
        people = np.repeat(np.arange(60), 5)
        centres = rng.normal(size=(60, 512))
        vectors = (5 + centres[people] + rng.normal(size=(300, 512)) * np.where(np.arange(512) < 40, 4.0, 0.3)).astype(np.float32)
        network = FaceEmbedder()
        with torch.no_grad():
            network.head.weight.zero_()
            network.head.weight.diagonal().fill_(1.0)
            network.head.bias.zero_()
        settle(network, vectors, people)
        after = vectors @ network.head.weight[:, :512].detach().numpy().T + network.head.bias.detach().numpy()
        assert np.linalg.norm(after, axis=1).mean() == pytest.approx(1.0, abs=1e-3)
        assert np.abs(after.mean(axis=0)).max() < 1e-3
        before = verification(vectors, vectors, people)["tar_1"]
        assert verification(after, after, people)["tar_1"] > before

    def test_within_by_hand(self):
        vectors = np.array([[0.0, 0.0], [2.0, 0.0], [5.0, 5.0]], np.float32)
        assert within(vectors, np.array([0, 0, 1])).tolist() == [[1.0, 0.0], [0.0, 0.0]]

    def test_few_of_each_named_person(self):
        few = few_of_each(np.array([0] * 30 + [1] * 2 + [-1] * 5), np.random.default_rng(0))
        assert len(few) == 14
        assert few.max() < 32


class TestMuon:
    def test_update_is_nearly_orthogonal(self):
        matrix = torch.randn(8, 40, generator=torch.Generator().manual_seed(0))
        values = torch.linalg.svdvals(orthogonal(matrix))
        assert 0.5 < values.min() <= values.max() < 1.4
        assert orthogonal(matrix.T).shape == (40, 8)

    def test_goes_downhill(self):
        weight = torch.nn.Parameter(torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(0)))
        before = weight.square().sum().item()
        optimiser = Muon([weight], lr=0.05)
        for _ in range(60):
            optimiser.zero_grad()
            weight.square().sum().backward()
            optimiser.step()
        assert weight.square().sum() < before / 2


class TestExport:
    def test_file_is_the_network(self, tmp_path):
        torch.manual_seed(0)
        network = FaceEmbedder().eval()
        told = write(network, tmp_path / "id.onnx")
        assert told["difference"] < 5e-3
        assert told["bytes"] < 6_000_000

    def test_no_normalisation_is_left_in_the_file(self, tmp_path):
        write(FaceEmbedder(), tmp_path / "id.onnx")
        assert {node.op_type for node in onnx.load(tmp_path / "id.onnx").graph.node}.isdisjoint({"BatchNormalization", "PRelu"})

    def test_the_manifest_is_of_the_new_file_and_keeps_its_cosines(self, tmp_path):
        manifest = tmp_path / "rollcall_id.toml"
        manifest.write_text(MANIFEST.read_text())
        restate(manifest, "ab" * 32, "training/embedder, run x of y")
        before, after = (read_manifest(path) for path in (MANIFEST, manifest))
        assert after.files["network"].sha256 == "ab" * 32
        assert after.source == "training/embedder, run x of y"
        assert after.thresholds == before.thresholds

"""Every network of ../shared/models gives its recorded values through our registry, sessions and pre-processing."""

import json

import cv2
import numpy as np
import pytest

from asd_core.faces.align import align_matrix
from asd_core.faces.detect import open_detector
from asd_core.faces.embed import open_embedder
from asd_core.geometry import ARCFACE_TEMPLATE, similarity
from asd_core.models.registry import ModelFolder, find
from asd_core.models.session import open_session

pytestmark = pytest.mark.models

SPEAKING = ("lrasd_ava", "lrasd_talkset", "lightasd_ava", "lightasd_talkset")
EMBEDDERS = ("mobilefacenet_arcface_128", "edgeface_xs_512", "edgeface_xxs_512")


@pytest.fixture(scope="module")
def folders(models_folder):
    return [ModelFolder(models_folder)]


@pytest.fixture(scope="module")
def golden(models_folder):
    return json.loads((models_folder / "golden.json").read_text())


@pytest.fixture(scope="module")
def astronaut():
    return pytest.importorskip("skimage.data").astronaut()


@pytest.mark.parametrize("name", SPEAKING)
def test_speaking(name, folders, golden):
    model, expected = find("speaking", folders, name), golden["speaking"][name]
    frames = np.random.RandomState(0).randint(0, 256, (1, 50, 112, 112)).astype(np.float32)
    mfcc = (np.random.RandomState(1).randn(1, 200, 13) * 8).astype(np.float32)
    visual = open_session(model.paths["visual"]).run({"frames": frames})["visual"]
    audio = open_session(model.paths["audio"]).run({"mfcc": mfcc})["audio"]
    outputs = open_session(model.paths["detector"]).run({"audio": audio, "visual": visual})
    np.testing.assert_allclose(visual[0, 0, :4], expected["visual[0,0,:4]"], atol=1e-4)
    np.testing.assert_allclose(audio[0, 0, :4], expected["audio[0,0,:4]"], atol=1e-4)
    np.testing.assert_allclose(outputs["score"][0], expected["score[0]"], atol=1e-3)
    np.testing.assert_allclose(outputs["prob"][0, :5], expected["prob[0,:5]"], atol=1e-4)


@pytest.mark.parametrize("name", ["scrfd_500m_kps", "scrfd_2.5g_kps", "yunet_n_dynamic", "yunet_s_dynamic", "face_detection_yunet_2023mar"])
def test_detector(name, folders, golden, astronaut):
    expected = golden["detector"]["yunet_s_dynamic" if name == "face_detection_yunet_2023mar" else name]  # the same weights
    detector = open_detector(find("detector", folders, name), open_session, input_size_wh=(640, 640))
    found = detector.detect(astronaut)
    assert (found.scores >= detector.score_threshold).sum() == expected["faces"]
    np.testing.assert_allclose([*found.boxes[0], found.scores[0]], expected["box_xyxy_score"], atol=0.01)
    np.testing.assert_allclose(found.landmarks[0], expected["five_points"], atol=0.01)


def recorded_values(name, golden):
    return golden["embedder"] if name == "mobilefacenet_arcface_128" else golden["embedder_512"][name]


@pytest.mark.parametrize("name", EMBEDDERS)
def test_embedder_on_random_input(name, folders, golden):
    model, expected = find("embedder", folders, name), recorded_values(name, golden)["random_input"]
    face = np.random.RandomState(2).randn(1, 3, 112, 112).astype(np.float32)
    vector = open_session(model.paths["network"]).run({"face": face})["embedding"][0]
    np.testing.assert_allclose(vector[:8], expected["first8"], atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(vector), expected["norm"], atol=1e-3)


@pytest.mark.parametrize("name", EMBEDDERS)
def test_embedder_on_the_photo(name, folders, golden, astronaut):
    """Channel order and scale come from the manifest: the wrong order moves a number by up to 0.05 of EdgeFace's."""
    expected = recorded_values(name, golden)
    points = np.array(golden["detector"]["scrfd_2.5g_kps"]["five_points"])
    embedder = open_embedder(find("embedder", folders, name), open_session)
    as_recorded = cv2.warpAffine(astronaut, similarity(points, ARCFACE_TEMPLATE), (112, 112))
    ours = cv2.warpAffine(astronaut, align_matrix(points.astype(np.float32)), (112, 112))
    vectors, quality = embedder.embed(np.stack([as_recorded, ours, as_recorded[:, ::-1]]))
    np.testing.assert_allclose(vectors[0, :8] * expected["norm"], expected["first8_unnormalised"], atol=0.004 * expected["norm"])
    assert vectors[0] @ vectors[2] == pytest.approx(expected["cos_to_own_mirror"], abs=0.005)
    assert vectors[0] @ vectors[1] > 0.995  # the pixel-centre convention moves a chip by less than a tenth of a pixel here
    if embedder.norm_is_quality:
        assert quality[0] == pytest.approx(expected["norm"], abs=0.1)
    else:
        assert quality is None


def test_the_feature_norm_falls_with_blur_where_the_manifest_says_that_it_is_quality(folders, golden, astronaut):
    points = np.array(golden["detector"]["scrfd_2.5g_kps"]["five_points"], np.float32)
    chip = cv2.warpAffine(astronaut, align_matrix(points), (112, 112))
    chips = np.stack([chip, cv2.GaussianBlur(chip, (0, 0), 2), cv2.GaussianBlur(chip, (0, 0), 4)])
    _, quality = open_embedder(find("embedder", folders, "mobilefacenet_arcface_128"), open_session).embed(chips)
    assert quality[0] > quality[1] > quality[2]

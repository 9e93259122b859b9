"""The embedder that ships: what its file gives, and that it knows the demo's two portraits apart and again."""

import cv2
import numpy as np
import pytest

from asd_core.demo.portraits import PORTRAITS, load_portrait
from asd_core.faces.align import CHIP_SIZE, align_matrix
from asd_core.faces.embed import open_embedder
from asd_core.geometry import ARCFACE_TEMPLATE
from asd_core.models.manifest import WEIGHTS
from asd_core.models.registry import ModelFolder, find
from asd_core.models.session import open_session


@pytest.fixture(scope="module")
def model():
    return find("embedder", [ModelFolder(WEIGHTS)], "rollcall_id")


@pytest.fixture(scope="module")
def embedder(model):
    return open_embedder(model, open_session)


def chip(name, shift=(0.0, 0.0)):
    """Return a portrait's aligned face, from the landmarks that the demo states."""
    portrait = PORTRAITS[name]
    points = np.array([*portrait.eyes, (0, 0), portrait.lips[0], portrait.lips[2]], np.float32)
    points[2] = points[[0, 1, 3, 4]].mean(axis=0)
    template = ARCFACE_TEMPLATE[[0, 1, 3, 4]]
    points[2] += (points[1, 0] - points[0, 0]) / (template[1, 0] - template[0, 0]) * (ARCFACE_TEMPLATE[2] - template.mean(axis=0))
    points += np.array(shift, np.float32)
    return cv2.warpAffine(load_portrait(name), align_matrix(points), (CHIP_SIZE, CHIP_SIZE), flags=cv2.INTER_AREA)


def test_file(model):
    assert model.paths["network"].stat().st_size <= 6_000_000
    assert model.manifest.output.dimension == 512
    assert model.manifest.input.channels == "rgb"
    assert not model.manifest.commercial  # part of what it learnt from is for research


def test_vectors_have_length_one_and_are_the_same_each_time(embedder):
    chips = np.stack([chip(name) for name in PORTRAITS])
    vectors, quality = embedder.embed(chips)
    assert vectors.shape == (2, 512)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.array_equal(vectors, embedder.embed(chips)[0])
    assert np.allclose(vectors[1:], embedder.embed(chips[1:])[0], atol=1e-5)  # alone or in a batch
    assert quality is None or (quality > 0).all()


def test_thresholds_are_ordered(embedder):
    t = embedder.thresholds
    assert 0 < t["verify_cosine"] <= t["same_person_cosine"] < t["library_cosine"] < t["together_cosine"] < 1


@pytest.mark.parametrize("change", ["blurred", "shifted", "mirrored", "small", "grey"])
def test_a_changed_portrait_is_nearer_to_itself_than_to_the_other(embedder, change):
    names = list(PORTRAITS)
    sharp = np.stack([chip(name) for name in names])
    changed = {
        "blurred": lambda name, face: cv2.GaussianBlur(face, (0, 0), 2.5),
        "shifted": lambda name, face: chip(name, shift=(4.0, -3.0)),
        "mirrored": lambda name, face: np.ascontiguousarray(face[:, ::-1]),
        "small": lambda name, face: cv2.resize(cv2.resize(face, (28, 28), interpolation=cv2.INTER_AREA), (112, 112)),
        "grey": lambda name, face: np.repeat(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2),
    }[change]
    cosines = embedder.embed(sharp)[0] @ embedder.embed(np.stack([changed(n, f) for n, f in zip(names, sharp, strict=True)]))[0].T
    own, other = np.diag(cosines), np.array([cosines[0, 1], cosines[1, 0]])
    assert (own > 0.4).all(), cosines
    assert (own > other + 0.2).all(), cosines


def test_length_falls_with_blur_and_size(embedder, model):
    if model.manifest.output.quality != "norm":
        pytest.skip("the manifest makes no claim about the length")
    for name in PORTRAITS:
        face = chip(name)
        sizes = [cv2.resize(cv2.resize(face, (s, s), interpolation=cv2.INTER_AREA), (112, 112)) for s in (24, 14)]
        lengths = embedder.embed(np.stack([face, *sizes]))[1]
        assert (np.diff(lengths) < 0).all(), (name, lengths)
        lengths = embedder.embed(np.stack([face, *(cv2.GaussianBlur(face, (0, 0), s) for s in (3, 5))]))[1]
        assert (np.diff(lengths) < 0).all(), (name, lengths)

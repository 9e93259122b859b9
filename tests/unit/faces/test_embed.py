"""Embedders feed chips as their manifest says and return vectors of length one, with quality only where the norm is one."""

from dataclasses import replace

import numpy as np
import pytest

from asd_core.errors import ModelMismatch
from asd_core.faces.embed import Embedder
from asd_core.models.manifest import InputFormat, Manifest, ModelFile, OutputFormat

MANIFEST = Manifest(
    name="mine",
    role="embedder",
    kind="arcface",
    licence="MIT",
    commercial=True,
    files={"network": ModelFile("mine.onnx")},
    input=InputFormat(name="face", size_wh=(112, 112), channels="bgr", mean=(1.0, 2.0, 3.0), scale=(2.0, 4.0, 8.0)),
    output=OutputFormat(name="embedding", dimension=3, quality="norm"),
    thresholds={"same_person_cosine": 0.4},
)


class Means:
    """A network whose vector is the mean of each channel it was fed."""

    sha256 = "0" * 64
    profile = "cpu-fp32"

    def __init__(self):
        self.batches = []

    def run(self, feeds):
        self.batches.append(len(feeds["face"]))
        return {"other": np.zeros(1), "embedding": feeds["face"].mean(axis=(2, 3))}


def chips(count):
    colours = np.random.default_rng(7).integers(0, 256, (count, 1, 1, 3))
    return np.broadcast_to(colours, (count, 112, 112, 3)).astype(np.uint8)


def test_chips_are_fed_as_the_manifest_says():
    faces = chips(20)
    network = Means()
    vectors, quality = Embedder(network, MANIFEST, "sha").embed(faces)
    raw = (faces[:, 0, 0, ::-1] - np.array(MANIFEST.input.mean)) / MANIFEST.input.scale
    np.testing.assert_allclose(quality, np.linalg.norm(raw, axis=1), rtol=1e-5)
    np.testing.assert_allclose(vectors, raw / np.linalg.norm(raw, axis=1, keepdims=True), rtol=1e-4)
    assert max(network.batches) <= 8


def test_a_norm_that_says_nothing_is_not_returned():
    manifest = replace(MANIFEST, output=OutputFormat(name="embedding", dimension=3, quality="none"))
    assert Embedder(Means(), manifest, "sha").embed(chips(2))[1] is None


def test_no_chips_give_no_vectors():
    vectors, quality = Embedder(Means(), MANIFEST, "sha").embed(chips(0))
    assert vectors.shape == (0, 3)
    assert quality.shape == (0,)


def test_another_dimension_than_stated_is_refused():
    manifest = replace(MANIFEST, output=OutputFormat(name="embedding", dimension=512))
    with pytest.raises(ModelMismatch, match="512"):
        Embedder(Means(), manifest, "sha").embed(chips(1))
    with pytest.raises(ModelMismatch, match="dimension"):
        Embedder(Means(), replace(MANIFEST, output=OutputFormat()), "sha")

"""What every embedder must do, whichever it is, on the two portraits of the demo: nothing learnt from them."""

import cv2
import numpy as np
import pytest

from asd_core.demo.portraits import PORTRAITS, load_portrait
from asd_core.faces.align import align_matrix
from asd_core.faces.detect import open_detector
from asd_core.faces.embed import open_embedder
from asd_core.models.session import open_session

PUBLIC = ("mobilefacenet_arcface_128", "edgeface_xs_512", "edgeface_xxs_512")


@pytest.fixture(scope="module", params=["rollcall_id", *(pytest.param(name, marks=pytest.mark.models) for name in PUBLIC)])
def embedder(request, find_model):
    return open_embedder(find_model("embedder", request.param), open_session)


@pytest.fixture(scope="module")
def chips(find_model):
    """Each portrait's chip (112, 112, 3), cut as the line cuts it, at full size and from a picture half as large."""
    detector = open_detector(find_model("detector", "rollcall_face"), open_session)
    found = {}
    for name in PORTRAITS:
        picture = load_portrait(name)
        for size, scale in (("full", 1.0), ("half", 0.5)):
            seen = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            found[name, size] = cv2.warpAffine(seen, align_matrix(detector.detect(seen, top=1, by="area").landmarks[0]), (112, 112))
    return found


def test_vectors_have_length_one_and_the_stated_dimension(embedder, chips):
    vectors, _ = embedder.embed(np.stack(list(chips.values())))
    assert vectors.shape == (len(chips), embedder.dimension)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_one_person_is_alike_and_two_are_not(embedder, chips):
    vectors = dict(zip(chips, embedder.embed(np.stack(list(chips.values())))[0], strict=True))
    first, second = PORTRAITS
    for name in PORTRAITS:
        assert vectors[name, "full"] @ vectors[name, "half"] > embedder.thresholds["same_person_cosine"]
    assert vectors[first, "full"] @ vectors[second, "full"] < embedder.thresholds["verify_cosine"]


def test_a_face_has_the_same_vector_alone_and_among_others(embedder, chips):
    several = np.stack([*chips.values()] * 3)  # more than one batch
    together, _ = embedder.embed(several)
    for chip, vector in zip(several, together, strict=True):
        np.testing.assert_allclose(embedder.embed(chip[None])[0][0], vector, atol=1e-4)


def test_no_face_is_no_vector(embedder):
    vectors, quality = embedder.embed(np.zeros((0, 112, 112, 3), np.uint8))
    assert vectors.shape == (0, embedder.dimension)
    assert quality is None or quality.shape == (0,)


def test_quality_falls_with_blur_where_the_norm_is_said_to_be_quality(embedder, chips):
    for name in PORTRAITS:
        chip = chips[name, "full"]
        _, quality = embedder.embed(np.stack([chip, *(cv2.GaussianBlur(chip, (0, 0), spread) for spread in (4, 6))]))
        assert quality is None if not embedder.norm_is_quality else quality[0] > quality[1] > quality[2]

"""Manifests say what a model is; what they do not say right is refused with the file's name."""

import pytest

from asd_core.errors import ModelMismatch
from asd_core.models.manifest import PARTS, packaged_manifests, read_manifest

GOOD = """
name = "mine"
role = "detector"
kind = "scrfd"
licence = "MIT"
commercial = true
[files.network]
file = "mine.onnx"
[input]
name = "input"
size_wh = [640, 384]
[thresholds]
score = 0.5
"""


def test_packaged_manifests_are_complete():
    manifests = packaged_manifests()
    assert len({manifest.name for manifest in manifests}) == len(manifests) >= 12
    for manifest in manifests:
        assert set(PARTS[manifest.role]) == set(manifest.files)
        assert all(len(entry.sha256) == 64 for entry in manifest.files.values())
        assert manifest.licence


def test_what_is_left_out_has_plain_defaults(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    manifest = read_manifest(path)
    assert manifest.input.channels == "rgb"
    assert manifest.input.mean == (0.0, 0.0, 0.0)
    assert manifest.files["network"].sha256 is None
    assert manifest.threshold("score") == 0.5
    with pytest.raises(ModelMismatch, match="nms_iou"):
        manifest.threshold("nms_iou")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('role = "detector"', 'role = "oracle"'),
        ('role = "detector"', 'role = "speaking"'),
        ('name = "mine"', ""),
        ('kind = "scrfd"', 'kind = "scrfd"\nkindness = 1'),
        ('name = "mine"', 'name = "../mine"'),
        ("commercial = true", 'commercial = "no"'),
        ('file = "mine.onnx"', 'file = "../mine.onnx"'),
        ('file = "mine.onnx"', 'file = ".."'),
        ('file = "mine.onnx"', 'file = ""'),
        ('file = "mine.onnx"', 'file = "mine.toml"'),
        ('file = "mine.onnx"', "file = 5"),
        ('name = "input"', 'name = "input"\nchannels = "grey"'),
        ("[input]", "[entrance]"),
        ("[thresholds]", "[thresholds"),
        ("[input]", "[exit]"),
        ("size_wh = [640, 384]", "size_wh = [640]"),
        ("size_wh = [640, 384]", 'size_wh = ["wide", 384]'),
        ("score = 0.5", 'score = "half"'),
        ('licence = "MIT"', "licence = 5"),
        ('name = "input"', "name = 5"),
    ],
)
def test_a_wrong_manifest_is_refused_by_name(tmp_path, old, new):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(ModelMismatch, match=r"mine\.toml") as caught:
        read_manifest(path)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_no_manifest(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ModelMismatch, match=r"mine\.toml"):
        read_manifest(path)


def test_the_format_digest_changes_with_what_changes_results(tmp_path):
    path = tmp_path / "mine.toml"
    digests = set()
    for text in (GOOD, GOOD.replace("640", "320"), GOOD.replace("0.5", "0.6"), GOOD.replace('"scrfd"', '"yunet"')):
        path.write_text(text)
        digests.add(read_manifest(path).format_digest)
    path.write_text(GOOD.replace("MIT", "BSD"))
    digests.add(read_manifest(path).format_digest)
    assert len(digests) == 4

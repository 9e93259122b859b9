"""Our own weights: small, complete, each with a manifest, a card and terms; nothing of others among them."""

import tomllib
from pathlib import Path

import pytest

from asd_core.models.manifest import PARTS, WEIGHTS, packaged_manifests
from asd_core.models.registry import DEFAULTS, ModelFolder, find

ROOT = Path(__file__).parents[3]
OURS = [manifest for manifest in packaged_manifests() if manifest.name.startswith("rollcall_")]
LARGEST = 12_000_000  # bytes, all files together


def test_all_files_together_are_small():
    assert sum(path.stat().st_size for path in WEIGHTS.iterdir()) <= LARGEST


def test_every_file_has_a_manifest_and_every_manifest_its_files():
    described = {entry.file for manifest in OURS for entry in manifest.files.values()}
    assert {path.name for path in WEIGHTS.iterdir()} == described | {"LICENSE"}


@pytest.mark.parametrize("manifest", OURS, ids=lambda manifest: manifest.name)
def test_a_model_is_found_by_its_name_and_checked(manifest):
    model = find(manifest.role, [ModelFolder(WEIGHTS)], manifest.name)  # raises where a file is not what the manifest says
    assert set(model.paths) == set(PARTS[manifest.role])


@pytest.mark.parametrize("role", ["detector", "speaking", "embedder"])
def test_ours_serve_where_nothing_else_is(role):
    assert find(role, [ModelFolder(WEIGHTS)]).name == DEFAULTS[role][-1]
    assert DEFAULTS[role][-1] in {manifest.name for manifest in OURS}


def test_every_default_has_a_manifest_of_its_role():
    roles = {manifest.name: manifest.role for manifest in packaged_manifests()}
    assert {roles[name] for role, names in DEFAULTS.items() for name in names if roles[name] != role} == set()


@pytest.mark.parametrize("manifest", OURS, ids=lambda manifest: manifest.name)
def test_a_model_says_what_it_was_learnt_from_and_on_which_terms(manifest):
    assert not manifest.commercial
    assert "LICENSE" in manifest.licence
    assert manifest.trained_on
    licence = (WEIGHTS / "LICENSE").read_text()
    assert all(entry.file in licence for entry in manifest.files.values())
    card = ROOT / "docs" / "models" / f"{manifest.name.replace('_', '-')}.md"
    text = card.read_text()
    assert all(entry.sha256[:12] in text for entry in manifest.files.values()), f"{card.name} does not name the files that are shipped"


@pytest.mark.parametrize("path", sorted(WEIGHTS.glob("*.onnx")), ids=lambda path: path.name)
def test_a_file_holds_no_traces_of_the_machine_it_was_made_on(path):
    content = path.read_bytes()
    assert not any(trace in content for trace in (str(ROOT).encode(), str(Path.home()).encode() + b"/", b"/home/", b"site-packages", b".py"))


def test_the_package_carries_them():
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "models/weights/*" in told["tool"]["setuptools"]["package-data"]["asd_core"]
    assert "asd_core/models/weights/LICENSE" in told["project"]["license-files"]

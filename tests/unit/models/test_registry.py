"""A role finds its model by the table of defaults or by name, on the terms of the folder, and never a file that was changed."""

import hashlib

import pytest

from asd_core.errors import ModelMismatch, ModelMissing
from asd_core.models.registry import DEFAULTS, ModelFolder, available, find

MANIFEST = """
name = "{name}"
role = "embedder"
kind = "arcface"
licence = "some"
commercial = {commercial}
[files.network]
file = "{name}.onnx"
{sha256}
[input]
name = "face"
size_wh = [112, 112]
[output]
dimension = 4
"""


def put(folder, name, content=b"weights", *, commercial="true", sha256=""):
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.onnx").write_bytes(content)
    stated = f'sha256 = "{sha256}"' if sha256 else ""
    (folder / f"{name}.toml").write_text(MANIFEST.format(name=name, commercial=commercial, sha256=stated))
    return ModelFolder(folder)


def test_a_users_own_model_is_found_by_name(tmp_path):
    folder = put(tmp_path / "a", "mine")
    model = find("embedder", [folder], "mine")
    assert model.paths == {"network": tmp_path / "a" / "mine.onnx"}
    assert model.sha256 == hashlib.sha256(b"weights").hexdigest()


def test_the_first_folder_wins_between_copies(tmp_path):
    folders = [put(tmp_path / "a", "mine", b"first"), put(tmp_path / "b", "mine", b"second")]
    assert find("embedder", folders, "mine").sha256 == hashlib.sha256(b"first").hexdigest()


def test_the_table_decides_between_models_not_the_folders(tmp_path):
    first, second, *_ = DEFAULTS["embedder"]
    folders = [put(tmp_path / "a", second), put(tmp_path / "b", first)]
    assert find("embedder", folders).name == first
    assert find("embedder", folders[:1]).name == second


def test_restricted_models_need_a_folder_that_the_user_named(tmp_path):
    named = put(tmp_path / "a", "mine", commercial="false")
    with pytest.raises(ModelMissing, match="commercial"):
        find("embedder", [ModelFolder(named.path, any_licence=False)], "mine")
    assert find("embedder", [named], "mine").name == "mine"


def test_a_result_tells_the_terms(tmp_path):
    told = find("embedder", [put(tmp_path / "a", "mine", commercial="false")], "mine").told
    assert told == {"name": "mine", "sha256": hashlib.sha256(b"weights").hexdigest(), "licence": "some, not for commercial use"}
    assert find("embedder", [put(tmp_path / "b", "mine")], "mine").told["licence"] == "some"


def test_a_changed_file_is_refused(tmp_path):
    folder = put(tmp_path / "a", "mine", sha256="0" * 64)
    with pytest.raises(ModelMismatch, match=r"mine\.onnx"):
        find("embedder", [folder], "mine")
    (entry,) = [found for found in available([folder]) if found.name == "mine"]
    assert entry.model is None
    assert "mine.onnx" in entry.reason


def test_nothing_there_says_what_to_do(tmp_path):
    with pytest.raises(ModelMissing, match="ROLLCALL_MODELS"):
        find("speaking", [ModelFolder(tmp_path)])
    with pytest.raises(ModelMissing, match=r"known: .*scrfd_500m_kps"):
        find("detector", [ModelFolder(tmp_path)], "edgeface_xs_512")
    with pytest.raises(ModelMissing, match="voice"):
        find("voice", [])


def test_all_known_models_are_listed(tmp_path):
    listed = available([put(tmp_path / "a", "mine")])
    states = {found.name: found.model is not None for found in listed}
    assert states["mine"]
    assert not states["lrasd_ava"]
    assert [found.manifest.role for found in listed] == sorted(found.manifest.role for found in listed)


def test_a_damaged_manifest_spoils_no_other_model(tmp_path):
    folder = put(tmp_path / "a", "mine")
    (folder.path / "half.toml").write_text('name = "half')
    assert find("embedder", [folder], "mine").name == "mine"
    (entry,) = [found for found in available([folder]) if found.damaged]
    assert (entry.name, entry.manifest, entry.model) == ("half", None, None)
    assert "half.toml" in entry.reason
    with pytest.raises(ModelMismatch, match=r"half\.toml"):
        find("embedder", [folder], "half")
    with pytest.raises(ModelMissing, match=r"'other'; known: .*half\.toml"):
        find("embedder", [folder], "other")


def test_a_damaged_manifest_matters_where_it_would_have_been_asked(tmp_path):
    first, second = put(tmp_path / "a", "mine"), put(tmp_path / "b", "mine")
    (second.path / "mine.toml").write_text("")
    assert find("embedder", [first, second], "mine").paths == {"network": first.path / "mine.onnx"}
    assert not [found for found in available([first, second]) if found.damaged]
    with pytest.raises(ModelMismatch, match=r"mine\.toml"):
        find("embedder", [second, first], "mine")


def test_a_damaged_manifest_beside_a_packaged_one(tmp_path):
    name = DEFAULTS["embedder"][0]
    folder = put(tmp_path / "a", name)
    (folder.path / f"{name}.toml").write_text("commercial = perhaps")
    states = {(found.name, found.manifest is None) for found in available([folder]) if found.name == name}
    assert states == {(name, False), (name, True)}
    with pytest.raises(ModelMismatch, match=r"is not a model manifest"):
        find("embedder", [folder], name)


def test_the_cache_key_holds_the_files_and_how_they_are_fed(tmp_path):
    folder = put(tmp_path / "a", "mine")
    before = find("embedder", [folder], "mine")
    manifest = tmp_path / "a" / "mine.toml"
    manifest.write_text(manifest.read_text().replace("dimension = 4", "dimension = 8"))
    after = find("embedder", [folder], "mine")
    assert before.sha256 == after.sha256
    assert before.key != after.key

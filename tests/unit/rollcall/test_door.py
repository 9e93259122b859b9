"""The door of the command line: what it imports, how commands end, and that nothing but results goes to stdout."""

import hashlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from infra.settings import child_environment

ROOT = Path(__file__).parents[3]
DOOR = "import sys; sys.argv[0] = 'rollcall'; from rollcall.cli import main; main()"
HEAVY = (
    "numpy",
    "scipy",
    "cv2",
    "av",
    "onnxruntime",
    "faiss",
    "prefect",
    "psycopg",
    "fastapi",
    "pydantic",
    "uvicorn",
    "asd_core",
    "infra",
    "flows",
    "tasks",
)


def rollcall(*arguments, home, check=None, **more):
    """Run a command in a process of its own."""
    environment = child_environment() | {"ROLLCALL_HOME": str(home), "COLUMNS": "120"}
    done = subprocess.run(
        [sys.executable, "-c", DOOR, *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **more,
    )
    if check is not None:
        assert done.returncode == check, (done.stdout, done.stderr)
    return done


def test_help_loads_nothing_heavy(tmp_path):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", DOOR, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert loaded.isdisjoint(HEAVY), loaded & set(HEAVY)


def test_every_command_of_the_design_is_there_with_an_example():
    from typer.testing import CliRunner

    from rollcall.cli.door import app

    names = (
        "analyse ingest assets turns people person name merge undo airtime search export models index doctor retry backup restore demo bench "
        "serve up down deploy worker watch"
    )
    listed = CliRunner().invoke(app, ["--help"]).output
    for name in names.split():
        assert f" {name} " in listed
        told = CliRunner().invoke(app, [name, "--help"])
        assert told.exit_code == 0
        assert name in {"models", "index"} or "Example:" in told.output, name


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, ""),
        (("analyse",), 2, "Missing argument"),
        (("unknown",), 2, "No such command"),
        (("search",), 2, "--image and --person"),
        (("search", "--person", "x", "--face", "1"), 2, "--face"),
        (("export", "a", "--format", "docx"), 2, "docx"),
        (("export", "a", "--format", "overlay"), 2, "--output"),
        (("name", "p"), 2, "--remove"),
        (("ingest", "x", "--span-seconds", "7"), 2, "multiple of 10"),
        (("analyse", "nowhere.mp4"), 1, "no such file: nowhere.mp4"),
        (("analyse", "."), 1, "is a folder"),
    ],
)
def test_how_commands_end(tmp_path, arguments, code, says):
    done = rollcall(*arguments, home=tmp_path / "home", check=code)
    assert says in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "home").exists()


def test_errors_are_one_line(tmp_path):
    assert rollcall("analyse", "nowhere.mp4", home=tmp_path, check=1).stderr == "rollcall: no such file: nowhere.mp4\n"


def test_outputs_that_cannot_be_written_are_refused_before_the_work(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    done = rollcall("analyse", tmp_path / "a.mp4", "--json", tmp_path / "no" / "such" / "a.json", home=tmp_path / "home", check=1)
    assert "no such folder" in done.stderr


@pytest.mark.parametrize("content", [b"", b"hello"])
def test_what_is_no_media_is_one_line(tmp_path, content):
    (tmp_path / "a.mp4").write_bytes(content)
    done = rollcall("analyse", tmp_path / "a.mp4", home=tmp_path / "home")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("rollcall: ")
    assert "Traceback" not in done.stderr


def test_wrong_setting_is_one_line(tmp_path):
    (tmp_path / "rollcall.toml").write_text("wokers = 2\n")
    done = rollcall("models", "list", home=tmp_path, check=1)
    assert done.stderr.count("\n") == 1
    assert "wokers" in done.stderr


def test_reader_that_goes_away_makes_no_noise(tmp_path):
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{sys.executable} -c \"{DOOR}\" models list | head -c 10 | wc -c"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stderr == ""


def test_interrupt_ends_with_130_and_no_trace(tmp_path):
    from rollcall.cli import door

    code = """
import sys
sys.argv = ["rollcall", "models", "list"]
import rollcall.cli.models as m
from rollcall.cli import door
def interrupted(*a): raise KeyboardInterrupt
m.model_rows = interrupted
door.main()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == door.INTERRUPTED
    assert done.stderr == "rollcall: interrupted\n"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_what_ends_a_command_lets_it_tidy_up(name):
    code = f"""
import os, signal, sys
sys.argv = ["rollcall", "models", "list"]
import rollcall.cli.models as m
from rollcall.cli import door
def ended(*a):
    try:
        os.kill(os.getpid(), signal.{name})
        signal.sigtimedwait([], 10)
    finally:
        print("tidied up")
m.model_rows = ended
door.main()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (128 + getattr(signal, name), "tidied up\n", "")


def test_models_are_listed_with_their_terms(tmp_path):
    rows = json.loads(rollcall("models", "list", "--json", home=tmp_path, check=0).stdout)
    named = {"role", "name", "in_use", "licence", "commercial", "trained_on", "note", "source", "sha256", "path", "reason"}
    assert named == set(rows[0])
    assert {row["role"] for row in rows} >= {"detector", "speaking", "embedder"}
    assert sorted(row["role"] for row in rows if row["in_use"]) == ["detector", "embedder", "speaking"]
    assert all(row["trained_on"] for row in rows)


def test_a_pulled_model_serves(tmp_path):
    folder, home = tmp_path / "given", tmp_path / "home"
    folder.mkdir()
    (folder / "mine.onnx").write_bytes(b"weights")
    (folder / "mine.toml").write_text(f"""
name = "mine"
role = "embedder"
kind = "arcface"
licence = "some"
commercial = false
[files.network]
file = "mine.onnx"
sha256 = "{hashlib.sha256(b"weights").hexdigest()}"
[input]
name = "face"
size_wh = [112, 112]
""")
    told = rollcall("models", "pull", "mine", folder, home=home, check=0)
    assert "NOT for commercial use" in told.stdout
    assert 'embedder = "mine"' in told.stderr
    (home / "rollcall.toml").write_text('[models]\nembedder = "mine"\n')
    (row,) = [row for row in json.loads(rollcall("models", "list", "--json", home=home, check=0).stdout) if row["name"] == "mine"]
    assert (row["in_use"], row["path"]) == (True, str(home / "models"))
    assert "no model is called" in rollcall("models", "pull", "other", folder, home=home, check=1).stderr


def test_a_name_with_folders_in_it_is_not_pulled(tmp_path):
    folder, home = tmp_path / "given", tmp_path / "home"
    folder.mkdir()
    (folder / "rollcall_id.onnx").write_bytes((ROOT / "asd_core" / "models" / "weights" / "rollcall_id.onnx").read_bytes())
    manifest = (ROOT / "asd_core" / "models" / "manifests" / "rollcall_id.toml").read_text().replace('"rollcall_id"', '"../rollcall"')
    (folder / "rollcall.toml").write_text(manifest)  # its manifest would land on the settings
    assert "no model is called" in rollcall("models", "pull", "../rollcall", folder, home=home, check=1).stderr
    assert not (home / "rollcall.toml").exists()


def test_a_role_that_nothing_serves_is_one_line(tmp_path):
    (tmp_path / "rollcall.toml").write_text('[models]\nembedder = "nobody"\n')
    (tmp_path / "a.mp4").write_bytes(b"x")
    done = rollcall("analyse", tmp_path / "a.mp4", home=tmp_path, check=1)
    assert "embedder model is called 'nobody'" in done.stderr
    assert done.stderr.count("\n") == 1
    findings = json.loads(rollcall("doctor", "--json", home=tmp_path, check=1).stdout)
    assert {finding["about"]: finding["verdict"] for finding in findings}["embedder"] == "wrong"


def test_a_damaged_manifest_is_shown_and_passed_over(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "half.toml").write_text('name = "half')
    rows = json.loads(rollcall("models", "list", "--json", home=tmp_path, check=0).stdout)
    (half,) = [row for row in rows if row["name"] == "half"]
    assert (half["role"], half["in_use"], half["path"]) == (None, False, None)
    assert "half.toml" in half["reason"]
    assert {row["role"] for row in rows if row["in_use"]} == {"detector", "speaking", "embedder"}
    assert "damaged" in rollcall("models", "list", home=tmp_path, check=0).stdout
    verified = rollcall("models", "verify", home=tmp_path, check=1)
    assert [line.partition(":")[0] for line in verified.stdout.splitlines() if line.startswith("BAD")] == ["BAD  half"]
    about = {finding["about"]: finding for finding in json.loads(rollcall("doctor", "--json", home=tmp_path, check=1).stdout)}
    assert (about["half"]["verdict"], about["detector"]["verdict"]) == ("wrong", "ok")
    (tmp_path / "rollcall.toml").write_text('[models]\ndetector = "half"\n')
    (tmp_path / "a.mp4").write_bytes(b"x")
    done = rollcall("analyse", tmp_path / "a.mp4", home=tmp_path, check=1)
    assert "half.toml is not a model manifest" in done.stderr
    assert done.stderr.count("\n") == 1


def test_doctor_says_what_is_here(tmp_path):
    done = rollcall("doctor", "--json", home=tmp_path)
    about = {finding["about"]: finding for finding in json.loads(done.stdout)}
    assert {
        "python",
        "packages",
        "home",
        "disk",
        "postgresql",
        "prefect",
        "detector",
        "speaking",
        "embedder",
        "index",
        "gpu",
        "espeak-ng",
        "chromium",
    } <= set(about)
    assert done.returncode == (1 if any(finding["verdict"] == "wrong" for finding in about.values()) else 0)
    assert all("commercial use" in about[role]["words"] for role in ("detector", "speaking", "embedder"))

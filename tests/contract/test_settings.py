"""Settings: precedence, unknown keys, one clear line for what is wrong."""

import dataclasses
import os
import stat

import pytest

from asd_core.errors import RequestError
from asd_core.models.manifest import WEIGHTS
from infra.settings import Settings, child_environment, ensure_home, load_settings


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("ROLLCALL_")]:  # noqa: TID251 -- to start from none
        monkeypatch.delenv(name)
    monkeypatch.setenv("ROLLCALL_HOME", str(tmp_path))
    return tmp_path


def test_defaults(home):
    settings = load_settings()
    assert settings.home == home
    assert (settings.database_url, settings.prefect_api_url, settings.span_seconds) == (None, None, 60)
    assert settings.workers >= 1
    assert settings.threads == 1


def test_command_before_environment_before_file_before_default(home, monkeypatch):
    (home / "rollcall.toml").write_text("workers = 3\nspan_seconds = 30\n[look]\nstride = 5\nfinest = 3\n")
    monkeypatch.setenv("ROLLCALL_WORKERS", "4")
    monkeypatch.setenv("ROLLCALL_LOOK__STRIDE", "6")
    settings = load_settings(workers=7, span_seconds=None)
    assert (settings.workers, settings.span_seconds, settings.look.stride, settings.look.finest) == (7, 30, 6, 3)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("ROLLCALL_WROKERS", "2", "ROLLCALL_WROKERS"),
        ("ROLLCALL_LOOK__STRID", "2", "look.strid: unknown setting"),
        ("ROLLCALL_WORKERS", "many", "workers"),
        ("ROLLCALL_WORKERS", "0", "workers"),
        ("ROLLCALL_SPAN_SECONDS", "15", "multiple of 10"),
        ("ROLLCALL_MODELS__PROVIDER", "abacus", "provider"),
        ("ROLLCALL_CACHE_GIGABYTES", "inf", "cache_gigabytes"),
        ("ROLLCALL_LIMITS__MEMORY_GIGABYTES", "inf", "memory_gigabytes"),
        ("ROLLCALL_LIMITS__SECONDS_AT_LEAST", "nan", "seconds_at_least"),
        ("ROLLCALL_SPAN_RUNNER", "spark://127.0.0.1:1", "span_runner: must be dask://host:port or ray://host:port"),
        ("ROLLCALL_SPAN_RUNNER", "dask://127.0.0.1", "span_runner"),
        ("ROLLCALL_SPAN_RUNNER", "dask://user:word@host:8786", "span_runner"),
        ("ROLLCALL_PAGES_URL", "rollcall.example", "pages_url: must look like https://host/path"),
        ("ROLLCALL_PAGES_URL", "http://rollcall.example/) ![x](http://evil.example", "pages_url"),
        ("ROLLCALL_SCORE__WINDOWS", "[]", "score.windows"),
        ("ROLLCALL_SCORE__WINDOWS", "[2, -1]", "score.windows"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(monkeypatch, variable, value, message):
    monkeypatch.setenv(variable, value)
    with pytest.raises(RequestError, match=message) as caught:
        load_settings()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["wrokers = 2", "[models]\nembeder = 'x'", "workers = ", "[look]\nstride = 'x'"])
def test_wrong_file(home, text):
    (home / "rollcall.toml").write_text(text)
    with pytest.raises(RequestError, match="settings") as caught:
        load_settings()
    assert "\n" not in str(caught.value)


def test_model_folders_are_a_path_and_keep_their_neighbours(home, monkeypatch):
    (home / "a").mkdir()
    (home / "models").mkdir()
    monkeypatch.setenv("ROLLCALL_MODELS", f"{home / 'a'}{os.pathsep}{home / 'missing'}")
    monkeypatch.setenv("ROLLCALL_MODELS__DETECTOR", "yunet")
    settings = load_settings()
    assert settings.models.detector == "yunet"
    folders = settings.model_folders()
    assert [folder.path for folder in folders[:2]] == [home / "a", home / "models"]
    assert WEIGHTS in [folder.path for folder in folders]
    assert {folder.any_licence for folder in folders} == {True}
    monkeypatch.setenv("ROLLCALL_MODELS__COMMERCIAL_ONLY", "true")
    assert {folder.any_licence for folder in load_settings().model_folders()} == {False}


def test_threads_share_the_cores():
    cores = len(os.sched_getaffinity(0))
    assert load_settings(workers=1).threads == cores
    assert load_settings(workers=64).threads == 1
    assert load_settings(workers=64, threads=3).threads == 3


def test_secrets_do_not_show(monkeypatch):
    monkeypatch.setenv("ROLLCALL_DATABASE_URL", "postgresql://me:hunter2@host/db")
    monkeypatch.setenv("SOME_API_KEY", "hunter2")
    settings = load_settings()
    assert "hunter2" not in repr(settings) + str(settings.model_dump())
    assert settings.database_url.get_secret_value().endswith("/db")
    assert "hunter2" not in str(child_environment())


def test_home_is_private(tmp_path):
    home = ensure_home(tmp_path / "deep" / "home")
    assert ensure_home(home) == home
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    (tmp_path / "file").touch()
    with pytest.raises(RequestError, match="ROLLCALL_HOME"):
        ensure_home(tmp_path / "file" / "home")


def test_sections_name_the_fields_of_the_core():
    from asd_core.identity.assign import AssignOptions
    from asd_core.identity.cluster import ClusterOptions
    from asd_core.look import LookOptions
    from asd_core.speech.listen import ListenOptions
    from asd_core.speech.score import ScoreOptions
    from asd_core.stitch import StitchOptions
    from asd_core.turns.decide import TurnOptions

    sections = {
        "look": LookOptions, "stitch": StitchOptions, "listen": ListenOptions, "score": ScoreOptions, "decide": TurnOptions, "group": ClusterOptions,
        "identify": AssignOptions,
    }  # fmt: skip
    for name, options in sections.items():
        flat = {field.name for field in dataclasses.fields(options) if "Options" not in str(field.type)}
        assert set(Settings.model_fields[name].annotation.model_fields) == flat, name

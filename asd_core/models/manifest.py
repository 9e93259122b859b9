"""Manifests: what a model file is, how it wants its input, and on which terms it may be used.

A manifest is a small TOML file, either packaged in `manifests/` or lying beside a user's own model file. It is the only place that
knows channel order, mean, scale, thresholds and licence; code asks the manifest and never the model's name.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from asd_core.errors import ModelMismatch

Role = Literal["detector", "speaking", "embedder", "voice"]
PARTS: Mapping[str, tuple[str, ...]] = {
    "detector": ("network",),
    "embedder": ("network",),
    "voice": ("network",),
    "speaking": ("visual", "audio", "detector"),
}
PACKAGED = Path(__file__).parent / "manifests"
WEIGHTS = Path(__file__).parent / "weights"  # our own files, with a licence of their own


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model. `sha256` is None where the user's own manifest does not state it."""

    file: str
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class InputFormat:
    """How the picture goes in: value = (pixel - mean) / scale per channel, pixels 0..255, channels in the stated order."""

    name: str
    size_wh: tuple[int, int]
    channels: Literal["rgb", "bgr", "grey"] = "rgb"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    scale: tuple[float, ...] = (1.0, 1.0, 1.0)
    free_size: bool = False  # takes any multiple of 32; `size_wh` is then the default budget for a landscape picture


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """What comes out. `quality` says what the norm of an embedding is worth: "norm" where it grows with quality, "none" where not."""

    name: str | None = None
    dimension: int | None = None
    quality: Literal["norm", "none"] = "none"


@dataclass(frozen=True, slots=True)
class Manifest:
    """One model: who it is, its files by part, its formats, thresholds and terms."""

    name: str
    role: Role
    kind: str  # which code reads its output: scrfd, yunet, sync, arcface …
    licence: str
    commercial: bool  # False: its terms, or those of what it was trained on, forbid or do not allow commercial use
    files: Mapping[str, ModelFile]
    input: InputFormat
    output: OutputFormat = field(default_factory=OutputFormat)
    thresholds: Mapping[str, float] = field(default_factory=dict)
    calibration: Mapping[str, float] = field(default_factory=dict)
    windows: tuple[float, ...] = ()  # seconds: in which a speaking network's head judges best; () leaves it to the line
    network: str = ""
    trained_on: str = ""  # in one phrase, with the terms of the material where they are narrower than the licence
    note: str = ""
    source: str = ""

    @property
    def terms(self) -> str:
        """Return the licence in one phrase that says whether commercial use is not allowed."""
        return self.licence if self.commercial else f"{self.licence}, not for commercial use"

    @property
    def format_digest(self) -> str:
        """Return a digest of all that changes what the network's user computes from the same file: formats, and a detector's thresholds."""
        told: dict[str, Any] = {"kind": self.kind, "input": asdict(self.input), "output": asdict(self.output)}
        if self.role == "detector":
            told["thresholds"] = dict(self.thresholds)
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def threshold(self, name: str) -> float:
        """Return a threshold.

        Raises:
            ModelMismatch: the manifest does not state it.
        """
        if name not in self.thresholds:
            raise ModelMismatch(f"the manifest of {self.name} states no threshold {name!r} under [thresholds]")
        return self.thresholds[name]


def read_manifest(path: Path) -> Manifest:
    """Return the manifest in a TOML file.

    Raises:
        ModelMismatch: it is not TOML, a key is missing, unknown or of the wrong kind; the message names the file.
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
        manifest = Manifest(
            files={part: ModelFile(**entry) for part, entry in told.pop("files").items()},
            input=_input_format(told.pop("input")),
            output=OutputFormat(**told.pop("output", {})),
            windows=tuple(map(float, told.pop("windows", ()))),
            **told,
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:  # bytes that are no text and no TOML are ValueErrors
        why = f"it lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise ModelMismatch(f"{path} is not a model manifest: {why}") from error
    _check(manifest, path)
    return manifest


def packaged_manifests() -> list[Manifest]:
    """Return the manifests that come with the code, by name."""
    return [read_manifest(path) for path in sorted(PACKAGED.glob("*.toml"))]


def _input_format(told: dict[str, Any]) -> InputFormat:
    size = told.pop("size_wh")
    mean, scale = told.pop("mean", (0.0, 0.0, 0.0)), told.pop("scale", (1.0, 1.0, 1.0))
    return InputFormat(size_wh=(int(size[0]), int(size[1])), mean=tuple(map(float, mean)), scale=tuple(map(float, scale)), **told)


def _check(manifest: Manifest, path: Path) -> None:
    if manifest.role not in get_args(Role):
        raise ModelMismatch(f"{path}: role is {manifest.role!r}, expected one of {', '.join(get_args(Role))}")
    if not (isinstance(manifest.name, str) and manifest.name and Path(manifest.name).name == manifest.name):
        raise ModelMismatch(f"{path}: the name {manifest.name!r} is no plain name")
    for key in ("kind", "licence", "network", "trained_on", "note", "source"):
        if not isinstance(getattr(manifest, key), str):
            raise ModelMismatch(f"{path}: {key} is {getattr(manifest, key)!r}, expected a text")
    if not isinstance(manifest.input.name, str):
        raise ModelMismatch(f"{path}: [input] has the name {manifest.input.name!r}, expected a text")
    for key, numbers in (("thresholds", manifest.thresholds), ("calibration", manifest.calibration)):
        if not (isinstance(numbers, dict) and all(isinstance(number, (int, float)) for number in numbers.values())):
            raise ModelMismatch(f"{path}: [{key}] is a table of numbers")
    if not isinstance(manifest.commercial, bool):
        raise ModelMismatch(f"{path}: commercial is {manifest.commercial!r}, expected true or false")
    missing = [part for part in PARTS[manifest.role] if part not in manifest.files]
    if missing:
        raise ModelMismatch(f"{path}: a {manifest.role} model needs [files.{missing[0]}]")
    channels = 1 if manifest.input.channels == "grey" else 3
    if not len(manifest.input.mean) == len(manifest.input.scale) == channels:
        raise ModelMismatch(f"{path}: mean and scale need {channels} numbers for {manifest.input.channels} input")
    if not all(_is_file_name(entry.file) for entry in manifest.files.values()):
        raise ModelMismatch(f"{path}: a model file lies beside its manifest or in a model folder; its name has no folders and does not end in .toml")


def _is_file_name(name: object) -> bool:
    return isinstance(name, str) and name not in {"", ".", ".."} and Path(name).name == name and not name.endswith(".toml")

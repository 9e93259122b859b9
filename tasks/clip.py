"""`analyse` for one file outside a library: the whole line of the core in the decoding child, as the stages run it piece by piece."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from asd_core import analysis
from asd_core.models.registry import ModelFolder, find
from asd_core.models.session import open_session
from asd_core.records import Analysis

if TYPE_CHECKING:
    from infra.sandbox import Sandbox
    from infra.settings import Settings

Progress = Callable[[str, float, float], None]
ROLES = ("detector", "speaking", "embedder")


def analyse_clip(path: Path, settings: Settings, sandbox: Sandbox, *, on_progress: Progress | None = None) -> tuple[Analysis, tuple[str, ...]]:
    """Return the analysis of a file, made in a child process, and what must be said about the terms of the models used.

    Raises:
        MediaError: the file cannot be decoded within the limits.
        ModelError: a role has no usable model.
    """
    folders = settings.model_folders()
    names = {role: getattr(settings.models, role) for role in ROLES}
    found = {role: find(role, folders, names[role]) for role in ROLES}  # type: ignore[arg-type]
    terms = tuple(
        f"{model.name} may not be used commercially ({model.manifest.licence})" for model in found.values() if not model.manifest.commercial
    )
    # No limit by duration: it is known only after the child has probed the file.
    seconds = settings.child_seconds(24 * 3600)
    made = sandbox.call(
        "tasks.clip:analyse_in_child",
        str(path.absolute()),
        folders,
        names,
        analysis.AnalysisOptions(),
        settings.threads,
        timeout=seconds,
        on_progress=on_progress,
    )
    return made, terms


def analyse_in_child(
    path: str,
    folders: tuple[ModelFolder, ...],
    names: dict[str, str | None],
    options: analysis.AnalysisOptions,
    threads: int,
    on_progress: Progress | None = None,
) -> Analysis:
    """Return the analysis of a file; runs in the sandbox."""
    models = {role: find(role, folders, name) for role, name in names.items()}  # type: ignore[arg-type]
    networks = analysis.open_networks(models, partial(open_session, threads=threads))
    return analysis.analyse_clip(Path(path), networks, options, on_progress=on_progress)

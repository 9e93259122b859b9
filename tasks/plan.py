"""The plan: with which options and models a library is worked on. Every cache key derives from it.

The command `analyse` and the flows build their options here, so that both say the same of a file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from asd_core.analysis import AnalysisOptions
from asd_core.identity.assign import AssignOptions
from asd_core.identity.cluster import ClusterOptions
from asd_core.look import LookOptions
from asd_core.models.manifest import Role
from asd_core.models.registry import Model, find
from asd_core.speech.listen import ListenOptions
from asd_core.speech.score import ScoreOptions
from asd_core.stitch import StitchOptions
from asd_core.timeline import GRID_HZ, MARK_INSTANTS
from asd_core.turns.decide import TurnOptions
from infra.codec import encode

if TYPE_CHECKING:
    from infra.inference import Profile
    from infra.settings import Section, Settings

PROFILES: Mapping[str, Profile] = {"cpu": "cpu-fp32", "cuda": "cuda-fp32", "tensorrt": "tensorrt-fp32"}
ROLES: tuple[Role, ...] = ("detector", "speaking", "embedder")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked for.

    Attributes:
        options: of every stage of an asset.
        assign: how people of assets become persons of the library; no part of an asset's keys, since it is done anew each time.
        models: by role, found and verified.
        profile: numeric profile of the networks, such as `cpu-fp32`.
        threads: of one network or decoder; changes no result.
        span_marks: 10 s blocks that one `look` decodes, None for the whole asset; changes no result.
    """

    options: AnalysisOptions
    assign: AssignOptions
    models: Mapping[Role, Model]
    profile: Profile
    threads: int
    span_marks: int | None

    def model_names(self) -> dict[str, dict[str, str]]:
        """Return by role what results say of the models."""
        return {role: model.told for role, model in sorted(self.models.items())}

    def terms(self) -> tuple[str, ...]:
        """Return one line for each licence whose models are not for commercial use."""
        under: dict[str, list[str]] = {}
        for model in self.models.values():
            if not model.manifest.commercial:
                under.setdefault(model.manifest.licence, []).append(model.name)
        return tuple(f"not for commercial use: {', '.join(sorted(names))} ({licence})" for licence, names in sorted(under.items()))


def make_plan(settings: Settings, *, span_seconds: int | None = None) -> Plan:
    """Return the plan that the settings ask for; `span_seconds` 0 means one span for the whole asset, None as the settings say.

    Raises:
        ModelError: a role has no usable model.
    """
    folders = settings.model_folders()
    models = {role: find(role, folders, getattr(settings.models, role)) for role in ROLES}
    span = settings.span_seconds if span_seconds is None else span_seconds
    return Plan(
        options=analysis_options(settings, models),
        assign=replace(AssignOptions().for_embedder(models["embedder"].manifest.thresholds), **_told(settings.identify)),
        models=models,
        profile=PROFILES[settings.models.provider],
        threads=settings.threads,
        span_marks=max(1, span * GRID_HZ // MARK_INSTANTS) if span else None,
    )


def analysis_options(settings: Settings, models: Mapping[Role, Model]) -> AnalysisOptions:
    """Return the core's options for these settings; what belongs to a model comes from its manifest, unless the user says otherwise."""
    return AnalysisOptions(
        look=LookOptions(**_told(settings.look)),
        stitch=StitchOptions(**_told(settings.stitch)),
        listen=ListenOptions(**_told(settings.listen)),
        score=ScoreOptions(**_told(settings.score)),
        turns=TurnOptions(**_told(settings.decide)),
        cluster=replace(ClusterOptions().for_embedder(models["embedder"].manifest.thresholds), **_told(settings.group)),
        decode_threads=settings.threads,
    )


def _told(section: Section) -> dict[str, Any]:
    """Return what the user has set of a section: all else is the core's default, or the manifest's."""
    return section.model_dump(exclude_none=True)


def digest(value: Any) -> str:
    """Return the SHA-256 of a record, or of anything made of records, arrays, text and numbers."""
    return hashlib.sha256(encode(value)).hexdigest()

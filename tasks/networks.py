"""Networks stay open: one set of sessions a thread, for as long as the process lives. A decoding child has one thread, so it has one set."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from asd_core.faces.detect import Detector, open_detector
from asd_core.faces.embed import Embedder, open_embedder
from asd_core.models.network import OpenNetwork
from asd_core.models.registry import Model
from asd_core.speech.score import SpeakingNetwork, open_speaking

if TYPE_CHECKING:
    from infra.inference import Profile

T = TypeVar("T")
_of_thread = threading.local()


def detector(model: Model, profile: Profile, threads: int) -> Detector:
    """Return the opened detector."""
    return _opened(open_detector, model, profile, threads)


def speaking(model: Model, profile: Profile, threads: int) -> SpeakingNetwork:
    """Return the opened speaking network."""
    return _opened(open_speaking, model, profile, threads)


def embedder(model: Model, profile: Profile, threads: int) -> Embedder:
    """Return the opened embedder."""
    return _opened(open_embedder, model, profile, threads)


def _opened(open_model: Callable[[Model, OpenNetwork], T], model: Model, profile: Profile, threads: int) -> T:
    known: dict[tuple[str, str, str, int], T] = _of_thread.__dict__.setdefault("known", {})
    key = (model.manifest.role, model.key, profile, threads)
    if key not in known:
        from infra.inference import InferenceOptions, open_network

        options = InferenceOptions(profile=profile, threads=threads)
        known[key] = open_model(model, lambda path: open_network(path, options))
    return known[key]

"""Who spoke when in one media file: a library of its own, with nothing running beside it.

>>> from asd_core import analyse_clip, open_networks          # doctest: +SKIP
>>> analysis = analyse_clip(Path("interview.mp4"), networks)  # doctest: +SKIP

Names load on first use, so that whoever needs only the records does not load decoders and networks.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asd_core.analysis import AnalysisOptions, Networks, analyse_clip, open_networks
    from asd_core.errors import MediaError, ModelError, RequestError, RollcallError
    from asd_core.records import Analysis, Span, Track, Turn

__all__ = [
    "Analysis",
    "AnalysisOptions",
    "MediaError",
    "ModelError",
    "Networks",
    "RequestError",
    "RollcallError",
    "Span",
    "Track",
    "Turn",
    "analyse_clip",
    "open_networks",
]

_HOMES = {
    "asd_core.analysis": ("AnalysisOptions", "Networks", "analyse_clip", "open_networks"),
    "asd_core.errors": ("MediaError", "ModelError", "RequestError", "RollcallError"),
    "asd_core.records": ("Analysis", "Span", "Track", "Turn"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module 'asd_core' has no attribute {name!r}")

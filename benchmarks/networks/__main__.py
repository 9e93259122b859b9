"""`python -m benchmarks.networks`: measure every network at hand and write its section of docs/accuracy.md; half of `make accuracy`.

What was measured once is kept (benchmarks/networks/keeping.py): a second run only measures networks, clips or code that changed.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import cv2

from asd_core.errors import ModelMissing
from asd_core.models.registry import Model, find
from benchmarks.accuracy_page import put_section
from benchmarks.networks import cost, detectors, embedders, page, speaking
from benchmarks.networks.material import FOLDERS, MEDIA, clip_paths, read_clip

# Ours first, then the public ones. YuNet's third file is YuNet-s at one fixed size; the larger SCRFD is the reference of the detectors.
NETWORKS = {
    "detector": ("rollcall_face", "scrfd_500m_kps", "yunet_n_dynamic", "yunet_s_dynamic"),
    "embedder": ("rollcall_id", "edgeface_xs_512", "edgeface_xxs_512", "mobilefacenet_arcface_128"),
    "speaking": ("rollcall_sync", "lrasd_ava", "lrasd_talkset", "lightasd_ava", "lightasd_talkset"),
}
OURS = {"detector": "rollcall_face", "embedder": "rollcall_id"}


def main() -> None:
    """Measure, write the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", metavar="NAME", help="names of networks; measures and keeps, writes no page")
    arguments = parser.parse_args()
    if not (MEDIA / "clips").is_dir():
        sys.exit("The networks are measured on ../shared/media, which is not there.")
    cv2.setNumThreads(1)
    models = {role: [model for name in names if (model := _found(role, name))] for role, names in NETWORKS.items()}
    if arguments.only:
        models = {role: [model for model in found if model.name in arguments.only] for role, found in models.items()}
    marks = measure(models)
    if not arguments.only:
        marks["cost"] = cost.measure_all([*(model for found in models.values() for model in found), find("detector", FOLDERS, detectors.REFERENCE)])
        put_section(page.HEADING, page.section(models, marks))


def _found(role: str, name: str) -> Model | None:
    try:
        return find(role, FOLDERS, name)  # type: ignore[arg-type]
    except ModelMissing as error:
        print(f"left out: {error}", file=sys.stderr)
        return None


def measure(models: dict[str, list[Model]]) -> dict[str, Any]:
    """Return all marks but the costs, by kind and network."""
    clips = [read_clip(path) for path in clip_paths()]
    marks: dict[str, Any] = {"detector": {}, "lfw": {}, "own_lfw": {}, "clip_faces": {}, "speaking": {}}
    for model in models["detector"]:
        with _timed(model):
            marks["detector"][model.name] = detectors.measure(model)
    for model in models["embedder"]:
        with _timed(model):
            marks["lfw"][model.name] = embedders.measure_lfw(model)
            marks["clip_faces"][model.name] = embedders.measure_clips(model, clips)
            if model.name == OURS["embedder"] and any(found.name == OURS["detector"] for found in models["detector"]):
                marks["own_lfw"][model.name] = embedders.measure_lfw(model, OURS["detector"])
    for model in models["speaking"]:
        with _timed(model):
            marks["speaking"][model.name] = speaking.measure(model, clips)
    return marks


@contextlib.contextmanager
def _timed(model: Model) -> Iterator[None]:
    """Say how long a network took."""
    begun = time.monotonic()
    yield
    print(f"{model.name}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

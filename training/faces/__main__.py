"""`python -m training.faces prepare | train | export | evaluate | gap | curve | smoke`: the face detector from its material to its file."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from pathlib import Path

from asd_core.faces.detect import open_detector
from asd_core.models.manifest import PACKAGED, WEIGHTS
from asd_core.models.registry import ModelFolder, find
from asd_core.models.session import open_session
from training.faces import evaluate
from training.faces.data import SURE
from training.faces.export import NAME, export, write_manifest
from training.faces.prepare import label, open_teacher, prepare, read_rgb
from training.faces.train import Recipe, train, trained
from training.run import OUT, SHARED, single_thread

RECIPE = Recipe()
FOLDER = OUT / "faces"
MATERIAL = {"most_scenes": 10_000, "track_each": 6, "most_chips": 6000, "turned_each": 3}
TINY = {"most_scenes": 16, "track_each": 0, "most_chips": 8, "turned_each": 1}
THRESHOLDS = {"score": 0.68, "low_score": 0.45, "nms_iou": 0.4}  # chosen on the held-out scenes, see the model card
YARDSTICKS = ("yunet_n_dynamic", "yunet_s_dynamic", "scrfd_500m_kps")


def main(arguments: list[str]) -> int:
    """Run one command."""
    parser = argparse.ArgumentParser(prog="python -m training.faces", description=__doc__)
    parser.add_argument("command", choices=("prepare", "train", "export", "evaluate", "gap", "curve", "smoke"))
    parser.add_argument("--run", default="main", help="name of the run's folder")
    parser.add_argument("--steps", type=int, default=RECIPE.steps, help="length of the run; a run is continued from its last checkpoint")
    parser.add_argument("--fall", type=float, default=RECIPE.fall, help="share of the steps over which the learning rate falls")
    told = parser.parse_args(arguments)
    folder, cache = FOLDER / told.run, FOLDER / "material.zip"
    single_thread(RECIPE.seed)
    if told.command == "smoke":
        return smoke()
    if told.command in ("prepare", "train"):
        material = prepare(SHARED, cache, **MATERIAL)
        sure = sum(int((picture.faces.scores >= SURE).sum()) for picture in material.pictures)
        _say({"pictures": len(material.pictures), "faces": sure, "chips": len(material.chips)})
    if told.command == "train":
        train(material, folder, Recipe(steps=told.steps, fall=told.fall))
    if told.command == "export":
        apart = export(trained(folder), WEIGHTS / f"{NAME}.onnx")
        config = json.loads((folder / "config.json").read_text())
        write_manifest(WEIGHTS / f"{NAME}.onnx", PACKAGED, f"{config['digest']} of {config['commit']}", **THRESHOLDS)
        _say({"difference": max(apart.values()), "bytes": (WEIGHTS / f"{NAME}.onnx").stat().st_size})
    if told.command == "evaluate":
        for name, numbers in evaluate.compare([WEIGHTS, SHARED / "models"], SHARED / "train", (NAME, *YARDSTICKS)).items():
            _say({"model": name, **numbers})
    if told.command == "gap":
        teacher = open_teacher(SHARED / "models")
        detector = open_detector(find("detector", [ModelFolder(WEIGHTS)], NAME), open_session, second_look=False)
        learnt = (p for p in prepare(SHARED, cache, **MATERIAL).pictures if p.kind == "scene" and " aside " not in p.name)
        _say({"pictures": "learnt from", **evaluate.by_pose(detector, ((read_rgb(p.jpeg), p.faces) for p in learnt))})
        unseen = (scene.picture for scene in evaluate.held_out(SHARED / "train"))
        _say({"pictures": "held out", **evaluate.by_pose(detector, ((picture, label(picture, teacher)) for picture in unseen))})
    if told.command == "curve":
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary) / f"{NAME}.onnx"
            export(trained(folder), path)
            held_out = list(evaluate.held_out(SHARED / "train"))
            for name, scenes in (("all", held_out), ("no crowds", evaluate.without_crowds(held_out))):
                for numbers in evaluate.curve(path, scenes, [each / 100 for each in range(20, 80)]):
                    _say({"scenes": name, **numbers})
    return 0


def smoke() -> int:
    """Go through everything on a few pictures: prepare, a few steps, export, parity, held-out numbers."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        material = prepare(SHARED, folder / "material.zip", **TINY)
        recipe = dataclasses.replace(RECIPE, steps=6, warmup=2, small=(256, 4), large=(384, 2), log_every=2, save_every=3)
        apart = export(train(material, folder / "run", recipe), folder / f"{NAME}.onnx")
        numbers = evaluate.score(evaluate.open_file(folder / f"{NAME}.onnx").detect, 0.5, list(evaluate.held_out(SHARED / "train"))[:8])
        _say({"difference": max(apart.values()), "faces": numbers["faces"]})
    return 0


def _say(numbers: dict[str, object]) -> None:
    sys.stdout.write(json.dumps({name: round(value, 4) if isinstance(value, float) else value for name, value in numbers.items()}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

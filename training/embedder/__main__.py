"""`python -m training.embedder`: prepare, train, export, evaluate, or smoke for all of it on a few faces."""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from training.embedder.evaluate import compare
from training.embedder.export import FILE, MANIFEST, load, restate, write
from training.embedder.network import FaceEmbedder
from training.embedder.prepare import prepare
from training.embedder.settle import few_of_each, settle
from training.embedder.train import Faces, Recipe, embed, train
from training.run import OUT, SHARED, single_thread

SEED = 11
SHARDS = 8  # of 5,000 made faces


def main() -> None:
    """Run one command."""
    parser = argparse.ArgumentParser(prog="python -m training.embedder", description="rollcall-id: prepare, train, export, evaluate")
    parser.add_argument("command", choices=["prepare", "train", "export", "evaluate", "smoke"])
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder of the training material and the teacher")
    parser.add_argument("--out", type=Path, default=OUT / "embedder", help="where cache and run go")
    parser.add_argument("--shards", type=int, default=SHARDS, help="files of 5,000 made faces (prepare)")
    parser.add_argument("--steps", type=int, default=Recipe().steps, help="steps of the whole run; a run goes on from its checkpoint (train)")
    told = parser.parse_args()
    single_thread(SEED)
    if told.command == "prepare":
        prepare(told.shared, told.out, told.shards, seed=SEED)
    elif told.command == "train":
        train(told.out, told.out / "run", replace(Recipe(), steps=told.steps), SEED)
    elif told.command == "export":
        written = write(settled(load(told.out / "run" / "checkpoint.pt"), told.out))
        run = json.loads((told.out / "run" / "config.json").read_text())
        restate(MANIFEST, str(written["sha256"]), f"training/embedder, run {run['digest']} of {run['commit']}")
        _tell(written)
    elif told.command == "evaluate":
        _tell(compare(told.out, FILE, told.shared))
    else:
        smoke(told.shared)


def smoke(shared: Path) -> None:
    """The whole recipe on a few dozen faces: it must run, it need not learn."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        prepare(shared, out, shards=1, most=24, seed=SEED)
        network = train(out, out / "run", Recipe(steps=4, made=6, nameless=2, named=8, every=2), SEED)
        _tell(write(settled(network, out), out / FILE.name))


def settled(network: FaceEmbedder, cache: Path) -> FaceEmbedder:
    """Return the network as it ships, its last layer settled on the named training faces."""
    faces = Faces(cache, Recipe())
    few = few_of_each(faces.people, np.random.default_rng(SEED))
    return settle(network, embed(network, faces.faces[few]), faces.people[few])


def _tell(row: object) -> None:
    print(json.dumps(row, indent=1))


if __name__ == "__main__":
    main()

"""`python -m training.speaking prepare|train|export|evaluate|smoke`: the speaking network from tracks to ONNX files."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

from asd_core.models.manifest import WEIGHTS
from asd_core.models.registry import ModelFolder, find
from training.run import OUT, SHARED, single_thread
from training.speaking.baseline import PAPER, FaceAlone, TwoTowers
from training.speaking.data import PORTRAITS, TRACKS, Clips, prepare_teachers, prepare_tracks
from training.speaking.evaluate import Bench, in_file, in_torch
from training.speaking.export import NAME, ship
from training.speaking.portraits import prepare_portraits
from training.speaking.train import BASELINE_INSTANTS, BASELINE_STEPS, Recipe, load, paper_recipe, train

RUNS = OUT / "speaking" / "runs"


def main() -> None:
    """Read the command line and do one step."""
    parser = argparse.ArgumentParser(prog="python -m training.speaking", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("prepare", help="decode the tracks, ask the teachers, draw talking portraits; once")
    training = commands.add_parser("train", help="train a network")
    training.add_argument("--steps", type=int, nargs=3, default=Recipe().steps, help="of the three phases; 0 leaves one out")
    training.add_argument(
        "--minutes", type=float, nargs=3, default=Recipe().minutes, help="a phase ends after this time if its steps are not done by then"
    )
    training.add_argument("--instants", type=int, nargs=3, default=Recipe().instants, help="of faces in a step of each phase")
    training.add_argument("--name", default="sync", help="of the run")
    training.add_argument("--start", type=Path, help="a checkpoint to begin from")
    paper = commands.add_parser("baseline", help="train networks of the AVA paper on the same material, and measure them on held-out people")
    paper.add_argument("networks", nargs="*", default=["ava-static", "ava-gru"], help=f"of {', '.join(PAPER)}")
    paper.add_argument("--steps", type=int, default=BASELINE_STEPS, help=f"of {BASELINE_INSTANTS} instants of faces")
    exporting = commands.add_parser("export", help="write the three ONNX files and the manifest of a run")
    exporting.add_argument("--name", default="sync", help="of the run")
    judging = commands.add_parser("evaluate", help="measure models and runs on held-out people")
    judging.add_argument("names", nargs="*", default=[NAME, "lrasd_ava"], help=f"models of the registry ({NAME}, lrasd_ava) or run:NAME")
    commands.add_parser("smoke", help="all steps on a few tracks, in half a minute")
    told = parser.parse_args()
    if told.command == "prepare":
        prepare(TRACKS, PORTRAITS)
    elif told.command == "train":
        recipe = Recipe(steps=tuple(told.steps), instants=tuple(told.instants), minutes=tuple(told.minutes))
        train(recipe, RUNS / told.name, start=told.start)
    elif told.command == "baseline":
        single_thread(0)
        baseline(told.networks, told.steps)
    elif told.command == "export":
        single_thread(0)
        folder = RUNS / told.name
        made = json.loads((folder / "config.json").read_text())
        report(ship(folder / "checkpoint.pt", Bench(Clips(TRACKS)), f"run {made['digest']} of {made['commit']}"))
    elif told.command == "evaluate":
        single_thread(0)
        evaluate(told.names)
    elif told.command == "smoke":
        smoke()


def prepare(tracks: Path, portraits: Path, limit: int | None = None, drawn: int = 440) -> None:
    """Fill the folders of tracks and portraits."""
    rng = single_thread(1)
    prepare_tracks(tracks, limit=limit)
    prepare_teachers(tracks)
    prepare_portraits(rng, portraits, tracks, count=drawn, held_out=drawn // 11)


def evaluate(names: list[str]) -> None:
    """Print the numbers of models and runs, a line of JSON each: on held-out tracks, and on portraits of held-out people."""
    benches = {"tracks": Bench(Clips(TRACKS)), "portraits": Bench(Clips(PORTRAITS))}
    for name in names:
        if name.startswith("run:"):
            folder = RUNS / name.removeprefix("run:")
            network = in_torch(load(folder / "checkpoint.pt", json.loads((folder / "config.json").read_text())["config"]["network"]))
        else:
            network = in_file(find("speaking", [ModelFolder(WEIGHTS), ModelFolder(SHARED / "models")], name))
        for material, bench in benches.items():
            report({"name": name, "material": material, **bench.measure(network)})


def baseline(networks: list[str], steps: int) -> None:
    """Train networks of the AVA paper and print their numbers on held-out tracks; the face's tower is judged alone too."""
    bench = Bench(Clips(TRACKS))
    for name in networks:
        checkpoint = train(paper_recipe(name, steps), RUNS / name)
        towers = load(checkpoint, name)
        report({"name": name, "parameters": sum(weight.numel() for weight in towers.parameters()), **bench.measure(in_torch(towers))})
        if isinstance(towers, TwoTowers):
            report({"name": f"{name}, face alone", **bench.measure(in_torch(FaceAlone(towers)))})


def smoke() -> None:
    """Prepare a few tracks, train each phase and a baseline for two steps, export, compare."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tracks, portraits, shipped = folder / "tracks", folder / "portraits", folder / "shipped"
        prepare(tracks, portraits, limit=2, drawn=3)
        recipe = Recipe(steps=(2, 2, 2), instants=(50, 64, 50), lengths=(25,))
        checkpoint = train(recipe, folder / "run", tracks, portraits)
        train(paper_recipe("ava-gru", steps=2, instants=50, lengths=(25,)), folder / "baseline", tracks, portraits)
        shipped.mkdir()
        report(ship(checkpoint, Bench(Clips(tracks), limit=50), "smoke", shipped, shipped))


def report(told: Mapping[str, float | str]) -> None:
    """Print one line of JSON."""
    print(json.dumps({name: round(value, 5) if isinstance(value, float) else value for name, value in told.items()}), flush=True)


if __name__ == "__main__":
    main()

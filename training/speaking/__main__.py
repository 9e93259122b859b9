"""`python -m training.speaking prepare|train|…`: the speaking network from tracks to ONNX files."""

from __future__ import annotations

import argparse
from pathlib import Path

from training.run import single_thread
from training.speaking.data import prepare_teachers, prepare_tracks
from training.speaking.portraits import prepare_portraits
from training.speaking.train import Recipe, train


def main() -> None:
    """Read the command line and do one step."""
    parser = argparse.ArgumentParser(prog="python -m training.speaking", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("prepare", help="decode the tracks, ask the teachers, draw talking portraits; once")
    training = commands.add_parser("train", help="train a network")
    training.add_argument("--network", choices=("sync",), default="sync")
    training.add_argument("--steps", type=int, default=Recipe.steps)
    training.add_argument("--minutes", type=float, default=Recipe.minutes, help="end after this time if the steps are not done by then")
    training.add_argument("--name", help="of the run; else that of the network")
    training.add_argument("--start", type=Path, help="a checkpoint to begin from")
    told = parser.parse_args()
    if told.command == "prepare":
        rng = single_thread(1)
        prepare_tracks()
        prepare_teachers()
        prepare_portraits(rng)
    elif told.command == "train":
        train(Recipe(network=told.network, steps=told.steps, minutes=told.minutes), told.name or told.network, told.start)


if __name__ == "__main__":
    main()

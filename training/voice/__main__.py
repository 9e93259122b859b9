"""`python -m training.voice prepare|train|evaluate|smoke`: is there enough in the speaking tracks to know people by their voices?"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

from training.run import OUT, single_thread
from training.speaking.data import TRACKS, prepare_tracks
from training.voice.data import VOICES, Voices, prepare
from training.voice.evaluate import Stretches, by_networks, by_spectrum, measure
from training.voice.train import THIRDS, Recipe, load, train

RUNS = OUT / "voice" / "runs"
SECONDS = (1.5, 3.0, 6.0)


def main() -> None:
    """Read the command line and do one step."""
    parser = argparse.ArgumentParser(prog="python -m training.voice", description=__doc__)
    parser.add_argument("command", choices=["prepare", "train", "evaluate", "smoke"])
    parser.add_argument("--people", type=float, default=1.0, help="share of the people to learn from (train, evaluate)")
    parser.add_argument("--steps", type=int, default=Recipe.steps, help="of each of the three runs (train)")
    told = parser.parse_args()
    single_thread(Recipe.seed)
    if told.command == "prepare":
        prepare_tracks(TRACKS)
        prepare()
    elif told.command == "train":
        train_all(Voices(VOICES), Recipe(people=told.people, steps=told.steps), RUNS)
    elif told.command == "evaluate":
        report(Voices(VOICES), RUNS, told.people, SECONDS)
    else:
        smoke()


def train_all(voices: Voices, recipe: Recipe, runs: Path) -> None:
    """Train a network without each third of the people."""
    for left_out in range(THIRDS):
        train(voices, replace(recipe, left_out=left_out), folder_of(runs, recipe.people, left_out))


def report(voices: Voices, runs: Path, people: float, seconds: tuple[float, ...]) -> None:
    """Print the equal error rates, a line of JSON for each length, by the networks and by what knows no voices, and those of pauses."""
    networks = [load(folder_of(runs, people, left_out)) for left_out in range(THIRDS)]
    asked = [("speech", length) for length in seconds] + [("pauses", 1.0)]
    for what, length in asked:
        stretches = Stretches.cut(voices, int(100 * length), pauses=what == "pauses")
        for by, vectors in (("network", by_networks(networks, stretches)), ("mean spectrum", by_spectrum(stretches))):
            print(json.dumps({"of": what, "seconds": length, "by": by, **measure(stretches, vectors)}), flush=True)


def folder_of(runs: Path, people: float, left_out: int) -> Path:
    """Return where a run lies."""
    return runs / f"people{round(100 * people)}_without{left_out}"


def smoke() -> None:
    """All steps on a few tracks: they must run, they need not learn."""
    with tempfile.TemporaryDirectory() as folder:
        tracks, voices = Path(folder) / "tracks", Path(folder) / "voices"
        prepare_tracks(tracks, limit=4)
        prepare(voices, tracks)
        train_all(Voices(voices), Recipe(steps=2, batch=8, rows=100), Path(folder) / "runs")
        report(Voices(voices), Path(folder) / "runs", 1.0, (1.0,))


if __name__ == "__main__":
    main()

"""What the tests run on when nothing was put beside the checkout: our own networks, and short programmes made on the spot."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from asd_core.demo.programmes import make_programmes
from asd_core.demo.script import Line, Scene

OUR_MODELS = {"detector": "rollcall_face", "speaking": "rollcall_sync", "embedder": "rollcall_id"}

# Two people in both, seen alone, side by side and across a cut; five to seven seconds each.
PLAYS = {
    "alone": (
        Scene("single", ("hopper",), (Line("hopper", 0.4, 5),), tail=0.4),
        Scene("single", ("collins",), (Line("collins", 0.4, 5),), tail=0.4),
    ),
    "together": (Scene("split", ("collins", "hopper"), (Line("collins", 0.5, 6), Line("hopper", 0.7, 6)), tail=0.5),),
}
SHORT_FILMS = tuple(f"{name}.mp4" for name in PLAYS)
LONG_FILM = "conversation.mp4"  # of the demo: some twenty seconds


def make_films(folder: Path) -> Path:
    """Make the short films in a folder, unless they stand there already; return it."""
    make_programmes(folder, episodes=len(PLAYS), plays=PLAYS)
    return folder


def folder_of(folder: Path, *films: Path) -> Path:
    """Copy films into a folder, old enough to have settled; return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for film in films:
        shutil.copyfile(film, folder / film.name)
        os.utime(folder / film.name, (1e9, 1e9))
    return folder

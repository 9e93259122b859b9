"""`python -m training.voice prepare|evaluate|smoke`: is there enough in the speaking tracks to know people by their voices?"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from training.run import single_thread
from training.speaking.data import TRACKS, prepare_tracks
from training.voice.data import THIRDS, VOICES, Voices, place, prepare, third
from training.voice.evaluate import Stretches, by_discriminants, by_spectrum, in_one_recording, measure
from training.voice.linear import learn

SHARES = (1.0, 0.5, 0.25, 0.125)  # of the people learnt from: the learning curve
SECONDS = (1.0, 1.5, 3.0, 6.0)
CURVE_SECONDS = 3.0


def main() -> None:
    """Read the command line and do one step."""
    parser = argparse.ArgumentParser(prog="python -m training.voice", description=__doc__)
    parser.add_argument("command", choices=["prepare", "evaluate", "smoke"])
    told = parser.parse_args()
    single_thread(11)
    if told.command == "prepare":
        prepare_tracks(TRACKS)
        prepare()
    elif told.command == "evaluate":
        evaluate(Voices(VOICES), SHARES, SECONDS)
    else:
        smoke()


def evaluate(voices: Voices, shares: tuple[float, ...], seconds: tuple[float, ...]) -> None:
    """Learn without each third of the people in turn and print the equal error rates, a line of JSON each."""
    for share in shares:
        learnt = [learn(voices, learns_from(left_out, share)) for left_out in range(THIRDS)]
        for length in seconds if share == 1 else [CURVE_SECONDS]:
            speech = Stretches.cut(voices, round(100 * length))
            tell({"of": "speech", "learnt from": share, "seconds": length, **measure(speech, by_discriminants(learnt, speech))})
        if share == 1:
            pauses = Stretches.cut(voices, 100, pauses=True)
            tell({"of": "pauses", "seconds": 1.0, **measure(pauses, by_discriminants(learnt, pauses))})
            tell({"of": "pauses, their mean spectrum", "seconds": 1.0, **measure(pauses, by_spectrum(pauses))})
            tell({"of": "two people of one recording", "seconds": 1.5, **in_one_recording(voices, 150)})


def learns_from(left_out: int, share: float) -> Callable[[str], bool]:
    """Return who is learnt from: a share of the people outside one third."""
    return lambda person: third(person) != left_out and (place(person) * THIRDS) % 1 < share


def tell(row: dict[str, object]) -> None:
    """Print one line of JSON."""
    print(json.dumps(row), flush=True)


def smoke() -> None:
    """All steps on a few tracks: they must run, the numbers mean nothing."""
    with tempfile.TemporaryDirectory() as folder:
        tracks, voices = Path(folder) / "tracks", Path(folder) / "voices"
        prepare_tracks(tracks, limit=4)
        prepare(voices, tracks)
        evaluate(Voices(voices), (1.0,), (1.0,))


if __name__ == "__main__":
    main()

"""Measures the options of `decide` on scenes made of the labelled training tracks of ../shared/train/asd, and on nothing else.

    python -m benchmarks.calibrate_turns lrasd_ava [--people train|validation|all] [--models FOLDER] [--sweep]
        [--options price=3 overlap=2 ...] [--windows 6] [--each 20] [--seed 1] [--json FILE]

`benchmarks/turn_scenes.py` says what the scenes are. A network trained on these tracks is judged with `--people validation`: those 43 people
are in none of its training. Errors are shares of the true speech: the diarization error, with the faces' names given, within sure labels
only and outside 80 ms around every change. `pooled` is over all kinds but foreign_lips, which films and dubbed programmes have and
which tests the network more than the rule. The speech of the truth is where a voice detector of the same make hears it on the clean sound,
so edges of speech look better than they are.

    --sweep        each option halved, doubled or shifted, and other windows
    calibration    slope and offset that fit these scenes best, by log loss, beside the manifest's
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from asd_core.models.registry import ModelFolder, find
from asd_core.models.session import open_session
from asd_core.speech.score import Calibration, ScoreOptions, open_speaking
from asd_core.turns.decide import TurnOptions
from benchmarks.labelled_tracks import ASD, digest, read_tracks, visual_features
from benchmarks.turn_scenes import KINDS, make_scenes
from benchmarks.turn_trials import Tally, Trial, above_zero, by_kind, labelled_logits, run_trials, tally, who_speaks

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "asd_core" / "models" / "weights"
OUT = ROOT / "out" / "calibration"
NOT_POOLED = ("foreign_lips",)
SWEEP: dict[str, tuple[float, ...]] = {
    "lips": (0.125, 0.25, 0.5),
    "voice": (0.375, 0.75, 1.5),
    "rival": (-1.5, -1.0, -0.5, 0.0, 0.5),
    "overlap": (0.0, 1.0, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0),
    "price": (1.0, 2.0, 4.0),
    "certain": (3.0, 5.0, 8.0),
    "voice_floor": (0.05, 0.15, 0.3),
    "longest_pause": (0.15, 0.3, 0.6),
    "shortest_turn": (0.12, 0.25, 0.5),
    "sure": (0.8, 0.9, 1.0),
    "reach": (0.1, 0.2, 0.4),
    "shortest_off_screen": (0.25, 0.5, 1.0),
}
WINDOWS = ((1.0, 2.0, 3.0, 4.0, 5.0, 6.0), (2.0,), (6.0,), (8.0,))


def tallies(trials: Sequence[Trial], calibration: Calibration, options: TurnOptions) -> list[tuple[str, Tally]]:
    """Return kind and errors of each scene."""
    found = (who_speaks(trial.turns(calibration, options), [t.id for t in trial.tracks], len(trial.scene.unseen)) for trial in trials)
    return [(trial.scene.kind, tally(trial.scene, rows)) for trial, rows in zip(trials, found, strict=True)]


def judge(trials: Sequence[Trial], calibration: Calibration, options: TurnOptions) -> dict[str, Tally]:
    """Return the errors by kind of scene, `pooled` last."""
    return with_pool(by_kind(tallies(trials, calibration, options)))


def interval(scenes: Sequence[tuple[str, Tally]]) -> tuple[float, float]:
    """Return the 95 % interval of the pooled error rate, by drawing scenes anew (their people return, so it is rather too narrow)."""
    counted = np.array([(one.missed + one.false_alarm + one.confusion, one.reference) for kind, one in scenes if kind not in NOT_POOLED])
    drawn = counted[np.random.default_rng(0).integers(0, len(counted), (1000, len(counted)))].sum(axis=1)
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], (2.5, 97.5))
    return float(low), float(high)


def with_pool(kinds: dict[str, Tally]) -> dict[str, Tally]:
    return kinds | {"pooled": sum((one for kind, one in kinds.items() if kind not in NOT_POOLED), Tally())}


def fit_calibration(logits: np.ndarray, speaks: np.ndarray) -> Calibration:
    """Return the slope and offset of least log loss (Platt 1999, without his prior)."""
    signs = np.where(speaks, 1.0, -1.0)

    def loss(told: np.ndarray) -> float:
        return float(np.logaddexp(0, -signs * (told[0] * logits + told[1])).mean())

    slope, offset = minimize(loss, np.array([1.0, 0.0]), method="Nelder-Mead").x
    return Calibration(round(float(slope), 2), round(float(offset), 2))


def calibration_errors(calibration: Calibration, logits: np.ndarray, speaks: np.ndarray) -> tuple[float, float]:
    """Return the mean log loss and the expected calibration error over ten bins of equal width."""
    p = np.clip(calibration.probabilities(logits).astype(np.float64), 1e-6, 1 - 1e-6)
    bins = np.minimum((p * 10).astype(int), 9)
    gaps = [abs(float(p[bins == b].mean() - speaks[bins == b].mean())) * float((bins == b).mean()) for b in range(10) if (bins == b).any()]
    return float(-np.where(speaks, np.log(p), np.log1p(-p)).mean()), sum(gaps)


def print_kinds(kinds: dict[str, Tally]) -> None:
    print(
        "| scenes | minutes | missed % | false alarm % | confusion % | error % | changes a minute (true) | two voices: found, invented s of true s |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for kind, one in kinds.items():
        shares = " | ".join(f"{100 * part / max(one.reference, 1e-9):.1f}" for part in (one.missed, one.false_alarm, one.confusion))
        minutes = one.seconds / 60
        print(
            f"| {kind} | {minutes:.1f} | {shares} | {100 * one.error_rate:.1f} | {one.changes / minutes:.1f} ({one.true_changes / minutes:.1f}) "
            f"| {one.two_found:.0f}, {one.two_invented:.0f} of {one.two_true:.0f} |"
        )


def print_row(name: str, kinds: dict[str, Tally]) -> None:
    pool = kinds["pooled"]
    every = " | ".join(f"{100 * kinds[kind].error_rate:.1f}" for kind in ("pooled", *KINDS) if kind in kinds)
    print(f"| {name} | {every} | {60 * pool.changes / pool.seconds:.1f} | {pool.two_found:.0f}, {pool.two_invented:.0f} |", flush=True)


def print_heading(kinds: dict[str, Tally]) -> None:
    names = [kind for kind in ("pooled", *KINDS) if kind in kinds]
    print(f"| error % | {' | '.join(names)} | changes a minute | two voices found, invented s |")
    print("|---" * (len(names) + 3) + "|")


def told_options(told: Sequence[str]) -> TurnOptions:
    return replace(TurnOptions(), **{name: float(value) for name, value in (pair.split("=") for pair in told)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("speaking", help="name of the speaking model")
    parser.add_argument("--models", type=Path, action="append", help="folder with model files; also looked in: those that ship with the package")
    parser.add_argument("--asd", type=Path, default=ASD)
    parser.add_argument("--people", choices=("train", "validation", "all"), default="train")
    parser.add_argument("--options", nargs="*", default=[], metavar="NAME=VALUE", help="options of decide")
    parser.add_argument("--windows", nargs="*", type=float, help="seconds of the windows of score")
    parser.add_argument("--sweep", action="store_true", help="print the effect of the options")
    parser.add_argument("--each", type=int, default=20, help="made scenes of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cache", type=Path, default=OUT)
    parser.add_argument("--json", type=Path, help="write the measurements here")
    told = parser.parse_args()
    folders = [ModelFolder(path) for path in told.models or [ASD.parents[1] / "models"]]
    model = find("speaking", [*folders, ModelFolder(SHIPPED)], told.speaking)
    network = open_speaking(model, open_session)
    options, windows = told_options(told.options), ScoreOptions() if not told.windows else ScoreOptions(windows=tuple(told.windows))
    tracks = read_tracks(told.asd, told.cache, told.people)
    features = visual_features(tracks, told.asd, network, told.cache / "visual" / digest(model.paths["visual"].read_bytes()))
    scenes = make_scenes(tracks, seed=told.seed, each=told.each)
    print(f"{len(tracks)} tracks of {len({t.person for t in tracks})} people, {len(scenes)} scenes", file=sys.stderr)

    def trials(windows: ScoreOptions) -> list[Trial]:
        return run_trials(scenes, tracks, features, model, network, windows, told.cache)

    usual = trials(windows)
    each = tallies(usual, network.calibration, options)
    kinds = with_pool(by_kind(each))
    print(f"{told.speaking}, {told.people} people, {options}\n")
    print_kinds(kinds)
    print("\npooled error, 95 % interval over scenes: {:.1%} to {:.1%}".format(*interval(each)))
    logits, speaks = labelled_logits([trial for trial in usual if trial.scene.kind not in NOT_POOLED])
    print(f"\ncalibration, {len(logits):,} instants of faces, {speaks.mean():.0%} speaking:")
    fitted = fit_calibration(logits, speaks)
    for name, calibration in (("manifest", network.calibration), ("fitted", fitted)):
        loss, error = calibration_errors(calibration, logits, speaks)
        print(f"  {name}: slope {calibration.slope:g}, offset {calibration.offset:g}: log loss {loss:.3f}, calibration error {error:.3f}")
    print()
    print_heading(kinds)
    print_row("as told", kinds)
    print_row("fitted calibration", judge(usual, fitted, options))
    print_row("every instant alone", judge(usual, network.calibration, TurnOptions.preset("off")))
    print_row("mean logit > 0", with_pool(by_kind((trial.scene.kind, tally(trial.scene, above_zero(trial))) for trial in usual)))
    if told.sweep:
        for name, values in SWEEP.items():
            for value in values:
                print_row(f"{name} {value:g}", judge(usual, network.calibration, replace(options, **{name: value})))
        for seconds in WINDOWS:
            others = trials(replace(windows, windows=seconds))
            print_row(f"windows {', '.join(f'{s:g}' for s in seconds)} s", judge(others, network.calibration, options))
    if told.json is not None:
        rows = {kind: asdict(one) | {"error_rate": one.error_rate} for kind, one in kinds.items()}
        told.json.write_text(json.dumps({"model": told.speaking, "people": told.people, "kinds": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

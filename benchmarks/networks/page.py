"""The networks' section of docs/accuracy.md as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from asd_core.models.registry import Model
from benchmarks.accuracy_page import NETWORKS_HEADING
from benchmarks.networks import detectors, embedders
from benchmarks.networks import foreign_voices as voices
from benchmarks.networks.material import TRACKS_BY

HEADING = NETWORKS_HEADING
OWN_PREFIX = "rollcall_"
BASELINE = "lrasd_ava"

HEAD = """
Written by `python -m benchmarks.networks`, one half of `make accuracy`. Ours, which come with the package, are in **bold**; the others are public.
All meet the same data through the line's own code; none of ours was trained on it; where its figures were known when a choice was
made is said in `docs/decisions/0005-test-set.md`. The clips are few and short: differences of a few points mean little. Intervals are 95 %,
from 2,000 bootstrap draws of clips or people. Whether the makers of the public networks used LFW's people, or those of the clips, is not known.
"""
DETECTOR_HEAD = f"""
Reference: `{detectors.REFERENCE}` on the picture fitted into 640 x 640, one pass. Its faces with a score of at least {detectors.SURE} and a longer
side of at least {detectors.SMALLEST:.0f} source pixels are to be found at IoU {detectors.MATCH_IOU}. A box of that size is extra where no box of
the reference with a score of {detectors.POSSIBLE} overlaps it by IoU {detectors.EXCUSE_IOU}. One picture every half second of every clip; each
network in one pass at the line's input (640 x 384) and its manifest's thresholds, without the line's second look and tracking. Landmark error: mean
distance of the five points as a share of the reference's distance between the eyes. The reference is a network, not a truth, and
`scrfd_500m_kps` is its smaller sister: it agrees with it for that reason too.
"""
CLASS_HEAD = """
Recall and mean landmark error by the longer side in source pixels, and by pose: where the reference puts the nose along the line of the eyes
(three-quarter: more than 0.35 half distances off the middle; profile: beyond an eye, where the eyes are close together and the share is large).
"""
LFW_HEAD = f"""
LFW: `pairs.txt` (ten folds, 6,000 pairs; not LFW's own View 2) and `pairsDevTest.txt` (1,000), pictures through detect (`{embedders.CHIPS_BY}` for
all; of the sure faces the one nearest the centre), align, embed. Accuracy: threshold from the other nine folds, mean and standard error. In brackets
the cosine at that rate of false accepts.
"""
CLIP_FACES_HEAD = """
People of the clips, {people} in all. Same pairs are one person in two clips ({twice} people: the pairs are many, the people are not), different pairs
are different people of one clip or two. Chips as the line keeps them, tracks by `{by}`; a track's vector is the mean of its chips'.
"""
PRECISION_HEAD = f"""
All on the same tracks and crops (the line's, by `{TRACKS_BY}`), scored by the line's `score_tracks`: raw logits, without calibration, competition,
voice gate or smoothing over time.

**Average precision** over face-frames: AVA's, on the boxes given with `three_on_stage_msdwild00001`; and pooled over all instants of tracks of known
people, in the labelled clips in which somebody visible speaks, by the kind of truth. Where the truth is voice detection, whoever is visible is given
the voice: there a voice detector does well.
"""
FOREIGN_HEAD = """
**Own against foreign voice.** {pieces} stretches of five seconds of {people} people who are truly the voice heard, in {pairs} pairs from different
programmes; each picture with its own sound and with the other's, at the instants at which both are voiced (voice detector at least {voiced}, and by
the truth the person speaks alone). Pairs, seed ({seed}) and rules are committed: `benchmarks/networks/foreign_voices.json` and `.py`. Both sounds of
a pair are cut at the same edges, scaled to the same level and meet both pictures, so sound alone or picture alone gives 0.5 by construction; the
control (picture features replaced by their mean) shows it. All of these people are men, so sex gives nothing away; language and room may.
"Within" is the mean over pairs of the area within one picture. "A second off" pairs stretches of one person a second apart instead ({apart}
instants): the same voice, sex, language and room, so that only time tells right from wrong.
"""
STAND_IN_HEAD = """
**No voice at all.** All tracks of the same people ({instants} instants), with their own sound, and with digital silence, white noise and chords made
by code in its place: share of instants with a raw logit above 0, no gate before it, and changes of the raw logit's sign a minute.
"""
COST_HEAD = """
Parameters and operations (two a multiply-add; convolutions, matrix products, recurrent layers) are counted from the files. Time is processor time of
one thread, the least of several runs in turn, of the network alone. A picture is 640 x 384; a chip one face, in batches of 8; a face-frame one crop,
in runs of 150. The head is counted per instant of one window; the line runs it over each instant in two (ours) to a dozen windows.
"""


def section(models: Mapping[str, Sequence[Model]], marks: Mapping[str, Any]) -> str:
    """Return the section, from its heading on."""
    parts = [HEADING, HEAD, _bars(marks)]
    if marks["detector"]:
        parts += ["### Detectors", DETECTOR_HEAD, _detectors(marks["detector"]), CLASS_HEAD, _classes(marks["detector"])]
    if marks["lfw"]:
        faces = next(iter(marks["clip_faces"].values()))
        clip_faces_head = CLIP_FACES_HEAD.format(people=faces["people"], twice=faces["chips"]["same_people"], by=TRACKS_BY)
        parts += ["### Embedders", LFW_HEAD, _lfw(marks), clip_faces_head, _clip_faces(marks["clip_faces"])]
    if marks["speaking"]:
        some = next(iter(marks["speaking"].values()))
        told = {name: some["foreign"][name] for name in ("pieces", "people", "pairs")} | {"apart": some["foreign"]["second_off"]["instants"]}
        parts += ["### Speaking", PRECISION_HEAD, _precision(marks["speaking"])]
        parts += [FOREIGN_HEAD.format(**told, voiced=voices.VOICED, seed=voices.SEED), _foreign(marks["speaking"]), _by_person(marks["speaking"])]
        parts += [STAND_IN_HEAD.format(instants=some["sounds"]["own"]["instants"]), _stand_ins(marks["speaking"])]
    parts += ["### Cost", COST_HEAD, _cost(models, marks["cost"])]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


# ---- what was asked of ours --------------------------------------------------------------------------------------------------


def _bars(marks: Mapping[str, Any]) -> str:
    """Return what is asked of our networks and what they reach; nothing where none is there."""
    rows = [*_face_bars(marks), *_speaking_bars(marks["speaking"])]
    return _table(("asked of ours", "bar", "reached", "met"), [[*told, "yes" if met else "**no**"] for *told, met in rows]) if rows else ""


def _face_bars(marks: Mapping[str, Any]) -> list[tuple[str, str, str, bool]]:
    rows = []
    for found in _ours(marks["detector"]):
        rows.append(("detector: recall at IoU 0.5", "at least 0.95", f"{found['recall']:.3f}", found["recall"] >= 0.95))
        rows.append(("detector: extra boxes", "under 3 %", _percent(found["extra"]), found["extra"] < 0.03))
    for by, found in ((embedders.CHIPS_BY, _ours(marks["lfw"])), ("our detector", _ours(marks["own_lfw"]))):
        for told in found:
            accuracy = told["pairs"]["accuracy"]
            rows.append((f"embedder: accuracy on LFW's pairs, faces by {by}", "at least 0.97", f"{accuracy:.4f}", accuracy >= 0.97))
    return rows


def _speaking_bars(found: Mapping[str, Any]) -> list[tuple[str, str, str, bool]]:
    rows = []
    public = [told for name, told in found.items() if not name.startswith(OWN_PREFIX)]
    for ours in _ours(found):
        if BASELINE in found:
            for what, of in (("given boxes", lambda told: told["given_boxes"]), ("labelled clips", lambda told: told["precision"]["all"]["value"])):
                bar, reached = of(found[BASELINE]), of(ours)
                rows.append((f"speaking: average precision, {what}", f"within 3 points of {_percent(bar)}", _percent(reached), reached >= bar - 0.03))
        best = max((told["foreign"]["area"] for told in public), default=0.5)
        area, control = ours["foreign"]["area"], ours["foreign"]["sound_only"]
        rows.append(("speaking: own against foreign voice", f"at least 0.80 (best public set {best:.3f})", f"{area:.3f}", area >= 0.8))
        rows.append(("speaking: the same from sound alone", "0.5", f"{control:.3f}", abs(control - 0.5) < 0.005))
        for name in ("silence", "noise", "music"):
            above = ours["sounds"][name]["above"]
            rows.append((f"speaking: raw logit above 0 under {name}", "at most 2 %", _percent(above), above <= 0.02))
    return rows


def _ours(found: Mapping[str, Any]) -> list[Any]:
    return [told for name, told in found.items() if name.startswith(OWN_PREFIX)]


# ---- tables ------------------------------------------------------------------------------------------------------------------


def _detectors(found: Mapping[str, Any]) -> str:
    rows = []
    for name, told in found.items():
        recall = f"{told['recall']:.3f} ({told['recall_interval'][0]:.3f} to {told['recall_interval'][1]:.3f})"
        extra = f"{_percent(told['extra'])} ({100 * told['extra_interval'][0]:.1f} to {100 * told['extra_interval'][1]:.1f})"
        errors = f"{_number(told['landmark_mean'])}, {_number(told['landmark_median'])}"
        rows.append([_name(name), f"{told['pictures']}, {told['faces']}", recall, str(told["boxes"]), extra, errors])
    return _table(("network", "pictures, faces", "recall", "boxes", "extra boxes", "landmark error: mean, median"), rows)


def _classes(found: Mapping[str, Any]) -> str:
    some = next(iter(found.values()))["classes"]
    head = ["network", *(f"{name} (n {of['faces']})" for name, of in some.items())]
    rows = [[_name(n), *(f"{_number(of['recall'])}, {_number(of['landmark_mean'])}" for of in told["classes"].values())] for n, told in found.items()]
    return _table(head, rows)


def _lfw(marks: Mapping[str, Any]) -> str:
    rows = []
    for name in marks["lfw"]:
        for by, found in ((embedders.CHIPS_BY, marks["lfw"]), ("our own", marks["own_lfw"])):
            if name in found:
                told = found[name]
                pairs, quick = told["pairs"], told["dev_test"]
                accuracy = f"{100 * pairs['accuracy']:.2f} ± {100 * pairs['standard_error']:.2f} %"
                unseen = f"{told['without_face']} of {told['pictures']}"
                means = f"{pairs['same_mean']:.3f}, {pairs['different_mean']:.3f}"
                rows.append([_name(name), by, unseen, accuracy, _tar(pairs, "0.01"), _tar(pairs, "0.001"), _percent(quick["accuracy"]), means])
    head = (
        "network",
        "detector",
        "without a face",
        "accuracy, pairs.txt",
        "TAR at FAR 1 %",
        "at 0.1 %",
        "pairsDevTest",
        "mean cosine: same, different",
    )
    return _table(head, rows)


def _clip_faces(found: Mapping[str, Any]) -> str:
    rows = []
    for name, told in found.items():
        for kind in ("chips", "tracks"):
            of = told[kind]
            means = f"{of['same_mean']:.3f}, {of['different_mean']:.3f}"
            pairs = f"{of['same']}, {of['different']}"
            rows.append([_name(name), kind, pairs, f"{of['area']:.4f}", _tar(of, "0.01"), _tar(of, "0.001"), means])
    return _table(
        ("network", "of", "same, different pairs", "area under the ROC", "TAR at FAR 1 %", "at 0.1 %", "mean cosine: same, different"), rows
    )


def _precision(found: Mapping[str, Any]) -> str:
    some = next(iter(found.values()))["precision"]
    kinds = {"trusted": "label, exact, hand", "vad": "voice detection", "all": "all"}
    head = ["network", "given boxes", *(f"{words} (n {some[kind]['instants']}, speaking {some[kind]['positives']})" for kind, words in kinds.items())]
    rows = [
        [_name(name), _percent(told["given_boxes"]), *(_percent(told["precision"][kind]["value"]) for kind in kinds)] for name, told in found.items()
    ]
    return _table(head, rows)


def _foreign(found: Mapping[str, Any]) -> str:
    rows = []
    for name, told in found.items():
        of = told["foreign"]
        area = f"{of['area']:.3f} ({of['interval'][0]:.3f} to {of['interval'][1]:.3f})"
        others = [f"{value:.3f}" for value in (of["within"], of["second_off"]["area"], of["sound_only"])]
        rows.append([_name(name), area, *others, _percent(of["own_above"]), _percent(of["foreign_above"])])
    instants = next(iter(found.values()))["foreign"]["instants"]
    head = (
        "network",
        f"area under the ROC (n {instants} each)",
        "within",
        "a second off",
        "from sound alone",
        "logit above 0: own voice",
        "foreign voice",
    )
    return _table(head, rows)


def _by_person(found: Mapping[str, Any]) -> str:
    people = sorted(next(iter(found.values()))["foreign"]["by_person"])
    rows = [[_name(name), *(_number(told["foreign"]["by_person"].get(person), 2) for person in people)] for name, told in found.items()]
    return _table(["area by person", *people], rows)


def _stand_ins(found: Mapping[str, Any]) -> str:
    rows = []
    for name, told in found.items():
        own = told["sounds"]["own"]
        others = [f"{_percent(told['sounds'][kind]['above'])}, {told['sounds'][kind]['flips']:.1f}" for kind in ("silence", "noise", "music")]
        rows.append([_name(name), f"{_percent(own['above_speaking'])}, {_percent(own['above_pausing'])}", f"{own['flips']:.1f}", *others])
    return _table(("network", "own sound, above 0: speaking, not", "flips a minute", "silence: above 0, flips", "noise", "music"), rows)


def _cost(models: Mapping[str, Sequence[Model]], costs: Mapping[str, Any]) -> str:
    role_of = {model.name: role for role, found in models.items() for model in found}
    rows = []
    for name, told in costs.items():
        parts = list(told["parts"].values())
        operations = "; ".join(f"{part['operations'] / 1e6:.4g} per {part['item']}" for part in parts)
        times = "; ".join(f"{1000 * part['seconds']:.3g}" for part in parts)
        size = f"{told['bytes'] / 1e6:.2f} MB"
        rows.append([_name(name), role_of.get(name, "reference"), f"{told['parameters']:,}", size, operations, times, told["licence"]])
    return _table(("network", "role", "parameters", "file", "MFLOP an item", "CPU ms an item", "licence"), rows)


def _name(name: str) -> str:
    return f"**`{name}`**" if name.startswith(OWN_PREFIX) else f"`{name}`"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _tar(of: Mapping[str, Any], far: str) -> str:
    share, cosine = of["tar"][far]
    return f"{100 * share:.1f} % ({cosine:.3f})"

"""`make benchmark-speed`: how fast the line is, how near its floor, how flat its memory, and how it compares with the reference recipe.

Every figure comes from a process of its own. Speed is CPU seconds (all threads), because machines are shared: "x real time" is two cores'
worth of seconds over the CPU seconds that one second of video takes; wall time stands beside it. The floor is the same decoding and the
same network calls, as many as the line made, each called alone on one thread with nothing in between. Writes docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.material import make_material

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
OUT = ROOT / "out" / "speed"
CASES = (("720p", 1), ("720p", 3), ("1080p", 1), ("1080p", 3))
CORES = 2
ROLES = ("detector", "speaking", "embedder")
Models = dict[str, str]
BEST: Models = {"detector": "scrfd_500m_kps", "speaking": "lrasd_ava", "embedder": "edgeface_xs_512"}
SETS: dict[str, Models] = {  # whole lines that are compared; the lightest takes the cheapest public network of every role
    "Rollcall's own": {"detector": "rollcall_face", "speaking": "rollcall_sync", "embedder": "rollcall_id"},
    "public, lightest": {"detector": "yunet_s_dynamic", "speaking": "lrasd_ava", "embedder": "edgeface_xxs_512"},
    "public, free for commerce": {"detector": "yunet_n_dynamic", "speaking": "lrasd_ava", "embedder": "mobilefacenet_arcface_128"},
    "public, as in the tables above": BEST,
}
SET_RUNS = 3  # of each, in turns; the quickest counts
NOT_MEASURED = "Not measured in this version."
LARGER_DETECTOR = "scrfd_2.5g_kps"  # the recipe as its cost is usually stated: this one, at 640 x 640, on every frame


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only",
        choices=list(MEASURES),
        action="append",
        help="measure this anew; the rest of the page is as measured last, or said not to be measured",
    )
    parser.add_argument("--part", choices=["line", "floor", "recipe", "detours"], help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--task", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        measured = {"line": run_line, "floor": run_floor, "recipe": run_recipe, "detours": run_detours}[arguments.part]
        print(json.dumps(measured(arguments.file, **arguments.task)))
        return
    if not (SHARED / "media" / "clips").is_dir():
        sys.exit("The speed benchmark needs the clips of ../shared/media and the models of ../shared/models.")
    kept = OUT / "speed.json"
    found = json.loads(kept.read_text()) if arguments.only and kept.exists() else {}
    for name in arguments.only or MEASURES:
        found[name] = MEASURES[name]()
        OUT.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(found, indent=1))
    page = as_page(found.get("cases", []), found.get("memory", []), found.get("sets", []))
    (ROOT / "docs" / "performance.md").write_text(page)
    print(page)


def measure_case(size: str, faces: int) -> dict[str, Any]:
    """Return the figures of one minute of one case; beside the recipe at 1080p."""
    path = make_material(SHARED / "media" / "clips", OUT, size=size, faces=faces, minutes=1)
    line = in_process("line", path, models=BEST)
    floor = in_process("floor", path, models=BEST, counts=line["counts"])
    row = {"size": size, "faces": faces, "line": line, "floor": floor}
    if size == "1080p":  # minutes of CPU each
        row["recipe"] = in_process("recipe", path, models=BEST)
        row["detours"] = in_process("detours", path, face_instants=line["counts"]["face_instants"])
        row["larger"] = in_process("recipe", path, models=BEST | {"detector": LARGER_DETECTOR}, square=640)
    return row


def measure_memory(minutes: float) -> dict[str, Any]:
    """Return wall and peak memory of `analyse` on a longer file."""
    path = make_material(SHARED / "media" / "clips", OUT, size="1080p", faces=1, minutes=minutes)
    return {"minutes": minutes, **in_process("line", path, models=BEST)}


def measure_sets() -> list[dict[str, Any]]:
    """Return the line's CPU seconds for a second of 1080p video with each set of networks, by faces; the sets take turns."""
    taken: dict[tuple[str, int], list[float]] = {}
    for faces in (1, 3):
        path = make_material(SHARED / "media" / "clips", OUT, size="1080p", faces=faces, minutes=1)
        for _ in range(SET_RUNS):
            for name, models in SETS.items():
                line = in_process("line", path, models=models)
                taken.setdefault((name, faces), []).append(line["cpu"] / line["seconds"])
    return [{"set": name, "models": models, "cpu": {str(faces): min(taken[name, faces]) for faces in (1, 3)}} for name, models in SETS.items()]


MEASURES: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "cases": lambda: [measure_case(size, faces) for size, faces in CASES],
    "memory": lambda: [measure_memory(minutes) for minutes in (1, 5, 20)],
    "sets": measure_sets,
}


def in_process(part: str, path: Path, **task: Any) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.speed", "--part", part, "--file", str(path), "--task", json.dumps(task)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{part} on {path.name} failed:\n{done.stderr[-3000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{part:7} {path.name:24} cpu {answer['cpu']:7.1f} s  wall {answer['wall']:7.1f} s  peak {answer['peak_mib']:6.0f} MiB", file=sys.stderr)
    return answer


def clocked(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Return what `work` returns, with its CPU seconds, wall seconds and the process's peak memory."""
    cpu, wall = time.process_time(), time.perf_counter()
    answer = work()
    return answer, {
        "cpu": time.process_time() - cpu,
        "wall": time.perf_counter() - wall,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def open_line(models: Models) -> Any:
    from asd_core.analysis import open_networks
    from asd_core.models.registry import ModelFolder, find
    from asd_core.models.session import open_session

    folders = [ModelFolder(ROOT / "asd_core" / "models" / "weights"), ModelFolder(SHARED / "models")]
    return open_networks({role: find(role, folders, models[role]) for role in ROLES}, open_session)


def run_line(path: Path, models: Models) -> dict[str, Any]:
    from asd_core.analysis import analyse_clip

    networks = open_line(models)
    looks = [0]
    detect = networks.detector.detect

    def counted(*args: Any, **named: Any) -> Any:
        looks[0] += 1
        return detect(*args, **named)

    networks.detector.detect = counted
    analysis, clock = clocked(lambda: analyse_clip(path, networks))
    seconds = analysis.info.duration
    counts = {
        "seconds": seconds,
        "detections": looks[0],
        "face_instants": sum(len(t) for t in analysis.tracks),
        "chips": sum(len(c) for c in analysis.chips),
        "tracks": len(analysis.tracks),
        "turns": len(analysis.turns),
    }
    return {**clock, "seconds": seconds, "counts": counts}


def run_floor(path: Path, models: Models, counts: dict[str, Any]) -> dict[str, Any]:
    """Decode and networks, each alone on one thread, as often as the line called them."""
    import av

    from asd_core.speech.activity import load_voice_detector
    from asd_core.speech.mfcc import mfcc_rows

    networks = open_line(models)
    networks.detector.second_look = False  # there are no faces in noise, and the line hardly ever looks twice
    picture = np.random.default_rng(0).integers(0, 255, (360, 640, 3)).astype(np.uint8)
    crops = np.random.default_rng(0).integers(0, 255, (1, 150, 112, 112)).astype(np.uint8)
    chip = np.random.default_rng(0).integers(0, 255, (1, 112, 112, 3)).astype(np.uint8)

    def decode() -> None:
        with av.open(str(path)) as container:
            container.streams.video[0].codec_context.thread_count = 1
            for _ in container.decode(video=0):
                pass
        with av.open(str(path)) as container:
            resampler = av.AudioResampler(format="s16", layout="mono", rate=16000)
            for frame in container.decode(audio=0):
                resampler.resample(frame)

    def listen() -> None:
        voice = load_voice_detector()
        samples = np.zeros(512, np.int16).tobytes()
        for _ in range(int(counts["seconds"] * 16000 / 512)):
            voice.process_chunk(samples)
        mfcc_rows(np.zeros(int(counts["seconds"] * 16000), np.int16))

    parts = {
        "decode": decode,
        "detect": lambda: [networks.detector.detect(picture) for _ in range(counts["detections"])],
        "visual": lambda: [networks.speaking.visual(crops) for _ in range(round(counts["face_instants"] / 150))],
        "listen": listen,
        "embed": lambda: [networks.embedder.embed(chip) for _ in range(counts["chips"])],
    }
    taken = {name: clocked(part)[1] for name, part in parts.items()}
    return {
        "cpu": sum(t["cpu"] for t in taken.values()),
        "wall": sum(t["wall"] for t in taken.values()),
        "peak_mib": max(t["peak_mib"] for t in taken.values()),
        "parts": {name: t["cpu"] for name, t in taken.items()},
    }


def run_detours(path: Path, face_instants: int) -> dict[str, Any]:
    """What the published recipe does with the disk between its steps, and nothing else: its passes over the pictures in place of ours.

    The file is encoded anew at 25 frames a second (MPEG-4, quality 2); every frame becomes a JPEG; the new file is decoded again for the
    shots; the JPEGs are read for the detector and, face by face, for the crops, which are encoded (MPEG-4, 224 x 224) and decoded again.
    """
    import tempfile

    import cv2

    def through_disk() -> None:
        with tempfile.TemporaryDirectory(dir=OUT) as made:
            folder = Path(made)
            _encode(_pictures(path), folder / "video.avi")
            files = []
            for number, picture in enumerate(_pictures(folder / "video.avi")):
                files.append(folder / f"{number:06d}.jpg")
                cv2.imwrite(str(files[-1]), picture)
            for _ in _pictures(folder / "video.avi"):
                pass
            for file in files:
                cv2.imread(str(file))
            read = (cv2.imread(str(files[number % len(files)])) for number in range(face_instants))
            _encode((cv2.resize(picture[:400, :400], (224, 224)) for picture in read), folder / "crop.avi")
            for _ in _pictures(folder / "crop.avi"):
                pass

    return clocked(through_disk)[1]


def _pictures(file: Path) -> Iterator[Any]:
    import av

    with av.open(str(file)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="bgr24")


def _encode(pictures: Iterable[Any], file: Path) -> None:
    import av

    with av.open(str(file), "w") as container:
        stream = None
        for picture in pictures:
            if stream is None:
                stream = container.add_stream("mpeg4", rate=25, options={"qscale": "2", "flags": "+qscale"})
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        if stream is not None:
            container.mux(stream.encode(None))


def run_recipe(path: Path, models: Models, square: int | None = None) -> dict[str, Any]:
    from benchmarks.recipe import run_recipe as recipe

    networks = open_line(models)
    if square is not None:
        networks.detector.input_size_wh = (square, square)
        networks.detector._canvas = lambda _: (square, square)  # the rest of it stays black
    _, clock = clocked(lambda: recipe(path, networks))
    return clock


def as_page(rows: list[dict[str, Any]], memory: list[dict[str, Any]], sets: list[dict[str, Any]]) -> str:
    """Return docs/performance.md."""
    lines = [
        "# Speed and memory",
        "",
        "Made by `make benchmark-speed`; recipe of the material in `benchmarks/material.py`, of the figures in `benchmarks/speed.py`.",
        "H.264 High at 5 Mbit/s and 25 frames/s, AAC, one minute. CPU seconds are those of all threads for one second of video;",
        f"x real time = {CORES} cores / CPU seconds a second. Floor = the same decoding and network calls alone.",
        "",
        "The recipe is the reference recipe on the same networks (`benchmarks/recipe.py`), in memory; *as published* it takes a detour through the",
        "disk in place of its two decodings (the file encoded anew, a JPEG for every frame, a file for every face), which changes its time only;",
        "*larger detector* is that with SCRFD-2.5G at 640 x 640 on every frame, the setting that the recipe's cost is usually stated for, against",
        "our line as it is.",
        "",
        f"Networks: {', '.join(f'`{BEST[role]}` ({role})' for role in ROLES)}.",
        "",
        "| material | faces | CPU s per s | x real time | wall x | of the floor | recipe / ours | as published | larger detector | peak memory |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        line, seconds = row["line"], row["line"]["seconds"]
        in_memory = published = larger = "-"
        if "recipe" in row:
            detour = row["detours"]["cpu"] - 2 * row["floor"]["parts"]["decode"]
            in_memory = f"{row['recipe']['cpu'] / line['cpu']:.1f}"
            published = f"{(row['recipe']['cpu'] + detour) / line['cpu']:.1f}"
            larger = f"{(row['larger']['cpu'] + detour) / line['cpu']:.1f}"
        lines.append(
            f"| {row['size']} | {row['faces']} | {line['cpu'] / seconds:.3f} | {CORES * seconds / line['cpu']:.1f} | {seconds / line['wall']:.1f} "
            f"| {row['floor']['cpu'] / line['cpu']:.0%} | {in_memory} | {published} | {larger} | {line['peak_mib']:.0f} MiB |"
        )
    lines += [
        "",
        "Where the floor's CPU seconds go (one minute):",
        "",
        "| material | faces | decode | detector | visual encoder | VAD and MFCC | embedder |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        parts = row["floor"]["parts"]
        lines.append(
            f"| {row['size']} | {row['faces']} | " + " | ".join(f"{parts[p]:.1f}" for p in ("decode", "detect", "visual", "listen", "embed")) + " |"
        )
    lines += ["", "Peak memory of `analyse` by length (1080p, one face):", "", "| minutes | peak memory | x real time |", "|---|---|---|"]
    lines += [f"| {m['minutes']:g} | {m['peak_mib']:.0f} MiB | {CORES * m['seconds'] / m['cpu']:.1f} |" for m in memory] or [NOT_MEASURED]
    lines += [
        "",
        "The whole line with different networks (1080p, one minute, the quickest of some runs in turns):",
        "",
        "| networks | detector | speaking | embedder | one face: CPU s per s, x real time | three faces |",
        "|---|---|---|---|---|---|",
    ]
    for entry in sets:
        cells = [f"{cpu:.3f}, {CORES / cpu:.1f}" for cpu in entry["cpu"].values()]
        lines.append(f"| {entry['set']} | " + " | ".join([*(f"`{entry['models'][role]}`" for role in ROLES), *cells]) + " |")
    lines += [] if sets else [NOT_MEASURED]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

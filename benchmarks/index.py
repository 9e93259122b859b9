"""`make benchmark-index`: the vector index with a million vectors; writes docs/index.md.

    python -m benchmarks.index [--vectors N] [--only PART]

Vectors are real ones, perturbed. Real: the people of ../shared/train/faces of whom there are several pictures, at most three of each, as
they are and as a camera far away would have taken them, through our own embedder. A made person is the mix of two real people; each of its
tracks adds what a picture of some real person differs by from the mean of that person. So the spread within and between people is the
embedder's own; docs/index.md shows both. The log that the index follows is read from a file here, since a database of a million tracks
would be measured with it.

Every figure is of a process of its own on one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asd_core.faces.embed import open_embedder
from asd_core.models.manifest import WEIGHTS
from asd_core.models.registry import Model, ModelFolder, find
from asd_core.models.session import open_session
from benchmarks.calibrate_embedder import SIZES, from_afar, read_faces
from infra.vectors import EXACT_LIMIT, VectorIndex, layer
from infra.vectors.files import START, Position

ROOT = Path(__file__).parents[1]
FACES = ROOT.parent / "shared" / "train" / "faces"
OUT = ROOT / "out" / "index"
PICTURES = 3  # of a real person, at most
TRACKS = 50  # of a made person
MIX = 0.7  # share of the second real person in a made one
FRESH, GONE = 10_000, 1_000  # vectors that come and go after the snapshot
QUERIES = 300
SHARES = (0.064, 0.128, 0.256, 0.512, 1.0)  # of all vectors, that a search looks at
KILLS = 3
Log = Callable[[Position], "Changes"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--only", choices=list(PARTS), action="append", help="measure this anew; the rest of the page is as measured last")
    parser.add_argument("--part", choices=[*PARTS, "write"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()

    if arguments.part:
        part = write if arguments.part == "write" else PARTS[arguments.part]
        print(json.dumps(part(arguments.vectors)))
        return
    if not FACES.is_dir():
        sys.exit("The index benchmark needs the faces of ../shared/train/faces beside this checkout.")
    OUT.mkdir(parents=True, exist_ok=True)
    kept = OUT / f"index-{arguments.vectors}.json"
    found = json.loads(kept.read_text()) if arguments.only and kept.exists() else {}
    for name in arguments.only or PARTS:
        found[name] = in_process(name, arguments.vectors)
        kept.write_text(json.dumps(found, indent=1))
    missing = [name for name in PARTS if name not in found]
    if missing:
        sys.exit(f"No page yet: not measured so far: {', '.join(missing)}")
    page = as_page(arguments.vectors, found)
    if arguments.vectors == parser.get_default("vectors"):
        (ROOT / "docs" / "index.md").write_text(page)
    print(page)


def in_process(part: str, count: int) -> dict[str, Any]:
    environment = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = ["env", *(f"{name}={value}" for name, value in environment.items()), sys.executable, "-m", "benchmarks.index"]
    done = subprocess.run([*command, "--part", part, "--vectors", str(count)], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{part} failed")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(part, json.dumps(answer), file=sys.stderr)
    return answer


# ---- vectors ----------------------------------------------------------------------------------------------------------------


def own_embedder() -> Model:
    return find("embedder", [ModelFolder(WEIGHTS)], "rollcall_id")


def real_vectors() -> tuple[np.ndarray, np.ndarray]:
    """Return (V, D) vectors of real pictures, two views of each, and the number of each one's person; made once."""
    kept = OUT / f"real-{own_embedder().sha256[:12]}.npz"
    if not kept.exists():
        pictures, everybody = read_faces(FACES)
        several = np.flatnonzero(np.bincount(everybody) > 1)
        chosen = np.concatenate([np.flatnonzero(everybody == person)[:PICTURES] for person in several])
        people = np.unique(everybody[chosen], return_inverse=True)[1]
        chips = [pictures[k] for k in chosen]
        rng = np.random.default_rng(1)
        embedder = open_embedder(own_embedder(), open_session)
        views = [chips, [from_afar(chip, float(rng.choice(SIZES)), rng) for chip in chips]]
        vectors = [embedder.embed(np.stack(view[k : k + 64]))[0] for view in views for k in range(0, len(view), 64)]
        np.savez(kept, vectors=np.concatenate(vectors), people=np.tile(people, 2))
    found = np.load(kept)
    return found["vectors"], found["people"]


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def make(count: int) -> dict[str, Any]:
    """Make the tracks' vectors, (count + FRESH, D) float32 in a file, and queries: further tracks of people that are there."""
    vectors, people = real_vectors()
    rng = np.random.default_rng(2)
    means = np.stack([vectors[people == person].mean(axis=0) for person in range(people.max() + 1)])
    spread = (vectors - means[people]).astype(np.float32)
    means = unit(means)
    real_same = _same(vectors, people, np.tile(np.arange(len(people) // 2), 2), rng)
    length = np.sqrt(real_same)  # of the mean of a person's vectors, had we all of them; from few it comes out longer and the spread smaller
    spread *= np.sqrt((1 - real_same) / np.mean(np.sum(spread**2, axis=1)))
    number = (count + FRESH) // TRACKS + 1
    first, second = rng.integers(0, len(means), (2, number))
    centres = length * unit(means[first] + MIX * means[second])

    def tracks(who: np.ndarray) -> np.ndarray:
        return unit(centres[who] + spread[rng.integers(0, len(spread), len(who))])

    who = rng.permutation(np.repeat(np.arange(number), TRACKS))[: count + FRESH]
    with vectors_path(count).open("wb") as file:
        for start in range(0, len(who), 50_000):
            file.write(tracks(who[start : start + 50_000]).tobytes())
    asked = rng.integers(0, number, QUERIES)
    np.save(OUT / f"queries-{count}.npy", tracks(asked))
    some = np.repeat(rng.integers(0, number, 10_000), 2)
    made = tracks(some)
    return {
        "real": len(vectors),
        "people": len(means),
        "made_people": number,
        "same": [real_same, _same(made, some, np.arange(len(some)), rng)],
        "different": [_different(vectors, people, rng), _different(made, some, rng)],
    }


def _same(vectors: np.ndarray, people: np.ndarray, pictures: np.ndarray, rng: np.random.Generator) -> float:
    """Return the median cosine of two vectors of one person, from different pictures."""
    order = np.lexsort((rng.random(len(people)), people))
    pairs = order[np.flatnonzero(np.diff(people[order]) == 0)[:, None] + [0, 1]]
    pairs = pairs[pictures[pairs[:, 0]] != pictures[pairs[:, 1]]]
    return float(np.median((vectors[pairs[:, 0]] * vectors[pairs[:, 1]]).sum(axis=1)))


def _different(vectors: np.ndarray, people: np.ndarray, rng: np.random.Generator) -> float:
    """Return the cosine that one pair of strangers in a thousand exceeds."""
    one, other = rng.integers(0, len(vectors), (2, 200_000))
    apart = people[one] != people[other]
    return float(np.quantile((vectors[one[apart]] * vectors[other[apart]]).sum(axis=1), 0.999))


def vectors_path(count: int) -> Path:
    return OUT / f"vectors-{count}.f32"


@dataclass(frozen=True)
class Changes:
    """What the log in the file says."""

    stands_at: Position
    whole: bool
    added: Iterator[tuple[int, bytes]]
    removed: list[int]


def library(count: int) -> np.ndarray:
    dimension = own_embedder().manifest.output.dimension
    assert dimension is not None
    matrix: np.ndarray = np.memmap(vectors_path(count), np.float32, mode="r").reshape(-1, dimension)
    return matrix


def pairs_of(matrix: np.ndarray, ids: np.ndarray) -> Iterator[tuple[int, bytes]]:
    """Yield (id, bytes) of ids; id k is row k - 1."""
    for start in range(0, len(ids), 4096):
        for ident, row in zip(ids[start : start + 4096].tolist(), matrix[ids[start : start + 4096] - 1], strict=True):
            yield ident, row.tobytes()


def log_of(count: int, *, later: bool) -> Log:
    """Return a log of `count` vectors; `later`, also of those that came and went since."""
    matrix = library(count)

    def log(since: Position) -> Changes:
        ids = np.arange(1, count + 1)
        if not later:
            return Changes((count, "made"), True, pairs_of(matrix, ids), [])
        end: Position = (count + FRESH + GONE, "made")
        gone, fresh = removed_ids(count), np.arange(count + 1, count + FRESH + 1)
        if since == START:
            return Changes(end, True, pairs_of(matrix, np.setdiff1d(np.concatenate([ids, fresh]), gone)), [])
        if since == end:
            return Changes(end, False, iter(()), [])
        return Changes(end, False, pairs_of(matrix, fresh), gone.tolist())

    return log


def removed_ids(count: int) -> np.ndarray:
    return np.arange(7, count + 1, count // GONE)[:GONE]


def final_ids(count: int) -> np.ndarray:
    return np.setdiff1d(np.arange(1, count + FRESH + 1), removed_ids(count))


# ---- what is measured -------------------------------------------------------------------------------------------------------


def opened(folder: Path, *, exact_limit: int = EXACT_LIMIT) -> VectorIndex:
    model = own_embedder()
    assert model.manifest.output.dimension is not None
    return VectorIndex(folder, model=model.sha256, dimension=model.manifest.output.dimension, exact_limit=exact_limit)


def folder_of(count: int) -> Path:
    return OUT / f"snapshot-{count}"


def limit_of(count: int) -> int:
    return min(EXACT_LIMIT, count // 2)


def clocked(work: Callable[[], Any]) -> dict[str, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def memory() -> dict[str, float]:
    """Return MiB of this process: its own, mapped files that are in memory, and the most of both together so far."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: int(lines[key].split()[0]) / 1024 for name, key in (("own", "RssAnon"), ("mapped", "RssFile"), ("peak", "VmHWM"))}


def build(count: int) -> dict[str, Any]:
    """Build from the log alone, write, and then write again with what came since."""
    folder = folder_of(count)
    shutil.rmtree(folder, ignore_errors=True)
    index = opened(folder, exact_limit=limit_of(count))
    whole = clocked(lambda: index.snapshot(log_of(count, later=False), afresh=True))
    first = memory()
    sizes = {"lists" if "lists" in path.name else "vectors": path.stat().st_size for path in folder.glob("*.faiss")}
    assert not index.is_exact
    kept = OUT / f"kept-{count}"  # with the first snapshot, for what is measured next
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(folder, kept, copy_function=os.link)
    again = clocked(lambda: index.snapshot(log_of(count, later=True)))
    return {"whole": whole, "again": again, "memory": first, "memory_again": memory(), "sizes": sizes}


def restart(count: int) -> dict[str, Any]:
    """Open the snapshot as a process that starts does, apply the delta, search once."""
    index = opened(OUT / f"kept-{count}", exact_limit=limit_of(count))
    before = memory()
    load = clocked(lambda: len(index))
    delta = clocked(lambda: index.catch_up(log_of(count, later=True)))
    query = np.load(OUT / f"queries-{count}.npy")[:1]
    first = clocked(lambda: index.nearest(query, 1))
    assert index.changes == FRESH + GONE
    return {"load": load, "delta": delta, "first": first, "before": before, "memory": memory()}


def search(count: int) -> dict[str, Any]:
    """Search a snapshot with its delta, query by query, with more and more lists looked into; beside a look at every vector."""
    index = opened(OUT / f"kept-{count}", exact_limit=limit_of(count))
    index.catch_up(log_of(count, later=True))
    queries = np.load(OUT / f"queries-{count}.npy")
    threshold = own_embedder().manifest.thresholds["search_cosine"]
    nearest, alike = truth(count, queries, threshold)
    rows = []
    chosen = layer.LOOKED_AT
    for share in SHARES:
        layer.LOOKED_AT = round(share * count)
        taken: dict[str, list[dict[str, float]]] = {"nearest": [], "alike": []}
        right, found, wanted, off = 0, 0, 0, 0.0
        for k, query in enumerate(queries):
            said: list[Any] = []
            taken["nearest"].append(clocked(lambda query=query, said=said: said.append(index.nearest(query[None], 1))))  # type: ignore[misc]
            taken["alike"].append(clocked(lambda query=query, said=said: said.append(index.alike(query[None], threshold))))  # type: ignore[misc]
            first, matches = said[0][0][0], said[1][0]
            right += first.id == nearest[k][0]
            off = max(off, abs(first.cosine - nearest[k][1]) if first.id == nearest[k][0] else 0.0)
            wanted += len(alike[k])
            found += len({match.id for match in matches} & alike[k])
        times = {name: quantiles(each) for name, each in taken.items()}
        rows.append({"share": share, "recall": right / len(queries), "recall_alike": found / max(1, wanted), "off": off, **times})
    layer.LOOKED_AT = chosen
    few = opened(OUT / "exact", exact_limit=EXACT_LIMIT)
    some = min(count, EXACT_LIMIT)
    few.catch_up(lambda since: Changes((some, "few"), True, pairs_of(library(count), np.arange(1, some + 1)), []))
    exact = quantiles([clocked(lambda query=query: few.nearest(query[None], 1)) for query in queries[:200]])  # type: ignore[misc]
    return {"rows": rows, "exact": exact, "exact_count": some, "threshold": threshold, "alike": sum(map(len, alike)) / len(queries)}


def quantiles(taken: list[dict[str, float]]) -> dict[str, list[float]]:
    """Return p50 and p95 in milliseconds, of the clock and of the processor."""
    return {clock: [1000 * float(np.quantile([each[clock] for each in taken], q)) for q in (0.5, 0.95)] for clock in ("wall", "cpu")}


def truth(count: int, queries: np.ndarray, threshold: float) -> tuple[list[tuple[int, float]], list[set[int]]]:
    """Return for each query the id and cosine of the most alike vector, and the ids of all from the threshold on; by looking at all."""
    matrix = library(count)
    gone = removed_ids(count) - 1
    best: list[tuple[int, float]] = [(0, -2.0)] * len(queries)
    alike: list[set[int]] = [set() for _ in queries]
    for start in range(0, count + FRESH, 50_000):
        cosines = queries @ matrix[start : start + 50_000].T
        cosines[:, gone[(gone >= start) & (gone < start + 50_000)] - start] = -2
        for k, row in enumerate(cosines):
            top = int(row.argmax())
            best[k] = max(best[k], (start + top + 1, float(row[top])), key=lambda pair: pair[1])
            alike[k] |= set((start + 1 + np.flatnonzero(row >= threshold)).tolist())
    return best, alike


def write(count: int) -> dict[str, Any]:
    """Say that it begins, then write a snapshot with what came since: the process that is killed."""
    index = opened(folder_of(count), exact_limit=limit_of(count))
    len(index)
    (OUT / "writing").touch()
    index.snapshot(log_of(count, later=True))
    return {}


def kill(count: int) -> dict[str, Any]:
    """End processes that write a snapshot by kill -9, at moments spread over the time that it takes; look each time what is there."""
    folder, kept, begun = folder_of(count), OUT / f"kept-{count}", OUT / "writing"
    command = [sys.executable, "-m", "benchmarks.index", "--part", "write", "--vectors", str(count)]

    def started() -> tuple[subprocess.Popen[bytes], float]:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(kept, folder, copy_function=os.link)
        begun.unlink(missing_ok=True)
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        while not begun.exists():
            assert process.poll() is None
            time.sleep(0.01)
        return process, time.perf_counter()

    process, began = started()
    assert process.wait() == 0
    lasts = time.perf_counter() - began
    rows = []
    for share in np.linspace(0.15, 0.95, KILLS):
        process, began = started()
        time.sleep(max(0.0, began + share * lasts - time.perf_counter()))
        process.send_signal(signal.SIGKILL)
        process.wait()
        left = sorted(path.name.partition(".")[2] for path in folder.glob("*.faiss"))
        index = opened(folder, exact_limit=limit_of(count))
        faults = index.faults()
        stands = index.stands_at[0]
        index.catch_up(log_of(count, later=True))
        sample = np.sort(np.random.default_rng(0).permutation(final_ids(count))[:20_000])
        faults += index.differences(final_ids(count), pairs_of(library(count), sample))
        rows.append({"share": float(share), "files": len(left), "old": stands == count, "faults": faults})
    return {"lasts": lasts, "rows": rows}


def verify(count: int) -> dict[str, Any]:
    """Compare all, as it is and with differences planted: a vector changed, one more, one fewer."""
    index = opened(OUT / f"kept-{count}", exact_limit=limit_of(count))
    index.catch_up(log_of(count, later=True))
    matrix, ids = library(count), final_ids(count)
    faults: list[str] = []
    clean = clocked(lambda: faults.extend([*index.faults(), *index.differences(ids, pairs_of(matrix, ids))]))
    changed, extra, lost = (int(ids[len(ids) * part // 4]) for part in (1, 2, 3))

    def planted() -> Iterator[tuple[int, bytes]]:
        for ident, vector in pairs_of(matrix, ids[ids != extra]):
            yield ident, (np.frombuffer(vector, np.float32) * np.float32(1 + 1e-6)).tobytes() if ident == changed else vector

    wanted = np.append(ids[(ids != extra)], 10**9 + lost)
    return {"clean": faults, **clean, "planted": [changed, extra, 10**9 + lost], "told": index.differences(wanted, planted())}


PARTS: dict[str, Callable[[int], dict[str, Any]]] = {
    "make": make, "build": build, "restart": restart, "search": search, "kill": kill, "verify": verify,
}  # fmt: skip


# ---- the page ---------------------------------------------------------------------------------------------------------------


def as_page(count: int, found: dict[str, Any]) -> str:
    """Return docs/index.md."""
    made, built, began, searched, killed, verified = (found[name] for name in PARTS)
    gib = {name: size / 2**30 for name, size in built["sizes"].items()}
    chosen = min(searched["rows"], key=lambda row: abs(row["share"] - min(1.0, layer.LOOKED_AT / count)))
    lines = [
        f"# The vector index with {count:,} vectors",
        "",
        "Made by `make benchmark-index`, on one thread; times are of the clock, in brackets of the processor, which are what to compare: the machine",
        "had other work too. Memory includes files that are mapped. Why the index is built so: [decision 0008](decisions/0008-vector-index.md).",
        "No GPU was at hand: what that decision says of one has not been run.",
        "",
        f"The vectors are made from {made['real']:,} real ones ({made['people']:,} people, two views of each picture, our own embedder): "
        f"{made['made_people']:,} mixed people with {TRACKS}",
        "tracks each, spread as real pictures of one person are. Median cosine of two pictures or tracks of one person: "
        f"real {made['same'][0]:.2f}, made {made['same'][1]:.2f};",
        f"cosine that one pair of strangers in a thousand exceeds: real {made['different'][0]:.2f}, made {made['different'][1]:.2f}. "
        f"After the snapshot {FRESH:,} vectors came and {GONE:,} went: the delta.",
        "",
        "| | |",
        "|---|---|",
        f"| build from the log, lists learnt anew | {_clock(built['whole'])}, at most {built['memory']['peak']:,.0f} MiB |",
        f"| snapshot again with the delta | {_clock(built['again'])}, at most {built['memory_again']['peak']:,.0f} MiB |",
        f"| files | vectors {gib['vectors']:.2f} GiB, lists {gib['lists']:.2f} GiB |",
        f"| restart: load, checksums looked at | {_clock(began['load'])} |",
        f"| restart: delta of {FRESH + GONE:,} changes | {_clock(began['delta'])} |",
        f"| restart: first search | {1000 * began['first']['wall']:.0f} ms |",
        f"| memory of a process that searches | {began['memory']['own'] - began['before']['own']:,.0f} MiB of its own; "
        f"{began['memory']['mapped']:,.0f} MiB of files mapped, shared and given up when needed |",
        f"| one query, most alike | {_quantiles(chosen['nearest'])}; recall@1 {chosen['recall']:.3f} |",
        f"| one query, all from cosine {searched['threshold']:.2f} on ({searched['alike']:.0f} on average) | "
        f"{_quantiles(chosen['alike'])}; {100 * chosen['recall_alike']:.1f} % of them found |",
        f"| compare all with the library (`index verify`) | {_clock(verified)} |",
        "",
        "Cosines that are told are exact: the largest difference from those computed with all vectors is "
        f"{max(row['off'] for row in searched['rows']):.0e}.",
        f"Below the limit of {EXACT_LIMIT:,} vectors every search looks at all: {searched['exact_count']:,} take "
        f"{_quantiles(searched['exact'])} for one query.",
        "",
        "## How much to look at",
        "",
        f"There are {round(count**0.5):,} lists. A search looks into the nearest until it has looked at {layer.LOOKED_AT:,} vectors; at this size",
        "into all, which is faster than through the full vectors, since half precision is half the memory to read. Below, searches that look at",
        f"less: {QUERIES:,} queries, further tracks of people that are in the index, against a look at every vector; the delta is searched with",
        "them. Faces of one person are not so near to each other that they lie in a few lists: with ten million vectors a search looks at a tenth",
        "of them, and finds about what the table says for that.",
        "",
        "| looked at | recall@1 | most alike | found of all alike | all alike |",
        "|---|---|---|---|---|",
    ]
    for row in searched["rows"]:
        alike = f"{100 * row['recall_alike']:.1f} % | {_quantiles(row['alike'])}"
        lines.append(f"| {100 * row['share']:.0f} % | {row['recall']:.3f} | {_quantiles(row['nearest'])} | {alike} |")
    lines += [
        "",
        "## kill -9 while a snapshot is written",
        "",
        f"The snapshot takes {killed['lasts']:.1f} s from the log to the side file. Afterwards looked at: checksums, all ids, and 20,000 vectors.",
        "",
        "| killed after | files left | stands at | differences |",
        "|---|---|---|---|",
    ]
    for row in killed["rows"]:
        which = "the old snapshot" if row["old"] else "the new snapshot"
        lines.append(f"| {100 * row['share']:.0f} % | {row['files']} | {which} | {'; '.join(row['faults']) or 'none'} |")
    changed, extra, lost = verified["planted"]
    lines += [
        "",
        "## Planted differences",
        "",
        f"As it is: {'; '.join(verified['clean']) or 'no difference'}. With vector {changed} changed by a millionth, {extra} taken from the "
        f"library and {lost} put into it:",
        "",
        *(f"- {line}" for line in verified["told"]),
    ]
    return "\n".join(lines) + "\n"


def _clock(taken: dict[str, float]) -> str:
    return f"{taken['wall']:.1f} s ({taken['cpu']:.1f})"


def _quantiles(taken: dict[str, list[float]]) -> str:
    return f"p50 {taken['wall'][0]:.1f} ms ({taken['cpu'][0]:.1f}), p95 {taken['wall'][1]:.1f} ms ({taken['cpu'][1]:.1f})"


if __name__ == "__main__":
    main()

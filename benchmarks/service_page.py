"""docs/service.md from what `benchmarks.service` has found so far."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

Found = dict[str, Any]
STARTING = 10  # films that wait for children to start
NOT_YET = "Not measured yet."
PATHS = (("told of (`POST /events/s3`)", "told"), ("not told of, found by the scan", "untold"))


def as_page(found: dict[str, Found]) -> str:
    """Return the page; a part that is missing says so."""
    lines = [
        "# The service at work",
        "",
        "Made by `make benchmark-service`: Debian's PostgreSQL for library and Prefect, Ceph's S3 gateway for media and artifacts, our own networks,",
        "everything on one machine with two cores, which had other work too: seconds of the clock are longer than they need be, seconds of the",
        "processor are what to compare. Films are the demo's, at 360p, repeated without being encoded again.",
        "",
    ]
    for name, title, section in SECTIONS:
        lines += [f"## {title}", "", *(section(found[name]) if name in found else [NOT_YET]), ""]
    return "\n".join(lines)


def table(head: list[str], rows: list[list[Any]]) -> list[str]:
    """Return a table, numbers to the right."""
    marks = ["--:" if rows and isinstance(cell, int | float) else "---" for cell in (rows[0] if rows else head)]
    shown = [[f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    return [f"| {' | '.join(cells)} |" for cells in (head, marks, *shown)]


def mutants(found: Found) -> list[str]:
    """Damaged films: what became of them."""
    rows = found["rows"]
    states = Counter(state for _, state, *_ in rows)
    ended = states["done"] + states["quarantined"]
    slowest = sorted(rows[STARTING:], key=lambda row: -row[3])[:3]
    lines = [
        f"{len(rows)} of {found['wanted']} films of 1.6 s, each damaged in one way (seed {found['seed']}, numbers 0 to {len(rows) - 1}),",
        "went through the decoding children as an asset does: `probe`, `look` at every span, `listen`. The first error of the media ends it, and",
        f"the line would set the file aside. A child may take {found['limit']:.0f} s for the shortest stretch. `make test` takes 32 others into a",
        "library.",
        "",
        f"{ended} ended done or quarantined, {len(rows) - ended} otherwise. The process lived through all of them; the decoder crashed "
        f"{sum('decoder crashed' in row[2] for row in rows)} times in its child,",
        f"and a limit of time or memory was met {sum('DecodeLimit' in row[2] for row in rows)} times. The slowest took "
        f"{', '.join(f'{row[3]:.1f} s' for row in slowest)}",
        f"(without the first {STARTING}, which waited for their children to start), on a machine with much other work.",
        "",
    ]
    for at, head in ((1, "damage"), (2, "film")):
        counted: dict[str, Counter[str]] = defaultdict(Counter)
        for name, state, *_ in rows:
            damage, film = name.partition(" ")[2].rsplit(" ", 1)
            counted[damage if at == 1 else film][state] += 1
        others = sorted(set(states) - {"done", "quarantined"})
        told = [[name, count["done"], count["quarantined"], *(count[other] for other in others)] for name, count in sorted(counted.items())]
        lines += [*table([head, "done", "quarantined", *others], told), ""]
    reasons = Counter(row[2].rpartition(row[0] + ": ")[2] for row in rows if row[1] == "quarantined")
    lines += ["Why they were quarantined, most frequent first:", "", *(f"- {count}: {reason}" for reason, count in reasons.most_common(12))]
    wrong = [row for row in rows if row[1] not in {"done", "quarantined"}]
    return lines + ([""] + [f"- {name}: {state}, {reason}" for name, state, reason, _ in wrong] if wrong else [])


def arrival(found: Found) -> list[str]:
    """From the bucket to the library."""
    told = [[words, f"{min(found[path]):.1f} to {max(found[path]):.1f}", len(found[path])] for words, path in PATHS if found[path]]
    return [
        "A film of five to seven seconds is put into a watched bucket of a service that `rollcall up --service` has brought up, and nothing more",
        "is done by hand. Seconds from the put until it is published; `rollcall search` with its first picture then finds it (so it was asserted).",
        f"The scan comes {found['cron']}.",
        "",
        *table(["path", "seconds", "films"], told),
    ]


def again(found: Found) -> list[str]:
    """A second ingest of what is unchanged."""
    return [
        f"{found['assets']} assets, `rollcall ingest --direct` from its start to its end, the database up.",
        "",
        *table(["media and artifacts in", "first, s", "again, s"], [[kind, *found[kind].values()] for kind in ("folder", "bucket")]),
    ]


def cost(found: Found) -> list[str]:
    """What Prefect, PostgreSQL and S3 cost an asset."""
    lines = [
        f"An object of {found['minutes']:g} minutes through the service, then the same film with `--direct` and a folder. Between stages is",
        "what of the flow's time lies in no stage; store is the film fetched and as many artifacts of those sizes stored once more, one by one. Both",
        "together, of the flow's time, are the cost by the clock. By the processor it is what run, database, store and Prefect's server used beside",
        "the direct run.",
        "",
    ]
    rows = []
    for told in found["rounds"]:
        store, used, bare = sum(told["store"].values()), told["cpu"], told["bare"]["cpu"].get("run", 0.0)
        between = max(0.0, told["seconds"] - told["covered"])
        rows.append([told["asset"], told["seconds"], between, store, f"{100 * (between + store) / told['seconds']:.1f} %", f"{told['pickup']:.1f}"])
        more = sum(used.values()) - bare
        parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in sorted(used.items()))
        lines_of = f"Seconds of the processor: {parts}; direct {bare:.1f}; more by {more:.1f} ({100 * more / max(bare, 1e-9):.1f} %)."
        rows[-1].append(lines_of)
    lines += table(["asset", "flow, s", "between stages, s", "store, s", "cost", "picked up after, s"], [row[:-1] for row in rows])
    return [*lines, "", *(row[-1] for row in rows)]


def share(found: Found) -> list[str]:
    """Short assets shared by workers."""
    lines = [f"{found['assets']} films of five seconds, each worker a process that takes one run at a time, from the command to the last row.", ""]
    rows = [
        [
            run["workers"],
            run["seconds"],
            60 * found["assets"] / run["seconds"],
            run["done"],
            run["failed"],
            run["assets"],
            run["flow_runs"],
            run["twice"],
        ]
        for run in found["runs"]
    ]
    lines += table(["workers", "seconds", "assets a minute", "done", "failed", "assets worked on", "flow runs", "stages made twice"], rows)
    if "differences" not in found:
        return [*lines, "", "The libraries were not compared yet."]
    told = f"differ: {found['differences']}" if found["differences"] else "hold the same rows"
    return [*lines, "", f"Both libraries {told}."]


def split(found: Found) -> list[str]:
    """A long asset split over two workers."""
    runs = ", ".join(f"{run['flow']} {run['state'].lower()} after {run['seconds']:.0f} s" for run in found["runs"])
    compared = {True: "not compared with a run by one", False: f"other than a run by one: {found['differences']}"}[found["differences"] is None]
    return [
        f"{found['minutes']:g} minutes, two workers, {found['seconds']:.0f} s from the command to the last row: {runs}.",
        f"{found['spans']} spans were looked at, {found['twice']} stages were made twice; the library is "
        f"{'the same as after one process' if found['differences'] == {} else compared}.",
    ]


def memory(found: Found) -> list[str]:
    """Memory by an asset's length."""
    rows = sorted(found["rows"], key=lambda row: row["minutes"])
    lines = [
        "The most that the process and its decoding children held at once (shared pages counted once), a process of its own for each length.",
        "",
    ]
    first = rows[0]["peak"]
    lines += table(
        ["minutes", "peak, MiB", "beside the shortest", "seconds"],
        [[row["minutes"], row["peak"], f"{100 * (row['peak'] / first - 1):+.0f} %", row["seconds"]] for row in rows],
    )
    missing = [minutes for minutes in (10, 240) if minutes not in {row["minutes"] for row in rows}]
    if missing:
        lines += ["", f"Not measured yet: {', '.join(f'{minutes} minutes' for minutes in missing)}."]
    if len(rows) > 1:
        slope = (rows[-1]["peak"] - first) / (rows[-1]["minutes"] - rows[0]["minutes"])
        reached = first + slope * (600 - rows[0]["minutes"])
        lines += ["", f"From the shortest to the longest it grows by {slope:.2f} MiB a minute; ten hours at that rate: {reached:.0f} MiB."]
    return lines


SECTIONS: tuple[tuple[str, str, Callable[[Found], list[str]]], ...] = (
    ("mutants", "A thousand damaged files", mutants),
    ("arrival", "From the bucket to the library", arrival),
    ("again", "A second ingest", again),
    ("cost", "What the services cost", cost),
    ("share", "Two workers", share),
    ("split", "One long asset, two workers", split),
    ("memory", "Memory by length", memory),
)

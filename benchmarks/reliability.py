"""`make reliability`: docs/reliability.md, what becomes of a library when something fails under the service.

    python -m benchmarks.reliability [--only FAULT]

The faults are those of the tests (tests/services/faults.py), done here to the same servers of Debian's packages. Whatever was seen is kept in
out/reliability.json, so that one fault can be tried anew.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.material import SHORT_FILMS, make_films
from tests.services import postgres, rgw
from tests.services.arena import Arena
from tests.services.faults import FAULTS, CannotBeTried

ROOT = Path(__file__).parents[1]
SEEN = ROOT / "out" / "reliability.json"
PAGE = ROOT / "docs" / "reliability.md"

HEAD = """# Reliability

Written by `make reliability`, which does to a running service what tests/services/test_faults.py does and asserts (a quarter of an hour, so not
in `make test-services`): real PostgreSQL, Ceph's S3 gateway, a Prefect server on that PostgreSQL, workers in processes of their own, all on one
machine ({cores} cores, with other work beside: {load:.0f} processes wanted a core on the average). Media are short films in a
bucket. Afterwards **every table of the library is compared, row for row, with that of an undisturbed
run** (`infra/catalog/snapshot.py`: all but clocks, surrogate ids and the history of runs).

Seconds to recover begin where the fault ends (the process is dead, the service is back, the disk has room again) and end when the last row is
there; after a kill, when the next worker has passed the place at which the first one died. In them lie the start of a process for each run,
and the scan for lost work, which the tests make at once after a kill and else every 15 s; in service `watch.cron` says when, and a run
whose worker was killed with it is looked for {lock:.0f} s after its start at the earliest.

| Fault | What was seen | Seconds to recover | Library |
|---|---|---:|---|
"""

TAIL = """
How it is done: places to stop at are held from outside in `tests/services/held.py`, which the deployments of these tests have as their entry
point; the product has none. A kill is SIGKILL to the worker and to the run's process at once; decoding children die with it. PostgreSQL ends
by SIGQUIT, as in a crash; the S3 gateway and the Prefect server by SIGKILL. The small disk is a `tmpfs` of 24 MB below the home folder, filled
to the last byte, for which the tests must be root. The worker's clock is libfaketime's (Debian); monotonic clocks do not jump, as with a real
clock that is set. Where one of these is missing, the test is skipped, and the summary counts it.

The same for commands without a service, with the embedded database: `tests/fault/`. Snapshots of the vector index that are killed while they
are written: [index.md](index.md).
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [fault.__name__ for fault in FAULTS]
    parser.add_argument("--only", choices=names, action="append", help="try this anew; the rest of the page is as it was seen last")
    wanted = parser.parse_args().only or names
    missing = [*rgw.missing_programs(), *([] if postgres.programs() else ["postgres"])]
    if missing:
        parser.error(f"needs {', '.join(missing)}: apt install {rgw.PACKAGES} {postgres.PACKAGES}")
    seen = json.loads(SEEN.read_text()) if SEEN.exists() else {}
    with tempfile.TemporaryDirectory(prefix="rollcall-faults-") as folder:
        for name, rows in _tried(Path(folder), wanted):
            seen[name] = rows
            SEEN.parent.mkdir(exist_ok=True)
            SEEN.write_text(json.dumps(seen, indent=1, default=str))
    PAGE.write_text(page(seen))
    print(f"{PAGE.relative_to(ROOT)} is written")
    if wrong := [row["fault"] for name in wanted for row in seen[name] if row["differing"]]:
        sys.exit(f"The library differs after: {'; '.join(wrong)}")


def _tried(folder: Path, names: list[str]) -> Any:
    films = {name: make_films(ROOT / "out" / "short-films") / name for name in SHORT_FILMS}
    databases, objects = postgres.PostgresServer(), rgw.S3Server()
    try:
        arena = Arena(folder, databases, objects, films)
        try:
            for fault in FAULTS:
                if fault.__name__ in names:
                    try:
                        rows = [asdict(outcome) for outcome in fault(arena)]
                    except CannotBeTried as error:
                        rows = [{"fault": fault.__name__.replace("_", " "), "outcome": f"not tried: {error}", "seconds": None, "differing": {}}]
                    for row in rows:
                        print(_row(row), flush=True)
                    yield fault.__name__, rows
        finally:
            arena.close()
    finally:
        objects.close()
        databases.close()


def page(seen: dict[str, list[dict[str, Any]]]) -> str:
    """Return the page."""
    from flows.service import LOCK_SECONDS

    untried = [{"fault": fault.__name__.replace("_", " "), "outcome": "not tried since it was written", "seconds": None} for fault in FAULTS]
    groups = [seen.get(fault.__name__, [row]) for fault, row in zip(FAULTS, untried, strict=True)]
    rows = [_row(row) for group in groups for row in group]
    return HEAD.format(cores=os.cpu_count(), load=os.getloadavg()[2], lock=LOCK_SECONDS) + "\n".join(rows) + "\n" + TAIL


def _row(row: dict[str, Any]) -> str:
    if row["seconds"] is None:
        return f"| {row['fault']} | {row['outcome']} | | |"
    verdict = f"**differs**: {', '.join(row['differing'])}" if row["differing"] else "the same"
    return f"| {row['fault']} | {row['outcome']} | {row['seconds']:.0f} | {verdict} |"


if __name__ == "__main__":
    main()

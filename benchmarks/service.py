"""`make benchmark-service`: the service at work on real servers; writes docs/service.md.

    python -m benchmarks.service [--only PART]

Parts are measured one after the other, each in a process of its own; what was found is kept in out/service, and the page is written from what
is there: it says what is missing. Needs Debian's radosgw and PostgreSQL, as `make test-services` does, and hours.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys

from benchmarks.service_page import as_page
from benchmarks.service_parts import OUT, PARTS, ROOT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(PARTS), action="append", help="measure this anew; the rest of the page is as measured last")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the page")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    for sign in (signal.SIGINT, signal.SIGTERM):  # in the background too: what was started is ended
        signal.signal(sign, signal.default_int_handler)
    if arguments.part:
        PARTS[arguments.part](lambda found: keep(arguments.part, found))
        return
    failed = [name for name in ([] if arguments.page else arguments.only or PARTS) if run(name)]
    page = as_page({path.stem: json.loads(path.read_text()) for path in sorted(OUT.glob("*.json"))})
    (ROOT / "docs" / "service.md").write_text(page)
    print(page)
    if failed:
        sys.exit(f"Not measured: {', '.join(failed)}")


def run(name: str) -> int:
    print(f"{name} …", file=sys.stderr, flush=True)
    return subprocess.run([sys.executable, "-m", "benchmarks.service", "--part", name], cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode


def keep(name: str, found: object) -> None:
    part = OUT / f"{name}.part"
    part.write_text(json.dumps(found, indent=1))
    part.replace(OUT / f"{name}.json")


if __name__ == "__main__":
    main()

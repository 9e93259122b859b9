"""The deployed flow with places to stop at: entry point of the deployments where faults are tried (tests/services/arena.py).

What a test writes into the file `hold` of the folder FAULT_FOLDER says where the next run stops, such as `look before`; it renames the file
to `reached` there, and goes on when a file `go` appears. At `look during` it does not wait: what happens then happens in the middle of the work.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from flows.deployments import process_asset_run  # noqa: F401 -- the entry point
from tasks.runner import Reporting

FOLDER = Path(os.environ["FAULT_FOLDER"])  # noqa: TID251 -- Rollcall's own settings know nothing of it
PLAIN = Reporting.stage


def reach(stage, when):
    """Stop here, if a test wants that."""
    hold = FOLDER / "hold"
    try:
        wanted = hold.read_text().split()
    except OSError:
        return
    if wanted == [stage, when]:
        hold.rename(FOLDER / "reached")
        while when != "during" and not (FOLDER / "go").exists():
            time.sleep(0.02)


def held(self, name, retry, body, *, stopped):
    """Run a stage that a test may stop."""
    stage = name.split(" ")[0]

    def attempt(number):
        reach(stage, "before")
        reach(stage, "during")
        outcome = body(number)
        reach(stage, "after")
        return outcome

    PLAIN(self, name, retry, attempt, stopped=stopped)


Reporting.stage = held

"""`python -m tests.flow.driver JSON`: one `process_library` in a process of its own, to be interrupted, or to kill itself at a given point.

{"paths": [...], "home": "...", "options": {...}, "kill": [stage, "before" | "during" | "after"]}; prints a line of JSON for each event.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from dataclasses import asdict


def main():
    told = json.loads(sys.argv[1])
    from flows import process_library as module
    from infra.settings import load_settings

    if told.get("kill"):
        for name in ("Direct", "Orchestrated"):
            setattr(module, name, killing(getattr(module, name), *told["kill"]))

    def say(event):
        print(json.dumps(asdict(event)), flush=True)

    options = told.get("options", {})
    settings = load_settings(home=told["home"], **told.get("settings", {}))
    try:
        summary = module.process_library(told["paths"], settings=settings, on_event=say, **options)
    except KeyboardInterrupt:
        print(json.dumps({"kind": "interrupted"}), flush=True)
        sys.exit(130)
    states = {one.name: [one.state, one.made, one.cached] for one in summary.results}
    print(json.dumps({"kind": "summary", "states": states, "reasons": [one.reason for one in summary.failed]}), flush=True)


def killing(runner, stage, when):
    """Return a runner that kills this process without warning around a stage."""

    class Killing(runner):
        def stage(self, name, retry, body, *, stopped):
            if name.split(" ")[0] == stage:
                if when == "before":
                    os.kill(os.getpid(), signal.SIGKILL)
                if when == "during":
                    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGKILL)).start()
                super().stage(name, retry, body, stopped=stopped)
                os.kill(os.getpid(), signal.SIGKILL)
            super().stage(name, retry, body, stopped=stopped)

    return Killing


if __name__ == "__main__":
    main()

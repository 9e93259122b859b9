"""Small libraries for tests: runs in processes of their own, on our networks, and what a home then holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

from infra.catalog.snapshot import snapshot
from infra.settings import child_environment, load_settings
from infra.wiring import open_catalog
from tests.material import OUR_MODELS

ROOT = Path(__file__).resolve().parents[2]


def start(home, *paths, kill=None, settings=None, **options):
    """Start a run in a process of its own."""
    told = {
        "home": str(home),
        "paths": [str(path) for path in paths],
        "kill": kill,
        "options": options,
        "settings": {"models": OUR_MODELS, **(settings or {})},
    }
    return subprocess.Popen(
        [sys.executable, "-m", "tests.flow.driver", json.dumps(told)],
        cwd=ROOT, env=child_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def finish(process, timeout=240):
    """Return the exit status of a run and its events; a summary is the last of them."""
    out, err = process.communicate(timeout=timeout)
    events = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    assert process.returncode in {0, 130, -9}, err
    return process.returncode, events


def content(home):
    """Return the rows of a home's library, without surrogate ids and clocks."""
    with open_catalog(load_settings(home=home)) as catalog, catalog.reading() as connection:
        return snapshot(connection)


def run_states(home):
    """Return how the runs of a home's library ended, in the order in which they began."""
    with open_catalog(load_settings(home=home)) as catalog, catalog.reading() as connection:
        return [state for (state,) in connection.execute("SELECT state FROM run ORDER BY id")]


def differences(left, right):
    """Return the tables whose rows differ, with the first differing rows."""
    return {
        table: [pair for pair in zip(left[table], right[table], strict=False) if pair[0] != pair[1]][:2] or "lengths"
        for table in left
        if left[table] != right[table]
    }


def processes_of(home):
    """Return the command lines of processes that have to do with a home."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes() + bytes((entry / "cwd").readlink())
                state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
            except OSError:
                continue
            if str(home).encode() in words and state != "Z":
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:120])
    return found


def children_of(parent, word):
    """Return the ids of a process's children whose command line holds a word."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                if int(fields[1]) == parent and fields[0] != "Z" and word.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def prefect(url, what, body=None):
    """Return what Prefect's API knows of `flow_runs` or `task_runs`."""
    request = urllib.request.Request(
        f"{url}/{what}/filter", data=json.dumps(body or {"limit": 200}).encode(), headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)

"""The page of the service's benchmark, and how processes are measured for it."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from benchmarks.processes import Clock, Peak, table, tree_memory
from benchmarks.service_page import NOT_YET, SECTIONS, as_page

FOUND = {
    "mutants": {
        "seed": 1, "wanted": 4, "limit": 30.0, "seconds": 2.0,
        "rows": [
            ["0000 bits h264.ts", "done", "", 0.5],
            ["0001 header bits h264.ts", "quarantined", "Unreadable: 0001 header bits h264.ts: not media.", 0.1],
            ["0002 cut vp9.webm", "failed", "ChildFailed: ValueError in look_in_child: no", 0.2],
        ],
    },
    "arrival": {"cron": "every minute", "told": [7.0, 9.0], "untold": [11.0, 40.0, 45.0]},
    "again": {"assets": 200, "folder": {"first": 300.0, "second": 5.0}, "bucket": {"first": 310.0, "second": 5.2}},
    "cost": {
        "minutes": 10,
        "rounds": [{
            "asset": "a.mp4", "pickup": 2.0, "began": 5.0, "seconds": 100.0, "covered": 98.0, "stages": 20, "sizes": [1],
            "store": {"put": 0.5, "fetch": 0.5}, "cpu": {"run": 104.0, "store": 1.0}, "bare": {"seconds": 95.0, "whole": 99.0, "cpu": {"run": 100.0}},
        }],
    },
    "share": {
        "assets": 50, "differences": {},
        "runs": [
            {"workers": n, "seconds": 100.0 / n, "done": 50, "failed": 0, "flow_runs": 50, "work": 90.0, "assets": 50, "twice": 0} for n in (1, 2)
        ],
    },
    "split": {
        "minutes": 30, "seconds": 60.0, "done": 1, "spans": 30, "twice": 0, "differences": None,
        "runs": [{"flow": "process-asset", "state": "COMPLETED", "seconds": 55.0}],
    },
    "memory": {"rows": [{"minutes": 10, "seconds": 9.0, "peak": 800.0, "curve": []}, {"minutes": 30, "seconds": 30.0, "peak": 820.0, "curve": []}]},
}  # fmt: skip


def test_what_was_not_measured_is_said():
    assert as_page({}).count(NOT_YET) == len(SECTIONS)


def test_what_was_measured_is_said():
    page = as_page(FOUND)
    assert NOT_YET not in page
    assert "2 ended done or quarantined, 1 otherwise" in page
    assert "- 1: not media." in page and "- 0002 cut vp9.webm: failed" in page
    assert "| told of (`POST /events/s3`) | 7.0 to 9.0 | 2 |" in page and "| not told of, found by the scan | 11.0 to 45.0 | 3 |" in page
    assert "| bucket | 310.0 | 5.2 |" in page
    assert "| a.mp4 | 100.0 | 2.0 | 1.0 | 3.0 % | 2.0 |" in page
    assert "more by 5.0 (5.0 %)" in page
    assert "| 2 | 50.0 | 60.0 | 50 | 0 | 50 | 50 | 0 |" in page and "hold the same rows" in page
    assert "not compared with a run by one" in page
    assert "| 30 | 820.0 | +2 % | 30.0 |" in page and "Not measured yet: 240 minutes" in page and "ten hours at that rate: 1390 MiB" in page


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_processor_time_of_a_group_is_that_of_its_processes_and_their_children():
    clock = Clock(lambda _, words: "busy" if "busy-with-this" in words else None, every=0.1)
    clock.start()
    began = time.time()
    child = "import time; end = time.process_time() + 0.5\nwhile time.process_time() < end: pass"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}]); import time; time.sleep(0.3)"
    subprocess.run([sys.executable, "-c", parent, "busy-with-this"], check=True, timeout=60)
    ended = time.time()
    clock.stop()
    used = clock.between(began, ended)
    assert set(used) == {"busy"}
    assert 0.3 < used["busy"] < 5
    assert clock.between(ended, ended + 1) == {}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_of_a_tree_holds_its_children():
    assert os.getpid() in table()
    held = "import time; x = bytearray(100 << 20); print('held', flush=True); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", held], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None and child.stdout.readline()
        peak = Peak(os.getpid(), every=0.05)
        peak.start()
        alone, _ = tree_memory(child.pid)
        both, count = tree_memory(os.getpid())
        time.sleep(0.2)
        assert alone > 100
        assert both > alone and count >= 2
        assert peak.stop() > 100
    finally:
        child.kill()
        child.communicate()

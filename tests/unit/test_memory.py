"""Freed memory goes back to the system."""

import subprocess
import sys

import pytest

SCATTERED = """
from pathlib import Path
from infra.memory import give_back

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20

blocks = [bytearray(60_000) for _ in range(4000)]  # too small to be mapped by themselves
kept = blocks[::40]
before = resident()
del blocks
between = resident()
give_back()
print(before, between, resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_lies_between_things_that_live_is_given_back():
    told = subprocess.run([sys.executable, "-c", SCATTERED], capture_output=True, text=True, timeout=60, check=True).stdout
    before, between, after = map(int, told.split())
    assert before > 200
    assert between - after > 100, told

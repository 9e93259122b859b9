"""The people whom no role learns from: a tenth, by name, the same in training and where accuracy is measured."""

import hashlib

from benchmarks import calibrate_embedder
from training.people import held_out


def test_the_rule_is_the_first_byte_of_the_names_digest():
    names = ["George_W_Bush", "Zoë_Ball", ""]
    assert [held_out(name) for name in names] == [hashlib.sha256(name.encode()).hexdigest()[:2] < "1a" for name in names]


def test_a_tenth_is_held_out():
    assert 0.08 < sum(held_out(f"Person_{number}") for number in range(4000)) / 4000 < 0.125


def test_calibration_measures_on_the_same_people():
    names = [f"Name_{number}" for number in range(5000)]
    assert [held_out(name) for name in names] == [calibrate_embedder.held_out(name) for name in names]

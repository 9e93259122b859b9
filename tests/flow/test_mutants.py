"""Damaged media never harm the run: each file ends done or quarantined, and soon. The thousand are in `make benchmark-service`."""

from __future__ import annotations

import pytest

from benchmarks.mutants import make_mutants, make_seeds
from flows.process_library import process_library
from infra.settings import load_settings
from tests.material import OUR_MODELS

pytestmark = pytest.mark.service

SEED, COUNT, SLOWEST = 4711, 32, 60.0


@pytest.fixture(scope="module")
def whole(films, tmp_path_factory):
    """The films that are damaged."""
    return make_seeds(films("alone.mp4")[0], tmp_path_factory.mktemp("films"))


@pytest.mark.timeout(300)
def test_every_damaged_film_ends_done_or_quarantined(whole, tmp_path):
    files = make_mutants(whole, tmp_path / "mutants", seed=SEED, numbers=range(COUNT))
    settings = load_settings(home=tmp_path / "home", models=OUR_MODELS, limits={"seconds_at_least": SLOWEST})
    summary = process_library(files, direct=True, settings=settings)
    print(f"\nseed {SEED}: {len(summary.of('done'))} done, {len(summary.of('quarantined'))} quarantined")
    assert [one for one in summary.results if one.state not in {"done", "quarantined"}] == []
    assert len(summary.results) == COUNT
    assert summary.of("done") and summary.of("quarantined")
    assert max(one.seconds for one in summary.results) < SLOWEST


def test_a_mutant_can_be_made_again(whole, tmp_path):
    first, again = (make_mutants(whole, tmp_path / name, seed=SEED, numbers=range(9, 11)) for name in ("first", "again"))
    assert [one.read_bytes() for one in first] == [one.read_bytes() for one in again]
    assert [one.name for one in first] == [one.name for one in again]
    assert first[0].read_bytes() != make_mutants(whole, tmp_path / "other", seed=SEED + 1, numbers=range(9, 10))[0].read_bytes()

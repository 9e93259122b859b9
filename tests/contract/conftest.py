"""Fixtures of the contract suites."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared"


@pytest.fixture(scope="session")
def shared_models():
    """The folder of model files beside the checkout; without it the test is skipped, with the reason and the remedy."""
    if not SHARED.is_dir():
        pytest.skip("needs the model files: put the folder `shared` beside this checkout")
    return SHARED / "models"

"""Fixtures of the vector index."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.objects import FolderStore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where snapshots lie; the index makes it."""
    return tmp_path / "vectors"


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    """A store for mirrors of snapshots."""
    return FolderStore(tmp_path / "store")

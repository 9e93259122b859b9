"""What a run did: file by file, as commands and reports tell it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

AssetState = Literal["done", "skipped", "failed", "quarantined", "stopped"]


@dataclass(frozen=True, slots=True)
class AssetResult:
    """What became of one file in this run.

    `made` and `cached` count its stages. `retryable`: the next run tries again. skipped: nothing to do. `earlier`: it was failed or set aside
    before this run and was not tried.
    """

    name: str
    uri: str
    state: AssetState
    sha256: str | None = None
    reason: str = ""
    retryable: bool = False
    earlier: bool = False
    made: int = 0
    cached: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run did, file by file, sorted by name. `terms`: what must be said of the models' licences."""

    results: tuple[AssetResult, ...]
    ignored: int
    seconds: float
    terms: tuple[str, ...]

    def of(self, state: AssetState) -> tuple[AssetResult, ...]:
        """Return the files that ended in a state."""
        return tuple(one for one in self.results if one.state == state)

    @property
    def failed(self) -> tuple[AssetResult, ...]:
        """Return the files that this run could not serve: failed and quarantined."""
        return tuple(one for one in self.results if one.state in {"failed", "quarantined"} and not one.earlier)

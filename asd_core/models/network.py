"""What the rooms know of a neural network: named arrays in, named arrays out, and who it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray


class Network(Protocol):
    """A loaded network. One object serves one thread at a time; results do not depend on earlier calls."""

    @property
    def sha256(self) -> str:
        """Return the digest of the file it was loaded from."""
        ...

    @property
    def profile(self) -> str:
        """Return the numeric profile its results belong to, such as `cpu-fp32` or `cuda-fp16`: part of every cache key."""
        ...

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return all outputs by name, in the graph's own order.

        Raises:
            ModelMismatch: a name, type or shape in `feeds` is not what the graph takes.
        """
        ...


OpenNetwork = Callable[[Path], Network]

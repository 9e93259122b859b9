"""How commands open the library: settings, adapters, and what is ended with the command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infra.wiring import Adapters
    from rollcall.library import Library


@contextmanager
def open_adapters() -> Iterator[Adapters]:
    """Give all adapters with the settings as they are."""
    from infra import wiring
    from infra.settings import load_settings

    with wiring.open_adapters(load_settings()) as adapters:
        yield adapters


@contextmanager
def open_library() -> Iterator[Library]:
    """Give the library for reading."""
    from rollcall.library import Library

    with open_adapters() as adapters:
        yield Library(adapters.catalog, adapters.artifacts)

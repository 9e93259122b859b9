"""How commands open the library: settings, adapters, and what is ended with the command."""

from __future__ import annotations

import getpass
import os
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


def user_name() -> str:
    """Return who says or asks something, as the library notes it; a number where the system knows no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container that runs under a number alone
        return f"user {os.getuid()}"


@contextmanager
def open_library() -> Iterator[Library]:
    """Give the library for reading."""
    from rollcall.library import Library

    with open_adapters() as adapters:
        yield Library(adapters.catalog, adapters.artifacts, adapters.places)

"""Who is kept from all training: one rule for all roles, so that what one network learnt from does not spoil the measuring of another."""

from __future__ import annotations

import hashlib

BELOW = 26  # of 256: one person in ten


def held_out(person: str) -> bool:
    """Return whether a person is held out: decided by the name alone, so that every picture and sound of a person is on one side."""
    return hashlib.sha256(person.encode()).digest()[0] < BELOW

"""Who of the people with names (LFW, Glint360K) is kept from training; of the face tracks the manifests' `split` decides, of scenes the source."""

from __future__ import annotations

import hashlib

BELOW = 26  # of 256: one person in ten


def held_out(person: str) -> bool:
    """Return whether a person is held out: decided by the name alone, so that every picture and sound of a person is on one side."""
    return hashlib.sha256(person.encode()).digest()[0] < BELOW

"""How formats call people, assets and moments: labels, tokens, timestamps.

A turn's label is its person's name, else the library's id, else `p1`…, else the voice `v1`…; two people of one name are told apart.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import PurePosixPath
from typing import Any

Document = dict[str, Any]


def people_labels(document: Document) -> dict[str, str]:
    """Return people_id -> label, no two alike."""
    wanted = {person["id"]: person["name"] or person["person_id"] or person["id"] for person in document["people"]}
    count = Counter(wanted.values())
    return {people_id: label if count[label] == 1 else f"{label} ({people_id})" for people_id, label in wanted.items()}


def turn_label(turn: dict[str, Any], labels: dict[str, str]) -> str:
    """Return who speaks in a turn."""
    if turn["people_id"] is not None:
        return labels.get(turn["people_id"], str(turn["people_id"]))
    return str(turn["voice_id"] or "unknown")


def token(text: str) -> str:
    """Return text without what would break a space-separated or comma-separated line; never empty.

    >>> token("Grace Hopper (p2)")
    'Grace_Hopper_p2'
    """
    return re.sub(r"[^\w.\-]+", "_", text).strip("_") or "unnamed"


def programme(document: Document) -> str:
    """Return the asset's name as one token without its folder and last ending: the file id of RTTM, the video id of AVA."""
    return token(PurePosixPath(document["asset"]["name"]).stem)


def timestamp(seconds: float) -> str:
    """Return `HH:MM:SS.mmm`, as WebVTT wants it.

    >>> timestamp(3661.5)
    '01:01:01.500'
    """
    milliseconds = round(seconds * 1000)
    return f"{milliseconds // 3_600_000:02d}:{milliseconds // 60_000 % 60:02d}:{milliseconds // 1000 % 60:02d}.{milliseconds % 1000:03d}"

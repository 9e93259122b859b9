"""What was computed once is kept in out/accuracy/networks, under the digest of all that it depends on; older results of the same name go.

Of the code, each digest takes the files in which a result is made; the clock and the pixel conventions (timeline, geometry) are held still by tests.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
OUT = ROOT / "out" / "accuracy" / "networks"


def digest(*things: Any) -> str:
    """Return a digest of arrays, bytes, and whatever has a stable repr."""
    whole = hashlib.sha256()
    for thing in things:
        if isinstance(thing, np.ndarray):
            whole.update(f"{thing.dtype}{thing.shape}".encode())
            whole.update(np.ascontiguousarray(thing).data)
        elif isinstance(thing, bytes):
            whole.update(thing)
        else:
            whole.update(repr(thing).encode())
        whole.update(b"|")
    return whole.hexdigest()[:16]


def code(*names: str) -> str:
    """Return a digest of source files and of the Python files of folders, by paths below the repository's root."""
    paths = [path for name in names for path in ([ROOT / name] if name.endswith(".py") else sorted((ROOT / name).rglob("*.py")))]
    return digest(*(path.read_bytes() for path in paths))


def kept_arrays(name: str, key: str, make: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the arrays kept under a name and a digest, made first where there are none."""
    path = _place(name, key, ".npz")
    if not path.is_file():
        unfinished = path.with_suffix(".part.npz")
        np.savez(unfinished, **make())
        _replace(unfinished, path, name)
    with np.load(path) as stored:
        return dict(stored)


def kept_json(name: str, key: str, make: Callable[[], Any]) -> Any:
    """Return the document kept under a name and a digest, made first where there is none."""
    path = _place(name, key, ".json")
    if not path.is_file():
        unfinished = path.with_suffix(".part")
        unfinished.write_text(json.dumps(make(), default=float), encoding="utf-8")
        _replace(unfinished, path, name)
    return json.loads(path.read_text(encoding="utf-8"))


def _place(name: str, key: str, suffix: str) -> Path:
    OUT.mkdir(parents=True, exist_ok=True)
    return OUT / f"{name}.{key}{suffix}"


def _replace(unfinished: Path, path: Path, name: str) -> None:
    for old in OUT.glob(f"{name}.*{path.suffix}"):
        if old != unfinished and old.name.count(".") == path.name.count("."):
            old.unlink()
    unfinished.replace(path)

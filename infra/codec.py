"""Records to bytes and back: what artifacts are made of, and what travels to and from the decoding child.

Layout: 4 bytes magic, 32 bytes SHA-256 of all that follows, 8 bytes length of the head, the head (JSON), padding to 16, then the arrays
as raw little-endian bytes, each padded to 16. The head holds the value as a tree whose leaves point to arrays.

Reading is directed by a type: `decode(data, Look)` builds a `Look` or raises ArtifactDamaged; nothing in the bytes chooses a class, so
that a hostile file or child can at most give wrong numbers. Supported are dataclasses, tuples, lists, dicts, numpy arrays of numbers and
bool, None, bool, int, float, str, bytes, Path, Literal and unions of these.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import numpy as np

from asd_core.errors import ArtifactDamaged

T = TypeVar("T")
MAGIC = b"RCA1"
ALIGN = 16
DTYPES = {np.dtype(name).str: np.dtype(name) for name in ("?", "u1", "i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f2", "<f4", "<f8")}
HEAD_LIMIT = 1 << 28  # bytes of JSON
_PREFIX = len(MAGIC) + 32
_START = _PREFIX + 8


def _padded(length: int) -> int:
    return -(-length // ALIGN) * ALIGN


# ---- writing -----------------------------------------------------------------------------------------------------------------


def _tree(value: Any, arrays: list[np.ndarray[Any, Any]]) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, int | float):
        return value
    if isinstance(value, np.ndarray):
        dtype = value.dtype.newbyteorder("<")
        if dtype.str not in DTYPES:
            raise TypeError(f"arrays of {value.dtype} cannot be stored")
        arrays.append(np.ascontiguousarray(value, dtype=dtype).reshape(value.shape))
        return {"a": len(arrays) - 1}
    if isinstance(value, bytes):
        arrays.append(np.frombuffer(value, dtype=np.uint8))
        return {"b": len(arrays) - 1}
    if isinstance(value, Path):
        return {"p": str(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {"r": type(value).__name__, "f": {f.name: _tree(getattr(value, f.name), arrays) for f in dataclasses.fields(value)}}
    if isinstance(value, Mapping):
        return {"d": [[_tree(key, arrays), _tree(item, arrays)] for key, item in value.items()]}
    if isinstance(value, Sequence):
        return [_tree(item, arrays) for item in value]
    raise TypeError(f"{type(value).__name__} cannot be stored")


def encode(value: Any) -> bytes:
    """Return the bytes of a record (or of anything it may be made of); equal values give equal bytes.

    Raises:
        TypeError: something in it cannot be stored, or is not what the record's annotations promise: it could not be read again.
    """
    arrays: list[np.ndarray[Any, Any]] = []
    tree = _tree(value, arrays)
    if dataclasses.is_dataclass(value):
        try:
            Packed(tree, arrays).build(type(value))
        except ArtifactDamaged as error:
            raise TypeError(str(error)) from error
    head = json.dumps({"v": tree, "a": [[a.dtype.str, list(a.shape)] for a in arrays]}, separators=(",", ":"), ensure_ascii=False).encode()
    parts: list[bytes | memoryview] = [len(head).to_bytes(8, "little"), head, bytes(_padded(_START + len(head)) - _START - len(head))]
    for array in arrays:
        parts.append(memoryview(array.reshape(-1)).cast("B") if array.size else b"")
        parts.append(bytes(_padded(array.nbytes) - array.nbytes))
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return b"".join([MAGIC, digest.digest(), *parts])


# ---- reading -----------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Packed:
    """Bytes that were checked and taken apart, to be built by type."""

    tree: Any
    arrays: list[np.ndarray[Any, Any]]

    def build(self, kind: type[T]) -> T:
        """Return the value as `kind`; raises ArtifactDamaged where it is something else."""
        try:
            return typing.cast("T", _build(self.tree, kind, self.arrays))
        except (TypeError, ValueError, KeyError, IndexError, AttributeError, RecursionError) as error:
            raise ArtifactDamaged(f"not a {getattr(kind, '__name__', kind)}: {error}") from error

    def item(self, name: str) -> Packed:
        """Return the value under a key of a dict."""
        for key, value in self.tree["d"]:
            if key == name:
                return Packed(value, self.arrays)
        raise ArtifactDamaged(f"no {name}")

    def items(self) -> list[Packed]:
        """Return the values of a sequence."""
        return [Packed(value, self.arrays) for value in self.tree]


def unpack(data: bytes | bytearray) -> Packed:
    """Check the sum of encoded bytes and find their arrays, which are writable views: of a bytearray itself, else of a copy.

    Raises:
        ArtifactDamaged: the bytes are not what `encode` wrote.
    """
    if len(data) < _START or data[: len(MAGIC)] != MAGIC:
        raise ArtifactDamaged("not an artifact")
    if hashlib.sha256(memoryview(data)[_PREFIX:]).digest() != data[len(MAGIC) : _PREFIX]:
        raise ArtifactDamaged("checksum differs")
    length = int.from_bytes(data[_PREFIX:_START], "little")
    if length > min(HEAD_LIMIT, len(data) - _START):
        raise ArtifactDamaged("head is longer than the artifact")
    try:
        head = json.loads(data[_START : _START + length])
        return Packed(head["v"], _arrays(data if isinstance(data, bytearray) else bytearray(data), _padded(_START + length), head["a"]))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ArtifactDamaged(f"head cannot be read: {error}") from error


def _arrays(data: bytearray, start: int, described: list[Any]) -> list[np.ndarray[Any, Any]]:
    arrays = []
    for name, shape in described:
        dtype = DTYPES[name]
        if not all(isinstance(n, int) and 0 <= n < 1 << 40 for n in shape) or len(shape) > 8:
            raise ValueError("shape of an array")
        count = 1
        for n in shape:
            count *= n
        if start + count * dtype.itemsize > len(data):
            raise ValueError("an array is longer than the artifact")
        arrays.append(np.frombuffer(data, dtype=dtype, count=count, offset=start if count else 0).reshape(shape))
        start += _padded(count * dtype.itemsize)
    if start != len(data):
        raise ValueError("bytes after the last array")
    return arrays


def decode(data: bytes, kind: type[T]) -> T:
    """Return the record of type `kind` that bytes hold; its arrays are writable.

    Raises:
        ArtifactDamaged: the checksum differs, or the content is not a `kind`.
    """
    return unpack(data).build(kind)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _need(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(what)


def _build(tree: Any, kind: Any, arrays: list[np.ndarray[Any, Any]]) -> Any:
    origin = get_origin(kind)
    if kind is Any:
        return _anything(tree, arrays)
    if origin in (Union, types.UnionType):
        return _build_union(tree, get_args(kind), arrays)
    if origin is Literal:
        _need(tree in get_args(kind), f"{tree!r} is none of {get_args(kind)}")
        return tree
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        _need(isinstance(tree, dict) and tree.get("r") == kind.__name__, f"expected {kind.__name__}")
        hints, given = _hints(kind), tree["f"]
        _need(given.keys() == {f.name for f in dataclasses.fields(kind)}, f"fields of {kind.__name__}")
        return kind(**{name: _build(value, hints[name], arrays) for name, value in given.items()})
    if kind is np.ndarray or origin is np.ndarray:
        return _build_array(tree, get_args(kind), arrays)
    if (origin or kind) in (tuple, list, Sequence):
        return _build_sequence(tree, origin or kind, get_args(kind), arrays)
    if (origin or kind) in (dict, Mapping):
        key_kind, item_kind = get_args(kind) or (Any, Any)
        return {_build(key, key_kind, arrays): _build(item, item_kind, arrays) for key, item in tree["d"]}
    return _build_scalar(tree, kind, arrays)


def _build_scalar(tree: Any, kind: Any, arrays: list[np.ndarray[Any, Any]]) -> Any:
    if kind is None or kind is type(None):
        _need(tree is None, "expected nothing")
        return None
    if kind is float:
        _need(isinstance(tree, int | float) and not isinstance(tree, bool), "expected a number")
        return float(tree)
    if kind is int:
        _need(isinstance(tree, int) and not isinstance(tree, bool), "expected a whole number")
        return tree
    if kind is bool or kind is str:
        _need(isinstance(tree, kind), f"expected {kind.__name__}")
        return tree
    if kind is bytes:
        return arrays[_index(tree, "b", arrays)].tobytes()
    if isinstance(kind, type) and issubclass(kind, Path):
        return Path(tree["p"])
    if supertype := getattr(kind, "__supertype__", None):
        return _build(tree, supertype, arrays)
    raise TypeError(f"{kind} cannot be read")


def _index(tree: Any, tag: str, arrays: list[np.ndarray[Any, Any]]) -> int:
    _need(isinstance(tree, dict) and isinstance(tree.get(tag), int) and 0 <= tree[tag] < len(arrays), "expected an array")
    return int(tree[tag])


def _build_array(tree: Any, args: tuple[Any, ...], arrays: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    array = arrays[_index(tree, "a", arrays)]
    wanted = get_args(args[1])[0] if args and get_args(args[1]) else Any
    if isinstance(wanted, type) and issubclass(wanted, np.generic):
        _need(issubclass(array.dtype.type, wanted), f"expected an array of {wanted.__name__}, got {array.dtype}")
    return array


def _build_sequence(tree: Any, kind: type, args: tuple[Any, ...], arrays: list[np.ndarray[Any, Any]]) -> Any:
    _need(isinstance(tree, list), "expected a sequence")
    if kind is tuple and args and args[-1] is not Ellipsis:
        _need(len(tree) == len(args), f"expected {len(args)} items")
        return tuple(_build(item, arg, arrays) for item, arg in zip(tree, args, strict=True))
    item_kind = args[0] if args else Any
    values = [_build(item, item_kind, arrays) for item in tree]
    return values if kind is list else tuple(values)


def _build_union(tree: Any, kinds: tuple[Any, ...], arrays: list[np.ndarray[Any, Any]]) -> Any:
    if tree is None and type(None) in kinds:
        return None
    problems = []
    for kind in kinds:
        try:
            return _build(tree, kind, arrays)
        except (TypeError, ValueError, KeyError, IndexError) as error:
            problems.append(str(error))
    raise ValueError("; ".join(problems))


def _anything(tree: Any, arrays: list[np.ndarray[Any, Any]]) -> Any:
    """Build what is typed Any: plain values, lists as lists, dicts and arrays; records need a type."""
    if isinstance(tree, list):
        return [_anything(item, arrays) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if "d" in tree:
        return {_anything(key, arrays): _anything(item, arrays) for key, item in tree["d"]}
    if "a" in tree:
        return arrays[_index(tree, "a", arrays)]
    if "b" in tree:
        return arrays[_index(tree, "b", arrays)].tobytes()
    if "p" in tree:
        return Path(tree["p"])
    raise ValueError("a record where none is expected")

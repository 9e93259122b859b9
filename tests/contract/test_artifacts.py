"""Records to bytes and back; a damaged artifact is noticed whichever byte it is."""

import dataclasses
import typing
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from asd_core import records
from asd_core.errors import ArtifactDamaged, RequestError
from asd_core.records import Analysis, Look, Span
from infra.artifacts import ArtifactStore
from infra.codec import decode, encode, unpack
from infra.objects import FolderStore
from tests.contract.library import made_analysis


@dataclasses.dataclass(frozen=True)
class Everything:
    half: NDArray[np.float16]
    whole: NDArray[np.int64]
    flags: NDArray[np.bool_]
    nested: tuple[Span, ...]
    pair: tuple[int, str]
    maybe: Span | None
    choice: Literal["a", "b"]
    mixed: int | str
    table: dict[str, tuple[float, ...]]
    anything: Any
    data: bytes
    where: Path
    items: list[int]


def everything():
    return Everything(
        half=np.arange(6, dtype=np.float16).reshape(2, 3),
        whole=np.zeros((0, 4), np.int64),
        flags=np.array(True),
        nested=(Span(0, 1.5),),
        pair=(1, "é\n\0"),
        maybe=None,
        choice="b",
        mixed="x",
        table={"a": (1.0, float("inf"))},
        anything={"k": [1, None, {"z": 2.5}]},
        data=b"\0\1",
        where=Path("/x y"),
        items=[3],
    )


def same(left, right):
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()
    if dataclasses.is_dataclass(left):
        return type(left) is type(right) and all(same(getattr(left, f.name), getattr(right, f.name)) for f in dataclasses.fields(left))
    if isinstance(left, tuple | list):
        return type(left) is type(right) and len(left) == len(right) and all(map(same, left, right))
    return left == right


def test_round_trip():
    assert same(decode(encode(everything()), Everything), everything())


def test_a_whole_analysis():
    analysis = made_analysis("a")
    again = decode(encode(analysis), Analysis)
    assert same(again, analysis)
    assert encode(again) == encode(analysis)
    again.tracks[0].boxes[0, 0] = 5  # what comes from the cache can be worked with like what was just made


def test_every_record_of_the_core_can_be_read():
    kinds = [kind for kind in vars(records).values() if dataclasses.is_dataclass(kind)]
    assert len(kinds) > 20
    for kind in kinds:
        with pytest.raises(ArtifactDamaged):
            decode(encode({}), kind)
        typing.get_type_hints(kind)


def test_any_damaged_byte_is_noticed():
    data = encode(everything())
    for n in range(len(data)):
        with pytest.raises(ArtifactDamaged):
            decode(data[:n] + bytes([data[n] ^ 0x40]) + data[n + 1 :], Everything)
    for n in range(0, len(data), 7):
        with pytest.raises(ArtifactDamaged):
            decode(data[:n], Everything)
    with pytest.raises(ArtifactDamaged):
        decode(data + b"\0", Everything)


@pytest.mark.parametrize(
    ("value", "kind"),
    [("x", int), (1, str), (True, int), (1, bool), (None, int), (1.5, int), ([1], tuple[int, int]), ({"a": 1}, tuple[int, ...]),
     (Span(0, 1), records.Shot), (np.zeros(2, np.float64), NDArray[np.float32]), ({"a": "x"}, dict[str, int]), ("c", Literal["a", "b"])],
)  # fmt: skip
def test_another_type_is_damage(value, kind):
    with pytest.raises(ArtifactDamaged):
        decode(encode(value), kind)


def test_whole_numbers_pass_for_numbers():
    assert decode(encode(Span(1, 2)), Span) == Span(1.0, 2.0)


@dataclasses.dataclass(frozen=True)
class Promise:
    values: NDArray[np.float32]


def test_what_could_not_be_read_again_is_not_written():
    for wrong in (Promise(np.zeros(2)), Promise("x"), Promise(np.array(["x"])), Promise(object())):
        with pytest.raises(TypeError):
            encode(wrong)


def test_hostile_heads():
    import hashlib

    def sealed(head):
        body = len(head).to_bytes(8, "little") + head
        body += bytes(-(44 + len(head)) % 16)
        return b"RCA1" + hashlib.sha256(body).digest() + body

    heads = [
        b"", b"[]", b"{}", b"[" * 100_000, b'{"v":{"a":0},"a":[["<f4",[1000000000000]]]}', b'{"v":{"a":0},"a":[["|O",[1]]]}',
        b'{"v":{"a":0},"a":[["<f4",[-1]]]}', b'{"v":{"a":7},"a":[]}', b'{"v":{"a":-1},"a":[]}', b'{"v":{"a":true},"a":[]}',
        b'{"v":{"r":"Span","f":{}},"a":[]}', b'{"v":{"r":"Span","f":{"start":0,"end":1,"x":2}},"a":[]}',
    ]  # fmt: skip
    for head in heads:
        for kind in (Span, NDArray[np.float32], dict[str, int]):
            with pytest.raises(ArtifactDamaged):
                decode(sealed(head), kind)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.text(),
        st.lists(st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), st.text(), st.binary())),
        max_size=4,
    )
)
def test_any_plain_value_survives(value):
    assert decode(encode(value), Any) == value


@given(st.binary(max_size=300))
def test_noise_is_damage(data):
    with pytest.raises(ArtifactDamaged):
        unpack(data)


class TestStore:
    KEY = "ab" * 32

    @pytest.fixture
    def store(self, tmp_path):
        return ArtifactStore(FolderStore(tmp_path))

    def test_save_load_delete(self, store):
        assert (store.has(self.KEY), store.load(self.KEY, Span), store.size(self.KEY)) == (False, None, None)
        size = store.save(self.KEY, Span(0, 1))
        assert (store.has(self.KEY), store.load(self.KEY, Span), store.size(self.KEY)) == (True, Span(0, 1), size)
        assert list(store.keys()) == [self.KEY]
        store.delete(self.KEY)
        store.delete(self.KEY)
        assert not store.has(self.KEY)

    @pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"", lambda data: data[:50] + b"x" + data[51:]])
    def test_damaged_is_none_and_gone(self, store, tmp_path, damage):
        store.save(self.KEY, Span(0, 1))
        path = tmp_path / store.object_key(self.KEY)
        path.write_bytes(damage(path.read_bytes()))
        assert store.load(self.KEY, Span) is None
        assert not store.has(self.KEY)

    def test_another_record_is_damage(self, store):
        store.save(self.KEY, Span(0, 1))
        assert store.load(self.KEY, Look) is None

    @pytest.mark.parametrize("key", ["", "../../etc/passwd", "ABCDEF0123", "ab", "zz" * 32])
    def test_keys_are_digits(self, store, key):
        with pytest.raises(RequestError):
            store.save(key, Span(0, 1))

    def test_what_another_version_made_is_none_and_stays(self, store):
        """A record that has lost or won a field since: whole, and its maker may still want it."""
        store.save(self.KEY, made_analysis("a"))
        assert store.load(self.KEY, Look) is None
        assert store.load(self.KEY, Analysis) is not None


def test_those_that_are_there(tmp_path):
    store = ArtifactStore(FolderStore(tmp_path))
    keys = [f"{n:02x}" * 32 for n in range(60)]
    for key in keys[::3]:
        store.save(key, np.zeros(3, np.float32))
    assert store.present(keys) == set(keys[::3])
    assert store.present([]) == set()

"""One suite for every object store: a folder, and a bucket of a real S3 service below a prefix."""

import threading

import pytest

from asd_core.errors import NotFound, RequestError, Unavailable
from infra.objects import FolderStore


@pytest.fixture(params=["folder", pytest.param("bucket", marks=[pytest.mark.servers, pytest.mark.timeout(180)])])
def store(request, tmp_path):
    if request.param == "folder":
        return FolderStore(tmp_path / "objects")
    from infra.s3 import S3Service
    from tests.services.rgw import s3_settings

    return S3Service(s3_settings(request.getfixturevalue("s3_server"))).at(f"s3://{request.getfixturevalue('bucket')}/some where/é")


def test_empty(store):
    store.check()
    assert list(store.list()) == []
    assert store.get("a") is None
    assert store.stat("a/b") is None
    store.delete("a")
    with pytest.raises(NotFound):
        store.open("a")


def test_put_get_replace_delete(store):
    store.put("a/b", b"one")
    first = store.stat("a/b")
    assert (first.key, first.size) == ("a/b", 3)
    store.put("a/b", b"other")
    assert store.get("a/b") == b"other"
    assert store.stat("a/b") != first
    store.delete("a/b")
    assert store.get("a/b") is None


def test_a_folder_is_no_object(store):
    store.put("a/b", b"x")
    assert store.get("a") is None
    assert store.stat("a") is None


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a/.", "a\\b", "a\0b", ".part-x"])
def test_no_way_out(store, key):
    for act in (store.get, store.stat, store.delete, store.open, lambda key: store.put(key, b"")):
        with pytest.raises(RequestError):
            act(key)


def test_list_is_sorted_and_by_prefix(store):
    for key in ("b/2", "a/1", "b/10", "c é"):
        store.put(key, b"")
    assert [info.key for info in store.list()] == ["a/1", "b/10", "b/2", "c é"]
    assert [info.key for info in store.list("b/")] == ["b/10", "b/2"]
    assert list(store.list("nothing")) == []


@pytest.mark.parametrize(
    ("start", "length", "wanted"),
    [(0, None, b"0123456789"), (3, None, b"3456789"), (3, 4, b"3456"), (8, 9, b"89"), (20, 5, b""), (10, None, b""), (2, 0, b"")],
)
def test_ranges(store, start, length, wanted):
    store.put("a", b"0123456789")
    with store.open("a", start=start, length=length) as stream:
        assert stream.read() == wanted
    with store.open("a", start=start, length=length) as stream:
        assert b"".join(iter(lambda: stream.read(3), b"")) == wanted


def test_an_empty_object(store):
    store.put("a", b"")
    assert store.get("a") == b""
    assert store.stat("a").size == 0
    with store.open("a", start=0, length=4) as stream:
        assert stream.read() == b""


def test_what_stat_and_list_say_is_the_same(store):
    store.put("a/b", b"x")
    assert list(store.list()) == [store.stat("a/b")]


def test_readers_never_see_half(store):
    wrong, stop = [], threading.Event()

    def read():
        while not stop.is_set():
            data = store.get("a")
            if data is not None and len(set(data)) > 1:
                wrong.append(data)

    reader = threading.Thread(target=read)
    reader.start()
    for n in range(60):
        store.put("a", bytes([n]) * 100_000)
    stop.set()
    reader.join()
    assert not wrong
    assert [info.key for info in store.list()] == ["a"]


def test_a_store_that_cannot_be_written_is_unavailable(tmp_path):
    (tmp_path / "file").touch()
    store = FolderStore(tmp_path / "file" / "store")
    with pytest.raises(Unavailable):
        store.put("a", b"x")
    with pytest.raises(Unavailable):
        store.check()


def test_left_over_parts_are_no_objects(tmp_path):
    store = FolderStore(tmp_path)
    store.put("a/b", b"x")
    (tmp_path / "a" / ".part-123").write_bytes(b"half")
    assert [info.key for info in store.list()] == ["a/b"]

"""The cache of fetched media: bounded, shared, never trusted when half, never emptied under its users. The store is a folder that counts."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from pathlib import Path

import pytest

from asd_core.errors import Unavailable
from infra import fetched
from infra.fetched import MediaCache
from infra.objects import FolderStore
from infra.s3 import Replaced
from tasks.stage import is_transient

ROOT = Path(__file__).resolve().parents[2]


class Bucket(FolderStore):
    """A folder that is read like a bucket: by version, and each reading leaves a line."""

    bucket = "bucket"

    def __init__(self, root, breaks=()):
        super().__init__(root)
        self.breaks = list(breaks)  # after how many bytes the line breaks, time after time

    def open(self, key, *, start=0, length=None, version=None):
        if version != self.stat(key).version:
            raise Replaced(f"{key} was replaced")
        with Path(f"{self.root}.readings").open("a") as log:
            log.write(f"{key} {start}\n")
        stream = super().open(key, start=start, length=length)
        return Breaking(stream, self.breaks.pop(0)) if self.breaks else stream

    def __repr__(self):
        return "Bucket()"

    def readings(self):
        with suppress(FileNotFoundError):
            return Path(f"{self.root}.readings").read_text().splitlines()
        return []


class Breaking:
    def __init__(self, stream, left):
        self.stream, self.left = stream, left

    def read(self, size):
        if not self.left:
            raise Unavailable("the line broke")
        data = self.stream.read(min(size, self.left))
        self.left -= len(data)
        return data

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()


@pytest.fixture
def bucket(tmp_path):
    store = Bucket(tmp_path / "bucket")
    for letter in "abc":
        store.put(f"tv/{letter}.mp4", letter.encode() * 1000)
    return store


def fetch(cache, bucket, key, **told):
    info = bucket.stat(key)
    return cache.fetch(bucket, key, version=info.version, size=info.size, **told)


def kept(cache):
    return sorted(path.name for path in cache.folder.rglob("*.mp4"))


def test_a_file_is_fetched_and_hashed_once(bucket, tmp_path):
    cache = MediaCache(tmp_path / "cache", 10_000)
    first = fetch(cache, bucket, "tv/a.mp4")
    assert first.sha256 == hashlib.sha256(b"a" * 1000).hexdigest()
    assert (first.path.name, first.path.read_bytes()) == ("a.mp4", b"a" * 1000)
    assert fetch(cache, bucket, "tv/a.mp4").path == fetch(cache, bucket, "tv/a.mp4", sha256=first.sha256).path == first.path
    assert bucket.readings() == ["tv/a.mp4 0"]


def test_the_bound_keeps_what_was_used_last(bucket, tmp_path):
    cache = MediaCache(tmp_path / "cache", 2100)
    for key in ("tv/a.mp4", "tv/b.mp4", "tv/a.mp4", "tv/c.mp4"):
        fetch(cache, bucket, key).close()
        time.sleep(0.02)
    assert kept(cache) == ["a.mp4", "c.mp4"]


def test_what_is_in_use_stays_whatever_the_bound(bucket, tmp_path):
    cache = MediaCache(tmp_path / "cache", 1100)
    used = fetch(cache, bucket, "tv/a.mp4")
    fetch(cache, bucket, "tv/b.mp4").close()
    assert kept(cache) == ["a.mp4", "b.mp4"]
    fetch(cache, bucket, "tv/c.mp4").close()
    assert kept(cache) == ["a.mp4", "c.mp4"]
    used.close()
    fetch(cache, bucket, "tv/b.mp4").close()
    assert kept(cache) == ["b.mp4"]


def test_a_broken_line_goes_on_where_it_broke(bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(fetched, "WAIT_SECONDS", 0.0)
    bucket.breaks = [300, 0, 200]
    assert fetch(MediaCache(tmp_path / "cache", 10_000), bucket, "tv/a.mp4").path.read_bytes() == b"a" * 1000
    assert bucket.readings() == ["tv/a.mp4 0", "tv/a.mp4 300", "tv/a.mp4 300", "tv/a.mp4 500"]


def test_a_line_that_stays_broken_is_given_up_and_leaves_nothing(bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(fetched, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(fetched, "PATIENCE_SECONDS", 0.2)
    bucket.breaks, cache = [0] * 1000, MediaCache(tmp_path / "cache", 10_000)
    with pytest.raises(Unavailable):
        fetch(cache, bucket, "tv/a.mp4")
    assert not [path for path in cache.folder.rglob("*") if path.suffix != ".note"]


def test_another_version_is_not_waited_for(bucket, tmp_path):
    with pytest.raises(Replaced):
        MediaCache(tmp_path / "cache", 10_000).fetch(bucket, "tv/a.mp4", version="of last year", size=1000)


def test_other_bytes_than_those_that_are_known_are_refused(bucket, tmp_path):
    with pytest.raises(Replaced):
        fetch(MediaCache(tmp_path / "cache", 10_000), bucket, "tv/a.mp4", sha256="0" * 64)


def test_a_stop_ends_a_download(bucket, tmp_path):
    class Stop(Exception):
        pass

    def stop():
        raise Stop

    cache = MediaCache(tmp_path / "cache", 10_000)
    with pytest.raises(Stop):
        fetch(cache, bucket, "tv/a.mp4", check=stop)
    assert not list(cache.folder.glob(".part-*"))


def test_a_full_disk_is_a_passing_error_that_makes_room(bucket, tmp_path, monkeypatch):
    cache = MediaCache(tmp_path / "cache", 10_000)
    fetch(cache, bucket, "tv/a.mp4").close()

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="No space left") as caught:
        fetch(cache, bucket, "tv/b.mp4")
    assert is_transient(caught.value)
    assert kept(cache) == []
    assert not list(cache.folder.glob(".part-*"))
    monkeypatch.undo()
    assert fetch(cache, bucket, "tv/b.mp4").path.stat().st_size == 1000


def test_a_file_that_lost_its_end_is_fetched_again(bucket, tmp_path):
    cache = MediaCache(tmp_path / "cache", 10_000)
    first = fetch(cache, bucket, "tv/a.mp4")
    first.path.write_bytes(b"a")
    assert fetch(cache, bucket, "tv/a.mp4").path.read_bytes() == b"a" * 1000


def test_an_empty_object_and_a_long_name(bucket, tmp_path):
    long = "x" * 150 + "é" * 50 + ".mp4"
    for key in ("tv/empty.mp4", f"tv/{long}"):
        (bucket.root / key).touch()
        assert fetch(MediaCache(tmp_path / "cache", 10_000), bucket, key).path.suffix == ".mp4"


def _elsewhere(tmp_path, body):
    script = f"""
        import sys, time
        from pathlib import Path
        from infra.fetched import MediaCache
        from tests.contract.test_fetched import Bucket, fetch
        bucket, cache = Bucket(Path({str(tmp_path / "bucket")!r})), MediaCache(Path({str(tmp_path / "cache")!r}), 10_000)
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script) + textwrap.dedent(body)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )  # fmt: skip


def test_several_processes_fetch_an_object_once(bucket, tmp_path):
    runs = [_elsewhere(tmp_path, "print(fetch(cache, bucket, 'tv/a.mp4', check=lambda: time.sleep(0.3)).path)") for _ in range(4)]
    assert len({run.communicate(timeout=60)[0] for run in runs}) == 1
    assert bucket.readings() == ["tv/a.mp4 0"]


def test_a_killed_download_is_taken_up_and_its_part_removed(bucket, tmp_path, monkeypatch):
    run = _elsewhere(tmp_path, "fetch(cache, bucket, 'tv/a.mp4', check=lambda: (print('here', flush=True), time.sleep(60)))")
    run.stdout.readline()
    cache = MediaCache(tmp_path / "cache", 10_000)
    assert list(cache.folder.glob(".part-*"))
    run.send_signal(signal.SIGKILL)
    run.communicate()
    monkeypatch.setattr(fetched, "YOUNG_SECONDS", 0.0)
    assert fetch(cache, bucket, "tv/a.mp4").path.read_bytes() == b"a" * 1000
    assert not list(cache.folder.glob(".part-*"))


def test_what_another_process_uses_stays(bucket, tmp_path):
    run = _elsewhere(tmp_path, "held = fetch(cache, bucket, 'tv/a.mp4'); print('held', flush=True); time.sleep(60)")
    run.stdout.readline()
    cache = MediaCache(tmp_path / "cache", 100)
    fetch(cache, bucket, "tv/b.mp4").close()
    assert kept(cache) == ["a.mp4", "b.mp4"]
    run.kill()
    run.communicate()
    fetch(cache, bucket, "tv/c.mp4").close()
    assert kept(cache) == ["c.mp4"]

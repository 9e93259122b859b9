"""Which files of a folder are tried, and what they are called."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from asd_core.errors import NotFound, Unavailable
from flows import walk as module
from flows.walk import pick, settled, walk
from infra.places import Places

PLACES = Places(None)  # what only looks at files needs no settings


def make(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def names(found):
    return [one.name for one in found]


def test_folders_are_walked_and_what_lies_beside_media_is_passed_over(tmp_path):
    make(tmp_path, "b.mp4", "a/c.MXF", "a/odd.xyz", "README", "a/notes.TXT", "a/c.srt", "poster.jpg", ".hidden.mp4", ".git/x.mp4")
    found, ignored = walk([tmp_path], PLACES)
    assert names(found) == ["a/c.MXF", "a/odd.xyz", "b.mp4"]
    assert ignored == 4


def test_a_file_that_is_given_is_tried_whatever_it_is_called(tmp_path):
    make(tmp_path, "notes.txt", "noending")
    found, ignored = walk([tmp_path / "notes.txt", tmp_path / "noending"], PLACES)
    assert names(found) == ["noending", "notes.txt"]
    assert ignored == 0


def test_what_is_given_twice_is_found_once(tmp_path):
    make(tmp_path, "a/x.mp4")
    found, _ = walk([tmp_path, tmp_path / "a" / "x.mp4", tmp_path / "a" / ".." / "a"], PLACES)
    assert names(found) == ["a/x.mp4"]


def test_an_empty_folder_and_a_missing_path(tmp_path):
    assert walk([tmp_path], PLACES) == ([], 0)
    with pytest.raises(NotFound, match="nowhere"):
        walk([tmp_path / "nowhere"], PLACES)


def test_broken_links_are_not_files(tmp_path):
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nothing.mp4")
    assert walk([tmp_path], PLACES) == ([], 0)


def test_a_settled_file_does_not_wait(tmp_path):
    make(tmp_path, "x.mp4")
    os.utime(tmp_path / "x.mp4", (time.time() - 60, time.time() - 60))
    (one,), _ = walk([tmp_path], PLACES)
    began = time.monotonic()
    assert settled(one) == one
    assert time.monotonic() - began < 0.1


def test_a_file_that_keeps_growing_is_refused_for_now(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.3)
    make(tmp_path, "x.mp4")
    (one,), _ = walk([tmp_path], PLACES)
    with pytest.raises(Unavailable, match="still being written"):
        settled(one)


def test_what_may_not_be_looked_at_loses_no_neighbour(tmp_path, monkeypatch):
    make(tmp_path, "a.mp4", "closed.mp4", "going.mp4")
    stat = Path.stat

    def refusing(path, **more):
        if path.name == "closed.mp4":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        if path.name == "going.mp4" and not more:
            raise FileNotFoundError(errno.ENOENT, "No such file", str(path))
        return stat(path, **more)

    monkeypatch.setattr(Path, "stat", refusing)
    found, ignored = walk([tmp_path], PLACES)
    assert names(found) == ["a.mp4"]
    assert ignored == 1


def test_files_are_picked_whatever_they_are_called(tmp_path):
    make(tmp_path, "a/notes.txt", "a/.hidden.mp4", "b/x.mp4")
    uris = [str(tmp_path / name) for name in ("a/notes.txt", "a/.hidden.mp4", "b/x.mp4", "b/gone.mp4")]
    assert names(pick([tmp_path / "a", tmp_path], uris, PLACES)) == [".hidden.mp4", "b/x.mp4", "notes.txt"]

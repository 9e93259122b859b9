"""Outputs: what would be lost by writing is refused first; a device is written to, never replaced."""

import os
import threading

import pytest

from asd_core.errors import RequestError
from rollcall.cli.outputs import check_writable, write_text


def test_text_replaces_a_file_and_what_a_link_leads_to(tmp_path):
    real, link = tmp_path / "real.json", tmp_path / "link.json"
    real.write_text("old")
    link.symlink_to("real.json")
    write_text(link, "new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    write_text(tmp_path / ("x" * 250 + ".txt"), "long")
    assert sorted(len(path.name) for path in tmp_path.iterdir()) == [9, 9, 254]


def test_a_pipe_is_written_to_and_stays_one(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    heard = []
    reader = threading.Thread(target=lambda: heard.append(pipe.read_text()), daemon=True)
    reader.start()
    check_writable(pipe)
    write_text(pipe, "hello")
    reader.join(10)
    assert heard == ["hello"]
    assert pipe.is_fifo()


def test_what_would_be_lost_is_refused(tmp_path):
    film, link, pipe = tmp_path / "a.mp4", tmp_path / "link.mp4", tmp_path / "pipe"
    film.write_bytes(b"film")
    link.symlink_to(film)
    os.mkfifo(pipe)
    for wrong, says in (
        ({"source": film, "texts": (film,)}, "is what is read"),
        ({"source": film, "film": link}, "is what is read"),
        ({"film": pipe}, "no regular file"),
        ({"texts": (tmp_path / "b.json", tmp_path / "b.json")}, "two outputs"),
        ({"texts": (tmp_path,)}, "is a folder"),
        ({"texts": (tmp_path / "no" / "b.json",)}, "no such folder"),
    ):
        with pytest.raises(RequestError, match=says):
            check_writable(*wrong.pop("texts", ()), **wrong)
    check_writable(tmp_path / "b.json", tmp_path / "b.rttm", film=tmp_path / "b.mp4", source=film)

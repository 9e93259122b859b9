"""The report that a deployed run leaves with Prefect: what was done, links to the pages, and nothing of people."""

from __future__ import annotations

import re

import pytest

from flows.report import Report
from flows.summary import AssetResult
from tasks.stage import Event

SHA256 = "ab" * 32
PAGES = "https://rollcall.example/archive"
DONE = AssetResult("news/monday.mp4", "s3://media/news/monday.mp4", "done", SHA256, made=2, cached=1, seconds=5.0)


def test_stages_and_pace_are_told():
    report = Report()
    report.duration = 20.0
    for stage, outcome, seconds in (("probe", "cached", 0.1), ("look", "made", 3.0), ("look", "made", 1.0)):
        report(Event("stage", stage=stage, outcome=outcome, seconds=seconds))
    text = report.markdown(DONE)
    assert "| look | 2 | 0 | 0 | 4.00 |" in text and "| probe | 0 | 1 | 0 | 0.10 |" in text
    assert "2 made, 1 reused, 5.0 s for 20.0 s of media: 4.00 x real time" in text
    assert "http" not in text  # nobody said where the pages are


def test_people_are_shown_by_the_pages_and_not_kept():
    text = Report(PAGES).markdown(DONE)
    assert f"[![Who is in it]({PAGES}/assets/{SHA256}/people)]({PAGES}/assets/{SHA256})" in text
    assert "data:" not in text and "base64" not in text


@pytest.mark.parametrize("state", ["failed", "quarantined", "stopped"])
def test_what_is_not_in_the_library_has_no_picture(state):
    assert "![" not in Report(PAGES).markdown(AssetResult("a.mp4", "/a.mp4", state, SHA256, reason="no media"))


def test_a_name_from_outside_is_no_markdown():
    text = Report().markdown(AssetResult("![x](http://evil.example/a.png) <img src=x>", "/a", "failed", None, reason="[x](y)"))
    assert re.search(r"(?<!\\)[\[\]<>()]", text) is None  # all with a backslash before it

"""The looks of an asset come out of the store span by span, few at a time, and again where one is gone."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from asd_core.records import Block, Look, MediaInfo, VideoTrack
from tasks import look as looking
from tasks.look import LOOK, Looks
from tasks.runner import Direct
from tasks.stage import Job, Stage, stage_key
from tests.flow.ledger import fake_adapters, fake_plan
from tests.flow.test_stage import ASSET

MINUTES = 10
VIDEO = VideoTrack(0, "h264", "yuv420p", 320, 180, 320, 180, 0, 1.0, 25.0, False, 0.0, 60.0 * MINUTES)
INFO = MediaInfo("mp4", 60.0 * MINUTES, 0.0, None, VIDEO, ())


@pytest.fixture
def made(monkeypatch):
    """The spans that were looked at, by a look that sees nothing."""
    spans = []

    def work(job, span, info):
        spans.append(span)
        first, last = map(int, span.split("-"))
        return Look(tuple(Block(mark, np.zeros(0, np.int64), np.zeros((0, 3), np.float32), ()) for mark in range(first, last + 1)))

    monkeypatch.setattr(looking, "LOOK", Stage("look", 1, Look, work))
    return spans


@pytest.fixture
def job(tmp_path):
    return Job(ASSET, fake_plan(span_marks=6), fake_adapters(tmp_path), Direct(threading.Event()))


def test_they_come_in_order_and_are_made_once(job, made):
    for _ in range(2):
        assert [look.blocks[0].mark for look in Looks(job, INFO)] == list(range(0, 60, 6))
    assert made == [f"{mark}-{mark + 5}" for mark in range(0, 60, 6)]


def test_no_more_than_a_few_spans_are_kept(job, made, monkeypatch):
    looks, loads = Looks(job, INFO), []
    load = looks._load
    monkeypatch.setattr(looks, "_load", lambda number: loads.append(number) or load(number))
    assert [looks.block(mark).mark for mark in range(60)] == list(range(60))
    assert loads == list(range(10))  # each once, where marks come in order
    for mark in (59, 53, 59, 47, 59):
        looks.block(mark)
    assert len(loads) == 10  # the last three are kept
    looks.block(0)
    looks.block(59)
    assert (len(loads), len(looks._kept)) == (11, Looks.KEPT)


def test_one_that_is_gone_is_looked_at_again(job, made):
    looks = Looks(job, INFO)
    list(looks)
    job.adapters.artifacts.delete(stage_key(looking.LOOK, job.plan, ASSET.sha256, "12-17"))
    assert looks.block(14).mark == 14
    assert made[-1] == "12-17" and len(made) == 11


def test_spans_are_those_of_the_plan(job):
    assert len(Looks(job, INFO).spans) == MINUTES
    assert LOOK.makes is Look

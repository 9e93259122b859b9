"""What a stage is: keys, look-up, verification, retries, records. Small made-up stages on a real artifact store."""

from __future__ import annotations

import errno
import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from asd_core.errors import NotFound, Unavailable, Unreadable
from asd_core.records import Scores, Span
from infra.places import file_version
from tasks.listen import LISTEN
from tasks.look import LOOK
from tasks.probe import PROBE
from tasks.runner import Direct
from tasks.stage import Asset, Changed, Job, Retry, Stage, Stopped, is_transient, stage_key
from tests.flow.ledger import fake_adapters, fake_plan

ASSET = Asset("ab" * 32, "news.mp4", "/news.mp4")
QUICK = Retry((0.01, 0.01))


class Work:
    """A stage's work that counts its calls and fails as often as it is told."""

    def __init__(self, *errors, made=None):
        self.errors, self.calls, self.made = list(errors), [], made or Span(1.0, 2.0)

    def __call__(self, job, span, *inputs):
        self.calls.append((span, inputs))
        if self.errors:
            raise self.errors.pop(0)
        return self.made


def stage_of(work, name="first", **more):
    return Stage(name, **{"version": 1, "makes": type(work.made), "work": work, "retry": QUICK} | more)


@pytest.fixture
def adapters(tmp_path):
    return fake_adapters(tmp_path)


def job_of(adapters, plan=None, **more):
    stop = more.pop("stop", None) or threading.Event()
    return Job(more.pop("asset", ASSET), plan or fake_plan(), adapters, Direct(stop), stop=stop, **more)


# ---- keys ----


def test_a_key_holds_all_that_a_result_depends_on_and_nothing_more():
    before = stage_of(Work(), reads=lambda plan: plan.options.look, roles=("detector",))
    stage = stage_of(Work(), name="second", after=(before,), reads=lambda plan: plan.options.turns)
    plan = fake_plan()
    key = stage_key(stage, plan, "a")
    look = replace(plan.options, look=replace(plan.options.look, stride=3))
    turns = replace(plan.options, turns=replace(plan.options.turns, price=1.0))
    other_model = plan.models | {"detector": plan.models["speaking"]}
    differing = [
        stage_key(stage, plan, "b"),
        stage_key(stage, plan, "a", "0-5"),
        stage_key(replace(stage, name="other"), plan, "a"),
        stage_key(replace(stage, version=2), plan, "a"),
        stage_key(replace(stage, after=(replace(before, version=2),)), plan, "a"),
        stage_key(stage, fake_plan(options=turns), "a"),
        stage_key(stage, fake_plan(options=look), "a"),  # of the stage before
        stage_key(stage, fake_plan(models=other_model), "a"),
        stage_key(stage, fake_plan(profile="cuda-fp32"), "a"),
    ]
    assert len({key, *differing}) == len(differing) + 1
    assert key == stage_key(stage, fake_plan(threads=7, span_marks=1), "a")
    assert stage_key(before, plan, "a") == stage_key(before, fake_plan(options=turns), "a")
    unread = fake_plan(models=plan.models | {"embedder": plan.models["speaking"]})
    assert key == stage_key(stage, unread, "a")


# ---- look-up ----


def test_the_same_work_is_done_once(adapters):
    work = Work()
    assert job_of(adapters).make(stage_of(work)) == job_of(adapters).make(stage_of(work)) == Span(1.0, 2.0)
    assert len(work.calls) == 1
    assert adapters.catalog.outcomes() == [("first", "", "made", 1), ("first", "", "cached", 1)]


def test_inputs_are_made_only_where_they_are_needed(adapters):
    asked = []
    for _ in range(2):
        job_of(adapters).make(stage_of(Work()), lambda: asked.append(1) or "blocks", 7)
    assert asked == [1]


def test_spans_rest_apart(adapters):
    work = Work()
    job = job_of(adapters)
    job.make(stage_of(work), span="0-5")
    job.make(stage_of(work), span="6-9")
    assert [span for span, _ in work.calls] == ["0-5", "6-9"]


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[:40] + b"\xff" + data[41:], lambda data: b""])
def test_a_damaged_artifact_is_made_again(adapters, damage):
    work = Work(made=Scores((np.zeros(5, np.float32),), (np.ones(5, np.float32),)))
    stage = stage_of(work)
    job_of(adapters).make(stage)
    name = adapters.artifacts.object_key(stage_key(stage, fake_plan(), ASSET.sha256))
    adapters.objects.put(name, damage(adapters.objects.get(name)))
    again = job_of(adapters).make(stage)
    np.testing.assert_array_equal(again.logits[0], np.zeros(5, np.float32))
    assert len(work.calls) == 2
    job_of(adapters).make(stage)
    assert len(work.calls) == 2


# ---- retries ----


def test_transient_errors_are_met_with_another_try(adapters):
    work = Work(Unavailable("away"), OSError(errno.ENOSPC, "full"))
    assert job_of(adapters).make(stage_of(work)) == Span(1.0, 2.0)
    assert adapters.catalog.outcomes() == [("first", "", "failed", 1), ("first", "", "failed", 2), ("first", "", "made", 3)]


def test_patience_ends(adapters):
    work = Work(*[Unavailable("away")] * 9)
    with pytest.raises(Unavailable):
        job_of(adapters).make(stage_of(work))
    assert len(work.calls) == 3


@pytest.mark.parametrize("error", [Unreadable("no media"), NotFound("none"), ValueError("a bug"), OSError(errno.EACCES, "closed")])
def test_bad_input_is_not_tried_again(adapters, error):
    work = Work(error)
    with pytest.raises(type(error)):
        job_of(adapters).make(stage_of(work))
    assert len(work.calls) == 1
    assert not is_transient(error)


def test_a_result_survives_a_database_that_was_away_when_it_was_recorded(adapters):
    work = Work()
    adapters.catalog.away = 2  # the record of the result, and that of its failure
    assert job_of(adapters).make(stage_of(work)) == Span(1.0, 2.0)
    assert adapters.catalog.outcomes() == [("first", "", "made", 2)]


# ---- stopping ----


def test_a_stopped_job_begins_nothing(adapters):
    stop = threading.Event()
    stop.set()
    work = Work()
    with pytest.raises(Stopped):
        job_of(adapters, stop=stop).make(stage_of(work))
    assert work.calls == []


def test_an_error_while_stopping_is_the_stop(adapters):
    stop = threading.Event()

    def work(job, span):
        stop.set()
        raise Unavailable("the sandbox was closed")

    with pytest.raises(Stopped):
        job_of(adapters, stop=stop).make(Stage("look", 1, Span, work, retry=QUICK))
    assert adapters.catalog.rows == []


# ---- the rest ----


def test_parts_run_side_by_side_and_the_first_error_waits_for_all(adapters):
    meeting, ended = threading.Barrier(2, timeout=10), []

    def part(fails):
        meeting.wait()
        if fails:
            raise Unreadable("no")
        ended.append(1)

    with pytest.raises(Unreadable):
        job_of(adapters).together(lambda: part(True), lambda: part(False))
    assert ended == [1]
    assert job_of(adapters).together(lambda: 1, lambda: 2) == [1, 2]


def test_a_stage_within_a_transaction_is_recorded_after_it(adapters):
    inner = stage_of(Work(), name="identify", stored=False)

    def outer(job, span):
        job.within(inner)
        assert adapters.catalog.rows == []

    job_of(adapters).make(Stage("publish", 1, type(None), outer, retry=QUICK, stored=False))
    assert [row[:1] for row in adapters.catalog.outcomes()] == [("identify",), ("publish",)]


def test_progress_of_spans_adds_up(adapters):
    heard = []
    job = job_of(adapters, emit=heard.append)
    job.progress("look", "0-0", 30.0)("look", 4, 10)
    job.progress("look", "1-1", 30.0)("look", 5, 10)
    job.progress("listen", "", 30.0)("listen", 1, 10)
    assert [(event.stage, event.done, event.total) for event in heard] == [("look", 4, 30.0), ("look", 9, 30.0), ("listen", 1, 30.0)]


def test_a_file_that_grew_is_not_published(adapters, tmp_path):
    path = tmp_path / "growing.mp4"
    path.write_bytes(b"1")
    job = job_of(adapters, asset=Asset("cd" * 32, "growing.mp4", str(path), file_version(path)))
    job.check_unchanged()
    path.write_bytes(b"12")
    with pytest.raises(Unavailable, match=r"growing\.mp4"):
        job.check_unchanged()


@pytest.mark.parametrize("error", [None, Unreadable("no film"), Unavailable("the child was killed")])
def test_what_is_made_of_a_file_that_was_replaced_meanwhile_is_neither_kept_nor_believed(adapters, tmp_path, error):
    path = tmp_path / "replaced.mp4"
    path.write_bytes(b"1")
    calls = []

    def work(job, span):
        calls.append(span)
        path.write_bytes(b"12")
        if error is not None:
            raise error
        return Span(1.0, 2.0)

    job = job_of(adapters, asset=Asset("cd" * 32, "replaced.mp4", str(path), file_version(path)))
    stage = Stage("probe", 1, Span, work, retry=QUICK, opens=True)
    with pytest.raises(Changed, match=r"replaced\.mp4 changed"):
        job.make(stage)
    assert len(calls) == 1  # the same file is not looked at again
    assert not adapters.artifacts.has(stage_key(stage, job.plan, job.asset.sha256))


def test_the_stages_that_open_the_media_say_so():
    assert [stage.opens for stage in (PROBE, LOOK, LISTEN)] == [True] * 3


def test_what_a_summary_says_of_the_terms():
    def model(name, licence, *, commercial):
        return SimpleNamespace(name=name, manifest=SimpleNamespace(licence=licence, commercial=commercial))

    models = {
        "detector": model("b", "academic", commercial=False),
        "speaking": model("c", "MIT", commercial=True),
        "embedder": model("a", "academic", commercial=False),
    }
    assert fake_plan(models=models).terms() == ("not for commercial use: a, b (academic)",)

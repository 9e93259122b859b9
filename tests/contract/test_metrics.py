"""The library in numbers: figures from the catalog, and the page that Prometheus reads."""

import asyncio
import shutil
import subprocess
from types import SimpleNamespace

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from infra.catalog import assets, runs
from infra.catalog.figures import read_figures
from rollcall.api.metrics import Telling, families
from rollcall.web.app import create_app
from tests.contract.library import EMBEDDER, add, see, sha

pytestmark = pytest.mark.service


def figures_of(catalog, **told):
    with catalog.reading() as connection:
        return read_figures(connection, **told)


def get(app, path, **headers):
    """Ask an application without a server."""

    async def ask():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost", headers=headers) as client:
            return await client.get(path)

    return asyncio.run(ask())


def page_of(catalog, tmp_path, **told):
    app = create_app(SimpleNamespace(), SimpleNamespace(), telling=Telling(catalog, tmp_path, **told))
    return get(app, "/metrics")


@pytest.fixture
def worked(catalog):
    """Two assets done, one new, one failed, one set aside; stages, runs and a lock."""
    add(catalog, "a.mp4")
    add(catalog, "b.mp4")
    with catalog.transaction() as connection:
        see(connection, "new.mp4")
        see(connection, "failed.mp4")
        assets.set_state(connection, sha("failed.mp4"), "failed", reason="away", retryable=True)
        see(connection, "bad.mp4")
        assets.quarantine(connection, uri="file:///media/bad.mp4", name="bad.mp4", error="Unreadable", reason="no media", sha256=sha("bad.mp4"))
        for outcome, seconds in (("made", 2.0), ("made", 4.0), ("cached", 0.1), ("failed", 1.0)):
            runs.record_stage(connection, stage="look", key="k", outcome=outcome, seconds=seconds, sha256=sha("a.mp4"))
        runs.note_run(connection, "backup", summary={})
        connection.execute("UPDATE asset SET first_seen = now() - interval '2 hours' WHERE sha256 = %s", (sha("new.mp4"),))
        connection.execute("UPDATE asset SET published_at = now() - interval '2 hours' WHERE sha256 = %s", (sha("b.mp4"),))
    return catalog


def test_an_empty_library_has_figures(catalog, tmp_path):
    figures = figures_of(catalog)
    assert figures.assets == {"new": 0, "done": 0, "failed": 0, "quarantined": 0}
    assert (figures.media_seconds, figures.oldest_unfinished_seconds, figures.stages, figures.locks) == (0, 0, (), 0)
    assert page_of(catalog, tmp_path).status_code == 200


def test_figures_are_what_is_there(worked):
    with worked.alone("asset:x"), runs.running(worked, "ingest"):
        figures = figures_of(worked)
    assert figures.assets == {"new": 1, "done": 2, "failed": 1, "quarantined": 1}
    assert (figures.media_seconds, figures.media_seconds_last_hour) == (20.0, 10.0)
    assert 7200 <= figures.oldest_unfinished_seconds < 7300
    assert [(one.stage, one.outcome, one.runs, round(one.seconds, 6)) for one in figures.stages] == [
        ("look", "cached", 1, 0.1), ("look", "failed", 1, 1.0), ("look", "made", 2, 6.0),
    ]  # fmt: skip
    assert (figures.quarantined, figures.runs, figures.locks) == ({"Unreadable": 1}, {"ingest": 1, "backup": 0}, 1)
    assert list(figures.last_done) == ["backup"]
    assert figures.database_bytes > 1 << 20
    after = figures_of(worked)
    assert (after.runs, after.locks) == ({"ingest": 0, "backup": 0}, 0)  # though nobody said how the run ended


def test_what_waits_but_is_gone_does_not_count_as_waiting(worked):
    with worked.transaction() as connection:
        assets.miss_locations(connection, "file:///media/new", [])
    assert figures_of(worked).oldest_unfinished_seconds < 60


def test_the_index_lags_behind_by_what_came_after_its_position(worked):
    with worked.reading() as connection:
        (position,) = connection.execute("SELECT max(id) FROM index_log").fetchone()
    assert figures_of(worked).index_lag == {EMBEDDER: 4}
    assert figures_of(worked, index_positions={EMBEDDER: position}).index_lag == {EMBEDDER: 0}
    add(worked, "c.mp4")
    assert figures_of(worked, index_positions={EMBEDDER: position}).index_lag == {EMBEDDER: 2}


def test_prometheus_reads_the_page(worked, tmp_path):
    answer = page_of(worked, tmp_path, index_positions=lambda: {EMBEDDER: 1})
    assert answer.headers["content-type"].startswith("text/plain; version=")
    told = {(s.name, *sorted(s.labels.values())): s.value for family in text_string_to_metric_families(answer.text) for s in family.samples}
    assert told["rollcall_assets", "done"] == 2
    assert told["rollcall_stage_runs_total", "look", "made"] == 2
    assert (told["rollcall_stage_duration_seconds_sum", "look"], told["rollcall_stage_duration_seconds_count", "look"]) == (6, 2)
    assert told["rollcall_quarantined_files", "Unreadable"] == 1
    assert told["rollcall_index_lag_entries", EMBEDDER[:12]] == 3
    assert told["rollcall_media_speed_ratio",] == pytest.approx(10 / 3600)
    assert told["rollcall_home_free_bytes",] > 0
    assert not {"a.mp4", "bad.mp4", "no media"} & set(answer.text.split('"'))


def test_promtool_has_nothing_to_say_against_the_page(worked, tmp_path):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool: apt install prometheus")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=page_of(worked, tmp_path).text, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_there_are_no_metrics_where_none_are_to_be_told():
    app = create_app(SimpleNamespace(), SimpleNamespace())
    assert get(app, "/metrics", accept="text/html").status_code == 404


def test_every_metric_says_what_it_is(worked):
    for family in families(figures_of(worked)):
        assert family.documentation.endswith(".") and family.name.startswith("rollcall_")

"""A long asset looked at on a cluster of Dask or Ray in processes of their own, where their packages are; and what happens without one."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from asd_core.errors import RequestError
from flows import cluster
from flows.cluster import check, look_on_cluster
from flows.process_library import process_library
from flows.split import parts_of
from infra import orchestrate
from infra.settings import load_settings
from infra.wiring import open_catalog
from tests.flow.libraries import ROOT, content, differences, prefect, processes_of
from tests.flow.test_stage import ASSET
from tests.material import LONG_FILM, OUR_MODELS, folder_of
from tests.services.standing import Standing, remuxed, wait_until

pytestmark = pytest.mark.service


def closed_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def looks(home):
    """How often each span was looked at, and by whom: in a run of the library, or outside of one, as a cluster does."""
    with open_catalog(load_settings(home=home)) as catalog, catalog.reading() as connection:
        rows = connection.execute("SELECT span, outcome, run_id IS NULL FROM stage_run WHERE stage = 'look' ORDER BY 1, 2").fetchall()
    return [(span, outcome, "cluster" if outside else "here") for span, outcome, outside in rows]


def test_parts_are_whole_spans_of_about_the_same_length():
    spans = [range(n, n + 1) for n in range(7)]
    parts = parts_of(spans, 65.0, 30)
    assert [len(part) for part in parts] == [2, 2, 3] and [span for part in parts for span in part] == spans
    assert parts_of(spans, 65.0, 65.0) == [spans]
    assert parts_of([], 0.0, 30) == [[]]
    assert parts_of(spans, 650.0, 1) == [[span] for span in spans]


@pytest.mark.parametrize("kind", ["dask", "ray"])
def test_a_cluster_whose_package_is_missing_is_named_in_one_line(kind, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RequestError, match=rf"span_runner names a cluster of {kind}.*pip install 'rollcall\[{kind}\]'"):
        check(f"{kind}://127.0.0.1:1")
    check(None)


class Handed:
    """A cluster whose tasks end as they are told to: None well, an error so, "never" not at all."""

    def __init__(self, *ends):
        self.ends, self.asked = list(ends), []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def submit(self, task, parameters):
        end = self.ends[len(self.asked)]
        self.asked.append(parameters["spans"])

        def result(timeout, raise_on_failure):
            if end == "never":
                time.sleep(0.01)
                raise TimeoutError
            if end is not None:
                raise end

        return SimpleNamespace(result=result)


@pytest.mark.parametrize(
    ("ends", "waited", "failed"),
    [
        ((None, None, None), 0, 0),
        ((None, ConnectionError("a worker died"), None), 0, 1),
        (("never", "never", "never"), 1, 1),
        ((None, "never", None), 1, 1),
    ],
)
def test_a_lost_part_ends_itself_and_a_silent_cluster_is_given_up_at_once(ends, waited, failed, monkeypatch, caplog, tmp_path):
    orchestrate.prepare(tmp_path)  # before anything imports Prefect, as in the program
    handed, looked = Handed(*ends), []
    monkeypatch.setattr(cluster, "_task_runner", lambda runner: handed)
    monkeypatch.setattr(cluster, "look_at", lambda job, info, spans: looked.append(spans))
    settings = SimpleNamespace(span_runner="dask://127.0.0.1:1", split_seconds=None, span_seconds=10, child_seconds=lambda seconds: 0.3)
    job = SimpleNamespace(asset=ASSET, adapters=SimpleNamespace(settings=settings), check_stopped=lambda: None)
    spans = [range(n, n + 1) for n in range(3)]
    began = time.monotonic()
    look_on_cluster(job, SimpleNamespace(duration=30.0), spans, root="/")
    assert handed.asked == [["0-0"], ["1-1"], ["2-2"]] and looked == [spans]
    assert waited * 0.3 <= time.monotonic() - began < waited * 0.3 + 0.25 + 20 * (not waited)  # never the patience of each part
    assert len({record.created for record in caplog.records if record.message == "cluster failed"}) == failed  # Prefect hears the root logger too


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of what a cluster's client leaves open when nobody answers
def test_what_no_cluster_did_is_done_here(films, tmp_path):
    if importlib.util.find_spec("prefect_dask") is None:
        pytest.skip("needs a cluster: pip install 'rollcall[dask]'")
    folder = folder_of(tmp_path / "media", *films(LONG_FILM))
    told = {"models": OUR_MODELS, "span_seconds": 10}
    nobody = load_settings(home=tmp_path / "nobody", span_runner=f"dask://127.0.0.1:{closed_port()}", **told)
    (result,) = process_library([folder], direct=True, settings=nobody, deployed=partial(look_on_cluster, root=str(folder))).results
    assert result.state == "done"
    said = (tmp_path / "nobody" / "log" / "rollcall.jsonl").read_text()
    assert "cluster failed" in said and "ModuleNotFoundError" not in said
    assert {each[1:] for each in looks(nobody.home)} == {("made", "here")} and len(looks(nobody.home)) > 1
    process_library([folder], direct=True, settings=load_settings(home=tmp_path / "plain", **told))
    assert differences(content(nobody.home), content(tmp_path / "plain")) == {}


@contextlib.contextmanager
def dask_cluster(folder, environment):
    """Give the address of a scheduler with two workers, each a process of its own."""
    told = folder / "scheduler.json"
    commands = [["dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(told)]]
    commands += [["dask_worker", "--scheduler-file", str(told), "--nthreads", "1", "--no-nanny", "--no-dashboard"]] * 2
    started = []
    try:
        for module, *arguments in commands:
            command = [sys.executable, "-m", f"distributed.cli.{module}", *arguments]
            started.append(begin(command, folder, environment | {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "20s"}))
            wait_until(lambda: told.exists() and told.read_text().endswith("}"), 60)
        yield json.loads(told.read_text())["address"].replace("tcp://", "dask://")
    finally:
        for process in reversed(started):  # workers that lose their scheduler first do not always end
            end(process)


@contextlib.contextmanager
def ray_cluster(folder, environment):
    """Give the address of a head that has room for two tasks."""
    ports = {"--port": closed_port(), "--ray-client-server-port": closed_port()}
    command = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start", "--head", "--block", "--num-cpus=2"]
    command += ["--node-ip-address=127.0.0.1", "--include-dashboard=false", "--disable-usage-stats", f"--object-store-memory={80 << 20}"]
    command += [f"{name}={port}" for name, port in ports.items()]
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as short:  # the names of its sockets are long enough
        patient = {"RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S": "120", "RAY_USAGE_STATS_ENABLED": "0"}
        process = begin([*command, f"--temp-dir={short}"], folder, environment | patient)
        try:
            wait_until(lambda: answers(ports["--ray-client-server-port"]), 120)
            yield f"ray://127.0.0.1:{ports['--ray-client-server-port']}"
        finally:
            end(process)


def begin(command, folder, environment):
    quiet = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    with (folder / "cluster.txt").open("ab") as log:
        return subprocess.Popen(
            command, cwd=folder, env=environment | quiet, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def end(process):
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
            return


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("cluster", [dask_cluster, ray_cluster], ids=["dask", "ray"])
def test_a_cluster_looks_at_a_long_asset(films, tmp_path, cluster, request):
    kind = request.node.callspec.id
    package = pytest.importorskip(f"prefect_{kind}", reason=f"needs a cluster: pip install 'rollcall[{kind}]'")
    film = remuxed(films(LONG_FILM)[0], tmp_path / "media" / "long.mp4", times=4)
    direct = Standing(tmp_path / "one", ROLLCALL_SPAN_SECONDS="10")
    direct.run("ingest", film.parent, "--direct")
    found = os.pathsep.join([str(Path(package.__file__).parents[1]), str(ROOT)])  # the package may lie anywhere on the path
    service = Standing(tmp_path / "two", ROLLCALL_SPAN_SECONDS="10", ROLLCALL_SPLIT_SECONDS="20", PYTHONPATH=found)
    try:
        service.run("up")
        service.run("deploy")
        with cluster(tmp_path, service.environment) as address:
            service.environment["ROLLCALL_SPAN_RUNNER"] = address
            service.work("--limit", "1")
            began = time.monotonic()
            service.run("ingest", film.parent, "--submit")
            print(f"\n{kind}, two processes: {time.monotonic() - began:.1f} s from submission to the last row")
            (run,) = service.runs()
            assert run.state == "COMPLETED"
            time.sleep(3)  # task runs reach the API as events, in the background
            tasks = [each for each in prefect(service.api.url, "task_runs") if each["flow_run_id"] == run.id]
        parts = {each["name"]: each["state_name"] for each in tasks if each["name"].startswith("look part")}
        assert len(parts) >= 4 and set(parts.values()) == {"Completed"}
        by = looks(service.home)
        spans = {span for span, *_ in by}
        assert by == sorted([(span, "cached", "here") for span in spans] + [(span, "made", "cluster") for span in spans])  # none twice
        assert differences(content(service.home), content(direct.home)) == {}
    finally:
        service.close()
    assert processes_of(service.home) == []

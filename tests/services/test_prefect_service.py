"""The library as a service on one machine: what is deployed, how work comes in, that it is done once, and how it is ended."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
import yaml

from flows.service import SPAN_FLOW, WATCH_FLOW, submit_asset
from infra.settings import Place
from infra.wiring import open_catalog
from tests.flow.libraries import ROOT, children_of, content, differences, prefect, processes_of
from tests.material import LONG_FILM, SHORT_FILMS, folder_of
from tests.services.standing import Standing, remuxed, wait_until

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A whole service whose schedule is every minute, on a folder that is empty at first."""
    folder = tmp_path_factory.mktemp("dropped")
    standing = Standing(tmp_path_factory.mktemp("service") / "home", [folder], ROLLCALL_WATCH__CRON="* * * * *")
    standing.run("up", "--service", "--port", "0")
    standing.folder = folder
    yield standing
    standing.close()
    assert processes_of(standing.home) == []


def drop(film, folder, name):
    """Write a film into a folder as somebody would, whole at once; return its path."""
    return remuxed(film, folder / name, title=name)


def searchable(service, name):
    rows = json.loads(service.run("turns", name, "--json")) if name in service.run("assets") else []
    return bool(rows)


def registered(service):
    """What the server knows, without the clocks."""
    api = service.api
    pools = {pool: api.ask("POST", f"/work_pools/{pool}/queues/filter", {}) for pool in ("cpu", "gpu")}
    queues = {(pool, queue["id"], queue["name"], queue["priority"]) for pool, found in pools.items() for queue in found}
    deployments = set()
    for each in prefect(api.url, "deployments"):
        crons = tuple(one["schedule"]["cron"] for one in each["schedules"])
        deployments.add((each["id"], each["name"], each["entrypoint"], each["work_pool_name"], each["work_queue_name"], crons))
    return queues, deployments


def worker_of(service):
    return json.loads((service.home / "run" / "worker-cpu.json").read_text())["info"]["pid"]


def engines(service):
    """The processes in which the worker's runs are."""
    return children_of(worker_of(service), "prefect.engine")


def stat_of(pid):
    """State and parent of a process; None where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields


def test_deploy_twice_is_once(service):
    before = registered(service)
    said = service.run("deploy")
    assert registered(service) == before
    names = {name for _, name, *_ in before[1]}
    assert names == {"cpu", "gpu", "scan"}
    assert {(pool, name, priority) for pool, _, name, priority in before[0] if name != "default"} == {
        (pool, name, priority) for pool in ("cpu", "gpu") for name, priority in (("live", 1), ("backfill", 2))
    }
    assert len(said.splitlines()) == 7


def test_prefect_yaml_names_the_same_deployments(service):
    written = set()
    for each in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]:
        pool = each["work_pool"]
        written.add((each["name"], each["entrypoint"], pool["name"], pool["work_queue_name"], len(each.get("schedules", ()))))
    assert written == {(name, entry, pool, queue, len(crons)) for _, name, entry, pool, queue, crons in registered(service)[1]}


def test_a_dropped_file_is_searchable_by_the_schedule(service, films):
    drop(films(SHORT_FILMS[0])[0], service.folder, "by-schedule.mp4")
    took = wait_until(lambda: searchable(service, "by-schedule.mp4"), 150, every=1)
    print(f"\nschedule path, every minute: searchable {took:.0f} s after it was dropped")
    (run,) = service.runs()
    assert (run.state, run.parameters["collection"]) == ("COMPLETED", "watched-0")
    assert service.runs(WATCH_FLOW)
    reports = [each for each in prefect(service.api.url, "artifacts") if each["key"].startswith("asset-")]
    assert len(reports) == 1 and "| look |" in reports[0]["data"] and "x real time" in reports[0]["data"]
    stages = {each["name"].split(" ")[0] for each in prefect(service.api.url, "task_runs") if each["flow_run_id"] == run.id}
    assert {"probe", "look", "listen", "publish"} <= stages


def test_the_same_version_submitted_twice_is_one_run(service, films):
    path = drop(films(SHORT_FILMS[1])[0], service.home / "elsewhere", "twice.mp4")
    place = Place(root=str(path.parent), collection="twice")
    told = {"uri": str(path), "version": "1", "name": path.name, "place": place, "queue": "live"}
    first, second = (submit_asset(service.api, service.settings, **told) for _ in range(2))
    assert (first.created, second.created, first.id) == (True, False, second.id)
    ended = service.api.wait(first.id, seconds=90)
    assert ended.state == "COMPLETED"
    assert submit_asset(service.api, service.settings, **told).id == first.id
    gone = submit_asset(service.api, service.settings, **told | {"uri": f"{path}.gone", "version": "2"})
    late = service.api.wait(gone.id, seconds=60)
    assert (late.state, "nothing lies" in late.message) == ("COMPLETED", True)


def test_a_cancelled_run_ends_with_all_it_started(service, films):
    path = remuxed(films(LONG_FILM)[0], service.home / "long" / "long.mp4", times=40)
    place = Place(root=str(path.parent), collection="long")
    run = submit_asset(service.api, service.settings, uri=str(path), version="1", name=path.name, place=place, queue="live")

    def stages():
        return {each["name"].split(" ")[0] for each in prefect(service.api.url, "task_runs") if each["flow_run_id"] == run.id}

    wait_until(lambda: "look" in stages(), 90)
    decoding = [pid for engine in engines(service) for pid in children_of(engine, "infra.sandbox")]
    (parent,) = {int(stat_of(pid)[1]) for pid in decoding}
    service.api.set_state(run.id, "CANCELLING")
    took = wait_until(lambda: service.api.run(run.id).state == "CANCELLED" and stat_of(parent) is None, 30)
    print(f"\ncancelled in {took:.1f} s")
    assert [pid for pid in decoding if stat_of(pid) is not None] == []


def test_a_backfill_is_held_back_and_new_arrivals_go_on(service, films):
    service.run("watch", "--pause-backfill")
    old = drop(films(SHORT_FILMS[0])[0], service.home / "old", "old.mp4")
    new = drop(films(SHORT_FILMS[0])[0], service.home / "new", "new.mp4")
    told = {"version": "1", "name": "a"}
    held = submit_asset(service.api, service.settings, uri=str(old), place=Place(root=str(old.parent)), queue="backfill", **told)
    live = submit_asset(service.api, service.settings, uri=str(new), place=Place(root=str(new.parent)), queue="live", **told)
    assert service.api.wait(live.id, seconds=60).state == "COMPLETED"
    assert not service.api.run(held.id).ended
    service.run("watch", "--resume-backfill")
    assert service.api.wait(held.id, seconds=60).state == "COMPLETED"


def test_a_run_whose_process_and_worker_were_killed_is_found_and_done_again(service, films, monkeypatch):
    from flows import service as names
    from flows import watch
    from infra.wiring import open_adapters
    from tasks.plan import make_plan

    path = remuxed(films(LONG_FILM)[0], service.home / "killed" / "killed.mp4", times=20)
    place = Place(root=str(path.parent), collection="killed")
    with open_adapters(service.settings) as adapters:
        plan = make_plan(service.settings)
        (run,) = watch.scan(place, adapters, plan, service.api).runs.values()
        wait_until(lambda: adapters.catalog.is_taken(names.run_lock(run.id)), 60)
        for pid in (worker_of(service), *engines(service)):
            os.kill(pid, signal.SIGKILL)
        assert service.api.run(run.id).state == "RUNNING"
        monkeypatch.setattr(names, "LOCK_SECONDS", 0.0)
        time.sleep(1)
        again = watch.scan(place, adapters, plan, service.api)
    (second,) = again.runs.values()
    assert (again.submitted, second.id != run.id, service.api.run(run.id).state) == (1, True, "CRASHED")
    service.run("up", "--service", "--port", "0")
    assert service.api.wait(second.id, seconds=150).state == "COMPLETED"


def test_two_workers_do_every_asset_once_and_as_one_would(tmp_path, films):
    short, other = films(*SHORT_FILMS)
    folder = folder_of(tmp_path / "media", short, other)
    for number in range(4):
        remuxed((short, other)[number % 2], folder / f"again-{number}.mp4", title=str(number))
    direct = Standing(tmp_path / "one")
    began = time.monotonic()
    direct.run("ingest", folder, "--direct", "--workers", "1")
    alone = time.monotonic() - began
    two = Standing(tmp_path / "two")
    try:
        two.run("up")
        two.run("deploy")
        for _ in range(2):
            two.work("--limit", "1")
        began = time.monotonic()
        told = json.loads(two.run("ingest", folder, "--submit", "--json"))
        took = time.monotonic() - began
        print(f"\n6 assets: one process {alone:.1f} s, two workers {took:.1f} s from submission to the last row")
        assert (told["done"], told["failed"]) == (6, 0)
        assert differences(content(two.home), content(direct.home)) == {}
        assert {run.state for run in two.runs()} == {"COMPLETED"} and len(two.runs()) == 6
        with open_catalog(two.settings) as catalog, catalog.reading() as connection:
            made = connection.execute("SELECT asset_id, stage, span, count(*) FROM stage_run WHERE outcome = 'made' GROUP BY 1, 2, 3").fetchall()
        assert {count for *_, count in made} == {1}
        assert len({asset for asset, *_ in made}) == 6
        again = json.loads(two.run("ingest", folder, "--submit", "--json"))
        assert (again["skipped"], len(two.runs())) == (6, 6)
    finally:
        two.close()


def test_a_long_asset_is_looked_at_by_two_workers(tmp_path, films):
    film = remuxed(films(LONG_FILM)[0], tmp_path / "media" / "long.mp4", times=8)  # two minutes
    direct = Standing(tmp_path / "one")
    direct.run("ingest", film.parent, "--direct")
    two = Standing(tmp_path / "two", ROLLCALL_SPLIT_SECONDS="60", ROLLCALL_SPAN_SECONDS="10")
    try:
        two.run("up")
        two.run("deploy")
        for _ in range(2):
            two.work("--limit", "1")
        two.run("ingest", film.parent, "--submit")
        parts = two.runs(SPAN_FLOW)
        assert len(parts) == 2
        print(f"\nparts of a long asset: {sorted(run.state for run in parts)}")
        assert "COMPLETED" in {run.state for run in parts}
        assert differences(content(two.home), content(direct.home)) == {}
    finally:
        two.close()


def test_a_single_worker_needs_no_second_for_a_long_asset(tmp_path, films):
    film = remuxed(films(LONG_FILM)[0], tmp_path / "media" / "long.mp4", times=3)
    one = Standing(tmp_path / "one", ROLLCALL_SPLIT_SECONDS="20", ROLLCALL_SPAN_SECONDS="10")
    try:
        one.run("up")
        one.run("deploy")
        one.work("--limit", "1")
        one.run("ingest", film.parent, "--submit")
        assert {run.state for run in one.runs(SPAN_FLOW)} == {"CANCELLED"}
    finally:
        one.close()

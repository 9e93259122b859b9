"""What `benchmarks.service` measures, part by part. Each part is given a function that keeps what it has found so far."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import psycopg

from asd_core.errors import MediaError
from asd_core.look import spans_of_marks
from benchmarks.mutants import make_mutants, make_seeds
from benchmarks.processes import Clock, Peak, environment_of
from benchmarks.service_material import OUT, ROOT, long_film, servers, short_films, standing
from flows.process_library import PRELOAD
from flows.service import ASSET_FLOW, SPAN_FLOW, submit_asset
from infra.catalog.snapshot import snapshot
from infra.s3 import S3Service
from infra.settings import Place, load_settings
from infra.wiring import open_catalog, open_sandbox
from tasks.plan import make_plan
from tasks.probe import probe_file
from tests.flow import libraries
from tests.material import OUR_MODELS, make_films
from tests.services.rgw import s3_settings
from tests.services.standing import notification, remuxed
from tests.services.test_second_ingest import ASSETS as SAME
from tests.services.test_second_ingest import second_ingests

__all__ = ["OUT", "PARTS", "ROOT"]

FILMS = ROOT / "out" / "short-films"
Keep = Callable[[dict[str, Any]], None]

MUTANTS, SEED, AT_A_TIME = 1000, 20_261_121, 50
CHILDREN = 6  # that read side by side
CHILD_SECONDS = 30.0  # that the shortest stretch may take in a child
MINUTES, ROUNDS = 10, 1  # of the asset whose cost is looked at
LENGTHS = (10, 240, 60)  # minutes of the assets whose memory is looked at, those that are compared first
ARRIVALS = 4  # films told of, and as many that are not
ASSETS = 50  # that workers share
LONG_MINUTES = 30  # of the asset that they split
START_SECONDS = 900  # that a service may take to come up on a machine with other work
BARE = "rollcall-bare-"


def mutants(keep: Keep) -> None:
    """Read damaged films in decoding children, as the line does; nothing but an error of the media may come back."""
    seeds = make_seeds(make_films(FILMS) / "alone.mp4", OUT / "films")
    home = Path(tempfile.mkdtemp(prefix="rollcall-mutants-"))
    settings = load_settings(home=home / "home", models=OUR_MODELS, workers=CHILDREN, limits={"seconds_at_least": CHILD_SECONDS})
    plan, rows, began = make_plan(settings), [], time.monotonic()
    with open_sandbox(settings, preload=PRELOAD) as sandbox, ThreadPoolExecutor(settings.workers) as pool:
        for first in range(0, MUTANTS, AT_A_TIME):
            files = make_mutants(seeds, home / "media", seed=SEED, numbers=range(first, min(first + AT_A_TIME, MUTANTS)))
            rows += pool.map(lambda path: read_whole(path, sandbox, settings, plan), files)
            keep({"seed": SEED, "wanted": MUTANTS, "limit": CHILD_SECONDS, "seconds": time.monotonic() - began, "rows": rows})
            print(f"{len(rows)} mutants: {dict(Counter(row[1] for row in rows))}", file=sys.stderr, flush=True)
            shutil.rmtree(home / "media")
    shutil.rmtree(home)


def read_whole(path: Path, sandbox: Any, settings: Any, plan: Any) -> list[Any]:
    """Probe a film, look at all of it and listen to it; return its name, what would become of it, the reason, and the seconds."""
    began, state, reason = time.monotonic(), "done", ""
    try:
        info = probe_file(path, sandbox, settings)
        limit = settings.child_seconds(info.duration)
        for marks in spans_of_marks(info, plan.span_marks):
            sandbox.call(
                "tasks.look:look_in_child", path, info, marks[0], marks[-1], plan.models["detector"], plan.models["speaking"], plan.options.look,
                plan.profile, 1, timeout=limit,
            )  # fmt: skip
        sandbox.call("tasks.listen:listen_in_child", path, info, plan.options.listen, timeout=limit * max(1, len(info.audio_tracks)))
    except MediaError as error:
        state, reason = "quarantined", f"{type(error).__name__}: {error}"
    except Exception as error:  # noqa: BLE001 -- counted: there must be none
        state, reason = "failed", f"{type(error).__name__}: {error}"
    return [path.name, state, reason, round(time.monotonic() - began, 2)]


def cost(keep: Keep) -> None:
    """Take a ten-minute object through the whole service, and the same film without any of it, in turns."""
    rounds: list[dict[str, Any]] = []
    warm = short_films()[0]
    with servers() as (database, store), standing(database, store, "cost", ["s3://media/tv"]) as service:
        client = store.client()
        client.make_bucket(bucket_name="media")
        service.run("up", "--service", "--port", "0", timeout=START_SECONDS)
        clock = Clock(_groups(service.home, database, store))
        clock.start()
        _through(service, client, warm, "warm.mp4")
        for number in range(ROUNDS):
            film = long_film(MINUTES, title=f"-cost-{number}")
            told = _through(service, client, film, film.name)
            began, ended = told["began"], told["began"] + told["seconds"]
            with psycopg.connect(service.library) as connection:
                rows = connection.execute(
                    "SELECT extract(epoch FROM s.started_at)::float8, s.seconds, s.stage, s.bytes FROM stage_run s "
                    "JOIN asset a ON a.id = s.asset_id WHERE a.name = %s ORDER BY 1", (film.name,),
                ).fetchall()  # fmt: skip
            told["covered"] = _union([(max(began, at), min(ended, at + took)) for at, took, *_ in rows])
            told["stages"] = len(rows)
            told["sizes"] = [size for *_, size in rows if size]
            told["store"] = _store_seconds(S3Service(s3_settings(store)).at("s3://objects-cost"), told["sizes"], client, film)
            told["cpu"] = clock.between(began, ended)
            told["bare"] = _direct(film, clock)
            rounds.append(told)
            keep({"minutes": MINUTES, "rounds": rounds})
            print(json.dumps(told), file=sys.stderr, flush=True)
        clock.stop()


def _groups(home: Path, database: Any, store: Any) -> Callable[[int, str], str | None]:
    """Return what tells the processes of a service apart: "run" is the work on an asset, with the service or without."""

    def group(pid: int, words: str) -> str | None:
        if str(store.folder) in words:
            return "store"
        if str(database.folder) in words:
            return "database"
        if BARE in words:
            return "run"
        if str(home) not in environment_of(pid):
            return None
        return "run" if "prefect.engine" in words else "prefect" if "server start" in words else "worker" if " worker" in words else None

    return group


def _through(service: Any, client: Any, film: Path, name: str) -> dict[str, Any]:
    """Put a film into the bucket, have it worked on, and tell when."""
    etag = client.fput_object(bucket_name="media", object_name=f"tv/{name}", file_path=str(film)).etag
    asked = time.time()
    run = submit_asset(
        service.api, service.settings, uri=f"s3://media/tv/{name}", version=etag, name=name, place=Place(root="s3://media/tv"), queue="live"
    )
    run = service.api.wait(run.id, seconds=3600, every=0.5)
    assert run.state == "COMPLETED", run.message
    assert run.began is not None
    return {"pickup": run.began - asked, "began": run.began, "seconds": run.seconds, "asset": name}


def _union(stretches: list[tuple[float, float]]) -> float:
    """Return the seconds that lie in at least one of the stretches."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(stretches):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def _store_seconds(objects: Any, sizes: list[int], client: Any, film: Path) -> dict[str, float]:
    """Return the seconds to store such artifacts one after the other, and to fetch the film, once more."""
    blobs = [os.urandom(size) for size in sizes]
    began = time.monotonic()
    for number, blob in enumerate(blobs):
        objects.put(f"again/{number}", blob)
    stored = time.monotonic() - began
    began = time.monotonic()
    with client.get_object(bucket_name="media", object_name=f"tv/{film.name}") as answer:
        for _ in answer.stream(1 << 20):
            pass
    return {"put": stored, "fetch": time.monotonic() - began}


def _direct(film: Path, clock: Clock | None = None) -> dict[str, Any]:
    """Take a film into a library of a folder, without Prefect; return the seconds of its stages and of the processor."""
    with tempfile.TemporaryDirectory(prefix=BARE) as folder:
        home = Path(folder) / "home"
        with open_catalog(load_settings(home=home)):  # the database is warm, and no child of the process that is measured
            began = time.time()
            process = libraries.start(home, film, direct=True)
            code, events = libraries.finish(process, timeout=3600)
            ended = time.time()
        assert code == 0
        (asset,) = (event for event in events if event["kind"] == "asset")
        assert asset["outcome"] == "done", asset
        return {"seconds": asset["seconds"], "whole": ended - began, "cpu": clock.between(began, ended) if clock is not None else {}}


def arrival(keep: Keep) -> None:
    """Put films into a watched bucket, some told of and some not; how long until each is searchable, untouched by hand."""
    films = short_films()
    found: dict[str, list[float]] = {"told": [], "untold": []}
    with servers() as (database, store), standing(database, store, "arrival", ["s3://media/tv"], ROLLCALL_WATCH__CRON="* * * * *") as service:
        client = store.client()
        client.make_bucket(bucket_name="media")
        service.run("up", "--service", "--port", "0", timeout=START_SECONDS)
        service.run("deploy", timeout=START_SECONDS)
        with tempfile.TemporaryDirectory(prefix="rollcall-arrival-") as folder:
            for number in range(2 * ARRIVALS):
                path, name = ("told", "untold")[number % 2], f"{number:02d}.mp4"
                film = remuxed(films[number // 2 % len(films)], Path(folder) / name, title=name)
                photo = _first_picture(film, Path(folder) / "photo.png")
                etag = client.fput_object(bucket_name="media", object_name=f"tv/{name}", file_path=str(film)).etag
                began = time.monotonic()
                if path == "told":
                    status, answer = service.tell(notification("media", f"tv/{name}", etag))
                    assert status == 200 and answer["started"], answer
                while not _is_published(service.library, name):
                    assert time.monotonic() - began < START_SECONDS, name
                    time.sleep(0.2)
                seconds = time.monotonic() - began
                moments = json.loads(service.run("search", "--image", photo, "--json"))
                assert name in {moment["asset"] for moment in moments}, moments
                found[path].append(seconds)
                keep({"cron": "every minute", **found})
                print(path, seconds, file=sys.stderr, flush=True)


def _is_published(library: str, name: str) -> bool:
    with psycopg.connect(library) as connection:
        return connection.execute("SELECT FROM asset WHERE name = %s AND state = 'done'", (name,)).fetchone() is not None


def _first_picture(film: Path, target: Path) -> Path:
    with av.open(str(film)) as source:
        next(source.decode(video=0)).to_image().save(target)
    return target


def again(keep: Keep) -> None:
    """Ingest 200 unchanged assets a second time."""
    with servers() as (_, store), tempfile.TemporaryDirectory(prefix="rollcall-again-") as folder:
        store.client().make_bucket(bucket_name="again")
        taken = second_ingests(store, "again", Path(folder))
        keep({"assets": SAME, **{place: {"first": first, "second": second} for place, (first, second) in taken.items()}})


def memory(keep: Keep) -> None:
    """Take longer and longer films in, each in a process of its own, and look at the memory of its tree."""
    rows: list[dict[str, Any]] = []
    for minutes in LENGTHS:
        film = long_film(minutes)
        with tempfile.TemporaryDirectory(prefix="rollcall-memory-") as folder:
            home = Path(folder) / "home"
            with open_catalog(load_settings(home=home)) as catalog:
                process = libraries.start(home, film, direct=True)
                peak = Peak(process.pid)
                peak.start()
                began = time.monotonic()
                code, _ = libraries.finish(process, timeout=6 * 3600)
                seconds, most = time.monotonic() - began, peak.stop()
                assert code == 0
                with catalog.reading() as connection:
                    (OUT / f"rows-of-{minutes:g}-minutes").write_text(json.dumps(snapshot(connection), default=repr))
        rows.append({"minutes": minutes, "seconds": seconds, "peak": most, "curve": peak.curve})
        keep({"rows": rows})
        print(minutes, seconds, most, file=sys.stderr, flush=True)


def share(keep: Keep) -> None:
    """Have fifty short assets taken in by one worker, then by two; nothing is done twice and both libraries are alike."""
    films = short_films()
    found: dict[str, Any] = {"assets": ASSETS, "runs": []}
    rows = []
    with servers() as (database, store), tempfile.TemporaryDirectory(prefix="rollcall-share-") as folder:
        media = Path(folder) / "media"
        for number in range(ASSETS):
            remuxed(films[number % len(films)], media / f"{number:02d}.mp4", title=str(number))
        for workers in (1, 2):
            with standing(database, store, f"share{workers}", []) as service:
                service.run("up", timeout=START_SECONDS)
                service.run("deploy", timeout=START_SECONDS)
                for _ in range(workers):
                    service.work("--limit", "1")
                began = time.monotonic()
                told = json.loads(service.run("ingest", media, "--submit", "--json", timeout=3600))
                seconds = time.monotonic() - began
                with psycopg.connect(service.library) as connection:
                    made = connection.execute(
                        "SELECT asset_id, stage, span, count(*) FROM stage_run WHERE outcome = 'made' GROUP BY 1, 2, 3"
                    ).fetchall()
                    rows.append(snapshot(connection))
                runs = service.runs()
                found["runs"].append({
                    "workers": workers, "seconds": seconds, "done": told["done"], "failed": told["failed"], "flow_runs": len(runs),
                    "work": sum(run.seconds for run in runs), "assets": len({asset for asset, *_ in made}),
                    "twice": sum(count > 1 for *_, count in made),
                })  # fmt: skip
                print(found["runs"][-1], file=sys.stderr, flush=True)
                keep(found)
        found["differences"] = {table: str(pairs)[:300] for table, pairs in libraries.differences(*rows).items()}
        keep(found)


def split(keep: Keep) -> None:
    """Have a thirty-minute asset looked at by two workers."""
    film = long_film(LONG_MINUTES)
    parts = {"ROLLCALL_SPLIT_SECONDS": str(round(LONG_MINUTES * 30))}
    with servers() as (database, store), standing(database, store, "split", [], **parts) as service:
        service.run("up", timeout=START_SECONDS)
        service.run("deploy", timeout=START_SECONDS)
        for _ in range(2):
            service.work("--limit", "1")
        began = time.monotonic()
        told = json.loads(service.run("ingest", film, "--submit", "--json", timeout=3600))
        seconds = time.monotonic() - began
        with psycopg.connect(service.library) as connection:
            made = connection.execute("SELECT stage, span, count(*) FROM stage_run WHERE outcome = 'made' GROUP BY 1, 2").fetchall()
            rows = json.loads(json.dumps(snapshot(connection), default=repr))
        runs = [{"flow": flow, "state": run.state, "seconds": run.seconds} for flow in (ASSET_FLOW, SPAN_FLOW) for run in service.runs(flow)]
        kept = OUT / f"rows-of-{LONG_MINUTES:g}-minutes"
        alike = libraries.differences(rows, json.loads(kept.read_text())) if kept.exists() else None
        keep({
            "minutes": LONG_MINUTES, "seconds": seconds, "done": told["done"], "runs": runs, "spans": sum(stage == "look" for stage, *_ in made),
            "twice": sum(count > 1 for *_, count in made),
            "differences": None if alike is None else {table: str(pairs)[:300] for table, pairs in alike.items()},
        })  # fmt: skip


PARTS: dict[str, Callable[[Keep], None]] = {
    "mutants": mutants, "arrival": arrival, "again": again, "memory": memory, "cost": cost, "share": share, "split": split,
}  # fmt: skip

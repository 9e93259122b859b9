"""Where faults are tried: real PostgreSQL, S3 and Prefect servers that can be stopped, and libraries on them that are compared row for row.

Every fault has a library of its own: a database, a prefix for artifacts, a home, workers. The media are the same two short films in a bucket,
so that one undisturbed run, in one process and without Prefect, says what every library must hold in the end.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import psycopg

from asd_core.errors import RollcallError
from flows import service, watch
from flows.process_library import process_library
from infra import prefect_api
from infra.catalog.snapshot import snapshot
from infra.prefect_api import PrefectApi
from infra.settings import load_settings
from infra.wiring import open_adapters, open_catalog
from tasks.plan import make_plan
from tests.flow import libraries
from tests.material import OUR_MODELS
from tests.services.standing import TOKEN, Standing

MEDIA, OBJECTS = "fault-media", "fault-objects"
ROOT = f"s3://{MEDIA}/tv"
COLLECTION = "watched-0"
PATIENCE_SECONDS = 150.0
SCAN_SECONDS = 15.0
NEVER = "0 0 29 2 *"  # the schedule: scans are made here


class Arena:
    """The servers, with one Prefect server for all libraries, whose deployments are those of tests/services/held.py.

    Args:
        folder: for homes.
        postgres: of tests/services/postgres.py.
        s3: of tests/services/rgw.py.
        films: paths of media, by the names that they have in the bucket.
    """

    def __init__(self, folder: Path, postgres, s3, films) -> None:
        self.folder, self.postgres, self.s3, self.films = folder, postgres, s3, films
        self.bucket = s3.client()
        for name in (MEDIA, OBJECTS):
            if not self.bucket.bucket_exists(bucket_name=name):
                self.bucket.make_bucket(bucket_name=name)
        self._undisturbed: dict[tuple[str, ...], dict] = {}
        databases = {f"ROLLCALL_{name}": postgres.database(f"fault_{name}".lower()) for name in ("DATABASE_URL", "PREFECT_DATABASE_URL")}
        self.prefect = Standing(folder / "prefect", (), **databases, ROLLCALL_WATCH__CRON=NEVER)
        self.start_prefect()
        self.prefect.run("deploy")
        self.api = PrefectApi(json.loads(self._state().read_text())["info"]["url"])
        for each in self.api.ask("POST", "/deployments/filter", {}):
            self.api.ask(
                "PATCH", f"/deployments/{each['id']}", {"entrypoint": each["entrypoint"].replace("flows.deployments", "tests.services.held")}
            )

    def _state(self) -> Path:
        return self.prefect.home / "run" / "prefect.json"

    def start_prefect(self) -> None:
        """Start the Prefect server; at another start it comes back where it was."""
        self.prefect.run("up")

    def kill_prefect(self) -> None:
        """End the Prefect server as a crash does."""
        os.kill(json.loads(self._state().read_text())["info"]["pid"], signal.SIGKILL)

    def put(self, name: str, film: Path) -> str:
        """Put a film into the bucket; return its version."""
        return self.bucket.fput_object(bucket_name=MEDIA, object_name=f"tv/{name}", file_path=str(film)).etag

    def fill(self, *names: str) -> None:
        """Let the bucket hold these films and nothing else."""
        for one in self.bucket.list_objects(bucket_name=MEDIA, recursive=True):
            self.bucket.remove_object(bucket_name=MEDIA, object_name=one.object_name)
        for name in names:
            self.put(name, self.films[name])

    def undisturbed(self, *names: str):
        """Return the rows of a library of these films in which nothing went wrong."""
        if names not in self._undisturbed:
            self.fill(*names)
            with self.library(f"undisturbed_{len(self._undisturbed)}", *names) as library:
                assert not process_library([ROOT], collection=COLLECTION, direct=True, settings=library.settings).failed
                self._undisturbed[names] = library.rows()
        return self._undisturbed[names]

    @contextlib.contextmanager
    def library(self, name: str, *films: str, root: str = ROOT, home: Path | None = None, **more: str):
        """Give a new library of these films; its workers are ended with it."""
        self.fill(*films)
        for run in list(self.api.runs(service.ASSET_FLOW, prefect_api.FINAL | prefect_api.WAITING | service.AT_WORK)):
            self.api.ask("DELETE", f"/flow_runs/{run.id}")
        library = Library(self, name, films, root, home or self.folder / name, more)
        try:
            yield library
        finally:
            library.close()

    def close(self) -> None:
        """End the Prefect server."""
        self.prefect.close()


class Library(Standing):
    """One library, its workers, and what a test may do to them."""

    def __init__(self, arena: Arena, name: str, films, root: str, home: Path, more) -> None:
        self.database, self.arena, self.films, self.root = arena.postgres.database(f"fault_{name}"), arena, films, root
        home.mkdir(parents=True, exist_ok=True)
        self.signs = arena.folder / f"{name}-signs"
        self.signs.mkdir()
        told = {"ROLLCALL_DATABASE_URL": self.database, "ROLLCALL_PREFECT_API_URL": arena.api.url, **arena.s3.environment(f"{OBJECTS}/{name}")}
        told |= {"FAULT_FOLDER": str(self.signs), "PYTHONPATH": str(libraries.ROOT)}
        super().__init__(home, [root], **{**told, **more})
        if self.environment.get("ROLLCALL_OBJECTS_URL") == "":
            del self.environment["ROLLCALL_OBJECTS_URL"]

    @property
    def settings(self):
        """The settings that the workers have."""
        return load_settings(
            home=self.home, models=OUR_MODELS, database_url=self.database, prefect_api_url=self.arena.api.url,
            objects_url=self.environment.get("ROLLCALL_OBJECTS_URL"), s3=self.arena.s3.section(),
            watch={"places": [{"root": self.root, "collection": COLLECTION}], "events_token": TOKEN},
        )  # fmt: skip

    # ---- work ----

    def spare(self) -> None:
        """Start another worker, and do not wait for it."""
        with (self.home / f"worker-{len(list(self.home.glob('worker-*')))}.txt").open("wb") as log:
            self.workers.append(self.start("worker", "--limit", "1", stdout=log, stderr=log))

    def scan(self) -> None:
        """Look for what is not in the library, as the schedule does, without its pauses: who was killed is looked for at once."""
        settings, (place,) = self.settings, self.settings.watch.places
        pauses, service.LOCK_SECONDS, prefect_api.AGAIN_SECONDS = (service.LOCK_SECONDS, prefect_api.AGAIN_SECONDS), 0.0, 1
        try:
            with open_adapters(settings) as adapters:
                watch.scan(place, adapters, make_plan(settings), self.arena.api)
        finally:
            service.LOCK_SECONDS, prefect_api.AGAIN_SECONDS = pauses

    def ask(self, sql: str):
        """Return rows of the database."""
        with psycopg.connect(self.database, connect_timeout=5) as connection:
            return connection.execute(sql).fetchall()

    def is_whole(self) -> bool:
        """Say whether everything that lies in the place is published."""
        try:
            (found,) = self.ask("SELECT count(*) FROM location l JOIN asset a ON a.id = l.asset_id WHERE a.state = 'done' AND l.gone_at IS NULL")
            return found[0] == len(self.films)
        except psycopg.Error:
            return False

    def is_quiet(self) -> bool:
        """Say whether nobody is at work, and nothing waits."""
        try:
            return all(run.ended for run in self.runs())
        except RollcallError:
            return False

    def until_done(self, *, since: float | None = None, scanning: bool = True) -> float:
        """Wait until the library is whole, scanning meanwhile; return the seconds from then or from now. Then wait until nobody is at work."""
        scanned = time.monotonic()
        began = scanned if since is None else since
        while not self.is_whole():
            if scanning and time.monotonic() - scanned > SCAN_SECONDS:
                with contextlib.suppress(RollcallError):  # as the schedule: the next scan will do
                    self.scan()
                scanned = time.monotonic()
            assert time.monotonic() - began < PATIENCE_SECONDS, self.state()
            time.sleep(0.2)
        seconds = time.monotonic() - began
        while not self.is_quiet():
            assert time.monotonic() - began < 2 * PATIENCE_SECONDS, self.state()
            time.sleep(0.2)
        return seconds

    def state(self) -> str:
        """Return what is known where a library does not become whole."""
        runs = [(run.state, run.message) for run in self.runs()]
        logs = [path.read_text(errors="replace")[-1500:] for path in sorted(self.home.glob("worker-*.txt"))]
        return "\n".join(map(str, (self.ask("SELECT name, state, reason FROM asset"), runs, *logs)))

    # ---- holding a run ----

    def hold(self, stage: str, when: str = "before") -> None:
        """Let the next run that comes to a stage stop there."""
        for name in ("reached", "go"):
            (self.signs / name).unlink(missing_ok=True)
        part = self.signs / "part"
        part.write_text(f"{stage} {when}")
        part.rename(self.signs / "hold")

    def await_hold(self, *, scanning: bool = False) -> float:
        """Wait until a run is there; return the seconds that it took."""
        began = scanned = time.monotonic()
        while not (self.signs / "reached").exists():
            if scanning and time.monotonic() - scanned > SCAN_SECONDS:
                with contextlib.suppress(RollcallError):
                    self.scan()
                scanned = time.monotonic()
            assert time.monotonic() - began < PATIENCE_SECONDS, self.state()
            time.sleep(0.02)
        return time.monotonic() - began

    def go(self) -> None:
        """Let it go on."""
        (self.signs / "go").touch()

    def reach(self, stage: str, when: str = "before") -> None:
        """Begin with a scan, and return when a run stands at a stage."""
        self.hold(stage, when)
        self.scan()
        self.await_hold()

    def kill_at_work(self) -> None:
        """Kill the worker that is at work, and its run, at once."""
        for worker in list(self.workers):
            engines = libraries.children_of(worker.pid, "prefect.engine")
            if engines:
                for pid in (worker.pid, *engines):
                    os.kill(pid, signal.SIGKILL)
                worker.wait(10)
                self.workers.remove(worker)

    # ---- what it holds ----

    def rows(self):
        """Return the library's rows without surrogate ids and clocks."""
        with open_catalog(self.settings) as catalog, catalog.reading() as connection:
            return snapshot(connection)

    def compared(self, wanted=None, *, without: str = ""):
        """Return the tables that differ from those of an undisturbed library; `without` the row of an asset that must have failed."""
        rows = self.rows()
        if without:
            (failed,) = [row for row in rows["asset"] if row[0] == without]
            assert failed[4] == "failed", failed
            rows["asset"].remove(failed)
        return libraries.differences(wanted or self.arena.undisturbed(*self.films), rows)

    def stages(self, stage: str, outcome: str = "made") -> int:
        """Return how often a stage ended so."""
        return self.ask(f"SELECT count(*) FROM stage_run WHERE stage = '{stage}' AND outcome = '{outcome}'")[0][0]

    def tell(self, *events):
        """Tell of S3 events, all at once; return the answers."""
        import asyncio

        import httpx
        from fastapi import FastAPI

        from rollcall.api import events as api

        async def send(app):
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://localhost", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60
            ) as door:
                return await asyncio.gather(*(door.post("/events/s3", json=event) for event in events))

        with open_adapters(self.settings) as adapters:
            app = FastAPI()
            app.include_router(api.routes(adapters))
            answers = asyncio.run(send(app))
        assert all(answer.status_code == 200 for answer in answers), [answer.text for answer in answers]
        return [SimpleNamespace(**answer.json()) for answer in answers]

    def close(self) -> None:
        """End the workers."""
        for worker in self.workers:
            if worker.poll() is None:
                worker.terminate()
        for worker in self.workers:
            with contextlib.suppress(Exception):
                worker.wait(30)
            worker.kill()

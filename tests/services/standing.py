"""A service of its own for tests: a home whose Prefect server, pages and worker stay up, and what may be asked of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import av

from flows.service import ASSET_FLOW, open_api
from infra.prefect_api import FINAL
from infra.settings import child_environment, load_settings
from tests.flow import libraries
from tests.material import OUR_MODELS

TOKEN = "tell-me-what-came-4711"
DOOR = "import sys; sys.argv[0] = 'rollcall'; from rollcall.cli import main; main()"
OURS = {f"ROLLCALL_MODELS__{role.upper()}": name for role, name in OUR_MODELS.items()}


class Standing:
    """A service in a home.

    Args:
        home: made where it is not there.
        watched: roots of the places that are watched.
        more: variables besides.
    """

    def __init__(self, home: Path, watched=(), **more: str) -> None:
        self.home = home
        places = [{"root": str(root), "collection": f"watched-{number}"} for number, root in enumerate(watched)]
        self.environment = child_environment() | OURS | {
            "ROLLCALL_HOME": str(home), "ROLLCALL_WATCH__PLACES": json.dumps(places), "ROLLCALL_WATCH__EVENTS_TOKEN": TOKEN, "COLUMNS": "200", **more,
        }  # fmt: skip
        self.workers: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments, **more) -> subprocess.Popen[bytes]:
        """Start a command."""
        command = [sys.executable, "-c", DOOR, *map(str, arguments)]
        return subprocess.Popen(command, cwd=libraries.ROOT, env=self.environment, stdin=subprocess.DEVNULL, start_new_session=True, **more)

    def run(self, *arguments, code=0, timeout=240) -> str:
        """Run a command that must end with a code; return what it printed."""
        process = self.start(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = process.communicate(timeout=timeout)
        assert process.returncode == code, (out.decode(), err.decode())
        return out.decode()

    def work(self, *arguments) -> subprocess.Popen[bytes]:
        """Start a worker, and return it when it is ready."""
        log = self.home / f"worker-{len(self.workers)}.txt"
        with log.open("wb") as target:
            worker = self.start("worker", *arguments, stdout=target, stderr=target)
        self.workers.append(worker)
        wait_until(lambda: b"started!" in log.read_bytes() or worker.poll() is not None, 60)
        assert worker.poll() is None, log.read_text()
        return worker

    @property
    def settings(self):
        """The settings that the service has."""
        return load_settings(home=self.home, models=OUR_MODELS)

    @property
    def api(self):
        """The Prefect server."""
        return open_api(self.settings)

    @property
    def pages(self) -> str:
        """Where the pages are."""
        said = json.loads((self.home / "run" / "pages.json").read_text())["info"]["said"]
        return said.split("at ")[1].split("/  (")[0]

    def tell(self, body, token=TOKEN) -> tuple[int, dict]:
        """Tell of an S3 event; return status and answer."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.pages}/events/s3", data=data, headers={"Authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"{}")

    def runs(self, flow=ASSET_FLOW, states=FINAL | {"SCHEDULED", "PENDING", "RUNNING", "CANCELLING"}):
        """All runs of a flow."""
        return list(self.api.runs(flow, states))

    def close(self) -> None:
        """End everything."""
        for worker in self.workers:
            if worker.poll() is None:
                worker.terminate()
        for worker in self.workers:
            try:
                worker.wait(60)
            except subprocess.TimeoutExpired:
                worker.kill()
        self.run("down")


def notification(bucket: str, key: str, etag: str, name: str = "ObjectCreated:Put") -> dict:
    """Return the event that an S3 service tells of an object."""
    stored = {"key": key.replace(" ", "+"), "eTag": etag, "size": 1, "sequencer": "0055AED6DCD90281E5"}
    return {"Records": [{"eventVersion": "2.1", "eventName": name, "s3": {"bucket": {"name": bucket}, "object": stored}}]}


def wait_until(true, seconds, every=0.2):
    """Wait until something is so; return the seconds that it took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, f"not so after {seconds} s"
        time.sleep(every)
    return time.monotonic() - began


def remuxed(film: Path, target: Path, *, times: int = 1, title: str = "") -> Path:
    """Write a film several times in a row, with a title of its own: other bytes, the same pictures and sound."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(target), "w") as out:
        out.metadata["title"] = title
        with av.open(str(film)) as source:
            streams = {stream.index: out.add_stream_from_template(stream) for stream in source.streams if stream.type in {"video", "audio"}}
            length = source.duration / av.time_base + 0.2  # a sound may last a little longer than the picture
        for number in range(times):
            with av.open(str(film)) as source:
                for packet in source.demux(*(source.streams[index] for index in streams)):
                    if packet.dts is None:
                        continue
                    offset = round(number * length / packet.time_base)
                    packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
                    packet.stream = streams[packet.stream.index]
                    out.mux(packet)
    os.utime(target, (1e9, 1e9))
    return target

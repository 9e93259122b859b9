"""Films for the service's benchmark: the demo's, at 360p, repeated without encoding them again; and the servers that it runs on."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av

from asd_core.demo.programmes import make_programmes
from tests.material import make_films
from tests.services.postgres import PostgresServer
from tests.services.rgw import S3Server
from tests.services.standing import Standing, remuxed

ROOT = Path(__file__).parents[1]
OUT = ROOT / "out" / "service"
SIZE = (640, 360)
SHORT = ("alone.mp4", "together.mp4")  # five to seven seconds, two people
LONG = "conversation.mp4"  # of the demo


def short_films() -> list[Path]:
    """Return the short films at 360p."""
    folder = make_films(ROOT / "out" / "short-films")
    return [_small(folder / name) for name in SHORT]


def long_film(minutes: float, *, title: str = "") -> Path:
    """Return a film of the demo at 360p, repeated to a length; the title makes its bytes others."""
    make_programmes(ROOT / "out" / "demo-programmes")
    loop = _small(ROOT / "out" / "demo-programmes" / LONG)
    target = OUT / "films" / f"loop-{minutes:g}{title}.mp4"
    if not target.exists():
        with av.open(str(loop)) as source:
            assert source.duration is not None
            length = source.duration / av.time_base
        part = remuxed(loop, target.with_name(f"part-{target.name}"), times=-int(-minutes * 60 // length), title=title)
        part.replace(target)
    return target


def _small(film: Path) -> Path:
    """Return a film at 360p, H.264 and AAC, encoded once."""
    target = OUT / "films" / f"360p-{film.name}"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"part-{target.name}")
    with av.open(str(film)) as given, av.open(str(part), "w") as made:
        video = made.add_stream("libx264", rate=25, options={"preset": "veryfast", "g": "50"})
        (video.width, video.height), video.pix_fmt = SIZE, "yuv420p"
        sound = made.add_stream_from_template(given.streams.audio[0])
        for packet in given.demux(given.streams.video[0], given.streams.audio[0]):
            if packet.stream.type == "audio":
                if packet.dts is not None:
                    packet.stream = sound
                    made.mux(packet)
                continue
            for frame in packet.decode():
                small = frame.reformat(*SIZE, "yuv420p")
                small.pts, small.time_base, small.pict_type = round(frame.time * 25), Fraction(1, 25), 0
                made.mux(video.encode(small))
        made.mux(video.encode(None))
    part.replace(target)
    return target


@contextlib.contextmanager
def servers() -> Iterator[tuple[PostgresServer, S3Server]]:
    """Give a PostgreSQL and an S3 service of their own, on loopback."""
    with contextlib.ExitStack() as stack:
        database = PostgresServer()
        stack.callback(database.close)
        store = S3Server()
        stack.callback(store.close)
        yield database, store


@contextlib.contextmanager
def standing(database: PostgresServer, store: S3Server, name: str, watched: list[str], **more: str) -> Iterator[Standing]:
    """Give a service whose library, Prefect and objects lie on the servers; nothing of it runs yet."""
    store.client().make_bucket(bucket_name=f"objects-{name}")
    variables = {
        "ROLLCALL_DATABASE_URL": database.database(f"library_{name}"), "ROLLCALL_PREFECT_DATABASE_URL": database.database(f"prefect_{name}"),
        "ROLLCALL_WATCH__CRON": "0 0 29 2 *", **store.environment(f"objects-{name}"), **more,
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix=f"rollcall-{name}-") as folder:
        one = Standing(Path(folder) / "home", watched, **variables)
        one.library = variables["ROLLCALL_DATABASE_URL"]  # type: ignore[attr-defined]
        try:
            yield one
        finally:
            one.close()

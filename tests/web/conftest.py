"""A small library in a real database: two hand-made assets that share a person, one that failed; the clips are drawn on the spot."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import uvicorn

from asd_core.identity.assign import groups_of
from asd_core.records import LibraryPerson, Partition
from infra.artifacts import ArtifactStore
from infra.catalog import assets, people
from infra.catalog.connection import Catalog
from infra.catalog.publish import Publication, publish
from infra.objects import FolderStore
from infra.places import Places
from infra.postgres import embedded_database
from infra.settings import ensure_home
from rollcall.cli.files import sha256_of
from rollcall.exports.rendition import write_rendition
from rollcall.library import Library
from rollcall.web.app import create_app
from rollcall.web.proxies import Proxies
from tests.unit.rollcall.made_analysis import HEIGHT, WIDTH, made_analysis

SCREENSHOTS = Path(__file__).parents[2] / "out" / "screenshots"
CHROMIUM = Path("/usr/bin/chromium")
SEEN_AS = {"t1": (214, 170, 140), "t2": (150, 110, 90), "t3": (214, 170, 140), "t4": (120, 120, 125), "t5": (150, 110, 90)}


def draw_frame(analysis, time):
    """A studio with a face, as a sketch, at every box of that time."""
    picture = np.full((HEIGHT, WIDTH, 3), (52, 66, 84) if time < 1 else (70, 62, 58), np.uint8)
    cv2.rectangle(picture, (0, 140), (WIDTH, HEIGHT), (36, 40, 46), cv2.FILLED)
    for track in analysis.tracks:
        instant = round(time * 25) - track.first
        if 0 <= instant < len(track):
            x1, y1, x2, y2 = (int(v) for v in track.boxes[instant])
            centre, half = ((x1 + x2) // 2, (y1 + y2) // 2), ((x2 - x1) // 2, (y2 - y1) // 2)
            cv2.ellipse(picture, centre, half, 0, 0, 360, SEEN_AS[track.id], cv2.FILLED, cv2.LINE_AA)
            for side in (-1, 1):
                cv2.circle(picture, (centre[0] + side * half[0] // 2, centre[1] - half[1] // 4), 4, (30, 30, 30), cv2.FILLED, cv2.LINE_AA)
            open_mouth = 9 if any(p.track_id == track.id and p.start <= time < p.end for t in analysis.turns for p in t.parts) else 2
            cv2.ellipse(picture, (centre[0], centre[1] + half[1] // 2), (12, open_mouth), 0, 0, 360, (110, 40, 40), cv2.FILLED, cv2.LINE_AA)
    return picture


def write_clip(path, analysis, codec, sound_codec="aac"):
    """Four seconds of that; the sound is a tone where somebody speaks."""
    with av.open(str(path), "w") as clip:
        picture = clip.add_stream(codec, rate=25)
        picture.width, picture.height, picture.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        sound = clip.add_stream(sound_codec, rate=48000, layout="stereo")
        for i in range(100):
            frame = av.VideoFrame.from_ndarray(draw_frame(analysis, i / 25), format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            clip.mux(picture.encode(frame))
        clock = np.arange(4 * 48000) / 48000
        tone = 0.1 * np.sin(2 * np.pi * 220 * clock) * np.any([(s.start <= clock) & (clock < s.end) for s in analysis.speech], axis=0)
        size = sound.codec_context.frame_size or 1024
        for start in range(0, len(tone) - size, size):
            block = np.tile(tone[start : start + size], (2, 1)).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
            clip.mux(sound.encode(frame))
        clip.mux(picture.encode(None))
        clip.mux(sound.encode(None))


def thumbnails(analysis):
    """A sketched face a track."""
    faces = {}
    for track in analysis.tracks:
        picture = draw_frame(replace(analysis, tracks=(track,)), track.first / 25 + 0.3)
        x1, y1, x2, y2 = (int(v) for v in track.boxes[7])
        _, encoded = cv2.imencode(".png", cv2.resize(picture[y1:y2, x1:x2, ::-1], (112, 112), interpolation=cv2.INTER_CUBIC))
        faces[track.id] = encoded.tobytes()
    return faces


@dataclass
class MadeLibrary:
    """What the tests know of the library."""

    library: Library
    proxies: Proxies
    catalog: Catalog
    first: str  # sha256 of an asset that browsers play
    second: str  # of one that needs a proxy
    failed: str
    ann: str = "a1b2c3d4e5f6"
    unnamed: str = "0f9e8d7c6b5a"


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    home = ensure_home(tmp_path_factory.mktemp("web") / "home")
    media = tmp_path_factory.mktemp("media")
    analysis = made_analysis()
    paths = {"evening/monday.mp4": "libx264", "evening/tuesday <i>.avi": "mpeg4"}
    with embedded_database(home) as url:
        catalog = Catalog(url)
        store = ArtifactStore(FolderStore(home / "objects"))
        digests = []
        for number, (name, codec) in enumerate(paths.items()):
            path = media / name
            path.parent.mkdir(exist_ok=True)
            write_clip(path, analysis, codec, "aac" if codec == "libx264" else "ac3")
            digests.append(sha256_of(path))
            container = "mov,mp4,m4a" if codec == "libx264" else "avi"
            video = replace(analysis.info.video, codec="h264" if codec == "libx264" else "mpeg4", frame_rate=25.0)
            told = replace(analysis, info=replace(analysis.info, container=container, video=video))
            key = f"{number:02x}" * 32
            store.save(key, told)
            with catalog.transaction(serial=True) as connection:
                size = path.stat().st_size
                assets.see_location(connection, collection="news", uri=str(path), name=name, size=size, version="1", sha256=digests[-1])
                publish(
                    connection, digests[-1], Publication(told, groups_of(digests[-1], told.people, told.tracks), {}, thumbnails(told), key, "made")
                )
        broken = media / "evening" / "broken.mp4"
        broken.write_bytes(b"no video")
        bad = sha256_of(broken)
        with catalog.transaction(serial=True) as connection:
            assets.see_location(connection, collection="news", uri=str(broken), name="evening/broken.mp4", size=8, version="1", sha256=bad)
            assets.quarantine(connection, uri=str(broken), name="evening/broken.mp4", sha256=bad, error="Unreadable", reason="not a media file")
            groups = people.read_groups(connection, "ef" * 32)
            people.apply_partition(connection, partition(groups, digests))
        proxies = Proxies(
            home / "cache" / "proxies", 1 << 30, lambda source, sound, target, report: make_proxy(source, sound, target, report, analysis)
        )
        yield MadeLibrary(Library(catalog, store, Places(None)), proxies, catalog, digests[0], digests[1], bad)
        proxies.close()
        catalog.close()


def make_proxy(source, sound, target, report, analysis):
    write_rendition(source, analysis.info, target, audio_track=sound, on_progress=report)


def partition(groups, digests):
    """p1 of both assets is Ann, p2 of both is somebody unnamed; the photograph is nobody."""
    anchors = {group.key: group.anchor for group in groups}
    none = np.zeros((0, 4), np.float32)
    persons = tuple(
        LibraryPerson(pid, name, tuple(sorted((d, local) for d in digests)), (), anchors[digests[0], local], True, none, np.zeros(0, np.float32))
        for pid, name, local in ((MadeLibrary.unnamed, None, "p2"), (MadeLibrary.ann, 'Ann <b>"Lee"</b>', "p1"))
    )
    return Partition(persons, tuple((d, "p3") for d in digests), ())


@pytest.fixture(scope="session")
def app(made):
    return create_app(made.library, made.proxies)


@pytest.fixture(scope="session")
def address(app):
    """The address of a running server."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(10)

"""A library of a bucket is that of a folder with the same media; what is unchanged there is neither fetched nor hashed again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from minio.commonconfig import CopySource

from asd_core.errors import NotFound, RequestError, Unavailable
from flows import walk as walking
from flows.process_library import process_library
from infra.places import Places
from infra.s3 import S3Service, S3Store
from infra.settings import child_environment, load_settings
from infra.wiring import open_adapters
from tests.flow.libraries import content, differences
from tests.material import OUR_MODELS, SHORT_FILMS
from tests.services.rgw import s3_settings

pytestmark = [pytest.mark.servers, pytest.mark.timeout(280)]


@pytest.fixture
def fetches(monkeypatch):
    """The keys that were read from buckets as media, in order."""
    keys, reading = [], S3Store.open

    def noting(self, key, **told):
        if told.get("version") is not None:
            keys.append(key)
        return reading(self, key, **told)

    monkeypatch.setattr(S3Store, "open", noting)
    return keys


@pytest.fixture(scope="module")
def folder(tmp_path_factory, films):
    """The short films and a programme of the demo in folders, one of them twice, a file that is no film, one that is not tried, one hidden."""
    folder = tmp_path_factory.mktemp("bucket") / "media"
    (folder / "season é").mkdir(parents=True)
    for film in films(*SHORT_FILMS, "launch.mp4"):
        shutil.copyfile(film, folder / film.name)
    shutil.copyfile(folder / SHORT_FILMS[0], folder / "season é" / "again.mp4")
    (folder / "broken.mp4").write_text("this is no film")
    (folder / "notes.txt").write_text("notes")
    (folder / ".hidden.mp4").write_text("hidden")
    for file in folder.rglob("*.*"):
        os.utime(file, (1e9, 1e9))
    return folder


@pytest.fixture(scope="module")
def of_folder(folder, tmp_path_factory):
    """The home of the folder's library, and the summary."""
    home = tmp_path_factory.mktemp("folder") / "home"
    return home, process_library([folder], direct=True, settings=load_settings(home=home, models=OUR_MODELS))


@pytest.fixture(scope="module")
def filled(s3_server, folder):
    """The name of a bucket with the folder's files under `tv/`, and what lies beside it."""
    client, name = s3_server.client(), f"filled-{os.getpid()}"
    client.make_bucket(bucket_name=name)
    for file in folder.rglob("*"):
        if file.is_file():
            client.fput_object(bucket_name=name, object_name=f"tv/{file.relative_to(folder).as_posix()}", file_path=str(file))
    client.fput_object(bucket_name=name, object_name="tv2/elsewhere.mp4", file_path=str(folder / SHORT_FILMS[0]))
    return name


def settings_of(home, server, **told):
    return load_settings(home=home, models=OUR_MODELS, s3=server.section(), **told)


def places_apart(rows):
    """Return rows of a library without what differs between a folder and a bucket: uris and versions."""
    without = {"location": {0, 3}, "quarantine": {0}}
    return {
        table: sorted((tuple(value for n, value in enumerate(row) if n not in without.get(table, ())) for row in found), key=repr)
        for table, found in rows.items()
    }


@pytest.fixture(scope="module")
def of_bucket(s3_server, filled, tmp_path_factory):
    """The home of the bucket's library, whose artifacts lie in another bucket, its settings, and the summary."""
    home, store = tmp_path_factory.mktemp("of-bucket") / "home", f"artifacts-{os.getpid()}"
    s3_server.client().make_bucket(bucket_name=store)
    settings = settings_of(home, s3_server, objects_url=f"s3://{store}/rollcall")
    return home, settings, process_library([f"s3://{filled}/tv"], direct=True, settings=settings)


def test_a_bucket_gives_the_library_of_the_same_folder(of_folder, of_bucket):
    home, _, summary = of_bucket
    assert [(one.name, one.state, one.reason) for one in summary.results] == [(one.name, one.state, one.reason) for one in of_folder[1].results]
    assert summary.ignored == of_folder[1].ignored == 1
    assert differences(places_apart(content(of_folder[0])), places_apart(content(home))) == {}
    assert not list((home / "objects").rglob("artifacts"))


def test_again_nothing_is_fetched(of_bucket, filled, fetches):
    home, settings, _ = of_bucket
    shutil.rmtree(home / "cache" / "media")
    before = content(home)
    summary = process_library([f"s3://{filled}/tv/"], direct=True, settings=settings)
    assert {one.state for one in summary.results if one.name != "broken.mp4"} == {"skipped"}
    assert fetches == []
    assert differences(before, content(home)) == {}


def test_what_is_asked_for_anew_and_needs_no_media_fetches_none(of_bucket, filled, fetches):
    _, settings, _ = of_bucket
    told = settings.model_copy(update={"decide": settings.decide.model_copy(update={"price": 5.5})})
    summary = process_library([f"s3://{filled}/tv"], direct=True, settings=told)
    assert {one.name for one in summary.of("done")} == {*SHORT_FILMS, "launch.mp4"}
    assert set(fetches) <= {"tv/broken.mp4"}  # what was set aside under other settings is tried again
    process_library([f"s3://{filled}/tv"], direct=True, settings=settings)  # as it was


def test_a_second_hand_s_uri_alone(of_bucket, filled):
    _, settings, _ = of_bucket
    uris = [f"s3://{filled}/tv/season é/again.mp4", f"s3://{filled}/tv/nothing.mp4"]
    (one,) = process_library([f"s3://{filled}/tv"], only=uris, direct=True, settings=settings).results
    assert (one.name, one.uri, one.state) == ("season é/again.mp4", uris[0], "skipped")


def test_replaced_and_removed_objects(s3_server, films, bucket, tmp_path):
    client, settings = s3_server.client(), settings_of(tmp_path / "home", s3_server)
    first, second = films(*SHORT_FILMS)
    client.fput_object(bucket_name=bucket, object_name="a.mp4", file_path=str(first))
    client.fput_object(bucket_name=bucket, object_name="b.mp4", file_path=str(first))
    assert len(process_library([f"s3://{bucket}"], direct=True, settings=settings).of("done")) == 1
    client.fput_object(bucket_name=bucket, object_name="a.mp4", file_path=str(second))
    (new,) = process_library([f"s3://{bucket}"], direct=True, settings=settings).of("done")
    assert new.name == "a.mp4"
    client.remove_object(bucket_name=bucket, object_name="b.mp4")
    process_library([f"s3://{bucket}"], direct=True, settings=settings)
    with open_adapters(settings) as adapters, adapters.catalog.reading() as connection:
        rows = connection.execute(
            "SELECT l.uri, a.sha256, l.gone_at IS NULL FROM location l JOIN asset a ON a.id = l.asset_id ORDER BY l.uri"
        ).fetchall()
        states = connection.execute("SELECT state FROM asset").fetchall()
    assert [(uri, sha256 == new.sha256, here) for uri, sha256, here in rows] == [
        (f"s3://{bucket}/a.mp4", True, True), (f"s3://{bucket}/b.mp4", False, False),
    ]  # fmt: skip
    assert states == [("done",), ("done",)]


def test_replaced_while_it_is_worked_on(s3_server, films, bucket, tmp_path):
    client, settings = s3_server.client(), settings_of(tmp_path / "home", s3_server)
    first, second = films(*SHORT_FILMS)
    client.fput_object(bucket_name=bucket, object_name="a.mp4", file_path=str(first))

    def replace(event):
        if event.kind == "stage" and event.stage == "decide":
            client.fput_object(bucket_name=bucket, object_name="a.mp4", file_path=str(second))

    (one,) = process_library([f"s3://{bucket}"], direct=True, settings=settings, on_event=replace).results
    assert (one.state, one.retryable) == ("failed", True)
    assert "changed while it was being analysed" in one.reason
    (one,) = process_library([f"s3://{bucket}"], direct=True, settings=settings).results
    assert one.state == "done"


def test_replaced_between_listing_and_fetching(s3_server, bucket, tmp_path, monkeypatch):
    client, settings = s3_server.client(), settings_of(tmp_path / "home", s3_server)
    (tmp_path / "a").write_bytes(b"one")
    client.fput_object(bucket_name=bucket, object_name="a.mp4", file_path=str(tmp_path / "a"))
    places = Places(settings)
    (one,), _ = walking.walk([f"s3://{bucket}"], places)
    (tmp_path / "a").write_bytes(b"two")
    client.fput_object(bucket_name=bucket, object_name="a.mp4", file_path=str(tmp_path / "a"))
    with pytest.raises(Unavailable, match="replaced"):
        walking.identify(one, places, lambda: None)
    assert not list((tmp_path / "home" / "cache" / "media").glob(".part-*"))


def test_names(s3_server, bucket, tmp_path):
    client, settings = s3_server.client(), settings_of(tmp_path / "home", s3_server)
    (tmp_path / "a").write_bytes(b"x")
    client.fput_object(bucket_name=bucket, object_name="x.mp4", file_path=str(tmp_path / "a"))
    names = ("tv/a.mp4", "tv/b.MXF", "tv/notes.TXT", "tv/noending", "tv/.hidden/a.mp4", "tv/a//b.mp4", "tv/folder/", "tv.mp4", "notes.txt")
    for name in names:
        client.copy_object(bucket_name=bucket, object_name=name, source=CopySource(bucket_name=bucket, object_name="x.mp4"))
    places = Places(settings)
    found, ignored = walking.walk([f"s3://{bucket}/tv"], places)
    assert [(one.name, one.uri, one.nameable) for one in found] == [
        ("a.mp4", f"s3://{bucket}/tv/a.mp4", True),
        ("a//b.mp4", f"s3://{bucket}/tv/a//b.mp4", False),
        ("b.MXF", f"s3://{bucket}/tv/b.MXF", True),
    ]
    assert ignored == 2
    assert [one.name for one in walking.walk([f"s3://{bucket}/notes.txt"], places)[0]] == ["notes.txt"]
    assert walking.walk([f"s3://{bucket}/nothing"], places) == ([], 0)
    with pytest.raises(NotFound, match=r"nothing in s3://.* is media"):
        process_library([f"s3://{bucket}/nothing"], direct=True, settings=settings)
    with pytest.raises(RequestError, match="no bucket"):
        process_library([f"s3://{bucket}-not"], direct=True, settings=settings)


def test_a_missing_bucket_for_artifacts_ends_the_run_before_work(s3_server, filled, tmp_path):
    settings = settings_of(tmp_path / "home", s3_server, objects_url="s3://nowhere-to-be-seen/x")
    with pytest.raises(RequestError, match="no bucket nowhere-to-be-seen"):
        process_library([f"s3://{filled}/tv"], direct=True, settings=settings)


def test_no_secret_is_left_anywhere(of_bucket, s3_server):
    home, _, _ = of_bucket
    found = subprocess.run(["grep", "-r", "-l", "-a", s3_server.secret_key, str(home)], capture_output=True, check=False)
    assert found.stdout == b""


def test_pages_and_exports_find_the_file(of_bucket, filled, folder):
    from rollcall.library import Library

    _, settings, _ = of_bucket
    with open_adapters(settings) as adapters:
        library = Library(adapters.catalog, adapters.artifacts, adapters.places)
        path = library.source(library.asset("launch.mp4")).path()
    assert path.name == "launch.mp4"
    assert path.read_bytes() == (folder / "launch.mp4").read_bytes()


def test_an_export_goes_into_a_bucket(of_bucket, filled, s3_server):
    home, _, _ = of_bucket
    environment = {**child_environment(), **s3_server.environment("unused"), "ROLLCALL_HOME": str(home)}
    environment["ROLLCALL_OBJECTS_URL"] = of_bucket[1].objects_url
    for form, name in (("vtt", "launch.vtt"), ("overlay", "launch.mp4")):
        command = [str(Path(sys.executable).with_name("rollcall")), "export", "launch.mp4", "--format", form, "-o", f"s3://{filled}/out/{name}"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == 0, done.stderr
    store = S3Service(s3_settings(s3_server)).at(f"s3://{filled}/out")
    assert store.get("launch.vtt").startswith(b"WEBVTT")
    assert store.get("launch.mp4")[4:8] == b"ftyp"
    assert not list((home / "tmp").glob("export-*"))


def test_twenty_seconds_without_the_service_change_nothing(of_folder, s3_server, filled, tmp_path):
    """Media and artifacts are out of reach for a while in the middle of the work, which waits for them."""
    store = f"outage-{os.getpid()}"
    s3_server.client().make_bucket(bucket_name=store)
    settings = settings_of(tmp_path / "home", s3_server, objects_url=f"s3://{store}")
    down = threading.Event()

    def stop(event):
        if event.kind == "stage" and event.stage == "listen" and not down.is_set():
            down.set()
            s3_server.stop()
            threading.Timer(20, s3_server.start).start()

    summary = process_library([f"s3://{filled}/tv"], direct=True, settings=settings, on_event=stop)
    assert down.is_set()
    assert {one.state for one in summary.results} == {"done", "skipped", "quarantined"}
    assert differences(places_apart(content(of_folder[0])), places_apart(content(tmp_path / "home"))) == {}

"""Snapshots of the vector index in a bucket: a new machine starts from them, and a dead writer or a dead server harms none."""

import multiprocessing
import os
import signal
import time

import pytest

from asd_core.errors import Unavailable
from infra.s3 import S3Service
from infra.vectors import files
from tests.contract.made_log import Log, assert_holds, opened, unit
from tests.services.rgw import s3_settings

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]


@pytest.fixture
def store(s3_server, bucket):
    return S3Service(s3_settings(s3_server)).store(bucket, "library/objects")


def test_a_new_machine_starts_from_the_bucket(tmp_path, store):
    log = Log().add(range(500), unit(500))
    opened(tmp_path / "one", store=store, exact_limit=100).snapshot(log)
    log.add([500], unit(1, seed=1)).remove(3)
    log.asked.clear()
    two = opened(tmp_path / "two", store=store)
    two.catch_up(log)
    assert log.asked == [500]
    assert (two.changes, two.is_exact) == (2, False)
    assert_holds(two, log)
    assert two.faults() == []
    two.snapshot(log)
    assert len({info.key.split("/")[1] for info in store.list("vectors/")}) == 2  # the old snapshot has gone: one file, one side file
    three = opened(tmp_path / "three", store=store)
    assert_holds(three, log)
    assert three.faults() == []


def _snapshot(folder, settings, bucket, part, begun):
    files.PART = part
    store = S3Service(settings).store(bucket, "library/objects")
    put = store.put

    def slowly(key, data):
        begun.set()
        time.sleep(0.05)
        put(key, data)

    store.put = slowly
    opened(folder, store=store).snapshot(Log().add(range(500), unit(500)).remove(7))


def test_a_writer_that_is_killed_while_it_uploads_harms_nobody(tmp_path, store, s3_server, bucket):
    log = Log().add(range(500), unit(500))
    opened(tmp_path / "one", store=store).snapshot(log)
    before = {info.key for info in store.list("vectors/")}
    spawn = multiprocessing.get_context("spawn")
    begun = spawn.Event()
    writer = spawn.Process(target=_snapshot, args=(tmp_path / "one", s3_settings(s3_server), bucket, 2_000, begun))
    writer.start()
    assert begun.wait(60)
    time.sleep(0.3)  # of 18 parts some are there
    os.kill(writer.pid, signal.SIGKILL)
    writer.join(30)
    log.remove(7)
    left = {info.key for info in store.list("vectors/")}
    assert before < left
    two = opened(tmp_path / "two", store=store)
    assert two.stands_at[0] == 500
    two.catch_up(log)
    assert_holds(two, log)
    assert two.faults() == []
    one = opened(tmp_path / "one", store=store)  # had written its own files before
    assert one.stands_at[0] == 501
    assert not one.snapshot(log)  # nothing new, but the bucket gets it
    assert opened(tmp_path / "three", store=store).stands_at[0] == 501


def test_a_dead_server_stops_no_search(tmp_path, store, s3_server):
    log = Log().add(range(50), unit(50))
    index = opened(tmp_path / "one", store=store)
    index.snapshot(log)
    s3_server.stop()
    try:
        assert opened(tmp_path / "one", store=store).catch_up(log) == 50
        assert opened(tmp_path / "two", store=store).catch_up(log) == 50
        with pytest.raises(Unavailable):
            index.snapshot(log.add([50], unit(1, seed=1)))
        assert_holds(index, log)
        assert index.faults() == []
    finally:
        s3_server.start()
    again = opened(tmp_path / "one", store=store)
    assert again.stands_at[0] == 51
    again.snapshot(log)
    assert opened(tmp_path / "three", store=store).stands_at[0] == 51

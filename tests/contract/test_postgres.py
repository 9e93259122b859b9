"""Services that commands share, and the embedded PostgreSQL as one of them: crashes, strangers, killed users."""

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg
import pytest

from infra.postgres import EmbeddedPostgres, PostgresFailed, embedded_database, supervisor
from infra.settings import ensure_home
from infra.supervise import Supervisor, process_start

ROOT = Path(__file__).resolve().parents[2]


class Sleeper:
    """The smallest service: a process that sleeps."""

    name = "sleeper"

    def __init__(self):
        self.starts, self.fail = 0, False

    def start(self):
        self.starts += 1
        if self.fail:
            raise OSError("no")
        time.sleep(0.1)
        process = subprocess.Popen(["sleep", "600"])
        self.processes = [*getattr(self, "processes", []), process]
        return {"pid": process.pid, "started": process_start(process.pid)}

    def alive(self, info):
        return process_start(info["pid"]) == info["started"]

    def stop(self, info):
        if info and self.alive(info):
            os.kill(info["pid"], signal.SIGTERM)
        for process in getattr(self, "processes", []):
            process.wait(timeout=5)


@pytest.fixture
def sleeper(tmp_path):
    service = Sleeper()
    supervisor = Supervisor(service, tmp_path / "run")
    yield supervisor
    supervisor.down(force=True)


class TestSupervisor:
    def test_first_starts_last_stops(self, sleeper):
        with sleeper.use() as info:
            with sleeper.use() as again:
                assert again == info
            assert sleeper.status() == {"running": True, "pinned": False, "users": 1, "info": info}
        assert sleeper.status() == {"running": False, "pinned": False, "users": 0, "info": None}
        assert sleeper.service.starts == 1

    def test_up_pins_down_ends(self, sleeper):
        sleeper.pin()
        with sleeper.use():
            pass
        assert sleeper.status()["running"]
        assert sleeper.down() == 0
        assert not sleeper.status()["running"]

    def test_down_leaves_it_to_its_users(self, sleeper):
        sleeper.pin()
        with sleeper.use():
            assert sleeper.down() == 1
            assert sleeper.status()["running"]
        assert not sleeper.status()["running"]

    def test_a_dead_service_is_started_again(self, sleeper):
        with sleeper.use() as info:
            os.kill(info["pid"], signal.SIGKILL)
            while process_start(info["pid"]) is not None:
                time.sleep(0.01)
            with sleeper.use() as other:
                assert other["pid"] != info["pid"]

    def test_killed_users_and_recycled_ids_do_not_count(self, sleeper, tmp_path):
        sleeper.pin()
        path = tmp_path / "run" / "sleeper.json"
        state = json.loads(path.read_text())
        state["users"] = [{"pid": 2**22 + 1, "started": 1.0, "token": "a"}, {"pid": os.getpid(), "started": 1.0, "token": "b"}]
        path.write_text(json.dumps(state))
        assert sleeper.status()["users"] == 0
        assert sleeper.down() == 0

    def test_a_start_that_fails_leaves_nothing(self, sleeper):
        sleeper.service.fail = True
        with pytest.raises(OSError, match="no"), sleeper.use():
            pass
        assert sleeper.status()["users"] == 0
        sleeper.service.fail = False
        with sleeper.use():
            assert sleeper.status()["running"]

    @pytest.mark.parametrize("text", ['{"pinned": tr', "", "[]", "3", '{"users": 3}', '{"pinned": false, "users": [{}], "info": null}'])
    def test_a_torn_or_strange_state_file_is_no_state(self, sleeper, tmp_path, text):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "sleeper.json").write_text(text)
        with sleeper.use():
            assert sleeper.status()["users"] == 1

    def test_down_ends_what_a_killed_start_left(self, sleeper, monkeypatch):
        told = []
        monkeypatch.setattr(sleeper.service, "stop", told.append)
        assert sleeper.down() == 0
        assert told == [{}]

    def test_a_look_writes_nothing(self, sleeper, tmp_path):
        with sleeper.use():
            path = tmp_path / "run" / "sleeper.json"
            before = path.stat()
            assert sleeper.status()["users"] == 1
            assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)

    def test_many_at_once_start_it_once(self, sleeper):
        barrier, infos = threading.Barrier(6), []

        def go():
            with sleeper.use() as info:
                infos.append(info["pid"])
                barrier.wait(timeout=20)

        threads = [threading.Thread(target=go) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(infos)) == 1
        assert sleeper.service.starts == 1
        assert not sleeper.status()["running"]

    def test_state_is_private(self, sleeper, tmp_path):
        sleeper.pin()
        assert stat.S_IMODE((tmp_path / "run" / "sleeper.json").stat().st_mode) == 0o600


def query(url, sql="SELECT 1"):
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(sql)
        return cursor.fetchone() if cursor.description else None


@pytest.fixture(scope="module")
def data_folder(tmp_path_factory):
    """A data folder that was set up and stopped."""
    home = ensure_home(tmp_path_factory.mktemp("set-up") / "home")
    with embedded_database(home) as url:
        query(url)
    return home / "postgres"


@pytest.fixture
def empty_home(tmp_path):
    home = ensure_home(tmp_path / "home")
    yield home
    supervisor(home).down(force=True)


@pytest.fixture
def home(empty_home, data_folder):
    """A home whose database was set up before: copying a data folder takes less than making one."""
    subprocess.run(["cp", "-a", data_folder, empty_home], check=True)
    return empty_home


@pytest.mark.service
class TestEmbedded:
    def test_starts_serves_stops_and_keeps(self, empty_home):
        home = empty_home
        with embedded_database(home) as url:
            query(url, "CREATE TABLE kept (x int)")
            pid = supervisor(home).status()["info"]["pid"]
        assert process_start(pid) is None
        with embedded_database(home) as url:
            assert query(url, "SELECT count(*) FROM kept") == (0,)
            assert query(url, "SHOW server_encoding") == ("UTF8",)
            assert query(url, "SHOW listen_addresses") == ("",)

    def test_no_mode_is_changed_and_the_data_is_private(self, home, tmp_path):
        parents = [tmp_path, *tmp_path.parents]
        before = [parent.stat().st_mode for parent in parents]
        with embedded_database(home) as url:
            query(url)
        assert [parent.stat().st_mode for parent in parents] == before
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        assert stat.S_IMODE((home / "postgres").stat().st_mode) == 0o700
        assert (home / "postgres").stat().st_uid != 0

    def test_a_long_home_has_a_short_socket(self, tmp_path):
        home = ensure_home(tmp_path / ("long" * 20) / ("path" * 15))
        with embedded_database(home) as url:
            assert query(url) == (1,)

    def test_a_recycled_process_id_harms_nobody(self, home):
        with embedded_database(home) as url:
            query(url)
            info = supervisor(home).status()["info"]
            lines = (home / "postgres" / "postmaster.pid").read_text().splitlines()
        bystander = subprocess.Popen(["sleep", "600"])
        try:
            lines[0] = str(bystander.pid)
            (home / "postgres" / "postmaster.pid").write_text("\n".join(lines) + "\n")
            state = {"pinned": False, "users": [], "info": {**info, "pid": bystander.pid}}
            (home / "run" / "postgres.json").write_text(json.dumps(state))
            with embedded_database(home) as url:
                assert query(url) == (1,)
            assert bystander.poll() is None
        finally:
            bystander.kill()
            bystander.wait()

    def test_kill_9_of_the_server_loses_nothing(self, home):
        with embedded_database(home) as url:
            query(url, "CREATE TABLE kept (x int)")
            query(url, "INSERT INTO kept VALUES (7)")
            os.kill(supervisor(home).status()["info"]["pid"], signal.SIGKILL)
            with embedded_database(home) as again:
                assert query(again, "SELECT x FROM kept") == (7,)

    def test_a_lost_state_file_does_not_lose_the_server(self, home):
        with embedded_database(home):
            pid = supervisor(home).status()["info"]["pid"]
            (home / "run" / "postgres.json").unlink()
            with embedded_database(home) as url:
                assert query(url) == (1,)
                assert supervisor(home).status()["info"]["pid"] == pid
            assert process_start(pid) is None

    def test_two_commands_share_and_a_killed_one_does_not_hold(self, home):
        code = f"""
import sys, time; sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from infra.postgres import embedded_database
with embedded_database(Path({str(home)!r})) as url:
    print(url, flush=True)
    time.sleep(60)
"""
        commands = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
        urls = {command.stdout.readline() for command in commands}
        assert len(urls) == 1
        assert supervisor(home).status()["users"] == 2
        pid = supervisor(home).status()["info"]["pid"]
        for command, end in zip(commands, (signal.SIGKILL, signal.SIGINT), strict=True):
            command.send_signal(end)
            command.communicate(timeout=20)
        assert process_start(pid) is None
        assert not supervisor(home).status()["running"]

    def test_half_a_set_up_is_none(self, empty_home):
        home = empty_home
        (home / "postgres.part").mkdir()
        (home / "postgres.part" / "PG_VERSION").write_text("18")
        with embedded_database(home) as url:
            assert query(url) == (1,)

    def test_a_broken_data_folder_is_one_clear_line(self, home):
        with embedded_database(home) as url:
            query(url)
        (home / "postgres" / "global" / "pg_control").unlink()
        with pytest.raises(PostgresFailed, match="does not start") as caught, embedded_database(home):
            pass
        assert "\n" not in str(caught.value)

    def test_stopping_what_does_not_run(self, home):
        EmbeddedPostgres(home).stop({})
        assert supervisor(home).down() == 0

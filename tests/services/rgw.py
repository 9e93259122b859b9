"""A real S3 server for tests: Ceph's gateway over one monitor and one store in memory, all from Debian, on loopback, with signatures checked.

It is up in some ten seconds. Nothing of it outlives the test run: the three processes are told to die with it. The kernel takes that to mean
the thread that began them, so one thread begins them all and lives as long as the server: a timer may call `start`.
"""

from __future__ import annotations

import secrets
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "monmaptool", "setpriv")
PACKAGES = "radosgw ceph-mon ceph-osd"
START_SECONDS = 120.0
STOP_SECONDS = 10.0
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}

# No authority among the three daemons, which only loopback reaches; the gateway checks every signature. One copy of everything, in memory.
CONFIGURATION = """
[global]
fsid = {fsid}
mon host = v1:127.0.0.1:{mon_port}
auth cluster required = none
auth service required = none
auth client required = none
ms bind msgr2 = false
ms bind ipv6 = false
public addr = 127.0.0.1
cluster addr = 127.0.0.1
mon allow pool size one = true
mon data = {folder}/mon
mon data avail crit = 0
mon cluster log to file = false
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = 8589934592
osd crush chooseleaf type = 0
osd client watch timeout = 2
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
rgw data = {folder}/rgw
rgw frontends = beast endpoint=127.0.0.1:{port}
run dir = {folder}
admin socket = {folder}/$name.$pid.asok
log file =
"""


def missing_programs() -> list[str]:
    """Return what of the server is not installed here."""
    return [name for name in PROGRAMS if shutil.which(name, path=ENVIRONMENT["PATH"]) is None]


class S3Server:
    """A gateway that can be stopped and started again: what it stores lies in the store, and stays until `close`."""

    region = "default"

    def __init__(self) -> None:
        self.access_key, self.secret_key = f"AK{secrets.token_hex(8)}", secrets.token_hex(20)
        self._port = free_port()
        self.endpoint = f"127.0.0.1:{self._port}"  # as minio.Minio wants it, plain http
        self._folder = Path(tempfile.mkdtemp(prefix="rollcall-s3-"))
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._launcher = ThreadPoolExecutor(1, thread_name_prefix="s3-server")
        self._gateway: subprocess.Popen[bytes] | None = None
        try:
            self._create()
            self.start()
        except BaseException:
            self.close()
            raise

    def environment(self, bucket: str) -> dict[str, str]:
        """Return the settings with which Rollcall uses this server; artifacts and exports lie in a bucket."""
        return {**self.credentials(), "ROLLCALL_OBJECTS_URL": f"s3://{bucket}"}

    def credentials(self) -> dict[str, str]:
        """Return the settings with which Rollcall reads media from this server."""
        return {
            "ROLLCALL_S3__ENDPOINT": self.endpoint, "ROLLCALL_S3__ACCESS_KEY": self.access_key, "ROLLCALL_S3__SECRET_KEY": self.secret_key,
            "ROLLCALL_S3__REGION": self.region, "ROLLCALL_S3__SECURE": "false",
        }  # fmt: skip

    def client(self):
        """Return a client of minio, with no code of ours."""
        from minio import Minio

        return Minio(endpoint=self.endpoint, access_key=self.access_key, secret_key=self.secret_key, region=self.region, secure=False)

    def start(self) -> None:
        """Start the gateway; return when it answers."""
        self._gateway = self._launch("radosgw", "-n", "client.rgw.a", "-f")
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._gateway.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"radosgw does not come up:\n{self._log('radosgw')}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End the gateway at once, in the middle of whatever it does."""
        if self._gateway is not None:
            self._gateway.kill()
            self._gateway.wait(STOP_SECONDS)
            self._gateway = None

    def close(self) -> None:
        """End everything and forget what was stored."""
        self.stop()
        for daemon in reversed(self._daemons):
            daemon.kill()
            daemon.wait(STOP_SECONDS)
        self._launcher.shutdown()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _create(self) -> None:
        fsid, mon_port = str(uuid.uuid4()), free_port()
        for name in ("mon", "osd"):
            (self._folder / name).mkdir()
        (self._folder / "ceph.conf").write_text(CONFIGURATION.format(fsid=fsid, mon_port=mon_port, port=self._port, folder=self._folder))
        monmap = str(self._folder / "monmap")
        self._do("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v1:127.0.0.1:{mon_port}]", monmap)
        self._do("ceph-mon", "-i", "a", "--mkfs", "--monmap", monmap)
        self._daemons.append(self._launch("ceph-mon", "-i", "a", "-f"))
        self._do("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", str(uuid.uuid4()))
        self._start_store()
        keys = ("--access-key", self.access_key, "--secret-key", self.secret_key)
        self._do("radosgw-admin", "user", "create", "--uid", "rollcall", "--display-name", "Rollcall", *keys)

    def _start_store(self) -> None:
        """Start the store; return when the monitor counts it as up.

        Without authentication a client of the monitor may speak before it has learnt the cluster's name; it is refused ("wrong fsid"),
        and ends. That happens to the store in one start of twenty, and to the question whether it is up: both are repeated.
        """
        deadline = time.monotonic() + START_SECONDS
        self._daemons.append(self._launch("ceph-osd", "-i", "0", "-f"))
        while not self._store_is_up():
            if time.monotonic() > deadline:
                raise RuntimeError(f"ceph-osd does not come up:\n{self._log('ceph-osd')}")
            if self._daemons[-1].poll() is not None:
                self._daemons[-1] = self._launch("ceph-osd", "-i", "0", "-f")
            time.sleep(0.1)

    def _store_is_up(self) -> bool:
        try:
            return b"1 up" in self._do("ceph", "--connect-timeout", "10", "osd", "stat")
        except RuntimeError:
            return False

    def _do(self, program: str, *arguments: str) -> bytes:
        command = [program, "-c", str(self._folder / "ceph.conf"), *arguments]
        if program == "monmaptool":
            command = [program, *arguments]
        done = subprocess.run(command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, timeout=START_SECONDS, check=False)
        if done.returncode:
            raise RuntimeError(f"{program} {arguments[0]} failed:\n{done.stderr.decode(errors='replace')[-2000:]}\n{self._log('ceph-osd')}")
        return done.stdout

    def _launch(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._folder / f"{program}.log").open("ab") as log:
            command = ["setpriv", "--pdeathsig", "KILL", program, "-c", str(self._folder / "ceph.conf"), *arguments]
            told = {"env": ENVIRONMENT, "stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, "start_new_session": True}
            return self._launcher.submit(subprocess.Popen, command, **told).result()

    def _log(self, program: str) -> str:
        path = self._folder / f"{program}.log"
        return path.read_text(errors="replace")[-2000:] if path.exists() else ""

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.endpoint}/", timeout=5):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def s3_settings(server: S3Server, **other):
    """Return the settings' section `s3` for a server; `other` fields in place of the right ones."""
    from infra.settings import S3Settings

    right = {"endpoint": server.endpoint, "access_key": server.access_key, "secret_key": server.secret_key}
    return S3Settings(**{**right, "region": server.region, "secure": False, **other})

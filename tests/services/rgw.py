"""A real S3 server for tests: Ceph's gateway over one monitor and one store in memory, all from Debian, on loopback, with signatures checked.

It is up in some ten seconds.
"""

from __future__ import annotations

import secrets
import shutil
import time
import urllib.error
import urllib.request
import uuid

from tests.services.daemons import ENVIRONMENT, START_SECONDS, Daemon, Daemons, free_port

PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "monmaptool", "setpriv")
PACKAGES = "radosgw ceph-mon ceph-osd"

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
        self._daemons = Daemons("s3")
        self.folder = self._daemons.folder
        self._gateway: Daemon | None = None
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

    def section(self, **other) -> dict:
        """Return the settings' section `s3`; `other` fields in place of the right ones."""
        right = {"endpoint": self.endpoint, "access_key": self.access_key, "secret_key": self.secret_key, "region": self.region, "secure": False}
        return right | other

    def client(self):
        """Return a client of minio, with no code of ours."""
        from minio import Minio

        return Minio(endpoint=self.endpoint, access_key=self.access_key, secret_key=self.secret_key, region=self.region, secure=False)

    def start(self) -> None:
        """Start the gateway; return when it answers."""
        self._gateway = self._daemons.begin(*self._command("radosgw", "-n", "client.rgw.a", "-f"), is_up=self._answers)

    def stop(self) -> None:
        """End the gateway at once, in the middle of whatever it does."""
        if self._gateway is not None:
            self._daemons.end(self._gateway)
            self._gateway = None

    def close(self) -> None:
        """End everything and forget what was stored."""
        self._daemons.close()

    def _create(self) -> None:
        fsid, mon_port = str(uuid.uuid4()), free_port()
        for name in ("mon", "osd"):
            (self.folder / name).mkdir()
        (self.folder / "ceph.conf").write_text(CONFIGURATION.format(fsid=fsid, mon_port=mon_port, port=self._port, folder=self.folder))
        monmap = str(self.folder / "monmap")
        self._daemons.do("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v1:127.0.0.1:{mon_port}]", monmap)
        self._do("ceph-mon", "-i", "a", "--mkfs", "--monmap", monmap)
        self._daemons.begin(*self._command("ceph-mon", "-i", "a", "-f"))
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
        command = self._command("ceph-osd", "-i", "0", "-f")
        store = self._daemons.begin(*command)
        while not self._store_is_up():
            if time.monotonic() > deadline:
                raise RuntimeError(f"ceph-osd does not come up:\n{self._daemons.said('ceph-osd')}")
            if store.poll() is not None:
                self._daemons.end(store)
                store = self._daemons.begin(*command)
            time.sleep(0.1)

    def _store_is_up(self) -> bool:
        try:
            return b"1 up" in self._do("ceph", "--connect-timeout", "10", "osd", "stat")
        except RuntimeError:
            return False

    def _do(self, program: str, *arguments: str) -> bytes:
        return self._daemons.do(*self._command(program, *arguments))

    def _command(self, program: str, *arguments: str) -> tuple[str, ...]:
        return (program, "-c", str(self.folder / "ceph.conf"), *arguments)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.endpoint}/", timeout=5):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False


def s3_settings(server: S3Server, **other):
    """Return the section as Rollcall holds it."""
    from infra.settings import S3Settings

    return S3Settings(**server.section(**other))

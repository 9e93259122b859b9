"""Models that are pulled: the very files of the manifest or nothing, from a folder or by https, and no secret in a message."""

import datetime
import errno
import functools
import hashlib
import http.server
import os
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from asd_core.errors import ModelMismatch, NotFound, RequestError, Unavailable
from asd_core.models.manifest import read_manifest
from infra.model_files import place_text, pull_model

MANIFEST = """
name = "mine"
role = "embedder"
kind = "arcface"
licence = "some"
commercial = true
[files.network]
file = "mine one.onnx"
sha256 = "{sha256}"
[input]
name = "face"
size_wh = [112, 112]
"""
FILE = "mine one.onnx"
CONTENT = b"weights" * 1000


@pytest.fixture
def manifest(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(MANIFEST.format(sha256=hashlib.sha256(CONTENT).hexdigest()))
    return read_manifest(path)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / FILE).write_bytes(CONTENT)
    return folder


@pytest.fixture
def target(tmp_path):
    return tmp_path / "home" / "models"


def nothing_in(target):
    return not target.exists() or not list(target.iterdir())


def test_a_folder_gives_its_files(manifest, folder, target):
    assert pull_model(manifest, str(folder), target) == (target / FILE,)
    assert (target / FILE).read_bytes() == CONTENT
    assert [path.name for path in target.iterdir()] == [FILE]


def test_a_file_that_was_changed_is_not_kept(manifest, folder, target):
    (folder / FILE).write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(ModelMismatch, match=FILE):
        pull_model(manifest, str(folder), target)
    assert nothing_in(target)


def test_what_was_there_stays_when_what_comes_is_wrong(manifest, folder, target):
    pull_model(manifest, str(folder), target)
    (folder / FILE).write_bytes(b"other")
    with pytest.raises(ModelMismatch):
        pull_model(manifest, str(folder), target)
    assert (target / FILE).read_bytes() == CONTENT


def test_a_file_without_end_is_cut_off(manifest, folder, target):
    with pytest.raises(RequestError, match="larger than"):
        pull_model(manifest, str(folder), target, largest=len(CONTENT) - 1)
    assert nothing_in(target)


def test_what_cannot_be_checked_is_not_taken(folder, target, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(MANIFEST.replace('sha256 = "{sha256}"', ""))
    with pytest.raises(RequestError, match="sha256"):
        pull_model(read_manifest(path), str(folder), target)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_called_that(manifest, folder, target, address, monkeypatch, number):
    def full(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    for source in (str(folder), f"https://{address}/models"):
        with pytest.raises(Unavailable, match=r"disk of .* is full"):
            pull_model(manifest, source, target)
        assert nothing_in(target)
    with pytest.raises(Unavailable, match=r"disk of .* is full"):
        place_text(target / "mine.toml", "text")
    assert nothing_in(target)


def test_a_folder_that_cannot_be_written_is_named(manifest, folder, tmp_path):
    (tmp_path / "home").write_text("a file")
    with pytest.raises(Unavailable, match=r"home/models cannot be written"):
        pull_model(manifest, str(folder), tmp_path / "home" / "models")


def test_what_a_killed_pull_left_is_cleared_and_not_that_of_a_living_one(manifest, folder, target, tmp_path):
    waits = """
import os, sys, time
from pathlib import Path
os.fsync = lambda _: (print("written", flush=True), time.sleep(60))
from asd_core.models.manifest import read_manifest
from infra.model_files import pull_model
pull_model(read_manifest(Path(sys.argv[1])), sys.argv[2], Path(sys.argv[3]))
"""
    command = [sys.executable, "-c", waits, str(tmp_path / "mine.toml"), str(folder), str(target)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout.readline() == b"written\n"
            pull_model(manifest, str(folder), target)
            assert len(list(target.iterdir())) == 2
        finally:
            child.kill()
    pull_model(manifest, str(folder), target)
    assert [path.name for path in target.iterdir()] == [FILE]


@pytest.mark.parametrize("source", ["http://127.0.0.1/models", "ftp://host/models", "file:///tmp", "https:///models"])
def test_only_folders_and_https(manifest, target, source):
    with pytest.raises(RequestError, match="https only"):
        pull_model(manifest, source, target)
    assert nothing_in(target)


def test_what_is_not_there(manifest, target, tmp_path):
    with pytest.raises(NotFound, match="no such folder"):
        pull_model(manifest, str(tmp_path / "nowhere"), target)
    with pytest.raises(NotFound, match="no such folder"):
        pull_model(manifest, "~nobody-of-this-name/models", target)
    with pytest.raises(NotFound, match=FILE):
        pull_model(manifest, str(tmp_path), target)


def test_what_is_no_address(manifest, target):
    with pytest.raises(RequestError, match="not an address"):
        pull_model(manifest, "https://[host/models", target)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder below /models, and leads elsewhere from /plain and /moved."""

    def do_GET(self):
        place, _, file = self.path.lstrip("/").partition("/")
        if place in {"plain", "moved"}:
            self.send_response(302)
            self.send_header("Location", f"{'http://127.0.0.1:1' if place == 'plain' else ''}/models/{file}")
            self.end_headers()
            return
        self.path = f"/{file.partition('?')[0]}"
        super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def address(folder, tmp_path, monkeypatch):
    """The address of a server on loopback whose certificate is trusted for the length of the test."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    made = made.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    pem = tmp_path / "server.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    monkeypatch.setenv("no_proxy", "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"localhost:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("place", ["models", "models/", "moved"])
def test_an_address_gives_its_files(manifest, target, address, place):
    (path,) = pull_model(manifest, f"https://{address}/{place}", target)
    assert path.read_bytes() == CONTENT


def test_a_redirection_away_from_https_is_refused(manifest, target, address):
    with pytest.raises(RequestError, match="https only"):
        pull_model(manifest, f"https://{address}/plain", target)
    assert nothing_in(target)


def test_what_an_address_does_not_give(manifest, folder, target, address):
    (folder / FILE).unlink()
    with pytest.raises(NotFound, match="404") as caught:
        pull_model(manifest, f"https://{address}/models?token=hunter2", target)
    assert "hunter2" not in str(caught.value)


def test_a_server_that_is_not_trusted_gives_nothing(manifest, target, address, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(Unavailable, match="certificate") as caught:
        pull_model(manifest, f"https://{address}/models?token=hunter2", target)
    assert "hunter2" not in str(caught.value)
    assert nothing_in(target)


def test_a_password_in_an_address_is_refused_and_not_repeated(manifest, target):
    with pytest.raises(RequestError, match="password") as caught:
        pull_model(manifest, "https://me:hunter2@localhost/models", target)
    assert "hunter2" not in str(caught.value)

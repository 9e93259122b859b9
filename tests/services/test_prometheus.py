"""Prometheus itself, where it is installed, reads the pages' metrics under our configuration and answers what dashboards and alerts ask."""

import json
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest
import uvicorn

from infra.catalog.connection import Catalog
from rollcall.api.metrics import Telling
from rollcall.web.app import create_app
from tests.contract.library import add
from tests.contract.test_monitoring import MACROS, expressions
from tests.services.rgw import free_port

FOLDER = Path(__file__).parents[2] / "infra" / "monitoring"
pytestmark = [pytest.mark.services, pytest.mark.timeout(180)]


@pytest.fixture
def pages(postgres_server, tmp_path):
    """The address, without scheme, of pages that tell of a library of two assets."""
    catalog = Catalog(postgres_server.database("metrics"))
    add(catalog, "a.mp4")
    add(catalog, "b.mp4")
    app = create_app(SimpleNamespace(), SimpleNamespace(), telling=Telling(catalog, tmp_path))
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
    catalog.close()


@pytest.fixture
def ask(pages, tmp_path):
    """A function that asks a Prometheus in PromQL; it has our rules, and reads the pages each second."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("needs Prometheus: apt install prometheus")
    text = (FOLDER / "prometheus.yml").read_text()
    assert "serve:8765" in text
    (tmp_path / "prometheus.yml").write_text(
        text.replace("serve:8765", pages).replace("30s", "1s").replace("scrape_timeout: 20s", "scrape_timeout: 1s")
    )
    shutil.copy(FOLDER / "alerts.yml", tmp_path)
    port = free_port()
    command = [program, f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data", f"--web.listen-address=127.0.0.1:{port}"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)

    def asked(query):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{urllib.parse.urlencode({'query': query})}", timeout=10) as answer:
            return json.load(answer)["data"]["result"]

    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                if [each["value"][1] for each in asked('up{job="rollcall"}')] == ["1"]:
                    break
            except OSError:
                pass
            assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()[-2000:]
            time.sleep(0.3)
        yield asked
    finally:
        process.terminate()
        process.wait(30)


def test_it_reads_and_answers(ask):
    assert [each["value"][1] for each in ask('rollcall_assets{state="done"}')] == ["2"]
    assert [each["value"][1] for each in ask("rollcall_published_media_seconds")] == ["20"]
    asked = list(expressions())
    for expression in asked:
        for macro, value in MACROS.items():
            expression = expression.replace(macro, value)  # noqa: PLW2901
        ask(expression)  # an HTTP error where it is none
    assert len(asked) > 20
    assert ask("ALERTS") == []

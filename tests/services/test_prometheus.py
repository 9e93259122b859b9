"""Prometheus itself, where it is installed, reads the pages' metrics under our configuration and answers what dashboards and alerts ask."""

import json
import shutil
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
from tests.services.daemons import ENVIRONMENT, Daemons, free_port

FOLDER = Path(__file__).parents[2] / "infra" / "monitoring"
pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]


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
def ask(pages):
    """A function that asks a Prometheus in PromQL; it has our rules, and reads the pages each second."""
    if shutil.which("prometheus", path=ENVIRONMENT["PATH"]) is None:
        pytest.skip("needs Prometheus: apt install prometheus")
    text = (FOLDER / "prometheus.yml").read_text()
    assert "serve:8765" in text
    daemons, port = Daemons("prometheus"), free_port()
    told = text.replace("serve:8765", pages).replace("30s", "1s").replace("scrape_timeout: 20s", "scrape_timeout: 1s")
    (daemons.folder / "prometheus.yml").write_text(told)
    shutil.copy(FOLDER / "alerts.yml", daemons.folder)

    def asked(query):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{urllib.parse.urlencode({'query': query})}", timeout=10) as answer:
            return json.load(answer)["data"]["result"]

    def has_read():
        try:
            return [each["value"][1] for each in asked('up{job="rollcall"}')] == ["1"]
        except OSError:
            return False

    try:
        given = [f"--config.file={daemons.folder}/prometheus.yml", f"--storage.tsdb.path={daemons.folder}/data"]
        daemons.begin("prometheus", *given, f"--web.listen-address=127.0.0.1:{port}", is_up=has_read)
        yield asked
    finally:
        daemons.close()


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

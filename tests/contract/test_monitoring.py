"""Prometheus's rules and Grafana's dashboards: valid, and built only on metrics that are told and views that are there."""

import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path

import psycopg
import pytest
import yaml

from infra.catalog import assets, runs
from infra.catalog.connection import PUBLIC_VIEWS, READER, migrate
from infra.catalog.figures import read_figures
from rollcall.api.metrics import families
from tests.contract.library import add, sha

FOLDER = Path(__file__).parents[2] / "infra" / "monitoring"
BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((FOLDER / "grafana" / "dashboards").glob("*.json"))}
PANELS = [(board["title"], panel) for board in BOARDS.values() for panel in board["panels"]]
SOURCES = {
    source["uid"]: source for source in yaml.safe_load((FOLDER / "grafana/provisioning/datasources/rollcall.yml").read_text())["datasources"]
}  # fmt: skip
MACROS = {"$__rate_interval": "5m", "$__range": "1d"}


def expressions():
    """PromQL of all panels and alerts."""
    for _, panel in PANELS:
        yield from (target["expr"] for target in panel["targets"] if "expr" in target)
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


def queries():
    """SQL of all panels and variables."""
    for board in BOARDS.values():
        yield from ((f"variable {variable['name']}", variable["query"]) for variable in board["templating"]["list"])
        yield from ((panel["title"], target["rawSql"]) for panel in board["panels"] for target in panel["targets"] if "rawSql" in target)


def promtool(*arguments, **more):
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("needs promtool: apt install prometheus")
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False, **more)


@pytest.mark.parametrize(("title", "panel"), PANELS, ids=lambda each: each if isinstance(each, str) else each["title"])
def test_a_panel_says_what_it_shows_and_asks_a_source_that_is_provisioned(title, panel):
    assert panel["description"].endswith(".")
    for each in (panel, *panel["targets"]):
        assert SOURCES[each["datasource"]["uid"]]["type"] == each["datasource"]["type"]
        assert ("rawSql" in each) <= (each["datasource"]["type"] == "postgres")


@pytest.mark.parametrize("name", BOARDS)
def test_panels_have_numbers_of_their_own_and_do_not_overlap(name):
    panels = BOARDS[name]["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for one, other in itertools.combinations((panel["gridPos"] for panel in panels), 2):
        apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert apart or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"], (one, other)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


def test_boards_have_ids_of_their_own_and_no_secret_is_written():
    assert len({board["uid"] for board in BOARDS.values()}) == len(BOARDS) == 2
    assert SOURCES["rollcall-library"]["secureJsonData"] == {"password": "$ROLLCALL_READER_PASSWORD"}
    assert SOURCES["rollcall-library"]["user"] == READER


def test_prometheus_takes_the_configuration_and_alerts_fire_when_they_should():
    for arguments in (("check", "config", "prometheus.yml"), ("test", "rules", "alerts_test.yml")):
        done = promtool(*arguments, cwd=FOLDER)
        assert done.returncode == 0, done.stdout + done.stderr
    tested = {test["alertname"] for each in yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"] for test in each["alert_rule_test"]}
    assert len(tested) >= 5


def test_expressions_are_promql(tmp_path):
    filled = [re.sub("|".join(map(re.escape, MACROS)), lambda macro: MACROS[macro[0]], expression) for expression in expressions()]
    rules = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(filled)]
    assert len(rules) > 20
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = promtool("check", "rules", tmp_path / "rules.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": [{"record": "a:b", "expr": "sum(("}]}]}))
    assert promtool("check", "rules", tmp_path / "rules.yml").returncode != 0


@pytest.fixture
def library(catalog):
    """Two assets with named persons, and one of everything that is counted."""
    add(catalog, "a.mp4", faces=(1, 2))
    add(catalog, "b.mp4", faces=(2, 3))
    with catalog.transaction() as connection:
        connection.execute("UPDATE person SET name = 'Ann' WHERE id = (SELECT min(id) FROM person)")
        assets.quarantine(connection, uri="/media/bad.mp4", name="bad.mp4", error="Unreadable", reason="no media")
        for outcome in ("made", "failed"):
            runs.record_stage(connection, stage="look", key="k", outcome=outcome, seconds=1.0, sha256=sha("a.mp4"))
        runs.note_run(connection, "backup", summary={})
    return catalog


@pytest.mark.service
def test_every_metric_that_is_shown_is_told(library):
    with library.reading() as connection:
        told = {sample.name: sample.labels for family in families(read_figures(connection)) for sample in family.samples}
    told["rollcall_home_free_bytes"] = {}
    shown = {name for expression in expressions() for name in re.findall(r"\brollcall_\w+", expression)}
    assert shown <= set(told)
    unshown = {"rollcall_build_info"}
    assert set(told) - shown == unshown
    for expression in expressions():
        for name, labels in re.findall(r"\b(rollcall_\w+)\{([^}]*)\}", expression):
            assert set(re.findall(r"(\w+)=", labels)) <= set(told[name]), expression


@pytest.mark.service
@pytest.mark.parametrize(("title", "query"), list(queries()), ids=lambda each: each[:30])
def test_a_query_runs_on_the_library_as_the_reader(library, title, query, database_url):
    assert set(re.findall(r"(?:FROM|JOIN) (\w+)", query)) <= set(PUBLIC_VIEWS)
    with psycopg.connect(database_url, autocommit=True) as connection:
        persons = ", ".join(f"'{row[0]}'" for row in connection.execute("SELECT id FROM person"))
        query = query.replace("${collection:sqlstring}", "'shows'").replace("${person:sqlstring}", persons)
        query = re.sub(r"\$__timeFilter\(([^)]*)\)", r"\1 BETWEEN now() - interval '1 year' AND now() + interval '1 day'", query)
        assert "$" not in query
        if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (READER,)).fetchone():
            connection.execute(f"CREATE ROLE {READER}")
        migrate(connection)  # grants
        connection.execute(f"SET ROLE {READER}")
        rows = connection.execute(query).fetchall()
        assert rows and any(value not in {None, 0} for value in rows[0]), title
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT 1 FROM api_token")

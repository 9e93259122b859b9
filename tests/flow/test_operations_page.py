"""docs/operations.md is true: what is marked is run, the rest names things that exist."""

import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml

from infra.catalog.figures import Figures, StageFigures
from rollcall.api.metrics import families
from rollcall.cli.door import app
from tests.material import OUR_MODELS, SHORT_FILMS, folder_of
from tests.unit.rollcall.test_door import rollcall

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()
COMMANDS = typer.main.get_command(app).commands


def said():
    """Every `rollcall …` of blocks and of running text, as words."""
    blocks = [line for block in re.findall(r"^```sh.*?\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL) for line in block.splitlines()]
    lines = [*blocks, *re.findall(r"`([^`\n]*\brollcall [^`\n]+)`", PAGE)]
    for line in lines:
        for words in re.findall(r"(?:^|\s)rollcall ([a-z].*)", line):
            yield shlex.split(words)


def test_commands_and_options_exist():
    found = list(said())
    assert len(found) > 30
    for words in found:
        command = COMMANDS[words[0]]
        if words[0] in {"index", "models"}:
            command = command.commands[words[1]]
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, words


def test_every_metric_and_every_alert_is_told():
    empty = Figures({}, 0, 0, 0, (StageFigures("look", "made", 1, 1.0),), {"x": 1}, {"x": 1}, {"x": 1}, {"x": 1}, 0, 0, 1)
    told = set(re.findall(r"^\| `(rollcall_\w+)` \|", PAGE, flags=re.MULTILINE))
    names = {family.name + ("_total" if family.type == "counter" else "") for family in families(empty)} | {"rollcall_home_free_bytes"}
    assert told == names
    rules = yaml.safe_load((ROOT / "infra/monitoring/alerts.yml").read_text())["groups"][0]["rules"]
    assert [rule["alert"] for rule in rules if rule["alert"] not in PAGE.partition("## When it breaks")[2]] == []


def test_settings_of_the_examples_are_settings(tmp_path):
    from infra.settings import load_settings

    examples = re.findall(r"^```toml\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert len(examples) == 3
    watched = []
    for number, text in enumerate(examples):
        home = tmp_path / str(number)
        home.mkdir()
        (home / "rollcall.toml").write_text(text)
        watched += load_settings(home=home).watch.places  # a setting that does not exist is an error
    assert [place.collection for place in watched] == ["news", "news"]


@pytest.mark.service
@pytest.mark.timeout(600)
def test_what_is_marked_is_run(films, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "rollcall.toml").write_text("[models]\n" + "\n".join(f'{role} = "{name}"' for role, name in OUR_MODELS.items()))
    folder_of(tmp_path / "programmes", *films(SHORT_FILMS[0]))
    blocks = re.findall(r"^```sh run\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    lines = [line for block in blocks for line in block.splitlines()]
    done = {}
    for line in lines:
        words = [word.replace("~", str(tmp_path)).replace("/mnt", str(tmp_path)) for word in shlex.split(line)]
        assert words[0] == "rollcall"
        done[line] = rollcall(*words[1:], home=home, check=0)
    assert "1 skipped" in done["rollcall ingest ~/programmes --collection news"].stdout  # the second time, after the restore
    assert "0 artifacts copied" not in done["rollcall backup /mnt/backup/rollcall"].stdout
    assert '"copied": 0' in done["rollcall backup /mnt/backup/rollcall --json"].stdout
    assert "all are equal" in done["rollcall index verify"].stdout

"""The documents are true: generated pages are what the code gives, links lead somewhere, make targets and commands exist."""

import importlib
import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from docs import reference
from tasks.stage import Stage

ROOT = Path(__file__).parents[2]
PAGES = sorted(path for path in (ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "training" / "README.md", *(ROOT / "docs").rglob("*.md")))


@pytest.mark.parametrize("name", reference.PAGES)
def test_a_generated_page_is_what_the_code_gives(name):
    assert (ROOT / "docs" / name).read_text() == reference.PAGES[name](), "make docs"


def test_every_setting_and_option_is_described():
    rows = re.findall(r"^\| (.+?) \|.*\| (.*?) \|$", reference.settings() + reference.commands(), flags=re.MULTILINE)
    assert len(rows) > 60
    assert [name for name, meaning in rows if not meaning.strip()] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    links = [target for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()) if not re.match(r"[a-z]+:", target)]
    assert [target for target in links if not _leads(path, target)] == []


def _leads(path, link):
    name, _, anchor = unquote(link).partition("#")
    target = path.parent / name if name else path
    if not anchor:
        return target.exists()
    headings = re.findall(r"^#+ (.+)$", target.read_text(), flags=re.MULTILINE)
    return anchor in {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_make_targets_exist(path):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    said = set(re.findall(r"(?:`|^)make ([a-z][a-z-]*)", path.read_text(), flags=re.MULTILINE))
    assert said <= targets


def test_every_stage_stands_in_the_architecture():
    modules = [importlib.import_module(f"tasks.{path.stem}") for path in sorted((ROOT / "tasks").glob("[a-z]*.py"))]
    stages = {each.name for module in modules for each in vars(module).values() if isinstance(each, Stage)}
    described = set(re.findall(r"^\| ([a-z]+) \|", (ROOT / "docs" / "architecture.md").read_text(), flags=re.MULTILINE)) - {"stage"}
    assert described == stages

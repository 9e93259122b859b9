"""`rollcall retry`, and when a verdict is asked anew without it."""

import json
import os

import pytest

from tests.material import OUR_MODELS
from tests.unit.rollcall.test_door import rollcall

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]


@pytest.fixture
def home(tmp_path):
    """A home that holds a file that is no film, and its folder."""
    home, folder = tmp_path / "home", tmp_path / "media"
    for each in (home, folder):
        each.mkdir()
    configure(home)
    (folder / "broken.mp4").write_text("this is no film")
    os.utime(folder / "broken.mp4", (1e9, 1e9))
    assert ingest(home, code=3) == {"state": "quarantined", "earlier": False}
    assert ingest(home, code=0) == {"state": "quarantined", "earlier": True}
    return home


def configure(home, more=""):
    models = "\n".join(f'{role} = "{name}"' for role, name in OUR_MODELS.items())
    (home / "rollcall.toml").write_text(f"[models]\n{models}\n{more}")


def ingest(home, code):
    done = rollcall("ingest", home.parent / "media", "--direct", "--json", home=home, check=code)
    (asset,) = json.loads(done.stdout)["assets"]
    return {key: asset[key] for key in ("state", "earlier")}


def test_what_was_set_aside_is_listed_and_tried_when_it_is_asked_for(home):
    (row,) = json.loads(rollcall("retry", "--list", "--json", home=home, check=0).stdout)
    assert (row["asset"], row["state"], row["error"]) == ("broken.mp4", "quarantined", "Unreadable")
    assert row["reason"] and row["since"] and row["uri"].endswith("/media/broken.mp4")
    assert "broken.mp4  quarantined" in rollcall("retry", "--list", home=home, check=0).stdout
    now = json.loads(rollcall("retry", "broken.mp4", "--direct", "--json", home=home, check=3).stdout)
    assert [(one["asset"], one["state"], one["earlier"]) for one in now["assets"]] == [("broken.mp4", "quarantined", False)]
    assert json.loads(rollcall("retry", "--later", "--json", home=home, check=0).stdout) == {"released": ["broken.mp4"]}
    assert rollcall("retry", "--list", "--json", home=home, check=0).stdout.strip() == "[]"
    assert ingest(home, code=3) == {"state": "quarantined", "earlier": False}


def test_other_settings_ask_anew_by_themselves(home):
    configure(home, "[decide]\nprice = 5.5\n")
    assert ingest(home, code=3) == {"state": "quarantined", "earlier": False}
    assert ingest(home, code=0) == {"state": "quarantined", "earlier": True}


def test_what_cannot_be_tried_is_said(home):
    (home.parent / "media" / "broken.mp4").unlink()
    done = rollcall("retry", "--later", home=home, check=0)
    assert "its file is gone" in done.stderr and "0 are tried again" in done.stdout
    assert len(json.loads(rollcall("retry", "--list", "--json", home=home, check=0).stdout)) == 1
    assert "exclude" in rollcall("retry", "--list", "--later", home=home, check=2).stderr

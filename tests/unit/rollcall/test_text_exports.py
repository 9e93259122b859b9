import csv
import io
from pathlib import Path

import pytest

from rollcall.exports import TEXT_FORMATS, ava, rttm, turns_csv, vtt
from rollcall.exports.text import rows_csv
from tests.unit.rollcall.made_analysis import NAMES
from tests.unit.rollcall.test_document import made_document

GOLDEN = Path(__file__).parents[2] / "golden" / "exports"


@pytest.mark.parametrize("form", sorted(TEXT_FORMATS))
def test_formats_are_as_published(form):
    """A change here is a change for everybody who reads our files: look at the difference, then write the golden anew."""
    assert TEXT_FORMATS[form](made_document(names=NAMES)).encode() == (GOLDEN / f"turns.{form}").read_bytes()


@pytest.mark.parametrize("form", sorted(TEXT_FORMATS))
def test_nobody_speaks(form):
    doc = made_document()
    doc.update(people=[], tracks=[], turns=[], speech=[])
    assert isinstance(TEXT_FORMATS[form](doc), str)


def test_rttm_lines_have_ten_fields_and_a_label_without_spaces():
    doc = made_document(names={"p1": ("1", "Ana Lee"), "p2": ("2", "Ana Lee")})
    lines = rttm(doc).splitlines()
    assert [len(line.split(" ")) for line in lines] == [10, 10, 10]
    assert [line.split(" ")[7] for line in lines] == ["Ana_Lee_p1", "Ana_Lee_p2", "v1"]


def test_vtt_escapes_names():
    assert "<v Grace &lt;Hopper&gt;>" in vtt(made_document(names=NAMES))


@pytest.mark.parametrize("name", ["=1+1", "+cmd", "-cmd", "@SUM(A1)", "\t=1", "＝1", "\n=1"])  # noqa: RUF001
def test_csv_runs_no_formula(name):
    rows = list(csv.DictReader(io.StringIO(turns_csv(made_document(names={"p1": ("1", name)})))))
    assert rows[0]["person"] == "'" + name
    assert rows[0]["start"] == "0.200"


def test_csv_leaves_numbers_and_nothing_alone():
    assert rows_csv([["-1.5", None, -2, "x,y"]]) == '-1.5,,-2,"x,y"\r\n'


def test_ava_has_eight_columns_within_the_picture():
    doc = made_document()
    doc["tracks"][0]["boxes"][0] = [-10.0, -5.0, 400.0, 200.0]
    rows = list(csv.reader(io.StringIO(ava(doc))))
    assert {len(row) for row in rows} == {8}
    assert rows[0][2:6] == ["0.000000", "0.000000", "1.000000", "1.000000"]
    assert len(rows) == sum(len(track["times"]) for track in doc["tracks"])


def test_ava_labels_follow_turns_and_tell_silent_lips_apart():
    doc = made_document()
    by_entity = {}
    for row in csv.reader(io.StringIO(ava(doc))):
        by_entity.setdefault(row[7].split(":")[1], []).append(row[6])
    assert by_entity["t1"] == ["NOT_SPEAKING"] * 5 + ["SPEAKING_AUDIBLE"] * 20
    assert set(by_entity["t2"]) == {"NOT_SPEAKING"}
    doc["speech"], doc["turns"] = [], []
    assert {row[6] for row in csv.reader(io.StringIO(ava(doc)))} == {"NOT_SPEAKING", "SPEAKING_NOT_AUDIBLE"}

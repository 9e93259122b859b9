import json

import jsonschema
import numpy as np
import pytest

from rollcall.api.document import document, dumps, schema
from tests.unit.rollcall.made_analysis import NAMES, SHA256, made_analysis


def made_document(**more):
    return document(made_analysis(), name="evening/news 1.mp4", sha256=SHA256, **more)


def test_document_is_what_the_schema_says():
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.Draft202012Validator(schema()).validate(made_document(names=NAMES))


@pytest.mark.parametrize("path", [(), ("asset",), ("people", 0), ("tracks", 0), ("turns", 0), ("turns", 0, "parts", 0), ("models", "detector")])
def test_schema_admits_no_other_names(path):
    doc = made_document()
    place = doc
    for step in path:
        place = place[step]
    place["surprise"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema()).validate(doc)


def test_a_result_without_licences_is_still_valid():
    doc = made_document()
    for model in doc["models"].values():
        del model["licence"]
    jsonschema.Draft202012Validator(schema()).validate(doc)


def test_text_is_the_document():
    doc = made_document(names=NAMES)
    assert json.loads(dumps(doc)) == doc


def test_people_have_names_talk_time_and_screen_time():
    people = made_document(names=NAMES)["people"]
    assert [(p["id"], p["person_id"], p["name"]) for p in people] == [
        ("p1", "6f1c9a2e", "Grace <Hopper>"),
        ("p2", "0b7d44aa", None),
        ("p3", None, None),
    ]
    assert [(p["talk_time"], p["screen_time"]) for p in people] == [(1.4, 3.0), (0.8, 2.4), (0.0, 2.0)]


def test_rows_of_a_track_have_one_length():
    for track in made_document()["tracks"]:
        assert len(track["times"]) == len(track["boxes"]) == len(track["logits"]) == len(track["probabilities"])
        assert track["start"] == track["times"][0]
        assert track["end"] == pytest.approx(track["times"][-1] + 0.04)
        assert np.allclose(np.diff(track["times"]), 0.04)


def test_without_picture_and_people_the_document_still_holds():
    from dataclasses import replace

    from asd_core.records import People, Scores

    bare = made_analysis()
    bare = replace(bare, info=replace(bare.info, video=None), shots=(), tracks=(), scores=Scores((), ()), people=People((), ()), turns=bare.turns[2:])
    doc = document(bare, name="radio.m4a", sha256=SHA256)
    jsonschema.Draft202012Validator(schema()).validate(doc)
    assert doc["asset"]["width"] is None
    assert doc["people"] == []

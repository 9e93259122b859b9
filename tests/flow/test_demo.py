"""The demo programmes through the whole line: what `make run` promises of them."""

import pytest

from asd_core.analysis import analyse_clip
from asd_core.demo.scorecard import scorecard, verdict
from rollcall.api.document import document

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def documents(programmes, networks):
    return [(p.truth, document(analyse_clip(p.path, networks), name=p.path.name, sha256="0" * 64)) for p in programmes]


def test_turn_edges_lie_within_three_tenths_of_the_truth(documents):
    cards = [scorecard(truth, found) for truth, found in documents]
    assert verdict(cards).edge_share >= 0.9, [card.missed + card.extra_turns for card in cards]


def test_each_episode_has_exactly_its_people(documents):
    for truth, found in documents:
        card = scorecard(truth, found)
        assert card.persons_exact, card


def test_the_photograph_on_the_wall_is_a_still_and_never_speaks(documents):
    truth, found = next((truth, found) for truth, found in documents if truth.stills)
    left, _, right, _ = truth.stills[0].box
    hung = [t for t in found["tracks"] if left < (t["boxes"][0][0] + t["boxes"][0][2]) / 2 < right]
    assert hung
    assert all(track["still"] for track in hung)
    speaking = {part["track_id"] for turn in found["turns"] for part in turn["parts"]}
    assert not speaking & {track["id"] for track in hung}


def test_the_voice_off_screen_is_nobody(documents):
    truth, found = next((truth, found) for truth, found in documents if truth.name == "launch")
    for turn in truth.turns:
        if not turn.on_screen:
            said = [t for t in found["turns"] if min(t["end"], turn.end) - max(t["start"], turn.start) > 0.5]
            assert said
            assert all(not t["on_screen"] and t["people_id"] is None and t["voice_id"] is not None for t in said)


def test_logits_tell_speaking_from_listening(documents):
    speaking, silent = [], []
    for truth, found in documents:
        edges = [edge for turn in truth.turns for edge in (turn.start, turn.end)]
        for track in (track for track in found["tracks"] if not track["still"]):
            for time, logit in zip(track["times"], track["logits"], strict=True):
                shown = next(shot.people for shot in truth.shots if shot.start <= time < shot.end)
                if len(shown) == 1 and min(abs(time - edge) for edge in edges) > 0.25:
                    own = any(turn.start <= time < turn.end and turn.speaker == shown[0] for turn in truth.turns)
                    (speaking if own else silent).append(logit)
    assert sum(speaking) / len(speaking) > 1.5
    assert sum(silent) / len(silent) < -2.5

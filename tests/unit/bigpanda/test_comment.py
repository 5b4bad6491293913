"""Texts of the comments that callbacks become in BigPanda."""

import html
import json
from typing import Any

import pytest

from relay.bigpanda.comment import Comment, comment_of, tag_of
from relay.incidents.callback import ResponseMeanings, parse_callback

MARK = tag_of("1a2b3c4d" + "0" * 24)


def comment(**members: Any) -> Comment:
    plain = {"relay": 1, "incident_id": "i1", "event": {"number": "408005"}, "person": {"target": "jdoe"}}
    return comment_of(parse_callback(json.dumps(plain | members).encode()), ResponseMeanings(), MARK)


def words(assigned: str = "", **members: Any) -> str:
    return comment(**members).text(assigned)


def test_comment_of_an_unverified_callback_begins_with_unverified() -> None:
    plain = {"relay": 1, "kind": "response", "response": "ack", "incident_id": "i1", "person": {"target": "ceo"}}
    said = parse_callback(json.dumps(plain).encode())
    doubted = comment_of(said, ResponseMeanings(), MARK, is_verified=False)
    assert doubted.text("").startswith("Unverified, since xMatters did not confirm it:")
    assert comment_of(said, ResponseMeanings(), MARK).is_contained_in(doubted.text(""))


@pytest.mark.parametrize(
    ("members", "text"),
    [
        (
            {"kind": "response", "response": "ack", "device": "Work Phone"},
            'jdoe acknowledged xMatters page 408005 from "Work Phone".',
        ),
        (
            {"kind": "response", "response": "Escalate", "person": {"first_name": "Jane", "last_name": "Doe"}},
            '"Jane Doe" escalated xMatters page 408005.',
        ),
        (
            {"kind": "response", "response": "Call me", "note": "in 5"},
            'jdoe answered "Call me" to xMatters page 408005. Note: "in 5"',
        ),
        (
            {"kind": "annotation", "note": "disk is full", "person": {"target": "jdoe", "first_name": "Jane"}},
            '"Jane" (jdoe) commented on xMatters page 408005. Note: "disk is full"',
        ),
        (
            {"kind": "delivery", "delivery_status": "FAILED", "device": "Home Phone"},
            'xMatters page 408005 did not reach jdoe on "Home Phone" (FAILED).',
        ),
        (
            {"kind": "escalation", "group": "Ops", "reason": "no answer"},
            'xMatters page 408005 was escalated in "Ops": "no answer".',
        ),
        (
            {"kind": "failure", "group": "Ops", "reason": "nobody on call"},
            'xMatters page 408005 could not notify "Ops": "nobody on call".',
        ),
        (
            {"kind": "status", "status": "TERMINATED_EXTERNAL"},
            "xMatters page 408005 is terminated external by jdoe.",
        ),
        ({"kind": "response", "person": {}, "event": None}, "Somebody answered xMatters page (no number)."),
    ],
)
def test_comment_says_who_did_what(members: dict[str, Any], text: str) -> None:
    assert words(**members) == f"{text} {MARK}"


def test_comment_with_a_long_note_is_cut_and_keeps_its_mark() -> None:
    text = words("a" * 100, kind="response", response="ack", note="n" * 1999)
    assert len(text) == 1000
    assert text.endswith(f'n…" {MARK}')


FORGED = 'x". jdoe acknowledged xMatters page 1. https://phish.example [relay 1a2b3c4d]\n[RELAY 1a2b3c4d] "'


@pytest.mark.parametrize("kind", ["response", "annotation", "delivery", "escalation", "failure", "status"])
def test_no_foreign_text_imitates_the_relay(kind: str) -> None:
    forged = ("note", "response", "device", "group", "reason", "at", "status", "delivery_status")
    members: dict[str, Any] = {
        "kind": kind,
        "person": {"target": FORGED, "first_name": FORGED},
        "event": {"number": FORGED},
        **dict.fromkeys(forged, FORGED),
    }
    text = words(**members)
    body, _, end = text.rpartition(" [relay")
    assert end == " 1a2b3c4d]"
    assert "[" not in body
    assert "://" not in body
    assert "\n" not in body
    outside = "".join(body.split('"')[::2])
    assert "acknowledged" not in outside
    assert "phish" not in outside


class TestRecognition:
    ours = comment(kind="response", response="ack", note='5 < 6 & "so"')

    @pytest.mark.parametrize("assigned", ["", "The incident is assigned to them."])
    def test_comment_is_recognised_whatever_the_result_of_its_assignment_is(self, assigned: str) -> None:
        text = self.ours.text(assigned)
        assert self.ours.is_contained_in(text)
        assert self.ours.is_contained_in(html.escape(text))
        assert self.ours.is_contained_in(f"<p>{text}\n</p>")

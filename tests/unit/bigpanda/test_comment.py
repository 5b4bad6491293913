"""What people read in BigPanda."""

import json
from typing import Any

import pytest

from relay.bigpanda import comment
from relay.incidents.callback import Answers, parse_callback

MARK = comment.mark("1a2b3c4d" + "0" * 24)


def words(assigned: str = "", **members: Any) -> str:
    plain = {"relay": 1, "incident_id": "i1", "event": {"number": "408005"}, "person": {"target": "jdoe"}}
    said = parse_callback(json.dumps(plain | members).encode())
    return comment.text(said, Answers(), assigned, MARK, is_verified=True)


def test_what_is_not_verified_says_so_first() -> None:
    plain = {"relay": 1, "kind": "response", "response": "ack", "incident_id": "i1", "person": {"target": "ceo"}}
    said = parse_callback(json.dumps(plain).encode())
    written = comment.text(said, Answers(), "", MARK, is_verified=False)
    assert written.startswith("Unverified, since xMatters did not confirm it: ceo acknowledged")


@pytest.mark.parametrize(
    ("members", "text"),
    [
        (
            {"kind": "response", "response": "ack", "device": "Work Phone"},
            "jdoe acknowledged xMatters page 408005 from Work Phone.",
        ),
        (
            {"kind": "response", "response": "Escalate", "person": {"first_name": "Jane", "last_name": "Doe"}},
            "Jane Doe escalated xMatters page 408005.",
        ),
        (
            {"kind": "response", "response": "Call me", "note": "in 5"},
            'jdoe answered "Call me" to xMatters page 408005. Note: in 5',
        ),
        (
            {"kind": "annotation", "note": "disk is full", "person": {"target": "jdoe", "first_name": "Jane"}},
            "Jane (jdoe) commented on xMatters page 408005. Note: disk is full",
        ),
        (
            {"kind": "delivery", "delivery_status": "FAILED", "device": "Home Phone"},
            "xMatters page 408005 did not reach jdoe on Home Phone (FAILED).",
        ),
        (
            {"kind": "escalation", "group": "Ops", "reason": "no answer"},
            "xMatters page 408005 was escalated in Ops: no answer.",
        ),
        (
            {"kind": "failure", "group": "Ops", "reason": "nobody on call"},
            "Nobody is left for xMatters page 408005: Ops could not be notified: nobody on call.",
        ),
        (
            {"kind": "status", "status": "TERMINATED_EXTERNAL"},
            "xMatters page 408005 is terminated external by jdoe.",
        ),
        ({"kind": "response", "person": {}, "event": None}, "Somebody answered xMatters page (no number)."),
    ],
)
def test_it_says_who_did_what(members: dict[str, Any], text: str) -> None:
    assert words(**members) == f"{text} {MARK}"


def test_what_came_of_the_assignment_stands_before_the_note() -> None:
    text = words("The incident is assigned to them.", kind="response", response="ack", note="n")
    assert text == f"jdoe acknowledged xMatters page 408005. The incident is assigned to them. Note: n {MARK}"


def test_however_long_it_is_cut_and_keeps_its_mark() -> None:
    text = words(kind="response", response="ack", note="n" * 1999)
    assert len(text) == comment.MAX_COMMENT
    assert text.endswith(f"n… {MARK}")


def test_characters_that_nobody_can_read_are_replaced() -> None:
    assert "\x00" not in words(kind="response", response="ack", note="a\x00b\ud800")


def test_the_mark_is_short_and_of_one_callback() -> None:
    assert MARK == "[relay 1a2b3c4d]"

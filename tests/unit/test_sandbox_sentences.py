"""Sentences in which the sandbox's web page describes the relay's log lines."""

from itertools import product
from typing import Any

import pytest

from relay.failures.reasons import Reason
from relay.jobs.job import JobKind
from relay.jobs.outcome import Outcome
from sandbox.page import sentences

OPENED = "nothing of this open incident was announced"


def line(**fields: Any) -> dict[str, Any]:
    """Return a log line of a share."""
    return {"message": "share", "outcome": "delivered", "transition": "opened", "why": OPENED} | fields


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, f"Sent to xMatters: {OPENED}."),
        ({"message": "job"}, f"Sent to xMatters after a retry: {OPENED}."),
        (
            {"why": None, "transition": None, "unguarded": "DynamoDB refused: AccessDeniedException"},
            "Sent to xMatters: the ledger did not answer, and a page too many is better than none.",
        ),
        (
            {"outcome": "queued", "queue": "retry", "reason": "unreachable"},
            "Owed: xMatters could not be reached; the relay tries again by itself.",
        ),
        (
            {"outcome": "queued", "queue": "dead_letter", "reason": "refused", "http_status": 404},
            "Dead-lettered: xMatters refused the signal (HTTP 404), and an operator has to replay it.",
        ),
        (
            {"outcome": "unchanged", "transition": "grew", "why": "alerts joined since it was announced"},
            "No signal: alerts joined since it was announced, and this channel does not signal a new alert.",
        ),
        (
            {"outcome": "unchanged", "transition": "touched", "why": "it is as announced"},
            "No signal: it is as announced.",
        ),
        (
            {"outcome": "unchanged", "why": f"{OPENED}; left out: the channel is paused"},
            f"No signal: {OPENED}; left out: the channel is paused.",
        ),
        (
            {"outcome": "shadowed"},
            "No signal: its channel is in shadow mode, which sends nothing; live, it would be signalled, since "
            f"{OPENED}.",
        ),
        (
            {"outcome": "queued", "queue": "ledger", "reason": "paused"},
            "Owed: its channel is paused; the relay tries again by itself.",
        ),
        (
            {"outcome": "unsafe", "reason": "internal"},
            "Not kept: a part of the relay's own cloud failed; BigPanda is asked to send it again.",
        ),
        (
            {"message": "job", "kind": "writeback", "outcome": "delivered"},
            "xMatters' answer was written into BigPanda.",
        ),
        (
            {"message": "job", "kind": "writeback", "outcome": "queued", "reason": "upstream", "http_status": 503},
            "Writing xMatters' answer into BigPanda: the vendor answered with a server error (HTTP 503).",
        ),
        (
            {"message": "callback", "outcome": "queued"},
            "xMatters' answer was kept, and is written into BigPanda next.",
        ),
    ],
)
def test_log_line_is_told_in_one_sentence(fields: dict[str, Any], wanted: str) -> None:
    assert sentences.why(line(**fields)) == wanted


def test_each_outcome_is_a_sentence_without_gaps() -> None:
    for outcome, message, kind in product(Outcome, ("share", "job", "callback"), JobKind):
        said = sentences.why({"message": message, "outcome": str(outcome), "kind": str(kind)})
        assert said.endswith("."), said
        assert [gap for gap in (": .", ": ;", ": ,", "  ", "None") if gap in said] == [], said


def test_each_reason_of_the_relay_has_words() -> None:
    assert set(sentences.REASONS) == set(map(str, Reason))


def test_unknown_line_of_a_newer_version_is_still_told() -> None:
    assert sentences.why({"message": "share", "outcome": "postponed"}) == "postponed."
    assert sentences.reason({"reason": "a_new_one"}) == "a new one"

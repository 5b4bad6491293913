"""Events of a timeline: their texts, their order, and the events that are left out."""

from typing import Any

import pytest

from relay.incidents.share import State
from relay.ledger.accepted_signal import AcceptedSignal
from relay.ledger.debt import Debt, Row
from relay.ledger.entry import Entry
from relayctl import moments
from relayctl.incident import timeline
from relayctl.log_lines import Line
from tests import samples

NOW = 1_800_000_000.0
STATE = State.of(samples.share(), NOW - 60)


def words(message: str, **fields: Any) -> str | None:
    found = timeline.event_of(Line(NOW, {"message": message, "channel": "noc", **fields}))
    return found.text if found else None


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"outcome": "delivered", "request_id": "r1"}, "share: delivered, request id r1"),
        ({"outcome": "queued", "reason": "paced", "queue": "retry"}, "share: queued, queue retry, reason paced"),
        (
            {"outcome": "queued", "queue": "dead_letter", "reason": "refused", "http_status": 400},
            "share: queued, queue dead_letter, reason refused, http status 400",
        ),
        ({"outcome": "unsafe", "reason": "internal"}, "share: unsafe, reason internal"),
        ({"outcome": "new word"}, 'share: "new word"'),
        ({}, "share"),
    ],
)
def test_share_is_described_by_its_outcome(fields: dict[str, Any], text: str) -> None:
    assert words("share", **fields) == text


@pytest.mark.parametrize("message", ["swept", "request refused", "crash", ""])
def test_other_lines_are_no_events(message: str) -> None:
    assert words(message) is None


def test_line_about_several_channels_belongs_to_none_of_them() -> None:
    line = Line(NOW, {"message": "unknown incident: x", "channel": "noc, payments and 2 more"})
    found = timeline.event_of(line)
    assert (found and found.channel) == ""


def test_summary_names_all_that_a_person_has_to_know() -> None:
    lost = AcceptedSignal("r1", NOW, is_open=True, is_page_missing=True)
    debt = Debt(since=NOW - 60, is_notified=True, reason="refused", dead_lettered_at=NOW)
    entry = Entry(newest=STATE, accepted_signals=(lost,), debt=debt)
    assert list(timeline.words(entry, NOW)) == [
        *("open, critical", "OWED for 1m (refused)", "DEAD-LETTERED: relayctl dlq list"),
        *("a signal made NO PAGE", "the fallback topic was notified"),
    ]


def test_summary_of_a_state_that_waits_for_a_pause_has_its_end() -> None:
    debt = Debt(since=NOW - 60, reason="paused", paused_until=NOW + 3600, row=Row(NOW + 3600, job="d/1"))
    entry = Entry(newest=STATE, debt=debt)
    _, said = timeline.words(entry, NOW)
    assert said == f"OWED for 1m; it waits for the end of a pause at {moments.moment(NOW + 3600)}"
    attempt = list(timeline.events(entry, NOW))[-1]
    assert (attempt.text, attempt.at) == ("next attempt expected", NOW + 3600)
    assert list(timeline.words(entry, NOW + 3601))[1] == "OWED for 1h (paused)"

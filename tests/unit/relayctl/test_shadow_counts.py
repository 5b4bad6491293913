"""Counts of a shadow report: bounded memory, totals, and the rate by minutes."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from relay.deadline import Deadline
from relay.failures import BadAnswer
from relay.http.client import HttpClient
from relay.http.session import HttpAnswer
from relayctl.log_lines import Line
from relayctl.report.shadow_counts import PageCounts, ShadowCounts
from tests.fakes import Call, Clock, FakeSession
from tests.unit.xmatters.test_directory import rest, said

NOON = 1_790_000_040.0


def line(at: float = NOON, **fields: Any) -> Line:
    """Return the log line of a share that would have been signalled, with these fields changed or added."""
    plain = {"outcome": "shadowed", "incident_id": "i1", "transition": "opened", "recipients": ["ops"]}
    return Line(at, {"message": "share", "channel": "noc", **plain, **fields})


def counted(*lines: Line, most: int = 10) -> ShadowCounts:
    counts = ShadowCounts(most)
    for each in lines:
        counts.add(each)
    return counts


def test_signals_are_counted_by_transition_and_recipient() -> None:
    found = counted(line(), line(transition="resolved", recipients=["ops", "noc"]), line(recipients=[])).document()
    assert (found["shares"], found["signals"], found["without_named_recipient"]) == (3, 3, 1)
    assert found["by_transition"] == {"opened": 2, "resolved": 1}
    assert found["by_recipient"] == {"ops": 2, "noc": 1}


def test_newest_signals_are_kept_in_order_whatever_the_order_of_the_lines() -> None:
    lines = [line(NOON + number, incident_id=str(number)) for number in (5, 1, 9, 3, 7)]
    found = counted(*lines, most=3).document()
    assert [each["incident_id"] for each in found["listed"]] == ["5", "7", "9"]
    assert found["signals"] == 5
    assert counted(line(), most=0).document()["listed"] == []


def test_other_outcomes_are_counted_by_cause() -> None:
    touched = line(outcome="unchanged", transition="touched", why="it is as announced")
    found = counted(touched, touched, line(outcome="superseded", transition=None)).document()
    assert found["suppressed"] == [
        {"outcome": "unchanged", "transition": "touched", "why": "it is as announced", "count": 2},
        {"outcome": "superseded", "transition": "", "why": "", "count": 1},
    ]
    assert (found["signals"], found["live_shares"]) == (0, 0)


def test_share_of_a_live_channel_is_counted_apart() -> None:
    found = counted(line(outcome="delivered")).document()
    assert (found["live_shares"], found["signals"], found["suppressed"]) == (1, 0, [])


def test_malformed_fields_count_as_missing_and_a_signal_without_the_ledger_is_marked() -> None:
    [found] = counted(line(recipients="ops", transition=None, status=7, unguarded="timeout")).document()["listed"]
    assert (found["recipients"], found["transition"], found["status"], found["unguarded"]) == ([], None, "7", True)


def test_peak_is_the_latest_minute_with_the_most_signals() -> None:
    lines = [line(NOON + seconds) for seconds in (-1, 0, 1, 60, 61)]
    found = counted(*lines).document()
    assert (found["peak_signals"], found["peak_at"]) == (2, "2026-09-21T14:15:00Z")
    assert ShadowCounts(1).document()["peak_at"] is None


def counts(answer: Any) -> tuple[PageCounts, list[dict[str, list[str]]], Deadline]:
    """Return a counter of pages whose fake xMatters always gives this answer.

    Also return the list of the queries that the fake gets, and a deadline.
    """
    asked: list[dict[str, list[str]]] = []

    def answered(call: Call) -> HttpAnswer:
        asked.append(parse_qs(urlsplit(call.url).query))
        return answer if isinstance(answer, HttpAnswer) else said(answer)

    clock = Clock()
    client = HttpClient(FakeSession(answered), clock=clock)
    return PageCounts(client, rest(), 1_790_000_000.0, 1_790_000_060.5), asked, Deadline(5, clock)


def test_pages_of_an_incident_are_asked_for_by_a_text_property_within_the_time() -> None:
    found, asked, deadline = counts({"count": 1, "total": 7, "data": [{"id": "u-1"}], "links": {}})
    assert found.count(deadline, "incident_id", "i 1") == 7
    assert asked == [
        {
            "propertyName": ["incident_id#en"],
            "propertyValue": ["i 1"],
            "from": ["2026-09-21T14:13:20.000Z"],
            "to": ["2026-09-21T14:14:20.500Z"],
            "limit": ["1"],
        }
    ]


def test_all_pages_of_the_time_are_asked_for_without_a_property() -> None:
    found, asked, deadline = counts({"total": 0, "data": []})
    assert found.count(deadline) == 0
    assert set(asked[0]) == {"from", "to", "limit"}


@pytest.mark.parametrize(
    "answer",
    [
        {"data": []},
        {"total": "many", "data": []},
        {"total": -1, "data": []},
        {"total": 3},
        HttpAnswer(200, {}, b"<html>"),
        HttpAnswer(404, {}, json.dumps({"total": 3, "data": []}).encode()),
    ],
)
def test_answer_without_a_number_is_an_error(answer: Any) -> None:
    found, _, deadline = counts(answer)
    with pytest.raises(BadAnswer):
        found.count(deadline)

"""Counts of a shadow report: bounded memory, totals, and the rate by minutes."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from relay.deadline import Deadline
from relay.failures.errors import BadAnswer
from relay.http.client import HttpClient
from relay.http.session import HttpAnswer
from relayctl.log_lines import Line
from relayctl.report.shadow_counts import MAX_INCIDENTS, MAX_NAMES, OTHER, PageCounts, ShadowCounts, Span, Suppressed
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
    found = counted(line(), line(transition="resolved", recipients=["ops", "noc"]), line(recipients=[]))
    assert (found.shares, found.signals, found.unnamed) == (3, 3, 1)
    assert found.transitions == {"opened": 2, "resolved": 1}
    assert found.recipients == {"ops": 2, "noc": 1}


def test_newest_signals_are_kept_in_order_whatever_the_order_of_the_lines() -> None:
    found = counted(*(line(NOON + number) for number in (5, 1, 9, 3, 7)), most=3)
    assert [each.at - NOON for each in found.newest] == [5, 7, 9]
    assert found.signals == 5
    assert counted(line(), most=0).newest == []


def test_other_outcomes_are_counted_by_cause() -> None:
    found = counted(
        line(outcome="unchanged", transition="touched", why="it is as announced"),
        line(outcome="unchanged", transition="touched", why="it is as announced"),
        line(outcome="superseded", transition=None),
    )
    assert found.suppressed == {
        Suppressed("unchanged", "touched", "it is as announced"): 2,
        Suppressed("superseded", "", ""): 1,
    }
    assert (found.signals, found.live) == (0, 0)


@pytest.mark.parametrize("outcome", ["delivered", "queued", "unsafe"])
def test_share_of_a_live_channel_is_counted_apart(outcome: str) -> None:
    found = counted(line(outcome=outcome))
    assert (found.live, found.signals, found.suppressed.total()) == (1, 0, 0)


def test_signal_without_the_ledger_is_marked() -> None:
    found = counted(line(unguarded="timeout"))
    assert (found.unguarded, found.newest[0].is_unguarded) == (1, True)


def test_malformed_fields_count_as_missing() -> None:
    [found] = counted(line(recipients="ops", transition=None, status=7)).newest
    assert (found.recipients, found.transition, found.status) == ((), "", "7")


def test_memory_is_bounded_whatever_the_lines_name() -> None:
    found = counted(
        *(line(incident_id=f"i{number}", recipients=[f"r{number}"]) for number in range(MAX_INCIDENTS + 3)),
        *(line(outcome="unchanged", why=f"w{number}") for number in range(MAX_NAMES + 3)),
    )
    assert (len(found.incidents), found.uncounted) == (MAX_INCIDENTS, 3)
    assert found.recipients[OTHER] == MAX_INCIDENTS + 3 - MAX_NAMES
    assert found.suppressed[Suppressed("unchanged", "", OTHER)] == 3
    assert len(found.newest) == 10


def test_incident_counts_its_signals_and_those_for_its_end() -> None:
    found = counted(line(), line(NOON + 60, transition="resolved"), line(NOON + 90, outcome="duplicate"))
    assert vars(found.incidents["i1"]) == {"signals": 2, "ends": 1, "last": NOON + 90}


def test_peak_is_the_latest_minute_with_the_most_signals() -> None:
    peak = counted(line(NOON - 1), line(NOON), line(NOON + 1), line(NOON + 60), line(NOON + 61)).peak
    assert peak is not None
    assert (peak.signals, peak.at) == (2, (NOON + 60) // 60 * 60)
    assert ShadowCounts(1).peak is None


@pytest.mark.parametrize(
    ("minutes", "limit", "delayed"),
    [
        ([5], 5, 0),
        ([6], 5, 1),
        ([7, 4], 5, 3),
        ([7, 0, 5], 5, 2),
        ([20, 0, 0, 0, 5], 5, 15),
        ([], 5, 0),
    ],
)
def test_delayed_signals_take_the_room_of_later_ones(minutes: list[int], limit: int, delayed: int) -> None:
    lines = [line(NOON + 60 * place) for place, number in enumerate(minutes) for _ in range(number)]
    assert counted(*lines).would_wait(limit) == delayed


SPAN = Span(1_790_000_000.0, 1_790_000_060.5)


def counts(answer: Any) -> tuple[PageCounts, list[dict[str, list[str]]], Deadline]:
    """Return a counter of pages whose fake xMatters always gives this answer.

    Also return the list of the queries that the fake gets, and a deadline.
    """
    asked: list[dict[str, list[str]]] = []

    def answered(call: Call) -> HttpAnswer:
        asked.append(parse_qs(urlsplit(call.url).query))
        return answer if isinstance(answer, HttpAnswer) else said(answer)

    clock = Clock()
    return PageCounts(HttpClient(FakeSession(answered), clock=clock)), asked, Deadline(5, clock)


def test_pages_of_an_incident_are_asked_for_by_a_text_property_within_the_time() -> None:
    found, asked, deadline = counts({"count": 1, "total": 7, "data": [{"id": "u-1"}], "links": {}})
    assert found.of_incident(rest(), "incident_id", "i 1", SPAN, deadline) == 7
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
    assert found.in_span(rest(), SPAN, deadline) == 0
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
        found.in_span(rest(), SPAN, deadline)

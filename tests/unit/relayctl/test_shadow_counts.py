"""Counts of a shadow report: totals, the rate by minutes, and xMatters' pages."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from relay.deadline import Deadline
from relay.failures import BadAnswer
from relay.http.client import HttpClient
from relay.http.session import HttpAnswer
from relay.xmatters.directory import RestApi
from relayctl.log_lines import Line
from relayctl.report.figures import count_pages, shadow_figures
from tests.fakes import Call, Clock, FakeSession
from tests.unit.xmatters.test_directory import rest, said

NOON = 1_790_000_040.0


def line(at: float = NOON, **fields: Any) -> Line:
    """Return the log line of a share that would have been signalled, with these fields changed or added."""
    plain = {"outcome": "shadowed", "incident_id": "i1", "transition": "opened", "recipients": ["ops"]}
    return Line(at, {"message": "share", "channel": "noc", **plain, **fields})


def test_peak_is_the_latest_minute_with_the_most_signals() -> None:
    lines = [line(NOON + seconds) for seconds in (-1, 0, 1, 60, 61)]
    found = shadow_figures(lines, 10)
    assert (found["peak_signals"], found["peak_at"]) == (2, "2026-09-21T14:15:00Z")
    assert shadow_figures([], 1)["peak_at"] is None


def counts(answer: Any) -> tuple[Callable[..., int], list[dict[str, list[str]]]]:
    """Return a counter of pages whose fake xMatters always gives this answer.

    Also return the list of the queries that the fake gets.
    """
    asked: list[dict[str, list[str]]] = []

    def answered(call: Call) -> HttpAnswer:
        asked.append(parse_qs(urlsplit(call.url).query))
        return answer if isinstance(answer, HttpAnswer) else said(answer)

    clock = Clock()
    client = HttpClient(FakeSession(answered), clock=clock)
    times = (1_790_000_000.0, 1_790_000_060.5)
    return partial(count_pages, RestApi(client), rest(), times, Deadline(5, clock)), asked


def test_pages_of_an_incident_are_asked_for_by_a_text_property_within_the_time() -> None:
    found, asked = counts({"count": 1, "total": 7, "data": [{"id": "u-1"}], "links": {}})
    assert found("incident_id", "i 1") == 7
    assert asked == [
        {
            "propertyName": ["incident_id#en"],
            "propertyValue": ["i 1"],
            "from": ["2026-09-21T14:13:20.000Z"],
            "to": ["2026-09-21T14:14:20.500Z"],
            "limit": ["1"],
        }
    ]


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
    found, _ = counts(answer)
    with pytest.raises(BadAnswer):
        found()

"""Numbers of pages: the requests to xMatters, and answers without a number."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from relay.deadline import Deadline
from relay.failures.errors import BadAnswer
from relay.http.client import HttpClient
from relay.http.session import HttpAnswer
from relayctl.report.shadow_counts import PageCounts, Span
from tests.fakes import Call, Clock, FakeSession
from tests.unit.xmatters.test_directory import rest, said

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

"""Histories of pages: members in the forms that xMatters documents, and malformed answers."""

from typing import Any

import pytest

from relay.deadline import Deadline
from relay.failures.errors import BadAnswer
from relay.http.client import HttpClient
from relay.http.session import HttpAnswer
from relayctl.incident.timeline_vendors import Histories, PageHistory, PersonAnswer
from tests.fakes import Call, Clock, FakeSession
from tests.unit.xmatters.test_directory import rest, said

PAGE = {
    "id": "u-1",
    "eventId": 1001,
    "status": "active",
    "created": "2026-03-04T02:58:14.301+0000",
    "recipients": {"data": [{"targetName": "Ops"}, {"id": "p-2"}, {}, 7]},
}


def history(page: Any, audits: Any) -> PageHistory:
    def answer(call: Call) -> HttpAnswer:
        found = audits if "/audits?" in call.url else page
        return found if isinstance(found, HttpAnswer) else said(found)

    clock = Clock()
    session = FakeSession(answer)
    return Histories(HttpClient(session, clock=clock)).of_page(rest(), "u-1", Deadline(5, clock))


def test_history_has_recipients_times_and_answers_oldest_first() -> None:
    device = {"name": "Work Phone", "owner": {"targetName": "jdoe"}}
    response = {"response": "Acknowledge", "comment": None, "received": "2026-03-04T02:59:14.000Z"}
    annotation = {"author": {"targetName": "ann"}, "comment": "looking", "created": "2026-03-04T02:59:00Z"}
    found = history(
        PAGE, {"data": [{"response": response | {"notification": {"recipient": device}}}, {"annotation": annotation}]}
    )
    assert (found.number, found.status, found.created, found.terminated) == ("1001", "ACTIVE", 1_772_593_094.301, None)
    assert found.recipients == ("Ops", "p-2")
    assert found.answers == (
        PersonAnswer(1_772_593_140.0, "ann", "", "", "looking"),
        PersonAnswer(1_772_593_154.0, "jdoe", "Work Phone", "Acknowledge", ""),
    )


def test_members_of_other_types_count_as_missing() -> None:
    audits = {"data": [{"response": []}, {"response": {"received": 7, "notification": []}}, None, {"annotation": {}}]}
    found = history({"id": "u-1", "recipients": 7, "created": "soon"}, audits)
    assert (found.number, found.created, found.recipients) == ("", None, ())
    assert {each.at for each in found.answers} == {None}


@pytest.mark.parametrize(
    ("page", "audits"),
    [(HttpAnswer(404, {}, b"{}"), {"data": []}), (HttpAnswer(200, {}, b"<html>"), {"data": []}), (PAGE, {"data": 7})],
)
def test_answers_that_are_no_history_are_errors(page: Any, audits: Any) -> None:
    with pytest.raises(BadAnswer):
        history(page, audits)

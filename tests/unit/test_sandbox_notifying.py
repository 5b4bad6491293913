"""xMatters' phones in the sandbox: devices, groups, answers, expiry. The real time stands still."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from sandbox.http.faults import Script
from sandbox.xmatters.api import XMatters
from sandbox.xmatters.signals import Signal

START = datetime(2030, 1, 1, tzinfo=UTC)
OPEN = {"incident": {"id": "i1", "status": "critical", "title": "Database is down"}}
RESOLVED = {"incident": {"id": "i1", "status": "ok", "title": "Database is down"}}
EMAIL = {"name": "Work Email", "kind": "EMAIL"}
VOICE = {"name": "Mobile", "kind": "VOICE", "delay_seconds": 60}
PUSH = {"name": "Phone App", "kind": "APPLE_PUSH", "delay_seconds": 120}
PEOPLE: list[dict[str, Any]] = [
    {"name": "kim", "full_name": "Kim Lee", "devices": [EMAIL, VOICE, PUSH]},
    {"name": "jo", "full_name": "Jo Roe", "devices": [EMAIL, VOICE]},
    {"name": "away", "full_name": "Al Away", "status": "INACTIVE"},
    {"name": "sam", "full_name": "Sam Poe", "devices": [EMAIL]},
]
GROUPS: list[dict[str, Any]] = [
    {
        "name": "dba",
        "members": [{"name": "away"}, {"name": "kim"}, {"name": "jo", "after_seconds": 300}, {"name": "sam"}],
    },
    {"name": "asleep", "members": [{"name": "away"}]},
    {"name": "closed", "status": "INACTIVE", "members": [{"name": "sam"}]},
]


@pytest.fixture
def xmatters() -> Iterator[XMatters]:
    """A fake xMatters with people and groups. Time passes only if a test turns its clock ahead."""
    xmatters = XMatters("http://127.0.0.1:1", Script(), lambda: START)
    xmatters.people.declare({"people": PEOPLE, "groups": GROUPS})
    yield xmatters
    xmatters.close()


def send(xmatters: XMatters, *recipients: str, body: Mapping[str, Any] = OPEN) -> None:
    xmatters.workflow.take(
        Signal(
            index=0,
            received_at=START,
            function="f1",
            request_id=str(uuid4()),
            recipients=recipients,
            auth="url",
            headers=CIMultiDictProxy(CIMultiDict()),
            body_bytes=json.dumps(body).encode(),
            status=202,
            accepted=True,
            fault=None,
        )
    )


def rung(xmatters: XMatters) -> list[tuple[str, str, float]]:
    return [
        (each["person"], each["device"], (datetime.fromisoformat(each["at"]) - START).total_seconds())
        for each in xmatters.story()["notifications"]
    ]


def states(xmatters: XMatters) -> list[tuple[str, str, str]]:
    return [(each["person"], each["device"], each["state"]) for each in xmatters.story()["notifications"]]


def page(xmatters: XMatters, place: int = -1) -> dict[str, Any]:
    found: dict[str, Any] = xmatters.story()["pages"][place]
    return found


def log(xmatters: XMatters) -> list[str]:
    return [line["text"] for line in page(xmatters)["log"]]


def answer(xmatters: XMatters, person: str, response: str, comment: str | None = None) -> None:
    """Answer with this response the newest notification of a person that offers responses."""
    asked = [each for each in xmatters.story()["notifications"] if each["person"] == person and each["responses"]]
    xmatters.notifier.answer(asked[-1]["id"], response, comment)


class TestUser:
    def test_devices_ring_in_order_each_after_its_delay(self, xmatters: XMatters) -> None:
        send(xmatters, "kim")
        xmatters.clock.turn(180)
        assert rung(xmatters) == [("kim", "Work Email", 0), ("kim", "Mobile", 60), ("kim", "Phone App", 180)]


class TestGroup:
    def test_unanswered_delay_escalates_and_the_member_before_can_still_answer(self, xmatters: XMatters) -> None:
        send(xmatters, "dba")
        xmatters.clock.turn(300)
        assert ("jo", "Work Email", 300) in rung(xmatters)
        assert "Kim Lee did not answer in time." in log(xmatters)
        answer(xmatters, "kim", "Acknowledge")
        assert page(xmatters)["status"] == "TERMINATED"
        assert {state for person, _, state in states(xmatters) if person == "jo"} == {"over"}


class TestEnd:
    def test_resolve_makes_a_page_for_information_that_ends_when_all_are_notified(self, xmatters: XMatters) -> None:
        send(xmatters, "dba")
        send(xmatters, "dba", "sam", body=RESOLVED)
        assert (page(xmatters)["subject"], page(xmatters)["priority"]) == ("RESOLVED: Database is down", "LOW")
        told = [each for each in xmatters.story()["notifications"] if each["page"] == page(xmatters)["number"]]
        assert [(each["person"], each["responses"], each["state"]) for each in told] == [
            ("kim", [], "over"), ("sam", [], "over"),
        ]  # fmt: skip
        assert page(xmatters)["status"] == "ACTIVE"
        xmatters.clock.turn(180)
        assert page(xmatters)["ended_because"] == "it was for information, and all are notified"
        assert page(xmatters, 0)["status"] == "ACTIVE"

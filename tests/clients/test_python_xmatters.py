"""python-xmatters, a client of xMatters that others wrote, run against the stand-in over https.

It was written for the real xMatters, so it judges the stand-in independently. It runs as a process of its own, in an
environment that `make checks` installs. Where it contradicts xMatters' documents or recordings, a test states the
difference, and the docstring of the stand-in's module names it.
"""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from sandbox.server.in_process import Box, running
from tests.stand_in import BASIC, OAUTH, TENANT, acknowledge, signal

PASSWORD = {"username": BASIC["username"], "password": BASIC["password"]}
CLIENT = {"client_id": OAUTH["client_id"], **PASSWORD}
PYTHON = Path(__file__).parents[2] / ".venv-python-xmatters/bin/python"
DRIVER = Path(__file__).parent / "drive_python_xmatters.py"
# Well above the time of any test: a client that never ends must not stop the whole run.
SECONDS = 120


@pytest.fixture(scope="module")
def running_box() -> Iterator[Box]:
    """A stand-in whose xMatters speaks https, shared by a module's tests."""
    with running(is_https=True) as box:
        yield box


@pytest.fixture
def box(running_box: Box) -> Iterator[Box]:
    """The stand-in with the tests' people and groups; emptied after each test."""
    running_box.xmatters.people.declare(TENANT)
    yield running_box
    running_box.clear()


@dataclass(frozen=True)
class Outcome:
    """Outcome of one call of the client.

    Attributes:
        value: what the client returned, as JSON types; None after an error.
        error: name of the exception that the client raised; None without one.
        message: the exception's text.
    """

    value: Any = None
    error: str | None = None
    message: str = ""


def python_xmatters(box: Box, login: Mapping[str, str], calls: Sequence[Sequence[Any]]) -> list[Outcome]:
    """Let python-xmatters do calls, and return the outcome of each; `drive_python_xmatters` describes the calls."""
    if not PYTHON.exists():
        pytest.fail("python-xmatters is not installed: run 'make checks'")
    steps = [[[each] if isinstance(each, str) else list(each) for each in call] for call in calls]
    command = [str(PYTHON), "-I", str(DRIVER)]
    said = {"url": box.xmatters_url, "login": dict(login), "calls": steps}
    # Nothing else of this process's environment: a proxy would be asked for 127.0.0.1.
    environment = {"PATH": "/usr/bin:/bin", "REQUESTS_CA_BUNDLE": str(box.xmatters_authority)}
    done = subprocess.run(
        command, input=json.dumps(said), env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    return [Outcome(**each) for each in json.loads(done.stdout)]


def event(name: str) -> list[Any]:
    """Return the call of python-xmatters that gets one event, as the list of steps that the driver takes."""
    return ["events_endpoint", ("get_event_by_id", name)]


def outcomes(box: Box, *calls: Sequence[Any]) -> list[Outcome]:
    box.events.declare(BASIC)
    return python_xmatters(box, PASSWORD, calls)


def values(box: Box, *calls: Sequence[Any]) -> list[Any]:
    done = outcomes(box, *calls)
    assert [(each.error, each.message) for each in done if each.error] == []
    return [each.value for each in done]


class TestEvents:
    def test_event_of_a_signal_is_found_by_its_request_id_and_its_properties(self, box: Box) -> None:
        signal(box, "i1")
        request_id = signal(box, "i2")
        by_request, by_property, none = values(
            box,
            ["events_endpoint", ("get_events", {"request_id": request_id})],
            ["events_endpoint", ("get_events", {"propertyName": "incident_id#en", "propertyValue": "I2"})],
            ["events_endpoint", ("get_events", {"status": "TERMINATED,SUSPENDED"})],
        )
        [found] = by_request
        newest = box.events.all()[-1]
        assert (found["id"], found["event_id"], found["status"]) == (newest.id, newest.number, "ACTIVE")
        assert (found["plan"]["name"], found["form"]["name"]) == ("Sandbox", "Sandbox")
        assert datetime.fromisoformat(found["created"]) == newest.created.replace(
            microsecond=newest.created.microsecond // 1000 * 1000
        )
        assert [each["id"] for each in by_property] == [newest.id]
        assert none == []

    def test_events_are_listed_over_several_pages_newest_first(self, box: Box) -> None:
        for _ in range(5):
            signal(box)
        [found] = values(box, ["events_endpoint", ("get_events", {"limit": 2})])
        assert [each["id"] for each in found] == [each.id for each in reversed(box.events.all())]
        assert [call.query.get("offset") for call in box.events.calls.all()] == [None, "2", "4"]

    def test_event_is_suspended_resumed_and_terminated_once(self, box: Box) -> None:
        signal(box)
        [made] = box.events.all()
        suspended, resumed, ended, again, unknown = outcomes(
            box,
            [*event(made.id), ("update_status", "SUSPENDED")],
            ["events_endpoint", ("change_event_status", {"id": made.number, "status": "ACTIVE"})],
            [*event(made.id), ("update_status", "TERMINATED")],
            [*event(made.id), ("update_status", "TERMINATED")],
            ["events_endpoint", ("change_event_status", {"id": "1", "status": "TERMINATED"})],
        )
        assert [each.value["status"] for each in (suspended, resumed, ended)] == ["SUSPENDED", "ACTIVE", "TERMINATED"]
        assert ended.value["terminated"]
        assert (again.error, unknown.error) == ("ConflictError", "NotFoundError")


class TestRecords:
    def test_audits_tell_who_answered_what_from_which_device(self, box: Box) -> None:
        signal(box)
        acknowledge(box, "on it")
        [made] = box.events.all()
        every, some = values(
            box,
            [*event(made.id), ("get_audits", {"event_id": made.id, "sort_order": "ASCENDING"})],
            ["audits_endpoint", ("get_audits", {"event_id": made.id, "audit_type": "RESPONSE_RECEIVED"})],
        )
        assert [each["type"] for each in every] == [
            *("EVENT_CREATED", "NOTIFICATION_DELIVERED", "RESPONSE_RECEIVED", "EVENT_TERMINATED")
        ]
        [answered] = some
        response = answered["response"]
        assert (response["response"], response["comment"], response["source"]) == ("Acknowledge", "on it", "EMAIL")
        assert response["notification"]["recipient"]["target_name"] == "kim|Work Email"
        assert response["notification"]["delivery_status"] == "RESPONDED"
        assert response["notification"]["event"]["id"] == made.id
        # A tenant's recordings have one `option`, and the client looks for a listing `options`.
        assert response["options"] is None

    def test_annotation_is_added_as_its_author_and_read(self, box: Box) -> None:
        signal(box)
        [made] = box.events.all()
        [added] = values(box, [*event(made.id), ("add_annotation", {"comment": "from python-xmatters"})])
        assert (added["comment"], added["author"]["target_name"]) == ("from python-xmatters", "asker")
        assert added["event"]["event_id"] == made.number
        read, listed, audits = values(
            box,
            [*event(made.id), ("get_annotation_by_id", added["id"])],
            [*event(made.id), ("get_annotations",)],
            ["audits_endpoint", ("get_audits", {"event_id": made.id, "audit_type": "EVENT_ANNOTATED"})],
        )
        assert read == added
        assert audits[0]["annotation"]["comment"] == "from python-xmatters"
        # The client looks for the listing in a member `annotations`; xMatters' listings have `data`.
        assert listed == []


class TestDirectory:
    def test_person_is_read_by_name_with_devices_of_their_types(self, box: Box) -> None:
        person, devices, found = values(
            box,
            ["people_endpoint", ("get_person_by_id", "kim")],
            ["people_endpoint", ("get_person_by_id", "kim"), ("get_devices", {"limit": 2})],
            ["people_endpoint", ("get_people", {"web_login": "KIM"})],
        )
        names = ("target_name", "first_name", "last_name", "web_login", "recipient_type", "status")
        assert [person[name] for name in names] == ["kim", "Kim", "Lee", "kim", "PERSON", "ACTIVE"]
        assert [(each["class"], each["name"], each["delay"], each["sequence"]) for each in devices] == [
            ("EmailDevice", "Work Email", 0, 1),
            ("AndroidPushDevice", "Mobile", 2, 2),
            ("SMSDevice", "Cell", 0, 3),
            ("VoiceDevice", "Home", 0, 4),
        ]
        assert [each["priority_threshold"] for each in devices] == ["LOW"] * 4
        assert devices[0]["email_address"] == "kim@acme.example"
        assert devices[0]["owner"]["target_name"] == "kim"
        assert found == [person]

    def test_on_call_lists_members_in_order_with_their_delays(self, box: Box) -> None:
        wanted = {"groups": ["dba", "Network, Ops"], "members_per_shift": 10, "at": "2026-03-04T14:00:00.000Z"}
        both, default = values(
            box,
            ["oncall_endpoint", ("get_oncall", wanted)],
            ["groups_endpoint", ("get_group_by_id", "dba"), ("get_oncall",)],
        )
        assert [each["group"]["target_name"] for each in both] == ["dba", "Network, Ops"]
        members = [(each["position"], each["member"]["target_name"], each["delay"]) for each in both[0]["members"]]
        assert members == [(1, "kim", 0), (2, "jo", 7)]
        assert both[0]["start"] < both[0]["end"]
        assert [each["member"]["target_name"] for each in default[0]["members"]] == ["kim"]


class TestOAuth:
    def test_token_is_got_with_a_password_and_renewed_with_the_refresh_token(self, box: Box) -> None:
        box.events.declare(OAUTH)
        first, renewed, after = python_xmatters(
            box,
            CLIENT,
            [["con", "token"], ["con", ("refresh_token",)], ["people_endpoint", ("get_person_by_id", "jo")]],
        )
        assert (first.value["token_type"], first.value["expires_in"]) == ("bearer", 900)
        assert renewed.value["access_token"] != first.value["access_token"]
        assert after.value["target_name"] == "jo"
        grants = [(each.grant_type, each.status) for each in box.token_requests()]
        assert grants == [("password", 200), ("refresh_token", 200)]

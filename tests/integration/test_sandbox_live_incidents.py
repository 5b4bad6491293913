"""Live incidents of the BigPanda stand-in: actions, the API's view of them, and what the API changes."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.bigpanda.users import USERS
from sandbox.server.in_process import Box, running
from tests.integration.bigpanda_tenant import Tenant, tenant_of
from tests.waiting import until

JANE = USERS[0]


@pytest.fixture
def tenant(box: Box) -> Iterator[Tenant]:
    with tenant_of(box) as tenant:
        yield tenant


def after(tenant: Tenant, *actions: str, **said: Any) -> str:
    """Open an incident, do some actions, and return its id."""
    incident_id: str = tenant.people.open_incident(**said)["id"]
    for action in actions:
        tenant.people.act_on_incident(incident_id, action)
    return incident_id


class TestOpening:
    def test_opened_incident_is_shown_to_people_and_listed_by_the_api_at_once(self, tenant: Tenant) -> None:
        opened = tenant.people.open_incident(title="The shop is slow", status="warning")
        shown = tenant.shown(opened["id"])
        assert (shown["status"], shown["severity"], shown["folders"]) == ("Warning", "Warning", ["active", "unhandled"])
        assert shown["start"] == shown["changed_at"] == shown["updated_at"] == opened["opened_at"]
        listed = tenant.call("GET", "", "?folder=active").json()
        assert [each["id"] for each in listed["items"]] == [opened["id"]]
        [alert] = opened.pop("alerts")
        assert (alert["status"], alert["description"]) == ("warning", "The shop is slow")
        assert opened["log"][0]["text"] == "Opened as warning with 1 alert."
        assert opened["can"] == ["worsen", "gain_alert", "snooze", "flap", "resolve"]
        assert tenant.activities(opened["id"]) == ["incident_created"]

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ({"title": ""}, "incident.title"),
            ({"status": "ok"}, "incident.status"),
            ({"alerts": [{}, {"tags": [{"name": "a"}]}]}, "incident.alerts[1].tags[0]"),
        ],
    )
    def test_invalid_incident_is_400_and_names_the_key(self, tenant: Tenant, body: Any, message: str) -> None:
        answer = tenant.control("POST", "/incidents", body)
        assert (answer.status_code, message in answer.json()["error"]) == (400, True)
        assert tenant.people.live()["incidents"] == []


class TestActions:
    @pytest.mark.parametrize(
        ("status", "actions", "shown"),
        [
            ("unknown", ["worsen", "worsen"], {"status": "Critical", "severity": "Critical"}),
            ("critical", ["ease"], {"status": "Warning", "severity": "Critical"}),
            ("critical", ["snooze"], {"folders": ["snoozed"]}),
            ("critical", ["snooze", "unsnooze"], {"snooze": {"snoozed": False}, "folders": ["active", "unhandled"]}),
            ("critical", ["flap"], {"flapping": True, "active": True}),
            ("critical", ["flap", "calm"], {"flapping": False}),
            ("critical", ["flap", "snooze", "resolve"], {"flapping": False, "status": "Ok", "folders": ["resolved"]}),
            ("critical", ["ease", "resolve", "reopen"], {"status": "Critical", "active": True, "end": None}),
        ],
    )
    def test_action_changes_the_incident(
        self, tenant: Tenant, status: str, actions: list[str], shown: dict[str, Any]
    ) -> None:
        found = tenant.shown(after(tenant, *actions, status=status))
        assert {name: found[name] for name in shown} == shown

    def test_alerts_follow_the_incident(self, tenant: Tenant) -> None:
        name = after(tenant, status="warning", alerts=[{}, {}])
        seen = []
        for action in ("worsen", "gain_alert", "ease", "resolve", "reopen"):
            story = tenant.people.act_on_incident(name, action)
            seen.append([each["status"] for each in story["alerts"]])
        assert seen == [
            ["critical", "warning"],
            ["critical", "warning", "critical"],
            ["warning", "warning", "warning"],
            ["ok", "ok", "ok"],
            ["critical", "ok", "ok"],
        ]

    def test_only_updates_that_are_shared_move_changed_at(self) -> None:
        now = [datetime(2030, 1, 1, tzinfo=UTC)]
        with running(now=lambda: now[0]) as box, tenant_of(box) as tenant:
            name = after(tenant)
            moved = {}
            steps: dict[str, Callable[[], object]] = {
                "grow": lambda: tenant.people.act_on_incident(name, "gain_alert"),
                "snooze": lambda: tenant.people.act_on_incident(name, "snooze"),
                "unsnooze": lambda: tenant.people.act_on_incident(name, "unsnooze"),
                "comment": lambda: tenant.comment(name),
                "assign": lambda: tenant.call("PUT", name, "/assignment", {"assignee": JANE["id"]}),
                "resolve": lambda: tenant.people.act_on_incident(name, "resolve"),
            }
            for step, do in steps.items():
                now[0] += timedelta(seconds=10)
                do()
                shown = tenant.shown(name)
                seconds = int(now[0].timestamp())
                moved[step] = (shown["changed_at"] == seconds, shown["updated_at"] == seconds)
            assert moved == {
                "grow": (True, True), "snooze": (True, True), "unsnooze": (False, True), "comment": (True, True),
                "assign": (False, True), "resolve": (True, True),
            }  # fmt: skip
            assert tenant.shown(name)["end"] == int(now[0].timestamp())

    @pytest.mark.parametrize(
        ("actions", "refused"),
        [
            ([], ["worsen", "unsnooze", "calm", "reopen", "share"]),
            (["ease"], ["ease"]),
            (["snooze", "flap"], ["snooze", "flap"]),
            (["resolve"], ["worsen", "ease", "gain_alert", "snooze", "unsnooze", "flap", "resolve", "share"]),
        ],
    )
    def test_impossible_action_is_409_with_a_reason(
        self, tenant: Tenant, actions: list[str], refused: list[str]
    ) -> None:
        name = after(tenant, *actions)
        before = tenant.story(name)
        for action in refused:
            answer = tenant.control("POST", f"/incidents/{name}/{action}")
            assert (answer.status_code, answer.json()["error"][-1]) == (409, ".")
        assert tenant.story(name) == before
        assert set(before["can"]).isdisjoint(refused)


class TestApi:
    def test_assignment_changes_the_incident(self, tenant: Tenant) -> None:
        name = after(tenant)
        assert tenant.call("PUT", name, "/assignment", {"assignee": JANE["id"]}).status_code == 204
        person = {"user_id": JANE["id"], "name": JANE["userName"], "email": JANE["emails"][0]["value"]}
        assert (tenant.shown(name)["assignee"], tenant.shown(name)["folders"]) == (person, ["active", "assigned"])
        assert tenant.story(name)["assignee"] == JANE["userName"]
        assert tenant.log(name, "assignment") == [f"Assigned to {JANE['userName']}."]

    def test_snooze_is_204_and_ends_by_itself(self, tenant: Tenant) -> None:
        name, end = after(tenant), int(time.time()) + 2
        asked = {"end_time": end, "cancel_on_incident_updates": False}
        assert tenant.call("PUT", name, "/snooze", asked).status_code == 204
        assert tenant.shown(name)["snooze"] == {"snoozed": True, **asked}
        assert tenant.story(name)["snoozed_until"] == end
        assert tenant.call("PUT", name, "/snooze", asked).status_code == 409
        until(lambda: tenant.story(name)["snoozed_until"] is None)
        assert (tenant.log(name, "change")[-1], tenant.activities(name)[0]) == (
            "The snooze ended.", "incident_unsnoozed",
        )  # fmt: skip

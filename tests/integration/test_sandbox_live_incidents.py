"""Live incidents of the BigPanda stand-in: actions, the API's view of them, and what the API changes."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from sandbox.bigpanda.incidents import ENVIRONMENT
from sandbox.bigpanda.users import USERS
from sandbox.errors import SandboxError
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
        [entry, _] = opened.pop("log")
        assert (alert["status"], alert["description"]) == ("warning", "The shop is slow")
        assert (entry["kind"], entry["text"]) == ("change", "Opened as warning with 1 alert.")
        assert opened == {
            "id": opened["id"], "title": "The shop is slow", "status": "warning", "is_open": True,
            "snoozed_until": None, "is_flapping": False, "is_shared": False, "assignee": None,
            "opened_at": opened["changed_at"], "changed_at": opened["changed_at"],
            "can": ["worsen", "gain_alert", "snooze", "flap", "resolve"],
        }  # fmt: skip
        assert tenant.activities(opened["id"]) == ["incident_created"]

    def test_status_is_that_of_the_worst_alert(self, tenant: Tenant) -> None:
        alerts = [{"status": "unknown"}, {"status": "critical", "description": "Disk full"}, {}]
        opened = tenant.people.open_incident(status="warning", alerts=alerts)
        assert opened["status"] == "critical"
        assert [each["status"] for each in opened["alerts"]] == ["unknown", "critical", "warning"]

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ([], "incident must be object"),
            ({"title": ""}, "incident.title"),
            ({"status": "ok"}, "incident.status"),
            ({"alerts": []}, "incident.alerts"),
            ({"alerts": [{}, {"tags": [{"name": "a"}]}]}, "incident.alerts[1].tags[0]"),
            ({"alerts": [{"status": "ok"}]}, "incident.alerts"),
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

    def test_unknown_action_or_incident_is_named(self, tenant: Tenant) -> None:
        with pytest.raises(SandboxError, match="There is no such incident"):
            tenant.people.act_on_incident("i/9", "worsen")
        with pytest.raises(SandboxError, match="action must be one of worsen"):
            tenant.people.act_on_incident("i/9", "explode")

    def test_most_alerts_are_300(self, tenant: Tenant) -> None:
        name = after(tenant, alerts=[{}] * 300)
        answer = tenant.control("POST", f"/incidents/{name}/gain_alert")
        assert (answer.status_code, answer.json()) == (409, {"error": "The incident has 300 alerts, the most."})


def test_declared_incident_can_change_and_is_forgotten_like_live_ones(tenant: Tenant) -> None:
    incident = {"id": "i1", "status": "Warning", "active": True, "changed_at": 5, "folders": ["shared"]}
    tenant.people.have_incidents(ENVIRONMENT, [incident])
    assert (tenant.story("i1")["title"], tenant.story("i1")["log"]) == ("Incident i1", [])
    tenant.people.act_on_incident("i1", "worsen")
    assert tenant.shown("i1")["status"] == "Critical"
    assert tenant.log("i1", "change") == ["Worsened from warning to critical."]
    name = after(tenant)
    tenant.box.clear()
    assert [tenant.call("GET", each).status_code for each in (name, "i1")] == [404, 404]


class TestApi:
    def test_comment_is_an_activity_and_in_the_log(self, tenant: Tenant) -> None:
        name = after(tenant)
        assert tenant.comment(name, "x" * 5000) == 204
        assert tenant.activities(name) == ["incident_commented", "incident_created"]
        assert [len(text) for text in tenant.log(name, "comment")] == [300]

    def test_assignment_changes_the_incident(self, tenant: Tenant) -> None:
        name = after(tenant)
        assert tenant.call("PUT", name, "/assignment", {"assignee": JANE["id"]}).status_code == 204
        person = {"user_id": JANE["id"], "name": JANE["userName"], "email": JANE["emails"][0]["value"]}
        assert (tenant.shown(name)["assignee"], tenant.shown(name)["folders"]) == (person, ["active", "assigned"])
        assert tenant.story(name)["assignee"] == JANE["userName"]
        assert tenant.log(name, "assignment") == [f"Assigned to {JANE['userName']}."]

    def test_resolve_is_202_and_a_second_one_409(self, tenant: Tenant) -> None:
        name = after(tenant)
        answer = tenant.call("POST", name, "/resolve", {"comments": "done"})
        assert (answer.status_code, answer.json()) == (202, {"status": 202, "data": {}})
        assert (tenant.shown(name)["active"], tenant.activities(name)[0]) == (False, "incident_resolved_api")
        assert tenant.call("POST", name, "/resolve", {"comments": "done"}).status_code == 409
        assert tenant.call("POST", name, "/resolve", {"comment": "done"}).status_code == 400
        assert tenant.call("POST", name, "/resolve", {"comments": None}, "e9").status_code == 404

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

    def test_snooze_ends_with_an_update_if_it_says_so(self, tenant: Tenant) -> None:
        name = after(tenant)
        tenant.call("PUT", name, "/snooze", {"end_time": int(time.time()) + 600, "cancel_on_incident_updates": True})
        assert tenant.people.act_on_incident(name, "gain_alert")["snoozed_until"] is None

    @pytest.mark.parametrize("body", [None, {}, {"end_time": 5}, {"end_time": True}, {"end_time": 4 * 10**9}])
    def test_snooze_without_a_time_within_90_days_is_400(self, tenant: Tenant, body: Any) -> None:
        assert tenant.call("PUT", after(tenant), "/snooze", body).status_code == 400

    def test_fault_prevents_a_comment_or_hides_a_resolve(self, tenant: Tenant) -> None:
        name = after(tenant)
        refused = {"kind": "status", "status": 404, "on": "comment"}
        tenant.box.script([refused, {"kind": "accept_then_reset", "on": "resolve"}])
        assert tenant.comment(name) == 404
        assert (tenant.log(name, "comment"), tenant.activities(name)) == ([], ["incident_created"])
        with pytest.raises(requests.ConnectionError):
            tenant.call("POST", name, "/resolve", {"comments": None})
        assert not tenant.story(name)["is_open"]

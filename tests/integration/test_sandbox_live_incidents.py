"""Live incidents of the BigPanda stand-in: actions, the API's view of them, and what the API changes."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from sandbox.bigpanda.incidents import ENVIRONMENT
from sandbox.bigpanda.live import MOST_OPENED
from sandbox.bigpanda.records import MOST_ENTRIES
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
    def test_opened_incident_is_listed_by_the_api_at_once(self, tenant: Tenant) -> None:
        opened = tenant.people.open_incident(title="The shop is slow", status="warning", alerts=2)
        shown = tenant.shown(opened["id"])
        assert (shown["status"], shown["severity"], shown["active"], shown["shared"]) == (
            "Warning", "Warning", True, False,
        )  # fmt: skip
        assert (shown["folders"], shown["environments"]) == (["active", "unhandled"], [ENVIRONMENT])
        assert shown["start"] == shown["changed_at"] == shown["updated_at"]
        assert shown["alerts"][0]["description"] == "The shop is slow"
        listed = tenant.call("GET", "", "?folder=active").json()
        assert [each["id"] for each in listed["items"]] == [opened["id"]]

    def test_opened_incident_is_told_to_people(self, tenant: Tenant) -> None:
        opened = tenant.people.open_incident(title="The shop is slow")
        [alert] = opened.pop("alerts")
        [entry, _] = opened.pop("log")
        assert (alert["status"], alert["description"]) == ("critical", "The shop is slow")
        assert (entry["kind"], entry["text"]) == ("change", "Opened as critical with 1 alert.")
        assert datetime.fromisoformat(entry["at"]).tzinfo is not None
        assert opened == {
            "id": opened["id"], "title": "The shop is slow", "status": "critical", "is_open": True,
            "snoozed_until": None, "is_flapping": False, "is_shared": False, "assignee": None,
            "opened_at": opened["changed_at"], "changed_at": opened["changed_at"], "is_locked": False,
            "can": ["ease", "gain_alert", "snooze", "flap", "resolve"],
        }  # fmt: skip
        assert tenant.activities(opened["id"]) == ["incident_created"]

    def test_status_is_that_of_the_worst_alert(self, tenant: Tenant) -> None:
        alerts = [{"status": "unknown"}, {"status": "critical", "description": "Disk full"}, {}]
        opened = tenant.people.open_incident(status="warning", alerts=alerts)
        assert opened["status"] == "critical"
        assert [each["status"] for each in opened["alerts"]] == ["unknown", "critical", "warning"]

    def test_titles_and_texts_may_hold_any_character(self, tenant: Tenant) -> None:
        answer = tenant.api.post(
            f"{tenant.box.control_url}/bigpanda/live/incidents", data=b'{"title": "\\ud800 \\u0000 <b>"}', timeout=60
        )
        assert answer.status_code == 201
        assert tenant.story(answer.json()["id"])["title"] == "\ud800 \x00 <b>"

    def test_oldest_resolved_incident_is_forgotten_first(self, tenant: Tenant) -> None:
        first = after(tenant)
        resolved = after(tenant, "resolve")
        for _ in range(MOST_OPENED - 1):
            tenant.box.bigpanda.live.open({})
        assert tenant.call("GET", resolved).status_code == 404
        assert tenant.call("GET", first).status_code == 200
        tenant.box.bigpanda.live.open({})
        assert tenant.call("GET", first).status_code == 404
        assert tenant.call("GET", "").json()["total"] == MOST_OPENED


class TestActions:
    @pytest.mark.parametrize(
        ("status", "actions", "shown"),
        [
            ("unknown", ["worsen"], {"status": "Warning", "severity": "Warning"}),
            ("unknown", ["worsen", "worsen"], {"status": "Critical", "severity": "Critical"}),
            ("critical", ["ease"], {"status": "Warning", "severity": "Critical"}),
            ("warning", ["gain_alert"], {"status": "Warning", "folders": ["active", "unhandled"]}),
            ("critical", ["snooze"], {"folders": ["snoozed"]}),
            ("critical", ["snooze", "unsnooze"], {"snooze": {"snoozed": False}, "folders": ["active", "unhandled"]}),
            ("critical", ["flap"], {"flapping": True, "active": True}),
            ("critical", ["flap", "calm"], {"flapping": False}),
            ("critical", ["resolve"], {"status": "Ok", "active": False, "folders": ["resolved"]}),
            ("critical", ["flap", "snooze", "resolve"], {"flapping": False, "snooze": {"snoozed": False}}),
            ("warning", ["resolve", "reopen"], {"status": "Warning", "active": True, "end": None}),
            ("critical", ["ease", "resolve", "reopen"], {"status": "Critical", "severity": "Critical"}),
        ],
    )
    def test_action_changes_the_incident(
        self, tenant: Tenant, status: str, actions: list[str], shown: dict[str, Any]
    ) -> None:
        found = tenant.shown(after(tenant, *actions, status=status))
        assert {name: found[name] for name in shown} == shown

    def test_alerts_follow_the_incident(self, tenant: Tenant) -> None:
        name = after(tenant, status="warning", alerts=2)
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

    def test_gained_alert_can_worsen_the_incident(self, tenant: Tenant) -> None:
        name = after(tenant, status="warning")
        story = tenant.people.act_on_incident(name, "gain_alert", status="critical", description="Disk full")
        assert story["status"] == "critical"
        assert story["log"][-2]["text"] == "Gained the alert “Disk full”, and worsened from warning to critical."

    def test_only_updates_that_are_shared_move_changed_at(self) -> None:
        now = [datetime(2030, 1, 1, tzinfo=UTC)]
        with running(now=lambda: now[0]) as box, tenant_of(box) as tenant:
            name = after(tenant)
            moved = {}
            steps: dict[str, Callable[[], object]] = {
                "worsen": lambda: tenant.people.act_on_incident(name, "gain_alert"),
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
                "worsen": (True, True), "snooze": (True, True), "unsnooze": (False, True), "comment": (True, True),
                "assign": (False, True), "resolve": (True, True),
            }  # fmt: skip
            assert tenant.shown(name)["end"] == int(now[0].timestamp())

    @pytest.mark.parametrize(
        ("actions", "refused"),
        [
            ([], ["worsen", "unsnooze", "calm", "reopen", "share"]),
            (["ease"], ["ease"]),
            (["snooze"], ["snooze"]),
            (["flap"], ["flap"]),
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

    def test_most_alerts_are_300(self, tenant: Tenant) -> None:
        name = after(tenant, alerts=299)
        tenant.people.act_on_incident(name, "gain_alert")
        answer = tenant.control("POST", f"/incidents/{name}/gain_alert")
        assert (answer.status_code, answer.json()) == (409, {"error": "The incident has 300 alerts, the most."})

    def test_snooze_ends_by_itself(self, tenant: Tenant) -> None:
        name = after(tenant)
        tenant.people.act_on_incident(name, "snooze", seconds=1)
        until(lambda: tenant.story(name)["snoozed_until"] is None)
        assert tenant.log(name, "change")[-1] == "The snooze ended."
        assert tenant.activities(name)[0] == "incident_unsnoozed"

    def test_log_keeps_the_newest_entries(self, tenant: Tenant) -> None:
        name = after(tenant)
        for _ in range(MOST_ENTRIES):
            tenant.people.act_on_incident(name, "gain_alert")
        log = tenant.story(name)["log"]
        assert len(log) == MOST_ENTRIES
        assert log[0]["text"] != "Opened as critical with 1 alert."


class TestDeclared:
    def declared(self, tenant: Tenant, **more: Any) -> None:
        incident = {"id": "i1", "status": "Warning", "active": True, "changed_at": 5, "folders": ["shared"]}
        tenant.people.have_incidents(ENVIRONMENT, [incident | more])

    def test_declared_incident_is_part_of_the_story_and_can_change(self, tenant: Tenant) -> None:
        self.declared(tenant)
        assert (tenant.story("i1")["title"], tenant.story("i1")["log"]) == ("Incident i1", [])
        tenant.people.act_on_incident("i1", "worsen")
        assert tenant.shown("i1")["status"] == "Critical"
        assert tenant.log("i1", "change") == ["Worsened from warning to critical."]

    def test_declared_incident_stays_as_declared_until_an_action(self, tenant: Tenant) -> None:
        self.declared(tenant)
        before = tenant.shown("i1")
        assert tenant.comment("i1") == 204
        assert tenant.shown("i1") == before

    @pytest.mark.parametrize("action", ["worsen", "gain_alert", "snooze", "flap", "resolve"])
    @pytest.mark.parametrize(
        "odd",
        [
            {"alerts": [{"alert_id": "a1", "status": 5, "description": [], "tags": {}}]},
            {"snooze": {"snoozed": True, "end_time": 10**400}, "status": "Ok", "severity": "unknown"},
            {"assignee": {}, "maintenance": "active", "updated_at": 10**20},
        ],
    )
    def test_action_takes_any_declared_incident(self, tenant: Tenant, action: str, odd: dict[str, Any]) -> None:
        self.declared(tenant, **odd)
        assert tenant.control("POST", f"/incidents/i1/{action}").status_code in {200, 409}
        assert tenant.story("i1")["id"] == "i1"

    def test_new_declaration_replaces_live_incidents(self, tenant: Tenant) -> None:
        name = after(tenant)
        self.declared(tenant)
        assert [each["id"] for each in tenant.people.live()["incidents"]] == ["i1"]
        assert tenant.control("POST", f"/incidents/{name}/resolve").status_code == 404

    def test_clear_forgets_live_incidents_and_keeps_declared_ones(self, tenant: Tenant) -> None:
        self.declared(tenant)
        tenant.people.act_on_incident("i1", "worsen")
        name = after(tenant)
        tenant.box.clear()
        assert tenant.call("GET", name).status_code == 404
        assert tenant.story("i1")["log"] == []


class TestApi:
    def test_comment_is_an_activity_and_in_the_log(self, tenant: Tenant) -> None:
        name = after(tenant)
        assert tenant.comment(name, "Jane acknowledged") == 204
        assert tenant.activities(name) == ["incident_commented", "incident_created"]
        assert tenant.log(name, "comment") == ["Jane acknowledged"]

    def test_long_comment_is_cut_in_the_log(self, tenant: Tenant) -> None:
        name = after(tenant)
        tenant.comment(name, "x" * 5000)
        assert len(tenant.log(name, "comment")[0]) == 300

    def test_assignment_changes_the_incident_until_it_ends(self, tenant: Tenant) -> None:
        name = after(tenant)
        assert tenant.call("PUT", name, "/assignment", {"assignee": JANE["id"]}).status_code == 204
        person = {"user_id": JANE["id"], "name": JANE["userName"], "email": JANE["emails"][0]["value"]}
        assert tenant.shown(name)["assignee"] == person
        assert tenant.shown(name)["folders"] == ["active", "assigned"]
        assert tenant.story(name)["assignee"] == JANE["userName"]
        assert tenant.log(name, "assignment") == [f"Assigned to {JANE['userName']}."]
        assert tenant.call("DELETE", name, "/assignment").status_code == 204
        assert tenant.shown(name)["assignee"] is None
        assert tenant.activities(name)[:2] == ["incident_unassigned", "incident_assigned"]
        assert tenant.call("DELETE", name, "/assignment").status_code == 400

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("POST", "/comments", {"comment": "words"}),
            ("PUT", "/assignment", {"assignee": JANE["id"]}),
            ("DELETE", "/assignment", None),
            ("POST", "/resolve", {"comments": None}),
            ("PUT", "/snooze", None),
            ("DELETE", "/snooze", None),
        ],
    )
    def test_unknown_incident_is_404_where_incidents_live(
        self, tenant: Tenant, method: str, path: str, body: Any
    ) -> None:
        if (method, path) == ("PUT", "/snooze"):
            body = {"end_time": int(time.time()) + 600}
        name = after(tenant)
        for incident_id, environment in (("i9", ENVIRONMENT), (name, "e9")):
            answer = tenant.call(method, incident_id, path, body, environment)
            expected = 204 if environment == "e9" and path in {"/comments", "/assignment"} and body else 404
            assert answer.status_code == expected
        assert len(tenant.activities("i9")) == 0

    def test_resolve_is_202_and_a_second_one_409(self, tenant: Tenant) -> None:
        name = after(tenant)
        answer = tenant.call("POST", name, "/resolve", {"comments": "done"})
        assert (answer.status_code, answer.json()) == (202, {"status": 202, "data": {}})
        assert (tenant.shown(name)["active"], tenant.activities(name)[0]) == (False, "incident_resolved_api")
        again = tenant.call("POST", name, "/resolve", {"comments": "done"})
        assert (again.status_code, again.json()["status"]) == (409, 409)
        assert tenant.call("POST", name, "/resolve", {"comment": "done"}).status_code == 400

    def test_snooze_is_204_until_its_end(self, tenant: Tenant) -> None:
        name = after(tenant)
        end = int(time.time()) + 600
        asked = {"end_time": end, "cancel_on_incident_updates": True}
        assert tenant.call("PUT", name, "/snooze", asked).status_code == 204
        assert tenant.shown(name)["snooze"] == {"snoozed": True, **asked}
        assert tenant.story(name)["snoozed_until"] == end
        assert tenant.call("PUT", name, "/snooze", asked).status_code == 409
        assert tenant.call("DELETE", name, "/snooze").status_code == 204
        assert tenant.call("DELETE", name, "/snooze").status_code == 409

    def test_snooze_ends_with_an_update_if_it_says_so(self, tenant: Tenant) -> None:
        name = after(tenant)
        asked = {"end_time": int(time.time()) + 600, "cancel_on_incident_updates": True}
        tenant.call("PUT", name, "/snooze", asked)
        assert tenant.people.act_on_incident(name, "gain_alert")["snoozed_until"] is None

    @pytest.mark.parametrize(
        "body", [None, [], {}, {"end_time": 5}, {"end_time": "soon"}, {"end_time": True}, {"end_time": 4 * 10**9}]
    )
    def test_snooze_without_a_time_within_90_days_is_400(self, tenant: Tenant, body: Any) -> None:
        name = after(tenant)
        assert tenant.call("PUT", name, "/snooze", body).status_code == 400
        assert tenant.story(name)["snoozed_until"] is None

    def test_refused_comment_changes_nothing(self, tenant: Tenant) -> None:
        name = after(tenant)
        tenant.box.script([{"kind": "status", "status": 404, "on": "comment"}])
        assert tenant.comment(name) == 404
        assert (tenant.log(name, "comment"), tenant.activities(name)) == ([], ["incident_created"])

    def test_resolve_whose_answer_is_lost_is_done(self, tenant: Tenant) -> None:
        name = after(tenant)
        tenant.box.script([{"kind": "accept_then_reset", "on": "resolve"}])
        with pytest.raises(requests.ConnectionError):
            tenant.call("POST", name, "/resolve", {"comments": None})
        assert not tenant.story(name)["is_open"]

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("POST", "/resolve", {"comments": "done"}),
            ("PUT", "/snooze", {"end_time": 1_900_000_000}),
            ("DELETE", "/snooze", None),
            ("DELETE", "/assignment", None),
        ],
    )
    def test_change_takes_5_requests_a_second(self, method: str, path: str, body: Any) -> None:
        now = datetime.fromtimestamp(1_899_999_000, UTC)
        with running(now=lambda: now, is_paced=True) as box, tenant_of(box) as tenant:
            name = after(tenant)
            statuses = [tenant.call(method, name, path, body).status_code for _ in range(7)]
        assert 429 not in statuses[:5]
        assert statuses[5:] == [429, 429]


class TestControl:
    @pytest.mark.parametrize(
        ("method", "path", "body", "message"),
        [
            ("POST", "/incidents", [], "incident must be object"),
            ("POST", "/incidents", {"title": ""}, "incident.title"),
            ("POST", "/incidents", {"title": "x" * 2049}, "incident.title"),
            ("POST", "/incidents", {"status": "ok"}, "incident.status"),
            ("POST", "/incidents", {"alerts": 0}, "incident.alerts"),
            ("POST", "/incidents", {"alerts": 301}, "incident.alerts"),
            ("POST", "/incidents", {"alerts": 10**300}, "incident.alerts"),
            ("POST", "/incidents", {"alerts": []}, "incident.alerts"),
            ("POST", "/incidents", {"alerts": ["x"]}, "incident.alerts[0]"),
            ("POST", "/incidents", {"alerts": [{"status": "ok"}]}, "incident.alerts"),
            ("POST", "/incidents", {"alerts": [{}, {"tags": [{"name": "a"}]}]}, "incident.alerts[1].tags[0]"),
            ("POST", "/incidents", {"name": "x"}, "incident must not contain"),
            ("POST", "/incidents/i1/explode", {}, "action must be one of worsen"),
            ("POST", "/incidents/i1/snooze", {"seconds": 0}, "options.seconds"),
            ("POST", "/incidents/i1/snooze", {"seconds": 90 * 86400}, "options.seconds"),
            ("POST", "/incidents/i1/worsen", {"by": 2}, "options must not contain"),
            ("POST", "/incidents/i1/worsen", "x", "options must be object"),
            ("PUT", "/silent", {"silent": 1}, "document.silent"),
            ("PUT", "/channel", {}, "channel must contain"),
        ],
    )
    def test_invalid_input_is_400_and_names_the_key(
        self, tenant: Tenant, method: str, path: str, body: Any, message: str
    ) -> None:
        answer = tenant.control(method, path, body)
        assert answer.status_code == 400
        assert message in answer.json()["error"]
        assert tenant.people.live()["incidents"] == []

    @pytest.mark.parametrize("content", [b"{", b"\xff", b"[" * 100_000, b'{"title": NaN}'])
    @pytest.mark.parametrize("path", ["/incidents", "/incidents/i1/worsen", "/silent", "/channel"])
    def test_body_that_is_not_json_is_400(self, tenant: Tenant, path: str, content: bytes) -> None:
        method = "POST" if path.startswith("/incidents") else "PUT"
        url = f"{tenant.box.control_url}/bigpanda/live{path}"
        answer = tenant.api.request(method, url, data=content, timeout=60)
        assert (answer.status_code, answer.json()) == (400, {"error": "the body is not JSON"})

    def test_unknown_incident_is_404(self, tenant: Tenant) -> None:
        answer = tenant.control("POST", "/incidents/i%2F9/worsen")
        assert (answer.status_code, answer.json()) == (404, {"error": "There is no such incident"})
        with pytest.raises(SandboxError, match="There is no such incident"):
            tenant.people.act_on_incident("i/9", "worsen")

    def test_story_is_empty_before_anything_happened(self, tenant: Tenant) -> None:
        assert json.loads(tenant.control("GET", "").content) == {
            "environment_id": ENVIRONMENT, "channel": None, "incidents": [], "webhooks": [], "is_silent": False,
        }  # fmt: skip

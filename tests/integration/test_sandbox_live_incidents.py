"""Live incidents of the BigPanda stand-in: actions, the API's view of them, and their webhooks, resends and silence."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.bigpanda.users import USERS
from sandbox.server.in_process import Box, running
from tests.integration.bigpanda_tenant import HEADER, Tenant, receiving, tenant_of
from tests.integration.live import Received, Script, Site
from tests.waiting import until

JANE = USERS[0]


@pytest.fixture
def tenant(box: Box) -> Iterator[Tenant]:
    with tenant_of(box) as tenant:
        yield tenant


@pytest.fixture
def receiver() -> Iterator[Site]:
    with receiving() as receiver:
        yield receiver


def answering(*statuses: int) -> Script:
    """Return a receiver's script that answers with these statuses in turn, and then with the last one for ever."""
    left = list(statuses)

    def script(_: Received) -> tuple[int, Mapping[str, str], bytes]:
        return (left.pop(0) if len(left) > 1 else left[0]), {}, b"{}"

    return script


def opened(tenant: Tenant, *actions: str, **said: Any) -> str:
    """Open an incident, do some actions, and return its id."""
    name = str(tenant.people.open_incident(**said)["id"])
    act(tenant, name, *actions)
    return name


def act(tenant: Tenant, incident_id: str, *actions: str) -> None:
    for action in actions:
        tenant.people.act_on_incident(incident_id, action)


def answered(tenant: Tenant, count: int) -> list[dict[str, Any]]:
    """Wait until `count` webhooks are answered, and return them as the control API shows them."""
    until(lambda: len(tenant.people.live()["webhooks"]) >= count)
    return list(tenant.people.live()["webhooks"])


def events(tenant: Tenant, count: int) -> list[str]:
    return [each["event"] for each in answered(tenant, count)]


class TestRules:
    def test_each_trigger_is_shared_and_named(self, tenant: Tenant, receiver: Site) -> None:
        tenant.share_with(receiver)
        name = opened(tenant, status="warning")
        act(tenant, name, "worsen", "gain_alert", "share", "resolve", "reopen", "flap", "calm", "snooze", "unsnooze")
        assert tenant.comment(name) == 204
        tenant.call("PUT", name, "/assignment", {"assignee": tenant.box.bigpanda.users()[0]["id"]})
        tenant.call("POST", name, "/resolve", {"comments": "done"})
        sent = receiver.received[0]
        assert (sent.method, sent.target, sent.headers[HEADER[0]]) == ("POST", "/bigpanda/noc", HEADER[1])
        assert events(tenant, 10) == [
            "incident#new", "incident#updated", "incident#updated", "manual", "incident#closed", "incident#reopen",
            "incident#become-flapping", "incident#snoozed", "incident#commented", "incident#closed",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("quiet", "told", "end"),
        [("snooze", "incident#snoozed", "unsnooze"), ("flap", "incident#become-flapping", "calm")],
    )
    def test_snoozed_and_flapping_incidents_send_no_updates_but_their_close(
        self, tenant: Tenant, receiver: Site, quiet: str, told: str, end: str
    ) -> None:
        tenant.share_with(receiver)
        name = opened(tenant)
        act(tenant, name, quiet, "ease", "gain_alert")
        tenant.comment(name)
        act(tenant, name, end, "worsen", quiet, "resolve")
        assert events(tenant, 5) == ["incident#new", told, "incident#updated", told, "incident#closed"]

    def test_incident_of_another_team_is_shared_with_its_webhook_and_not_sent(
        self, tenant: Tenant, receiver: Site
    ) -> None:
        tenant.share_with(receiver)
        tenant.control("PUT", "/elsewhere", {"elsewhere": True})
        foreign = opened(tenant)
        assert tenant.people.live()["is_elsewhere"]
        tenant.control("PUT", "/elsewhere", {"elsewhere": False})
        own = opened(tenant)
        targets = [tenant.whole_activities(name)[0]["params"]["share_target"] for name in (foreign, own)]
        assert targets == ["webhook.another-team", "webhook.sandbox"]
        assert tenant.log(foreign, "share") == ["Shared with another team's webhook."]
        assert events(tenant, 1) == ["incident#new"]


def test_503_is_sent_again_until_it_is_taken(tenant: Tenant) -> None:
    with receiving(answering(503, 501, 202)) as receiver:
        tenant.share_with(receiver)
        name = opened(tenant)
        assert [(each["attempt"], each["status"]) for each in answered(tenant, 3)] == [(1, 503), (2, 501), (3, 202)]
        assert len({each.body for each in receiver.received}) == 1
    assert tenant.log(name, "share")[0] == (
        "Shared (incident#new): the answer was 503. BigPanda sends it again in 0 s: attempt 2 of 6."
    )


class TestActions:
    def test_only_updates_that_are_shared_move_changed_at(self) -> None:
        now = [datetime(2030, 1, 1, tzinfo=UTC)]
        with running(now=lambda: now[0]) as box, tenant_of(box) as tenant:
            name = opened(tenant)
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

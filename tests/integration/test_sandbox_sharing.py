"""Sharing of live incidents by the BigPanda stand-in: webhooks v1 and v2, resends, silence and the callback lock."""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from relay.incidents.share import parse_share
from sandbox.bigpanda.channels import MOST_ATTEMPTS
from sandbox.bigpanda.incidents import ENVIRONMENT
from sandbox.bigpanda.records import MOST_WEBHOOKS
from sandbox.server.in_process import Box
from tests.integration.bigpanda_tenant import (
    HEADER,
    Tenant,
    delivered,
    documents,
    receiving,
    tenant_of,
)
from tests.integration.live import Received, Script, Site
from tests.waiting import until


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


def opened(tenant: Tenant, **said: Any) -> str:
    return str(tenant.people.open_incident(**said)["id"])


def act(tenant: Tenant, incident_id: str, *actions: str) -> None:
    for action in actions:
        tenant.people.act_on_incident(incident_id, action)


def answered(tenant: Tenant, count: int) -> list[dict[str, Any]]:
    """Wait until `count` webhooks are answered, and return them as the control API shows them."""
    until(lambda: len(tenant.people.live()["webhooks"]) >= count)
    return list(tenant.people.live()["webhooks"])


def events(tenant: Tenant, count: int) -> list[str]:
    return [each["event"] for each in answered(tenant, count)]


class TestWebhooks:
    def test_open_incident_is_posted_with_the_channels_header(self, tenant: Tenant, receiver: Site) -> None:
        tenant.share_with(receiver)
        name = opened(tenant)
        [webhook] = answered(tenant, 1)
        [received] = receiver.received
        assert (received.method, received.target) == ("POST", "/bigpanda/noc")
        assert (received.headers[HEADER[0]], received.headers["content-type"]) == (HEADER[1], "application/json")
        assert webhook | {"at": ""} == {
            "at": "", "incident_id": name, "event": "incident#new", "attempt": 1, "status": 200,
            "outcome": "delivered", "document": {"outcome": "delivered"},
        }  # fmt: skip
        assert tenant.shown(name)["folders"] == ["active", "shared"]
        assert tenant.story(name)["is_shared"]
        assert tenant.log(name, "share") == ["Shared (incident#new): the answer was 200, delivered."]
        assert tenant.activities(name) == ["incident_shared", "incident_created"]

    def test_v1_is_the_documented_object(self, tenant: Tenant, receiver: Site) -> None:
        tenant.share_with(receiver)
        name = opened(tenant, title="Disk full")
        answered(tenant, 1)
        [document] = documents(receiver)
        shown = tenant.shown(name)
        [alert] = document["incident"].pop("alerts")
        assert document == {
            "incident": {
                "id": name, "status": "critical", "severity": "critical", "active": True, "resolved": False,
                "flapping": False, "snooze": {"snoozed": False, "end_time": None, "autoCancel": False},
                "startedOn": shown["start"], "changedOn": shown["changed_at"], "updatedOn": shown["updated_at"],
                "endedOn": None,
            },
            "metadata": {"environment_id": ENVIRONMENT},
        }  # fmt: skip
        assert alert == {
            "id": shown["alerts"][0]["alert_id"], "status": "critical", "active": True, "startedOn": shown["start"],
            "changedOn": shown["start"], "updatedOn": shown["start"], "endedOn": None, "primary_property": "host",
            "secondary_property": "check", "source_system": "nagios.nagios_east", "description": "Disk full",
            "tags": [{"name": "host", "value": "pay-db-1"}, {"name": "check", "value": "replication"}],
        }  # fmt: skip

    def test_v2_is_the_template_of_the_docs(self, tenant: Tenant, receiver: Site) -> None:
        tenant.share_with(receiver, version="v2")
        name = opened(tenant, title="Disk full", status="warning")
        answered(tenant, 1)
        assert documents(receiver) == [
            {
                "event": "incident#new", "incident_id": name, "status": "Warning", "severity": "Warning",
                "updated_at": str(tenant.shown(name)["updated_at"]), "environment_id": ENVIRONMENT,
                "subject": "Disk full", "host": "pay-db-1", "check": "replication",
            }
        ]  # fmt: skip

    def test_relay_reads_both_versions(self, tenant: Tenant, receiver: Site) -> None:
        tenant.share_with(receiver)
        name = opened(tenant, alerts=2)
        act(tenant, name, "ease", "snooze")
        answered(tenant, 3)
        tenant.share_with(receiver, version="v2")
        act(tenant, name, "resolve")
        answered(tenant, 4)
        shares = [parse_share(each.body) for each in receiver.received]
        assert {each.incident_id for each in shares} == {name}
        assert {each.environment_id for each in shares} == {ENVIRONMENT}
        assert [each.event for each in shares] == [None, None, None, "incident#closed"]
        assert [each.status for each in shares] == ["critical", "warning", "warning", "ok"]
        assert {each.severity for each in shares} == {"critical"}
        assert [(each.active, each.resolved, each.snoozed) for each in shares] == [
            (True, False, False), (True, False, False), (True, False, True), (None, None, None),
        ]  # fmt: skip
        assert [len(each.alerts) for each in shares] == [2, 2, 2, 0]
        assert [alert.status for alert in shares[1].alerts] == ["warning", "warning"]
        versions = [each.version for each in shares]
        assert None not in versions
        assert [each.updated_on for each in shares][-1] == tenant.shown(name)["updated_at"]

    def test_webhook_is_sent_for_declared_alerts_of_any_shape(self, tenant: Tenant, receiver: Site) -> None:
        odd = [{"alert_id": "a1", "status": [], "tags": 5, "description": {}}, {"alert_id": "a2", "tags": [5, {}]}]
        incident = {"id": "i1", "status": "Warning", "active": True, "changed_at": 5, "folders": [], "alerts": odd}
        tenant.people.have_incidents(ENVIRONMENT, [incident])
        for version in ("v1", "v2"):
            tenant.share_with(receiver, version=version)
            act(tenant, "i1", "share")
        answered(tenant, 2)
        assert [parse_share(each.body).incident_id for each in receiver.received] == ["i1", "i1"]


class TestRules:
    def test_each_trigger_is_named_in_v2(self, tenant: Tenant, receiver: Site) -> None:
        tenant.share_with(receiver, version="v2")
        name = opened(tenant, status="warning")
        act(tenant, name, "worsen", "ease", "gain_alert", "share", "resolve", "reopen", "flap", "calm", "snooze")
        answered(tenant, 9)
        assert [each["event"] for each in documents(receiver)] == [
            "incident#new", "incident#updated", "incident#updated", "incident#updated", "manual", "incident#closed",
            "incident#reopen", "incident#become-flapping", "incident#snoozed",
        ]  # fmt: skip

    def test_comment_of_the_api_is_shared_and_an_assignment_is_not(self, tenant: Tenant, receiver: Site) -> None:
        tenant.share_with(receiver)
        name = opened(tenant)
        [user] = [each["id"] for each in tenant.box.bigpanda.users()][:1]
        assert tenant.call("PUT", name, "/assignment", {"assignee": user}).status_code == 204
        assert tenant.comment(name) == 204
        assert events(tenant, 2) == ["incident#new", "incident#commented"]

    def test_resolve_by_the_api_is_shared(self, tenant: Tenant, receiver: Site) -> None:
        tenant.share_with(receiver)
        name = opened(tenant)
        tenant.call("POST", name, "/resolve", {"comments": "done"})
        assert events(tenant, 2) == ["incident#new", "incident#closed"]

    def test_manual_channel_shares_updates_after_the_first_share_by_hand(self, tenant: Tenant, receiver: Site) -> None:
        tenant.share_with(receiver, share="manual")
        name = opened(tenant)
        act(tenant, name, "ease")
        assert tenant.log(name, "share")[-1] == "Not shared: nobody shared the incident yet."
        assert not tenant.story(name)["is_shared"]
        act(tenant, name, "share", "worsen")
        assert events(tenant, 2) == ["manual", "incident#updated"]

    @pytest.mark.parametrize(
        ("actions", "first"), [(["resolve", "reopen"], "incident#reopen"), (["flap"], "incident#become-flapping")]
    )
    def test_older_incident_is_shared_when_it_reopens_or_flaps(
        self, tenant: Tenant, receiver: Site, actions: Sequence[str], first: str
    ) -> None:
        name = opened(tenant)
        tenant.share_with(receiver)
        act(tenant, name, "ease", *actions)
        assert events(tenant, 1) == [first]

    @pytest.mark.parametrize(
        ("quiet", "told", "end"),
        [("snooze", "incident#snoozed", "unsnooze"), ("flap", "incident#become-flapping", "calm")],
    )
    def test_snoozed_and_flapping_incidents_send_no_updates(
        self, tenant: Tenant, receiver: Site, quiet: str, told: str, end: str
    ) -> None:
        tenant.share_with(receiver)
        name = opened(tenant)
        act(tenant, name, quiet, "ease", "gain_alert")
        tenant.comment(name)
        act(tenant, name, end, "worsen")
        assert events(tenant, 3) == ["incident#new", told, "incident#updated"]

    def test_close_of_a_snoozed_incident_is_shared(self, tenant: Tenant, receiver: Site) -> None:
        tenant.share_with(receiver)
        act(tenant, opened(tenant), "snooze", "resolve")
        assert events(tenant, 3)[-1] == "incident#closed"

    def test_incident_of_another_environment_is_not_shared(self, tenant: Tenant, receiver: Site) -> None:
        name = opened(tenant)
        tenant.share_with(receiver, environment_id="e2")
        answer = tenant.control("POST", f"/incidents/{name}/share")
        assert (answer.status_code, "another environment" in answer.json()["error"]) == (409, True)
        other = opened(tenant)
        assert [each["id"] for each in tenant.people.live()["incidents"]] == [other]
        assert answered(tenant, 1)[0]["incident_id"] == other

    def test_silent_bigpanda_sends_nothing_and_counts_the_incident_as_shared(
        self, tenant: Tenant, receiver: Site
    ) -> None:
        tenant.share_with(receiver)
        tenant.people.silence_bigpanda(is_silent=True)
        name = opened(tenant)
        act(tenant, name, "ease")
        assert (tenant.people.live()["is_silent"], tenant.story(name)["is_shared"]) == (True, True)
        tenant.people.silence_bigpanda(is_silent=False)
        act(tenant, name, "resolve")
        assert events(tenant, 1) == ["incident#closed"]


class TestResends:
    def test_503_is_sent_again_until_it_is_taken(self, tenant: Tenant) -> None:
        with receiving(answering(503, 501, 202)) as receiver:
            tenant.share_with(receiver)
            name = opened(tenant)
            assert [(each["attempt"], each["status"]) for each in answered(tenant, 3)] == [(1, 503), (2, 501), (3, 202)]
            assert len({each.body for each in receiver.received}) == 1
        assert tenant.log(name, "share")[0] == (
            "Shared (incident#new): the answer was 503. BigPanda sends it again in 0 s: attempt 2 of 6."
        )

    @pytest.mark.parametrize("status", [500, 404, 401, 302])
    def test_500_and_below_is_not_sent_again(self, tenant: Tenant, status: int) -> None:
        with receiving(answering(status, 200)) as receiver:
            tenant.share_with(receiver)
            act(tenant, opened(tenant), "ease")
            assert [each["status"] for each in answered(tenant, 2)] == [status, 200]
            assert [each["attempt"] for each in answered(tenant, 2)] == [1, 1]

    def test_nothing_is_sent_again_without_resends(self, tenant: Tenant) -> None:
        with receiving(answering(503, 200)) as receiver:
            tenant.share_with(receiver, resends=False)
            act(tenant, opened(tenant), "ease")
            assert [each["attempt"] for each in answered(tenant, 2)] == [1, 1]

    def test_attempts_are_limited(self, tenant: Tenant) -> None:
        with receiving(answering(503)) as receiver:
            tenant.share_with(receiver)
            name = opened(tenant)
            answered(tenant, MOST_ATTEMPTS)
            assert tenant.log(name, "share")[-1].endswith(f"BigPanda gives up after {MOST_ATTEMPTS} attempts.")
            act(tenant, name, "ease")
            assert answered(tenant, MOST_ATTEMPTS + 1)[-1]["event"] == "incident#updated"

    def test_no_answer_is_sent_again(self, tenant: Tenant) -> None:
        with receiving() as closed:
            pass
        tenant.share_with(closed)
        name = opened(tenant)
        assert {each["status"] for each in answered(tenant, MOST_ATTEMPTS)} == {None}
        assert "no answer came" in tenant.log(name, "share")[0]

    def test_late_resend_arrives_after_a_newer_update(self, tenant: Tenant) -> None:
        with receiving(answering(503, 200)) as receiver:
            tenant.share_with(receiver, resend_seconds=1)
            act(tenant, opened(tenant), "ease")
            assert events(tenant, 3) == ["incident#new", "incident#updated", "incident#new"]
            assert [each["incident"]["status"] for each in documents(receiver)] == ["critical", "warning", "critical"]

    def test_silence_ends_resends(self, tenant: Tenant) -> None:
        with receiving(answering(503, 200)) as receiver:
            tenant.share_with(receiver, resend_seconds=1)
            name = opened(tenant)
            answered(tenant, 1)
            tenant.people.silence_bigpanda(is_silent=True)
            # The snooze ends after the resend would have been sent.
            tenant.people.act_on_incident(name, "snooze", seconds=2)
            until(lambda: tenant.story(name)["snoozed_until"] is None)
            assert len(receiver.received) == 1


class TestReceivers:
    def test_slow_receiver_delays_its_own_incident_only(self, tenant: Tenant) -> None:
        may_answer = threading.Event()
        slow: list[str] = []

        def script(received: Received) -> tuple[int, Mapping[str, str], bytes]:
            if json.loads(received.body)["incident"]["id"] in slow:
                may_answer.wait(60)
            return delivered(received)

        with receiving(script) as receiver:
            tenant.share_with(receiver, share="manual")
            first, second = opened(tenant), opened(tenant)
            slow.append(first)
            act(tenant, first, "share", "ease")
            act(tenant, second, "share", "ease")
            assert [each["incident_id"] for each in answered(tenant, 2)] == [second, second]
            assert len(receiver.received) == 3
            may_answer.set()
            assert [each["event"] for each in answered(tenant, 4)[2:]] == ["manual", "incident#updated"]

    @pytest.mark.parametrize(
        "content",
        [b"", b"{", b"[]", b'"x"', b'{"a":' * 20 + b"1" + b"}" * 20, b'{"outcome": "' + b"x" * 70_000 + b'"}'],
    )
    def test_answer_that_is_no_small_object_is_not_kept(self, tenant: Tenant, content: bytes) -> None:
        with receiving(lambda _: (200, {}, content)) as receiver:
            tenant.share_with(receiver)
            opened(tenant)
            [webhook] = answered(tenant, 1)
        assert (webhook["status"], webhook["outcome"], webhook["document"]) == (200, None, None)

    def test_outcome_must_be_a_text(self, tenant: Tenant) -> None:
        with receiving(lambda _: (200, {}, b'{"outcome": 5}')) as receiver:
            tenant.share_with(receiver)
            opened(tenant)
            [webhook] = answered(tenant, 1)
        assert (webhook["outcome"], webhook["document"]) == (None, {"outcome": 5})

    def test_redirect_is_not_followed(self, tenant: Tenant, receiver: Site) -> None:
        with receiving(lambda _: (307, {"Location": receiver.url}, b"")) as moved:
            tenant.share_with(moved)
            opened(tenant)
            assert answered(tenant, 1)[0]["status"] == 307
        assert receiver.received == []

    def test_newest_webhooks_are_kept(self, tenant: Tenant, receiver: Site) -> None:
        tenant.share_with(receiver)
        name = opened(tenant)
        for _ in range(MOST_WEBHOOKS):
            tenant.box.bigpanda.live.comment(name, "words")
        until(lambda: len(receiver.received) == MOST_WEBHOOKS + 1)
        until(lambda: {each["event"] for each in tenant.people.live()["webhooks"]} == {"incident#commented"})
        assert len(tenant.people.live()["webhooks"]) == MOST_WEBHOOKS


class TestLock:
    def test_updates_are_held_until_the_callback_service_is_called(self, tenant: Tenant, receiver: Site) -> None:
        tenant.share_with(receiver, callbacks=True)
        name, other = opened(tenant), opened(tenant)
        act(tenant, name, "ease")
        tenant.comment(name)
        answered(tenant, 2)
        assert tenant.story(name)["is_locked"]
        assert tenant.release(name, "another") == 403
        assert tenant.story(name)["is_locked"]
        assert tenant.release(name) == 200
        webhooks = answered(tenant, 4)
        assert [each["event"] for each in webhooks[2:]] == ["incident#updated", "incident#commented"]
        assert not tenant.story(name)["is_locked"]
        assert tenant.story(other)["is_locked"]
        act(tenant, name, "worsen")
        assert events(tenant, 5)[-1] == "incident#updated"

    def test_lock_ends_by_itself(self, tenant: Tenant, receiver: Site) -> None:
        tenant.share_with(receiver, callbacks=True, lock_seconds=1)
        name = opened(tenant)
        act(tenant, name, "ease")
        assert events(tenant, 2) == ["incident#new", "incident#updated"]
        assert any("ended by itself" in text for text in tenant.log(name, "share"))

    def test_channel_without_callbacks_has_no_lock(self, tenant: Tenant, receiver: Site) -> None:
        tenant.share_with(receiver)
        name = opened(tenant)
        assert not tenant.story(name)["is_locked"]
        assert tenant.release(name) == 200


class TestChannel:
    def test_channel_is_shown_without_secrets(self, tenant: Tenant, receiver: Site) -> None:
        header = {"name": "Authorization", "value": "Bearer canary"}
        answer = tenant.control("PUT", "/channel", {"url": f"{receiver.url}/x?apiKey=canary", "header": header})
        assert answer.json()["channel"] == {
            "url": f"{receiver.url}/x", "header": {"name": "Authorization"}, "version": "v1", "resends": True,
            "resend_seconds": 10, "share": "auto", "callbacks": False, "lock_seconds": 300,
            "environment_id": ENVIRONMENT,
        }  # fmt: skip
        assert "canary" not in answer.text + tenant.control("GET", "").text

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"url": "http://example.com/x"}, "channel.url"),
            ({"url": "http://127.0.0.1.example.com/x"}, "channel.url"),
            ({"url": "http://localhost@example.com/x"}, "channel.url"),
            ({"url": "http://localhost/\nx"}, "channel.url"),
            ({"url": "file:///etc/passwd"}, "channel.url"),
            ({"url": 5}, "channel.url"),
            ({"header": {"name": "x"}}, "channel.header"),
            ({"header": {"name": "x y", "value": "v"}}, "channel.header.name"),
            ({"header": {"name": "x", "value": "v\r\nx: y"}}, "channel.header.value"),
            ({"header": {"name": "x", "value": "v\n"}}, "channel.header.value"),
            ({"header": {"name": "x", "value": ""}}, "channel.header.value"),
            ({"version": "v3"}, "channel.version"),
            ({"resends": "yes"}, "channel.resends"),
            ({"resend_seconds": -1}, "channel.resend_seconds"),
            ({"share": "never"}, "channel.share"),
            ({"callbacks": 1}, "channel.callbacks"),
            ({"environment_id": ""}, "channel.environment_id"),
            ({"token": "canary"}, "channel must not contain"),
        ],
    )
    def test_invalid_channel_is_400_and_changes_nothing(
        self, tenant: Tenant, changes: dict[str, Any], message: str
    ) -> None:
        plain = {"url": "http://localhost:1/x", "header": {"name": "x", "value": "v"}}
        answer = tenant.control("PUT", "/channel", plain | changes)
        assert answer.status_code == 400
        assert message in answer.json()["error"]
        assert tenant.people.live()["channel"] is None

    @pytest.mark.parametrize("url", ["http://localhost:99999/x", "http://127.0.0.1:1/x", "http://a.localhost:1"])
    def test_channel_that_takes_no_connection_breaks_nothing(self, tenant: Tenant, url: str) -> None:
        tenant.people.share_with(url, HEADER, resends=False)
        name = opened(tenant)
        assert answered(tenant, 1)[0]["status"] is None
        act(tenant, name, "ease")
        assert len(answered(tenant, 2)) == 2

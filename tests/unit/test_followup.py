"""Following signals: a page is found or missed, and pages of ours end when they must."""

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from botocore.exceptions import EndpointConnectionError

from relay.followup import LOOK_FOR_SECONDS
from relay.http import Answer
from tests import samples
from tests.fakes import Call, FakeSecrets, FakeSession, Relay, Step

if TYPE_CHECKING:
    from collections.abc import Callable

REST = {"base_url": "https://acme.xmatters.com", "auth": {"type": "basic", "username": "relay", "password": "rest-pw"}}
LATER = 1_800_000_001
DOWN = samples.refused(503)


class Tenant:
    """xMatters: each signal makes a page, a while after it was accepted, unless its flow makes none."""

    def __init__(self) -> None:
        self.after = 0.0
        self.makes_pages = True
        self.signals: list[float] = []
        self.ended: list[str] = []
        self.asked: list[str] = []
        self.now: Callable[[], float] = lambda: 0.0

    def accept(self, _: Call) -> Answer:
        self.signals.append(self.now())
        return samples.accepted(f"r{len(self.signals)}")

    def rest(self, call: Call) -> Answer:
        if call.method == "POST":
            document = json.loads(call.body)
            assert document["status"] == "TERMINATED"
            self.ended.append(document["id"])
            return Answer(200, {}, call.body)
        [request_id] = parse_qs(urlsplit(call.url).query)["requestId"]
        self.asked.append(request_id)
        number = int(request_id[1:])
        is_there = self.makes_pages and self.now() >= self.signals[number - 1] + self.after
        status = "TERMINATED" if f"page-{number}" in self.ended else "ACTIVE"
        page = {"id": f"page-{number}", "eventId": f"40800{number}", "status": status}
        return Answer(200, {}, json.dumps({"data": [page] if is_there else []}).encode())


def room(tenant: Tenant, *steps: Step, rest: FakeSession | None = None, policy: dict[str, Any] | None = None) -> Relay:
    document = samples.secret(policy={"min_seconds_between_signals": 0, **(policy or {})})
    document["xmatters"]["rest"] = REST
    relay = Relay(
        FakeSession(*steps, tenant.accept),
        secrets=FakeSecrets(noc=json.dumps(document)),
        rest=rest or FakeSession(tenant.rest),
    )
    tenant.now = relay.clock
    return relay


@pytest.fixture
def tenant() -> Tenant:
    return Tenant()


def pages(relay: Relay) -> list[tuple[tuple[str, ...], str, bool, bool]]:
    return [(each.pages, each.number, each.is_over, each.is_lost) for each in relay.entry().raised]


class TestConfirm:
    def test_the_job_that_was_kept_finds_the_page(self, tenant: Tenant) -> None:
        relay = room(tenant)
        relay.share()
        assert tenant.asked == []
        relay.wake(36)
        assert pages(relay) == [(("page-1",), "408001", False, False)]
        assert (tenant.asked, relay.retries.messages) == (["r1"], [])
        [call] = relay.rest.calls
        assert call.url.startswith("https://acme.xmatters.com/api/xm/1/events?requestId=r1")
        assert call.headers["Authorization"].startswith("Basic ")

    def test_a_page_that_is_late_is_looked_for_a_few_times(self, tenant: Tenant) -> None:
        tenant.after = 100
        relay = room(tenant)
        relay.share()
        while relay.retries.messages:
            relay.wake(relay.retries.delays()[0])
        assert pages(relay)[0][0] == ("page-1",)
        assert 2 <= len(tenant.asked) <= 6
        assert "unconfirmed" not in {line["message"][:11] for line in relay.recorder.lines()}

    def test_one_that_never_comes_is_said_loudly_and_a_critical_is_told(self, tenant: Tenant) -> None:
        tenant.makes_pages = False
        relay = room(tenant)
        relay.share()
        began = relay.clock.now
        while relay.retries.messages:
            relay.wake(relay.retries.delays()[0])
        assert LOOK_FOR_SECONDS < relay.clock.now - began < LOOK_FOR_SECONDS + 90
        assert relay.recorder.metrics()["unconfirmed"] == 1
        [message] = relay.sns.published
        assert "xMatters accepted it but made no page of it" in message["Message"]
        assert pages(relay)[0][3]

    def test_a_warning_is_not_told(self, tenant: Tenant) -> None:
        tenant.makes_pages = False
        relay = room(tenant)
        relay.share(status="warning")
        while relay.retries.messages:
            relay.wake(relay.retries.delays()[0])
        assert (relay.sns.published, relay.recorder.metrics()["unconfirmed"]) == ([], 1)

    def test_a_signal_from_the_retry_queue_is_followed_too(self, tenant: Tenant) -> None:
        relay = room(tenant, DOWN, DOWN, DOWN)
        relay.share()
        relay.wake(36)
        assert [job.kind for job in relay.retries.jobs()] == ["followup"]
        relay.wake(10)
        assert pages(relay)[0][0] == ("page-1",)
        assert relay.retries.messages == []

    def test_a_replayed_one_too(self, tenant: Tenant) -> None:
        relay = room(tenant)
        relay.worker.replay(samples.job(recipients=()).to_json())
        relay.wake(10)
        assert tenant.asked == ["r1"]

    def test_without_credentials_nobody_is_asked(self) -> None:
        relay = Relay(FakeSession(samples.accepted()))
        relay.share()
        relay.wake(36)
        assert (relay.rest.calls, relay.retries.messages) == ([], [])


class TestFailing:
    @pytest.mark.parametrize(
        ("step", "reason"),
        [(DOWN, "upstream"), (requests.ReadTimeout(), "timeout"), (samples.refused(401), "credentials")],
    )
    def test_what_xmatters_does_not_say_is_asked_later(self, tenant: Tenant, step: Step, reason: str) -> None:
        relay = room(tenant, rest=FakeSession(step, tenant.rest))
        relay.share()
        relay.wake(36)
        [waiting] = relay.retries.jobs()
        assert (waiting.kind, waiting.reason, waiting.rounds) == ("followup", reason, 1)
        relay.wake(301)
        assert (pages(relay)[0][0], len(relay.session.calls)) == (("page-1",), 1)

    def test_a_base_url_that_is_wrong_rests_where_it_is_seen(self, tenant: Tenant) -> None:
        relay = room(tenant, rest=FakeSession(samples.refused(404)))
        relay.share()
        relay.wake(36)
        [rests] = relay.dead_letters.jobs()
        assert (rests.kind, rests.reason, relay.retries.messages) == ("followup", "refused", [])

    def test_a_ledger_that_fails_is_asked_again(self, tenant: Tenant) -> None:
        relay = room(tenant)
        relay.share()
        relay.dynamodb.refuses_writes = True
        relay.wake(36)
        assert [job.reason for job in relay.retries.jobs()] == ["internal"]
        relay.dynamodb.refuses_writes = False
        relay.wake(60)
        assert pages(relay)[0][0] == ("page-1",)

    def test_no_credential_is_in_what_is_kept_or_logged(self, tenant: Tenant) -> None:
        relay = room(tenant, rest=FakeSession(samples.refused(400, b"rest-pw is odd")))
        relay.share()
        relay.wake(36)
        kept = relay.dead_letters.messages[0]["MessageBody"]
        assert "is odd" in kept
        assert "rest-pw" not in kept + relay.recorder.written()


class TestEnd:
    def test_a_resolve_ends_what_was_raised_before_it_and_not_its_own(self, tenant: Tenant) -> None:
        relay = room(tenant)
        relay.share()
        relay.wake(36)
        relay.share(status="ok", changedOn=LATER)
        relay.wake(36)
        assert tenant.ended == ["page-1"]
        assert [is_over for _, _, is_over, _ in pages(relay)] == [True, False]

    def test_even_if_both_came_at_once(self, tenant: Tenant) -> None:
        relay = room(tenant)
        relay.share()
        relay.share(status="ok", changedOn=LATER)
        relay.wake(36)
        assert tenant.ended == ["page-1"]
        assert relay.retries.messages == []

    def test_a_newer_page_takes_the_older_ones_place(self, tenant: Tenant) -> None:
        relay = room(tenant)
        relay.share(status="warning")
        relay.share(status="critical", changedOn=LATER)
        relay.wake(36)
        assert tenant.ended == ["page-1"]

    def test_but_not_before_it_is_there(self, tenant: Tenant) -> None:
        relay = room(tenant)
        relay.share(status="warning")
        relay.wake(36)
        tenant.after = 100
        relay.share(status="critical", changedOn=LATER)
        relay.wake(36)
        assert tenant.ended == []
        while relay.retries.messages:
            relay.wake(relay.retries.delays()[0])
        assert tenant.ended == ["page-1"]

    def test_nor_where_the_channel_wants_both(self, tenant: Tenant) -> None:
        relay = room(tenant, policy={"replace": False})
        for second, status in enumerate(("warning", "critical", "ok")):
            relay.share(status=status, changedOn=LATER + second)
            relay.wake(36)
            assert tenant.ended == ([] if status != "ok" else ["page-1", "page-2"])

    def test_a_reopened_incident_keeps_its_new_page(self, tenant: Tenant) -> None:
        relay = room(tenant, policy={"replace": False})
        for second, status in enumerate(("critical", "ok", "critical")):
            relay.share(status=status, changedOn=LATER + second)
        relay.wake(36)
        assert tenant.ended == ["page-1"]

    @pytest.mark.parametrize("status", [404, 409])
    def test_what_is_over_already_is_done(self, tenant: Tenant, status: int) -> None:
        relay = room(tenant)
        relay.share()
        relay.wake(36)
        relay = relay.with_rest(FakeSession(tenant.rest, samples.refused(status)))
        relay.share(status="ok", changedOn=LATER)
        relay.wake(36)
        assert [is_over for _, _, is_over, _ in pages(relay)] == [True, False]
        assert relay.retries.messages == []

    def test_what_somebody_ended_is_not_ended_once_more(self, tenant: Tenant) -> None:
        relay = room(tenant)
        relay.share()
        tenant.ended.append("page-1")
        relay.share(status="ok", changedOn=LATER)
        relay.wake(36)
        assert tenant.ended == ["page-1"]

    def test_a_fault_in_the_middle_ends_the_rest_later_and_nothing_twice(self, tenant: Tenant) -> None:
        relay = room(tenant, policy={"replace": False})
        for second, status in enumerate(("warning", "critical", "ok")):
            relay.share(status=status, changedOn=LATER + second)
        failing = FakeSession(tenant.rest, tenant.rest, tenant.rest, tenant.rest, DOWN, tenant.rest)
        relay = relay.with_rest(failing)
        relay.wake(36)
        assert tenant.ended == ["page-1"]
        relay.wake(60)
        assert tenant.ended == ["page-1", "page-2"]


def test_a_table_that_is_down_is_no_reason_to_guess(tenant: Tenant) -> None:
    relay = room(tenant)
    relay.share()
    relay.dynamodb.failure = EndpointConnectionError(endpoint_url="https://dynamodb")
    relay.wake(36)
    assert tenant.asked == []
    relay.dynamodb.failure = None
    relay.wake(60)
    assert tenant.asked == ["r1"]

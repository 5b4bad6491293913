"""Follow-up of signals: pages are found or reported missing."""

import json

import pytest
import requests
from botocore.exceptions import EndpointConnectionError

from relay.delivery.page_followup import LOOK_FOR_SECONDS
from relay.entrypoints.chores import BRIEF_SECONDS
from relay.failures.errors import QueueError
from relay.http.session import HttpAnswer
from relay.xmatters.rest import MAX_PAGES
from tests import samples
from tests.fakes import Call, FakeSession, Relay, Step, worked
from tests.unit.paging_tenant import Tenant, new_relay, pages

DEAD = "2027-01-15T07:30:00.000Z"
LATER = 1_800_000_001
DOWN = samples.refused(503)


@pytest.fixture
def tenant() -> Tenant:
    return Tenant()


class TestConfirm:
    def test_kept_job_finds_the_page_of_its_signal(self, tenant: Tenant) -> None:
        relay = new_relay(tenant)
        relay.share()
        assert tenant.asked == []
        relay.wake(36)
        assert pages(relay) == [(("page-1",), "408001", False, False)]
        assert (tenant.asked, relay.delays()) == (["r1"], [])
        [call] = relay.rest.calls
        assert call.url.startswith("https://acme.xmatters.com/api/xm/1/events?requestId=r1")
        assert call.headers["Authorization"].startswith("Basic ")

    def test_late_page_is_looked_for_a_few_times(self, tenant: Tenant) -> None:
        tenant.after = 100
        relay = new_relay(tenant)
        relay.share()
        relay.drain()
        assert pages(relay)[0][0] == ("page-1",)
        assert 2 <= len(tenant.asked) <= 6
        assert "page missing" not in {line["message"][:12] for line in relay.recorder.lines()}

    def test_critical_without_a_page_is_logged_and_notified_by_the_sweeper(self, tenant: Tenant) -> None:
        tenant.makes_pages = False
        relay = new_relay(tenant)
        relay.share(description="disk full")
        began = relay.clock.now
        relay.drain()
        assert LOOK_FOR_SECONDS < relay.clock.now - began < LOOK_FOR_SECONDS + 90
        assert relay.recorder.metrics()["page_missing"] == 1
        assert (relay.sns.published, relay.entry().debt.is_page_missing) == ([], True)
        for _ in range(10):
            relay.sweep()
        [message] = relay.sns.published
        assert message["Subject"] == "CRITICAL, xMatters did not notify: incident i1 of channel noc"
        assert "xMatters accepted its signal (request id r1) and made no page of it" in message["Message"]
        assert 'Incident i1: \\"disk full\\"' in message["Message"], "the follow-up's job has the words"
        assert "in_flight" not in message["Message"]
        [line] = [line for line in relay.recorder.lines() if line["message"].startswith("page missing")]
        assert line["request_id"] == "r1"
        assert pages(relay)[0][3]
        # The fallback topic was notified, so nothing is left to do.
        assert (relay.entry().debt.is_page_missing, relay.entry().debt.row) == (False, None)
        assert len(relay.session.calls) == 1

    def test_fallback_topic_is_not_notified_of_a_warning_without_a_page(self, tenant: Tenant) -> None:
        tenant.makes_pages = False
        relay = new_relay(tenant)
        relay.share(status="warning")
        relay.drain()
        relay.sweep()
        assert (relay.sns.published, relay.recorder.metrics()["page_missing"]) == ([], 1)

    def test_fallback_is_notified_of_a_critical_without_a_page_although_the_job_of_a_warning_looks_for_it(
        self, tenant: Tenant
    ) -> None:
        tenant.makes_pages = False
        relay = new_relay(tenant)
        relay.share(status="warning")
        warning = relay.retries.messages
        relay.share(changedOn=LATER)
        relay.retries.messages = warning
        relay.drain()
        for _ in range(3):
            relay.sweep()
        [message] = relay.sns.published
        assert "made no page of it" in message["Message"]

    def test_fallback_is_not_notified_if_a_later_signal_has_a_page(self, tenant: Tenant) -> None:
        tenant.makes_pages = False
        relay = new_relay(tenant)
        relay.share()
        relay.clock.now += 100
        tenant.makes_pages = True
        tenant.after = 0.0
        tenant.hidden = {"r1"}
        relay.share(changedOn=LATER, alerts=[{"id": "a1"}], status="warning")
        relay.share(changedOn=LATER + 1)
        relay.drain()
        for _ in range(3):
            relay.sweep()
        assert pages(relay)[0][3], "the first page is lost"
        assert relay.sns.published == []

    def test_signal_of_a_share_that_was_kept_in_the_ledger_alone_is_followed(self, tenant: Tenant) -> None:
        def meets(call: Call) -> HttpAnswer:
            relay.retries.failure = QueueError("SQS refused the message: AccessDenied")
            assert relay.share(status="warning", changedOn=LATER).queue == "ledger"
            relay.retries.failure = None
            return tenant.accept(call)

        tenant.makes_pages = False
        relay = new_relay(tenant, meets)
        relay.share()
        relay.drain()
        assert [each[3] for each in pages(relay)] == [True, True]
        assert relay.entry().debt.is_page_missing

    def test_resolve_without_a_page_is_not_reported_as_missing(self, tenant: Tenant) -> None:
        relay = new_relay(tenant)
        relay.share()
        relay.wake(36)
        tenant.makes_pages = False
        relay.share(status="ok", changedOn=LATER)
        relay.drain()
        relay.sweep()
        assert (relay.sns.published, relay.recorder.metrics().get("page_missing")) == ([], None)

    def test_missing_page_is_reported_although_the_next_page_cannot_be_asked_for(self, tenant: Tenant) -> None:
        tenant.makes_pages = False
        relay = new_relay(tenant, rest=FakeSession(tenant.rest, DOWN, tenant.rest))
        relay.share()
        relay.clock.now += LOOK_FOR_SECONDS
        relay.share(status="warning", changedOn=LATER)
        relay.wake(36)
        assert tenant.asked == ["r1", "r2"]
        relay.sweep()
        assert (len(relay.sns.published), relay.recorder.metrics()["page_missing"]) == (1, 1)

    @pytest.mark.parametrize("content", [b"<html>log in, rest-pw", b'{"data": [{"id": "page-1', b'{"data": {}}', b"[]"])
    def test_unreadable_answer_of_xmatters_does_not_count_as_no_page(self, tenant: Tenant, content: bytes) -> None:
        relay = new_relay(tenant, rest=FakeSession(HttpAnswer(200, {}, content)))
        relay.share()
        relay.wake(LOOK_FOR_SECONDS + 36)
        assert [(job.kind, job.stamps.reason) for job in relay.chores.jobs()] == [("followup", "upstream")]
        assert not pages(relay)[0][3]
        assert "rest-pw" not in repr(relay.chores.jobs()) + relay.recorder.written()

    def test_page_of_another_request_is_not_taken_for_ours(self, tenant: Tenant) -> None:
        theirs = {"id": "page-9", "eventId": "1", "status": "ACTIVE", "requestId": "another"}
        ours = {"id": "page-1", "eventId": "2", "status": "ACTIVE", "requestId": "R1"}
        found = HttpAnswer(200, {}, json.dumps({"data": [theirs, ours]}).encode())
        relay = new_relay(tenant, rest=FakeSession(found))
        relay.share()
        relay.wake(36)
        assert pages(relay)[0][:2] == (("page-1",), "2")

    def test_pages_and_numbers_are_cut_to_the_size_that_the_ledger_keeps(self, tenant: Tenant) -> None:
        many = [{"id": f"p{number}", "eventId": "7" * 9000} for number in range(1000)]
        relay = new_relay(
            tenant, rest=FakeSession(HttpAnswer(200, {}, json.dumps({"data": [{"id": "x" * 101}, *many]}).encode()))
        )
        relay.share()
        relay.wake(36)
        found = relay.entry().accepted_signals[0]
        assert (found.pages, len(found.page_number)) == (tuple(f"p{number}" for number in range(MAX_PAGES)), 100)

    def test_page_is_looked_for_past_the_channels_max_age(self, tenant: Tenant) -> None:
        tenant.makes_pages = False
        relay = new_relay(tenant, policy={"max_age_seconds": 60})
        relay.share()
        relay.drain()
        assert (relay.dead_letters.messages, relay.recorder.metrics()["page_missing"]) == ([], 1)

    def test_page_of_a_revived_signal_is_followed_however_old_the_signal_is(self, tenant: Tenant) -> None:
        relay = new_relay(tenant)
        worked(relay, samples.job(recipients=(), received_at="2027-01-15T01:00:00.000Z", dead_lettered_at=DEAD))
        relay.wake(10)
        assert (tenant.asked, relay.dead_letters.messages) == (["r1"], [])

    def test_worker_of_signals_leaves_the_followup_to_the_chore_queue(self, tenant: Tenant) -> None:
        relay = new_relay(tenant)
        relay.share()
        relay.clock.now += 36
        assert relay.worker.work(relay.retries.records()) == []
        [followup] = relay.chores.jobs()
        assert (followup.kind, followup.incident_id, relay.chores.delays()) == ("followup", "i1", [0])
        assert relay.rest.calls == [], "an API that hangs must not take the time of signals"

    def test_signal_stays_on_the_retry_queue_while_no_queue_takes_its_followup(self, tenant: Tenant) -> None:
        relay = new_relay(tenant)
        relay.share()
        relay.chores.failure = EndpointConnectionError(endpoint_url="https://sqs")
        relay.wake(36)
        assert [(job.kind, job.stamps.reason) for job in relay.retries.jobs()] == [("signal", "in_flight")]
        assert relay.recorder.metrics().get("signal_failed") is None
        relay.chores.failure = None
        relay.drain()
        assert (pages(relay)[0][0], len(relay.session.calls)) == (("page-1",), 1)

    def test_followup_on_the_retry_queue_is_worked(self, tenant: Tenant) -> None:
        tenant.after = 60
        relay = new_relay(tenant)
        relay.share()
        relay.wake(36)
        # AWS's own redrive moves jobs of all kinds to one queue.
        relay.retries.messages, relay.chores.messages = relay.chores.messages, []
        relay.wake(18)
        assert tenant.asked == ["r1", "r1"]
        assert [job.kind for job in relay.chores.jobs()] == ["followup"], "its next wait is on the chore queue"
        relay.drain()
        assert pages(relay)[0][0] == ("page-1",)

    def test_followup_of_an_overtaken_signal_looks_at_once_for_the_pages_of_all_signals(self, tenant: Tenant) -> None:
        tenant.after = 100
        relay = new_relay(tenant)
        relay.share(status="warning")
        relay.share(status="critical", changedOn=LATER)
        overtaken, newest = relay.retries.messages
        relay.retries.messages = [overtaken]
        relay.wake(36)
        assert tenant.asked == ["r1", "r2"]
        relay.retries.messages = [newest]
        relay.drain()
        assert [found[0] for found in pages(relay)] == [("page-1",), ("page-2",)]

    def test_signal_from_the_retry_queue_is_followed(self, tenant: Tenant) -> None:
        relay = new_relay(tenant, DOWN, DOWN, DOWN)
        relay.share()
        relay.wake(36)
        assert [job.kind for job in relay.chores.jobs()] == ["followup"]
        relay.wake(10)
        assert pages(relay)[0][0] == ("page-1",)
        assert relay.delays() == []

    def test_page_of_a_revived_signal_is_followed(self, tenant: Tenant) -> None:
        relay = new_relay(tenant)
        worked(relay, samples.job(recipients=(), dead_lettered_at=DEAD))
        relay.wake(10)
        assert tenant.asked == ["r1"]

    def test_pages_are_not_looked_for_without_credentials_for_the_rest_api(self) -> None:
        relay = Relay(FakeSession(samples.accepted()))
        relay.share()
        relay.wake(36)
        assert (relay.rest.calls, relay.delays()) == ([], [])


class TestFailing:
    @pytest.mark.parametrize(
        ("step", "reason"),
        [(DOWN, "upstream"), (requests.ReadTimeout(), "timeout"), (samples.refused(401), "credentials")],
    )
    def test_failed_followup_is_retried_later(self, tenant: Tenant, step: Step, reason: str) -> None:
        relay = new_relay(tenant, rest=FakeSession(step, tenant.rest))
        relay.share()
        relay.wake(36)
        [waiting] = relay.chores.jobs()
        assert (waiting.kind, waiting.stamps.reason, waiting.attempts) == ("followup", reason, 1)
        relay.wake(301)
        assert (pages(relay)[0][0], len(relay.session.calls)) == (("page-1",), 1)

    @pytest.mark.parametrize("makes_pages", [True, False])
    def test_followup_outlives_an_outage_of_hours(self, tenant: Tenant, makes_pages: bool) -> None:
        tenant.makes_pages = makes_pages
        rest: list[Step] = [DOWN]

        def answer(call: Call) -> HttpAnswer:
            step = rest[0]
            return step if isinstance(step, HttpAnswer) else tenant.rest(call)

        relay = new_relay(tenant, rest=FakeSession(answer))
        relay.share()
        began = relay.clock.now
        while delays := relay.delays():
            relay.wake(max(1, min(delays)))
            rest = [DOWN if relay.clock.now < began + 4 * 3600 else tenant.rest]
        assert relay.dead_letters.messages == []
        assert (pages(relay)[0][0], relay.recorder.metrics().get("page_missing", 0)) == (
            (("page-1",), 0) if makes_pages else ((), 1)
        )

    def test_followup_that_hangs_ends_within_its_time_limit(self, tenant: Tenant) -> None:
        def hangs(call: Call) -> HttpAnswer:
            relay.clock.now += call.seconds
            raise requests.ReadTimeout

        relay = new_relay(tenant, rest=FakeSession(hangs))
        relay.share()
        began = relay.clock.now
        relay.wake(36)
        assert relay.clock.now - began == pytest.approx(36 + BRIEF_SECONDS)

    def test_followup_with_a_wrong_base_url_is_dead_lettered(self, tenant: Tenant) -> None:
        relay = new_relay(tenant, rest=FakeSession(samples.refused(404)))
        relay.share()
        relay.wake(36)
        [dead] = relay.dead_letters.jobs()
        assert (dead.kind, dead.stamps.reason, relay.delays()) == ("followup", "refused", [])

    def test_followup_is_retried_after_a_failure_of_the_ledger(self, tenant: Tenant) -> None:
        relay = new_relay(tenant)
        relay.share()
        relay.dynamodb.refuses_writes = True
        relay.wake(36)
        assert [job.stamps.reason for job in relay.chores.jobs()] == ["internal"]
        relay.dynamodb.refuses_writes = False
        relay.wake(60)
        assert pages(relay)[0][0] == ("page-1",)

    def test_credential_is_not_in_jobs_or_logs_of_a_failed_followup(self, tenant: Tenant) -> None:
        relay = new_relay(tenant, rest=FakeSession(samples.refused(400, b"rest-pw is odd")))
        relay.share()
        relay.wake(36)
        kept = relay.dead_letters.messages[0]["MessageBody"]
        assert "is odd" in kept
        assert "rest-pw" not in kept + relay.recorder.written()


def test_followup_asks_nothing_while_the_table_is_down(tenant: Tenant) -> None:
    relay = new_relay(tenant)
    relay.share()
    relay.dynamodb.failure = EndpointConnectionError(endpoint_url="https://dynamodb")
    relay.wake(36)
    assert tenant.asked == []
    relay.dynamodb.failure = None
    relay.wake(60)
    assert tenant.asked == ["r1"]

"""Follow-up of signals: pages are found or reported missing, and pages of ours end with their incident."""

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from botocore.exceptions import EndpointConnectionError

from relay.delivery.page_followup import LOOK_FOR_SECONDS
from relay.entrypoints.chores import FOLLOWUP_SECONDS
from relay.errors import QueueError
from relay.http.session import HttpAnswer
from relay.jobs.outcome import Outcome
from relay.ledger.entry import Entry
from relay.ledger.entry_key import key
from relay.xmatters.pages import MAX_PAGES
from tests import samples
from tests.fake_dynamodb import FakeDynamoDb
from tests.fakes import Call, FakeSecrets, FakeSession, HookedDynamoDb, Relay, Step, worked
from tests.unit.states import NOW, over, state

DEAD = "2027-01-15T07:30:00.000Z"

if TYPE_CHECKING:
    from collections.abc import Callable

REST = {"base_url": "https://acme.xmatters.com", "auth": {"type": "basic", "username": "relay", "password": "rest-pw"}}
LATER = 1_800_000_001
DOWN = samples.refused(503)


class Tenant:
    """xMatters, which makes a page of each signal, `after` seconds after it accepted the signal."""

    def __init__(self) -> None:
        self.after = 0.0
        self.makes_pages = True
        # Request ids of signals without a page.
        self.hidden: set[str] = set()
        self.signals: list[float] = []
        self.ended: list[str] = []
        self.asked: list[str] = []
        self.now: Callable[[], float] = lambda: 0.0

    def accept(self, _: Call) -> HttpAnswer:
        self.signals.append(self.now())
        return samples.accepted(f"r{len(self.signals)}")

    def rest(self, call: Call) -> HttpAnswer:
        if call.method == "POST":
            document = json.loads(call.body)
            assert document["status"] == "TERMINATED"
            self.ended.append(document["id"])
            return HttpAnswer(200, {}, call.body)
        [request_id] = parse_qs(urlsplit(call.url).query)["requestId"]
        self.asked.append(request_id)
        number = int(request_id[1:])
        is_there = (
            self.makes_pages and request_id not in self.hidden and self.now() >= self.signals[number - 1] + self.after
        )
        status = "TERMINATED" if f"page-{number}" in self.ended else "ACTIVE"
        page = {"id": f"page-{number}", "eventId": f"40800{number}", "status": status}
        return HttpAnswer(200, {}, json.dumps({"data": [page] if is_there else []}).encode())


def room(
    tenant: Tenant,
    *steps: Step,
    rest: FakeSession | None = None,
    policy: dict[str, Any] | None = None,
    dynamodb: FakeDynamoDb | None = None,
) -> Relay:
    document = samples.secret(policy={"min_seconds_between_signals": 0, **(policy or {})})
    document["xmatters"]["rest"] = REST
    relay = Relay(
        FakeSession(*steps, tenant.accept),
        secrets=FakeSecrets(noc=json.dumps(document)),
        rest=rest or FakeSession(tenant.rest),
        dynamodb=dynamodb or FakeDynamoDb(),
    )
    tenant.now = relay.clock
    return relay


@pytest.fixture
def tenant() -> Tenant:
    return Tenant()


def pages(relay: Relay) -> list[tuple[tuple[str, ...], str, bool, bool]]:
    return [(each.pages, each.number, each.is_over, each.is_lost) for each in relay.entry().accepted_signals]


class TestConfirm:
    def test_kept_job_finds_the_page_of_its_signal(self, tenant: Tenant) -> None:
        relay = room(tenant)
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
        relay = room(tenant)
        relay.share()
        relay.drain()
        assert pages(relay)[0][0] == ("page-1",)
        assert 2 <= len(tenant.asked) <= 6
        assert "unconfirmed" not in {line["message"][:11] for line in relay.recorder.lines()}

    def test_critical_without_a_page_is_logged_and_notified_by_the_sweeper(self, tenant: Tenant) -> None:
        tenant.makes_pages = False
        relay = room(tenant)
        relay.share(description="disk full")
        began = relay.clock.now
        relay.drain()
        assert LOOK_FOR_SECONDS < relay.clock.now - began < LOOK_FOR_SECONDS + 90
        assert relay.recorder.metrics()["unconfirmed"] == 1
        assert (relay.sns.published, relay.entry().debt.unconfirmed) == ([], True)
        for _ in range(10):
            relay.sweep()
        [message] = relay.sns.published
        assert message["Subject"] == "CRITICAL, xMatters did not notify: incident i1 of channel noc"
        assert "xMatters accepted its signal (request id r1) and made no page of it" in message["Message"]
        assert 'Incident i1: \\"disk full\\"' in message["Message"], "the follow-up's job has the words"
        assert "in_flight" not in message["Message"]
        [line] = [line for line in relay.recorder.lines() if line["message"].startswith("unconfirmed")]
        assert line["request_id"] == "r1"
        assert pages(relay)[0][3]
        # The fallback topic was notified, so nothing is left to do.
        assert (relay.entry().debt.unconfirmed, relay.entry().debt.row) == (False, None)
        assert len(relay.session.calls) == 1

    def test_fallback_topic_is_not_notified_of_a_warning_without_a_page(self, tenant: Tenant) -> None:
        tenant.makes_pages = False
        relay = room(tenant)
        relay.share(status="warning")
        relay.drain()
        relay.sweep()
        assert (relay.sns.published, relay.recorder.metrics()["unconfirmed"]) == ([], 1)

    def test_fallback_is_notified_of_a_critical_without_a_page_although_the_job_of_a_warning_looks_for_it(
        self, tenant: Tenant
    ) -> None:
        tenant.makes_pages = False
        relay = room(tenant)
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
        relay = room(tenant)
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
        relay = room(tenant, meets)
        relay.share()
        relay.drain()
        assert [each[3] for each in pages(relay)] == [True, True]
        assert relay.entry().debt.unconfirmed

    def test_resolve_without_a_page_is_not_unconfirmed(self, tenant: Tenant) -> None:
        relay = room(tenant)
        relay.share()
        relay.wake(36)
        tenant.makes_pages = False
        relay.share(status="ok", changedOn=LATER)
        relay.drain()
        relay.sweep()
        assert (relay.sns.published, relay.recorder.metrics().get("unconfirmed")) == ([], None)

    def test_missing_page_is_reported_although_the_next_page_cannot_be_asked_for(self, tenant: Tenant) -> None:
        tenant.makes_pages = False
        relay = room(tenant, rest=FakeSession(tenant.rest, DOWN, tenant.rest))
        relay.share()
        relay.clock.now += LOOK_FOR_SECONDS
        relay.share(status="warning", changedOn=LATER)
        relay.wake(36)
        assert tenant.asked == ["r1", "r2"]
        relay.sweep()
        assert (len(relay.sns.published), relay.recorder.metrics()["unconfirmed"]) == (1, 1)

    @pytest.mark.parametrize("content", [b"<html>log in, rest-pw", b'{"data": [{"id": "page-1', b'{"data": {}}', b"[]"])
    def test_unreadable_answer_of_xmatters_does_not_count_as_no_page(self, tenant: Tenant, content: bytes) -> None:
        relay = room(tenant, rest=FakeSession(HttpAnswer(200, {}, content)))
        relay.share()
        relay.wake(LOOK_FOR_SECONDS + 36)
        assert [(job.kind, job.failures.reason) for job in relay.chores.jobs()] == [("followup", "upstream")]
        assert not pages(relay)[0][3]
        assert "rest-pw" not in repr(relay.chores.jobs()) + relay.recorder.written()

    def test_page_of_another_request_is_not_taken_for_ours(self, tenant: Tenant) -> None:
        theirs = {"id": "page-9", "eventId": "1", "status": "ACTIVE", "requestId": "another"}
        ours = {"id": "page-1", "eventId": "2", "status": "ACTIVE", "requestId": "R1"}
        found = HttpAnswer(200, {}, json.dumps({"data": [theirs, ours]}).encode())
        relay = room(tenant, rest=FakeSession(found))
        relay.share()
        relay.wake(36)
        assert pages(relay)[0][:2] == (("page-1",), "2")

    def test_pages_and_numbers_are_cut_to_the_size_that_the_ledger_keeps(self, tenant: Tenant) -> None:
        many = [{"id": f"p{number}", "eventId": "7" * 9000} for number in range(1000)]
        relay = room(
            tenant, rest=FakeSession(HttpAnswer(200, {}, json.dumps({"data": [{"id": "x" * 101}, *many]}).encode()))
        )
        relay.share()
        relay.wake(36)
        found = relay.entry().accepted_signals[0]
        assert (found.pages, len(found.number)) == (tuple(f"p{number}" for number in range(MAX_PAGES)), 100)

    def test_page_is_looked_for_past_the_channels_max_age(self, tenant: Tenant) -> None:
        tenant.makes_pages = False
        relay = room(tenant, policy={"max_age_seconds": 60})
        relay.share()
        relay.drain()
        assert (relay.dead_letters.messages, relay.recorder.metrics()["unconfirmed"]) == ([], 1)

    def test_page_of_a_revived_signal_is_followed_however_old_the_signal_is(self, tenant: Tenant) -> None:
        relay = room(tenant)
        worked(relay, samples.job(recipients=(), received_at="2027-01-15T01:00:00.000Z", dead_lettered_at=DEAD))
        relay.wake(10)
        assert (tenant.asked, relay.dead_letters.messages) == (["r1"], [])

    def test_worker_of_signals_leaves_the_followup_to_the_chore_queue(self, tenant: Tenant) -> None:
        relay = room(tenant)
        relay.share()
        relay.clock.now += 36
        assert relay.worker.work(relay.retries.records()) == []
        [followup] = relay.chores.jobs()
        assert (followup.kind, followup.incident_id, relay.chores.delays()) == ("followup", "i1", [0])
        assert relay.rest.calls == [], "an API that hangs must not take the time of signals"

    def test_signal_stays_on_the_retry_queue_while_no_queue_takes_its_followup(self, tenant: Tenant) -> None:
        relay = room(tenant)
        relay.share()
        relay.chores.failure = EndpointConnectionError(endpoint_url="https://sqs")
        relay.wake(36)
        assert [(job.kind, job.failures.reason) for job in relay.retries.jobs()] == [("signal", "in_flight")]
        assert relay.recorder.metrics().get("signal_failed") is None
        relay.chores.failure = None
        relay.drain()
        assert (pages(relay)[0][0], len(relay.session.calls)) == (("page-1",), 1)

    def test_followup_on_the_retry_queue_is_worked(self, tenant: Tenant) -> None:
        tenant.after = 60
        relay = room(tenant)
        relay.share()
        relay.wake(36)
        # AWS's own redrive moves jobs of all kinds to one queue.
        relay.retries.messages, relay.chores.messages = relay.chores.messages, []
        relay.wake(18)
        assert tenant.asked == ["r1", "r1"]
        assert [job.kind for job in relay.chores.jobs()] == ["followup"], "its next wait is on the chore queue"
        relay.drain()
        assert pages(relay)[0][0] == ("page-1",)

    def test_followup_of_an_overtaken_signal_looks_once(self, tenant: Tenant) -> None:
        tenant.after = 100
        relay = room(tenant)
        relay.share(status="warning")
        relay.share(status="critical", changedOn=LATER)
        overtaken, newest = relay.retries.messages
        relay.retries.messages = [overtaken]
        relay.wake(36)
        assert (tenant.asked, relay.delays()) == (["r1", "r2"], [])
        relay.retries.messages = [newest]
        relay.drain()
        assert [found[0] for found in pages(relay)] == [("page-1",), ("page-2",)]

    def test_signal_from_the_retry_queue_is_followed(self, tenant: Tenant) -> None:
        relay = room(tenant, DOWN, DOWN, DOWN)
        relay.share()
        relay.wake(36)
        assert [job.kind for job in relay.chores.jobs()] == ["followup"]
        relay.wake(10)
        assert pages(relay)[0][0] == ("page-1",)
        assert relay.delays() == []

    def test_page_of_a_revived_signal_is_followed(self, tenant: Tenant) -> None:
        relay = room(tenant)
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
        relay = room(tenant, rest=FakeSession(step, tenant.rest))
        relay.share()
        relay.wake(36)
        [waiting] = relay.chores.jobs()
        assert (waiting.kind, waiting.failures.reason, waiting.failures.rounds) == ("followup", reason, 1)
        relay.wake(301)
        assert (pages(relay)[0][0], len(relay.session.calls)) == (("page-1",), 1)

    @pytest.mark.parametrize("makes_pages", [True, False])
    def test_followup_outlives_an_outage_of_hours(self, tenant: Tenant, makes_pages: bool) -> None:
        tenant.makes_pages = makes_pages
        rest: list[Step] = [DOWN]

        def answer(call: Call) -> HttpAnswer:
            step = rest[0]
            return step if isinstance(step, HttpAnswer) else tenant.rest(call)

        relay = room(tenant, rest=FakeSession(answer))
        relay.share()
        began = relay.clock.now
        while delays := relay.delays():
            relay.wake(max(1, min(delays)))
            rest = [DOWN if relay.clock.now < began + 4 * 3600 else tenant.rest]
        assert relay.dead_letters.messages == []
        assert (pages(relay)[0][0], relay.recorder.metrics().get("unconfirmed", 0)) == (
            (("page-1",), 0) if makes_pages else ((), 1)
        )

    def test_followup_that_hangs_ends_within_its_time_limit(self, tenant: Tenant) -> None:
        def hangs(call: Call) -> HttpAnswer:
            relay.clock.now += call.seconds
            raise requests.ReadTimeout

        relay = room(tenant, rest=FakeSession(hangs))
        relay.share()
        began = relay.clock.now
        relay.wake(36)
        assert relay.clock.now - began == pytest.approx(36 + FOLLOWUP_SECONDS)

    def test_followup_with_a_wrong_base_url_is_dead_lettered(self, tenant: Tenant) -> None:
        relay = room(tenant, rest=FakeSession(samples.refused(404)))
        relay.share()
        relay.wake(36)
        [dead] = relay.dead_letters.jobs()
        assert (dead.kind, dead.failures.reason, relay.delays()) == ("followup", "refused", [])

    def test_followup_is_retried_after_a_failure_of_the_ledger(self, tenant: Tenant) -> None:
        relay = room(tenant)
        relay.share()
        relay.dynamodb.refuses_writes = True
        relay.wake(36)
        assert [job.failures.reason for job in relay.chores.jobs()] == ["internal"]
        relay.dynamodb.refuses_writes = False
        relay.wake(60)
        assert pages(relay)[0][0] == ("page-1",)

    def test_credential_is_not_in_jobs_or_logs_of_a_failed_followup(self, tenant: Tenant) -> None:
        relay = room(tenant, rest=FakeSession(samples.refused(400, b"rest-pw is odd")))
        relay.share()
        relay.wake(36)
        kept = relay.dead_letters.messages[0]["MessageBody"]
        assert "is odd" in kept
        assert "rest-pw" not in kept + relay.recorder.written()


class TestEnd:
    def test_resolve_ends_the_pages_before_it_and_not_its_own(self, tenant: Tenant) -> None:
        relay = room(tenant)
        relay.share()
        relay.wake(36)
        relay.share(status="ok", changedOn=LATER)
        relay.wake(36)
        assert tenant.ended == ["page-1"]
        assert [is_over for _, _, is_over, _ in pages(relay)] == [True, False]

    def test_resolve_ends_a_page_that_was_not_followed_yet(self, tenant: Tenant) -> None:
        relay = room(tenant)
        relay.share()
        relay.share(status="ok", changedOn=LATER)
        relay.wake(36)
        assert tenant.ended == ["page-1"]
        assert relay.delays() == []

    def test_newer_page_replaces_the_older_one(self, tenant: Tenant) -> None:
        relay = room(tenant)
        relay.share(status="warning")
        relay.share(status="critical", changedOn=LATER)
        relay.wake(36)
        assert tenant.ended == ["page-1"]

    def test_older_page_is_not_ended_before_the_newer_one_is_found(self, tenant: Tenant) -> None:
        relay = room(tenant)
        relay.share(status="warning")
        relay.wake(36)
        tenant.after = 100
        relay.share(status="critical", changedOn=LATER)
        relay.wake(36)
        assert tenant.ended == []
        relay.drain()
        assert tenant.ended == ["page-1"]

    def test_older_page_is_not_ended_if_the_newer_one_is_over_when_it_is_found(self, tenant: Tenant) -> None:
        relay = room(tenant)
        relay.share(status="warning")
        relay.share(status="critical", changedOn=LATER)
        # xMatters ended the newer page by itself, perhaps because it could notify nobody.
        tenant.ended.append("page-2")
        relay.wake(36)
        assert tenant.ended == ["page-2"]

    def test_older_page_is_not_ended_by_a_newer_one_if_replace_is_off(self, tenant: Tenant) -> None:
        relay = room(tenant, policy={"replace": False})
        for second, status in enumerate(("warning", "critical", "ok")):
            relay.share(status=status, changedOn=LATER + second)
            relay.wake(36)
            assert tenant.ended == ([] if status != "ok" else ["page-1", "page-2"])

    def test_followup_of_a_resolve_ends_the_page_although_the_incident_is_open_again(self, tenant: Tenant) -> None:
        relay = room(tenant, policy={"replace": False})
        for seconds, status in enumerate(("critical", "ok")):
            relay.clock.now += 20
            relay.share(status=status, changedOn=LATER + seconds)
        relay.clock.now += 20
        relay.share(status="critical", changedOn=LATER + 3)
        assert tenant.ended == []
        [of_the_resolve] = [message for message in relay.retries.messages if '"status":"ok"' in message["MessageBody"]]
        relay.retries.messages[:] = [of_the_resolve]
        relay.wake(16)
        assert tenant.ended == ["page-1"]
        assert relay.delays() == [], "the newer one's job sees to the rest"

    def test_page_of_a_reopened_incident_is_not_ended_by_the_resolve_before_it(self, tenant: Tenant) -> None:
        relay = room(tenant, policy={"replace": False})
        for second, status in enumerate(("critical", "ok", "critical")):
            relay.share(status=status, changedOn=LATER + second)
        relay.wake(36)
        assert tenant.ended == ["page-1"]

    @pytest.mark.parametrize("status", [404, 409])
    def test_page_that_xmatters_says_is_over_already_counts_as_ended(self, tenant: Tenant, status: int) -> None:
        relay = room(tenant)
        relay.share()
        relay.wake(36)
        relay = relay.with_rest(FakeSession(tenant.rest, tenant.rest, samples.refused(status)))
        relay.share(status="ok", changedOn=LATER)
        relay.wake(36)
        assert [is_over for _, _, is_over, _ in pages(relay)] == [True, False]
        assert relay.delays() == []

    def test_resolve_that_is_noted_late_does_not_end_a_page_that_was_raised_after_it(self, tenant: Tenant) -> None:
        relay = room(tenant, policy={"replace": False})
        # The sender of the resolve was so slow to record it that another sender announced the next state meanwhile.
        entry = Entry().announcing(state(), "r1", NOW).announcing(state(40), "r3", NOW + 40)
        entry = entry.announcing(over(20), "r2", NOW + 20)
        assert relay.ledger.write(key("noc", (), "i1"), Entry(), entry)
        tenant.signals = [NOW, NOW + 20, NOW + 40]
        relay.retries.queue().send(samples.job(kind="followup", recipients=()))
        relay.wake(60)
        assert tenant.ended == ["page-1"]

    def test_page_that_one_of_two_concurrent_followups_found_is_not_lost(self, tenant: Tenant) -> None:
        table = HookedDynamoDb()
        relay = room(tenant, dynamodb=table)
        tenant.after = LOOK_FOR_SECONDS + 1
        relay.share()
        relay.retries.messages.clear()
        other = relay.with_rest(FakeSession(tenant.rest))
        job = samples.job(kind="followup", recipients=())

        def meanwhile() -> None:
            # The first follow-up has asked for the last time, and found nothing.
            relay.clock.now += 1
            worked(other, job)

        relay.clock.now += LOOK_FOR_SECONDS + 0.5
        table.before["update_item", table.calls.count("update_item")] = meanwhile
        worked(relay, job)
        assert pages(relay)[0][0] == ("page-1",)

    def test_followup_out_of_time_goes_on_at_once_if_it_made_progress(self, tenant: Tenant) -> None:
        def slow(call: Call) -> HttpAnswer:
            relay.clock.now += 2
            return tenant.rest(call)

        relay = room(tenant, rest=FakeSession(slow))
        for seconds, status in enumerate(("critical", "ok", "critical", "ok")):
            relay.share(status=status, changedOn=LATER + seconds)
        worked(relay, samples.job(kind="followup", recipients=()))
        [again] = relay.chores.jobs()
        assert (again.failures.reason, again.failures.rounds, relay.chores.delays()) == ("in_flight", 0, [0])
        relay.drain()
        assert tenant.ended == ["page-1", "page-2", "page-3"]

    def test_followup_out_of_time_without_progress_waits_for_its_backoff(self, tenant: Tenant) -> None:
        def hangs(_: Call) -> HttpAnswer:
            relay.clock.now += FOLLOWUP_SECONDS
            raise requests.ReadTimeout

        relay = room(tenant, rest=FakeSession(hangs))
        relay.share()
        worked(relay, samples.job(kind="followup", recipients=()))
        [again] = relay.chores.jobs()
        assert (again.failures.reason, again.failures.rounds) == ("timeout", 1)
        assert relay.chores.delays()[0] > 0

    def test_page_that_a_person_ended_is_not_ended_again(self, tenant: Tenant) -> None:
        relay = room(tenant)
        relay.share()
        tenant.ended.append("page-1")
        relay.share(status="ok", changedOn=LATER)
        relay.wake(36)
        assert tenant.ended == ["page-1"]

    def test_page_that_a_flow_made_later_is_ended_by_the_resolve(self, tenant: Tenant) -> None:
        relay = room(tenant)
        relay.share()
        relay.wake(36)
        late, ended = [{"id": f"page-{number}", "eventId": str(number), "status": "ACTIVE"} for number in (1, 2)], []

        def rest(call: Call) -> HttpAnswer:
            if call.method == "POST":
                ended.append(json.loads(call.body)["id"])
            return HttpAnswer(200, {}, json.dumps({"data": late if "requestId=r1" in call.url else []}).encode())

        relay.share(status="ok", changedOn=LATER)
        relay.with_rest(FakeSession(rest)).wake(36)
        assert ended == ["page-1", "page-2"]

    def test_page_that_came_after_the_search_is_ended_by_the_resolve(self, tenant: Tenant) -> None:
        relay = room(tenant)
        relay.share()
        nothing = relay.with_rest(FakeSession(HttpAnswer(200, {}, b'{"data": []}')))
        nothing.wake(36)
        nothing.wake(LOOK_FOR_SECONDS)
        assert relay.entry().accepted_signals[0].is_lost
        relay.share(status="ok", changedOn=LATER)
        relay.wake(36)
        assert tenant.ended == ["page-1"]

    def test_page_for_the_acknowledger_alone_does_not_end_the_page_of_all(self, tenant: Tenant) -> None:
        document = samples.secret(policy={"min_seconds_between_signals": 0})
        document["xmatters"] |= {"callback": {"token": "t"}, "rest": REST}
        secrets = FakeSecrets(noc=json.dumps(document))
        relay = Relay(FakeSession(tenant.accept), secrets=secrets, rest=FakeSession(tenant.rest))
        tenant.now = relay.clock
        relay.share()
        relay.wake(36)
        entry = relay.entry()
        relay.ledger.write(key("noc", (), "i1"), entry, entry.acknowledged("jdoe", relay.clock.now))
        relay.share(status="warning", changedOn=LATER)
        relay.wake(36)
        assert [raised.is_for_one for raised in relay.entry().accepted_signals] == [False, True]
        assert tenant.ended == []
        relay.share(status="critical", changedOn=LATER + 1)
        relay.wake(36)
        assert tenant.ended == ["page-1", "page-2"]

    def test_page_of_another_team_is_not_ended_by_a_newer_page(self, tenant: Tenant) -> None:
        routes = [{"when": {"status": "critical"}, "recipients": ["A"]}, {"when": {}, "recipients": ["B"]}]
        relay = room(tenant, policy={"routes": routes})
        relay.share(status="critical")
        relay.share(status="warning", changedOn=LATER)
        relay.wake(36)
        assert tenant.ended == []
        relay.share(status="critical", changedOn=LATER + 1)
        relay.wake(36)
        assert tenant.ended == ["page-1"], "the third page notifies A again, and B not"

    @pytest.mark.parametrize(
        ("first", "second", "ended"),
        [
            (["A"], ["A", "B"], ["page-1"]),
            (["A", "B"], ["B", "A"], ["page-1"]),
            (["A", "B"], ["A"], []),
            ([], ["A"], []),
            (["A"], [], []),
            ([], [], ["page-1"]),
        ],
    )
    def test_newer_page_ends_the_older_one_only_if_it_notifies_the_same_people_or_more(
        self, tenant: Tenant, first: list[str], second: list[str], ended: list[str]
    ) -> None:
        routes = [{"when": {"status": "warning"}, "recipients": first}, {"when": {}, "recipients": second}]
        relay = room(tenant, policy={"routes": routes})
        relay.share(status="warning")
        relay.share(status="critical", changedOn=LATER)
        relay.wake(36)
        assert tenant.ended == ended

    def test_fault_while_pages_are_ended_leaves_the_rest_for_later_and_ends_none_twice(self, tenant: Tenant) -> None:
        relay = room(tenant, policy={"replace": False})
        for second, status in enumerate(("warning", "critical", "ok")):
            relay.share(status=status, changedOn=LATER + second)
        # Each of the three jobs meets a fault; the last one retries.
        failing = FakeSession(*[tenant.rest] * 6, DOWN, DOWN, DOWN, tenant.rest)
        relay = relay.with_rest(failing)
        relay.wake(36)
        assert tenant.ended == ["page-1"]
        relay.wake(60)
        assert tenant.ended == ["page-1", "page-2"]


SILENT: dict[str, Any] = {"notify_on": ["opened", "worsened", "reopened"], "replace": False}


class TestUnannouncedResolve:
    """Resolves that the policy does not name: no signal is sent, and the pages end."""

    def test_unannounced_resolve_ends_the_pages(self, tenant: Tenant) -> None:
        relay = room(tenant, policy=SILENT)
        relay.share()
        relay.wake(36)
        assert relay.share(status="ok", changedOn=LATER).outcome == Outcome.UNCHANGED
        relay.wake(0)
        assert (tenant.ended, len(tenant.signals), relay.retries.messages) == (["page-1"], 1, [])

    def test_unannounced_resolve_without_a_page_keeps_no_job(self, tenant: Tenant) -> None:
        relay = room(tenant, policy=SILENT)
        relay.share(status="ok")
        assert relay.delays() == []

    def test_repeated_unannounced_resolve_keeps_no_job(self, tenant: Tenant) -> None:
        relay = room(tenant, policy=SILENT)
        relay.share()
        relay.retries.messages.clear()
        for seconds in range(3):
            relay.share(status="ok", changedOn=LATER + seconds)
        assert [(job.kind, job.payload.status) for job in relay.retries.jobs()] == [("signal", "ok")]

    def test_unannounced_resolve_ends_the_page_if_the_worker_is_faster_than_the_ledgers_note(
        self, tenant: Tenant
    ) -> None:
        table = HookedDynamoDb()
        relay = room(tenant, policy=SILENT, dynamodb=table)
        relay.share()
        relay.wake(36)
        table.before["update_item", table.calls.count("update_item")] = lambda: relay.wake(0)
        relay.share(status="ok", changedOn=LATER)
        assert tenant.ended == ["page-1"]
        relay.wake(60)
        assert relay.delays() == []

    def test_unannounced_resolve_ends_the_page_after_a_crash_before_the_ledgers_note(self, tenant: Tenant) -> None:
        def dies() -> None:
            raise SystemExit

        table = HookedDynamoDb()
        relay = room(tenant, policy=SILENT, dynamodb=table)
        relay.share()
        relay.wake(36)
        table.before["update_item", table.calls.count("update_item")] = dies
        with pytest.raises(SystemExit):
            relay.share(status="ok", changedOn=LATER)
        relay.wake(0)
        assert tenant.ended == ["page-1"]

    def test_unannounced_resolve_does_not_end_the_page_of_the_reopened_incident(self, tenant: Tenant) -> None:
        relay = room(tenant, policy=SILENT)
        for seconds, status in enumerate(("critical", "ok", "critical")):
            relay.share(status=status, changedOn=LATER + seconds)
        relay.wake(36)
        assert tenant.ended == ["page-1"]
        assert [is_over for _, _, is_over, _ in pages(relay)] == [True, False]

    def test_unannounced_resolve_ends_the_page_of_a_signal_that_was_in_flight(self, tenant: Tenant) -> None:
        results: list[Outcome] = []

        def meets(call: Call) -> HttpAnswer:
            results.append(relay.share(status="ok", changedOn=LATER).outcome)
            return tenant.accept(call)

        relay = room(tenant, meets, policy=SILENT)
        relay.share()
        assert results == [Outcome.UNCHANGED]
        relay.wake(36)
        assert tenant.ended == ["page-1"]

    def test_unannounced_resolve_is_unsafe_and_not_noted_if_no_queue_takes_the_job(self, tenant: Tenant) -> None:
        relay = room(tenant, policy=SILENT)
        relay.share()
        relay.wake(36)
        relay.retries.failure = EndpointConnectionError(endpoint_url="https://sqs")
        result = relay.share(status="ok", changedOn=LATER)
        assert (result.outcome, bool(result.notices.last_copy)) == (Outcome.UNSAFE, True)
        relay.retries.failure = None
        assert relay.share(status="ok", changedOn=LATER).outcome == Outcome.UNCHANGED
        relay.wake(0)
        assert tenant.ended == ["page-1"]

    def test_unannounced_resolve_from_the_retry_queue_ends_the_pages(self, tenant: Tenant) -> None:
        relay = room(tenant, policy=SILENT)
        relay.share()
        relay.wake(36)
        body = samples.body(status="ok", changedOn=LATER)
        waited = samples.job(recipients=(), body=body, version=(LATER, LATER), status="ok", digest=None)
        relay.retries.queue().send(waited)
        relay.wake(0)
        assert (tenant.ended, len(tenant.signals)) == (["page-1"], 1)

    def test_unannounced_resolve_keeps_no_job_without_credentials_for_the_rest_api(self) -> None:
        document = samples.secret(policy=SILENT)
        relay = Relay(FakeSession(samples.accepted()), secrets=FakeSecrets(noc=json.dumps(document)))
        relay.share()
        relay.retries.messages.clear()
        relay.share(status="ok", changedOn=LATER)
        assert relay.delays() == []


def test_followup_asks_nothing_while_the_table_is_down(tenant: Tenant) -> None:
    relay = room(tenant)
    relay.share()
    relay.dynamodb.failure = EndpointConnectionError(endpoint_url="https://dynamodb")
    relay.wake(36)
    assert tenant.asked == []
    relay.dynamodb.failure = None
    relay.wake(60)
    assert tenant.asked == ["r1"]

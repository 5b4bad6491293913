"""Failed shares: the queue or the ledger row that keeps a state if xMatters or a queue does not accept it."""

import json
from typing import Any

import pytest
import requests

from relay.delivery.debts import FIRST_WAKE_SECONDS
from relay.entrypoints.authenticated_endpoint import INLINE_SECONDS
from relay.failures.errors import QueueError
from relay.failures.reasons import HANDLING, Reason
from relay.jobs.envelope import read_envelope
from relay.jobs.job import Flag
from relay.jobs.outbox import MAX_LOGGED_CHARACTERS
from relay.jobs.outcome import Outcome, Result
from relay.ledger.row import Row
from tests import samples
from tests.fakes import Call, FakeSqs, HookedDynamoDb, Relay, Step, new_relay, table_down, worked

DOWN = samples.refused(503, b"<h1>Service Unavailable</h1>")
REFUSED = samples.refused(404, b"no such trigger")
NO = QueueError("SQS refused the message: AccessDenied")
LATER = 1_800_000_001


class TestNotAccepted:
    # A relay that answers 400 while the provider is down makes the sender give up; ours answers `queued`.
    @pytest.mark.parametrize(
        ("failure", "reason"),
        [
            (DOWN, Reason.UPSTREAM),
            (samples.refused(429), Reason.RATE_LIMITED),
            (samples.refused(404), Reason.REFUSED),
            (samples.refused(302), Reason.REFUSED),
            (samples.refused(401), Reason.CREDENTIALS),
            (samples.refused(403), Reason.CREDENTIALS),
            (requests.ReadTimeout("late"), Reason.TIMEOUT),
            (requests.ConnectTimeout("gone"), Reason.UNREACHABLE),
            (ZeroDivisionError(), Reason.INTERNAL),
        ],
        ids=lambda value: str(value) if isinstance(value, Reason) else "",
    )
    def test_failed_share_is_on_the_queue_that_its_reason_calls_for(self, failure: Step, reason: Reason) -> None:
        relay = new_relay(failure)
        result = relay.share()
        queue_name = "dead_letter" if HANDLING[reason].is_final else "retry"
        assert (result.outcome, result.reason, result.queue) == (Outcome.QUEUED, reason, queue_name)
        queue = {"retry": relay.retries, "dead_letter": relay.dead_letters}[queue_name]
        assert [job.body for job in queue.jobs()] == [samples.body()]
        assert len(relay.retries.messages) == 1

    def test_ledger_keeps_attempts_and_debt_of_a_failed_share(self) -> None:
        relay = new_relay(DOWN, chance=0.5)
        started = relay.clock.now
        result = relay.share()
        assert (result.exchange.attempts, result.exchange.http_status) == (3, 503)
        assert relay.clock.now - started == 0.75
        entry = relay.entry()
        assert (entry.lease, entry.announced, entry.signal_times, entry.doubtful) == (None, None, (), ())
        assert (entry.debt.attempts, entry.debt.since, entry.is_given_up) == (3, started, False)
        assert entry.newest
        assert entry.newest.version == (1_800_000_000, 1_800_000_000)

    def test_attempts_of_the_worker_count_on_from_the_inline_attempts(self) -> None:
        relay = new_relay(DOWN, DOWN, DOWN, samples.accepted("r9"))
        relay.share()
        relay.wake()
        assert [call.headers["X-Relay-Attempt"] for call in relay.session.calls] == ["1", "2", "3", "4"]
        assert relay.retries.messages == []
        entry = relay.entry()
        assert ([each.request_id for each in entry.accepted_signals], entry.debt.since) == (["r9"], None)

    @pytest.mark.parametrize(
        ("failure", "says"),
        [(requests.ReadTimeout("late"), "true"), (requests.ConnectTimeout("gone"), None), (DOWN, None)],
        ids=["late", "never connected", "down"],
    )
    def test_retry_says_may_repeat_only_after_an_attempt_that_may_have_notified(
        self, failure: Step, says: str | None
    ) -> None:
        relay = new_relay(failure)
        relay.share()
        relay.wake()
        assert relay.session.calls[-1].headers.get("X-Relay-May-Repeat") == says

    def test_timeout_is_kept_as_doubtful_state_and_counted_signal(self) -> None:
        relay = new_relay(requests.ReadTimeout("late"))
        result = relay.share()
        entry = relay.entry()
        assert result.exchange.may_have_acted
        assert (len(entry.doubtful), entry.signal_times, entry.announced) == (1, (relay.clock.now,), None)

    def test_share_without_time_for_an_attempt_is_queued_and_sends_nothing(self) -> None:
        relay = new_relay()
        result = relay.share(seconds=1.5)
        assert (result.outcome, result.reason, result.exchange.attempts) == (Outcome.QUEUED, Reason.TIMEOUT, 0)
        assert not result.exchange.may_have_acted
        assert (relay.session.calls, relay.entry().debt.attempts) == ([], 0)


class TestRefused:
    def test_refused_share_is_dead_lettered_at_once_with_its_whole_body(self) -> None:
        relay = new_relay(REFUSED)
        relay.share(recipients=("jdoe",))
        [job] = relay.dead_letters.jobs()
        assert job == samples.job(
            kind="signal",
            channel="noc",
            incident_id="i1",
            version=(1_800_000_000, 1_800_000_000),
            transition="opened",
            status="critical",
            recipients=("jdoe",),
            body=samples.body(),
            received_at="2027-01-15T08:00:00.000Z",
            first_failed_at="2027-01-15T08:00:00.000Z",
            last_failed_at="2027-01-15T08:00:00.000Z",
            attempts=1,
            reason="refused",
            http_status=404,
            response_excerpt="no such trigger",
            correlation_id="c1",
            digest=samples.share().digest,
            dead_lettered_at="2027-01-15T08:00:00.000Z",
            url_recipients=("jdoe",),
            plan=2,
        )
        assert relay.dead_letters.delays() == [0]

    def test_kept_job_of_a_refused_share_is_deleted_when_it_wakes(self) -> None:
        relay = new_relay(REFUSED)
        relay.share(status="warning")
        relay.wake()
        assert (relay.retries.messages, len(relay.session.calls)) == ([], 1)
        assert len(relay.dead_letters.messages) == 1

    def test_repeated_share_is_a_duplicate_of_a_dead_lettered_one(self) -> None:
        relay = new_relay(REFUSED)
        relay.share()
        assert relay.share().outcome == Outcome.DUPLICATE
        assert len(relay.dead_letters.messages) == 1

    def test_newer_state_is_sent_after_a_refused_one(self) -> None:
        relay = new_relay(REFUSED, samples.accepted())
        relay.share()
        result = relay.share(changedOn=LATER, comments=["on it"])
        assert (result.outcome, result.subject.transition) == (Outcome.DELIVERED, "opened")

    def test_refused_share_stays_on_the_retry_queue_if_the_dead_letter_queue_fails(self) -> None:
        relay = new_relay(REFUSED)
        relay.dead_letters.failure = NO
        result = relay.share(status="warning")
        assert (result.outcome, result.reason, result.queue) == (Outcome.QUEUED, Reason.REFUSED, "retry")
        assert not relay.entry().is_given_up
        relay.dead_letters.failure = None
        relay.wake()
        assert (len(relay.dead_letters.messages), relay.retries.messages) == (1, [])
        assert relay.dead_letters.jobs()[0].attempts == len(relay.session.calls) == 2


class TestNoRetryQueue:
    """Retry queue down: a share is sent nevertheless, and kept in the ledger if it is still owed then."""

    def broken(self, *steps: Step, **changes: Any) -> Relay:
        relay = new_relay(*steps, **changes)
        relay.retries.failure = NO
        return relay

    def test_share_is_sent_although_the_retry_queue_refuses_its_job(self) -> None:
        relay = self.broken()
        result = relay.share()
        assert (result.outcome, result.notices.unguarded) == (Outcome.DELIVERED, None)
        assert (len(relay.session.calls), relay.dead_letters.messages) == (1, [])
        assert relay.entry().announced
        assert relay.share().outcome == Outcome.DUPLICATE

    def test_paced_share_is_kept_in_the_ledger_and_sent_by_the_sweeper_when_its_spacing_ends(self) -> None:
        relay = self.broken(policy={"min_seconds_between_signals": 60})
        relay.share(status="warning")
        result = relay.share(status="unknown", changedOn=LATER)
        assert (result.outcome, result.reason, result.queue) == (Outcome.QUEUED, Reason.PACED, "ledger")
        assert relay.entry().debt.row == Row(result.until or 0.0, result.job.stored_name if result.job else "")
        relay.retries.failure = None
        relay.sweep(59)
        assert relay.retries.messages == []
        relay.sweep(1)
        relay.wake(0)
        assert [json.loads(call.body)["incident"]["status"] for call in relay.session.calls] == ["warning", "unknown"]

    def test_share_that_meets_a_live_lease_is_kept_in_the_ledger_without_the_retry_queue(self) -> None:
        def meanwhile(_: Call) -> Any:
            results.append(other.share(changedOn=LATER))
            return samples.accepted("r7")

        results: list[Result] = []
        relay = self.broken(meanwhile)
        other = relay.other(samples.accepted("r8"))
        assert relay.share(status="warning").outcome == Outcome.DELIVERED
        [result] = results
        assert (result.outcome, result.reason, result.queue) == (Outcome.QUEUED, Reason.IN_FLIGHT, "ledger")
        assert relay.clock.slept == [], "the share must not wait for the other sender"
        relay.retries.failure = None
        assert relay.sweep()["healed"] == 1
        other.wake(0)
        assert [call.headers["X-Relay-Attempt"] for call in other.session.calls] == ["1"]

    def test_state_that_flood_control_would_drop_is_kept_in_the_ledger_without_the_retry_queue(self) -> None:
        relay = self.broken()
        for number in range(5):
            relay.clock.now += 1
            result = relay.share(status="ok" if number % 2 else "critical", changedOn=LATER + number)
        assert (result.outcome, result.reason, result.queue) == (Outcome.QUEUED, Reason.PACED, "ledger")
        assert (len(relay.session.calls), relay.dead_letters.messages) == (4, [])

    def test_state_that_is_not_accepted_is_kept_in_the_ledger_without_the_retry_queue(self) -> None:
        relay = self.broken(DOWN)
        result = relay.share()
        assert (result.outcome, result.reason, result.queue) == (Outcome.QUEUED, Reason.UPSTREAM, "ledger")
        entry = relay.entry()
        assert entry.debt.row == Row(
            relay.clock.now + FIRST_WAKE_SECONDS, result.job.stored_name if result.job else "", is_critical=True
        )
        assert (entry.debt.reason, entry.debt.attempts) == ("upstream", 3)
        assert relay.dead_letters.messages == []

    def test_state_that_is_refused_is_dead_lettered_without_the_retry_queue(self) -> None:
        relay = self.broken(REFUSED)
        result = relay.share()
        assert (result.outcome, result.queue) == (Outcome.QUEUED, "dead_letter")
        [job] = relay.dead_letters.jobs()
        assert (job.stamps.reason, job.attempts, job.dead_lettered_at is None) == (
            result.reason,
            result.exchange.attempts,
            False,
        )
        assert relay.entry().is_given_up

    def test_refused_state_that_the_dead_letter_queue_does_not_take_is_kept_in_the_ledger(self) -> None:
        relay = self.broken(REFUSED)
        relay.dead_letters.failure = NO
        result = relay.share()
        assert (result.outcome, result.reason, result.queue) == (Outcome.QUEUED, Reason.REFUSED, "ledger")
        assert result.notices.last_copy is None, "it is not the only copy"
        relay.retries.failure = relay.dead_letters.failure = None
        relay.sweep()
        relay.wake(0)
        assert [job.stamps.reason for job in relay.dead_letters.jobs()] == ["refused"]

    def test_repeated_share_is_a_duplicate_of_one_kept_in_the_ledger(self) -> None:
        relay = self.broken(DOWN)
        relay.share()
        before = len(relay.session.calls)
        assert relay.share().outcome == Outcome.DUPLICATE
        assert len(relay.session.calls) == before

    def test_worker_that_the_sweeper_invokes_sends_the_share_while_the_queue_is_down(self) -> None:
        relay = self.broken(DOWN, DOWN, DOWN, samples.accepted("r9"))
        relay.share()
        assert relay.sweep()["healed"] == 1
        [job] = relay.invoked
        assert worked(relay, job) == []
        assert [raised.request_id for raised in relay.entry().accepted_signals] == ["r9"]
        assert relay.entry().debt.row is None

    def test_share_is_sent_although_the_retry_queue_does_not_answer(self) -> None:
        relay = new_relay()
        relay.retries.failure = TimeoutError("hangs")
        assert relay.share().outcome == Outcome.DELIVERED

    def test_share_is_dead_lettered_if_retry_queue_and_ledger_refuse_it(self) -> None:
        relay = self.broken(DOWN)
        relay.dynamodb.refuses_writes = True
        result = relay.share()
        assert (result.outcome, result.queue, len(relay.dead_letters.messages)) == (Outcome.QUEUED, "dead_letter", 1)


class TestUnsafe:
    """Unsafe shares: neither a queue nor the ledger keeps them."""

    def nowhere(self, *steps: Step) -> Relay:
        relay = new_relay(*steps)
        relay.retries.failure = relay.dead_letters.failure = NO
        relay.dynamodb.refuses_writes = True
        return relay

    def test_unsafe_result_holds_the_last_copy_of_the_share(self) -> None:
        relay = self.nowhere(DOWN)
        result = relay.share()
        assert (result.outcome, result.reason, result.queue) == (Outcome.UNSAFE, Reason.UPSTREAM, None)
        assert result.detail == "HTTP 503; no queue took it"
        copy = read_envelope(result.notices.last_copy or "")
        assert (copy.body, copy.stamps.reason, copy.attempts) == (samples.body(), "upstream", 3)

    def test_share_is_unsafe_if_the_ledger_refuses_its_row_alone(self) -> None:
        dynamodb = HookedDynamoDb()
        relay = new_relay(DOWN, dynamodb=dynamodb)
        relay.retries.failure = relay.dead_letters.failure = NO
        # Of the entry's writes the first is the claim, and the second is the record with the row.
        dynamodb.before["update_item", 2] = table_down
        result = relay.share()
        assert (result.outcome, result.reason, result.queue) == (Outcome.UNSAFE, Reason.UPSTREAM, None)
        assert result.notices.last_copy

    @pytest.mark.parametrize("failure", [DOWN, REFUSED, requests.ReadTimeout("late")], ids=["down", "refused", "late"])
    def test_repeated_share_is_no_duplicate_of_an_unsafe_one(self, failure: Step) -> None:
        relay = self.nowhere(failure)
        relay.share()
        before = len(relay.session.calls)
        assert relay.share().outcome == Outcome.UNSAFE
        assert len(relay.session.calls) > before

    def test_older_share_is_not_superseded_by_an_unsafe_one(self) -> None:
        relay = self.nowhere(DOWN)
        relay.share(changedOn=LATER)
        relay.retries.failure, relay.dynamodb.refuses_writes = None, False
        assert relay.share(changedOn=LATER - 1).outcome == Outcome.QUEUED

    def test_last_copy_too_long_for_a_log_line_is_reduced_and_stays_valid(self) -> None:
        relay = self.nowhere(DOWN)
        alerts = [{"id": f"a{number}", "text": f"{number:032x}" * 400} for number in range(300)]
        copy = relay.share(alerts=alerts, noise=[f"{n * 7919**5:x}" for n in range(60_000)]).notices.last_copy or ""
        assert 0 < len(copy) <= MAX_LOGGED_CHARACTERS
        assert Flag.BODY_REDUCED in read_envelope(copy).flags
        assert json.loads(read_envelope(copy).body)["incident"]["id"] == "i1"

    def test_share_is_unsafe_if_the_dead_letter_queue_does_not_answer_in_time(self) -> None:
        def slow(call: Call) -> Any:
            relay.clock.now += INLINE_SECONDS + 0.5
            return DOWN

        relay = self.nowhere(slow)
        relay.dead_letters.failure = TimeoutError("hangs")
        assert relay.share().outcome == Outcome.UNSAFE

    def test_refused_share_is_dead_lettered_although_the_sender_used_up_its_time(self) -> None:
        def slow(call: Call) -> Any:
            relay.clock.now += INLINE_SECONDS + 0.5
            return REFUSED

        relay = new_relay(slow)
        assert relay.share().queue == "dead_letter"
        assert relay.entry().is_given_up


def test_retry_queue_is_tried_again_after_the_attempts_and_the_dead_letter_queue_only_without_a_row() -> None:
    asked: list[str] = []

    class Counting(FakeSqs):
        def send_message(self, **message: Any) -> dict[str, str]:
            asked.append(message["MessageBody"])
            return super().send_message(**message)

    relay = new_relay(DOWN, retries=Counting(), dead_letters=Counting())
    relay.retries.failure = relay.dead_letters.failure = NO
    relay.share()
    assert len(asked) == 2
    relay.dynamodb.refuses_writes = True
    relay.share(id="i2")
    assert len(asked) == 5

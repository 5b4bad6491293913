"""What xMatters does not accept, and what no queue takes: where it rests, and what is known of it there."""

import json
from typing import Any

import pytest
import requests

from relay.delivery.debts import KEEP_SECONDS
from relay.entrypoints.webhook import INLINE_SECONDS
from relay.errors import HANDLING, QueueError, Reason
from relay.jobs.envelope import Job
from relay.jobs.outbox import MAX_LOGGED_CHARACTERS
from relay.jobs.outcome import Outcome, Result
from relay.ledger.row import Row
from tests import samples
from tests.fakes import Call, FakeSqs, Meddled, Relay, Step, room, table_down, worked

DOWN = samples.refused(503, b"<h1>Service Unavailable</h1>")
REFUSED = samples.refused(404, b"no such trigger")
NO = QueueError("SQS refused the message: AccessDenied")
LATER = 1_800_000_001


class TestNotAccepted:
    # A relay that answers 400 while the provider is down makes the sender give up: `_rest` answers `queued` here.
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
    def test_whatever_the_reason_it_rests_on_a_queue(self, failure: Step, reason: Reason) -> None:
        relay = room(failure)
        result = relay.share()
        rests = "dead_letter" if HANDLING[reason].is_final else "retry"
        assert (result.outcome, result.reason, result.queue) == (Outcome.QUEUED, reason, rests)
        queue = {"retry": relay.retries, "dead_letter": relay.dead_letters}[rests]
        assert [job.body for job in queue.jobs()] == [samples.body()]
        assert len(relay.retries.messages) == 1

    def test_what_the_ledger_knows_of_it_is_enough_to_go_on(self) -> None:
        relay = room(DOWN, chance=0.5)
        started = relay.clock.now
        result = relay.share()
        assert (result.attempts, result.http_status) == (3, 503)
        assert relay.clock.now - started == 0.75
        entry = relay.entry()
        assert (entry.lease, entry.announced, entry.signals, entry.doubtful) == (None, None, (), ())
        assert (entry.asked, entry.owed_since, entry.dead_lettered) == (3, started, None)
        assert entry.kept
        assert entry.kept.version == (1_800_000_000, 1_800_000_000)

    def test_the_next_try_counts_on_from_there(self) -> None:
        relay = room(DOWN, DOWN, DOWN, samples.accepted("r9"))
        relay.share()
        relay.wake()
        assert [call.headers["X-Relay-Attempt"] for call in relay.session.calls] == ["1", "2", "3", "4"]
        assert relay.retries.messages == []
        entry = relay.entry()
        assert ([each.request_id for each in entry.raised], entry.owed_since) == (["r9"], None)

    @pytest.mark.parametrize(
        ("failure", "says"),
        [(requests.ReadTimeout("late"), "true"), (requests.ConnectTimeout("gone"), None), (DOWN, None)],
        ids=["late", "never connected", "down"],
    )
    def test_only_what_may_have_rung_says_so_when_it_is_tried_again(self, failure: Step, says: str | None) -> None:
        relay = room(failure)
        relay.share()
        relay.wake()
        assert relay.session.calls[-1].headers.get("X-Relay-May-Repeat") == says

    def test_what_may_have_rung_is_remembered_as_that(self) -> None:
        relay = room(requests.ReadTimeout("late"))
        result = relay.share()
        entry = relay.entry()
        assert result.may_have_rung
        assert (len(entry.doubtful), entry.signals, entry.announced) == (1, (relay.clock.now,), None)

    def test_time_that_was_never_there_asks_nothing(self) -> None:
        relay = room()
        result = relay.share(seconds=1.5)
        assert (result.outcome, result.reason, result.attempts) == (Outcome.QUEUED, Reason.TIMEOUT, 0)
        assert not result.may_have_rung
        assert (relay.session.calls, relay.entry().asked) == ([], 0)


class TestRefused:
    def test_it_is_a_dead_letter_at_once_and_whole(self) -> None:
        relay = room(REFUSED)
        result = relay.share(recipients=("jdoe",))
        [job] = relay.dead_letters.jobs()
        assert job == Job(
            kind="signal",
            delivery_id=result.delivery_id or "",
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
        )
        assert relay.dead_letters.delays() == [0]

    def test_its_kept_job_is_let_go_when_it_wakes(self) -> None:
        relay = room(REFUSED)
        relay.share(status="warning")
        relay.wake()
        assert (relay.retries.messages, len(relay.session.calls)) == ([], 1)
        assert len(relay.dead_letters.messages) == 1

    def test_the_same_again_is_a_duplicate_of_it(self) -> None:
        relay = room(REFUSED)
        relay.share()
        assert relay.share().outcome == Outcome.DUPLICATE
        assert len(relay.dead_letters.messages) == 1

    def test_a_newer_state_is_tried_all_the_same(self) -> None:
        relay = room(REFUSED, samples.accepted())
        relay.share()
        result = relay.share(changedOn=LATER, comments=["on it"])
        assert (result.outcome, result.transition) == (Outcome.DELIVERED, "opened")

    def test_if_the_dead_letter_queue_does_not_take_it_the_retry_queue_has_it(self) -> None:
        relay = room(REFUSED)
        relay.dead_letters.failure = NO
        result = relay.share(status="warning")
        assert (result.outcome, result.reason, result.queue) == (Outcome.QUEUED, Reason.REFUSED, "retry")
        assert relay.entry().dead_lettered is None
        relay.dead_letters.failure = None
        relay.wake()
        assert (len(relay.dead_letters.messages), relay.retries.messages) == (1, [])
        assert relay.dead_letters.jobs()[0].attempts == len(relay.session.calls) == 2


class TestNoRetryQueue:
    """A share is sent although the retry queue refuses it; a state that is still owed then is kept in the ledger."""

    def broken(self, *steps: Step, **changes: Any) -> Relay:
        relay = room(*steps, **changes)
        relay.retries.failure = NO
        return relay

    def test_it_is_sent_all_the_same(self) -> None:
        relay = self.broken()
        result = relay.share()
        assert (result.outcome, result.unguarded) == (Outcome.DELIVERED, None)
        assert (len(relay.session.calls), relay.dead_letters.messages) == (1, [])
        assert relay.entry().announced
        assert relay.share().outcome == Outcome.DUPLICATE

    def test_paced_share_is_kept_in_the_ledger_and_sent_by_the_sweeper_when_its_turn_comes(self) -> None:
        relay = self.broken(policy={"min_seconds_between_signals": 60})
        relay.share(status="warning")
        result = relay.share(status="unknown", changedOn=LATER)
        assert (result.outcome, result.reason, result.queue) == (Outcome.QUEUED, Reason.PACED, "ledger")
        assert relay.entry().row == Row(result.until or 0.0, result.job.stored_name if result.job else "")
        relay.retries.failure = None
        relay.sweep(59)
        assert relay.retries.messages == []
        relay.sweep(1)
        relay.wake(0)
        assert [json.loads(call.body)["incident"]["status"] for call in relay.session.calls] == ["warning", "unknown"]

    def test_share_that_meets_a_live_lease_is_kept_in_the_ledger(self) -> None:
        def meanwhile(_: Call) -> Any:
            results.append(other.share(changedOn=LATER))
            return samples.accepted("r7")

        results: list[Result] = []
        relay = self.broken(meanwhile)
        other = relay.other(samples.accepted("r8"))
        assert relay.share(status="warning").outcome == Outcome.DELIVERED
        [result] = results
        assert (result.outcome, result.reason, result.queue) == (Outcome.QUEUED, Reason.IN_FLIGHT, "ledger")
        assert relay.clock.slept == [], "nobody waits for the other sender"
        relay.retries.failure = None
        assert relay.sweep()["healed"] == 1
        other.wake(0)
        assert [call.headers["X-Relay-Attempt"] for call in other.session.calls] == ["1"]

    def test_state_that_xmatters_would_drop_is_kept_in_the_ledger(self) -> None:
        relay = self.broken()
        for number in range(5):
            relay.clock.now += 1
            result = relay.share(status="ok" if number % 2 else "critical", changedOn=LATER + number)
        assert (result.outcome, result.reason, result.queue) == (Outcome.QUEUED, Reason.PACED, "ledger")
        assert (len(relay.session.calls), relay.dead_letters.messages) == (4, [])

    def test_state_that_is_not_accepted_is_kept_in_the_ledger(self) -> None:
        relay = self.broken(DOWN)
        result = relay.share()
        assert (result.outcome, result.reason, result.queue) == (Outcome.QUEUED, Reason.UPSTREAM, "ledger")
        entry = relay.entry()
        assert entry.row == Row(
            relay.clock.now + KEEP_SECONDS, result.job.stored_name if result.job else "", is_critical=True
        )
        assert (entry.reason, entry.asked) == ("upstream", 3)
        assert relay.dead_letters.messages == []

    def test_state_that_is_refused_is_a_dead_letter(self) -> None:
        relay = self.broken(REFUSED)
        result = relay.share()
        assert (result.outcome, result.queue) == (Outcome.QUEUED, "dead_letter")
        [job] = relay.dead_letters.jobs()
        assert (job.reason, job.attempts, job.dead_lettered_at is None) == (result.reason, result.attempts, False)
        assert relay.entry().dead_lettered

    def test_refused_state_that_the_dead_letter_queue_does_not_take_is_kept_in_the_ledger(self) -> None:
        relay = self.broken(REFUSED)
        relay.dead_letters.failure = NO
        result = relay.share()
        assert (result.outcome, result.reason, result.queue) == (Outcome.QUEUED, Reason.REFUSED, "ledger")
        assert result.last_copy is None, "it is not the only copy"
        relay.retries.failure = relay.dead_letters.failure = None
        relay.sweep()
        relay.wake(0)
        assert [job.reason for job in relay.dead_letters.jobs()] == ["refused"]

    def test_same_share_again_is_a_duplicate_of_the_one_in_the_ledger(self) -> None:
        relay = self.broken(DOWN)
        relay.share()
        before = len(relay.session.calls)
        assert relay.share().outcome == Outcome.DUPLICATE
        assert len(relay.session.calls) == before

    def test_worker_that_is_invoked_by_the_sweeper_sends_it_while_the_queue_is_down(self) -> None:
        relay = self.broken(DOWN, DOWN, DOWN, samples.accepted("r9"))
        relay.share()
        assert relay.sweep()["healed"] == 1
        [job] = relay.invoked
        assert worked(relay, job) == []
        assert [raised.request_id for raised in relay.entry().raised] == ["r9"]
        assert relay.entry().row is None

    def test_a_queue_that_does_not_answer_is_given_up(self) -> None:
        relay = room()
        relay.retries.failure = TimeoutError("hangs")
        assert relay.share().outcome == Outcome.DELIVERED

    def test_share_is_dead_lettered_if_the_ledger_does_not_take_it_either(self) -> None:
        relay = self.broken(DOWN)
        relay.dynamodb.refuses_writes = True
        result = relay.share()
        assert (result.outcome, result.queue, len(relay.dead_letters.messages)) == (Outcome.QUEUED, "dead_letter", 1)


class TestUnsafe:
    """Neither a queue nor the ledger keeps the share."""

    def nowhere(self, *steps: Step) -> Relay:
        relay = room(*steps)
        relay.retries.failure = relay.dead_letters.failure = NO
        relay.dynamodb.refuses_writes = True
        return relay

    def test_when_nothing_takes_it_the_result_holds_the_last_copy(self) -> None:
        relay = self.nowhere(DOWN)
        result = relay.share()
        assert (result.outcome, result.reason, result.queue) == (Outcome.UNSAFE, Reason.UPSTREAM, None)
        assert result.detail == "HTTP 503; no queue took it"
        copy = Job.from_json(result.last_copy or "")
        assert (copy.body, copy.reason, copy.attempts) == (samples.body(), "upstream", 3)

    def test_share_whose_row_alone_is_refused_is_unsafe(self) -> None:
        dynamodb = Meddled()
        relay = room(DOWN, dynamodb=dynamodb)
        relay.retries.failure = relay.dead_letters.failure = NO
        # Of the entry's writes the first is the claim, and the second is the record with the row.
        dynamodb.before["update_item", 2] = table_down
        result = relay.share()
        assert (result.outcome, result.reason, result.queue) == (Outcome.UNSAFE, Reason.UPSTREAM, None)
        assert result.last_copy

    @pytest.mark.parametrize("failure", [DOWN, REFUSED, requests.ReadTimeout("late")], ids=["down", "refused", "late"])
    def test_the_same_again_is_no_duplicate_of_what_is_nowhere(self, failure: Step) -> None:
        relay = self.nowhere(failure)
        relay.share()
        before = len(relay.session.calls)
        assert relay.share().outcome == Outcome.UNSAFE
        assert len(relay.session.calls) > before

    def test_nor_does_it_make_an_older_one_superseded(self) -> None:
        relay = self.nowhere(DOWN)
        relay.share(changedOn=LATER)
        relay.retries.failure, relay.dynamodb.refuses_writes = None, False
        assert relay.share(changedOn=LATER - 1).outcome == Outcome.QUEUED

    def test_a_last_copy_too_long_for_a_log_line_is_reduced_not_cut(self) -> None:
        relay = self.nowhere(DOWN)
        alerts = [{"id": f"a{number}", "text": f"{number:032x}" * 400} for number in range(300)]
        copy = relay.share(alerts=alerts, noise=[f"{n * 7919**5:x}" for n in range(60_000)]).last_copy or ""
        assert 0 < len(copy) <= MAX_LOGGED_CHARACTERS
        assert Job.from_json(copy).body_reduced
        assert json.loads(Job.from_json(copy).body)["incident"]["id"] == "i1"

    def test_a_dead_letter_queue_that_does_not_answer_is_given_up_when_the_time_is_over(self) -> None:
        def slow(call: Call) -> Any:
            relay.clock.now += INLINE_SECONDS + 0.5
            return DOWN

        relay = self.nowhere(slow)
        relay.dead_letters.failure = TimeoutError("hangs")
        assert relay.share().outcome == Outcome.UNSAFE

    def test_the_queues_get_their_time_though_the_senders_is_over(self) -> None:
        def slow(call: Call) -> Any:
            relay.clock.now += INLINE_SECONDS + 0.5
            return REFUSED

        relay = room(slow)
        assert relay.share().queue == "dead_letter"
        assert relay.entry().dead_lettered


def test_retry_queue_is_asked_once_more_after_the_attempts_and_the_dead_letter_queue_only_without_a_row() -> None:
    asked: list[str] = []

    class Counting(FakeSqs):
        def send_message(self, **message: Any) -> dict[str, str]:
            asked.append(message["MessageBody"])
            return super().send_message(**message)

    relay = room(DOWN, retries=Counting(), dead_letters=Counting())
    relay.retries.failure = relay.dead_letters.failure = NO
    relay.share()
    assert len(asked) == 2
    relay.dynamodb.refuses_writes = True
    relay.share(id="i2")
    assert len(asked) == 5

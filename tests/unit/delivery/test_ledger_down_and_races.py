"""Concurrent senders, and a ledger that fails at any single call: no page is lost."""

import json
from collections.abc import Callable
from copy import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from relay.delivery.degraded import UNGUARDED_AFTER_SECONDS, UNGUARDED_WAIT_SECONDS
from relay.delivery.delivery import MAX_READS
from relay.failures.errors import QueueError
from relay.failures.reasons import Reason
from relay.http.session import HttpAnswer
from relay.incidents.share import parse_share
from relay.jobs.envelope import read_envelope
from relay.jobs.job import Flag, Job, timestamp
from relay.jobs.outcome import Outcome, Result
from relay.ledger.channel_rate_limiter import Gate
from relay.ledger.entry import LEASE_SECONDS
from relay.ledger.entry_key import key
from relay.ledger.row import SHARD
from tests import samples
from tests.fake_dynamodb import FakeDynamoDb, Item, condition_failed
from tests.fakes import Call, HookedDynamoDb, Relay, Step, new_relay, table_down

DOWN = samples.refused(503)
LONG_AGO = "2027-01-01T00:00:00.000Z"
LATER = 1_800_000_001
# Calls of the table for a share: it is read, enters the gate, is claimed, and is recorded.
READ, CLAIM, RECORD = ("get_item", 0), ("update_item", 1), ("update_item", 2)


def hooked(*steps: Step, **changes: Any) -> tuple[Relay, HookedDynamoDb]:
    """Return a relay and its table, whose calls a test can interrupt."""
    table = HookedDynamoDb()
    return new_relay(*steps, dynamodb=table, **changes), table


def next_write(table: HookedDynamoDb) -> tuple[str, int]:
    """Return the key in `HookedDynamoDb.before` for a hook of the table's next `update_item` call.

    Entries and gates are written by `update_item`.
    """
    return "update_item", table.calls.count("update_item")


def resumed(relay: Relay, job: Job, *, given_up: Reason | None = None) -> Result:
    """Let the relay resume a job; return the result."""
    share, channel = parse_share(job.body), relay.channels.get("noc")
    return relay.delivery.resume(job, share, channel, relay.deadline(15), given_up=given_up)


def dies(_: Call) -> HttpAnswer:
    """Stop the function while it waits for xMatters."""
    raise SystemExit


class TestAnotherSender:
    def test_share_that_meets_a_live_lease_waits_on_the_queue(self) -> None:
        def meets(_: Call) -> HttpAnswer:
            results.append(relay.share(changedOn=LATER, status="warning"))
            return samples.accepted()

        results: list[Result] = []
        relay = new_relay(meets, samples.accepted())
        assert relay.share().outcome == Outcome.DELIVERED
        assert len(relay.session.calls) == 1
        [result] = results
        assert (result.outcome, result.reason, result.queue) == (Outcome.QUEUED, Reason.IN_FLIGHT, "retry")
        assert result.until == relay.clock.now + LEASE_SECONDS + 1
        _, waiting, _ = relay.retries.jobs()
        assert (waiting.stamps.reason, relay.retries.delays()[1]) == ("in_flight", LEASE_SECONDS + 1)
        # The newer state is kept and still owed, although an older one was announced.
        entry = relay.entry()
        assert entry.newest
        assert (entry.newest.version, entry.debt.since) == ((LATER, LATER), relay.clock.now)
        relay.wake()
        assert (len(relay.session.calls), relay.retries.messages) == (2, [])

    def test_sender_wakes_the_share_that_met_its_lease(self) -> None:
        def meets(_: Call) -> HttpAnswer:
            relay.share(changedOn=LATER, status="warning")
            return samples.accepted()

        relay = new_relay(meets, samples.accepted())
        relay.share()
        [_, waiting, woken] = relay.retries.jobs()
        assert relay.retries.delays() == [36, 16, 0]
        assert (woken.delivery_id, woken.plan) == (waiting.delivery_id, waiting.plan)
        relay.wake(1)
        assert (len(relay.session.calls), relay.retries.messages) == (2, [])

    def test_woken_share_waits_for_its_rate_limit_slot_if_the_channel_is_full(self) -> None:
        def meets(_: Call) -> HttpAnswer:
            relay.share(changedOn=LATER)
            return samples.accepted()

        relay = new_relay(meets, samples.accepted(), policy={"max_per_minute": 1})
        relay.share(status="warning")
        relay.wake(1)
        [job] = relay.retries.jobs()
        assert job.stamps.reason == "paced", "the other message was replaced by this one"
        relay.wake(relay.retries.delays()[0])
        assert (len(relay.session.calls), relay.retries.messages) == (2, [])

    def test_incident_is_as_bad_again_after_an_eased_share_whose_message_vanished_behind_a_failed_resolve(self) -> None:
        def meets(_: Call) -> HttpAnswer:
            results.append(relay.share(changedOn=LATER + 1, status="unknown"))
            return samples.refused(503)

        results: list[Result] = []
        relay = new_relay(samples.accepted(), *[meets] * 3, samples.accepted(), policy={"preset": "oncall"})
        assert relay.share(status="warning").outcome == Outcome.DELIVERED
        relay.clock.now += 60
        assert relay.share(changedOn=LATER, status="ok").outcome == Outcome.QUEUED
        assert results[0].reason == Reason.IN_FLIGHT
        relay.retries.messages.clear()
        relay.clock.now += 60
        result = relay.share(changedOn=LATER + 2, status="warning")
        assert result.outcome == Outcome.DELIVERED

    def test_sender_that_failed_wakes_no_waiting_share(self) -> None:
        def meets(_: Call) -> HttpAnswer:
            relay.share(changedOn=LATER, status="warning")
            return samples.refused(400)

        relay = new_relay(meets, samples.accepted())
        relay.share()
        assert relay.retries.delays() == [36, 16]

    def test_share_of_a_crashed_sender_is_sent_again_as_a_possible_repeat(self) -> None:
        relay = new_relay(dies, samples.accepted())
        with pytest.raises(SystemExit):
            relay.share()
        assert relay.entry().lease
        relay.wake()
        assert [call.headers.get("X-Relay-May-Repeat") for call in relay.session.calls] == [None, "true"]
        assert (relay.retries.messages, relay.entry().announced is None) == ([], False)

    def test_resolve_is_owed_after_the_sender_of_the_page_crashed(self) -> None:
        relay = new_relay(dies, samples.accepted())
        with pytest.raises(SystemExit):
            relay.share()
        relay.clock.now += LEASE_SECONDS
        resolved = relay.share(changedOn=LATER, status="ok")
        assert (resolved.outcome, resolved.subject.transition) == (Outcome.DELIVERED, "resolved")

    def test_resolve_is_owed_again_if_an_older_state_is_accepted_after_it(self) -> None:
        def resolves(_: Call) -> HttpAnswer:
            relay.clock.now += LEASE_SECONDS
            results.append(other.share(changedOn=LATER, status="ok"))
            return samples.accepted()

        results: list[Result] = []
        relay = new_relay(resolves)
        other = relay.other(samples.accepted())
        relay.share(seconds=60)
        assert [result.outcome for result in results] == [Outcome.DELIVERED]
        entry = relay.entry()
        assert entry.announced
        assert (entry.announced.version, len(entry.doubtful)) == ((LATER, LATER), 1)
        again = other.share(changedOn=LATER + 1, status="ok")
        assert (again.outcome, again.subject.transition) == (Outcome.DELIVERED, "resolved")


class TestRaces:
    """Races: another function changes the entry between the read and the claim."""

    def race(self, meanwhile: Callable[[Relay], object]) -> tuple[Relay, Result]:
        relay, table = hooked()
        table.before[CLAIM] = lambda: meanwhile(relay.other(samples.accepted("r8")))
        return relay, relay.share()

    def test_share_that_another_sender_announced_before_the_claim_is_a_duplicate(self) -> None:
        relay, result = self.race(lambda other: other.share())
        assert (result.outcome, relay.session.calls) == (Outcome.DUPLICATE, [])
        relay.wake()
        assert (relay.retries.messages, relay.session.calls) == ([], [])

    def test_share_is_superseded_if_a_newer_state_is_announced_before_the_claim(self) -> None:
        relay, result = self.race(lambda other: other.share(changedOn=LATER))
        assert (result.outcome, relay.session.calls) == (Outcome.SUPERSEDED, [])

    def test_share_is_compared_with_an_older_state_that_is_announced_before_the_claim(self) -> None:
        _, result = self.race(lambda other: other.share(changedOn=LATER - 2, status="warning"))
        assert (result.outcome, result.subject.transition) == (Outcome.DELIVERED, "worsened")

    def test_incident_that_ended_unannounced_while_its_signal_was_sent_rings_when_it_reopens(self) -> None:
        def ends(_: Call) -> HttpAnswer:
            assert relay.share(changedOn=LATER, status="ok").outcome == Outcome.UNCHANGED
            return samples.accepted()

        relay = new_relay(ends, samples.accepted(), policy={"notify_on": ["opened", "reopened"]})
        relay.share()
        relay.drain()
        assert relay.share(changedOn=LATER + 1).outcome == Outcome.DELIVERED

    def test_share_waits_and_its_last_message_counts_if_another_sender_claims_first(self) -> None:
        def starts(other: Relay) -> None:
            with pytest.raises(SystemExit):
                other.other(dies).share(changedOn=LATER - 2, status="warning")

        relay, result = self.race(starts)
        assert (result.outcome, result.reason, relay.session.calls) == (Outcome.QUEUED, Reason.IN_FLIGHT, [])
        first, _, last = relay.retries.jobs()
        assert first.delivery_id == last.delivery_id
        assert first.plan < last.plan == relay.entry().debt.plan
        relay.wake(LEASE_SECONDS + 1)
        assert (len(relay.session.calls), relay.retries.messages) == (1, [])

    def test_rate_limit_slot_is_given_back_if_another_sender_announced_the_share(self) -> None:
        def sends(other: Relay) -> None:
            other.clock.now += 0.5
            other.share()

        relay, result = self.race(sends)
        assert result.outcome == Outcome.DUPLICATE
        assert _counted(relay) == 1

    def test_only_one_of_two_copies_that_meet_at_the_last_slot_of_the_minute_is_sent_at_once(self) -> None:
        copies: list[Result] = []
        relay, table = hooked(policy={"max_per_minute": 2})
        relay.share(id="i2")
        before_claim = ("update_item", table.calls.count("update_item") + 1)
        table.before[before_claim] = lambda: copies.append(relay.other().share())
        result = relay.share()
        assert [copy.reason for copy in copies] == [Reason.PACED]
        assert (result.outcome, _counted(relay)) == (Outcome.DELIVERED, 2)
        # Both copies' jobs wake, and find that it was announced.
        relay.wake(90)
        assert (len(relay.session.calls), relay.retries.messages) == (2, [])
        assert relay.entry().debt.since is None

    def test_critical_wakes_at_its_slot_if_the_lease_that_it_met_ends_before_its_wait_is_recorded(self) -> None:
        relay, table = hooked(samples.accepted("r2"), samples.accepted("r3"), policy={"max_per_minute": 2})
        relay.share(id="i2")
        relay.clock.now += 50
        with pytest.raises(SystemExit):
            relay.other(dies).share(status="warning")
        relay.retries.messages.clear()
        table.before[next_write(table)] = lambda: relay.ledger.change(
            key("noc", (), "i1"), lambda entry: replace(entry, lease=None)
        )
        result = relay.share(changedOn=LATER)
        assert (result.outcome, result.reason) == (Outcome.QUEUED, Reason.PACED)
        first, last = relay.retries.jobs()
        assert first.plan < last.plan == relay.entry().debt.plan
        assert relay.retries.delays()[1] < relay.retries.delays()[0]
        relay.wake(relay.retries.delays()[1])
        assert json.loads(relay.session.calls[-1].body)["incident"]["status"] == "critical"

    def test_rate_limit_slot_is_given_back_if_another_copy_is_being_sent(self) -> None:
        def starts(other: Relay) -> None:
            with pytest.raises(SystemExit):
                other.other(dies).share()

        relay, result = self.race(starts)
        assert (result.outcome, _counted(relay)) == (Outcome.QUEUED, 1)

    def test_share_waits_on_the_queue_after_max_reads_conflicting_writes(self) -> None:
        def conflict() -> None:
            raise condition_failed("UpdateItem")

        relay, table = hooked()
        # The first write enters the gate, and each further one is a claim. The slot is kept between claims.
        table.before = {("update_item", 1 + number): conflict for number in range(MAX_READS)}
        result = relay.share()
        assert (result.outcome, result.reason, result.queue) == (Outcome.QUEUED, Reason.IN_FLIGHT, "retry")
        assert _counted(relay) == 0
        assert (relay.session.calls, len(relay.retries.messages)) == ([], 1)
        relay.wake()
        assert len(relay.session.calls) == 1

    def test_share_is_kept_and_answered_duplicate_if_the_answer_to_its_own_record_was_lost(self) -> None:
        class ForgetfulDynamoDb(FakeDynamoDb):
            """A table that writes an entry with a row, and fails the condition, as botocore's repeated call does."""

            def update_item(self, **request: Any) -> dict[str, Any]:
                answer = super().update_item(**request)
                if SHARD in request["ExpressionAttributeNames"].values() and not lost:
                    lost.append("answer")
                    raise condition_failed("UpdateItem")
                return answer

        lost: list[str] = []
        relay = new_relay(
            samples.accepted(), samples.accepted(), dynamodb=ForgetfulDynamoDb(), policy={"max_per_minute": 1}
        )
        relay.share(id="i1")
        result = relay.share(id="i2")
        assert (lost, result.outcome) == (["answer"], Outcome.DUPLICATE)
        assert [job.incident_id for job in relay.retries.jobs()][-1] == "i2"
        relay.wake(120)
        assert json.loads(relay.session.calls[-1].body)["incident"]["id"] == "i2"

    def test_alerts_that_joined_are_announced_after_a_conflicting_write(self) -> None:
        def conflict() -> None:
            raise condition_failed("UpdateItem")

        steps = (samples.accepted(), DOWN, DOWN, DOWN, samples.accepted())
        relay, table = hooked(*steps, policy={"notify_on": ["opened", "grew"]})
        relay.share(alerts=[{"id": "a1"}])
        grown = relay.share(changedOn=LATER, alerts=[{"id": "a1"}, {"id": "a2"}])
        assert (grown.outcome, grown.subject.transition) == (Outcome.QUEUED, "grew")
        # The first write of the job enters the gate, the second is the claim.
        table.before["update_item", table.calls.count("update_item") + 1] = conflict
        sent = len(relay.session.calls)
        relay.wake(120)
        assert (table.before, len(relay.session.calls)) == ({}, sent + 1)

    def test_unchanged_state_is_noted_although_another_write_came_between(self) -> None:
        relay, table = hooked()
        relay.share()
        other = relay.other(samples.accepted())
        table.before[next_write(table)] = lambda: other.share(changedOn=LATER, tags=["first"])
        assert relay.share(changedOn=LATER + 1, comments=["second"]).outcome == Outcome.UNCHANGED
        assert table.before == {}
        assert relay.share(changedOn=LATER).outcome == Outcome.SUPERSEDED

    def test_state_that_comes_during_the_send_stays_kept_and_owed(self) -> None:
        def worsens(_: Call) -> HttpAnswer:
            results.append(relay.share(changedOn=LATER))
            return samples.accepted()

        results: list[Result] = []
        relay = new_relay(worsens, samples.accepted())
        relay.share(status="warning")
        assert [result.reason for result in results] == [Reason.IN_FLIGHT]
        entry = relay.entry()
        assert entry.newest
        assert entry.announced
        assert entry.announced.precedes(entry.newest)
        assert entry.debt.since
        relay.wake()
        assert b"critical" in relay.session.calls[1].body


class TestLedgerDown:
    """Ledger down: the page is sent, because losing the order is better than losing the page."""

    @pytest.mark.parametrize("call", ["read", "claim", "record"])
    def test_page_is_sent_and_counted_as_unguarded_if_one_ledger_call_fails(self, call: str) -> None:
        relay, table = hooked()
        table.before[{"read": READ, "claim": CLAIM, "record": RECORD}[call]] = table_down
        answer = relay.webhook.serve(samples.request())
        assert (answer.status, answer.document["outcome"]) == (200, "delivered")
        assert len(relay.session.calls) == 1
        assert relay.recorder.metrics() == {"share": 1, "unguarded": 1}
        [line] = relay.recorder.lines()
        expected = {"record": "the sent signal could not be recorded"}.get(
            call, "DynamoDB refused: InternalServerError"
        )
        assert line["unguarded"] == expected

    @pytest.mark.parametrize("code", ["ThrottlingException", "ProvisionedThroughputExceededException"])
    @pytest.mark.parametrize("call", ["claim", "record"])
    def test_throttled_write_of_the_ledger_is_counted_as_unguarded(self, call: str, code: str) -> None:
        def throttle() -> None:
            raise ClientError({"Error": {"Code": code, "Message": "canary"}}, "UpdateItem")

        relay, table = hooked()
        table.before[{"claim": CLAIM, "record": RECORD}[call]] = throttle
        assert relay.webhook.serve(samples.request()).status == 200
        assert relay.recorder.metrics() == {"share": 1, "unguarded": 1}

    def test_page_is_sent_if_every_ledger_call_fails_and_recorded_by_a_job_later(self) -> None:
        relay = new_relay()
        relay.dynamodb.failure = _down()
        assert relay.share().outcome == Outcome.DELIVERED
        # A job records the signal later, so that the resolve will be owed.
        [note] = relay.retries.jobs()
        assert ((Flag.ACCEPTED in note.flags), relay.retries.delays()) == (True, [5])
        relay.dynamodb.failure = None
        relay.wake(5)
        assert (relay.retries.messages, relay.entry().announced is None) == ([], False)
        assert len(relay.session.calls) == 1

    @pytest.mark.parametrize("number", [0, 1])
    def test_critical_is_sent_and_counted_if_the_rate_limiter_fails(self, number: int) -> None:
        relay, table = hooked(policy={"max_per_minute_per_recipients": 9})
        table.before["update_item", number] = table_down
        assert relay.share().notices.unguarded == "the rate limiter could not be read"
        # The channel's own gate has its slot back.
        gate = relay.dynamodb.items.get("gate/noc", {})
        numbers = {name: float(value["N"]) for name, value in gate.items() if "N" in value}
        assert Gate.of(numbers).counted(relay.clock.now) == 0

    @pytest.mark.parametrize("number", [0, 1])
    def test_attempts_of_a_critical_are_recorded_although_the_rate_limiter_failed(self, number: int) -> None:
        relay, table = hooked(samples.refused(503), policy={"max_per_minute_per_recipients": 9})
        table.before["update_item", number] = table_down
        result = relay.share()
        assert (result.exchange.attempts, result.notices.unguarded, relay.entry().debt.attempts) == (3, None, 3)

    def test_warning_waits_on_the_queue_if_the_rate_limiter_fails(self) -> None:
        relay, table = hooked()
        table.before["update_item", 0] = table_down
        result = relay.share(status="warning")
        assert (result.outcome, result.queue, result.reason) == (Outcome.QUEUED, "retry", Reason.INTERNAL)
        assert relay.entry().debt.row, "the ledger works, so the debt has its row"
        relay.wake(UNGUARDED_WAIT_SECONDS)
        assert (len(relay.session.calls), relay.entry().announced is None) == (1, False)

    def test_warning_waits_on_the_queue_for_the_ledger(self) -> None:
        relay = new_relay()
        relay.dynamodb.failure = _down()
        result = relay.share(status="warning")
        assert (result.outcome, result.queue, relay.retries.delays()) == (Outcome.QUEUED, "retry", [30])
        assert relay.session.calls == []
        for _ in range(4):
            relay.wake(UNGUARDED_WAIT_SECONDS)
        assert len(relay.session.calls) == 1

    def test_warning_is_sent_without_the_ledger_if_no_queue_takes_it(self) -> None:
        relay = new_relay()
        relay.dynamodb.failure = _down()
        relay.retries.failure = QueueError("SQS refused the message: AccessDenied")
        assert relay.share(status="warning").outcome == Outcome.DELIVERED

    def test_page_that_cannot_be_claimed_is_sent_at_most_twice_and_marked_as_repeat(self) -> None:
        relay = new_relay()
        relay.dynamodb.refuses_writes = True
        assert relay.share().outcome == Outcome.DELIVERED
        assert [Flag.ACCEPTED in job.flags for job in relay.retries.jobs()] == [False, True]
        for _ in range(20):
            relay.wake(30)
        assert [call.headers.get("X-Relay-May-Repeat") for call in relay.session.calls] == [None, "true"]

    def test_dead_lettered_critical_is_owed_for_the_fallback_although_no_queue_kept_it_before(self) -> None:
        relay = new_relay(samples.accepted(), samples.refused(400))
        relay.share(status="warning")
        relay.retries.failure = QueueError("SQS refused the message: AccessDenied")
        relay.share(changedOn=LATER)
        relay.retries.failure = None
        assert len(relay.dead_letters.messages) == 1
        assert relay.entry().debt.since
        for _ in range(12):
            relay.sweep()
        assert len(relay.sns.published) == 1

    def test_job_says_may_repeat_after_an_ambiguous_attempt_without_the_ledger(self) -> None:
        relay = new_relay(samples.refused(504), samples.refused(504), samples.accepted())
        relay.dynamodb.failure = _down()
        relay.share()
        relay.dynamodb.failure = None
        assert [Flag.MAY_HAVE_PAGED in job.flags for job in relay.retries.jobs()] == [True]
        relay.drain()
        assert relay.session.calls[-1].headers.get("X-Relay-May-Repeat") == "true"

    def test_job_that_waited_for_the_ledger_is_sent_without_it_only_after_a_new_wait(self) -> None:
        relay = new_relay(samples.refused(504), samples.refused(504), DOWN)
        relay.dynamodb.failure = _down()
        relay.share()
        relay.share(changedOn=LATER)
        assert [Flag.WAITS_FOR_LEDGER in job.flags for job in relay.retries.jobs()] == [False, True]
        relay.dynamodb.failure = None
        relay.wake(40)
        assert not any((Flag.WAITS_FOR_LEDGER in job.flags) for job in relay.retries.jobs())

    def test_revived_job_waits_anew_for_the_ledger(self) -> None:
        job = samples.job(ledger_down_since=LONG_AGO, waits_for_ledger=True, dead_lettered_at=LONG_AGO)
        revived = job.revived(1_800_000_000.0)
        assert (revived.ledger_down_since, (Flag.WAITS_FOR_LEDGER in revived.flags), revived.stamps.replays) == (
            None,
            False,
            1,
        )

    def test_job_that_is_sent_without_the_ledger_says_may_repeat(self) -> None:
        relay, table = hooked()

        def breaks() -> None:
            table.refuses_writes = True
            table_down()

        table.before[RECORD] = breaks
        relay.share()
        for _ in range(6):
            relay.wake(30)
        marks = [call.headers.get("X-Relay-May-Repeat") for call in relay.session.calls]
        assert marks == [None, "true"]

    def test_lease_is_given_back_although_the_record_fails_once(self) -> None:
        relay, table = hooked()
        table.before[RECORD] = table_down
        relay.share(status="warning")
        entry = relay.entry()
        assert (entry.lease, len(entry.signal_times), entry.announced is None) == (None, 1, False)
        assert relay.share(changedOn=LATER).outcome == Outcome.DELIVERED

    def test_share_that_waits_for_the_ledger_after_its_incident_was_sent_is_not_sent_unguarded(self) -> None:
        relay = new_relay()
        relay.dynamodb.failure = _down()
        relay.share()
        relay.share(changedOn=LATER)
        for _ in range(10):
            relay.wake(30)
        assert len(relay.session.calls) == 1
        relay.dynamodb.failure = None
        relay.drain()
        assert len(relay.session.calls) == 1
        assert relay.entry().announced

    def test_incident_that_is_critical_again_is_signalled_again_without_the_ledger(self) -> None:
        relay = new_relay()
        relay.dynamodb.failure = _down()
        outcomes = [
            relay.share(status=status, changedOn=LATER + number).outcome
            for number, status in enumerate(("critical", "ok", "critical"))
        ]
        assert outcomes == [Outcome.DELIVERED, Outcome.QUEUED, Outcome.DELIVERED]

    def test_resolve_is_sent_without_the_ledger_after_two_minutes_although_its_incident_was_sent(self) -> None:
        relay = new_relay()
        relay.dynamodb.failure = _down()
        relay.share()
        relay.share(status="ok", changedOn=LATER)
        for _ in range(5):
            relay.wake(30)
        statuses = [json.loads(call.body)["incident"]["status"] for call in relay.session.calls]
        assert statuses == ["critical", "ok"]

    def test_rate_limit_slot_is_given_back_if_the_claim_fails(self) -> None:
        relay, table = hooked(policy={"max_per_minute": 1})
        table.before[CLAIM] = table_down
        relay.share(id="i1", status="warning")
        assert relay.session.calls == []
        assert relay.share(id="i2").outcome == Outcome.DELIVERED

    def test_stored_job_waits_anew_for_the_ledger(self) -> None:
        relay, table = hooked(policy={"max_per_minute": 1})
        relay.share(id="i9")
        table.before[next_write(table)] = table_down
        relay.share(status="warning")
        relay.wake(30)
        stored = relay.ledger.stored(key("noc", (), "i1"), relay.entry().debt.job)
        assert read_envelope(stored or "").ledger_down_since is None

    def test_criticals_of_one_incident_are_sent_once_in_two_minutes_without_the_ledger(self) -> None:
        relay = new_relay()
        relay.dynamodb.failure = _down()
        outcomes = []
        for number in range(3):
            outcomes.append(relay.share(changedOn=LATER + number).outcome)
            relay.clock.now += 61
        assert outcomes == [Outcome.DELIVERED, Outcome.QUEUED, Outcome.DELIVERED]
        assert relay.share(id="i2").outcome == Outcome.DELIVERED

    @pytest.mark.parametrize(
        "most",
        [8, pytest.param(1, marks=pytest.mark.xfail(reason="functions share no memory but the ledger", strict=True))],
        ids=["once for each function", "once"],
    )
    def test_critical_that_eight_functions_take_rings_in_two_minutes_without_the_ledger(self, most: int) -> None:
        relay = new_relay()
        relay.dynamodb.failure = _down()
        functions = [relay, *(relay.other(samples.accepted()) for _ in range(7))]
        for number in range(24):
            functions[number % 8].share(changedOn=LATER + number)
            relay.clock.now += 2
        relay.wake(60)
        assert 1 <= sum(len(each.session.calls) for each in functions) <= most

    def test_ledger_that_hangs_counts_as_down(self) -> None:
        relay, table = hooked()

        def hang() -> None:
            raise ReadTimeoutError(endpoint_url="https://dynamodb.test")

        table.before["get_item", 0] = hang
        result = relay.share()
        why = "DynamoDB could not be reached: ReadTimeoutError"
        assert (result.outcome, result.notices.unguarded) == (Outcome.DELIVERED, why)

    @pytest.mark.parametrize("call", [READ, CLAIM], ids=["read", "claim"])
    def test_failed_share_is_on_the_retry_queue_once_if_the_ledger_is_down(self, call: tuple[str, int]) -> None:
        relay, table = hooked(DOWN)
        table.before[call] = table_down
        result = relay.share()
        assert (result.outcome, result.queue, result.reason) == (Outcome.QUEUED, "retry", Reason.UPSTREAM)
        assert result.notices.unguarded
        assert len(relay.retries.messages) == 1

    def test_job_is_sent_after_two_minutes_of_failed_writes_although_reads_work(self) -> None:
        relay = new_relay(DOWN, DOWN, DOWN, samples.accepted())
        relay.share()
        relay.dynamodb.refuses_writes = True
        for _ in range(4):
            relay.wake(30)
        assert len(relay.session.calls) == 3
        reasons = [line.get("reason") for line in relay.recorder.lines() if line["message"] == "job"]
        assert reasons.count("internal") >= 4
        for _ in range(3):
            relay.wake(30)
        assert len(relay.session.calls) == 4

    def test_job_waits_anew_after_the_ledger_took_a_write_again(self) -> None:
        relay = new_relay(DOWN)
        relay.share()
        relay.dynamodb.refuses_writes = True
        for _ in range(3):
            relay.wake(30)
        relay.dynamodb.refuses_writes = False
        relay.wake(30)
        calls = len(relay.session.calls)
        relay.dynamodb.refuses_writes = True
        for _ in range(3):
            relay.wake(30)
        assert len(relay.session.calls) == calls

    @pytest.mark.parametrize("what", ["note", "comment"])
    def test_job_that_cannot_be_noted_for_hours_backs_off_and_ends(self, what: str) -> None:
        relay = new_relay()
        if what == "comment":
            relay.share()
        relay.dynamodb.refuses_writes = True
        relay.share(changedOn=LATER)
        [job] = relay.retries.jobs()[-1:]
        assert (Flag.ACCEPTED in job.flags) == (what == "note")
        relay.retries.messages = relay.retries.messages[-1:]
        failed_retries = 0
        while relay.retries.messages and failed_retries < 1000:
            relay.wake(relay.retries.delays()[0])
            failed_retries += 1
        assert (failed_retries < 200, len(relay.session.calls)) == (True, 1)
        # A sent signal that was never recorded is dead-lettered, and a replay can record it.
        assert [Flag.ACCEPTED in letter.flags for letter in relay.dead_letters.jobs()] == (
            [True] if what == "note" else []
        )

    def test_unreadable_entry_is_begun_anew_and_counted(self) -> None:
        relay = new_relay()
        relay.share()
        name = key("noc", (), "i1")
        relay.dynamodb.items[name]["text"] = {"S": "{"}
        resolved = relay.share(changedOn=LATER, status="ok")
        assert (resolved.outcome, resolved.subject.transition) == (Outcome.DELIVERED, "resolved")
        assert resolved.notices.unguarded
        assert relay.share(changedOn=LATER, status="ok").outcome == Outcome.DUPLICATE

    def test_unchanged_state_is_noted_later_if_the_ledger_fails(self) -> None:
        relay, table = hooked(DOWN, DOWN, DOWN, samples.accepted())
        relay.share()
        table.before[next_write(table)] = table_down
        over = relay.share(changedOn=LATER, status="ok")
        assert (over.outcome, over.reason, over.queue) == (Outcome.QUEUED, Reason.INTERNAL, "retry")
        assert over.notices.unguarded == "DynamoDB refused: InternalServerError"
        assert relay.retries.delays() == [36, 5]
        opened = relay.retries.messages.pop(0)
        relay.wake(5)
        relay.retries.messages.append(opened)
        relay.wake(25)
        assert (len(relay.session.calls), relay.retries.messages) == (3, [])

    def test_share_waits_for_its_spacing_although_the_wait_cannot_be_recorded(self) -> None:
        relay, table = hooked(policy={"min_seconds_between_signals": 15})
        relay.share()
        table.before[next_write(table)] = table_down
        result = relay.share(changedOn=LATER, status="warning")
        assert table.before == {}
        assert (result.outcome, result.reason, len(relay.session.calls)) == (Outcome.QUEUED, Reason.PACED, 1)
        relay.wake(15)
        assert (len(relay.session.calls), relay.retries.messages) == (2, [])

    def test_failed_share_is_retried_after_its_lease_if_the_failure_cannot_be_recorded(self) -> None:
        relay, table = hooked(DOWN, DOWN, DOWN, samples.accepted())
        table.before[RECORD] = table_down
        assert relay.share().queue == "retry"
        assert table.before == {}
        relay.wake()
        assert (len(relay.session.calls), relay.retries.messages) == (4, [])

    def test_resolve_is_signalled_after_a_page_that_was_sent_without_the_ledger(self) -> None:
        relay, table = hooked()
        table.before["get_item", 0] = table_down
        relay.share()
        relay.wake(5)
        resolved = relay.share(changedOn=LATER, status="ok")
        assert (resolved.outcome, resolved.subject.transition) == (Outcome.DELIVERED, "resolved")


def _down() -> Exception:
    try:
        table_down()
    except Exception as error:  # noqa: BLE001 - the exception itself is the result
        return error
    raise AssertionError("it is up")


class GateDown(FakeDynamoDb):
    """A table that throttles the gates' items, and no other item."""

    def update_item(self, **asked: Any) -> Item:
        if asked["Key"]["pk"]["S"].startswith("gate/"):
            table_down()
        return super().update_item(**asked)


class TestGateDown:
    """Gate down: DynamoDB throttles the channel's gate, and no other item."""

    def test_job_waits_two_minutes_for_the_gate_and_is_then_sent_guarded_by_the_ledger(self) -> None:
        relay = new_relay(samples.refused(500), samples.accepted(), dynamodb=GateDown())
        relay.share(status="warning")
        assert relay.session.calls == []
        while not relay.session.calls:
            relay.wake(UNGUARDED_WAIT_SECONDS)
            assert len(relay.retries.messages) == 1
            assert relay.entry().debt.row
        assert relay.clock.now >= 1_800_000_000 + UNGUARDED_AFTER_SECONDS
        entry = relay.entry()
        assert (entry.debt.attempts, len(entry.doubtful), len(entry.signal_times)) == (1, 1, 1)
        while len(relay.session.calls) < 2:
            relay.wake(UNGUARDED_WAIT_SECONDS)
        assert [call.headers.get("X-Relay-May-Repeat") for call in relay.session.calls] == [None, "true"]

    def test_long_outage_of_xmatters_without_the_gate_leaves_one_message_and_no_dead_letter(self) -> None:
        relay = new_relay(DOWN, dynamodb=GateDown())
        relay.share()
        for _ in range(40):
            relay.wake(30)
            relay.sweep(0)
            assert len(relay.retries.messages) <= 2
        assert relay.dead_letters.messages == []
        assert relay.entry().debt.attempts == len(relay.session.calls)


class TestJobsWhileTheLedgerIsDown:
    """Jobs while the ledger is down: a queued job waits two minutes for it, a replayed one as long as it takes."""

    def job(self, relay: Relay, age: float, **changes: Any) -> Job:
        return samples.job(received_at=timestamp(relay.clock.now - age), **changes)

    def down(self) -> Relay:
        relay = new_relay()
        relay.dynamodb.failure = _down()
        return relay

    @pytest.mark.parametrize("seconds", [None, UNGUARDED_AFTER_SECONDS - 1])
    def test_job_waits_two_minutes_for_the_ledger_however_old_it_is(self, seconds: float | None) -> None:
        relay = self.down()
        since = None if seconds is None else timestamp(relay.clock.now - seconds)
        result = resumed(relay, self.job(relay, 3600, ledger_down_since=since))
        assert (result.outcome, result.reason, result.queue) == (Outcome.QUEUED, Reason.INTERNAL, "retry")
        assert (result.until, result.exchange.attempts) == (relay.clock.now + UNGUARDED_WAIT_SECONDS, 0)
        assert relay.session.calls == []
        assert result.job
        assert result.job.ledger_down_since == (since or timestamp(relay.clock.now))

    def test_job_is_sent_without_the_ledger_after_two_minutes(self) -> None:
        relay = self.down()
        since = timestamp(relay.clock.now - UNGUARDED_AFTER_SECONDS)
        result = resumed(relay, self.job(relay, UNGUARDED_AFTER_SECONDS, ledger_down_since=since))
        assert (result.outcome, result.notices.unguarded) == (
            Outcome.DELIVERED,
            "DynamoDB refused: InternalServerError",
        )

    def test_each_copy_of_a_waiting_job_counts_the_same_two_minutes(self) -> None:
        relay = self.down()
        relay.retries.queue().send(self.job(relay, 0, recipients=()))
        for _ in range(4):
            relay.wake(UNGUARDED_WAIT_SECONDS)
            assert relay.session.calls == []
        relay.wake(UNGUARDED_WAIT_SECONDS)
        assert len(relay.session.calls) == 1

    def test_job_starts_its_wait_anew_after_the_ledger_was_back(self) -> None:
        relay = new_relay(DOWN)
        since = timestamp(relay.clock.now - UNGUARDED_AFTER_SECONDS)
        result = resumed(relay, self.job(relay, 3600, ledger_down_since=since))
        assert result.job
        assert (result.reason, result.job.ledger_down_since) == (Reason.UPSTREAM, None)

    def test_revived_job_is_never_sent_without_the_ledger(self) -> None:
        relay = self.down()
        revived_at = timestamp(relay.clock.now - 600)
        result = resumed(relay, self.job(relay, 86_400, revived_at=revived_at, ledger_down_since=LONG_AGO))
        assert (result.outcome, result.queue, relay.session.calls) == (Outcome.QUEUED, "retry", [])

    @pytest.mark.parametrize(("age", "given_up"), [(86_400, None), (60, Reason.CHANNEL_REMOVED)])
    def test_job_that_must_not_be_sent_any_more_waits_for_the_ledger(self, age: float, given_up: Reason | None) -> None:
        relay = self.down()
        result = resumed(relay, self.job(relay, age, ledger_down_since=LONG_AGO), given_up=given_up)
        assert (result.outcome, result.queue, relay.session.calls) == (Outcome.QUEUED, "retry", [])
        assert result.until == relay.clock.now + UNGUARDED_WAIT_SECONDS

    def test_message_of_a_job_that_waits_for_the_ledger_stays_if_no_queue_takes_the_next_one(self) -> None:
        relay = self.down()
        relay.retries.failure = QueueError("down")
        result = resumed(relay, self.job(relay, 60))
        assert (result.outcome, result.notices.last_copy, relay.session.calls) == (Outcome.UNSAFE, None, [])


class TestFutureTimestamps:
    @pytest.mark.parametrize("ahead", [6, 60, 119, 3599])
    def test_resolve_with_a_stamp_in_the_future_does_not_hide_the_next_critical(self, ahead: float) -> None:
        relay = new_relay(policy={"min_seconds_between_signals": 0})
        relay.share()
        now = int(relay.clock.now)
        stamp = now + ahead
        relay.share(status="ok", active=False, resolved=True, changedOn=stamp, updatedOn=stamp)
        relay.clock.now += 10
        result = relay.share(changedOn=now + 10, updatedOn=now + 10)
        assert (result.outcome, result.subject.transition) == (Outcome.DELIVERED, "reopened")


class TestOneShareWithBadTimestamps:
    """One share of an incident has no timestamps, or stamps of a wrong clock; the other shares have good ones."""

    AHEAD = 1_800_000_000 + 7200

    def test_older_share_is_superseded_although_the_newest_one_has_a_stamp_in_the_future(self) -> None:
        relay = new_relay()
        relay.share(status="ok", active=False, resolved=True, changedOn=1_800_000_005)
        relay.share(status="ok", active=False, resolved=True, changedOn=self.AHEAD)
        relay.clock.now += 60
        assert relay.share(changedOn=1_800_000_001, updatedOn=1_800_000_001).outcome == Outcome.SUPERSEDED
        assert relay.session.calls == []

    def test_newer_share_is_announced_although_the_share_before_it_has_a_stamp_in_the_future(self) -> None:
        relay = new_relay()
        relay.share(status="warning", changedOn=1_800_000_001, updatedOn=1_800_000_001)
        relay.share(changedOn=self.AHEAD)
        result = relay.share(status="ok", active=False, resolved=True, changedOn=1_800_000_002)
        assert (result.outcome, result.subject.transition) == (Outcome.DELIVERED, "resolved")

    def test_well_stamped_share_is_no_duplicate_of_one_with_a_stamp_in_the_future(self) -> None:
        relay = new_relay()
        stamps: dict[str, Any] = {"changedOn": 1_800_000_000, "updatedOn": 1_800_000_000}
        over: dict[str, Any] = {"status": "ok", "active": False, "resolved": True}
        relay.share(**stamps)
        relay.share(**over, changedOn=self.AHEAD)
        relay.clock.now += 20
        relay.share(**stamps)
        relay.clock.now += 20
        assert relay.share(**over, **stamps).subject.transition == "resolved"

    def test_repeated_share_with_a_stamp_in_the_future_is_not_announced_again(self) -> None:
        relay = new_relay()
        relay.share(changedOn=1_800_000_001, updatedOn=1_800_000_001)
        ahead: dict[str, Any] = {"status": "warning", "changedOn": self.AHEAD}
        assert [relay.share(**ahead).outcome for _ in range(2)] == [Outcome.DELIVERED, Outcome.UNCHANGED]


class TestReturnWithoutTimestamps:
    """No share has timestamps, and a state returns while the ledger takes no writes, so it lacks the state between."""

    def relay(self, *steps: Step) -> Relay:
        return new_relay(*steps, policy={"min_seconds_between_signals": 0})

    def share(self, relay: Relay, status: str) -> Result:
        relay.clock.now += 3
        return relay.share(status=status, active=status != "ok", resolved=status == "ok", changedOn=None)

    @pytest.mark.parametrize("is_reversed", [False, True], ids=["in order", "last first"])
    def test_announced_critical_that_returns_is_the_last_state_that_people_hear(self, is_reversed: bool) -> None:
        relay = self.relay()
        self.share(relay, "critical")
        relay.retries.messages.clear()
        relay.dynamodb.refuses_writes = True
        assert [self.share(relay, status).queue for status in ("ok", "critical")] == ["retry", "retry"]
        relay.dynamodb.refuses_writes = False
        if is_reversed:
            relay.retries.messages.reverse()
        for _ in range(4):
            relay.wake(60)
        assert _statuses(relay)[-1] == "critical"

    @pytest.mark.parametrize("is_reversed", [False, True], ids=["in order", "last first"])
    def test_owed_critical_that_returns_is_the_last_state_that_people_hear(self, is_reversed: bool) -> None:
        relay = self.relay(DOWN, DOWN, DOWN, samples.accepted())
        assert self.share(relay, "critical").queue == "retry"
        relay.dynamodb.refuses_writes = True
        assert [self.share(relay, status).queue for status in ("unknown", "critical")] == ["retry", None]
        relay.dynamodb.refuses_writes = False
        if is_reversed:
            relay.retries.messages.reverse()
        for _ in range(4):
            relay.wake(60)
        assert _statuses(relay)[-1] == "critical"


def _statuses(relay: Relay) -> list[str]:
    """Return the statuses of the signals in the order in which they were sent."""
    return [json.loads(call.body)["incident"]["status"] for call in relay.session.calls]


def _counted(relay: Relay) -> int:
    """Return the signals of the last minute, as the channel's gate counts them."""
    numbers = {name: float(each["N"]) for name, each in relay.dynamodb.items["gate/noc"].items() if "N" in each}
    return Gate.of(numbers).counted(relay.clock.now)

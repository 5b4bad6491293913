"""Replayed jobs: a dead letter that returns to the retry queue is owed again, once, and obeys the ledger."""

import json
from typing import Any

from relay.delivery.task import entry_key_of
from relay.failures.reasons import Reason
from relay.jobs.envelope import read_envelope
from relay.jobs.job import Flag, Job, seconds_of, timestamp
from relayctl.dlq.jsonl import line_of, read_line
from tests import samples
from tests.fakes import Call, Relay, Step, new_relay, worked

DOWN = samples.refused(503, b"down")
REFUSED = samples.refused(404)
LATER = 1_800_000_001
DAYS = 3 * 86_400


def sent(relay: Relay) -> list[str]:
    """Return the incidents of the signals to xMatters, in order."""
    return [json.loads(call.body)["incident"]["id"] for call in relay.session.calls]


def moved(relay: Relay) -> Job:
    """Move the only dead-lettered message to the retry queue, as AWS's redrive and relayctl do; return its job."""
    [job] = relay.dead_letters.jobs()
    relay.retries.messages += relay.dead_letters.messages
    relay.dead_letters.messages = []
    return job


def dead_lettered(*steps: Step, **changes: Any) -> Relay:
    """Return a relay whose only share was refused, and dead-lettered, some days ago."""
    relay = new_relay(REFUSED, *steps, **changes)
    relay.share()
    relay.retries.messages.clear()
    relay.clock.now += DAYS
    return relay


class TestRevival:
    def test_replayed_message_wakes_its_state_even_if_the_entry_has_a_higher_plan(self) -> None:
        relay = dead_lettered(samples.accepted("r9"))
        job = moved(relay)
        relay.ledger.change(entry_key_of(job), lambda each: each._replace(debt=each.debt._replace(plan=9)))
        relay.wake()
        assert relay.entry().accepted_signals[-1].request_id == "r9"

    def test_entry_knows_the_revival_before_xmatters_is_asked(self) -> None:
        seen: list[Any] = []

        def looks(_: Call) -> Any:
            entry = relay.entry()
            seen.append((entry.is_given_up, entry.debt.revived_at, entry.debt.since is not None))
            return samples.accepted()

        relay = dead_lettered(looks)
        moved(relay)
        relay.wake()
        assert seen == [(False, relay.clock.now, True)]

    def test_backoff_of_a_revived_job_counts_from_the_revival(self) -> None:
        relay = dead_lettered(DOWN)
        before = moved(relay)
        relay.retries.messages.clear()
        relay.clock.now += 3600
        worked(relay, before)
        [job] = relay.retries.jobs()
        assert (job.attempts, job.stamps.replays) == (2, 1)
        assert relay.retries.delays()[0] <= 30

    def test_age_of_a_revived_job_counts_from_the_revival(self) -> None:
        relay = dead_lettered(DOWN)
        moved(relay)
        relay.wake()
        revived_at = relay.clock.now
        [job] = relay.retries.jobs()
        assert (job.is_revived, seconds_of(job.revived_at or "")) == (True, revived_at)
        relay.clock.now += 21_601
        relay.wake()
        [job] = relay.dead_letters.jobs()
        assert (job.stamps.reason, job.stamps.replays, job.dead_lettered_at) == (
            "expired",
            1,
            timestamp(relay.clock.now),
        )
        assert len(relay.session.calls) == 2

    def test_revived_job_that_is_refused_again_is_dead_lettered_with_a_newer_mark(self) -> None:
        relay = dead_lettered()
        first = moved(relay)
        relay.wake()
        [again] = relay.dead_letters.jobs()
        assert (again.stamps.reason, again.attempts) == ("refused", 2)
        assert seconds_of(again.dead_lettered_at or "") > seconds_of(first.dead_lettered_at or "")
        entry = relay.entry()
        assert (entry.debt.dead_lettered_at, entry.debt.reason) == (
            seconds_of(again.dead_lettered_at or ""),
            "refused",
        )
        moved(relay)
        relay.wake()
        assert len(relay.session.calls) == 3


class TestOnce:
    def test_copy_of_a_dead_letter_that_was_dead_lettered_again_sends_nothing(self) -> None:
        relay = dead_lettered()
        first = moved(relay)
        relay.wake()
        relay.retries.messages.clear()
        assert worked(relay, first) == []
        assert (len(relay.session.calls), len(relay.dead_letters.messages)) == (2, 1)

    def test_copy_of_a_dead_letter_that_waits_for_its_next_attempt_is_dropped(self) -> None:
        relay = dead_lettered(DOWN, REFUSED)
        first = moved(relay)
        relay.wake()
        # SQS delivers the first dead letter once more.
        assert worked(relay, first) == []
        assert (len(relay.session.calls), len(relay.retries.messages)) == (2, 1)
        relay.wake(1200)
        assert (len(relay.session.calls), len(relay.dead_letters.messages), relay.retries.messages) == (3, 1, [])

    def test_leftover_message_does_not_revive_a_dead_lettered_state(self) -> None:
        relay = dead_lettered(samples.accepted())
        leftover = samples.changed(relay.dead_letters.jobs()[0], dead_lettered_at=None)
        worked(relay, leftover)
        assert len(relay.session.calls) == 1

    def test_leftover_message_of_an_earlier_revival_does_not_expire_the_state(self) -> None:
        relay = dead_lettered(DOWN)
        moved(relay)
        relay.wake()
        [leftover] = relay.retries.jobs()
        relay.retries.messages.clear()
        relay.clock.now += 7 * 3600
        worked(relay, leftover)
        moved(relay)
        relay.wake()
        relay.dead_letters.messages.clear()
        worked(relay, leftover)
        assert relay.dead_letters.messages == []

    def test_dead_letter_of_an_incident_that_ended_unannounced_sends_nothing(self) -> None:
        relay = dead_lettered()
        relay.share(status="ok", changedOn=LATER)
        relay.retries.messages.clear()
        moved(relay)
        relay.wake()
        assert (len(relay.session.calls), relay.retries.messages, relay.dead_letters.messages) == (1, [], [])


class TestWithoutTheLedger:
    def test_dead_letter_that_the_ledger_could_not_record_is_sent_when_replayed(self) -> None:
        relay = new_relay(REFUSED, samples.accepted())
        relay.dynamodb.refuses_writes = True
        relay.share()
        relay.dynamodb.refuses_writes = False
        relay.retries.messages.clear()
        assert not relay.entry().is_given_up
        relay.clock.now += DAYS
        moved(relay)
        relay.wake()
        assert len(relay.session.calls) == 2

    def test_replayed_note_of_an_accepted_signal_is_recorded_and_sends_nothing(self) -> None:
        relay = new_relay()
        relay.dynamodb.refuses_writes = True
        relay.share()
        relay.retries.messages = relay.retries.messages[-1:]
        relay.clock.now += DAYS
        relay.wake()
        relay.dynamodb.refuses_writes = False
        assert Flag.ACCEPTED in moved(relay).flags
        relay.wake()
        assert (len(relay.session.calls), relay.entry().announced is None) == (1, False)


class TestHolds:
    def test_revived_job_waits_for_its_rate_limit_slot_and_the_entry_has_the_reason(self) -> None:
        relay = new_relay(policy={"max_per_minute": 1})
        relay.share(id="i9")
        relay.retries.messages.clear()
        relay.clock.now += 20
        worked(relay, samples.job(dead_lettered_at="2027-01-15T06:00:00.000Z", recipients=(), url_recipients=()))
        assert sent(relay) == ["i9"]
        assert relay.entry().debt.reason == Reason.PACED
        relay.wake(42)
        assert sent(relay) == ["i9", "i1"]
        assert relay.retries.messages == []

    def test_unmarked_job_that_redrive_moved_expires_at_its_age(self) -> None:
        relay = new_relay()
        worked(relay, samples.job(received_at="2027-01-01T00:00:00.000Z", dead_lettered_at=None))
        [job] = relay.dead_letters.jobs()
        assert (job.stamps.reason, relay.session.calls) == ("expired", [])
        moved(relay)
        relay.wake()
        assert sent(relay) == ["i1"]


def exported(relay: Relay) -> list[bytes]:
    """Return the lines of an export of the dead-letter queue."""
    return [
        line_of("m1", read_envelope(each["MessageBody"]), each["MessageBody"]).encode()
        for each in relay.dead_letters.messages
    ]


def import_and_replay(relay: Relay, lines: list[bytes], times: int) -> None:
    """Import the lines several times, replay everything that is dead-lettered, and let the worker wake twice."""
    messages = [read_line(1, line).message for line in lines] * times
    relay.dead_letters.messages += [{"MessageBody": each.envelope, "DelaySeconds": 0} for each in messages]
    relay.retries.messages += relay.dead_letters.messages
    relay.dead_letters.messages = []
    relay.wake()
    relay.wake(60)


class TestImport:
    def test_job_that_was_dropped_and_imported_twice_rings_once(self) -> None:
        relay = dead_lettered(samples.accepted("r9"))
        lines = exported(relay)
        relay.dead_letters.messages = []
        import_and_replay(relay, lines, times=2)
        assert sent(relay) == ["i1", "i1"], "the refused signal, and one more"
        assert (relay.retries.messages, relay.dead_letters.messages) == ([], [])

    def test_import_of_a_file_whose_jobs_were_delivered_rings_nobody(self) -> None:
        relay = dead_lettered(samples.accepted("r9"))
        lines = exported(relay)
        moved(relay)
        relay.wake()
        assert len(relay.session.calls) == 2
        for _ in range(2):
            relay.clock.now += 30 * 86_400
            import_and_replay(relay, lines, times=2)
        assert len(relay.session.calls) == 2
        assert (relay.retries.messages, relay.dead_letters.messages) == ([], [])

    def test_import_of_a_job_that_was_refused_again_keeps_the_newer_dead_letter(self) -> None:
        relay = dead_lettered(REFUSED)
        lines = exported(relay)
        moved(relay)
        relay.wake()
        newer, relay.dead_letters.messages = relay.dead_letters.messages, []
        import_and_replay(relay, lines, times=1)
        assert len(relay.session.calls) == 2, "its mark is older than that of the ledger"
        relay.dead_letters.messages = newer
        moved(relay)
        relay.wake()
        assert len(relay.session.calls) == 3

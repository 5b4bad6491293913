"""Worker: each job of a batch has its own result, whatever the results of the others."""

import json
from copy import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from relay.delivery.task import entry_key_of
from relay.failures import QueueError, Reason
from relay.incidents.share import parse_share
from relay.jobs.job import Flag, Job, seconds_of, timestamp
from relay.jobs.queue import envelope_of, read_envelope
from relayctl.dlq.file import line_of, read_line
from tests import samples
from tests.fakes import Call, Clock, FakeSecrets, HookedDynamoDb, Relay, Step, new_relay, table_down, worked

DOWN = samples.refused(503, b"down")
EVENTS = Path(__file__).parents[3] / "events"


def records(*bodies: Any) -> list[dict[str, Any]]:
    """Return messages as an event source passes them to the function, with ids m1, m2 …"""
    return [{"messageId": f"m{number}", "body": body} for number, body in enumerate(bodies, 1)]


def jobs(*incidents: str, **changes: Any) -> list[dict[str, Any]]:
    """Return messages with signals of these incidents."""
    return records(
        *(envelope_of(samples.job(incident_id=each, body=samples.body(id=each), **changes)) for each in incidents)
    )


def sent(relay: Relay) -> list[str]:
    """Return the incidents of the signals to xMatters, in order."""
    return [json.loads(call.body)["incident"]["id"] for call in relay.session.calls]


@pytest.mark.parametrize("path", sorted(EVENTS.glob("*_worker_*.json")), ids=lambda path: path.stem)
def test_sample_event_is_within_its_age_on_any_day(path: Path) -> None:
    in_twenty_years = Clock(datetime(2046, 11, 29, tzinfo=UTC).timestamp())
    relay = new_relay(secrets=FakeSecrets(demo=json.dumps(samples.secret())), clock=in_twenty_years)
    assert relay.worker.work(json.loads(path.read_text())["Records"]) == []
    assert relay.dead_letters.messages == []


class TestMessages:
    def test_messages_of_delivered_jobs_are_deleted(self) -> None:
        relay = new_relay()
        assert relay.worker.work(jobs("i1", "i2")) == []
        assert (sorted(sent(relay)), relay.retries.messages) == (["i1", "i2"], [])
        assert relay.recorder.outcomes() == ["delivered", "delivered"]
        assert relay.recorder.metrics() == {}

    @pytest.mark.parametrize("body", ["", "{}", "not json", json.dumps({"schema": 2}), None, 7])
    def test_unreadable_message_stays_and_the_others_are_worked(self, body: Any) -> None:
        relay = new_relay()
        good = envelope_of(samples.job())
        assert relay.worker.work(records(good, body, good.replace("i1", "i2"))) == ["m2"]
        assert len(relay.session.calls) == 2
        assert "dead_lettered" not in relay.recorder.metrics()
        [line] = [line for line in relay.recorder.lines() if line["message"] == "unreadable job"]
        assert line["level"] == "ERROR"

    @pytest.mark.parametrize(("receives", "times"), [(1, 0), (20 - 1, 0), (20, 1)])
    @pytest.mark.parametrize(
        "message",
        [records("not json"), jobs("i1", kind="from-a-newer-version")],
        ids=["unreadable", "its job crashes"],
    )
    def test_message_that_sqs_dead_letters_is_counted_at_its_last_receive(
        self, message: list[dict[str, Any]], receives: int, times: int
    ) -> None:
        relay = new_relay()
        attributes = {"ApproximateReceiveCount": str(receives)}
        assert relay.worker.work([each | {"attributes": attributes} for each in message]) == ["m1"]
        assert relay.recorder.metrics().get("dead_lettered", 0) == times

    def test_job_without_an_incident_stays_and_the_others_are_worked(self) -> None:
        relay = new_relay()
        bad = envelope_of(samples.job(incident_id="i1", body=b"no incident at all"))
        assert relay.worker.work([*records(bad), *jobs("i1", "i2")[1:]]) == ["m1"]
        assert sent(relay) == ["i2"]
        assert sorted(relay.recorder.outcomes()) == ["delivered", "unsafe"]

    def test_fault_after_an_attempt_keeps_that_message_and_the_others_are_worked(self) -> None:
        relay = new_relay(DOWN, samples.accepted())
        relay.retries.failure = ZeroDivisionError("canary-words")
        assert relay.worker.work(jobs("i1", "i2")) == ["m1"]
        assert sent(relay) == ["i1", "i2"]
        assert "canary-words" not in relay.recorder.written()
        assert relay.recorder.metrics()["crash"] == 1

    def test_job_is_logged_in_one_line(self) -> None:
        relay = new_relay(DOWN)
        relay.worker.work(jobs("i1", attempts=2))
        [line] = relay.recorder.lines()
        expected = {
            "message": "job",
            "channel": "noc",
            "incident_id": "i1",
            "outcome": "queued",
            "transition": "opened",
            "reason": "upstream",
            "queue": "retry",
            "attempts": 1,
            "earlier_attempts": 2,
            "http_status": 503,
            "correlation_id": "request-1",
        }
        assert {name: line[name] for name in expected} == expected
        assert relay.recorder.metrics() == {"signal_failed": 1}


NO = QueueError("no")
NOW = "2027-01-15T08:00:00.000Z"
LATER = 1_800_000_001
MAX_AGE = 21_600


def woken(relay: Relay, age: int = 0, **changes: Any) -> list[str]:
    """Let a job wake now that came so many seconds before NOW; return the ids of the messages that stay."""
    came = timestamp(seconds_of(NOW) - age)
    job = samples.job(**{"received_at": came, "attempts": 0} | changes)
    return relay.worker.work([{"messageId": "m1", "body": envelope_of(job)}])


def waiting(relay: Relay) -> Job:
    """Return the one job that waits on the retry queue."""
    [job] = relay.retries.jobs()
    return job


class TestNextMessage:
    def test_next_message_of_a_failed_job_has_the_result_of_the_attempt(self) -> None:
        relay = new_relay(DOWN, chance=0.5)
        assert woken(relay, attempts=3, first_failed_at=None) == []
        job = samples.job(
            received_at=NOW,
            attempts=4,
            reason="upstream",
            http_status=503,
            response_excerpt="down",
            first_failed_at=NOW,
            last_failed_at=NOW,
            plan=2,
            transition="opened",
            digest=parse_share(samples.job().body).digest,
        )
        assert waiting(relay) == job
        assert relay.retries.delays() == [15]

    def test_old_message_goes_if_no_queue_takes_the_next_one_and_the_sweeper_wakes_the_state(self) -> None:
        relay = new_relay(DOWN, samples.accepted())
        relay.retries.failure = NO
        assert woken(relay, recipients=()) == []
        relay.retries.failure = None
        assert relay.sweep(60)["healed"] == 1
        relay.wake(0)
        assert (len(relay.session.calls), relay.retries.messages) == (2, [])

    @pytest.mark.parametrize("failure", [NO, TimeoutError("hangs")])
    def test_old_message_stays_if_neither_a_queue_nor_the_ledger_takes_the_next_one(self, failure: Exception) -> None:
        table = HookedDynamoDb()
        relay = new_relay(DOWN, samples.accepted(), dynamodb=table)
        relay.retries.failure = failure
        # The first write enters the gate, the second is the claim, and the third records the failure.
        table.before["update_item", 2] = table_down
        assert woken(relay) == ["m1"]
        relay.retries.failure = None
        relay.clock.now += 16
        assert woken(relay) == []
        assert (len(relay.session.calls), relay.retries.messages) == (2, [])

    def spaced(self, seconds: float, *, has_ledger: bool = True) -> Relay:
        """Return a relay after a job woke whose incident was signalled just now, and is to be left alone so long."""
        relay = new_relay(policy={"min_seconds_between_signals": seconds})
        relay.share(status="warning")
        relay.retries.messages.clear()
        relay.dynamodb.refuses_writes = not has_ledger
        body = samples.body(status="unknown", changedOn=LATER)
        assert woken(relay, recipients=(), status="unknown", body=body, version=(LATER, LATER)) == []
        return relay

    def test_job_that_waits_longer_than_a_message_can_has_a_row_alone(self) -> None:
        relay = self.spaced(1500)
        assert (relay.retries.messages, relay.entry().debt.due) == ([], relay.clock.now + 1500)
        relay.sweep(1499)
        assert (relay.retries.messages, len(relay.session.calls)) == ([], 1)
        relay.sweep(1)
        relay.wake(0)
        assert (len(relay.session.calls), relay.retries.messages) == (2, [])

    def test_chore_that_waits_for_a_reason_of_a_newer_version_is_put_back_on_its_queue(self) -> None:
        relay = new_relay()
        not_before = timestamp(relay.clock.now + 600)
        assert woken(relay, kind="followup", reason="newer", not_before=not_before) == []
        assert [job.not_before for job in relay.chores.jobs()] == [not_before]


class TestSchedule:
    @pytest.mark.parametrize(
        ("failure", "chance", "age", "delay"),
        [
            (DOWN, 1.0, 0, 30),
            (DOWN, 1.0, 45, 45),
            (DOWN, 0.5, 50, 25),
            (DOWN, 0.0, 50, 0),
            (DOWN, 1.0, 9000, 60),
            (samples.refused(429), 1.0, 0, 30),
            (samples.refused(429, retry_after="120"), 0.0, 0, 120),
            (samples.refused(503, retry_after="45"), 1.0, 60, 60),
            (samples.refused(503, retry_after="86400"), 1.0, 0, 900),
            (samples.refused(401), 0.0, 0, 300),
            (samples.refused(403), 1.0, 9000, 300),
            (requests.ReadTimeout("late"), 0.0, 0, 30),
            (requests.ReadTimeout("late"), 1.0, 480, 480),
            (requests.ConnectTimeout("gone"), 0.0, 0, 0),
        ],
    )
    def test_each_reason_has_its_backoff(self, failure: Step, chance: float, age: int, delay: float) -> None:
        relay = new_relay(failure, chance=chance)
        woken(relay, age, recipients=())
        assert (relay.retries.delays(), waiting(relay).stamps.attempts) == ([delay], 1)

    def test_retry_after_a_timeout_says_may_repeat(self) -> None:
        relay = new_relay(requests.ReadTimeout("late"), samples.accepted())
        woken(relay)
        assert (waiting(relay).stamps.reason, Flag.MAY_HAVE_PAGED in waiting(relay).flags) == ("timeout", True)
        relay.wake()
        assert [call.headers.get("X-Relay-May-Repeat") for call in relay.session.calls] == [None, "true"]
        assert relay.session.calls[1].headers["X-Relay-Attempt"] == "2"


class TestNoAttempt:
    """A wake without a request to xMatters does not count as an attempt, and does not lengthen the backoff."""

    def unchanged(self, relay: Relay, reason: Reason, asked: int) -> None:
        job = waiting(relay)
        assert (job.stamps.reason, job.stamps.attempts, Flag.MAY_HAVE_PAGED in job.flags) == (reason, 2, False)
        assert (job.stamps.first_failed_at, job.stamps.http_status) == ("2027-01-15T08:00:02.000Z", 503)
        assert len(relay.session.calls) == asked

    def test_open_circuit_does_not_count_as_an_attempt(self) -> None:
        relay = new_relay(samples.refused(429, retry_after="200"))
        relay.share(id="i9")
        relay.retries.messages.clear()
        woken(relay, attempts=2)
        self.unchanged(relay, Reason.CIRCUIT_OPEN, asked=1)
        assert 200 <= relay.retries.delays()[0] <= 205

    def test_lease_of_another_sender_does_not_count_as_an_attempt(self) -> None:
        def meets(_: Call) -> Any:
            woken(relay, attempts=2, recipients=(), version=(LATER, LATER), digest="other")
            return samples.accepted()

        relay = new_relay(meets)
        relay.share()
        # The messages are: the sender's own, the waiting one, and the one by which the sender wakes the waiting one.
        relay.retries.messages = relay.retries.messages[1:2]
        self.unchanged(relay, Reason.IN_FLIGHT, asked=1)
        assert relay.retries.delays() == [16]

    def test_ledger_that_is_down_does_not_count_as_an_attempt(self) -> None:
        relay = new_relay()
        relay.dynamodb.failure = TimeoutError()
        woken(relay, attempts=2)
        self.unchanged(relay, Reason.INTERNAL, asked=0)
        assert relay.retries.delays() == [30]


class TestExpiry:
    def test_job_that_is_owed_past_its_age_is_dead_lettered_as_expired(self) -> None:
        relay = new_relay(DOWN)
        woken(relay, attempts=7)
        relay.wake(MAX_AGE + 1)
        [job] = relay.dead_letters.jobs()
        assert (job.stamps.reason, job.stamps.attempts, job.dead_lettered_at) == (
            "expired",
            8,
            timestamp(relay.clock.now),
        )
        # The operator needs the last answer of xMatters to find the cause.
        assert (job.stamps.http_status, job.stamps.response_excerpt, job.stamps.last_failed_at) == (
            503,
            "down",
            NOW,
        )
        assert len(relay.session.calls) == 1
        assert relay.recorder.metrics()["dead_lettered"] == 1
        assert [line["reason"] for line in relay.recorder.lines() if line["message"] == "job"] == [
            "upstream",
            "expired",
        ]

    def test_job_wakes_when_its_age_ends_though_its_wait_is_longer(self) -> None:
        relay = new_relay(samples.refused(401), policy={"max_age_seconds": 100})
        woken(relay)
        assert relay.retries.delays() == [101]
        relay.wake(101)
        assert [job.stamps.reason for job in relay.dead_letters.jobs()] == ["expired"]

    def test_expired_job_waits_a_minute_if_the_dead_letter_queue_refuses_it(self) -> None:
        relay = new_relay()
        relay.dead_letters.failure = NO
        relay.clock.now += MAX_AGE + 1
        assert woken(relay, status="warning", body=samples.body(status="warning")) == []
        assert (waiting(relay).stamps.reason, relay.retries.delays()) == ("expired", [60])
        relay.dead_letters.failure = None
        relay.wake(60)
        assert (len(relay.dead_letters.messages), relay.retries.messages, relay.session.calls) == (1, [], [])


class TestChannelUnreadable:
    def test_job_of_an_unreadable_channel_waits_until_it_can_be_read(self) -> None:
        relay = new_relay()
        good, relay.secrets.texts["noc"] = relay.secrets.texts["noc"], "not json"
        assert woken(relay) == []
        assert (waiting(relay).stamps.reason, waiting(relay).stamps.attempts) == ("internal", 0)
        relay.secrets.texts["noc"] = good
        relay.wake(60)
        assert (len(relay.session.calls), relay.retries.messages) == (1, [])

    @pytest.mark.parametrize("kind", ["signal", "followup"])
    def test_job_of_an_unreadable_channel_expires_at_the_largest_age(self, kind: str) -> None:
        relay = unreadable()
        relay.clock.now += 1_209_600 + 1
        assert woken(relay, kind=kind) == []
        assert [job.stamps.reason for job in relay.dead_letters.jobs()] == ["expired"]
        assert relay.retries.messages == []


def unreadable() -> Relay:
    """Return a relay whose channel has a malformed secret."""
    return new_relay(secrets=FakeSecrets(noc="not json"))


REFUSED = samples.refused(404)
DAYS = 3 * 86_400


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
        assert (again.stamps.reason, again.stamps.attempts) == ("refused", 2)
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

    def test_leftover_message_does_not_revive_a_dead_lettered_state(self) -> None:
        relay = dead_lettered(samples.accepted())
        leftover = samples.changed(relay.dead_letters.jobs()[0], dead_lettered_at=None)
        worked(relay, leftover)
        assert len(relay.session.calls) == 1


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
        assert moved(relay).accepted
        relay.wake()
        assert (len(relay.session.calls), relay.entry().announced is None) == (1, False)


class TestHolds:
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
    messages = [read_line(line) for line in lines] * times
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


def owing(*kinds: str) -> Relay:
    """Return a relay whose channel was removed while jobs of these kinds were on the retry queue."""
    relay = new_relay(samples.accepted())
    for kind in kinds:
        body = samples.body(status="warning")
        relay.retries.queue().send(samples.job(kind=kind, recipients=(), status="warning", body=body))
    relay.secrets.texts.pop("noc")
    return relay


def removed_from(relay: Relay) -> Relay:
    """Return the relay with new functions, which have no cached copy of the removed channel."""
    return replace(relay, secrets=FakeSecrets())


@pytest.mark.parametrize("kind", ["signal", "writeback", "release"])
def test_job_of_a_removed_channel_is_dead_lettered_at_its_first_attempt(kind: str) -> None:
    relay = owing(kind)
    relay.wake(0)
    [dead] = relay.dead_letters.jobs()
    assert (dead.kind, dead.stamps.reason, relay.retries.messages) == (kind, "channel_removed", [])
    assert relay.recorder.metrics()["dead_lettered"] == 1


def test_followup_of_a_removed_channel_leaves_no_dead_letter() -> None:
    relay = owing("followup")
    relay.wake(0)
    assert (relay.dead_letters.messages, relay.retries.messages) == ([], [])


def test_fallback_is_notified_once_of_a_critical_of_a_removed_channel() -> None:
    relay = new_relay(DOWN)
    relay.share()
    gone = removed_from(relay)
    for _ in range(10):
        gone.wake(60)
        gone.sweep(0)
    [message] = gone.sns.published
    assert "the relay has given up" in message["Message"]
    assert "last reason: channel_removed" in message["Message"]
    assert (len(gone.dead_letters.messages), gone.retries.messages) == (1, [])


def test_dead_letters_of_a_removed_channel_can_be_replayed_after_it_is_made_again() -> None:
    relay = owing("signal")
    secret = json.dumps(samples.secret(policy={"min_seconds_between_signals": 0}))
    relay.wake(0)
    relay.secrets.texts["noc"] = secret
    relay.clock.now += 60
    [dead] = relay.dead_letters.jobs()
    relay.retries.messages.clear()
    worked(relay, dead)
    assert len(relay.session.calls) == 1
    assert relay.entry().announced

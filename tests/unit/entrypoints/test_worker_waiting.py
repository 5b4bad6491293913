"""Waits of a job: its next message is queued, the old one is deleted, and so on until the job ends."""

from typing import Any

import pytest
import requests

from relay.failures.errors import QueueError
from relay.failures.reasons import Reason
from relay.incidents.share import parse_share
from relay.jobs.envelope import envelope_of
from relay.jobs.job import Flag, Job, seconds_of, timestamp
from tests import samples
from tests.fakes import Call, FakeSecrets, FakeSqs, HookedDynamoDb, Relay, Step, new_relay, table_down

DOWN = samples.refused(503, b"down")
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

    def test_job_that_waits_long_has_a_message_while_the_ledger_is_down(self) -> None:
        relay = self.spaced(1500, has_ledger=False)
        assert relay.retries.delays() == [120]
        relay.dynamodb.refuses_writes = False
        relay.wake(120)
        assert (relay.retries.messages, len(relay.session.calls)) == ([], 1)
        assert relay.entry().debt.due == relay.clock.now + 1380


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
        assert (relay.retries.delays(), waiting(relay).attempts) == ([delay], 1)

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
        assert (job.stamps.reason, job.attempts, Flag.MAY_HAVE_PAGED in job.flags) == (reason, 2, False)
        assert (job.stamps.first_failed_at, job.stamps.http_status) == ("2027-01-15T08:00:02.000Z", 503)
        assert len(relay.session.calls) == asked

    def test_open_circuit_does_not_count_as_an_attempt(self) -> None:
        relay = new_relay(samples.refused(429, retry_after="200"))
        relay.share(id="i9")
        relay.retries.messages.clear()
        woken(relay, attempts=2)
        self.unchanged(relay, Reason.CIRCUIT_OPEN, asked=1)
        assert 200 <= relay.retries.delays()[0] <= 205

    def test_full_rate_limit_does_not_count_as_an_attempt(self) -> None:
        relay = new_relay(policy={"max_per_minute": 1})
        relay.share(id="i9")
        relay.retries.messages.clear()
        relay.clock.now += 1
        woken(relay, attempts=2)
        self.unchanged(relay, Reason.PACED, asked=1)
        assert 60 <= relay.retries.delays()[0] <= 61

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
        assert (job.stamps.reason, job.attempts, job.dead_lettered_at) == (
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

    def test_job_is_attempted_until_the_end_of_its_age(self) -> None:
        relay = new_relay()
        relay.clock.now += MAX_AGE
        woken(relay)
        assert (len(relay.session.calls), relay.dead_letters.messages) == (1, [])

    def test_job_past_its_age_is_not_dead_lettered_if_it_is_not_owed(self) -> None:
        relay = new_relay()
        relay.clock.now += MAX_AGE + 1
        woken(relay, body=samples.body(status="ok"), status="ok")
        assert (relay.dead_letters.messages, relay.retries.messages) == ([], [])

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
        assert (waiting(relay).stamps.reason, waiting(relay).attempts) == ("internal", 0)
        relay.secrets.texts["noc"] = good
        relay.wake(60)
        assert (len(relay.session.calls), relay.retries.messages) == (1, [])

    def test_job_of_an_unreadable_channel_expires_at_the_largest_age(self) -> None:
        relay = unreadable()
        relay.clock.now += 1_209_600 + 1
        assert woken(relay) == []
        assert [job.stamps.reason for job in relay.dead_letters.jobs()] == ["expired"]
        assert relay.retries.messages == []


def unreadable() -> Relay:
    """Return a relay whose channel has a malformed secret."""
    return new_relay(secrets=FakeSecrets(noc="not json"))


def test_every_wait_is_a_new_message_so_that_a_receive_count_above_one_means_a_crash() -> None:
    sent: list[dict[str, Any]] = []

    class Watched(FakeSqs):
        def send_message(self, **message: Any) -> dict[str, str]:
            sent.append(message)
            return super().send_message(**message)

    relay = new_relay(DOWN, retries=Watched())
    relay.share()
    for _ in range(5):
        relay.wake(900)
        assert len(relay.retries.messages) == 1
    assert len(sent) == 6

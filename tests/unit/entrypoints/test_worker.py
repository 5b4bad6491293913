"""Worker: each job of a batch has its own result, whatever the results of the others."""

import json
from typing import Any

import pytest

from relay.failures import QueueError
from relay.jobs.job import Job, seconds_of, timestamp
from relay.jobs.queue import envelope_of
from tests import samples
from tests.fakes import Call, FakeSecrets, HookedDynamoDb, Relay, Step, new_relay, table_down

DOWN = samples.refused(503, b"down")


def records(*bodies: Any) -> list[dict[str, Any]]:
    """Return messages as an event source passes them to the function, with ids m1, m2 …"""
    return [{"messageId": f"m{number}", "body": body} for number, body in enumerate(bodies, 1)]


def jobs(*incidents: str, **changes: Any) -> list[dict[str, Any]]:
    """Return messages with signals of these incidents."""
    return records(
        *(envelope_of(samples.job(incident_id=each, body=samples.body(id=each), **changes)) for each in incidents)
    )


class TestMessages:
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


NO = QueueError("no")
NOW = "2027-01-15T08:00:00.000Z"
MAX_AGE = 21_600


def woken(relay: Relay, age: int = 0, **changes: Any) -> list[str]:
    """Let a job wake now that came so many seconds before NOW; return the ids of the messages that stay."""
    came = timestamp(seconds_of(NOW) - age)
    job = samples.job(**{"received_at": came, "attempts": 0} | changes)
    return relay.worker.work([{"messageId": "m1", "body": envelope_of(job)}])


class TestNextMessage:
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


class TestChannelUnreadable:
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


def owing(*kinds: str) -> Relay:
    """Return a relay whose channel was removed while jobs of these kinds were on the retry queue."""
    relay = new_relay(samples.accepted())
    for kind in kinds:
        body = samples.body(status="warning")
        relay.retries.queue().send(samples.job(kind=kind, recipients=(), status="warning", body=body))
    relay.secrets.texts.pop("noc")
    return relay


@pytest.mark.parametrize("kind", ["signal", "writeback", "release"])
def test_job_of_a_removed_channel_is_dead_lettered_at_its_first_attempt(kind: str) -> None:
    relay = owing(kind)
    relay.wake(0)
    [dead] = relay.dead_letters.jobs()
    assert (dead.kind, dead.stamps.reason, relay.retries.messages) == (kind, "channel_removed", [])
    assert relay.recorder.metrics()["dead_lettered"] == 1

"""Worker: each job of a batch has its own result, whatever the results of the others."""

import json
from typing import Any

import pytest

from relay.jobs.job import timestamp
from relay.jobs.queue import envelope_of
from tests import samples
from tests.fakes import FakeSecrets, new_relay


def records(*bodies: Any) -> list[dict[str, Any]]:
    """Return messages as an event source passes them to the function, with ids m1, m2 …"""
    return [{"messageId": f"m{number}", "body": body} for number, body in enumerate(bodies, 1)]


def jobs(*incidents: str, **changes: Any) -> list[dict[str, Any]]:
    return records(
        *(envelope_of(samples.job(incident_id=each, body=samples.body(id=each), **changes)) for each in incidents)
    )


class TestMessages:
    @pytest.mark.parametrize("body", ["", "{}", "not json", json.dumps({"schema": 2}), None, 7])
    def test_unreadable_message_stays_and_the_others_are_worked(self, body: Any) -> None:
        relay = new_relay(access={"api_key": "BPU-1", "environment_id": "e1"})
        good = envelope_of(samples.job())
        assert relay.worker.work(records(good, body, good.replace("i1", "i2"))) == ["m2"]
        assert len(relay.session.calls) == 2
        assert "dead_lettered" not in relay.recorder.metrics()
        assert relay.chores.messages == [], "neither a follow-up without an API nor a release of what is not withheld"
        [line] = relay.recorder.lines("unreadable job")
        assert line["level"] == "ERROR"

    @pytest.mark.parametrize(("receives", "times"), [(1, 0), (20 - 1, 0), (20, 1)])
    @pytest.mark.parametrize(
        "message",
        [records("not json"), jobs("i1", kind="from-a-newer-version"), jobs("i1", kind="recovery")],
        ids=["unreadable", "of a newer version", "its job crashes"],
    )
    def test_message_that_sqs_dead_letters_is_counted_at_its_last_receive(
        self, message: list[dict[str, Any]], receives: int, times: int
    ) -> None:
        relay = new_relay()
        relay.dynamodb.failure = ZeroDivisionError()
        attributes = {"ApproximateReceiveCount": str(receives)}
        assert relay.worker.work([each | {"attributes": attributes} for each in message]) == ["m1"]
        assert relay.recorder.metrics().get("dead_lettered", 0) == times
        assert relay.recorder.metrics().get("crash", 0) == (message[0]["body"] != "not json")


@pytest.mark.parametrize("kind", ["signal", "followup"])
def test_job_of_an_unreadable_channel_expires_at_the_largest_age(kind: str) -> None:
    relay = new_relay(secrets=FakeSecrets(noc="not json"))
    relay.clock.now += 1_209_600 - 1
    assert relay.worker.work(jobs("i1", kind=kind, attempts=0)) == []
    assert relay.dead_letters.messages == []
    relay.retries.messages.clear()
    relay.clock.now += 2
    assert relay.worker.work(jobs("i1", kind=kind, attempts=0)) == []
    assert [job.stamps.reason for job in relay.dead_letters.jobs()] == ["expired"]
    assert relay.retries.messages == []


@pytest.mark.parametrize(("ahead", "delay"), [(0, 30), (600, 600)])
def test_chore_of_an_unreadable_channel_waits_on_its_queue_and_not_for_less_than_before(ahead: int, delay: int) -> None:
    relay = new_relay(secrets=FakeSecrets(noc="not json"))
    not_before = timestamp(relay.clock.now + ahead)
    assert relay.worker.work(jobs("i1", kind="followup", attempts=0, not_before=not_before)) == []
    assert ([job.kind for job in relay.chores.jobs()], relay.chores.delays()) == (["followup"], [delay])
    assert "crash" not in relay.recorder.metrics()


def test_signal_of_an_unreadable_channel_waits_longer_the_older_it_is() -> None:
    relay, delays = new_relay(secrets=FakeSecrets(noc="not json")), []
    for seconds in (10, 100):
        relay.clock.now += seconds
        assert relay.worker.work(jobs("i1")) == []
        delays.append(relay.retries.delays()[-1])
    assert delays == [30, 60]


def test_chore_with_a_reason_of_a_newer_version_waits_on_for_its_time() -> None:
    relay = new_relay()
    ahead = timestamp(relay.clock.now + 60)
    assert relay.worker.work(jobs("i1", kind="followup", reason="of-a-newer-version", not_before=ahead)) == []
    assert relay.chores.delays() == [60]


def test_follow_up_of_a_removed_channel_is_dropped() -> None:
    relay = new_relay()
    relay.secrets.texts.pop("noc")
    assert relay.worker.work(jobs("i1", kind="followup")) == []
    assert (relay.dead_letters.messages, relay.chores.messages) == ([], [])


@pytest.mark.parametrize("kind", ["signal", "writeback", "release"])
def test_job_of_a_removed_channel_is_dead_lettered_at_its_first_attempt(kind: str) -> None:
    relay = new_relay()
    relay.secrets.texts.pop("noc")
    assert relay.worker.work(jobs("i1", kind=kind)) == []
    [dead] = relay.dead_letters.jobs()
    assert (dead.kind, dead.stamps.reason, relay.retries.messages) == (kind, "channel_removed", [])
    assert relay.recorder.metrics()["dead_lettered"] == 1

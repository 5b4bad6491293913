"""A batch of jobs, and an operator's replay: each job has its own result, whatever became of the others."""

import json
from typing import Any

import pytest

from relay.errors import QueueError
from relay.worker import BATCH_SECONDS, JOB_SECONDS
from tests import samples
from tests.fakes import Call, FakeSqs, Relay, room

DOWN = samples.refused(503, b"down")
LATER = 1_800_000_001


def records(*bodies: Any) -> list[dict[str, Any]]:
    """Messages as an event source hands them over, with ids m1, m2 …"""
    return [{"messageId": f"m{number}", "body": body} for number, body in enumerate(bodies, 1)]


def jobs(*incidents: str, **changes: Any) -> list[dict[str, Any]]:
    """A batch of signals of these incidents."""
    return records(
        *(samples.job(incident_id=each, body=samples.body(id=each), **changes).to_json() for each in incidents)
    )


def sent(relay: Relay) -> list[str]:
    """The incidents that xMatters was asked to signal, in order."""
    return [json.loads(call.body)["incident"]["id"] for call in relay.session.calls]


class TestBatch:
    def test_what_is_delivered_may_go(self) -> None:
        relay = room()
        assert relay.worker.work(jobs("i1", "i2")) == []
        assert (sorted(sent(relay)), relay.retries.messages) == (["i1", "i2"], [])
        assert relay.recorder.metrics() == {"job_delivered": 2}

    def test_no_messages_are_no_work(self) -> None:
        assert room().worker.work([]) == []

    @pytest.mark.parametrize("body", ["", "{}", "not json", json.dumps({"schema": 2}), None, 7])
    def test_what_is_no_job_stays_and_the_others_are_worked(self, body: Any) -> None:
        relay = room()
        good = samples.job().to_json()
        assert relay.worker.work(records(good, body, good.replace("i1", "i2"))) == ["m2"]
        assert len(relay.session.calls) == 2
        assert relay.recorder.metrics()["unreadable_job"] == 1
        [line] = [line for line in relay.recorder.lines() if line["message"] == "unreadable job"]
        assert line["level"] == "ERROR"

    def test_a_job_of_a_kind_to_come_stays(self) -> None:
        relay = room()
        assert relay.worker.work(jobs("i1", kind="reconcile")) == ["m1"]
        assert (relay.session.calls, relay.recorder.metrics()["crash"]) == ([], 1)

    def test_one_jobs_crash_does_not_keep_the_others(self) -> None:
        relay = room()
        bad = samples.job(incident_id="i1", body=b"no incident at all").to_json()
        assert relay.worker.work([*records(bad), *jobs("i1", "i2")[1:]]) == ["m1"]
        assert sent(relay) == ["i2"]
        assert relay.recorder.metrics()["job_unsafe"] == 1

    def test_nor_does_a_fault_after_its_try(self) -> None:
        relay = room(DOWN, samples.accepted())
        relay.retries.failure = ZeroDivisionError("canary-words")
        assert relay.worker.work(jobs("i1", "i2")) == ["m1"]
        assert sent(relay) == ["i1", "i2"]
        assert "canary-words" not in relay.recorder.written()
        assert relay.recorder.metrics()["crash"] == 1

    def test_a_fault_of_ours_while_sending_is_a_try_that_failed(self) -> None:
        relay = room(ZeroDivisionError("canary-words"), samples.accepted())
        assert relay.worker.work(jobs("i1")) == []
        [again] = relay.retries.jobs()
        assert (again.reason, again.attempts, again.rounds, again.may_have_rung) == ("internal", 4, 1, True)
        assert "canary-words" not in relay.recorder.written()

    def test_critical_ones_come_first_and_then_the_oldest(self) -> None:
        relay = room()
        batch = [
            samples.job(incident_id=name, body=samples.body(id=name, status=status), status=status, received_at=came)
            for name, status, came in (
                ("i1", "warning", "2027-01-15T07:00:00.000Z"),
                ("i2", "critical", "2027-01-15T07:59:00.000Z"),
                ("i3", "ok", "2027-01-15T06:59:00.000Z"),
                ("i4", "critical", "2027-01-15T07:58:00.000Z"),
            )
        ]
        relay.worker.work(records(*(job.to_json() for job in batch)))
        # Nothing of i3 was announced, so nobody needs to hear that it is over.
        assert sent(relay) == ["i4", "i2", "i1"]

    def test_when_its_time_is_over_the_rest_waits_by_copy(self) -> None:
        def slow(call: Call) -> Any:
            relay.clock.now += JOB_SECONDS - 2
            return samples.accepted()

        relay = room(slow)
        names = [f"i{number}" for number in range(10)]
        assert relay.worker.work(jobs(*names)) == []
        done = int((BATCH_SECONDS - JOB_SECONDS) // (JOB_SECONDS - 2)) + 1
        assert sent(relay) == names[:done]
        assert [job.incident_id for job in relay.retries.jobs()] == names[done:]
        assert relay.retries.delays() == [0] * (10 - done)
        assert [job.attempts for job in relay.retries.jobs()] == [3] * (10 - done)

    def test_and_what_the_queue_does_not_take_then_stays(self) -> None:
        def slow(call: Call) -> Any:
            relay.clock.now += BATCH_SECONDS
            return samples.accepted()

        relay = room(slow)
        relay.retries.failure = QueueError("no")
        assert relay.worker.work(jobs("i1", "i2", "i3")) == ["m2", "m3"]

    def test_a_job_is_one_log_line(self) -> None:
        relay = room(DOWN)
        relay.worker.work(jobs("i1", rounds=2))
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
            "rounds": 2,
            "http_status": 503,
            "correlation_id": "request-1",
        }
        assert {name: line[name] for name in expected} == expected
        assert relay.recorder.metrics() == {"job_queued": 1, "reason_upstream": 1, "signal_failed": 1}


def test_the_retry_queue_is_asked_once_a_job() -> None:
    class Counting(FakeSqs):
        asked = 0

        def send_message(self, **message: Any) -> dict[str, str]:
            self.asked += 1
            return super().send_message(**message)

    retries = Counting()
    room(DOWN, retries=retries).worker.work(jobs("i1", "i2", "i3"))
    assert retries.asked == 3

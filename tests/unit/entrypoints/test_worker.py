"""Jobs that wake on a queue: each job has its own result, whatever became of the others."""

import json
from typing import Any

import pytest

from tests import samples
from tests.fakes import FakeSqs, Relay, room

DOWN = samples.refused(503, b"down")
LATER = 1_800_000_001


def records(*bodies: Any) -> list[dict[str, Any]]:
    """Messages as an event source hands them over, with ids m1, m2 …"""
    return [{"messageId": f"m{number}", "body": body} for number, body in enumerate(bodies, 1)]


def jobs(*incidents: str, **changes: Any) -> list[dict[str, Any]]:
    """Messages with signals of these incidents."""
    return records(
        *(samples.job(incident_id=each, body=samples.body(id=each), **changes).to_json() for each in incidents)
    )


def sent(relay: Relay) -> list[str]:
    """The incidents that xMatters was asked to signal, in order."""
    return [json.loads(call.body)["incident"]["id"] for call in relay.session.calls]


class TestMessages:
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
        assert relay.worker.work(jobs("i1", kind="from-a-newer-version")) == ["m1"]
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

"""Worker: each job of a batch has its own result, whatever the results of the others."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from relay.jobs.envelope import envelope_of
from tests import samples
from tests.fakes import Clock, FakeSecrets, Relay, new_relay

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

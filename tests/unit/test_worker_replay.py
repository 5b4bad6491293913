"""What an operator replays, or moves to the retry queue: it may be old, and it obeys the ledger."""

import json
from copy import replace
from typing import Any

import pytest

from relay.errors import AMBIGUOUS_REST_SECONDS, ChannelUnreadable, QueueError
from relay.message import Job, timestamp
from relay.worker import BATCH_SECONDS, JOB_SECONDS
from tests import samples
from tests.fakes import Call, Relay, Step, room

DOWN = samples.refused(503, b"down")
LATER = 1_800_000_001


def sent(relay: Relay) -> list[str]:
    """The incidents that xMatters was asked to signal, in order."""
    return [json.loads(call.body)["incident"]["id"] for call in relay.session.calls]


def replayed(relay: Relay, **changes: Any) -> dict[str, Any]:
    return relay.worker.replay(samples.job(**changes).to_json())


class TestReplay:
    def test_a_job_that_is_accepted_is_delivered(self) -> None:
        assert replayed(room()) == {"outcome": "delivered", "request_id": "r7", "attempts": 1}

    def test_a_job_that_fails_again_says_why_and_is_put_on_no_queue(self) -> None:
        relay = room(DOWN)
        assert replayed(relay) == {
            "outcome": "unsafe",
            "reason": "upstream",
            "attempts": 1,
            "http_status": 503,
            "response_excerpt": "down",
            "detail": "HTTP 503",
        }
        assert (relay.retries.messages, relay.dead_letters.messages) == ([], [])

    def test_the_result_is_plain_json(self) -> None:
        assert json.loads(json.dumps(replayed(room(DOWN)))) == replayed(room(DOWN))

    @pytest.mark.parametrize("envelope", ["", "{}", "not json", json.dumps({"schema": 2}), None, 7, {}])
    def test_what_is_no_job_is_told_so_and_sends_nothing(self, envelope: Any) -> None:
        relay = room()
        result = relay.worker.replay(envelope)
        assert (result["outcome"], result["reason"]) == ("unsafe", "internal")
        assert result["detail"].startswith("unreadable: ")
        assert relay.session.calls == []

    def test_a_job_of_a_kind_to_come_is_left_alone(self) -> None:
        relay = room()
        result = replayed(relay, kind="reconcile")
        assert (result["outcome"], result["reason"]) == ("unsafe", "internal")
        assert result["detail"] == "this version does not know jobs of kind reconcile"
        assert relay.session.calls == []

    def test_one_jobs_crash_is_its_result_and_not_the_end_of_the_others(self) -> None:
        relay = room(ZeroDivisionError("canary-words"), samples.accepted())
        assert replayed(relay) == {
            "outcome": "unsafe",
            "reason": "internal",
            "attempts": 1,
            "detail": "ZeroDivisionError",
            "may_have_rung": True,
        }
        relay.clock.now += AMBIGUOUS_REST_SECONDS
        assert replayed(relay)["outcome"] == "delivered"
        assert "canary-words" not in relay.recorder.written()

    def test_a_channel_that_can_not_be_read_is_told_without_its_secret(self) -> None:
        relay = room()
        relay.secrets.texts["noc"] = json.dumps({"inbound": {"token": "canary-token"}})
        result = replayed(relay)
        assert (result["reason"], result["attempts"]) == ("internal", 0)
        assert "xmatters" in result["detail"]
        assert "canary-token" not in json.dumps(result) + relay.recorder.written()
        relay.clock.now += 10
        relay.secrets.texts["noc"] = ChannelUnreadable("down")
        assert replayed(relay)["detail"] == "ChannelUnreadable: down"
        assert replayed(relay, channel="gone")["detail"] == "UnknownChannel: gone"

    def test_a_job_is_one_log_line_and_counted(self) -> None:
        relay = room(samples.refused(404))
        replayed(relay, replays=2)
        [line] = relay.recorder.lines()
        expected = {
            "message": "replay",
            "channel": "noc",
            "incident_id": "i1",
            "outcome": "unsafe",
            "reason": "refused",
            "kind": "signal",
            "replays": 2,
            "received_at": "2027-01-15T08:00:00.000Z",
            "delivery_id": "d" * 32,
            "correlation_id": "request-1",
            "http_status": 404,
        }
        assert {name: line[name] for name in expected} == expected
        assert relay.recorder.metrics() == {"replay_failed": 1, "reason_refused": 1}

    def test_a_job_has_seconds_of_its_own_and_one_try(self) -> None:
        relay = room(samples.refused(429, retry_after="1"), samples.accepted())
        assert replayed(relay)["attempts"] == 1
        assert relay.session.calls[0].seconds == JOB_SECONDS - 3
        assert relay.clock.slept == []


class TestReplayObeysTheLedger:
    """An operator's replay ignores how old a job is and that it was put to rest, but never what is announced."""

    def kept(self, relay: Relay, **said: Any) -> Job:
        """The dead letter of a share that was refused."""
        relay.share(**said)
        [job] = relay.dead_letters.jobs()
        return job

    def test_neither_its_age_nor_that_it_was_put_to_rest_holds_it(self) -> None:
        relay = room(samples.refused(404), samples.accepted("r9"))
        job = self.kept(relay)
        relay.clock.now += 10 * 86_400
        assert relay.worker.replay(job.to_json()) == {"outcome": "delivered", "request_id": "r9", "attempts": 1}
        assert relay.worker.replay(job.to_json()) == {"outcome": "duplicate", "attempts": 0}
        assert len(relay.session.calls) == 2

    def test_nor_when_it_must_not_be_tried_before(self) -> None:
        relay = room()
        not_before = timestamp(relay.clock.now + 600)
        assert replayed(relay, reason="credentials", not_before=not_before)["outcome"] == "delivered"

    def test_what_was_overtaken_is_superseded(self) -> None:
        relay = room(samples.refused(404), samples.accepted())
        job = self.kept(relay)
        relay.share(status="warning", changedOn=LATER)
        assert relay.worker.replay(job.to_json()) == {"outcome": "superseded", "attempts": 0}

    def test_what_is_over_changes_nothing_if_nobody_heard_of_it(self) -> None:
        relay = room()
        assert replayed(relay, status="ok", body=samples.body(status="ok")) == {"outcome": "unchanged", "attempts": 0}
        assert relay.session.calls == []
        assert relay.recorder.metrics() == {"replay_settled": 1}

    def test_what_fails_for_good_can_be_replayed_again(self) -> None:
        relay = room(samples.refused(404), samples.refused(404), samples.accepted())
        job = self.kept(relay)
        assert relay.worker.replay(job.to_json())["reason"] == "refused"
        assert len(relay.dead_letters.messages) == 1
        assert relay.worker.replay(job.to_json())["outcome"] == "delivered"


class TestReplayWaits:
    """What an operator replays while it is not its turn waits on the retry queue, and is his wish still."""

    def paced(self) -> Relay:
        relay = room(policy={"max_per_minute": 1})
        relay.share(id="i9")
        relay.retries.messages.clear()
        relay.clock.now += 20
        return relay

    def test_it_is_there_when_the_result_says_so(self) -> None:
        relay = self.paced()
        old = samples.job(received_at="2027-01-01T00:00:00.000Z", dead_lettered_at="2027-01-01T06:00:00.000Z", replays=1)
        result = relay.worker.replay(old.to_json())
        assert result == {"outcome": "queued", "queue": "retry", "reason": "paced", "attempts": 0}
        [waiting] = relay.retries.jobs()
        assert (waiting.dead_lettered_at, waiting.revived_at) == (None, timestamp(relay.clock.now))
        assert (waiting.replays, waiting.attempts, waiting.rounds) == (2, 3, 0)
        assert waiting.not_before
        assert 40 <= relay.retries.delays()[0] <= 42
        relay.wake(42)
        assert sent(relay) == ["i9", "i1"]
        assert relay.retries.messages == []

    def test_when_the_queue_does_not_take_it_it_stays_with_the_operator(self) -> None:
        relay = self.paced()
        relay.retries.failure = QueueError("no")
        assert replayed(relay) == {
            "outcome": "unsafe",
            "reason": "paced",
            "attempts": 0,
            "detail": "the retry queue did not take it",
        }
        assert relay.recorder.metrics()["replay_failed"] == 1

    def test_a_ledger_that_is_down_is_waited_for(self) -> None:
        relay = room()
        relay.dynamodb.failure = TimeoutError()
        result = replayed(relay, received_at="2027-01-01T00:00:00.000Z")
        assert (result["outcome"], result["queue"], result["reason"]) == ("queued", "retry", "internal")
        assert relay.session.calls == []
        relay.dynamodb.failure = None
        relay.wake()
        assert len(relay.session.calls) == 1


class TestMovedByAnOperator:
    """AWS's own redrive moves dead letters to the retry queue as they are."""

    def moved(self, relay: Relay) -> None:
        """Move all dead letters to the retry queue."""
        relay.retries.messages += relay.dead_letters.messages
        relay.dead_letters.messages = []

    def refused(self, *steps: Step, **changes: Any) -> Relay:
        """A path on which a share was refused, some days ago."""
        relay = room(samples.refused(404), *steps, **changes)
        relay.share()
        relay.retries.messages.clear()
        relay.clock.now += 3 * 86_400
        self.moved(relay)
        return relay

    def test_they_are_tried_however_old_they_are_and_wherever_they_rested(self) -> None:
        relay = self.refused(samples.accepted())
        relay.wake()
        assert (len(relay.session.calls), relay.retries.messages, relay.dead_letters.messages) == (2, [], [])

    def test_what_must_wait_is_known_as_moved_for_as_long_as_it_may_wait(self) -> None:
        relay = self.refused(DOWN, samples.accepted())
        relay.wake()
        [job] = relay.retries.jobs()
        assert (job.dead_lettered_at, job.revived_at, job.replays) == (None, timestamp(relay.clock.now), 1)
        assert (job.attempts, job.rounds) == (2, 1)
        relay.wake()
        assert len(relay.session.calls) == 3

    def test_but_not_for_ever(self) -> None:
        relay = self.refused(DOWN)
        relay.wake()
        relay.clock.now += 21_601
        relay.wake()
        [job] = relay.dead_letters.jobs()
        assert (job.reason, job.replays, job.dead_lettered_at) == ("expired", 1, timestamp(relay.clock.now))
        assert len(relay.session.calls) == 2

    def test_what_is_refused_again_rests_again(self) -> None:
        relay = self.refused()
        relay.wake()
        [job] = relay.dead_letters.jobs()
        assert (job.reason, job.attempts, job.dead_lettered_at) == ("refused", 2, timestamp(relay.clock.now))
        self.moved(relay)
        relay.wake()
        assert len(relay.session.calls) == 3

    def test_they_obey_the_ledger(self) -> None:
        relay = self.refused(samples.accepted())
        relay.share(status="warning", changedOn=LATER)
        relay.retries.messages.pop()
        relay.wake()
        assert (len(relay.session.calls), relay.retries.messages) == (2, [])
        assert relay.recorder.metrics()["job_superseded"] == 1

    def test_a_batch_that_ran_out_of_time_forgets_nothing_of_that(self) -> None:
        def slow(call: Call) -> Any:
            relay.clock.now += BATCH_SECONDS
            return samples.accepted()

        relay = room(slow)
        batch = [samples.job(incident_id=each, body=samples.body(id=each)) for each in ("i1", "i2")]
        batch[1] = replace(batch[1], dead_lettered_at="2027-01-15T08:00:00.000Z")
        relay.worker.work([{"messageId": job.incident_id, "body": job.to_json()} for job in batch])
        [left] = relay.retries.jobs()
        assert (left.incident_id, left.dead_lettered_at, left.replays, left.revived_at is None) == ("i2", None, 1, False)

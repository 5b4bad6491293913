import json
import random
from typing import Any

import pytest
import requests

from relay import incident
from relay.deadline import Deadline
from relay.delivery import MAX_LOGGED_CHARACTERS, Outcome, Result, delivery_id
from relay.errors import ChannelUnreadable, QueueError, Reason
from relay.message import Job
from tests import samples
from tests.fakes import Call, FakeSecrets, FakeSession, Relay, Step

DOWN = samples.refused(503, b"<h1>Service Unavailable</h1>")


def room(*steps: Step, **changes: Any) -> Relay:
    return Relay(FakeSession(*steps), **changes)


def relay_share(relay: Relay, body: bytes | None = None, recipients: tuple[str, ...] = ()) -> Result:
    content = samples.body() if body is None else body
    return relay.delivery.relay(
        relay.channels.get("noc"),
        incident.parse(content),
        content,
        recipients=recipients,
        correlation_id="c1",
        deadline=Deadline(8, relay.clock),
    )


def noise(size: int) -> str:
    return random.Random(size).randbytes(size // 2).hex()


def huge() -> bytes:
    return samples.body(alerts=[{"id": f"a{number}", "text": noise(10_000 + 2 * number)} for number in range(300)])


class TestRelay:
    def test_what_xmatters_accepts_is_delivered(self) -> None:
        relay = room(samples.accepted("r7"))
        result = relay_share(relay)
        assert (result.outcome, result.request_id, result.attempts) == (Outcome.DELIVERED, "r7", 1)
        assert (result.channel, result.incident_id, result.reason) == ("noc", "i1", None)
        assert relay.sqs.messages == []

    def test_what_it_does_not_accept_is_kept_whole(self) -> None:
        relay = room(DOWN, chance=0.5)
        started = relay.clock.now
        result = relay_share(relay, recipients=("jdoe",))
        assert (result.outcome, result.queue, result.reason) == (Outcome.QUEUED, "dead_letter", Reason.UPSTREAM)
        [job] = relay.sqs.jobs()
        assert job == Job(
            kind="signal",
            delivery_id=result.delivery_id or "",
            channel="noc",
            incident_id="i1",
            version=(1_800_000_000, 1_800_000_000),
            transition=None,
            status="critical",
            recipients=("jdoe",),
            body=samples.body(),
            received_at="2027-01-15T08:00:00.000Z",
            first_failed_at="2027-01-15T08:00:00.750Z",
            last_failed_at="2027-01-15T08:00:00.750Z",
            attempts=3,
            reason="upstream",
            http_status=503,
            response_excerpt="<h1>Service Unavailable</h1>",
            correlation_id="c1",
        )
        assert relay.clock.now - started == 0.75

    # A relay that answers 400 while the provider is down makes the sender give up: `_keep` answers `queued` here.
    @pytest.mark.parametrize(
        ("failure", "reason"),
        [
            (DOWN, Reason.UPSTREAM),
            (samples.refused(429), Reason.RATE_LIMITED),
            (samples.refused(404), Reason.REFUSED),
            (samples.refused(401), Reason.CREDENTIALS),
            (requests.ReadTimeout("late"), Reason.TIMEOUT),
            (requests.ConnectTimeout("gone"), Reason.UNREACHABLE),
        ],
        ids=lambda value: str(value) if isinstance(value, Reason) else "",
    )
    def test_whatever_the_reason_it_is_kept_with_it(self, failure: Step, reason: Reason) -> None:
        relay = room(failure)
        assert relay_share(relay).reason == reason
        assert [job.reason for job in relay.sqs.jobs()] == [reason]

    def test_recipients_are_the_channels_then_the_webhooks_each_once(self) -> None:
        document = samples.secret()
        document["xmatters"]["recipients"] = ["Net Ops", "jdoe"]
        relay = room(samples.accepted(), secrets=FakeSecrets(noc=json.dumps(document)))
        relay_share(relay, recipients=("jdoe", "night shift"))
        assert relay.session.calls[0].url.endswith("&recipients=Net%20Ops,jdoe,night%20shift")

    def test_a_body_that_no_queue_takes_is_sent_all_the_same(self) -> None:
        relay = room(samples.accepted())
        body = huge()
        assert len(body) > 3_000_000
        assert relay_share(relay, body).outcome == Outcome.DELIVERED
        assert relay.session.calls[0].body == body

    def test_and_is_kept_without_alert_details_when_that_fails(self) -> None:
        relay = room(DOWN)
        assert relay_share(relay, huge()).outcome == Outcome.QUEUED
        [job] = relay.sqs.jobs()
        assert job.body_reduced
        kept = json.loads(job.body)["incident"]
        assert (kept["id"], len(kept["alerts"])) == ("i1", 300)
        assert kept["relay_note"] == "cut to fit: alerts are here by id and status alone"

    def test_a_giant_word_does_not_keep_a_share_off_the_queue(self) -> None:
        relay = room(DOWN)
        body = samples.body(status=noise(3_000_000))
        assert relay_share(relay, body).outcome == Outcome.QUEUED


class TestUnsafe:
    def test_when_the_queue_refuses_too_the_result_holds_the_last_copy(self) -> None:
        relay = room(DOWN)
        relay.sqs.failure = QueueError("SQS refused the message: AccessDenied")
        result = relay_share(relay)
        assert (result.outcome, result.reason, result.queue) == (Outcome.UNSAFE, Reason.UPSTREAM, None)
        assert result.detail == (
            "HTTP 503; the dead-letter queue did not take it: SQS refused the message: AccessDenied"
        )
        assert Job.from_json(result.last_copy or "").body == samples.body()

    def test_a_last_copy_too_long_for_a_log_line_is_reduced_not_cut(self) -> None:
        relay = room(DOWN)
        relay.sqs.failure = QueueError("no")
        copy = relay_share(relay, huge()).last_copy or ""
        assert len(copy) <= MAX_LOGGED_CHARACTERS
        assert Job.from_json(copy).body_reduced

    def test_a_queue_that_hangs_is_given_up_when_the_time_is_over(self) -> None:
        def slow(call: Call) -> Any:
            relay.clock.now += 8.5
            return DOWN

        relay = room(slow)
        relay.sqs.failure = TimeoutError("hangs")
        assert relay_share(relay).outcome == Outcome.UNSAFE


class TestRedeliver:
    def redeliver(self, relay: Relay, **changes: Any) -> Result:
        return relay.worker.redelivery.redeliver(samples.job(**changes), Deadline(20, relay.clock))

    def test_it_sends_what_was_kept_to_whom_it_was_meant_for(self) -> None:
        relay = room(samples.accepted("r9"))
        result = self.redeliver(relay, recipients=("a b", "c"), body=b"{ }")
        assert (result.outcome, result.request_id) == (Outcome.DELIVERED, "r9")
        [call] = relay.session.calls
        assert (call.body, call.url) == (b"{ }", samples.TRIGGER_URL + "&recipients=a%20b,c")
        assert call.headers["X-Relay-Delivery-Id"] == "d" * 32
        assert call.headers["X-Relay-Attempt"] == "4"

    def test_what_fails_again_stays_with_its_new_reason(self) -> None:
        relay = room(samples.refused(404))
        result = self.redeliver(relay)
        assert (result.outcome, result.reason, result.http_status) == (Outcome.UNSAFE, Reason.REFUSED, 404)
        assert relay.sqs.messages == []

    @pytest.mark.parametrize(("may_have_rung", "says"), [(True, "true"), (False, None)])
    def test_only_what_may_have_rung_says_so(self, may_have_rung: bool, says: str | None) -> None:
        relay = room(samples.accepted())
        self.redeliver(relay, may_have_rung=may_have_rung)
        assert relay.session.calls[0].headers.get("X-Relay-May-Repeat") == says

    def test_without_its_channel_it_stays(self) -> None:
        relay = room(samples.accepted())
        gone = self.redeliver(relay, channel="gone")
        assert (gone.outcome, gone.reason, gone.detail) == (
            Outcome.UNSAFE,
            Reason.INTERNAL,
            "UnknownChannel: gone",
        )
        relay.secrets.texts["late"] = ChannelUnreadable("Secrets Manager could not be reached")
        assert self.redeliver(relay, channel="late").reason == Reason.INTERNAL
        assert relay.session.calls == []


class TestDeliveryId:
    def test_it_is_the_same_over_tries_replays_and_what_changes_without_meaning(self) -> None:
        first = delivery_id("noc", ("a",), samples.share(alerts=["x", "y"]))
        assert first == delivery_id("noc", ("a",), samples.share(alerts=["y", "x"], comments=["new"]))
        assert len(first) == 32
        relay = room(DOWN, DOWN, DOWN, samples.accepted())
        result = relay_share(relay)
        relay.worker.redelivery.redeliver(relay.sqs.jobs()[0], Deadline(20, relay.clock))
        assert {call.headers["X-Relay-Delivery-Id"] for call in relay.session.calls} == {result.delivery_id}

    @pytest.mark.parametrize(
        "other",
        [
            delivery_id("noc2", ("a",), samples.share()),
            delivery_id("noc", ("b",), samples.share()),
            delivery_id("noc", (), samples.share()),
            delivery_id("noc", ("a",), samples.share(id="i2")),
            delivery_id("noc", ("a",), samples.share(changedOn=1_800_000_001)),
            delivery_id("noc", ("a",), samples.share(status="ok")),
        ],
    )
    def test_it_differs_with_whatever_makes_another_delivery(self, other: str) -> None:
        assert delivery_id("noc", ("a",), samples.share()) != other

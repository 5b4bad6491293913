import json
from collections.abc import Callable
from copy import replace
from typing import Any

import pytest
import requests

from relay.channels.api_gateway import MAX_BODY_BYTES, Reply, Request
from relay.deadline import Deadline
from relay.entrypoints.authenticated_endpoint import INLINE_SECONDS, Endpoint
from relay.failures.errors import ChannelUnreadable, QueueError
from relay.ledger.credentials import Uses
from tests import samples
from tests.fakes import Call, FakeSession, Relay, Step

DOWN = samples.refused(503)


def new_relay(*steps: Step) -> Relay:
    return Relay(FakeSession(*steps or (samples.accepted(),)))


def answered(request: Request, *steps: Step) -> Reply:
    return new_relay(*steps).webhook.serve(request)


class TestAnswers:
    def test_delivered_share_is_answered_200_with_the_request_id(self) -> None:
        answer = answered(samples.request())
        assert answer.status == 200
        assert {name: value for name, value in answer.document.items() if name != "delivery_id"} == {
            "outcome": "delivered",
            "incident_id": "i1",
            "channel": "noc",
            "transition": "opened",
            "request_id": "r1",
        }
        assert len(answer.document["delivery_id"]) == 32

    # A relay that answers 400 while the provider is down makes the sender give up; `_STATUS` has 202 instead.
    @pytest.mark.parametrize(
        ("failure", "reason", "queue"),
        [
            (DOWN, "upstream", "retry"),
            (samples.refused(400), "refused", "dead_letter"),
            (samples.refused(401), "credentials", "retry"),
            (requests.ReadTimeout(), "timeout", "retry"),
        ],
        ids=["down", "refused", "credentials", "timeout"],
    )
    def test_failed_share_is_answered_202_with_queue_and_reason(self, failure: Step, reason: str, queue: str) -> None:
        relay = new_relay(failure)
        answer = relay.webhook.serve(samples.request())
        document = answer.document
        assert (answer.status, document["outcome"], document["reason"]) == (202, "queued", reason)
        assert document["queue"] == queue
        [job] = {"retry": relay.retries, "dead_letter": relay.dead_letters}[queue].jobs()
        assert job.delivery_id == document["delivery_id"]
        assert (document["transition"], "request_id" in document) == ("opened", False)

    def test_share_that_no_queue_takes_is_answered_202_if_the_ledger_keeps_it(self) -> None:
        relay = new_relay(DOWN)
        relay.retries.failure = relay.dead_letters.failure = QueueError("SQS refused the message: AccessDenied")
        answer = relay.webhook.serve(samples.request())
        document = answer.document
        assert (answer.status, document["outcome"], document["reason"]) == (202, "queued", "upstream")
        assert document["queue"] == "ledger"

    def test_share_that_is_neither_delivered_nor_kept_is_answered_503(self) -> None:
        relay = new_relay(DOWN)
        relay.dynamodb.refuses_writes = True
        relay.retries.failure = relay.dead_letters.failure = QueueError("SQS refused the message: AccessDenied")
        answer = relay.webhook.serve(samples.request())
        assert (answer.status, answer.document["outcome"], answer.document["reason"]) == (503, "unsafe", "upstream")
        assert "queue" not in answer.document

    @pytest.mark.parametrize(
        ("second", "outcome", "transition"),
        [
            (samples.body(), "duplicate", None),
            (samples.body(changedOn=1_799_999_999), "superseded", None),
            (samples.body(changedOn=1_800_000_001, comments=["on it"]), "unchanged", "touched"),
        ],
        ids=["duplicate", "superseded", "unchanged"],
    )
    def test_share_that_needs_no_signal_is_answered_200(
        self, second: bytes, outcome: str, transition: str | None
    ) -> None:
        relay = new_relay()
        first = relay.webhook.serve(samples.request())
        answer = relay.webhook.serve(samples.request(second))
        assert (answer.status, answer.document["outcome"]) == (200, outcome)
        assert answer.document["transition"] == transition
        assert (answer.document["delivery_id"] == first.document["delivery_id"]) is (outcome == "duplicate")
        assert len(relay.session.calls) == 1
        assert not {"reason", "queue", "request_id"} & set(answer.document)

    def test_share_that_waits_for_its_spacing_is_answered_202_with_reason_paced(self) -> None:
        relay = new_relay()
        relay.webhook.serve(samples.request())
        eased = samples.request(samples.body(status="warning", changedOn=1_800_000_001))
        answer = relay.webhook.serve(eased)
        assert (answer.status, answer.document["outcome"], answer.document["reason"]) == (202, "queued", "paced")
        assert (answer.document["queue"], answer.document["transition"]) == ("retry", "eased")

    def test_unreadable_secret_is_answered_503(self) -> None:
        relay = new_relay()
        relay.secrets.texts["noc"] = ChannelUnreadable("Secrets Manager refused")
        answer = relay.webhook.serve(samples.request())
        assert (answer.status, answer.document["outcome"], answer.document["reason"]) == (503, "unsafe", "internal")
        assert relay.session.calls == []

    @pytest.mark.parametrize(
        ("request_", "status", "error", "names"),
        [
            (samples.request(b"{"), 400, "bad_request", "body: is not JSON"),
            (samples.request(b"[]"), 400, "bad_request", "body: must be a JSON object"),
            (samples.request(b"{}"), 400, "bad_request", "incident.id: is missing"),
            (samples.request(headers=samples.OPEN | {"content-type": "text/plain"}), 415, "unsupported_media_type", ""),
            (samples.request(b" " * (MAX_BODY_BYTES + 1)), 413, "too_large", "body: has more than 4194304 bytes"),
            (samples.request(headers={}), 401, "unauthorized", "credentials: missing or wrong"),
        ],
        ids=["not json", "list", "no id", "type", "size", "credentials"],
    )
    def test_invalid_request_is_answered_with_the_field_that_is_wrong(
        self, request_: Request, status: int, error: str, names: str
    ) -> None:
        relay = new_relay()
        answer = relay.webhook.serve(request_)
        assert (answer.status, answer.document["error"]) == (status, error)
        assert answer.document["detail"].startswith(names)
        assert set(answer.document) == {"error", "detail"}
        assert (relay.session.calls, relay.dynamodb.calls) == ([], [])
        assert (relay.retries.messages, relay.dead_letters.messages) == ([], [])

    def test_every_401_has_the_same_bytes(self) -> None:
        relay = new_relay()
        wrong = [
            samples.request(headers={}),
            samples.request(headers={"authorization": "Bearer wrong"}),
            samples.request(headers={"authorization": "Basic !"}),
            samples.request(headers={"x-api-key": "wrong"}),
            samples.request(channel="ghost"),
            samples.request(channel="Not A Name/.."),
            samples.request(channel="ghost", headers={}),
        ]
        assert len({json.dumps(relay.webhook.serve(each).to_response()) for each in wrong}) == 1


class TestOrder:
    """Order of checks: credentials, size, type, JSON. Each request fails one of them and all later ones."""

    LARGE = " " * (MAX_BODY_BYTES + 1)
    PLAIN = samples.OPEN | {"content-type": "text/plain"}

    @pytest.mark.parametrize(
        ("request_", "status"),
        [
            (samples.request(body=LARGE, headers={"content-type": "text/plain"}), 401),
            (samples.request(body=LARGE, headers=PLAIN), 413),
            (samples.request(body="{", headers=PLAIN), 415),
            (samples.request(body="{"), 400),
        ],
        ids=["credentials", "size", "type", "json"],
    )
    def test_first_check_that_fails_decides_the_answer(self, request_: Request, status: int) -> None:
        assert answered(request_).status == status


class TestTime:
    def test_inline_work_with_the_queue_ends_within_eight_seconds(self) -> None:
        def slow(call: Call) -> Any:
            relay.clock.now += call.seconds
            raise requests.ReadTimeout("late")

        relay = new_relay(slow)
        started = relay.clock.now
        assert relay.webhook.serve(samples.request()).status == 202
        assert relay.clock.now - started <= INLINE_SECONDS - 2

    def test_slow_secret_leaves_less_time_for_the_signal(self) -> None:
        relay = new_relay(samples.accepted())
        real = relay.secrets.texts["noc"]
        relay.secrets.texts = _Slow(relay, noc=real)
        relay.webhook.serve(samples.request())
        assert relay.session.calls[0].seconds == pytest.approx(INLINE_SECONDS - 3 - 3)

    def test_share_is_kept_if_a_slow_secret_left_no_time_for_the_signal(self) -> None:
        relay = new_relay(samples.accepted())
        relay.secrets.texts = _Slow(relay, 6.5, noc=relay.secrets.texts["noc"])
        assert relay.webhook.serve(samples.request()).status == 202
        assert (relay.session.calls, relay.retries.jobs()[0].attempts) == ([], 0)


class TestHanging:
    """Requests whose work does not end in time. The watchdog's own tests are in `test_watchdog`."""

    def test_request_whose_work_hangs_is_answered_503_and_the_body_is_logged(self) -> None:
        relay = new_relay()
        answer = hanging(relay, during="take").serve(samples.request())
        assert (answer.status, answer.document["outcome"], answer.document["reason"]) == (503, "unsafe", "internal")
        assert (answer.document["incident_id"], answer.document["channel"]) == (None, "noc")
        [last] = [line for line in relay.recorder.lines() if line["level"] == "CRITICAL"]
        assert (last["error"], last["raw_body"]) == ("TimeoutError", samples.body().decode())
        assert relay.recorder.metrics() == {"crash": 1, "unsafe": 1, "signal_failed": 1}

    def test_body_of_a_request_that_hangs_before_its_authentication_is_not_logged(self) -> None:
        relay = new_relay()
        answer = hanging(relay, during="authentication").serve(samples.request(b"canary-body"))
        assert (answer.status, answer.document["outcome"]) == (503, "unsafe")
        assert "canary" not in relay.recorder.written()

    def test_share_is_answered_with_its_result_if_the_record_of_its_credential_hangs(self) -> None:
        relay = new_relay()
        answer = hanging(relay, during="record").serve(samples.request())
        assert (answer.status, answer.document["outcome"]) == (200, "delivered")
        assert relay.recorder.metrics() == {"share": 1}

    def test_request_gets_more_time_than_its_work_has(self) -> None:
        given: list[float] = []

        def watch(work: Callable[[], None], seconds: float) -> None:
            given.append(seconds)
            work()

        assert replace(new_relay().webhook, watch=watch).serve(samples.request()).status == 200
        assert given == [9.0]
        assert given[0] > INLINE_SECONDS


def hanging(relay: Relay, *, during: str) -> Endpoint:
    """Return the webhook, with a watchdog that abandons the work during one of its steps."""

    def hang(*_: object) -> Any:
        raise _Hangs

    def watch(work: Callable[[], None], _: float) -> None:
        try:
            work()
        except _Hangs:
            raise TimeoutError from None

    webhook = replace(relay.webhook, watch=watch)
    if during == "take":
        return replace(webhook, take=hang)
    if during == "authentication":
        return replace(webhook, authenticator=replace(webhook.authenticator, clock=hang))
    return replace(webhook, uses=_HangingUses(relay.table, relay.clock, "inbound"))


class _HangingUses(Uses):
    def record(self, channel: str, fingerprint: str, deadline: Deadline) -> None:
        raise _Hangs


class _Hangs(BaseException):
    """End of the work that a thread would go on with."""


class _Slow(dict[str, str | Exception]):
    def __init__(self, relay: Relay, seconds: float = 3.0, **texts: str | Exception) -> None:
        super().__init__(texts)
        self._relay, self._seconds = relay, seconds

    def get(self, *args: Any) -> Any:
        self._relay.clock.now += self._seconds
        return super().get(*args)


class TestGuessing:
    def test_guessed_channel_names_are_counted_as_rejected_and_not_as_unsafe(self) -> None:
        relay = new_relay()
        answers = [relay.webhook.serve(samples.request(channel=f"guess-{number}")) for number in range(30)]
        assert [answer.status for answer in answers] == [401] * 20 + [503] * 10
        assert relay.recorder.metrics() == {"rejected_request": 30}


class TestCrash:
    def test_fault_of_our_own_while_sending_leaves_the_share_queued(self) -> None:
        relay = new_relay(ZeroDivisionError("canary-words"))
        answer = relay.webhook.serve(samples.request())
        assert (answer.status, answer.document["outcome"], answer.document["reason"]) == (202, "queued", "internal")
        assert [job.body for job in relay.retries.jobs()] == [samples.body()]
        assert "canary-words" not in relay.recorder.written() + json.dumps(answer.document)
        [crash] = [line for line in relay.recorder.lines() if line["message"] == "crash"]
        assert (crash["level"], crash["error"]) == ("ERROR", "ZeroDivisionError")
        assert any("fakes.py" in frame and frame.endswith(" call") for frame in crash["frames"])
        assert relay.recorder.metrics()["crash"] == 1

    def test_fault_of_our_own_elsewhere_is_answered_503_and_the_body_is_logged(self) -> None:
        relay = new_relay(ZeroDivisionError())
        relay.retries.failure = ZeroDivisionError("canary-words")
        answer = relay.webhook.serve(samples.request())
        assert (answer.status, answer.document["outcome"], answer.document["reason"]) == (503, "unsafe", "internal")
        assert (answer.document["incident_id"], answer.document["channel"]) == (None, "noc")
        [last] = [line for line in relay.recorder.lines() if line["level"] == "CRITICAL"]
        assert last["raw_body"] == samples.body().decode()
        assert "canary-words" not in relay.recorder.written()

    def test_body_of_an_unauthenticated_request_is_not_logged_after_a_fault(self) -> None:
        relay = new_relay()
        relay.secrets.texts["noc"] = KeyError("canary-words")
        assert relay.webhook.serve(samples.request(b"canary-body")).status == 503
        assert "canary" not in relay.recorder.written()

    def test_fault_while_reading_secrets_is_answered_503(self) -> None:
        relay = new_relay()
        relay.secrets.texts["noc"] = KeyError("canary-words")
        assert relay.webhook.serve(samples.request()).status == 503
        assert "canary-words" not in relay.recorder.written()


class TestLog:
    def test_share_is_logged_in_one_line_with_its_outcome(self) -> None:
        relay = new_relay(DOWN, samples.accepted("r7"))
        answer = relay.webhook.serve(samples.request())
        [line] = relay.recorder.lines()
        expected = {
            "message": "share",
            "channel": "noc",
            "incident_id": "i1",
            "outcome": "delivered",
            "status": "critical",
            "transition": "opened",
            "why": "nothing of this open incident was announced",
            "attempts": 2,
            "request_id": "r7",
            "delivery_id": answer.document["delivery_id"],
            "correlation_id": "request-1",
        }
        assert {name: line[name] for name in expected} == expected
        assert set(line["milliseconds"]) == {"change_marks", "ledger", "enqueue", "rate_limit", "send", "used"}

    def test_refused_request_is_logged_in_one_line_without_headers_or_body(self) -> None:
        relay = new_relay()
        relay.webhook.serve(samples.request(b'{"canary": 1', headers=samples.OPEN | {"x-note": "canary"}))
        relay.webhook.serve(samples.request(channel="canary/..", headers={"authorization": "Bearer canary"}))
        assert [line["status"] for line in relay.recorder.lines()] == [400, 401]
        assert "canary" not in relay.recorder.written()
        assert relay.recorder.metrics() == {"rejected_request": 2}

    def test_shares_and_failures_are_counted_as_metrics(self) -> None:
        relay = new_relay(DOWN)
        relay.webhook.serve(samples.request())
        relay.retries.failure = QueueError("no")
        relay.webhook.serve(samples.request(samples.body(id="i2")))
        relay.dynamodb.refuses_writes = True
        relay.webhook.serve(samples.request(samples.body(id="i3")))
        relay.dead_letters.failure = QueueError("no")
        relay.webhook.serve(samples.request(samples.body(id="i4")))
        assert relay.recorder.metrics() == {
            "share": 3,
            "unsafe": 1,
            "signal_failed": 4,
            "dead_lettered": 1,
            "unguarded": 2,
        }

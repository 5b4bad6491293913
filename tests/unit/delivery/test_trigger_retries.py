import json
from typing import Any

import pytest
import requests

from relay.deadline import Deadline
from relay.delivery.step import MAX_ATTEMPTS
from relay.delivery.trigger_retries import FIRST_WAIT_SECONDS, SHORTEST_ATTEMPT_SECONDS
from relay.failures.errors import ChannelUnreadable
from relay.failures.reasons import Reason
from relay.http.session import HttpAnswer
from relay.jobs.outcome import SendResult
from tests import samples
from tests.fakes import Call, FakeSecrets, FakeSession, Relay, Step

DOWN = samples.refused(503)
RESET = requests.ConnectionError("reset")


def new_relay(*steps: Step, **changes: Any) -> Relay:
    relay = Relay(FakeSession(*steps), **changes)
    relay.channels.get("noc")
    return relay


def send(
    relay: Relay, *, seconds: float = 8, reserve: float = 2, attempts: int = MAX_ATTEMPTS, repeats: bool = False
) -> SendResult:
    channel, deadline = relay.channels.get("noc"), Deadline(seconds, relay.clock)
    return relay.sender.send(
        channel, samples.SIGNAL, deadline, reserve=reserve, max_attempts=attempts, repeats_if_ambiguous=repeats
    )


def reason(sent: SendResult) -> Reason | None:
    return sent.failure.reason if sent.failure else None


class TestPassingFailures:
    @pytest.mark.parametrize("failure", [DOWN, samples.refused(429), samples.refused(408)], ids=str)
    def test_passing_failure_is_attempted_three_times(self, failure: Step) -> None:
        relay = new_relay(failure)
        sent = send(relay)
        assert (sent.attempts, sent.request_id, len(relay.session.calls)) == (3, None, MAX_ATTEMPTS)
        assert sent.failure

    @pytest.mark.parametrize("attempts", [1, 2])
    def test_attempts_are_limited_by_the_caller(self, attempts: int) -> None:
        relay = new_relay(DOWN)
        assert send(relay, attempts=attempts).attempts == attempts
        assert (len(relay.session.calls), len(relay.clock.slept)) == (attempts, attempts - 1)

    @pytest.mark.parametrize("failures", [0, 1, 2])
    def test_attempts_end_with_the_first_that_is_accepted(self, failures: int) -> None:
        relay = new_relay(*[DOWN] * failures, samples.accepted())
        assert send(relay) == SendResult(failures + 1, 1, "r1")
        assert [call.headers["X-Relay-Attempt"] for call in relay.session.calls] == ["1", "2", "3"][: failures + 1]

    @pytest.mark.parametrize(
        ("steps", "rings"),
        [
            ((DOWN,), 0),
            ((DOWN, RESET, DOWN), 1),
            ((RESET,), 2),
            ((RESET, samples.accepted()), 2),
            ((samples.refused(504),), 2),
            ((samples.refused(504), samples.accepted()), 2),
            ((requests.ConnectTimeout("gone"),), 0),
            ((requests.ReadTimeout("late"),), 1),
            ((ZeroDivisionError(),), 1),
        ],
        ids=[
            *("none", "cut once", "cut each time", "cut, then accepted", "504 each time", "504, then accepted"),
            *("never connected", "late", "our own fault"),
        ],
    )
    def test_attempts_that_notified_or_may_have_are_counted(self, steps: tuple[Step, ...], rings: int) -> None:
        assert send(new_relay(*steps), repeats=True).maybe_accepted == rings

    def test_last_of_several_failures_is_returned(self) -> None:
        assert reason(send(new_relay(DOWN, RESET, samples.refused(404)), repeats=True)) == Reason.REFUSED

    @pytest.mark.parametrize("chance", [0.0, 0.25, 1.0])
    def test_waits_between_attempts_are_full_jitter_up_to_a_bound_that_doubles(self, chance: float) -> None:
        relay = new_relay(DOWN, chance=chance)
        send(relay)
        assert relay.clock.slept == [chance * FIRST_WAIT_SECONDS, chance * FIRST_WAIT_SECONDS * 2]

    def test_every_attempt_after_an_ambiguous_one_says_may_repeat(self) -> None:
        relay = new_relay(DOWN, RESET, DOWN)
        send(relay, repeats=True)
        repeats = [call.headers.get("X-Relay-May-Repeat") for call in relay.session.calls]
        assert repeats == [None, None, "true"]


class TestAmbiguousFailures:
    """Ambiguous failures: after a cut connection, or an answer of 500, 502 or 504, people may have been notified."""

    @pytest.fixture(params=[RESET, *(samples.refused(status) for status in (500, 502, 504))], ids=str)
    def failure(self, request: pytest.FixtureRequest) -> Step:
        step: Step = request.param
        return step

    def test_critical_gets_one_marked_retry_after_an_ambiguous_failure(self, failure: Step) -> None:
        relay = new_relay(failure)
        sent = send(relay, repeats=True)
        assert (sent.attempts, sent.maybe_accepted) == (2, 2)
        assert [call.headers.get("X-Relay-May-Repeat") for call in relay.session.calls] == [None, "true"]

    def test_other_signals_get_no_inline_retry_after_an_ambiguous_failure(self, failure: Step) -> None:
        sent = send(new_relay(failure))
        assert (sent.attempts, sent.maybe_accepted) == (1, 1)
        assert sent.failure
        assert sent.failure.may_have_acted

    @pytest.mark.parametrize("second", [DOWN, samples.refused(429), samples.refused(401)], ids=str)
    def test_failure_of_the_retry_after_an_ambiguous_one_ends_the_inline_attempts(
        self, failure: Step, second: Step
    ) -> None:
        assert send(new_relay(failure, second), repeats=True).attempts == 2


class TestLastingFailures:
    @pytest.mark.parametrize(
        "failure",
        [
            requests.ReadTimeout("late"),
            samples.refused(400),
            samples.refused(404),
            samples.refused(302),
            HttpAnswer(200, {}, b"<html>"),
        ],
        ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value.status),
    )
    def test_lasting_failure_is_not_retried_inline(self, failure: Step) -> None:
        relay = new_relay(failure)
        assert send(relay).attempts == 1
        assert (len(relay.session.calls), relay.clock.slept) == (1, [])

    def test_timeout_may_have_notified(self) -> None:
        sent = send(new_relay(requests.ReadTimeout("late")))
        assert sent.failure
        assert (sent.failure.reason, sent.failure.may_have_acted) == (Reason.TIMEOUT, True)


class TestRetryAfter:
    def test_retry_after_is_waited_for_if_there_is_time(self) -> None:
        relay = new_relay(samples.refused(429, retry_after="3"), samples.accepted())
        assert send(relay).request_id == "r1"
        assert relay.clock.slept == [3]

    def test_retry_after_of_zero_seconds_retries_at_once(self) -> None:
        relay = new_relay(samples.refused(503, retry_after="0"), samples.accepted())
        send(relay)
        assert relay.clock.slept == [0]

    def test_retry_after_beyond_the_deadline_ends_the_attempts(self) -> None:
        relay = new_relay(samples.refused(429, retry_after="30"))
        sent = send(relay)
        assert (sent.attempts, reason(sent), relay.clock.slept) == (1, Reason.RATE_LIMITED, [])

    def test_retry_after_that_leaves_too_little_time_for_an_attempt_ends_the_attempts(self) -> None:
        just_fits = str(6 - SHORTEST_ATTEMPT_SECONDS)
        assert send(new_relay(samples.refused(429, retry_after=just_fits), samples.accepted())).request_id == "r1"
        assert send(new_relay(samples.refused(429, retry_after="5.51"), samples.accepted())).request_id is None

    def test_retry_after_does_not_make_a_refusal_retriable(self) -> None:
        assert send(new_relay(samples.refused(404, retry_after="0"))).attempts == 1


class TestCredentials:
    ROTATED = json.dumps(samples.secret(url=samples.TRIGGER_URL.replace(samples.API_KEY, "new-key")))

    def test_attempt_is_repeated_with_a_rotated_secret_after_401(self) -> None:
        relay = new_relay(samples.refused(401), samples.accepted())
        relay.secrets.texts["noc"] = self.ROTATED
        relay.clock.now += 11
        assert send(relay) == SendResult(2, 1, "r1")
        assert relay.session.calls[1].url.endswith("?apiKey=new-key")
        assert relay.clock.slept == []

    def test_every_request_of_a_state_that_may_have_paged_says_may_repeat_with_renewed_credentials_too(self) -> None:
        relay = new_relay(requests.ReadTimeout("late"), samples.refused(401), samples.accepted())
        relay.share()
        relay.secrets.texts["noc"] = self.ROTATED
        relay.wake(60)
        repeats = [call.headers.get("X-Relay-May-Repeat") for call in relay.session.calls]
        assert repeats == [None, "true", "true"]

    @pytest.mark.parametrize("status", [401, 403])
    def test_unchanged_secret_is_not_tried_again_after_401_or_403(self, status: int) -> None:
        relay = new_relay(samples.refused(status))
        relay.clock.now += 11
        assert (sent := send(relay)).attempts == 1
        assert reason(sent) == Reason.CREDENTIALS
        assert relay.secrets.reads == ["noc", "noc"]

    def test_secret_is_read_again_every_ten_seconds_at_most(self) -> None:
        relay = new_relay(samples.refused(401))
        for _ in range(100):
            relay.clock.now += 0.5
            send(relay)
        assert 5 <= len(relay.secrets.reads) <= 6

    @pytest.mark.parametrize("trouble", [ChannelUnreadable("down"), "not json"])
    def test_unreadable_secret_leaves_the_reason_credentials(self, trouble: str | Exception) -> None:
        relay = new_relay(samples.refused(401))
        relay.secrets.texts["noc"] = trouble
        relay.clock.now += 11
        assert reason(send(relay)) == Reason.CREDENTIALS

    def test_removed_channel_leaves_the_reason_credentials(self) -> None:
        relay = new_relay(samples.refused(401))
        channel = relay.channels.get("noc")
        del relay.secrets.texts["noc"]
        relay.clock.now += 11
        sent = relay.sender.send(channel, samples.SIGNAL, Deadline(8, relay.clock))
        assert (sent.attempts, reason(sent)) == (1, Reason.CREDENTIALS)

    def test_secret_that_was_refreshed_meanwhile_is_used_after_401(self) -> None:
        relay = new_relay(samples.refused(401), samples.accepted())
        old = relay.channels.get("noc")
        relay.secrets.texts["noc"] = self.ROTATED
        relay.clock.now += 11
        relay.channels.refresh("noc")
        assert relay.sender.send(old, samples.SIGNAL, Deadline(8, relay.clock)).request_id == "r1"


class TestToken:
    def secrets(self, **changes: str) -> FakeSecrets:
        return FakeSecrets(noc=json.dumps(samples.secret(auth=samples.OAUTH | changes)))

    def test_expired_token_is_renewed_once_and_the_signal_is_sent(self) -> None:
        relay = new_relay(
            *(samples.token("t1"), samples.accepted("r1"), samples.refused(401)),
            *(samples.token("t2"), samples.accepted("r2")),
            secrets=self.secrets(),
        )
        send(relay)
        assert send(relay) == SendResult(2, 1, "r2")
        shown = [call.headers.get("Authorization") for call in relay.session.calls]
        assert shown == [None, "Bearer t1", "Bearer t1", None, "Bearer t2"]

    def test_token_that_was_revoked_with_its_password_is_replaced_by_one_of_the_new_password(self) -> None:
        relay = new_relay(
            *(samples.token("t1"), samples.accepted("r1"), samples.refused(401)),
            *(samples.token("t2"), samples.accepted("r2")),
            secrets=self.secrets(),
        )
        send(relay)
        relay.secrets.texts["noc"] = json.dumps(samples.secret(auth=samples.OAUTH | {"password": "new"}))
        relay.clock.now += 11
        assert send(relay, attempts=1).request_id == "r2"
        assert b"password=new" in relay.session.calls[3].body

    def test_fresh_token_that_is_refused_is_not_renewed_again(self) -> None:
        def answer(call: Call) -> HttpAnswer:
            return samples.token() if call.url.endswith("/token") else samples.refused(401)

        relay = new_relay(answer, secrets=self.secrets())
        assert send(relay).attempts == 1
        assert len(relay.session.calls) == 2

    def test_failed_token_request_is_no_attempt(self) -> None:
        relay = new_relay(DOWN, secrets=self.secrets())
        sent = send(relay)
        assert (sent.attempts, reason(sent), len(relay.session.calls)) == (0, Reason.UPSTREAM, 3)
        relay = new_relay(DOWN, samples.token(), samples.accepted(), secrets=self.secrets())
        assert send(relay).attempts == 1
        assert relay.session.calls[-1].headers["X-Relay-Attempt"] == "1"

    def test_rotated_password_gets_a_token_after_invalid_grant(self) -> None:
        relay = new_relay(
            samples.refused(400, b'{"error":"invalid_grant"}'),
            *(samples.token(), samples.accepted()),
            secrets=self.secrets(),
        )
        relay.secrets.texts["noc"] = json.dumps(samples.secret(auth=samples.OAUTH | {"password": "new"}))
        relay.clock.now += 11
        assert send(relay) == SendResult(1, 1, "r1")
        assert b"password=new" in relay.session.calls[1].body


class Vendor:
    """xMatters, which accepts signals with the current token or URL key alone, and keeps the signals' order.

    Attributes:
        busy: Number of the next signals that are answered 503.
        key: The current key in the trigger's URL; None if the channel uses OAuth.
        token: Number of the current token; a refused one is not replaced before the next token request.
    """

    def __init__(self, *, has_token: bool) -> None:
        self.busy, self.token, self.key = 0, 0, None if has_token else samples.API_KEY
        self.posts: list[int] = []
        self.is_closed = False

    def __call__(self, call: Call) -> HttpAnswer:
        if call.url.endswith("/token"):
            self.token += 1
            return samples.token(f"t{self.token}")
        self.posts.append(self._status(call))
        return samples.accepted() if self.posts[-1] == 202 else samples.refused(self.posts[-1])

    def _status(self, call: Call) -> int:
        if self.busy:
            self.busy -= 1
            return 503
        shown = call.url.rpartition("=")[2] if self.key else call.headers["Authorization"]
        return 202 if not self.is_closed and shown == (self.key or f"Bearer t{self.token}") else 401

    def changes(self, relay: Relay) -> None:
        """Revoke the token, or give the trigger another key, which the channel's secret gets."""
        if self.key is None:
            self.token += 1
            return
        self.key = "new-key"
        relay.secrets.texts["noc"] = TestCredentials.ROTATED


class TestChangedCredentials:
    """Shares and jobs of a channel of which a function has an old token or key."""

    @pytest.fixture(params=[True, False], ids=["revoked OAuth token", "rotated URL key"])
    def vendor(self, request: pytest.FixtureRequest) -> Vendor:
        return Vendor(has_token=request.param)

    @pytest.fixture
    def relay(self, vendor: Vendor) -> Relay:
        secret = samples.secret(auth=samples.OAUTH if vendor.key is None else None)
        relay = Relay(FakeSession(vendor), secrets=FakeSecrets(noc=json.dumps(secret)))
        relay.share(id="i0")
        relay.clock.now += 60
        return relay

    @pytest.mark.parametrize("busy", [0, 2])
    def test_share_rings_inline_with_the_new_credentials_after_as_many_busy_answers_as_attempts_allow(
        self, vendor: Vendor, relay: Relay, busy: int
    ) -> None:
        vendor.changes(relay)
        vendor.busy = busy
        assert relay.share().outcome == "delivered"
        assert vendor.posts[1:] == [503] * busy + [401, 202]

    def test_job_rings_with_the_new_credentials_when_it_wakes_first(self, vendor: Vendor, relay: Relay) -> None:
        vendor.busy = 3
        assert relay.share().outcome == "queued"
        vendor.changes(relay)
        relay.wake(60)
        assert vendor.posts[4:] == [401, 202]

    def test_job_whose_new_credentials_are_refused_as_well_asks_once_more_at_each_wake_at_most(
        self, vendor: Vendor, relay: Relay
    ) -> None:
        vendor.busy = 3
        relay.share()
        vendor.changes(relay)
        vendor.is_closed = True
        relay.wake(60)
        assert vendor.posts[4:] == [401, 401]
        relay.wake(300)
        assert len(vendor.posts[6:]) <= 2


class TestBudget:
    @pytest.mark.parametrize("takes", [0.0, 0.4, 1.0, 1.9, 2.9, 5.8])
    @pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
    def test_no_attempt_or_wait_goes_beyond_the_deadline(self, takes: float, chance: float) -> None:
        begun: list[tuple[float, float]] = []

        def slow(call: Call) -> HttpAnswer:
            begun.append((relay.clock.now, call.seconds))
            relay.clock.now += min(takes, call.seconds)
            return DOWN

        relay = new_relay(slow, chance=chance)
        start = relay.clock.now
        sent = send(relay, seconds=8, reserve=2)
        assert relay.clock.now - start <= 6 + 1e-6
        assert all(moment - start + seconds <= 6 + 1e-6 for moment, seconds in begun)
        assert sent.attempts == len(begun)

    def test_repeated_retry_afters_do_not_stretch_the_deadline(self) -> None:
        relay = new_relay(samples.refused(429, retry_after="4"))
        start = relay.clock.now
        assert send(relay).attempts == 2
        assert relay.clock.now - start == 4

"""Sender of one signal: its inline attempts, the waits between them, and credentials that are renewed meanwhile."""

import json
from typing import Any

import pytest
import requests

from relay.deadline import Deadline
from relay.failures import ChannelUnreadable, Reason
from relay.http.session import HttpAnswer
from relay.jobs.outcome import SendResult
from tests import samples
from tests.fakes import Call, FakeSecrets, FakeSession, Relay, Step

OK, DOWN, REFUSED, FORBIDDEN = samples.accepted(), *map(samples.refused, (503, 404, 401))
RESET, LATE = requests.ConnectionError("reset"), requests.ReadTimeout("late")
ROTATED = json.dumps(samples.secret(url=samples.TRIGGER_URL.replace(samples.API_KEY, "new-key")))


def new_relay(*steps: Step, **changes: Any) -> Relay:
    relay = Relay(FakeSession(*steps), **changes)
    relay.channels.get("noc")
    return relay


def send(
    relay: Relay, *, seconds: float = 8, reserve: float = 2, attempts: int = 3, repeats: bool = False
) -> SendResult:
    channel, deadline = relay.channels.get("noc"), Deadline(seconds, relay.clock)
    return relay.xmatters.send(
        channel, samples.SIGNAL, deadline, reserve=reserve, max_attempts=attempts, repeats_if_ambiguous=repeats
    )


def reason(sent: SendResult) -> Reason | None:
    return sent.failure.reason if sent.failure else None


def wait(status: int, retry_after: str) -> HttpAnswer:
    return samples.refused(status, retry_after=retry_after)


# Answers, the largest number of attempts (negative for a critical, which is repeated after an ambiguous failure); the
# attempts, how many of them may have notified, the reason of the last failure, and the waits with a chance of 1.
ATTEMPTS: dict[str, tuple[list[Step], int, int, int, str | None, list[float]]] = {
    "503": ([DOWN], 3, 3, 0, "upstream", [0.5, 1]),
    "429": ([samples.refused(429)], 3, 3, 0, "rate_limited", [0.5, 1]),
    "408": ([samples.refused(408)], 3, 3, 0, "upstream", [0.5, 1]),
    "never connected": ([requests.ConnectTimeout("gone")], 3, 3, 0, "unreachable", [0.5, 1]),
    "one attempt": ([DOWN], 1, 1, 0, "upstream", []),
    "two attempts": ([DOWN], 2, 2, 0, "upstream", [0.5]),
    "accepted": ([OK], 3, 1, 1, None, []),
    "accepted at last": ([DOWN, DOWN, OK], 3, 3, 1, None, [0.5, 1]),
    "last failure": ([DOWN, DOWN, REFUSED], 3, 3, 0, "refused", [0.5, 1]),
    "late": ([LATE], -3, 1, 1, "timeout", []),
    "our own fault": ([ZeroDivisionError()], -3, 1, 1, "internal", []),
    "400": ([samples.refused(400)], 3, 1, 0, "refused", []),
    "302": ([samples.refused(302)], 3, 1, 0, "refused", []),
    "200": ([HttpAnswer(200, {}, b"<html>")], 3, 1, 0, "refused", []),
    "cut, warning": ([RESET], 3, 1, 1, "unreachable", []),
    "500, warning": ([samples.refused(500)], 3, 1, 1, "upstream", []),
    "cut, critical": ([RESET], -3, 2, 2, "unreachable", [0.5]),
    "502, critical": ([samples.refused(502)], -3, 2, 2, "upstream", [0.5]),
    "504, accepted, critical": ([samples.refused(504), OK], -3, 2, 2, None, [0.5]),
    "503, cut, 503, critical": ([DOWN, RESET, DOWN], -3, 3, 1, "upstream", [0.5, 1]),
    "cut, 503, critical": ([RESET, DOWN], -3, 2, 1, "upstream", [0.5]),
    "cut, 401, critical": ([RESET, FORBIDDEN], -3, 2, 1, "credentials", [0.5]),
    # The signal has 6 s, of which an attempt needs half a second at least.
    "Retry-After": ([wait(429, "3"), OK], 3, 2, 1, None, [3]),
    "Retry-After, none": ([wait(503, "0"), OK], 3, 2, 1, None, [0]),
    "Retry-After, just fits": ([wait(429, "5.5"), OK], 3, 2, 1, None, [5.5]),
    "Retry-After, does not fit": ([wait(429, "5.51"), OK], 3, 1, 0, "rate_limited", []),
    "Retry-After, fits once": ([wait(429, "4")], 3, 2, 0, "rate_limited", [4]),
    "Retry-After of a refusal": ([wait(404, "0")], 3, 1, 0, "refused", []),
}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_inline_attempts_of_a_signal(name: str) -> None:
    answers, most, attempts, maybe_accepted, failure, waits = ATTEMPTS[name]
    relay = new_relay(*answers)
    sent = send(relay, attempts=abs(most), repeats=most < 0)
    assert (sent.attempts, sent.maybe_accepted, reason(sent)) == (attempts, maybe_accepted, failure)
    assert (sent.request_id, relay.clock.slept) == (None if failure else "r1", waits)
    assert [call.headers["X-Relay-Attempt"] for call in relay.session.calls] == ["1", "2", "3"][:attempts]


@pytest.mark.parametrize("chance", [0.0, 0.25])
def test_waits_between_attempts_are_full_jitter_up_to_a_bound_that_doubles(chance: float) -> None:
    relay = new_relay(DOWN, chance=chance)
    send(relay)
    assert relay.clock.slept == [chance * 0.5, chance]


@pytest.mark.parametrize("takes", [0.0, 0.4, 1.0, 1.9, 2.9, 5.8])
@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_no_attempt_or_wait_goes_beyond_the_deadline(takes: float, chance: float) -> None:
    begun: list[tuple[float, float]] = []

    def slow(call: Call) -> HttpAnswer:
        begun.append((relay.clock.now, call.seconds))
        relay.clock.now += min(takes, call.seconds)
        return DOWN

    relay = new_relay(slow, chance=chance)
    start = relay.clock.now
    sent = send(relay)
    assert relay.clock.now - start <= 6 + 1e-6
    assert all(moment - start + seconds <= 6 + 1e-6 for moment, seconds in begun)
    assert sent.attempts == len(begun)


# ---- Credentials -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_refreshed", [False, True], ids=["by this sender", "by another one"])
def test_attempt_is_repeated_with_a_rotated_secret_after_401(is_refreshed: bool) -> None:
    relay = new_relay(FORBIDDEN, OK)
    old = relay.channels.get("noc")
    relay.secrets.texts["noc"] = ROTATED
    relay.clock.now += 11
    if is_refreshed:
        relay.channels.refresh("noc")
    sent = relay.xmatters.send(old, samples.SIGNAL, Deadline(8, relay.clock), max_attempts=1)
    assert (sent, relay.clock.slept) == (SendResult(2, 1, "r1"), [])
    assert relay.session.calls[1].url.endswith("?apiKey=new-key")


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("secret", [None, ChannelUnreadable("down"), "not json", "removed"])
def test_signal_is_not_sent_again_without_new_credentials(status: int, secret: str | Exception | None) -> None:
    relay = new_relay(samples.refused(status))
    channel = relay.channels.get("noc")
    if secret == "removed":
        del relay.secrets.texts["noc"]
    elif secret:
        relay.secrets.texts["noc"] = secret
    relay.clock.now += 11
    sent = relay.xmatters.send(channel, samples.SIGNAL, Deadline(8, relay.clock))
    assert (sent.attempts, reason(sent), len(relay.secrets.reads)) == (1, "credentials", 2)


def test_secret_is_read_again_every_ten_seconds_at_most_and_not_without_time_for_it() -> None:
    relay = new_relay(FORBIDDEN)
    for _ in range(100):
        relay.clock.now += 0.5
        send(relay)
    assert 5 <= len(relay.secrets.reads) <= 6
    relay.clock.now += 11
    reads = len(relay.secrets.reads)
    assert reason(send(relay, seconds=3)) == "credentials"
    assert len(relay.secrets.reads) == reads


def with_token() -> FakeSecrets:
    return FakeSecrets(noc=json.dumps(samples.secret(auth=samples.OAUTH)))


@pytest.mark.parametrize("password", [None, "new"])
def test_expired_token_is_renewed_with_the_password_of_now_and_the_signal_is_sent(password: str | None) -> None:
    first = (samples.token("t1"), samples.accepted("r1"), FORBIDDEN)
    relay = new_relay(*first, samples.token("t2"), samples.accepted("r2"), secrets=with_token())
    send(relay)
    if password:
        relay.secrets.texts["noc"] = json.dumps(samples.secret(auth=samples.OAUTH | {"password": password}))
        relay.clock.now += 11
    assert send(relay, attempts=1) == SendResult(2, 1, "r2")
    shown = [call.headers.get("Authorization") for call in relay.session.calls]
    assert shown == [None, "Bearer t1", "Bearer t1", None, "Bearer t2"]
    assert f"password={password or samples.OAUTH['password']}".encode() in relay.session.calls[3].body


def test_token_that_another_thread_has_renewed_meanwhile_is_renewed_too() -> None:
    def refused(_: Call) -> HttpAnswer:
        assert send(relay, attempts=1) == SendResult(2, 1, "r2")
        return FORBIDDEN

    others = (FORBIDDEN, samples.token("t2"), samples.accepted("r2"))
    own = (samples.token("t3"), samples.accepted("r3"))
    first = (samples.token("t1"), samples.accepted("r1"))
    relay = new_relay(*first, refused, *others, *own, secrets=with_token())
    send(relay)
    assert send(relay, attempts=1) == SendResult(2, 1, "r3")


@pytest.mark.parametrize("busy", [0, 2])
@pytest.mark.parametrize("has_token", [True, False], ids=["revoked OAuth token", "rotated URL key"])
def test_share_rings_inline_with_the_new_credentials_after_as_many_busy_answers_as_attempts_allow(
    has_token: bool, busy: int
) -> None:
    answers: list[Step] = [OK, *[DOWN] * busy, FORBIDDEN]
    if has_token:
        relay = new_relay(samples.token("t1"), *answers, samples.token("t2"), OK, secrets=with_token())
    else:
        relay = new_relay(*answers, OK)
    relay.share(id="i0")
    relay.clock.now += 60
    if not has_token:
        relay.secrets.texts["noc"] = ROTATED
    assert relay.share().outcome == "delivered"
    last = relay.session.calls[-1]
    assert last.headers["Authorization"] == "Bearer t2" if has_token else last.url.endswith("?apiKey=new-key")

"""Trigger: a request to xMatters and its answer; the inline attempts of a signal, and renewed credentials."""

import base64
import json
from collections.abc import Callable
from copy import replace
from ssl import SSLCertVerificationError, SSLEOFError
from typing import Any
from urllib.parse import parse_qs

import pytest
import requests
import urllib3

from relay.deadline import Deadline
from relay.failures import ChannelUnreadable, Reason, SendError
from relay.http.session import HttpAnswer
from relay.jobs.result import SendResult
from relay.xmatters.trigger import with_recipients
from tests import samples
from tests.fakes import Call, FakeSecrets, FakeSession, Relay, Step, Trigger


class TestRequest:
    def test_signal_is_sent_byte_for_byte_with_its_headers(self) -> None:
        trigger = Trigger(samples.accepted())
        assert trigger.send(recipients=("jdoe", "Net Ops"), attempt=2, may_repeat=True) == "r1"
        [call] = trigger.session.calls
        assert call.body == samples.ODD_BODY
        assert call.url == samples.TRIGGER_URL + "&recipients=jdoe,Net%20Ops"
        assert call.seconds == 6
        assert call.headers == {
            "Content-Type": "application/json",
            "X-Relay-Decision": '{"channel":"noc","incident_id":"i1","environment_id":"e1","page_key":"k1",'
            '"is_over":false,"status":"critical","priority":"HIGH","body":"bigpanda","recipients":["jdoe","Net Ops"]}',
            "X-Relay-Delivery-Id": "d1",
            "X-Relay-Correlation-Id": "c1",
            "X-Relay-Attempt": "2",
            "X-Relay-May-Repeat": "true",
        }

    @pytest.mark.parametrize("correlation_id", ["a\r\nX-Evil: 1", "ä✓\ud800", "\x00", "Root=1-5e1b"])
    def test_correlation_id_cannot_break_a_header(self, correlation_id: str) -> None:
        trigger = Trigger(samples.accepted())
        trigger.send(correlation_id=correlation_id)
        sent = trigger.session.calls[0].headers["X-Relay-Correlation-Id"]
        assert sent.isascii()
        assert not set(sent) & set("\r\n\x00 ")


@pytest.mark.parametrize(
    ("auth", "login"),
    [
        (samples.BASIC, "relay:basic-password-81b2"),
        (samples.KEY, "x-api-key-4410:key-secret-93c4"),
        ({"type": "basic", "username": "rëlay", "password": "密码:✓ "}, "rëlay:密码:✓ "),
    ],
)
def test_login_is_sent_as_basic_in_utf_8(auth: dict[str, str], login: str) -> None:
    trigger = Trigger(samples.accepted(), auth=auth)
    trigger.send()
    assert trigger.authorizations() == ["Basic " + base64.b64encode(login.encode()).decode()]
    assert "apiKey" not in trigger.urls()[0]


class TestToken:
    def test_token_is_requested_once_and_used_until_shortly_before_its_end(self) -> None:
        trigger = Trigger(samples.token("t1", 900), samples.accepted(), auth=samples.OAUTH)
        trigger.send()
        trigger.clock.now += 900 - 30 - 1
        trigger.send()
        assert trigger.authorizations() == [None, "Bearer t1", "Bearer t1"]
        assert trigger.urls()[0] == "https://acme.xmatters.com/api/xm/1/oauth2/token"
        assert parse_qs(trigger.session.calls[0].body.decode()) == {
            "grant_type": ["password"],
            "client_id": ["client-1"],
            "username": ["relay"],
            "password": ["oauth-password-a7d5"],
        }
        assert trigger.session.calls[0].headers == {"Content-Type": "application/x-www-form-urlencoded"}

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (samples.refused(400, b'{"error":"invalid_grant"}'), Reason.CREDENTIALS),
            (samples.refused(429), Reason.RATE_LIMITED),
            (samples.refused(503), Reason.UPSTREAM),
            (samples.token()._replace(status=503), Reason.UPSTREAM),
            (samples.refused(404), Reason.CREDENTIALS),
            (samples.refused(405), Reason.REFUSED),
            (HttpAnswer(302, {"location": "https://acme.xmatters.com/maintenance"}, b""), Reason.UPSTREAM),
            (HttpAnswer(200, {}, b"<html>log in</html>"), Reason.UPSTREAM),
            (HttpAnswer(200, {}, b'{"access_token": 7, "expires_in": 900}'), Reason.UPSTREAM),
            (samples.token(""), Reason.UPSTREAM),
            (HttpAnswer(200, {}, b'{"access_token": "t\\r\\nX-Evil: 1", "expires_in": 900}'), Reason.UPSTREAM),
            (HttpAnswer(200, {}, '{"access_token": "é", "expires_in": 900}'.encode()), Reason.UPSTREAM),
        ],
        ids=lambda value: str(value.status) if isinstance(value, HttpAnswer) else str(value),
    )
    def test_trigger_is_not_called_without_a_token(self, answer: HttpAnswer, reason: Reason) -> None:
        trigger = Trigger(answer, auth=samples.OAUTH)
        failure = trigger.failure()
        assert (failure.reason, failure.was_sent, failure.http_status) == (reason, False, answer.status)
        assert not failure.may_have_acted
        assert len(trigger.session.calls) == 1

    def test_token_request_without_an_answer_counts_as_an_unreachable_host_and_sends_no_signal(self) -> None:
        failure = Trigger(requests.ReadTimeout(), auth=samples.OAUTH).failure()
        assert (failure.reason, failure.was_sent) == (Reason.UNREACHABLE, False)

    @pytest.mark.parametrize("auth", [samples.BASIC, samples.OAUTH], ids=["signal", "token"])
    def test_nothing_is_sent_in_the_last_tenth_of_a_second(self, auth: dict[str, str]) -> None:
        trigger = Trigger(samples.token(), samples.accepted(), auth=auth)
        failure = trigger.failure(seconds=2.05)
        assert (failure.reason, failure.was_sent, failure.may_have_acted) == (Reason.TIMEOUT, False, False)
        assert trigger.session.calls == []


class TestAnswer:
    @pytest.mark.parametrize(
        ("answer", "request_id"),
        [
            (samples.accepted("r7"), "r7"),
            (HttpAnswer(202, {"x-trace": "r8"}, b'{"id": "417"}'), "r8"),
            (HttpAnswer(202, {"x-trace": "r8"}, b""), "r8"),
            (HttpAnswer(202, {"x-trace": "r8"}, b'{"requestId": "r9"'), "r8"),
            (HttpAnswer(202, {}, b'{"requestId": "r9"'), None),
            (HttpAnswer(202, {}, b"[" * 60_000), None),
            (HttpAnswer(202, {}, b'{"requestId": null}'), None),
            (HttpAnswer(202, {}, b'{"requestId": 5}'), "5"),
            (HttpAnswer(200, {}, b'{"id": "417"}'), "417"),
            (HttpAnswer(202, {}, b'{"requestId": "%s"}' % (b"x" * 999)), "x" * 200),
        ],
    )
    def test_accepted_answer_gives_its_request_id(self, answer: HttpAnswer, request_id: str | None) -> None:
        assert Trigger(answer).send() == request_id

    @pytest.mark.parametrize(
        ("header", "seconds"),
        [
            (None, None),
            ("0", 0),
            ("7", 7),
            ("Fri, 15 Jan 2027 08:00:07 GMT", 7),
            ("-5", None),
            ("soon", None),
            ("Fri, 99 Jan 2027 08:00:07 GMT", None),
        ],
    )
    def test_retry_after_is_read_as_seconds_or_as_a_date(self, header: str | None, seconds: float | None) -> None:
        answer = samples.refused(429, retry_after=header) if header is not None else samples.refused(429)
        assert Trigger(answer).failure().retry_after == seconds


def _lost(error: Exception) -> urllib3.exceptions.MaxRetryError:
    return urllib3.exceptions.MaxRetryError(
        urllib3.HTTPSConnectionPool("acme.xmatters.com"), samples.TRIGGER_URL, error
    )


RESET = urllib3.exceptions.ProtocolError("Connection aborted.", ConnectionResetError(samples.TRIGGER_URL))
NO_CONNECTION = urllib3.exceptions.NewConnectionError(urllib3.connection.HTTPConnection("x"), "refused")
TLS = {
    each: _lost(urllib3.exceptions.SSLError(each(samples.TRIGGER_URL)))
    for each in (SSLEOFError, SSLCertVerificationError)
}


# Each error names itself alone: its text may quote the URL, which is a credential.
@pytest.mark.parametrize(
    ("error", "name", "reason", "may_have_paged"),
    [
        (requests.ReadTimeout(samples.TRIGGER_URL), "no answer within", Reason.TIMEOUT, True),
        (TimeoutError(samples.TRIGGER_URL), "no answer within", Reason.TIMEOUT, True),
        (requests.ConnectionError(RESET), "ProtocolError", Reason.UNREACHABLE, True),
        (requests.ConnectionError(), "ConnectionError", Reason.UNREACHABLE, True),
        (requests.exceptions.ChunkedEncodingError(samples.TRIGGER_URL), "Chunked", Reason.UNREACHABLE, True),
        (requests.ConnectionError(_lost(NO_CONNECTION)), "NewConnectionError", Reason.UNREACHABLE, False),
        (requests.ConnectTimeout(samples.TRIGGER_URL), "ConnectTimeout", Reason.UNREACHABLE, False),
        (requests.exceptions.SSLError(samples.TRIGGER_URL), "SSLError", Reason.UNREACHABLE, True),
        (requests.exceptions.SSLError(TLS[SSLEOFError]), "SSLError", Reason.UNREACHABLE, True),
        (requests.exceptions.SSLError(TLS[SSLCertVerificationError]), "SSLError", Reason.UNREACHABLE, False),
    ],
    ids=str,
)
def test_connection_failure_has_its_reason_and_says_if_it_may_have_notified(
    error: Exception, name: str, reason: Reason, may_have_paged: bool
) -> None:
    failure = Trigger(error).failure()
    assert isinstance(failure, SendError)
    assert (failure.reason, failure.may_have_acted, failure.was_sent) == (reason, may_have_paged, True)
    assert (failure.http_status, name in failure.detail) == (None, True)
    for text in (str(failure), repr(failure), failure.detail, failure.excerpt):
        assert samples.API_KEY not in text
        assert "https" not in text


@pytest.mark.parametrize(
    ("url", "names", "result"),
    [
        ("https://h/t?apiKey=k", (), "https://h/t?apiKey=k"),
        ("https://h/t", ("a",), "https://h/t?recipients=a"),
        ("https://h/t?apiKey=k", ("a", "b"), "https://h/t?apiKey=k&recipients=a,b"),
        ("https://h/t?recipients=z&apiKey=k", ("a", "z"), "https://h/t?apiKey=k&recipients=z,a"),
        ("https://h/t?recipients=a,%20b&recipients=c", ("b",), "https://h/t?recipients=a,b,c"),
        ("https://h/t?recipients=", ("a",), "https://h/t?recipients=a"),
        ("https://h/t?recipients=", (), "https://h/t"),
        (
            "https://h/t?apiKey=k%2Fl%3D",
            ("a&b=c?d#e/f",),
            "https://h/t?apiKey=k%2Fl%3D&recipients=a%26b%3Dc%3Fd%23e%2Ff",
        ),
        (
            "https://h/t?apiKey=k",
            ("Café ✓", "jdoe|Work"),
            "https://h/t?apiKey=k&recipients=Caf%C3%A9%20%E2%9C%93,jdoe%7CWork",
        ),
        ("https://h/t?apiKey=k#frag", ("a",), "https://h/t?apiKey=k&recipients=a#frag"),
        ("https://h/t", ("\ud800",), "https://h/t?recipients=%3F"),
    ],
)
def test_recipients_join_those_of_the_trigger_url(url: str, names: tuple[str, ...], result: str) -> None:
    channel = replace(samples.parsed(), trigger_url=url)
    assert with_recipients(url, channel.fitting((*channel.trigger_recipients, *names))) == result


NEW_URL = samples.TRIGGER_URL.partition("?")[0] + "x"
OK, DOWN, REFUSED, FORBIDDEN = samples.accepted(), *map(samples.refused, (503, 400, 401))
CUT, LATE = requests.ConnectionError("reset"), requests.ReadTimeout("late")


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
    "never connected": ([requests.ConnectTimeout("gone")], 3, 3, 0, "unreachable", [0.5, 1]),
    "one attempt": ([DOWN], 1, 1, 0, "upstream", []),
    "accepted": ([OK], 3, 1, 1, None, []),
    "accepted at last": ([DOWN, DOWN, OK], 3, 3, 1, None, [0.5, 1]),
    "last failure": ([DOWN, DOWN, REFUSED], 3, 3, 0, "refused", [0.5, 1]),
    "late": ([LATE], -3, 1, 1, "timeout", []),
    "our own fault": ([ZeroDivisionError()], -3, 1, 1, "internal", []),
    "400": ([REFUSED], 3, 1, 0, "refused", []),
    "404": ([samples.refused(404)], 3, 1, 0, "credentials", []),
    "200": ([HttpAnswer(200, {}, b'{"message": "no"}')], 3, 1, 0, "refused", []),
    "204": ([HttpAnswer(204, {}, b"")], -3, 1, 0, "refused", []),
    "200 without JSON": ([HttpAnswer(200, {}, b"OK")], -3, 1, 0, "refused", []),
    "page in place of an answer": ([HttpAnswer(200, {}, b" <html>")], 3, 1, 1, "upstream", []),
    "redirect": ([HttpAnswer(302, {}, b""), OK], 3, 2, 1, None, [0.5]),
    "cut, warning": ([CUT], 3, 1, 1, "unreachable", []),
    "500, warning": ([HttpAnswer(500, {}, b'{"requestId": "r1"}')], 3, 1, 1, "upstream", []),
    "cut, critical": ([CUT], -3, 2, 2, "unreachable", [0.5]),
    "504, accepted, critical": ([samples.refused(504), OK], -3, 2, 2, None, [0.5]),
    "503, cut, 503, critical": ([DOWN, CUT, DOWN], -3, 3, 1, "upstream", [0.5, 1]),
    "cut, 503, critical": ([CUT, DOWN], -3, 2, 1, "upstream", [0.5]),
    "503, then late": ([DOWN, LATE], -3, 2, 1, "timeout", [0.5]),
    # The signal has 6 s, of which an attempt needs half a second at least.
    "Retry-After": ([wait(429, "3"), OK], 3, 2, 1, None, [3]),
    "Retry-After, just fits": ([wait(429, "5.5"), OK], 3, 2, 1, None, [5.5]),
    "Retry-After, does not fit": ([wait(429, "5.51"), OK], 3, 1, 0, "rate_limited", []),
    "Retry-After of a refusal": ([wait(400, "0")], 3, 1, 0, "refused", []),
}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_inline_attempts_of_a_signal(name: str) -> None:
    answers, most, attempts, maybe_accepted, failure, waits = ATTEMPTS[name]
    relay = new_relay(*answers)
    sent = send(relay, attempts=abs(most), repeats=most < 0)
    assert (sent.attempts, sent.maybe_accepted, reason(sent)) == (attempts, maybe_accepted, failure)
    assert (sent.request_id, relay.clock.slept) == (None if failure else "r1", waits)
    assert [call.headers["X-Relay-Attempt"] for call in relay.session.calls] == ["1", "2", "3"][:attempts]


def test_only_an_attempt_after_one_that_may_have_notified_says_so() -> None:
    relay = new_relay(DOWN, CUT, DOWN, OK)
    send(relay, repeats=True)
    assert ["X-Relay-May-Repeat" in call.headers for call in relay.session.calls] == [False, False, True]


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


def sent_after(relay: Relay, edit: Callable[[dict[str, Any]], object], **how: Any) -> SendResult:
    """Send a signal to the channel as it was before an edit of its secret."""
    channel = relay.channels.get("noc")
    relay.edit_secret(edit)
    relay.clock.now += 11
    return relay.xmatters.send(channel, samples.SIGNAL, Deadline(8, relay.clock), **how)


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


@pytest.mark.parametrize("status", [403, 404, 410])
@pytest.mark.parametrize(("again", "request_id"), [(samples.accepted("r2"), "r2"), (DOWN, None)])
def test_signal_is_sent_again_once_and_at_once_to_the_new_url_of_a_rotated_trigger(
    status: int, again: HttpAnswer, request_id: str | None
) -> None:
    relay = new_relay(samples.refused(status), again)
    sent = sent_after(relay, lambda document: document["xmatters"].update(trigger_url=NEW_URL), max_attempts=1)
    assert (sent.attempts, sent.request_id, relay.clock.slept) == (2, request_id, [])


def test_attempt_with_old_credentials_takes_none_of_the_inline_attempts_with_the_new_ones() -> None:
    sent = sent_after(
        new_relay(FORBIDDEN, DOWN, DOWN, OK), lambda document: document["xmatters"].update(trigger_url=NEW_URL)
    )
    assert (sent.attempts, sent.request_id) == (4, "r1")


@pytest.mark.parametrize("status", [401, 404])
@pytest.mark.parametrize("is_routed", [False, True])
def test_signal_waits_for_the_queue_if_the_new_secret_names_other_people(status: int, is_routed: bool) -> None:
    def rename(document: dict[str, Any]) -> None:
        document["xmatters"]["trigger_url"] = NEW_URL
        if is_routed:
            document["policy"] = {"routes": [{"when": {"status": ["critical"]}, "recipients": ["Others"]}]}
        else:
            document["xmatters"]["recipients"] = ["Others"]

    sent = sent_after(new_relay(samples.refused(status)), rename)
    assert (sent.attempts, reason(sent)) == (1, "credentials")


def test_critical_rings_at_the_new_url_although_the_secret_could_not_be_read_when_the_old_one_was_refused() -> None:
    relay = new_relay(lambda call: OK if call.url.startswith(NEW_URL) else samples.refused(404))
    relay.channels.get("noc")
    relay.clock.now += 60
    relay.edit_secret(lambda document: document["xmatters"].update(trigger_url=NEW_URL))
    secret, relay.secrets.texts["noc"] = relay.secrets.texts["noc"], ChannelUnreadable("throttled")
    relay.share()
    relay.secrets.texts["noc"] = secret
    relay.sweep_for(400)
    assert (relay.entry().announced is not None, relay.dead_letters.jobs()) == (True, [])


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


def test_token_is_not_renewed_for_a_trigger_that_is_gone() -> None:
    relay = new_relay(samples.token("t1"), samples.refused(404), secrets=with_token())
    assert reason(send(relay)) == "credentials"
    assert len(relay.session.calls) == 2


@pytest.mark.parametrize("status", [400, 401])
def test_refused_password_is_tried_once_for_a_signal(status: int) -> None:
    relay = new_relay(samples.refused(status), secrets=with_token())
    assert reason(send(relay)) == "credentials"
    assert len(relay.session.calls) == 1


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

import base64
from copy import replace
from urllib.parse import parse_qs

import pytest
import requests
import urllib3

from relay.failures import BadAnswer, NoAnswer, Reason
from relay.http.session import HttpAnswer
from relay.xmatters.trigger import with_recipients
from tests import samples
from tests.fakes import Trigger


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
            (samples.refused(401), Reason.CREDENTIALS),
            (samples.refused(429), Reason.RATE_LIMITED),
            (samples.refused(503), Reason.UPSTREAM),
            (samples.refused(302, location="https://login"), Reason.REFUSED),
            (samples.refused(404), Reason.REFUSED),
            (HttpAnswer(200, {}, b"<html>log in</html>"), Reason.UPSTREAM),
            (HttpAnswer(200, {}, b'{"access_token": 7, "expires_in": 900}'), Reason.UPSTREAM),
            (HttpAnswer(200, {}, b'{"access_token": "t\\r\\nX-Evil: 1", "expires_in": 900}'), Reason.UPSTREAM),
            (HttpAnswer(200, {}, '{"access_token": "é", "expires_in": 900}'.encode()), Reason.UPSTREAM),
            (HttpAnswer(200, {}, b'{"access_token": "", "expires_in": 900}'), Reason.UPSTREAM),
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


class TestAnswer:
    @pytest.mark.parametrize(
        ("answer", "request_id"),
        [
            (samples.accepted("r7"), "r7"),
            (HttpAnswer(202, {"x-trace": "r8"}, b""), "r8"),
            (HttpAnswer(202, {"x-trace": "r8"}, b'{"requestId": "r9"'), "r8"),
            (HttpAnswer(202, {}, b'{"requestId": "r9"'), None),
            (HttpAnswer(202, {}, b"[" * 60_000), None),
            (HttpAnswer(202, {}, b"\xff\xfe"), None),
            (HttpAnswer(202, {}, b'{"requestId": null}'), None),
            (HttpAnswer(202, {}, b'{"requestId": 5}'), "5"),
            (HttpAnswer(200, {}, b'{"id": "417"}'), "417"),
            (HttpAnswer(200, {}, b'{"requestId": "r9"}'), "r9"),
            (HttpAnswer(202, {}, b'{"requestId": "%s"}' % (b"x" * 999)), "x" * 200),
        ],
    )
    def test_accepted_answer_gives_its_request_id(self, answer: HttpAnswer, request_id: str | None) -> None:
        assert Trigger(answer).send() == request_id

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (HttpAnswer(200, {}, b"<html>log in</html>"), Reason.REFUSED),
            (HttpAnswer(200, {}, b"{}"), Reason.REFUSED),
            (HttpAnswer(200, {"x-trace": "r1"}, b""), Reason.REFUSED),
            (HttpAnswer(204, {}, b""), Reason.REFUSED),
            (samples.refused(429), Reason.RATE_LIMITED),
            (HttpAnswer(500, {}, b'{"requestId": "r1"}'), Reason.UPSTREAM),
        ],
        ids=lambda value: str(value.status) if isinstance(value, HttpAnswer) else str(value),
    )
    def test_answer_that_is_no_acceptance_has_its_reason(self, answer: HttpAnswer, reason: Reason) -> None:
        failure = Trigger(answer).failure()
        assert isinstance(failure, BadAnswer)
        assert (failure.reason, failure.http_status, failure.detail) == (
            reason,
            answer.status,
            f"HTTP {answer.status}",
        )
        assert failure.was_sent
        assert failure.may_have_acted == (answer.status in {500, 502, 504})

    @pytest.mark.parametrize(
        ("header", "seconds"),
        [
            (None, None),
            ("0", 0),
            ("7", 7),
            ("1.5", 1.5),
            ("Fri, 15 Jan 2027 08:00:07 GMT", 7),
            ("Fri, 15 Jan 2027 07:00:00 GMT", 0),
            ("-5", None),
            ("soon", None),
            ("1e9", None),
            ("Fri, 99 Jan 2027 08:00:07 GMT", None),
        ],
    )
    def test_retry_after_is_read_as_seconds_or_as_a_date(self, header: str | None, seconds: float | None) -> None:
        answer = samples.refused(429, retry_after=header) if header is not None else samples.refused(429)
        assert Trigger(answer).failure().retry_after == seconds


def _lost(error: Exception) -> requests.ConnectionError:
    pool = urllib3.HTTPSConnectionPool("acme.xmatters.com")
    return requests.ConnectionError(urllib3.exceptions.MaxRetryError(pool, samples.TRIGGER_URL, error))


RESET = requests.ConnectionError(
    urllib3.exceptions.ProtocolError("Connection aborted.", ConnectionResetError(samples.TRIGGER_URL))
)
NO_CONNECTION = _lost(urllib3.exceptions.NewConnectionError(urllib3.connection.HTTPConnection("x"), "refused"))


@pytest.mark.parametrize(
    ("error", "reason", "may_have_paged"),
    [
        (requests.ReadTimeout(samples.TRIGGER_URL), Reason.TIMEOUT, True),
        (TimeoutError(samples.TRIGGER_URL), Reason.TIMEOUT, True),
        (RESET, Reason.UNREACHABLE, True),
        (requests.exceptions.ChunkedEncodingError(samples.TRIGGER_URL), Reason.UNREACHABLE, True),
        (NO_CONNECTION, Reason.UNREACHABLE, False),
        (requests.ConnectTimeout(samples.TRIGGER_URL), Reason.UNREACHABLE, False),
        (requests.exceptions.SSLError(samples.TRIGGER_URL), Reason.UNREACHABLE, True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_connection_failure_has_its_reason_and_says_if_it_may_have_notified(
    error: Exception, reason: Reason, may_have_paged: bool
) -> None:
    failure = Trigger(error).failure()
    assert isinstance(failure, NoAnswer)
    assert (failure.reason, failure.may_have_acted, failure.was_sent) == (reason, may_have_paged, True)
    assert failure.http_status is None
    for text in (str(failure), repr(failure), failure.detail, failure.excerpt):
        assert samples.API_KEY not in text
        assert "https" not in text


@pytest.mark.parametrize(
    ("url", "names", "result"),
    [
        ("https://h/t?apiKey=k", (), "https://h/t?apiKey=k"),
        ("https://h/t", (), "https://h/t"),
        ("https://h/t", ("a",), "https://h/t?recipients=a"),
        ("https://h/t?apiKey=k", ("a", "b"), "https://h/t?apiKey=k&recipients=a,b"),
        ("https://h/t?recipients=z&apiKey=k", ("a", "z"), "https://h/t?apiKey=k&recipients=z,a"),
        ("https://h/t?recipients=a%20b,c+d", ("a b", "c d"), "https://h/t?recipients=a%20b,c%20d"),
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
        ("https://h/t?my_recipients=z", ("a",), "https://h/t?my_recipients=z&recipients=a"),
        ("https://h/t", ("a", "a"), "https://h/t?recipients=a"),
        ("https://h/t", ("\ud800",), "https://h/t?recipients=%3F"),
    ],
)
def test_recipients_join_those_of_the_trigger_url(url: str, names: tuple[str, ...], result: str) -> None:
    channel = replace(samples.parsed(), trigger_url=url)
    assert with_recipients(url, channel.fitting((*channel.trigger_recipients, *names))) == result

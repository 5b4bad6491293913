import base64
from urllib.parse import parse_qs

import pytest
import requests

from relay.channels.channel import OutboundCredentials
from relay.deadline import Deadline
from relay.failures.errors import NoAnswer
from relay.failures.reasons import Reason
from relay.http.client import HttpClient
from relay.http.session import HttpAnswer
from relay.xmatters.logins import Login, Logins
from tests import samples
from tests.fakes import FakeSession, Trigger


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

    def test_signal_is_not_sent_without_time(self) -> None:
        trigger = Trigger(samples.accepted())
        failure = trigger.failure(seconds=2.05)
        assert (failure.reason, failure.was_sent, failure.may_have_acted) == (Reason.TIMEOUT, False, False)
        assert trigger.session.calls == []


class TestAuthentication:
    def test_api_key_in_the_url_needs_no_header(self) -> None:
        trigger = Trigger(samples.accepted())
        trigger.send()
        assert trigger.authorizations() == [None]

    @pytest.mark.parametrize(
        ("auth", "login"),
        [
            (samples.BASIC, "relay:basic-password-81b2"),
            (samples.KEY, "x-api-key-4410:key-secret-93c4"),
            ({"type": "basic", "username": "rëlay", "password": "密码:✓ "}, "rëlay:密码:✓ "),
        ],
    )
    def test_login_is_sent_as_basic_in_utf_8(self, auth: dict[str, str], login: str) -> None:
        trigger = Trigger(samples.accepted(), auth=auth)
        trigger.send()
        assert trigger.authorizations() == ["Basic " + base64.b64encode(login.encode()).decode()]
        assert "apiKey" not in trigger.urls()[0]

    def test_unknown_kind_of_authentication_is_a_refused_credential_and_never_no_credential(self) -> None:
        session = FakeSession(samples.accepted())
        login = Login(OutboundCredentials("mtls", {"certificate": "c"}), samples.TRIGGER_URL)
        with pytest.raises(NoAnswer) as caught:
            Logins(HttpClient(session)).headers(login, Deadline(8.0, lambda: 0.0))
        assert (caught.value.reason, caught.value.was_sent) == (Reason.CREDENTIALS, False)
        assert session.calls == []


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

    def test_token_is_renewed_before_it_ends(self) -> None:
        trigger = Trigger(
            samples.token("t1"), samples.accepted(), samples.token("t2"), samples.accepted(), auth=samples.OAUTH
        )
        trigger.send()
        trigger.clock.now += 900 - 30
        trigger.send()
        assert trigger.authorizations() == [None, "Bearer t1", None, "Bearer t2"]

    def test_used_token_is_renewed_after_401_and_a_fresh_one_is_not(self) -> None:
        trigger = Trigger(samples.token("t1"), samples.accepted(), samples.refused(401), auth=samples.OAUTH)
        trigger.send()
        trigger.failure()
        assert trigger.xmatters.renew_token(trigger.channel)
        trigger = Trigger(samples.token("t1"), samples.refused(401), auth=samples.OAUTH)
        trigger.failure()
        assert not trigger.xmatters.renew_token(trigger.channel)

    def test_credentials_without_a_token_cannot_be_renewed(self) -> None:
        trigger = Trigger(samples.refused(401), auth=samples.BASIC)
        trigger.failure()
        assert not trigger.xmatters.renew_token(trigger.channel)

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

    def test_token_request_that_times_out_surely_notified_nobody(self) -> None:
        failure = Trigger(requests.ReadTimeout("late"), auth=samples.OAUTH).failure()
        assert (failure.reason, failure.was_sent, failure.may_have_acted) == (Reason.UNREACHABLE, False, False)
        assert failure.detail.startswith("token: ")

    @pytest.mark.parametrize("lifetime", ['"soon"', "NaN", "Infinity", "null", "1e999"])
    def test_token_of_an_invalid_lifetime_is_used_once(self, lifetime: str) -> None:
        token = HttpAnswer(200, {}, f'{{"access_token": "t", "expires_in": {lifetime}}}'.encode())
        trigger = Trigger(token, samples.accepted(), token, samples.accepted(), auth=samples.OAUTH)
        trigger.send()
        trigger.send()
        assert trigger.authorizations() == [None, "Bearer t", None, "Bearer t"]

    @pytest.mark.parametrize("other", [{"username": "other"}, {"password": "another"}])
    def test_logins_of_one_host_have_their_own_tokens(self, other: dict[str, str]) -> None:
        trigger = Trigger(
            samples.token("t1"), samples.accepted(), samples.token("t2"), samples.accepted(), auth=samples.OAUTH
        )
        trigger.send()
        trigger.channel = samples.parsed(samples.secret(auth=samples.OAUTH | other))
        trigger.send()
        assert trigger.authorizations() == [None, "Bearer t1", None, "Bearer t2"]

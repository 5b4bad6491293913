"""The path over real sockets against the xMatters stand-in: every kind of credentials, every kind of fault."""

import json
import time
from typing import Any

import pytest

from relay.delivery import Outcome
from relay.errors import Reason
from relay.message import Job
from sandbox.server import Box
from tests import samples
from tests.integration.live import Aws, Live

URL = {"type": "url", "api_key": "url-key-0042"}


@pytest.fixture
def live(box: Box, account: Aws) -> Live:
    point_at(box, account, URL)
    return Live(account)


def point_at(box: Box, account: Aws, auth: dict[str, str], **kwargs: Any) -> None:
    """Write the secret of the channel `noc` for a new trigger that takes these credentials."""
    shown = {"type": "url"} if auth["type"] == "url" else auth
    account.put_secret("noc", samples.secret(auth=shown, url=box.declare(auth, **kwargs).url))


class TestAccepted:
    @pytest.mark.parametrize(
        "auth", [URL, samples.BASIC, samples.KEY, samples.OAUTH], ids=["url", "basic", "api_key", "oauth"]
    )
    def test_each_kind_of_credentials_gets_the_very_bytes_through(
        self, box: Box, account: Aws, auth: dict[str, str]
    ) -> None:
        point_at(box, account, auth)
        live = Live(account)
        body = b'{"incident" :{"id":"i1", "n": 1.0, "\\u0041": "\xc3\xa9"}}\n'
        answer = live.webhook.serve(samples.request(body))
        [signal] = box.signals()
        assert (answer.status, answer.document["request_id"]) == (200, signal.request_id)
        assert (signal.body_bytes, signal.auth) == (body, auth["type"])
        assert signal.headers["Content-Type"] == "application/json"
        assert signal.headers["X-Relay-Delivery-Id"] == answer.document["delivery_id"]
        assert signal.headers["X-Relay-Correlation-Id"] == "request-1"
        assert account.messages() == []

    def test_a_password_in_any_characters_lets_us_in(self, box: Box, account: Aws) -> None:
        point_at(box, account, {"type": "basic", "username": "rëlay", "password": "密码:✓ +%"})
        assert Live(account).share().outcome == Outcome.DELIVERED
        point_at(box, account, samples.OAUTH | {"password": "pä&=+ %✓"})
        assert Live(account).share().outcome == Outcome.DELIVERED

    def test_recipients_arrive_as_they_are_named(self, box: Box, account: Aws) -> None:
        document = samples.secret(url=box.declare(URL).url)
        document["xmatters"]["recipients"] = ["Net Ops & Co", "Café ✓"]
        account.put_secret("noc", document)
        Live(account).share(recipients=("jdoe|Work Phone", "Café ✓", "a=b?c#d/e+f"))
        assert box.signals()[0].recipients == ("Net Ops & Co", "Café ✓", "jdoe|Work Phone", "a=b?c#d/e+f")

    def test_a_token_is_asked_for_once_and_anew_when_it_is_refused(self, box: Box, account: Aws) -> None:
        point_at(box, account, samples.OAUTH)
        live = Live(account)
        before = len(box.token_requests())
        for _ in range(3):
            live.share()
        assert len(box.token_requests()) - before == 1
        box.revoke_tokens()
        result = live.share()
        assert (result.outcome, result.attempts) == (Outcome.DELIVERED, 2)
        assert len(box.token_requests()) - before == 2

    def test_a_token_about_to_end_is_not_used(self, box: Box, account: Aws) -> None:
        point_at(box, account, samples.OAUTH | {"client_id": "short"}, token_seconds=20)
        live = Live(account)
        before = len(box.token_requests())
        assert [live.share().attempts for _ in range(2)] == [1, 1]
        assert len(box.token_requests()) - before == 2

    def test_three_mebibytes_go_through(self, box: Box, live: Live) -> None:
        body = samples.body(text="x" * 3_900_000)
        assert live.webhook.serve(samples.request(body)).status == 200
        assert box.signals()[0].body_bytes == body


FOR_EVER: dict[str, Any] = {"times": None}
FAILURES = [
    ({"kind": "status", "status": 500}, Reason.UPSTREAM, 3),
    ({"kind": "html", "status": 502}, Reason.UPSTREAM, 3),
    ({"kind": "status", "status": 408}, Reason.UPSTREAM, 3),
    ({"kind": "status", "status": 429}, Reason.RATE_LIMITED, 3),
    ({"kind": "status", "status": 429, "retry_after": "30"}, Reason.RATE_LIMITED, 1),
    ({"kind": "status", "status": 503, "retry_after": "Fri, 31 Dec 2199 23:59:59 GMT"}, Reason.UPSTREAM, 1),
    ({"kind": "status", "status": 400}, Reason.REFUSED, 1),
    ({"kind": "html", "status": 404}, Reason.REFUSED, 1),
    ({"kind": "html", "status": 200}, Reason.REFUSED, 1),
    ({"kind": "status", "status": 401}, Reason.CREDENTIALS, 1),
    ({"kind": "status", "status": 403}, Reason.CREDENTIALS, 1),
    ({"kind": "redirect", "location": "http://127.0.0.1:1/"}, Reason.REFUSED, 1),
    ({"kind": "redirect", "location": "https://evil.example", "status": 307}, Reason.REFUSED, 1),
    ({"kind": "reset"}, Reason.UNREACHABLE, 3),
    ({"kind": "slow", "seconds": 1.5, "accept": False}, Reason.TIMEOUT, 1),
]


class TestFaults:
    @pytest.mark.parametrize(
        ("fault", "reason", "attempts"),
        FAILURES,
        ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
    )
    def test_what_is_not_accepted_is_kept_with_its_reason_and_arrives_when_it_is_over(
        self, box: Box, live: Live, account: Aws, fault: dict[str, Any], reason: Reason, attempts: int
    ) -> None:
        box.script([fault | FOR_EVER])
        result = live.share(seconds=3 if fault["kind"] == "slow" else 5)
        assert (result.outcome, result.reason, result.attempts) == (Outcome.QUEUED, reason, attempts)
        assert (len(box.attempts()), box.signals()) == (attempts, [])
        [job] = account.jobs()
        assert (job.reason, job.attempts, job.body) == (reason, attempts, samples.body())

        box.clear()
        assert live.redeliver(job).outcome == Outcome.DELIVERED
        [signal] = box.signals()
        assert signal.body_bytes == samples.body()
        assert signal.headers["X-Relay-Delivery-Id"] == result.delivery_id
        assert signal.headers["X-Relay-Attempt"] == str(attempts + 1)

    def test_a_redirect_is_not_followed(self, box: Box, live: Live) -> None:
        url = live.channels.get("noc").trigger_url
        box.script([{"kind": "redirect", "location": url, "status": 307}])
        assert live.share().reason == Reason.REFUSED
        assert len(box.attempts()) == 1

    @pytest.mark.parametrize("kind", ["truncated_json", "reset_body"])
    def test_an_acceptance_whose_body_breaks_off_is_one(self, box: Box, live: Live, account: Aws, kind: str) -> None:
        box.script([{"kind": kind} | FOR_EVER])
        result = live.share()
        [signal] = box.signals()
        assert (result.outcome, result.attempts) == (Outcome.DELIVERED, 1)
        # The header still names what the body does not.
        assert result.request_id == signal.request_id
        assert account.messages() == []

    def test_a_reset_after_acceptance_is_tried_again_and_says_that_it_may_repeat(self, box: Box, live: Live) -> None:
        box.script([{"kind": "accept_then_reset"}])
        assert live.share().outcome == Outcome.DELIVERED
        says = [signal.headers.get("X-Relay-May-Repeat") for signal in box.signals()]
        assert says == [None, "true"]

    def test_a_fault_that_passes_costs_a_try_and_no_more(self, box: Box, live: Live) -> None:
        box.script([{"kind": "status", "status": 503}, {"kind": "reset"}])
        result = live.share()
        assert (result.outcome, result.attempts) == (Outcome.DELIVERED, 3)

    def test_a_short_retry_after_is_waited_for(self, box: Box, live: Live) -> None:
        box.script([{"kind": "status", "status": 429, "retry_after": "1"}])
        started = time.monotonic()
        result = live.share()
        assert (result.outcome, result.attempts) == (Outcome.DELIVERED, 2)
        assert 1 <= time.monotonic() - started < 2

    def test_a_closed_port_rings_nobody_and_is_kept(self, box: Box, live: Live, account: Aws) -> None:
        box.listening(False)
        result = live.share()
        assert (result.outcome, result.reason, result.attempts) == (Outcome.QUEUED, Reason.UNREACHABLE, 3)
        box.listening(True)
        [job] = account.jobs()
        assert live.redeliver(job).outcome == Outcome.DELIVERED
        assert "X-Relay-May-Repeat" not in box.signals()[0].headers

    def test_a_new_secret_lets_us_in_where_the_old_one_does_not(self, box: Box, account: Aws) -> None:
        now = [time.time()]
        point_at(box, account, URL)
        live = Live(account, clock=lambda: now[0])
        live.channels.get("noc")
        trigger = live.channels.get("noc").trigger_url.partition("?")[0]
        account.put_secret("noc", samples.secret(url=f"{trigger}?apiKey=wrong"))
        now[0] += 301
        assert live.share().reason == Reason.CREDENTIALS
        account.put_secret("noc", samples.secret(url=f"{trigger}?apiKey={URL['api_key']}"))
        now[0] += 11
        result = live.share()
        assert (result.outcome, result.attempts) == (Outcome.DELIVERED, 2)

    @pytest.mark.parametrize(
        ("fault", "reason"),
        [
            ({"kind": "status", "status": 503}, Reason.UPSTREAM),
            ({"kind": "status", "status": 400}, Reason.CREDENTIALS),
            ({"kind": "html", "status": 200}, Reason.REFUSED),
            ({"kind": "reset"}, Reason.UNREACHABLE),
            ({"kind": "slow", "seconds": 1.5}, Reason.UNREACHABLE),
        ],
        ids=lambda value: value["kind"] if isinstance(value, dict) else "",
    )
    def test_without_a_token_the_trigger_is_not_asked(
        self, box: Box, account: Aws, fault: dict[str, Any], reason: Reason
    ) -> None:
        point_at(box, account, samples.OAUTH)
        box.script([fault | FOR_EVER | {"on": "token"}])
        live = Live(account)
        result = live.share(seconds=3)
        assert (result.outcome, result.reason, result.attempts) == (Outcome.QUEUED, reason, 0)
        assert box.attempts() == []
        box.clear()
        live.redeliver(account.jobs()[0])
        assert "X-Relay-May-Repeat" not in box.signals()[0].headers


class TestTime:
    @pytest.mark.parametrize("kind", ["slow", "drip"])
    def test_an_answer_that_comes_too_late_may_have_rung_and_the_replay_says_so(
        self, box: Box, live: Live, account: Aws, kind: str
    ) -> None:
        live.channels.get("noc")
        box.script([{"kind": kind, "seconds": 2}])
        started = time.monotonic()
        result = live.share(seconds=2.5)
        assert time.monotonic() - started < 1.5
        assert (result.outcome, result.reason, result.attempts) == (Outcome.QUEUED, Reason.TIMEOUT, 1)
        [first] = box.signals()
        [job] = account.jobs()
        assert live.redeliver(job).outcome == Outcome.DELIVERED
        again = box.signals()[1]
        assert again.headers["X-Relay-May-Repeat"] == "true"
        assert again.headers["X-Relay-Delivery-Id"] == first.headers["X-Relay-Delivery-Id"]


def test_an_incident_id_that_sqs_would_refuse_is_kept_all_the_same(box: Box, live: Live, account: Aws) -> None:
    box.script([{"kind": "status", "status": 503} | FOR_EVER])
    answer = live.webhook.serve(samples.request(b'{"id": "a\\u0000\\u001b\\ud800b", "x": "\\u000b"}'))
    assert answer.status == 202
    [message] = account.messages()
    assert message["Body"].isprintable()
    assert message["MessageAttributes"]["incident_id"]["StringValue"] == "a\ufffd\ufffd\ufffdb"
    assert Job.from_json(message["Body"]).incident_id == "a\x00\x1b\ud800b"


def test_a_queue_that_is_gone_leaves_the_last_copy_in_the_log(box: Box, live: Live, account: Aws) -> None:
    box.script([{"kind": "status", "status": 503} | FOR_EVER])
    account.sqs.delete_queue(QueueUrl=account.queue_url)
    answer = live.webhook.serve(samples.request())
    assert (answer.status, answer.document["outcome"]) == (503, "unsafe")
    [last] = [line for line in live.recorder.lines() if line["level"] == "CRITICAL"]
    assert "NonExistentQueue" in last["detail"]
    box.clear()
    assert live.redeliver(Job.from_json(last["last_copy"])).outcome == Outcome.DELIVERED
    assert box.signals()[0].body_bytes == samples.body()


def test_a_secret_marked_for_deletion_is_no_channel(box: Box, live: Live, account: Aws) -> None:
    account.secrets.delete_secret(SecretId="relay/noc")
    assert live.webhook.serve(samples.request()).status == 401
    assert box.attempts() == []

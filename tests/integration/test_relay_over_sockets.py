"""Delivery over real sockets to the xMatters stand-in, with every kind of credentials and of fault."""

import json
from typing import Any

import pytest

from relay.failures import HANDLING, Reason
from relay.jobs.outcome import Outcome
from sandbox.server.in_process import Box
from tests import samples
from tests.fakes import Relay, worked
from tests.integration.live import relay_over_sockets
from tests.stand_in import URL


def relay_of(box: Box, auth: dict[str, str]) -> Relay:
    """Return a relay whose channel has a new trigger that accepts these credentials."""
    shown = {"type": "url"} if auth["type"] == "url" else auth
    url, policy = box.declare(auth).url, {"min_seconds_between_signals": 0}
    return relay_over_sockets(samples.secret(auth=shown, url=url, policy=policy))


@pytest.fixture
def relay(box: Box) -> Relay:
    return relay_of(box, URL)


@pytest.mark.parametrize(
    "auth", [URL, samples.BASIC, samples.KEY, samples.OAUTH], ids=["url", "basic", "api_key", "oauth"]
)
def test_signal_has_the_shares_bytes_with_each_kind_of_credentials(box: Box, auth: dict[str, str]) -> None:
    relay = relay_of(box, auth)
    body = b'{"incident" :{"id":"i1", "n": 1.0, "\\u0041": "\xc3\xa9"}}\n'
    answer = relay.webhook.serve(samples.request(body))
    [signal] = box.signals()
    assert (answer.status, answer.document["request_id"]) == (200, signal.request_id)
    assert (signal.body_bytes, signal.auth) == (body, auth["type"])
    assert signal.headers["Content-Type"] == "application/json"
    assert signal.headers["X-Relay-Delivery-Id"] == answer.document["delivery_id"]
    assert signal.headers["X-Relay-Correlation-Id"] == "request-1"
    assert relay.dead_letters.messages == []


FOR_EVER: dict[str, Any] = {"times": None}
FAILURES = [
    ({"kind": "html", "status": 502}, Reason.UPSTREAM, 2),
    ({"kind": "status", "status": 429, "retry_after": "30"}, Reason.RATE_LIMITED, 1),
    ({"kind": "html", "status": 200}, Reason.REFUSED, 1),
    ({"kind": "redirect", "location": "https://evil.example", "status": 307}, Reason.REFUSED, 1),
    ({"kind": "redirect", "location": "http://[bad"}, Reason.REFUSED, 1),
    ({"kind": "reset"}, Reason.UNREACHABLE, 2),
    ({"kind": "slow", "seconds": 60, "accept": False}, Reason.TIMEOUT, 1),
]


class TestFaults:
    @pytest.mark.parametrize(
        ("fault", "reason", "attempts"),
        FAILURES,
        ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
    )
    def test_failed_signal_is_kept_with_its_reason_and_delivered_after_the_fault(
        self, box: Box, relay: Relay, fault: dict[str, Any], reason: Reason, attempts: int
    ) -> None:
        box.script([fault | FOR_EVER])
        result = relay.share(seconds=5 if fault["kind"] == "slow" else 22)
        assert (result.outcome, result.reason, result.exchange.attempts) == (Outcome.QUEUED, reason, attempts)
        assert (len(box.attempts()), box.signals()) == (attempts, [])
        assert result.queue == ("dead_letter" if HANDLING[reason].is_final else "retry")

        box.clear()
        if result.queue == "retry":
            relay.wake(60)
        else:
            [job] = relay.dead_letters.jobs()
            assert (job.stamps.reason, job.stamps.attempts, job.body) == (reason, attempts, samples.body())
            relay.dead_letters.messages.clear()
            assert worked(relay, job) == []
        assert relay.dead_letters.messages == []
        relay.wake(60)
        [signal] = box.signals()
        assert signal.body_bytes == samples.body()
        assert signal.headers["X-Relay-Delivery-Id"] == result.subject.delivery_id
        assert signal.headers["X-Relay-Attempt"] == str(attempts + 1)

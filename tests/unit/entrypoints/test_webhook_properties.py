"""Properties of the webhook: any body is answered below 500, shows no credential, and is forwarded unchanged."""

import base64
import json
from collections.abc import Callable
from typing import Any

import requests
from hypothesis import example, given
from hypothesis import strategies as st

from relay.channels.authentication import Request
from relay.http.session import HttpAnswer
from tests import samples
from tests.fakes import Call, FakeSecrets, FakeSession, Relay, Step
from tests.unit.incidents.test_hostile_bodies import INCIDENT, JSON, SHARES

CANARIES = {name: f"canary-{name}" for name in ("token", "login", "old", "url", "password", "access")}
SECRET = {
    "inbound": {
        "token": CANARIES["token"],
        "basic": {"username": "bigpanda", "password": CANARIES["login"]},
        "previous": {"token": CANARIES["old"], "expires_at": "2030-01-31T12:00:00Z"},
    },
    "xmatters": {
        "trigger_url": f"https://acme.xmatters.com/api/integration/1/functions/f/triggers?apiKey={CANARIES['url']}",
        "auth": {"type": "oauth", "client_id": "c", "username": "u", "password": CANARIES["password"]},
        "recipients": ["Net Ops"],
    },
}


def doubled(document: dict[str, Any], again: dict[str, Any]) -> bytes:
    """Return a JSON object with duplicate keys."""
    first, second = json.dumps(document), json.dumps(again)
    return f"{first[:-1]}{', ' if document and again else ''}{second[1:]}".encode()


BODIES = (
    SHARES.map(lambda document: json.dumps(document).encode())
    | SHARES.map(lambda document: json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    | st.builds(doubled, INCIDENT, INCIDENT)
    | JSON.map(lambda document: json.dumps(document).encode())
    | st.binary(max_size=200)
    | st.builds(lambda cut, document: json.dumps(document).encode()[:cut], st.integers(0, 80), SHARES)
)
REFUSED = samples.refused(503, b"down")


def echo(call: Call) -> HttpAnswer:
    return HttpAnswer(500, {}, json.dumps({"url": call.url, "headers": dict(call.headers)}).encode() + call.body[:500])


TRIGGER: st.SearchStrategy[Step] = st.sampled_from(
    [samples.accepted(), REFUSED, echo, samples.refused(404), samples.refused(401), requests.ReadTimeout("late")]
)


def new_relay(trigger: Step) -> Relay:
    def answer(call: Call) -> HttpAnswer:
        if call.url.endswith("/token"):
            return samples.token(CANARIES["access"])
        if isinstance(trigger, Exception):
            raise trigger
        return trigger if isinstance(trigger, HttpAnswer) else trigger(call)

    return Relay(FakeSession(answer), secrets=FakeSecrets(noc=json.dumps(SECRET)))


def shown(relay: Relay, answer: Any) -> str:
    kept = [
        json.dumps(message) + repr(job)
        for queue in (relay.retries, relay.dead_letters)
        for message, job in zip(queue.messages, queue.jobs(), strict=True)
    ]
    known = json.dumps(relay.dynamodb.items)
    return "".join([json.dumps(answer.to_response()), relay.recorder.written(), known, *kept])


def check(body: bytes, trigger: Step, make: Callable[[bytes], Request]) -> None:
    relay = new_relay(trigger)
    answer = relay.webhook.serve(make(body))
    assert answer.status in {200, 202, 400}
    assert not [name for name, canary in CANARIES.items() if canary in shown(relay, answer)]
    assert "crash" not in relay.recorder.metrics()
    sent = [call.body for call in relay.session.calls if not call.url.endswith("/token")]
    kept = [job.body for job in relay.retries.jobs()]
    if answer.status == 400:
        assert (sent, kept, relay.dynamodb.calls) == ([], [], [])
        assert answer.document["detail"]
    elif answer.document["outcome"] == "unchanged":
        # An incident that is over, and was never announced, sends no signal.
        assert (sent, kept) == ([], [])
        assert answer.document["transition"] == "touched"
    else:
        # The job is kept before the signal is sent, whatever xMatters answers.
        assert (set(sent), kept) == ({body}, [body])
    if answer.status == 202 and answer.document["queue"] == "dead_letter":
        assert [job.body for job in relay.dead_letters.jobs()] == [body]
    assert len(relay.recorder.lines()) == 1


def as_base64(body: bytes) -> Request:
    headers = {"authorization": f"Bearer {CANARIES['token']}"}
    return samples.request(body=base64.b64encode(body).decode(), is_base64=True, headers=headers)


DEEP = b'{"id": 1, "deep": ' + b"[" * 5000 + b"]" * 5000 + b"}"


@given(BODIES, TRIGGER)
@example(b'{"id": 1e999, "status": -1e999}', REFUSED)
@example(b'{"id": "\\ud800", "alerts": ["\\udfff"]}', REFUSED)
@example(b'{"id": ' + b"9" * 5000 + b"}", REFUSED)
@example(DEEP, REFUSED)
@example(b'{"incident": {"id": "a/b\\u0000\\u001b\\n"}}', REFUSED)
@example(b'\xef\xbb\xbf{"id": 1}', REFUSED)
@example(b"", REFUSED)
def test_any_body_is_answered_and_a_valid_one_is_forwarded_byte_for_byte(body: bytes, trigger: Step) -> None:
    check(body, trigger, as_base64)

"""Samples of secrets, shares, requests, jobs and answers, which tests change as they need."""

import base64
import json
import random
from copy import replace
from datetime import UTC, datetime
from typing import Any

from relay.channels.authentication import Request
from relay.channels.channel import BigPandaAccess, Channel
from relay.channels.parsing import parse_channel
from relay.http.session import HttpAnswer, VendorHosts
from relay.incidents.share import Share, parse_share
from relay.jobs.job import Flag, Job, Stamps
from relay.xmatters.signal import Decision, Signal

TOKEN = "inbound-token-5f1c"
CALLBACK_TOKEN = "callback-token-77e1"
# Members of a secret's `xmatters` for a channel that takes callbacks.
CALLBACK = {"callback": {"token": CALLBACK_TOKEN}}
API_KEY = "7d3c9a52-url-key"
TRIGGER_URL = (
    f"https://acme.xmatters.com/api/integration/1/functions/3e1c8c1e-0f0e-4d8c-9d3d-1f6a2b7c9d10/triggers"
    f"?apiKey={API_KEY}"
)
BASIC = {"type": "basic", "username": "relay", "password": "basic-password-81b2"}
KEY = {"type": "api_key", "key": "x-api-key-4410", "secret": "key-secret-93c4"}
OAUTH = {"type": "oauth", "client_id": "client-1", "username": "relay", "password": "oauth-password-a7d5"}
ODD_BODY = b'{"id":"i1",  "odd": "\\u00e9"}'
SIGNAL = Signal(
    body=ODD_BODY,
    decision=Decision("noc", "i1", "e1", "k1", is_over=False, status="critical", priority="HIGH", body="bigpanda"),
    recipients=(),
    delivery_id="d1",
    correlation_id="c1",
)
OPEN = {"authorization": f"Bearer {TOKEN}"}


def traces(planted: str) -> list[str]:
    """Return the texts that betray a planted text: itself, and its base64 forms at each of three offsets."""
    forms = [base64.b64encode(b"?" * shift + planted.encode() + b"?").decode() for shift in range(3)]
    # Not the characters that the neighbours of the text change, too.
    return [planted, forms[0][:8], forms[1][2:9], forms[2][3:10]]


def secret(*, auth: dict[str, str] | None = None, url: str | None = None, **members: Any) -> dict[str, Any]:
    """Return a channel's secret; `members` replace whole top-level members."""
    kind = auth or {"type": "url"}
    plain = url or (TRIGGER_URL if kind["type"] == "url" else TRIGGER_URL.partition("?")[0])
    xmatters = {"trigger_url": plain, "auth": kind, "recipients_in": "workflow"}
    return {"inbound": {"token": TOKEN}, "xmatters": xmatters} | members


def parsed(document: dict[str, Any] | None = None) -> Channel:
    return parse_channel(
        "noc", json.dumps(document or secret()), VendorHosts.of(("*.xmatters.com",), ("*.bigpanda.io",))
    )


def moment(seconds: float) -> str:
    """Return epoch seconds as a channel's settings write a time."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def pause(then: str, since: float = -10.0, until: float = 3600.0, **members: Any) -> dict[str, Any]:
    """Return a pause of a channel's policy. Its times are seconds after the start of `fakes.Clock`."""
    start = 1_800_000_000.0
    return {"since": moment(start + since), "until": moment(start + until), "then": then, **members}


def access(base_url: str, api_key: str) -> BigPandaAccess:
    """Return the settings for a channel's access to BigPanda. The name of a listing depends on them."""
    return BigPandaAccess(base_url, api_key, (), assign=False, email_domain=None, comments=frozenset())


def noise(size: int) -> str:
    """Return so many hexadecimal digits, which compress to half their size at best."""
    return random.Random(size).randbytes(size // 2).hex()


def body(**members: Any) -> bytes:
    """Return a webhook's body whose incident has these members."""
    return json.dumps({"incident": {"id": "i1", "status": "critical", "changedOn": 1_800_000_000} | members}).encode()


def enveloped(environment_id: str | None, **members: Any) -> bytes:
    """Return a webhook's body whose metadata names a BigPanda environment."""
    document = json.loads(body(**members))
    return json.dumps(document | {"metadata": {"environment_id": environment_id}}).encode()


def share(**members: Any) -> Share:
    return parse_share(body(**members))


def request(content: bytes | None = None, **changes: Any) -> Request:
    """Return a request to the channel `noc` with valid credentials."""
    plain = Request(
        channel="noc",
        headers=OPEN | {"content-type": "application/json"},
        recipients=(),
        body=(body() if content is None else content).decode(),
        is_base64=False,
        id="request-1",
    )
    return replace(plain, **changes)


def job(**members: Any) -> Job:
    """Return the job of a signal that failed three times, with other members by their names in the envelope."""
    plain = Job(
        "signal",
        "noc",
        ("Network Operations",),
        "i1",
        "2027-01-15T08:00:00.000Z",
        body(),
        version=(1_800_000_000.0, 1_800_000_000.0),
        stamps=Stamps(
            "upstream",
            "request-1",
            "critical",
            recipients=("Network Operations",),
            first_failed_at="2027-01-15T08:00:02.000Z",
            last_failed_at="2027-01-15T08:00:02.000Z",
            http_status=503,
            response_excerpt="Service Unavailable",
            attempts=3,
        ),
    )
    return changed(plain, **members)


def changed(job: Job, **members: Any) -> Job:
    """Return a job with other members, by the names of members, stamps and flags."""
    flags = {Flag(name): members.pop(name) for name in list(members) if name in list(Flag)}
    job = job.with_flags(*filter(flags.get, flags)).without_flags(*(flag for flag in flags if not flags[flag]))
    if "recipients" in members:
        members.setdefault("url_recipients", members["recipients"])
    stamps = {name: members.pop(name) for name in Stamps._fields if name in members}
    return replace(job, **members, stamps=replace(job.stamps, **stamps))


def accepted(request_id: str = "r1") -> HttpAnswer:
    return HttpAnswer(202, {"x-trace": request_id}, json.dumps({"requestId": request_id}).encode())


def refused(status: int, content: bytes = b"", **headers: str) -> HttpAnswer:
    """Return an answer that is no acceptance; underscores in header names stand for hyphens."""
    return HttpAnswer(status, {name.replace("_", "-"): value for name, value in headers.items()}, content)


def token(value: str = "access-token-1", seconds: float = 900) -> HttpAnswer:
    return HttpAnswer(200, {}, json.dumps({"access_token": value, "expires_in": seconds}).encode())


# A channel in the middle of a rotation, which ends at the start of `Clock`.
ROTATED = parsed(
    secret(
        inbound={
            "token": "new-token",
            "basic": {"username": "bigpanda", "password": "pä:ss"},
            "previous": {
                "token": "old-token",
                "basic": {"username": "bigpanda", "password": "old"},
                "expires_at": "2027-01-15T08:00:00Z",
            },
        }
    )
)


# Links, and if each leads to BigPanda.
LINKS = {
    "https://a.bigpanda.io/#/app/1": True,
    "https://bigpanda.io": True,
    "https://A.BigPanda.IO:443/x?y=z@evil.example": True,
    "http://a.bigpanda.io/": False,
    "https://a.bigpanda.io:x@evil.example/": False,
    "https://user@a.bigpanda.io/": False,
    "https://evil.example/\\@a.bigpanda.io/": False,
    "https://a.bigpanda.io:8443/": False,
    "https://a.bigpanda.io./": False,
    "https://a.bigpanda.io.evil.example/": False,
    "https://evil.example#.bigpanda.io/": False,
    "https://a.b\u0131gpanda.io/": False,
    "https://a.bigpanda.io/\nhttps://evil.example": False,
    'https://a.bigpanda.io/">x': False,
    "https://a.bigpanda.io/ x": False,
    "javascript:alert(1)": False,
    "data:text/html,x": False,
    "https://\u0430.bigpanda.io/": False,
    "https://a.bigpanda.io/" + "x" * 500: False,
}

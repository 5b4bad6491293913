"""Planted texts ("magpies") in every secret position of a channel, and a search for them in all output of the relay."""

import base64
import itertools
import json
from copy import replace
from typing import Any
from urllib.parse import quote

import pytest
from botocore.exceptions import EndpointConnectionError

from relay.entrypoints.bootstrap import MOST_BIGPANDA_BYTES
from relay.http.session import Session
from relay.jobs.queue import read_envelope
from relay.ledger.accepted_signal import AcceptedSignal
from sandbox.server.in_process import Box
from tests import samples
from tests.fakes import TABLE_DOWN, FakeSecrets, Relay
from tests.integration.live import HOSTS, LOOPBACK, Received, site

# Nobody listens there, and no name of it is looked up.
NOWHERE = "http://127.0.0.1:1"
# The core has the same spelling in URLs, forms, JSON and HTML; the characters around it have different ones.
CORE = "magpie"
AUTHS: dict[str, dict[str, str]] = {
    "url": {"type": "url", "api_key": "ä/+ magpie-key \"<&%>'=?"},
    "basic": {"type": "basic", "username": "relay", "password": "ä/+ magpie-password \"<&%>'=?:"},
    "api_key": {"type": "api_key", "key": "x-api-key-magpie", "secret": "ä/+ magpie-secret \"<&%>'=?"},
    "oauth": {"type": "oauth", "client_id": "c", "username": "u", "password": "ä/+ magpie-oauth \"<&%>'=?"},
}
API_KEY = "BPU-magpie\"<&%>'=?+/"
# BigPanda reads an app key from the body, not from a header.
APP_KEY = "magpie-app\"<&%>'=?+/"
CALLBACK = {
    "token": "magpie-callback",
    "basic": {"username": "xmatters", "password": "magpie-called"},
    "previous": {"token": "magpie-older", "expires_at": "2030-01-31T12:00:00Z"},
}
INBOUND = {
    "token": "magpie-token",
    "basic": {"username": "bigpanda", "password": "magpie-login"},
    "previous": {"token": "magpie-old", "expires_at": "2030-01-31T12:00:00Z"},
}


def document(
    url: str,
    auth: dict[str, str],
    bigpanda_url: str = NOWHERE,
    *,
    assign: bool = False,
    rest_url: str | None = NOWHERE,
    callbacks: bool = False,
) -> dict[str, Any]:
    """Return a secret with a magpie in every position that takes one."""
    whole = samples.secret(auth={"type": "url"} if auth["type"] == "url" else auth, url=url, inbound=INBOUND)
    whole["xmatters"]["callback"] = CALLBACK
    if rest_url:
        whole["xmatters"]["rest"] = {"base_url": rest_url, "auth": AUTHS["api_key"]}
    bigpanda = {"api_key": API_KEY, "app_key": APP_KEY, "base_url": bigpanda_url, "assign": assign}
    bigpanda |= {"callbacks": callbacks}
    return whole | {"bigpanda": bigpanda, "policy": {"fallback_after_seconds": 0}}


def acknowledgement(number: int) -> str:
    """Return the body of xMatters' callback for an acknowledgement."""
    said = {"relay": 1, "kind": "response", "incident_id": f"i{number}", "environment_id": "e1"}
    return json.dumps(said | {"person": {"target": "jdoe"}, "response": "Acknowledge"})


DOWN = EndpointConnectionError(endpoint_url="https://sqs")


class Scene:
    """A relay whose channel `noc` has magpies, with the most verbose logging; everything that it gave out is kept.

    It calls the vendors over sockets, and has no waits between attempts.
    """

    def __init__(self, secret: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
        session: Any = Session(LOOPBACK)
        bigpanda: Any = Session(HOSTS.bigpanda, most=MOST_BIGPANDA_BYTES)
        vendors = {"rest": session, "bigpanda": bigpanda, "hosts": HOSTS}
        texts = FakeSecrets(noc=json.dumps(secret))
        self.relay = Relay(session, secrets=texts, numbers=("+14255550100",), chance=0.0, **vendors)
        self.replies: list[Any] = []
        self.messages: list[dict[str, Any]] = []
        self._caplog = caplog
        caplog.set_level("DEBUG", logger="relay")
        self._numbers = itertools.count(1)
        for queue in (self.relay.retries, self.relay.chores, self.relay.dead_letters):
            queue.before = self.messages.append

    def share(self, body: str | None = None, channel: str = "noc", **headers: str) -> None:
        """Post a share of a new incident; underscores in names of headers stand for hyphens."""
        self.relay.close_circuits()
        content = body or json.dumps({"id": f"i{next(self._numbers)}", "status": "critical"})
        self._serve(self.relay.webhook, content, channel, headers or {"authorization": "Bearer magpie-token"})

    def call_back(self, body: str | None = None, **headers: str) -> None:
        """Post an acknowledgement of a new incident that was announced."""
        number = next(self._numbers)
        self.relay.announce(f"i{number}")
        content = body or acknowledgement(number)
        self._serve(self.relay.callbacks, content, "noc", headers or {"authorization": "Bearer magpie-callback"})

    def _serve(self, endpoint: Any, content: str, channel: str, headers: dict[str, str]) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = samples.request(content.encode(), channel=channel, headers=named)
        self.replies.append(endpoint.serve(request))

    def work(self, seconds: float = 0.0) -> None:
        """Let workers, which just started, work all jobs, and replay the dead letters."""
        self.relay.close_circuits()
        letters, self.relay.dead_letters.messages = self.relay.dead_letters.messages, []
        self.relay.retries.messages += letters
        self.relay.wake(seconds)

    def said(self, member: str) -> set[str]:
        """Return the values of a member of all replies."""
        return {each.document[member] for each in self.replies if member in each.document}

    def finds_nothing(self, *more: str) -> None:
        relay = self.relay
        lines = relay.recorder.lines()
        envelopes = [message["MessageBody"] for message in self.messages]
        envelopes += [line["last_copy"] for line in lines if "delivery_id" in line and "last_copy" in line]
        jobs = [str(read_envelope(each)) for each in envelopes if each.startswith("{")]
        kept = [self.messages, relay.dynamodb.items, relay.credentials.items, relay.sns.published, relay.messaging.sent]
        answers = [reply.to_response() for reply in self.replies]
        records = [str(vars(record)) for record in self._caplog.records]
        text = "".join([json.dumps([kept, answers], default=str), relay.recorder.written(), *jobs, *records, *more])
        assert len(text) > 1000
        assert [trace for trace in samples.traces(CORE) if trace.lower() in text.lower()] == []


FAULTS: list[dict[str, Any]] = [
    {"kind": "status", "status": 400},
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 429, "retry_after": "60"},
    {"kind": "html", "status": 404},
    {"kind": "status", "status": 401},
    {"kind": "redirect", "location": "https://evil.example/?apiKey=elsewhere"},
    {"kind": "reset"},
    {"kind": "reset_body"},
    {"kind": "truncated_json"},
    {"kind": "accept_then_reset"},
]


@pytest.mark.parametrize("kind", AUTHS)
def test_no_credential_is_in_any_output_of_webhook_worker_and_sweeper(
    box: Box, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    scene = Scene(document(box.declare(AUTHS[kind]).url, AUTHS[kind]), caplog)
    relay = scene.relay
    scene.share()
    for fault in FAULTS:
        box.script([fault | {"times": None}])
        scene.share()
        if kind == "oauth":
            box.script([{"kind": "status", "status": 401}, fault | {"times": None, "on": "token"}])
            scene.share()
    box.clear()
    box.listening(False)
    scene.share()
    be_turned_away(scene)
    relay.sweep(0)
    assert min(len(relay.sns.published), len(relay.messaging.sent), len(relay.dead_letters.messages)) > 0
    scene.work()
    box.listening(True)
    scene.work(60)
    break_secrets(scene)
    box.listening(False)
    for broken in ("retries", "dead_letters", "dynamodb"):
        getattr(relay, broken).failure = TABLE_DOWN if broken == "dynamodb" else DOWN
        scene.share()
    assert scene.said("outcome") >= {"delivered", "queued", "unsafe"}
    assert len(scene.messages) >= 2 * len(FAULTS)
    scene.finds_nothing()


def be_turned_away(scene: Scene) -> None:
    """Send shares that are refused, some of them nearly valid."""
    scene.share(authorization="Bearer magpie-wrong")
    scene.share(authorization="Basic " + base64.b64encode(b"bigpanda:magpie-token").decode())
    scene.share(x_api_key="magpie-old-but-not-quite", cookie="session=magpie")
    scene.share(channel="magpie/../noc")
    scene.share("not json", authorization="Bearer magpie-old")
    scene.share("{}", authorization="Basic " + base64.b64encode(b"bigpanda:magpie-login").decode())
    scene.share("{}", x_api_key="magpie-token", content_type="text/plain")


def break_secrets(scene: Scene) -> None:
    """Store malformed secrets with magpies where an error might quote them, for new channels and one in use."""
    good = document("https://acme.xmatters.com/?apiKey=magpie", AUTHS["url"])
    wrong: list[Any] = [
        "magpie is not JSON",
        good | {"inbound": {"token": ["magpie"]}},
        good | {"xmatters": {"trigger_url": "https://magpie.evil.com/?apiKey=magpie", "auth": {"type": "url"}}},
        good | {"policy": {"preset": "magpie"}},
    ]
    texts = scene.relay.secrets.texts
    for number, version in enumerate(wrong):
        texts[f"broken-{number}"] = version if isinstance(version, str) else json.dumps(version)
        scene.share(channel=f"broken-{number}")
    good_text, texts["noc"] = texts["noc"], texts["broken-1"]
    scene.relay.clock.now += 301
    scene.share()
    texts["noc"] = good_text


def test_no_credential_is_in_any_output_of_write_back_and_releases(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    box.bigpanda.let_in(API_KEY)
    box.bigpanda.let_app_in(APP_KEY)
    url = box.declare(AUTHS["url"]).url
    scene = Scene({}, caplog)
    relay = scene.relay
    for route, faults in {"comment": FAULTS, "users": FAULTS[::3], "release": FAULTS}.items():
        settings = {"assign": route == "users", "callbacks": route == "release"}
        secret = document(url, AUTHS["url"], box.bigpanda.url, rest_url=None, **settings)
        relay.secrets.texts["noc"] = json.dumps(secret)
        relay.clock.now += 301
        for fault in faults:
            box.script([fault | {"times": None, "on": route}])
            if route == "release":
                scene.share()
            else:
                scene.call_back()
            relay.wake(0)
    scene.call_back(authorization="Bearer magpie-wrong")
    scene.call_back(authorization="Bearer magpie-token")
    scene.call_back(authorization="Basic " + base64.b64encode(b"xmatters:magpie-token").decode())
    scene.call_back("not json", authorization="Bearer magpie-older")
    scene.call_back("{}", authorization="Basic " + base64.b64encode(b"xmatters:magpie-called").decode())
    scene.call_back("{}", x_api_key="magpie-callback", content_type="text/plain")
    assert len(relay.dead_letters.messages) >= 2
    box.script([])
    for _ in range(3):
        scene.work(900)
    assert min(len(box.bigpanda.done("release")), len(box.bigpanda.done("comment"))) >= len(FAULTS)
    relay.chores.failure = DOWN
    scene.call_back()
    relay.dead_letters.failure = DOWN
    scene.call_back()
    assert scene.said("outcome") >= {"queued", "unsafe"}
    assert scene.said("error") >= {"unauthorized", "bad_request", "unsupported_media_type"}
    scene.finds_nothing()


def echo(received: Received) -> tuple[int, dict[str, str], bytes]:
    """Return a debug page: an error with the whole request, in several spellings."""
    headers = dict(received.headers)
    pieces = [
        f"<pre>POST {received.target}\n{headers}</pre>",
        json.dumps({"url": received.target, "headers": headers, "form": received.body.decode("utf-8", "replace")}),
    ]
    return 500, {"Content-Type": "text/html"}, "\n".join(pieces).encode()


@pytest.mark.parametrize("kind", AUTHS)
@pytest.mark.parametrize("granting", [True, False])
def test_no_credential_is_written_when_xmatters_echoes_a_signal(
    caplog: pytest.LogCaptureFixture, kind: str, granting: bool
) -> None:
    def script(received: Received) -> tuple[int, dict[str, str], bytes]:
        if granting and received.target.endswith("/token"):
            return 200, {}, b'{"access_token": "magpie-access", "expires_in": 900, "refresh_token": "magpie-refresh"}'
        return echo(received)

    with site(script) as server:
        query = f"?apiKey={quote(AUTHS['url']['api_key'])}" if kind == "url" else ""
        scene = Scene(document(f"{server.url}/triggers{query}", AUTHS[kind]), caplog)
        scene.share()
        scene.share()
        scene.work(60)
    assert [reply.status for reply in scene.replies] == [202, 202]
    again = [job.stamps.response_excerpt for job in scene.relay.retries.jobs()]
    assert again
    assert all("***" in excerpt for excerpt in again)
    scene.finds_nothing()


def test_no_credential_is_written_when_the_relays_code_crashes(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(document(box.declare(AUTHS["url"]).url, AUTHS["url"]), caplog)
    relay, broken = scene.relay, None
    for endpoint in ("webhook", "callbacks"):
        whole = getattr(relay, endpoint)
        for crashing in (
            replace(whole, take=broken),
            replace(whole, authenticator=replace(whole.authenticator, channels=broken)),
        ):
            setattr(relay, endpoint, crashing)
            scene.share() if endpoint == "webhook" else scene.call_back()
    assert [reply.status for reply in scene.replies] == [503] * 4
    scene.finds_nothing()


# The pages of a signal are looked up for an answer to it. If the page is known, the person who answered is looked up.
SIGNALS = {"page search": AcceptedSignal("r1", 1_800_000_000.0, is_open=True)}
SIGNALS["person"] = SIGNALS["page search"]._replace(pages=("1",))


@pytest.mark.parametrize("looked_up", SIGNALS)
def test_no_credential_is_written_when_xmatters_echoes_a_request(
    caplog: pytest.LogCaptureFixture, looked_up: str
) -> None:
    with site(echo) as server:
        trigger = "https://acme.xmatters.com/?apiKey=magpie"
        scene = Scene(document(trigger, AUTHS["url"], server.url, rest_url=server.url), caplog)
        scene.relay.announce("i1", SIGNALS[looked_up])
        scene.call_back(json.dumps(json.loads(acknowledgement(1)) | {"event": {"number": "1"}}))
        scene.relay.wake(301)
    [again] = scene.relay.chores.jobs()
    assert "***" in again.stamps.response_excerpt
    asked = [each.target for each in server.received]
    assert any("/people/" in target for target in asked) == (looked_up == "person")
    [comment] = [each.body.decode() for each in server.received if each.target.endswith("/comments")]
    assert "Unverified" in comment
    assert "xMatters could not be asked" in scene.relay.recorder.written()
    scene.finds_nothing(comment)

"""Planted texts ("magpies") in every secret position of a channel, and a search for them in all output of the relay."""

import base64
import dataclasses
import itertools
import json
import random
from typing import Any
from urllib.parse import quote

import pytest

from relay.channels.authentication import Request
from relay.jobs.queue import envelope_of, read_envelope
from relay.ledger.accepted_signal import AcceptedSignal
from sandbox.server.in_process import Box
from tests import samples
from tests.integration.account import Aws, Mailbox
from tests.integration.handlers import event, invoke, load
from tests.integration.live import Live, Received, site

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


def traces() -> list[str]:
    """Return the texts that betray a magpie: its core, and the core's base64 forms at each of three offsets."""
    encoded = [base64.b64encode(b"?" * shift + CORE.encode() + b"?").decode() for shift in range(3)]
    return [CORE, encoded[0][:8], encoded[1][2:9], encoded[2][3:10]]


def document(
    url: str,
    auth: dict[str, str],
    bigpanda_url: str = "https://api.bigpanda.io",
    *,
    assign: bool = False,
    rest_url: str | None = "https://acme.xmatters.com",
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


class Search:
    """All output of the relay: answers, streams, log, ledger, fallback topic, and unpacked queue messages."""

    def __init__(self, account: Aws, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
        self.answers: list[dict[str, Any]] = []
        self.messages: list[dict[str, Any]] = []
        self._account = account
        self._capfd = capfd
        self._caplog = caplog

    def empty(self, mailbox: Mailbox) -> list[str]:
        """Take the messages off a queue, to be searched later; return the envelopes."""
        taken = mailbox.messages()
        self.messages += taken
        return [message["Body"] for message in taken]

    def finds_nothing(self, *more: str) -> None:
        text = "".join([self._everything(), *more]).lower()
        assert len(text) > 1000
        assert [trace for trace in traces() if trace.lower() in text] == []

    def _everything(self) -> str:
        out, err = self._capfd.readouterr()
        lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        copies = [line["last_copy"] for line in lines if "delivery_id" in line and "last_copy" in line]
        jobs = [read_envelope(envelope) for envelope in (*(each["Body"] for each in self.messages), *copies)]
        records = [str(vars(record)) for record in self._caplog.records]
        kept = json.dumps([self.messages, self._account.known(), self._account.told()], default=str)
        return "\n".join([json.dumps(self.answers), kept, out, err, *(str(job) for job in jobs), *records])


@pytest.fixture
def search(account: Aws, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Search:
    caplog.set_level("DEBUG", logger="relay")
    return Search(account, capfd, caplog)


FAULTS: list[dict[str, Any]] = [
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


class Functions:
    """All handlers, with the most verbose logging and without waits."""

    def __init__(self, account: Aws, search: Search, environment: pytest.MonkeyPatch) -> None:
        environment.setenv("POWERTOOLS_LOG_LEVEL", "DEBUG")
        environment.setenv("POWERTOOLS_LOGGER_LOG_EVENT", "true")
        environment.setenv("RELAY_SECRET_CACHE_SECONDS", "0.001")
        environment.setattr(random, "random", lambda: 0.0)
        self.account = account
        self.search = search
        self._environment = environment
        self._numbers = itertools.count(1)
        self.callback = load("xmatters_callback", environment, account)
        self.webhook = load("bigpanda_webhook", environment, account)

    def start_anew(self) -> None:
        """Close the circuit and reload the webhook, so that the channel may be signalled again."""
        self.account.close_circuit("noc")
        self.webhook = load("bigpanda_webhook", self._environment, self.account)

    def sweep(self) -> None:
        self.search.answers.append(invoke(load("sweeper", self._environment, self.account), {}))

    def lose_the_ledger(self) -> None:
        """Reload the webhook with a table that does not exist."""
        self.webhook = load("bigpanda_webhook", self._environment, self.account, RELAY_LEDGER_TABLE="gone")

    def share(self, body: str | None = None, channel: str = "noc", **headers: str) -> None:
        content = body or json.dumps({"id": f"i{next(self._numbers)}", "status": "critical"})
        shown = headers or {"Authorization": "Bearer magpie-token"}
        self.search.answers.append(invoke(self.webhook, event(content, channel=channel, **shown)))

    def call_back(self, body: str | None = None, **headers: str) -> None:
        number = next(self._numbers)
        self.account.announce("noc", f"i{number}")
        content = body or acknowledgement(number)
        shown = headers or {"Authorization": "Bearer magpie-callback"}
        self.search.answers.append(invoke(self.callback, event(content, **shown)))

    def work(self, *envelopes: str) -> None:
        """Work jobs as if the retry queue had delivered them, each in a worker that has just started."""
        for envelope in envelopes:
            self.account.close_circuit("noc")
            worker = load("job_worker", self._environment, self.account)
            records = [{"messageId": "m1", "body": envelope}]
            self.search.answers.append(invoke(worker, {"Records": records}))


@pytest.mark.parametrize("kind", AUTHS)
def test_no_credential_is_in_any_output_of_webhook_worker_and_sweeper(
    box: Box, account: Aws, search: Search, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    functions = Functions(account, search, monkeypatch)
    account.put_secret("noc", document(box.declare(AUTHS[kind]).url, AUTHS[kind]))
    functions.share()
    fail_in_every_way(box, functions, tokens=kind == "oauth")
    be_turned_away(functions)
    kept, resting = search.empty(account.retries), search.empty(account.dead_letters)
    functions.work(*kept, "not an envelope")
    functions.work(*resting, *kept[:2], "not an envelope")
    search.empty(account.retries)
    functions.sweep()
    box.listening(True)
    functions.work(*kept)
    functions.work(*resting)
    break_secrets(account, functions)
    box.listening(False)
    search.empty(account.retries)
    account.retries.delete()
    functions.share()
    search.empty(account.dead_letters)
    account.dead_letters.delete()
    functions.share()
    functions.lose_the_ledger()
    functions.share()
    bodies = [json.loads(answer["body"]) for answer in search.answers if "body" in answer]
    assert {body.get("outcome") for body in bodies} >= {"delivered", "queued", "unsafe"}
    assert len(kept) >= len(FAULTS)
    assert len(resting) >= 2
    assert len(account.told()) >= 1
    assert len(account.known()) >= len(FAULTS)
    search.finds_nothing()


def awake(envelope: str) -> str:
    return envelope_of(samples.changed(read_envelope(envelope), not_before=None))


def fail_in_every_way(box: Box, functions: Functions, *, tokens: bool) -> None:
    """Post a share under each fault of the trigger, and then one while xMatters is down.

    With `tokens`, also post a share under each fault of the route that issues OAuth tokens.
    """
    for fault in FAULTS:
        box.script([fault | {"times": None}])
        functions.start_anew()
        functions.share()
        if tokens:
            functions.start_anew()
            box.script([{"kind": "status", "status": 401}, fault | {"times": None, "on": "token"}])
            functions.share()
    box.clear()
    box.listening(False)
    functions.start_anew()
    functions.share()


def test_no_credential_is_in_any_output_of_write_back_and_releases(
    box: Box, account: Aws, search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    functions = Functions(account, search, monkeypatch)
    box.bigpanda.let_in(API_KEY)
    box.bigpanda.let_app_in(APP_KEY)
    url = box.declare(AUTHS["url"]).url
    kept: dict[str, list[str]] = {}
    for route, faults in {"comment": FAULTS, "users": FAULTS[::3], "release": FAULTS}.items():
        settings = {"assign": route == "users", "callbacks": route == "release"}
        account.put_secret("noc", document(url, AUTHS["url"], box.bigpanda.url, rest_url=None, **settings))
        for fault in faults:
            box.script([fault | {"times": None, "on": route}])
            if route == "release":
                functions.share()
            else:
                functions.call_back()
            functions.work(*search.empty(account.chores))
            kept.setdefault(route, []).extend(search.empty(account.chores))
    be_turned_away_as_xmatters(functions)
    resting = search.empty(account.dead_letters)
    functions.work(*resting, *kept["comment"][:2])
    assert min(len(kept["comment"]), len(kept["release"])) >= len(FAULTS) - 4
    assert len(resting) >= 2
    box.script([])
    functions.work(*(awake(each) for envelopes in kept.values() for each in envelopes), *resting)
    assert len(box.bigpanda.done("release")) >= len(kept["release"])
    assert {call.incident_id for call in box.bigpanda.done("comment")} >= {
        f"i{number}" for number in range(1, len(FAULTS) + 1)
    }
    account.chores.delete()
    functions.call_back()
    search.empty(account.dead_letters)
    account.dead_letters.delete()
    functions.call_back()
    replies = [json.loads(answer["body"]) for answer in search.answers if "body" in answer]
    assert {each.get("outcome") for each in replies} >= {"queued", "unsafe"}
    assert {each.get("error") for each in replies} >= {"unauthorized", "bad_request", "unsupported_media_type"}
    search.finds_nothing()


def be_turned_away_as_xmatters(functions: Functions) -> None:
    """Send callbacks that are refused, some nearly valid, some with the webhook's credentials."""
    functions.call_back(Authorization="Bearer magpie-wrong")
    functions.call_back(Authorization="Bearer magpie-token")
    functions.call_back(Authorization="Basic " + base64.b64encode(b"xmatters:magpie-token").decode())
    functions.call_back("not json", Authorization="Bearer magpie-older")
    functions.call_back("{}", Authorization="Basic " + base64.b64encode(b"xmatters:magpie-called").decode())
    functions.call_back("{}", x_api_key="magpie-callback", Content_Type="text/plain")


def be_turned_away(functions: Functions) -> None:
    """Send shares that are refused, some of them nearly valid."""
    functions.share(Authorization="Bearer magpie-wrong")
    functions.share(Authorization="Basic " + base64.b64encode(b"bigpanda:magpie-token").decode())
    functions.share(x_api_key="magpie-old-but-not-quite", Cookie="session=magpie")
    functions.share(channel="magpie/../noc")
    functions.share("not json", Authorization="Bearer magpie-old")
    functions.share("{}", Authorization="Basic " + base64.b64encode(b"bigpanda:magpie-login").decode())
    functions.share("{}", x_api_key="magpie-token", Content_Type="text/plain")


def break_secrets(account: Aws, functions: Functions) -> None:
    """Store malformed secrets with canaries where an error might quote them, for new channels and one in use."""
    good = document("https://acme.xmatters.com/?apiKey=magpie", AUTHS["url"])
    wrong: list[Any] = [
        "magpie is not JSON",
        good | {"inbound": {"token": ["magpie"]}},
        good | {"xmatters": {"trigger_url": "https://magpie.evil.com/?apiKey=magpie", "auth": {"type": "url"}}},
        good | {"policy": {"preset": "magpie"}},
    ]
    for number, version in enumerate(wrong):
        account.put_secret(f"broken-{number}", version)
        functions.share(channel=f"broken-{number}")
    account.put_secret("noc", wrong[1])
    functions.share()


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
    account: Aws, search: Search, kind: str, granting: bool
) -> None:
    def script(received: Received) -> tuple[int, dict[str, str], bytes]:
        if granting and received.target.endswith("/token"):
            return 200, {}, b'{"access_token": "magpie-access", "expires_in": 900, "refresh_token": "magpie-refresh"}'
        return echo(received)

    live = Live(account)
    with site(script) as server:
        query = f"?apiKey={quote(AUTHS['url']['api_key'])}" if kind == "url" else ""
        account.put_secret("noc", document(f"{server.url}/triggers{query}", AUTHS[kind]))
        for number in range(2):
            shared = samples.request(samples.body(id=number), headers={"x-api-key": "magpie-token"})
            answer = live.webhook.serve(shared)
            search.answers.append(answer.to_response())
            assert answer.status == 202
        live.ahead += 60
        for number, envelope in enumerate(search.empty(account.retries)):
            assert live.worker.work([{"messageId": f"m{number}", "body": envelope}]) == []
    again = [read_envelope(envelope).stamps.response_excerpt for envelope in search.empty(account.retries)]
    assert again
    assert all("***" in excerpt for excerpt in again)
    search.finds_nothing(live.recorder.written())


def test_no_credential_is_written_when_the_relays_code_crashes(box: Box, account: Aws, search: Search) -> None:
    account.put_secret("noc", document(box.declare(AUTHS["url"]).url, AUTHS["url"]))
    live = Live(account)
    broken: Any = None
    endpoints = [(live.webhook, '{"id": 1}', "magpie-token"), (live.callbacks, acknowledgement(1), "magpie-callback")]
    for endpoint, content, token in endpoints:
        for changes in (
            {"take": broken},
            {"authenticator": dataclasses.replace(endpoint.authenticator, channels=broken)},
        ):
            webhook = dataclasses.replace(endpoint, **changes)
            request = Request.from_event(event(content, x_api_key=token))
            answer = webhook.serve(request).to_response()
            search.answers.append(answer)
            assert answer["statusCode"] == 503
    search.finds_nothing(live.recorder.written())


# The pages of a signal are looked up for an answer to it. If the page is known, the person who answered is looked up.
SIGNALS = {"page search": AcceptedSignal("r1", 0.0, is_open=True)}
SIGNALS["person"] = SIGNALS["page search"]._replace(pages=("1",))


@pytest.mark.parametrize("looked_up", SIGNALS)
def test_no_credential_is_written_when_xmatters_echoes_a_request(account: Aws, search: Search, looked_up: str) -> None:
    live = Live(account)
    with site(echo) as server:
        trigger = "https://acme.xmatters.com/?apiKey=magpie"
        account.put_secret("noc", document(trigger, AUTHS["url"], server.url, rest_url=server.url))
        account.announce("noc", "i1", signals=(SIGNALS[looked_up]._replace(at=live.clock()),))
        said = json.loads(acknowledgement(1)) | {"event": {"number": "1"}}
        called_back = samples.request(json.dumps(said).encode(), headers={"authorization": "Bearer magpie-callback"})
        assert live.callbacks.serve(called_back).status == 200
        [envelope] = search.empty(account.chores)
        live.ahead += 301
        assert live.worker.work([{"messageId": "m1", "body": envelope}]) == []
    [again] = [read_envelope(envelope) for envelope in search.empty(account.chores)]
    assert "***" in again.stamps.response_excerpt
    asked = [each.target for each in server.received]
    assert any("/people/" in target for target in asked) == (looked_up == "person")
    [comment] = [each.body.decode() for each in server.received if each.target.endswith("/comments")]
    assert "Unverified" in comment
    assert "xMatters could not be asked" in live.recorder.written()
    search.finds_nothing(live.recorder.written(), comment)

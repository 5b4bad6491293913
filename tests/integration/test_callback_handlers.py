"""The callback's handler against moto, and the worker's writes to the BigPanda stand-in."""

import base64
import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relay.jobs.envelope import envelope_of, read_envelope
from relay.jobs.job import Job
from sandbox import local
from sandbox.bigpanda.incidents import ENVIRONMENT
from sandbox.server.in_process import Box
from tests import samples
from tests.integration.account import Aws, aws
from tests.integration.handlers import ROOT, Handler, event, invoke, load

EVENTS = sorted((ROOT / "events").glob("xmatters_callback_*.json"))
REFUSED = {"xmatters_callback_4_no_incident"}
# The incidents of the samples.
SAMPLES = ("66b0f1c2a94d3e0012ab34cd", "66b0f6e7a94d3e0012ab3511")
KEY = "BPU-canary-key"
TOKEN = "callback-token-9e1f"
SHOWN = {"x_api_key": TOKEN}
NOTHING_STAYS: dict[str, Any] = {"batchItemFailures": []}


def said(**members: Any) -> str:
    """Return an acknowledgement, as the workflow's step writes it."""
    plain = {
        "relay": 1,
        "kind": "response",
        "incident_id": "i1",
        "environment_id": "e1",
        "event": {"number": "408005"},
        "person": {"target": "jdoe"},
        "response": "Acknowledge",
    }
    return json.dumps(plain | members)


@pytest.fixture
def account(box: Box) -> Iterator[Aws]:
    """An account with the channels `noc` and `demo`; `demo` has the samples' credentials."""
    box.bigpanda.let_in(KEY)
    with aws() as account:
        bigpanda = {"api_key": KEY, "base_url": box.bigpanda.url, "assign": True, "email_domain": "acme.example"}
        document = samples.secret(url=box.declare({"type": "url", "api_key": "k"}).url, bigpanda=bigpanda)
        login = {"username": local.CALLBACK_USERNAME, "password": local.CALLBACK_PASSWORD}
        for name, endpoint in {
            "noc": {"token": TOKEN},
            "demo": {"token": local.CALLBACK_TOKEN, "basic": login},
        }.items():
            account.put_secret(name, document | {"xmatters": document["xmatters"] | {"callback": endpoint}})
        yield account


@pytest.fixture
def callback(account: Aws, monkeypatch: pytest.MonkeyPatch) -> Handler:
    return load("xmatters_callback", monkeypatch, account)


@pytest.fixture
def worker(account: Aws, monkeypatch: pytest.MonkeyPatch) -> Handler:
    """The worker of the chore queue; the answered incidents are announced."""
    account.announce("noc", "i1")
    account.announce("demo", *SAMPLES)
    return load("chore_worker", monkeypatch, account)


@pytest.fixture
def job_worker(account: Aws, monkeypatch: pytest.MonkeyPatch) -> Handler:
    """The worker of the retry queue, which a replay fills with jobs of all kinds."""
    return load("job_worker", monkeypatch, account)


def work(worker: Handler, account: Aws) -> None:
    """Work all jobs on the chore queue."""
    records = [{"messageId": each["MessageId"], "body": each["Body"]} for each in account.chores.messages()]
    assert records
    assert invoke(worker, {"Records": records}) == NOTHING_STAYS


def hand_over(worker: Handler, job: Job) -> None:
    """Work a job as if the retry queue had delivered it."""
    assert invoke(worker, {"Records": [{"messageId": "m1", "body": envelope_of(job)}]}) == NOTHING_STAYS


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.stem)
def test_every_sample_callback_gets_its_documented_answer(account: Aws, callback: Handler, path: Path) -> None:
    answer = invoke(callback, json.loads(path.read_text()))
    document = json.loads(answer["body"])
    if path.stem in REFUSED:
        assert (answer["statusCode"], document["error"]) == (400, "bad_request")
        assert "incident_id" in document["detail"]
        assert account.chores.messages() == []
        return
    assert (answer["statusCode"], document["outcome"], document["queue"]) == (200, "queued", "retry")
    [job] = account.chores.jobs()
    assert (job.kind, job.channel, job.delivery_id) == ("writeback", "demo", document["delivery_id"])


def test_sample_callbacks_become_comments_and_an_assignment(
    box: Box, account: Aws, callback: Handler, worker: Handler
) -> None:
    for path in EVENTS:
        invoke(callback, json.loads(path.read_text()))
    work(worker, account)
    words = {call.document["comment"].partition(" [relay ")[0] for call in box.bigpanda.comments()}
    assert words == {
        '"Jane Doe" (jdoe) acknowledged xMatters page 408005 from "Work Phone". The incident is assigned to them. '
        'Note: "Looking at the replica now"',
        'epearson escalated xMatters page 408006 from "Mobile Phone".',
        'xMatters page 408005 did not reach "Emma Pearson" (epearson) on "Work Phone" (FAILED).',
    }
    assert {call.environment_id for call in box.bigpanda.comments()} == {ENVIRONMENT}
    assert [call.incident_id for call in box.bigpanda.assignments()] == ["66b0f1c2a94d3e0012ab34cd"]
    assert account.chores.messages() == account.dead_letters.messages() == []


def test_callback_is_answered_without_a_call_to_bigpanda(box: Box, account: Aws, callback: Handler) -> None:
    box.script([{"kind": "status", "status": 503, "on": "comment", "times": None}])
    assert invoke(callback, event(said(), **SHOWN))["statusCode"] == 200
    assert box.bigpanda.calls.all() == []
    assert len(account.chores.messages()) == 1
    [known] = account.known()
    assert known["pk"]["S"].startswith("used/callback/noc/"), "the callback's role has no access to incidents"


def test_repeated_callback_is_written_to_bigpanda_once(
    box: Box, account: Aws, callback: Handler, worker: Handler
) -> None:
    first, second = (invoke(callback, event(said(), **SHOWN)) for _ in range(2))
    assert json.loads(first["body"])["delivery_id"] == json.loads(second["body"])["delivery_id"]
    work(worker, account)
    invoke(callback, event(said(), **SHOWN))
    work(worker, account)
    assert len(box.bigpanda.comments()) == 1


@pytest.mark.parametrize("kind", ["accept_then_reset", "reset"])
def test_retry_of_an_ambiguous_comment_first_searches_bigpanda_for_it(
    box: Box, account: Aws, callback: Handler, worker: Handler, kind: str
) -> None:
    box.script([{"kind": kind, "on": "comment"}])
    answer = json.loads(invoke(callback, event(said(), **SHOWN))["body"])
    work(worker, account)
    [waiting] = account.chores.jobs()
    assert (waiting.stamps.reason, waiting.attempts) == ("unreachable", 1)
    hand_over(worker, samples.changed(waiting, not_before=None))
    [comment] = box.bigpanda.comments()
    assert f"[relay {answer['delivery_id'][:8]}]" in comment.document["comment"]
    assert "activities" in [call.route for call in box.bigpanda.calls.all()]


def test_callback_that_bigpanda_refused_is_written_when_its_dead_letter_comes_back(
    box: Box, account: Aws, callback: Handler, worker: Handler, job_worker: Handler
) -> None:
    box.script([{"kind": "status", "status": 404, "on": "comment"}])
    invoke(callback, event(said(), **SHOWN))
    work(worker, account)
    [resting] = account.dead_letters.jobs()
    assert (resting.kind, resting.stamps.reason, resting.stamps.http_status) == ("writeback", "refused", 404)
    hand_over(job_worker, resting)
    assert len(box.bigpanda.comments()) == 1


def test_comment_goes_to_the_environment_of_the_signalled_share(
    account: Aws, box: Box, callback: Handler, worker: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = load("bigpanda_webhook", monkeypatch, account)
    share = json.loads(samples.body(id="i9")) | {"metadata": {"environment_id": "shared-in"}}
    assert invoke(webhook, event(json.dumps(share), x_api_key=samples.TOKEN))["statusCode"] == 200
    account.chores.messages()
    invoke(callback, event(said(incident_id="i9", environment_id=None), **SHOWN))
    work(worker, account)
    assert [call.environment_id for call in box.bigpanda.comments()] == ["shared-in"]


class TestCallbackRequests:
    def test_webhook_and_callback_credentials_are_not_interchangeable(
        self, account: Aws, callback: Handler, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        webhook = load("bigpanda_webhook", monkeypatch, account)
        assert invoke(callback, event(said(), x_api_key=samples.TOKEN))["statusCode"] == 401
        assert invoke(webhook, event(samples.body().decode(), **SHOWN))["statusCode"] == 401
        assert account.chores.messages() == []

    def test_callback_401_is_the_same_for_unknown_channels_and_channels_without_callback(
        self, account: Aws, callback: Handler
    ) -> None:
        account.put_secret("quiet", samples.secret())
        answers = [invoke(callback, event(said(), channel=name, **SHOWN)) for name in ("quiet", "ghost")]
        answers.append(invoke(callback, event(said(), x_api_key="wrong")))
        assert answers == [answers[0]] * 3
        assert answers[0]["statusCode"] == 401

    def test_callback_in_base64_with_basic_credentials_is_queued(self, account: Aws, callback: Handler) -> None:
        login = f"{local.CALLBACK_USERNAME}:{local.CALLBACK_PASSWORD}"
        shown = "Basic " + base64.b64encode(login.encode()).decode()
        encoded = base64.b64encode(said(note="é ✓").encode()).decode()
        sample = event(encoded, channel="demo", Authorization=shown) | {"isBase64Encoded": True}
        assert invoke(callback, sample)["statusCode"] == 200
        [job] = account.chores.jobs()
        assert json.loads(job.body)["note"] == "é ✓"

    @pytest.mark.parametrize(
        ("body", "status"), [("not json", 400), ("{}", 400), ("[]", 400), ('{"x": "' + "x" * 262_144 + '"}', 413)]
    )
    def test_malformed_or_oversized_callback_is_refused(
        self, account: Aws, callback: Handler, body: str, status: int
    ) -> None:
        assert invoke(callback, event(body, **SHOWN))["statusCode"] == status
        assert account.chores.messages() == []


def test_callback_without_any_queue_is_503_and_the_log_has_the_last_copy(
    box: Box, account: Aws, worker: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.StringIO()
    with contextlib.redirect_stdout(written):
        callback = load("xmatters_callback", monkeypatch, account)
        account.chores.delete()
        assert json.loads(invoke(callback, event(said(), **SHOWN))["body"])["queue"] == "dead_letter"
        account.dead_letters.delete()
        answer = invoke(callback, event(said(response="Escalate"), **SHOWN))
    assert (answer["statusCode"], json.loads(answer["body"])["outcome"]) == (503, "unsafe")
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    [last] = [line for line in lines if line.get("level") == "CRITICAL"]
    assert read_envelope(last["last_copy"]).kind == "writeback"
    assert sum(line.get("unsafe", [0.0])[0] for line in lines if "_aws" in line) == 1
    hand_over(worker, read_envelope(last["last_copy"]))
    assert "escalated" in box.bigpanda.comments()[0].document["comment"]


def test_callback_is_logged_with_its_outcome(account: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    with contextlib.redirect_stdout(written):
        callback = load("xmatters_callback", monkeypatch, account)
        invoke(callback, event(said(), **SHOWN))
        invoke(callback, event(said(kind="delivery", delivery_status="DELIVERED"), **SHOWN))
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    told = [(each["outcome"], each["transition"]) for each in lines if each.get("message") == "callback"]
    assert told == [("queued", "response"), ("unchanged", "delivery")]

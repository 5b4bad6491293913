"""The functions' handlers against moto and the xMatters stand-in."""

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relay.errors import ConfigError
from sandbox.server import Box
from tests import samples
from tests.integration.handlers import ROOT, Handler, event, invoke, load
from tests.integration.live import Aws, aws

EVENTS = sorted((ROOT / "events").glob("bigpanda_*.json"))
DEMO_TOKEN = "local-demo-token-not-a-secret"


@pytest.fixture
def account(box: Box) -> Iterator[Aws]:
    with aws() as account:
        url = box.declare({"type": "url", "api_key": "k"}).url
        account.put_secret("noc", samples.secret(url=url))
        account.put_secret("demo", samples.secret(url=url, inbound={"token": DEMO_TOKEN}))
        yield account


@pytest.fixture
def webhook(account: Aws, monkeypatch: pytest.MonkeyPatch) -> Handler:
    return load("bigpanda_webhook", monkeypatch, account.queue_url)


@pytest.fixture
def worker(account: Aws, monkeypatch: pytest.MonkeyPatch) -> Handler:
    return load("job_worker", monkeypatch, account.queue_url)


class Output:
    """What a function prints. It is loaded here, for its logger keeps the stdout that it finds then."""

    def __init__(self, name: str, account: Aws, environment: pytest.MonkeyPatch) -> None:
        self.stdout = io.StringIO()
        with contextlib.redirect_stdout(self.stdout):
            self._handler = load(name, environment, account.queue_url)

    def invoke(self, sample: dict[str, Any]) -> dict[str, Any]:
        with contextlib.redirect_stdout(self.stdout):
            return invoke(self._handler, sample)

    def lines(self) -> list[dict[str, Any]]:
        """What came since the last look."""
        text = self.stdout.getvalue()
        self.stdout.truncate(0)
        self.stdout.seek(0)
        return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.stem)
def test_every_sample_event_is_answered(box: Box, webhook: Handler, path: Path) -> None:
    sample = json.loads(path.read_text())
    answer = invoke(webhook, sample)
    has_incident = "no_incident" not in path.stem
    assert answer["statusCode"] == (200 if has_incident else 400)
    assert [signal.body_bytes.decode() for signal in box.signals()] == ([sample["body"]] if has_incident else [])


def test_a_share_is_answered_logged_and_counted(box: Box, account: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    webhook = Output("bigpanda_webhook", account, monkeypatch)
    [zeros] = webhook.lines()
    assert (zeros["outcome_delivered"], zeros["crash"]) == ([0.0], [0.0])
    answer = webhook.invoke(event(samples.body().decode(), recipients="a,b", x_api_key=samples.TOKEN))
    assert (answer["statusCode"], answer["headers"]) == (200, {"Content-Type": "application/json"})
    assert box.signals()[0].recipients == ("a", "b")
    line, metrics = webhook.lines()
    assert (line["message"], line["correlation_id"]) == ("share", "gateway-request-1")
    assert line["function_request_id"] == "00000000-0000-4000-8000-000000000000"
    assert metrics["outcome_delivered"] == [1.0]


def test_what_is_kept_is_worked_off_by_the_worker(box: Box, account: Aws, webhook: Handler, worker: Handler) -> None:
    box.script([{"kind": "status", "status": 400, "times": None}])
    for number in range(3):
        answer = invoke(webhook, event(samples.body(id=number).decode(), x_api_key=samples.TOKEN))
        assert answer["statusCode"] == 202
    envelopes = [message["Body"] for message in account.messages()]
    failed = invoke(worker, {"jobs": envelopes})["results"]
    assert [(each["outcome"], each["reason"]) for each in failed] == [("unsafe", "refused")] * 3
    box.clear()
    results = invoke(worker, {"jobs": envelopes})["results"]
    assert [each["outcome"] for each in results] == ["delivered"] * 3
    assert [each["request_id"] for each in results] == [signal.request_id for signal in box.signals()]
    assert sorted(signal.incident_id or "" for signal in box.signals()) == ["0", "1", "2"]


def test_a_job_that_can_not_be_read_is_logged_and_counted_like_any_other(
    account: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Output("job_worker", account, monkeypatch)
    worker.lines()
    [result] = worker.invoke({"jobs": ["not an envelope"]})["results"]
    assert result["outcome"] == "unsafe"
    line, metrics = worker.lines()
    assert (line["message"], line["outcome"], line["detail"]) == ("job", "unsafe", result["detail"])
    assert (metrics["replay_failed"], metrics["reason_internal"]) == ([1.0], [1.0])


# Powertools warns of an invocation that counted nothing, and there is nothing to count.
@pytest.mark.filterwarnings("ignore:No application metrics")
def test_no_jobs_have_no_results(worker: Handler) -> None:
    assert invoke(worker, {"jobs": []}) == {"results": []}


@pytest.mark.parametrize("sample", [{}, {"body": None, "headers": None}, event("{}"), event("", channel="ghost")])
def test_an_event_without_credentials_is_401_whatever_else_it_lacks(webhook: Handler, sample: dict[str, Any]) -> None:
    assert invoke(webhook, sample)["statusCode"] == 401


@pytest.mark.parametrize("body", [7, True, [], {"id": 1}])
def test_a_body_that_is_no_text_is_400(webhook: Handler, body: Any) -> None:
    assert invoke(webhook, event("", x_api_key=samples.TOKEN) | {"body": body})["statusCode"] == 400


def test_a_function_with_a_wrong_environment_does_not_load(account: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="RELAY_DEAD_LETTER_QUEUE_URL"):
        load("bigpanda_webhook", monkeypatch, "")

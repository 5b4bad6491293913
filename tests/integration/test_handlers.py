"""The functions' handlers against moto and the xMatters stand-in."""

import contextlib
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relay.failures.errors import ConfigError
from relay.jobs.envelope import envelope_of
from relay.ledger.table import Table
from sandbox.server.in_process import Box
from tests import reconciling, samples
from tests.integration.account import Aws, Mailbox, aws
from tests.integration.handlers import ROOT, Handler, event, invoke, load

EVENTS = sorted((ROOT / "events").glob("bigpanda_*.json"))
DEMO_TOKEN = "local-demo-token-not-a-secret"
KEY = "BPU-key"


@pytest.fixture
def account(box: Box) -> Iterator[Aws]:
    with aws() as account:
        url = box.declare({"type": "url", "api_key": "k"}).url
        account.put_secret("noc", samples.secret(url=url))
        account.put_secret("demo", samples.secret(url=url, inbound={"token": DEMO_TOKEN}))
        yield account


@pytest.fixture
def webhook(account: Aws, monkeypatch: pytest.MonkeyPatch) -> Handler:
    return load("bigpanda_webhook", monkeypatch, account)


@pytest.fixture
def worker(account: Aws, monkeypatch: pytest.MonkeyPatch) -> Handler:
    return load("job_worker", monkeypatch, account)


@pytest.fixture
def reconcile(account: Aws, monkeypatch: pytest.MonkeyPatch) -> Handler:
    return load("reconcile", monkeypatch, account)


class Output:
    """A function and its captured standard output.

    The function is loaded in here, since its logger keeps the standard output that is set during the load.
    """

    def __init__(self, name: str, account: Aws, environment: pytest.MonkeyPatch) -> None:
        self.stdout = io.StringIO()
        with contextlib.redirect_stdout(self.stdout):
            self._handler = load(name, environment, account)

    def invoke(self, sample: dict[str, Any]) -> dict[str, Any]:
        with contextlib.redirect_stdout(self.stdout):
            return invoke(self._handler, sample)

    def lines(self) -> list[dict[str, Any]]:
        """Return the function's log lines since the last call of this method."""
        text = self.stdout.getvalue()
        self.stdout.truncate(0)
        self.stdout.seek(0)
        return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.stem)
def test_every_sample_webhook_event_gets_its_documented_answer(box: Box, webhook: Handler, path: Path) -> None:
    sample = json.loads(path.read_text())
    answer = invoke(webhook, sample)
    expected = {"bigpanda_3_resolved": "unchanged", "bigpanda_6_no_incident": None}.get(path.stem, "delivered")
    assert answer["statusCode"] == (200 if expected else 400)
    assert json.loads(answer["body"]).get("outcome") == expected
    is_sent = expected == "delivered"
    assert [signal.body_bytes.decode() for signal in box.signals()] == ([sample["body"]] if is_sent else [])


def test_sample_events_open_grow_and_resolve_one_incident(box: Box, webhook: Handler) -> None:
    transitions = []
    for path in EVENTS[:3]:
        answer = json.loads(invoke(webhook, json.loads(path.read_text()))["body"])
        transitions.append((answer["outcome"], answer["transition"]))
    assert transitions == [("delivered", "opened"), ("unchanged", "grew"), ("delivered", "resolved")]


def test_share_is_answered_logged_and_counted(box: Box, account: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    webhook = Output("bigpanda_webhook", account, monkeypatch)
    assert webhook.lines() == []
    answer = webhook.invoke(event(samples.body().decode(), recipients="a,b", x_api_key=samples.TOKEN))
    assert (answer["statusCode"], answer["headers"]) == (200, {"Content-Type": "application/json"})
    assert box.signals()[0].recipients == ("a", "b")
    line, metrics = webhook.lines()
    assert (line["message"], line["correlation_id"]) == ("share", "gateway-request-1")
    assert metrics["share"] == [1.0]


def records(mailbox: Mailbox) -> dict[str, Any]:
    """Take all messages off a queue, as Lambda hands them over."""
    messages = mailbox.messages()
    return {"Records": [{"messageId": message["MessageId"], "body": message["Body"]} for message in messages]}


def test_queued_shares_are_delivered_by_the_worker(box: Box, account: Aws, webhook: Handler, worker: Handler) -> None:
    box.script([{"kind": "status", "status": 503, "times": None}])
    for number in range(2):
        answer = invoke(webhook, event(samples.body(id=number).decode(), x_api_key=samples.TOKEN))
        assert (answer["statusCode"], json.loads(answer["body"])["queue"]) == (202, "retry")
    assert invoke(worker, records(account.retries)) == {"batchItemFailures": []}
    assert box.signals() == []
    box.clear()
    due = [
        {"messageId": f"m{job.incident_id}", "body": envelope_of(samples.changed(job, not_before=None))}
        for job in account.retries.jobs()
    ]
    assert invoke(worker, {"Records": due}) == {"batchItemFailures": []}
    assert sorted(signal.incident_id or "" for signal in box.signals()) == ["0", "1"]
    assert (account.retries.messages(), account.dead_letters.messages()) == ([], [])


def test_message_that_is_no_envelope_stays_on_the_queue(account: Aws, worker: Handler) -> None:
    strange = {"messageId": "m1", "body": "not an envelope"}
    gone = {"messageId": "m2", "body": envelope_of(samples.job(channel="gone"))}
    assert invoke(worker, {"Records": [strange, gone]}) == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
    assert [(job.channel, job.stamps.reason) for job in account.dead_letters.jobs()] == [("gone", "channel_removed")]


def test_overdue_critical_is_published_to_the_fallback_topic_once(
    box: Box, account: Aws, webhook: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = json.loads(account.secrets.get_secret_value(SecretId="relay/noc")["SecretString"])
    account.put_secret("noc", document | {"policy": {"fallback_after_seconds": 0}})
    box.script([{"kind": "status", "status": 503, "times": None}])
    invoke(webhook, event(samples.body().decode(), x_api_key=samples.TOKEN))
    sweeper = load("sweeper", monkeypatch, account)
    assert [invoke(sweeper, {}) for _ in range(2)] == [
        {"owed": 1, "notified": 1, "healed": 0},
        {"owed": 1, "notified": 0, "healed": 0},
    ]
    [message] = account.told()
    assert "Incident i1" in message


def test_vanished_message_is_replaced_by_the_sweeper_and_rings_once(
    box: Box, account: Aws, webhook: Handler, worker: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    box.script([{"kind": "status", "status": 503, "times": 3}])
    invoke(webhook, event(samples.body().decode(), x_api_key=samples.TOKEN))
    account.retries.messages()
    [item] = [each for each in account.known() if "due_at" in each]
    key, overdue = {"pk": item["pk"]}, {":now": {"N": "1"}}
    account.dynamodb.update_item(
        TableName=account.table, Key=key, UpdateExpression="SET due_at = :now", ExpressionAttributeValues=overdue
    )
    assert invoke(load("sweeper", monkeypatch, account), {})["healed"] == 1
    account.close_circuits()
    invoke(worker, records(account.retries))
    assert len(box.signals()) == 1
    assert [each for each in account.known() if "due_at" in each] == []


def move_dead_letters(account: Aws) -> list[str]:
    """Move all dead-lettered messages to the retry queue unchanged; return their bodies."""
    bodies = [message["Body"] for message in account.dead_letters.messages()]
    for body in bodies:
        account.retries.send(body)
    return bodies


def test_refused_shares_ring_once_when_their_dead_letters_come_back(
    box: Box, account: Aws, webhook: Handler, worker: Handler
) -> None:
    box.script([{"kind": "status", "status": 400, "times": None}])
    for number in range(3):
        answer = invoke(webhook, event(samples.body(id=number).decode(), x_api_key=samples.TOKEN))
        assert answer["statusCode"] == 202
    account.retries.messages()
    first = move_dead_letters(account)
    invoke(worker, records(account.retries))
    assert box.signals() == []
    box.clear()
    second = move_dead_letters(account)
    assert len(first) == len(second) == 3
    invoke(worker, records(account.retries))
    assert sorted(signal.incident_id or "" for signal in box.signals()) == ["0", "1", "2"]
    for copy in (*first, *second):
        account.retries.send(copy)
    invoke(worker, records(account.retries))
    assert len(box.signals()) == 3


@pytest.mark.parametrize("sample", [{}, {"body": None, "headers": None}, event("{}"), event("", channel="ghost")])
def test_event_without_credentials_is_401_whatever_else_is_missing(webhook: Handler, sample: dict[str, Any]) -> None:
    assert invoke(webhook, sample)["statusCode"] == 401


@pytest.mark.parametrize("body", [7, True, [], {"id": 1}])
def test_body_that_is_no_text_is_400(webhook: Handler, body: Any) -> None:
    assert invoke(webhook, event("", x_api_key=samples.TOKEN) | {"body": body})["statusCode"] == 400


def watch(box: Box, account: Aws, *incidents: dict[str, Any]) -> None:
    """Give BigPanda these incidents, in an environment that is compared with the channel `noc`."""
    box.bigpanda.let_in(KEY)
    box.bigpanda.declare_incidents("e1", list(incidents))
    known = {"api_key": KEY, "base_url": box.bigpanda.url, "environment_id": "e1", "reconcile": "ring"}
    document = json.loads(account.secrets.get_secret_value(SecretId="relay/noc")["SecretString"])
    account.put_secret("noc", document | {"bigpanda": known})


class Runs:
    """Reconcile runs through their function."""

    def __init__(self, box: Box, account: Aws, environment: pytest.MonkeyPatch) -> None:
        self._account, self._access = account, reconciling.access(box.bigpanda.url, KEY)
        self._function = Output("reconcile", account, environment)

    def one(self, sample: dict[str, Any]) -> list[dict[str, Any]]:
        """Make a run; return the function's log lines."""
        self._function.lines()
        assert self._function.invoke(sample) == {"runs": 1, "channels": 1}
        return self._function.lines()

    def third(self, sample: dict[str, Any]) -> list[dict[str, Any]]:
        """Do three runs and return the third's lines: the first notes its time, the second the differences."""
        for _ in range(2):
            assert self.one(sample)[0]["missed"] == 0
            self.backdate()
        return self.one(sample)

    def backdate(self) -> None:
        """Date the history of earlier reconcile runs ten minutes back, as if that time had passed since."""
        table = Table(self._account.dynamodb, self._account.table, time.time)
        reconciling.backdate(table, self._access, "e1", 600)


def missed(incident_id: str = "i1") -> dict[str, Any]:
    """Return an incident that was shared five minutes ago and never reached the relay."""
    stamp = int(time.time()) - 300
    return {"id": incident_id, "status": "Critical", "active": True, "changed_at": stamp, "folders": ["shared"]}


def test_missed_share_is_found_by_a_scheduled_run_and_rings_once(
    box: Box, account: Aws, worker: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch(box, account, missed())
    scheduled = json.loads((ROOT / "events" / "reconcile.json").read_text())
    runs = Runs(box, account, monkeypatch)
    [line, _] = runs.third(scheduled)
    assert (line["compared"], line["missed"], line["snooze_over"]) == (1, 1, 0)
    assert invoke(worker, records(account.retries)) == {"batchItemFailures": []}
    assert [signal.incident_id for signal in box.signals()] == ["i1"]
    runs.backdate()
    assert runs.one(scheduled)[0]["missed"] == 0
    assert len(box.attempts()) == 1


def test_result_of_a_run_is_logged_and_counted(box: Box, account: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    watch(box, account, missed("i1"), missed("i2"))
    runs = Runs(box, account, monkeypatch)
    line, metrics = runs.third({})
    assert (line["message"], line["channel"], line["environment_id"]) == ("reconciled", "noc", "e1")
    assert (line["compared"], line["missed"]) == (2, 2)
    assert metrics["share_missed"] == [2.0]
    box.script([{"kind": "status", "status": 500, "on": "incidents"}])
    line, metrics = runs.one({})
    assert (line["level"], line["failure"], line["reason"]) == ("ERROR", "HTTP 500", "upstream")
    assert metrics["reconcile_failed"] == [1.0]


def test_nothing_is_compared_without_a_key_of_bigpanda(box: Box, account: Aws, reconcile: Handler) -> None:
    assert invoke(reconcile, {}) == {"runs": 0, "channels": 0}
    assert box.bigpanda.calls.all() == []


@pytest.mark.parametrize("function", ["bigpanda_webhook", "job_worker", "reconcile"])
@pytest.mark.parametrize("name", ["RELAY_DEAD_LETTER_QUEUE_URL", "RELAY_RETRY_QUEUE_URL", "RELAY_LEDGER_TABLE"])
def test_function_with_an_empty_required_variable_does_not_load(
    account: Aws, monkeypatch: pytest.MonkeyPatch, function: str, name: str
) -> None:
    with pytest.raises(ConfigError, match=name):
        load(function, monkeypatch, account, **{name: ""})

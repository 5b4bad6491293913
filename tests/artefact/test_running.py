"""The built functions under AWS's own runtime client: every sample event, an outage, and what they write to the log."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from relay.delivery import Outcome
from relay.errors import Reason
from sandbox.cloud import REGION
from sandbox.server import Box, running
from tests.artefact import templates
from tests.artefact.builds import ROOT, Build
from tests.artefact.runtime_api import Deployed, Function, FunctionError, loaded

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

EVENTS = sorted((ROOT / "events").glob("*.json"))
SHARES = [path for path in EVENTS if path.stem.startswith("bigpanda_")]
JOBS = [path for path in EVENTS if path.stem.startswith("job_worker_")]
# All others are delivered. The field is the one that the answer must name.
REFUSED = {"bigpanda_6_no_incident": "incident.id"}

TOKEN = "local-demo-token-not-a-secret"
API_KEY = "canary-url-key"
RECIPIENT = "Network Operations"


@dataclass(frozen=True)
class World:
    """Both functions, loaded; the xMatters stand-in that the channel "demo" points at; the dead-letter queue."""

    webhook: Function
    worker: Function
    webhook_as_deployed: Deployed
    box: Box
    sqs: "SQSClient"
    queue_url: str

    def kept(self) -> list[dict[str, Any]]:
        """What lies on the queue; it is taken off."""
        answer = self.sqs.receive_message(
            QueueUrl=self.queue_url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], WaitTimeSeconds=0
        )
        messages = answer.get("Messages", [])
        for message in messages:
            self.sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"])
        return [dict(message) for message in messages]


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    """Moto as AWS, on a free port of this machine: its URL."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def _world(built: Build, aws: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("logs")
    sqs = boto3.client("sqs", region_name=REGION, endpoint_url=aws)
    queue_url = sqs.create_queue(QueueName="dead-letters")["QueueUrl"]
    webhook = built.deployed("BigPandaWebhookFunction", aws, {"DeadLetterQueue": queue_url})
    worker = built.deployed("JobWorkerFunction", aws, {})
    with running() as box:
        make_channel(aws, webhook, box)
        with loaded(webhook, folder / "webhook") as first, loaded(worker, folder / "worker") as second:
            yield World(first, second, webhook, box, sqs, queue_url)
    sqs.delete_queue(QueueUrl=queue_url)


@pytest.fixture
def world(_world: World) -> Iterator[World]:
    yield _world
    _world.box.listening(True)
    _world.box.clear()
    assert _world.kept() == [], "the test left a message on the queue"


def make_channel(aws: str, function: Deployed, box: Box) -> None:
    channel = {
        "inbound": {"token": TOKEN},
        "xmatters": {
            "trigger_url": box.declare({"type": "url", "api_key": API_KEY}).url,
            "auth": {"type": "url"},
            "recipients": [RECIPIENT],
        },
    }
    secrets = boto3.client("secretsmanager", region_name=REGION, endpoint_url=aws)
    name = f"{function.variables['RELAY_SECRET_PREFIX']}/demo"
    secrets.create_secret(Name=name, SecretString=json.dumps(channel))


def read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))


def in_base64(event: dict[str, Any]) -> dict[str, Any]:
    """As API Gateway sends every body, since all media types are binary."""
    return event | {"body": base64.b64encode(event["body"].encode()).decode(), "isBase64Encoded": True}


def logged(text: str) -> list[dict[str, Any]]:
    """The log's lines; whatever is not JSON fails."""
    return [json.loads(line) for line in text.splitlines()]


def since(function: Function, before: str) -> str:
    return function.log().removeprefix(before)


def test_every_sample_event_belongs_to_a_function() -> None:
    assert SHARES
    assert JOBS
    assert {*SHARES, *JOBS} == set(EVENTS)
    assert REFUSED.keys() <= {path.stem for path in SHARES}


@pytest.mark.parametrize("encoded", [False, True], ids=["text", "base64"])
@pytest.mark.parametrize("path", SHARES, ids=lambda path: path.stem)
def test_every_sample_share_is_answered(world: World, path: Path, encoded: bool) -> None:
    event = read(path)
    response = world.webhook.invoke(in_base64(event) if encoded else event)
    assert response["headers"] == {"Content-Type": "application/json"}
    assert response["isBase64Encoded"] is False
    answer = json.loads(response["body"])
    if path.stem in REFUSED:
        assert response["statusCode"] == 400
        assert REFUSED[path.stem] in answer["detail"]
        assert world.box.attempts() == []
        return
    assert (response["statusCode"], answer["outcome"]) == (200, "delivered")
    [signal] = world.box.signals()
    assert signal.body_bytes == event["body"].encode()
    assert (answer["request_id"], answer["incident_id"]) == (signal.request_id, signal.incident_id)
    queries = (event["multiValueQueryStringParameters"] or {}).get("recipients", [])
    assert signal.recipients == (RECIPIENT, *(name for query in queries for name in query.split(",")))
    assert signal.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_every_sample_job_is_worked_off(world: World, path: Path) -> None:
    event = read(path)
    results = world.worker.invoke(event)["results"]
    assert [result["outcome"] for result in results] == ["delivered"] * len(event["jobs"])
    jobs = [json.loads(job) for job in event["jobs"]]
    assert [signal.incident_id for signal in world.box.signals()] == [job["incident_id"] for job in jobs]
    assert [signal.recipients for signal in world.box.signals()] == [tuple(job["recipients"]) for job in jobs]


def test_bytes_that_no_json_writer_would_write_arrive_as_they_were_sent(world: World) -> None:
    body = (
        '\r\n { "incident" : {"id":"é-\\u00e9","id":"x 1", "note": "\\ud83d\\ude00 \U0001f600\\/" , "n": 1.50e+01}}\t'
    )
    event = read(SHARES[0]) | {"body": body}
    assert world.webhook.invoke(in_base64(event))["statusCode"] == 200
    [signal] = world.box.signals()
    assert signal.body_bytes == body.encode()


def test_in_an_outage_a_share_is_kept_and_the_worker_delivers_it_later(world: World) -> None:
    event = read(SHARES[0])
    world.box.listening(False)
    response = world.webhook.invoke(in_base64(event))
    answer = json.loads(response["body"])
    assert response["statusCode"] == 202
    assert (answer["outcome"], answer["reason"], answer["queue"]) == ("queued", "unreachable", "dead_letter")

    [message] = world.kept()
    attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    assert attributes == {
        "channel": "demo",
        "incident_id": answer["incident_id"],
        "reason": "unreachable",
        "kind": "signal",
        "schema": "1",
    }

    still_down = world.worker.invoke({"jobs": [message["Body"]]})
    assert still_down["results"][0]["outcome"] == "unsafe"
    assert still_down["results"][0]["reason"] == "unreachable"

    world.box.listening(True)
    [result] = world.worker.invoke({"jobs": [message["Body"]]})["results"]
    [signal] = world.box.signals()
    assert result["outcome"] == "delivered"
    assert result["request_id"] == signal.request_id
    assert signal.body_bytes == event["body"].encode()
    assert answer["delivery_id"] in signal.headers.values()


def test_a_stranger_is_turned_away(world: World) -> None:
    event = read(SHARES[0])
    wrong = event | {"headers": event["headers"] | {"Authorization": "Bearer wrong"}}
    unknown = event | {"pathParameters": {"channel": "unknown"}}
    nobody = event | {"headers": {}}
    responses = [world.webhook.invoke(each) for each in (wrong, unknown, nobody)]
    assert [response["statusCode"] for response in responses] == [401, 401, 401]
    assert len({response["body"] for response in responses}) == 1
    assert world.box.attempts() == []


def test_every_line_of_the_log_is_json_and_the_share_has_one_of_its_own(world: World) -> None:
    before = world.webhook.log()
    event = read(SHARES[0])
    answer = json.loads(world.webhook.invoke(event)["body"])
    lines = logged(since(world.webhook, before))
    [share] = [line for line in lines if line.get("message") == "share"]
    wanted = {"channel", "incident_id", "outcome", "attempts", "milliseconds", "delivery_id", "correlation_id"}
    assert wanted <= share.keys()
    assert share["delivery_id"] == answer["delivery_id"]
    assert share["correlation_id"] == event["requestContext"]["requestId"]
    world.worker.invoke(read(JOBS[0]))
    assert [line["outcome"] for line in logged(world.worker.log()) if line.get("message") == "job"][-1] == "delivered"


def test_nothing_secret_is_in_the_logs(world: World) -> None:
    world.webhook.invoke(read(SHARES[0]))
    world.box.script([{"kind": "status", "status": 401, "times": None}])
    world.webhook.invoke(read(SHARES[0]))
    [message] = world.kept()
    world.worker.invoke({"jobs": [message["Body"]]})
    for text in (world.webhook.log(), world.worker.log(), message["Body"]):
        assert TOKEN not in text
        assert API_KEY not in text


def test_the_alarm_on_unsafe_shares_watches_a_metric_that_exists_from_the_first_minute(
    world: World, built: Build
) -> None:
    alarm = templates.stack(built.template, {"Profile": "local"}).resources["UnsafeSharesAlarm"]["Properties"]
    first = next(line for line in logged(world.webhook.log()) if "_aws" in line)
    [directive] = first["_aws"]["CloudWatchMetrics"]
    names = {metric["Name"] for metric in directive["Metrics"]}
    assert directive["Namespace"] == alarm["Namespace"]
    assert directive["Dimensions"] == [[dimension["Name"] for dimension in alarm["Dimensions"]]]
    assert {name: first[name] for name in directive["Dimensions"][0]} == {
        dimension["Name"]: dimension["Value"] for dimension in alarm["Dimensions"]
    }
    assert alarm["MetricName"] in names
    assert {f"outcome_{each}" for each in Outcome} | {f"reason_{each}" for each in Reason} <= names


def test_a_worker_that_is_asked_for_nonsense_says_so_and_goes_on(built: Build, aws: str, tmp_path: Path) -> None:
    with loaded(built.deployed("JobWorkerFunction", aws, {}), tmp_path / "log") as worker:
        with pytest.raises(FunctionError) as caught:
            worker.invoke({})
        assert caught.value.type == "KeyError"
        assert 'event["jobs"]' in caught.value.stack[-1]
        assert worker.invoke({"jobs": []}) == {"results": []}


def test_a_function_without_its_settings_says_which_are_missing(world: World, tmp_path: Path) -> None:
    bare = {name: value for name, value in world.webhook_as_deployed.variables.items() if not name.startswith("RELAY_")}
    with (
        pytest.raises(FunctionError) as caught,
        loaded(replace(world.webhook_as_deployed, variables=bare), tmp_path / "log"),
    ):
        pass
    assert caught.value.type == "ConfigError"
    assert "RELAY_SECRET_PREFIX: must be set" in str(caught.value)
    assert "RELAY_ALLOWED_HOSTS: must name" in str(caught.value)

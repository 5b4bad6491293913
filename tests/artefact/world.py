"""All built functions under AWS's own runtime client, with moto as AWS and stand-ins for xMatters and BigPanda."""

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.sqs.models import sqs_backends

from sandbox import local
from sandbox.bigpanda.incidents import ENVIRONMENT
from sandbox.environment import REGION
from sandbox.server.in_process import Box, running
from tests.artefact import templates
from tests.artefact.builds import FUNCTIONS, ROOT, Build
from tests.artefact.runtime_api import Deployed, Function, loaded

EVENTS = sorted((ROOT / "events").glob("*.json"))
SHARES = [path for path in EVENTS if path.stem.startswith("bigpanda_")]
REPLAYS = [path for path in EVENTS if path.stem.startswith("job_worker_replay")]
RETRIES = [path for path in EVENTS if path.stem.startswith("job_worker_retry")]
CALLBACKS = [path for path in EVENTS if path.stem.startswith("xmatters_callback_")]
FOLLOWUPS = [path for path in EVENTS if path.stem.startswith("chore_worker_followup")]
SWEEPS = [path for path in EVENTS if path.stem.startswith("sweeper")]
LOOKS = [path for path in EVENTS if path.stem.startswith("reconcile")]
WRITEBACKS = [path for path in EVENTS if path.stem.startswith("chore_worker_writeback")]

TOKEN = local.INBOUND_TOKEN
BIGPANDA_KEY = "BPU-canary-bigpanda-key"
API_KEY = "canary-url-key"
RECIPIENT = "Network Operations"

RETRY_QUEUE, CHORE_QUEUE, DEAD_LETTER_QUEUE, TOLD = QUEUES = "retries", "chores", "dead-letters", "told"
LEDGER = "ledger"


@dataclass(frozen=True)
class Aws:
    """Moto as the stack's AWS: `known` has what a Ref to each of the template's resources stands for."""

    endpoint_url: str
    known: Mapping[str, str]

    def client(self, service: str) -> Any:
        """A client of one of its services."""
        return boto3.client(service, region_name=REGION, endpoint_url=self.endpoint_url)  # type: ignore[call-overload]

    def taken_off(self, queue: str) -> list[dict[str, Any]]:
        """The messages of a queue, those too that are not to be seen yet; they are taken off."""
        for late in sqs_backends[DEFAULT_ACCOUNT_ID][REGION].queues[queue]._messages:
            late.delayed_until = 0
        sqs = self.client("sqs")
        url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"])
        messages = [dict(message) for message in found.get("Messages", [])]
        for message in messages:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return messages

    def forget(self) -> None:
        """Empty the ledger."""
        database = self.client("dynamodb")
        for item in database.scan(TableName=LEDGER)["Items"]:
            database.delete_item(TableName=LEDGER, Key={"pk": item["pk"]})


@dataclass(frozen=True)
class World:
    """All functions, loaded; AWS; the stand-ins that the channel "demo" points at."""

    webhook: Function
    callback: Function
    worker: Function
    chore_worker: Function
    reconcile: Function
    sweeper: Function
    webhook_as_deployed: Deployed
    box: Box
    aws: Aws

    def share(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """What the webhook answers to a share, its status among it."""
        return _answer(self.webhook.invoke(event))

    def call_back(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """What the callback function answers to xMatters, its status among it."""
        return _answer(self.callback.invoke(event))

    def waiting(self) -> list[dict[str, Any]]:
        """What is on the retry queue; it is taken off."""
        return self.aws.taken_off(RETRY_QUEUE)

    def chores(self) -> list[dict[str, Any]]:
        """What is on the chore queue; it is taken off."""
        return self.aws.taken_off(CHORE_QUEUE)

    def resting(self) -> list[dict[str, Any]]:
        """What is on the dead-letter queue; it is taken off."""
        return self.aws.taken_off(DEAD_LETTER_QUEUE)

    def told(self) -> list[dict[str, Any]]:
        """What the fallback topic's subscriber got."""
        return [json.loads(message["Body"]) for message in self.aws.taken_off(TOLD)]


def make_aws(endpoint_url: str) -> Aws:
    """Make in moto what the template makes: queues, the ledger's table, the fallback topic with a subscriber."""
    bare = Aws(endpoint_url, {})
    sqs, sns = bare.client("sqs"), bare.client("sns")
    urls = {name: sqs.create_queue(QueueName=name)["QueueUrl"] for name in QUEUES}
    topic = sns.create_topic(Name="fallback")["TopicArn"]
    told = sqs.get_queue_attributes(QueueUrl=urls[TOLD], AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=told)
    table = templates.of_clone().only("AWS::DynamoDB::Table")
    keys = {
        name: table[name] for name in ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "BillingMode")
    }
    bare.client("dynamodb").create_table(TableName=LEDGER, **keys)
    known = {
        "RetryQueue": urls[RETRY_QUEUE],
        "ChoreQueue": urls[CHORE_QUEUE],
        "DeadLetterQueue": urls[DEAD_LETTER_QUEUE],
        "LedgerTable": LEDGER,
        "FallbackTopic": topic,
        "JobWorkerFunction": "job-worker",
    }
    return Aws(endpoint_url, known)


@contextmanager
def made(built: Build, aws: Aws, folder: Path) -> Iterator[World]:
    """The world for the length of a `with` block; the functions' logs are in `folder`."""
    functions = [built.deployed(name, aws.endpoint_url, aws.known) for name in FUNCTIONS]
    webhook = functions[0]
    with running() as box:
        _make_channel(aws, webhook, box)
        with ExitStack() as stack:
            first, second, third, fourth, fifth, sixth = (
                stack.enter_context(loaded(each, folder / each.code.name)) for each in functions
            )
            yield World(first, second, third, fourth, fifth, sixth, webhook, box, aws)


def _make_channel(aws: Aws, function: Deployed, box: Box) -> None:
    box.bigpanda.let_in(BIGPANDA_KEY)
    channel = {
        "inbound": {"token": TOKEN},
        "xmatters": {
            "trigger_url": box.declare({"type": "url", "api_key": API_KEY}).url,
            "auth": {"type": "url"},
            "recipients": [RECIPIENT],
            "callback": {
                "token": local.CALLBACK_TOKEN,
                "basic": {"username": local.CALLBACK_USERNAME, "password": local.CALLBACK_PASSWORD},
            },
        },
        "bigpanda": {
            "base_url": box.bigpanda.url,
            "api_key": BIGPANDA_KEY,
            "assign": True,
            "email_domain": local.EMAIL_DOMAIN,
            "environment_id": ENVIRONMENT,
            "reconcile": "ring",
        },
    }
    name = f"{function.variables['RELAY_SECRET_PREFIX']}/demo"
    aws.client("secretsmanager").create_secret(Name=name, SecretString=json.dumps(channel))


def _answer(response: Mapping[str, Any]) -> dict[str, Any]:
    return {"status": response["statusCode"], **json.loads(response["body"])}


def read(path: Path) -> dict[str, Any]:
    """A sample event."""
    return dict(json.loads(path.read_text()))


def in_base64(event: Mapping[str, Any]) -> dict[str, Any]:
    """As API Gateway sends every body, since all media types are binary."""
    return {**event, "body": base64.b64encode(event["body"].encode()).decode(), "isBase64Encoded": True}


def records(*envelopes: str) -> dict[str, Any]:
    """The event of a queue that wakes the worker with these messages; their ids are 0, 1, …"""
    return {"Records": [{"messageId": str(number), "body": body} for number, body in enumerate(envelopes)]}


def changed(envelope: str, **members: Any) -> str:
    """An envelope with other members."""
    return json.dumps(json.loads(envelope) | members)


def logged(text: str) -> list[dict[str, Any]]:
    """The log's lines; whatever is not JSON fails."""
    return [json.loads(line) for line in text.splitlines()]


def since(function: Function, before: str) -> str:
    """What a function wrote after its log was `before`."""
    return function.log().removeprefix(before)

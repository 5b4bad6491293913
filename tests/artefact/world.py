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
RECONCILES = [path for path in EVENTS if path.stem.startswith("reconcile")]
QUESTIONS = [path for path in EVENTS if path.stem.startswith("chore_worker_question")]
WRITEBACKS = [path for path in EVENTS if path.stem.startswith("chore_worker_writeback")]

TOKEN = local.INBOUND_TOKEN
BIGPANDA_KEY = "BPU-canary-bigpanda-key"
API_KEY = "canary-url-key"
RECIPIENT = "Network Operations"

RETRY_QUEUE, CHORE_QUEUE, DEAD_LETTER_QUEUE = QUEUES = "retries", "chores", "dead-letters"
LEDGER = "ledger"


@dataclass(frozen=True)
class Aws:
    """moto as the stack's AWS.

    Attributes:
        endpoint_url: URL of moto's server.
        known: value of a Ref to each of the template's resources.
    """

    endpoint_url: str
    known: Mapping[str, str]

    def client(self, service: str) -> Any:
        return boto3.client(service, region_name=REGION, endpoint_url=self.endpoint_url)  # type: ignore[call-overload]

    def taken_off(self, queue: str) -> list[dict[str, Any]]:
        for late in sqs_backends[DEFAULT_ACCOUNT_ID][REGION].queues[queue]._messages:
            late.delayed_until = 0
        sqs = self.client("sqs")
        url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"])
        messages = [dict(message) for message in found.get("Messages", [])]
        for message in messages:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return messages

    def empty_ledger(self) -> None:
        database = self.client("dynamodb")
        for item in database.scan(TableName=LEDGER)["Items"]:
            database.delete_item(TableName=LEDGER, Key={"pk": item["pk"]})


@dataclass(frozen=True)
class World:
    """All functions, loaded, with AWS and the vendors' stand-ins.

    Attributes:
        webhook: function of BigPanda's webhook.
        callback: function of xMatters' callbacks.
        worker: worker of the retry queue.
        chore_worker: worker of the chore queue.
        reconcile: function that makes reconcile runs.
        sweeper: the sweeper.
        webhook_as_deployed: the webhook's folders and settings, to run scripts in its environment.
        box: stand-ins that the channel "demo" points at.
        aws: moto as AWS.
    """

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
        """Send a share to the webhook; return its answer, with the HTTP status as `status`."""
        return _answer(self.webhook.invoke(event))

    def call_back(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Send a callback to its function; return its answer, with the HTTP status as `status`."""
        return _answer(self.callback.invoke(event))

    def waiting(self) -> list[dict[str, Any]]:
        return self.aws.taken_off(RETRY_QUEUE)

    def chores(self) -> list[dict[str, Any]]:
        return self.aws.taken_off(CHORE_QUEUE)

    def dead_letters(self) -> list[dict[str, Any]]:
        return self.aws.taken_off(DEAD_LETTER_QUEUE)


def make_aws(endpoint_url: str) -> Aws:
    """Make the template's resources in moto: queues, the ledger's table and the fallback topic."""
    bare = Aws(endpoint_url, {})
    sqs, sns = bare.client("sqs"), bare.client("sns")
    urls = {name: sqs.create_queue(QueueName=name)["QueueUrl"] for name in QUEUES}
    topic = sns.create_topic(Name="fallback")["TopicArn"]
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
        "Api": "a1b2c3",
    }
    return Aws(endpoint_url, known)


@contextmanager
def made(built: Build, aws: Aws, folder: Path) -> Iterator[World]:
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
    return dict(json.loads(path.read_text()))


def in_base64(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the event with a base64 body, as API Gateway sends every body, since all media types are binary."""
    return {**event, "body": base64.b64encode(event["body"].encode()).decode(), "isBase64Encoded": True}


def logged(text: str) -> list[dict[str, Any]]:
    """Return the log's lines, all of which have to be JSON."""
    return [json.loads(line) for line in text.splitlines()]

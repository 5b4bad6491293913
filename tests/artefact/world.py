"""All built functions under AWS's own runtime client, with moto as AWS and stand-ins for xMatters and BigPanda."""

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
from tests.artefact.builds import FUNCTIONS, Build
from tests.artefact.runtime_api import Deployed, Function, loaded
from tests.ledger_table import LEDGER_TABLE

BIGPANDA_KEY = "BPU-canary-bigpanda-key"
RECIPIENT = "Network Operations"
QUEUES = {"RetryQueue": "retries", "ChoreQueue": "chores", "DeadLetterQueue": "dead-letters"}
LEDGER = "ledger"


@dataclass(frozen=True)
class Aws:
    """moto as the stack's AWS.

    Attributes:
        known: value of a Ref to each of the template's resources.
    """

    endpoint_url: str
    known: Mapping[str, str]

    def client(self, service: str) -> Any:
        return boto3.client(service, region_name=REGION, endpoint_url=self.endpoint_url)  # type: ignore[call-overload]

    def empty_ledger(self) -> None:
        database = self.client("dynamodb")
        for item in database.scan(TableName=LEDGER)["Items"]:
            database.delete_item(TableName=LEDGER, Key={"pk": item["pk"]})


@dataclass(frozen=True)
class World:
    """All functions, loaded, with AWS and the vendors' stand-ins."""

    functions: Mapping[str, Function]
    box: Box
    aws: Aws

    def invoke(self, function: str, event: Mapping[str, Any]) -> Any:
        return self.functions[function].invoke(event)

    def post(self, function: str, event: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request to an endpoint's function; return its answer, with the HTTP status as `status`."""
        response = self.invoke(function, event)
        assert response["headers"] == {"Content-Type": "application/json"}
        assert response["isBase64Encoded"] is False
        return {"status": response["statusCode"], **json.loads(response["body"])}

    def taken_off(self, queue: str) -> list[dict[str, Any]]:
        """Take all messages off a queue of QUEUES, delayed ones as well."""
        for late in sqs_backends[DEFAULT_ACCOUNT_ID][REGION].queues[QUEUES[queue]]._messages:
            late.delayed_until = 0
        sqs, url = self.aws.client("sqs"), self.aws.known[queue]
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"])
        for message in found.get("Messages", []):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return list(found.get("Messages", []))

    def queued(self) -> list[int]:
        """Take all messages off all queues; return the number on each, in the order of QUEUES."""
        return [len(self.taken_off(name)) for name in QUEUES]


def make_aws(endpoint_url: str) -> Aws:
    """Make the template's resources in moto: queues, the ledger's table and the fallback topic."""
    bare = Aws(endpoint_url, {})
    urls = {name: bare.client("sqs").create_queue(QueueName=each)["QueueUrl"] for name, each in QUEUES.items()}
    topic = bare.client("sns").create_topic(Name="fallback")["TopicArn"]
    bare.client("dynamodb").create_table(TableName=LEDGER, **LEDGER_TABLE)
    others = {"LedgerTable": LEDGER, "FallbackTopic": topic, "JobWorkerFunction": "job-worker", "Api": "a1b2c3"}
    return Aws(endpoint_url, urls | others)


@contextmanager
def made(built: Build, aws: Aws, folder: Path) -> Iterator[World]:
    deployed = {name.removesuffix("Function"): built.deployed(name, aws.endpoint_url, aws.known) for name in FUNCTIONS}
    with running() as box, ExitStack() as stack:
        _make_channel(aws, deployed["BigPandaWebhook"], box)
        functions = {name: stack.enter_context(loaded(each, folder / name)) for name, each in deployed.items()}
        yield World(functions, box, aws)


def _make_channel(aws: Aws, function: Deployed, box: Box) -> None:
    box.bigpanda.let_in(BIGPANDA_KEY)
    channel = {
        "inbound": {"token": local.INBOUND_TOKEN},
        "xmatters": {
            "trigger_url": box.declare({"type": "url", "api_key": "canary-url-key"}).url,
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

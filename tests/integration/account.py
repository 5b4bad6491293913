"""moto's AWS account in this process, with the resources of the relay's stack."""

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends

from relay.incidents.share import State
from relay.jobs.job import Job
from relay.jobs.queue import Queue, read_envelope
from relay.ledger.accepted_signal import AcceptedSignal
from relay.ledger.channel_rate_limiter import gate_of
from relay.ledger.entry import Entry
from relay.ledger.entry_key import key
from relay.ledger.table import Ledger, Table
from tests import samples
from tests.ledger_table import LEDGER_TABLE

REGION = "eu-central-1"

# One client of each kind, since making one takes longer than most tests. The session is a separate one: the default
# session may be older than moto, and would then call AWS.
_SESSION = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
_SQS = _SESSION.client("sqs")
_SECRETS = _SESSION.client("secretsmanager")
_DYNAMODB = _SESSION.client("dynamodb")
_SNS = _SESSION.client("sns")


class Mailbox:
    """A queue, as seen by a test."""

    def __init__(self, name: str) -> None:
        self._name = f"{name}-{uuid.uuid4().hex}"
        self.url = _SQS.create_queue(QueueName=self._name)["QueueUrl"]

    def queue(self) -> Queue:
        """Return the library's adapter for this queue."""
        return Queue(_SQS, self.url)

    def messages(self) -> list[dict[str, Any]]:
        """Take every message off the queue, with its attributes; delayed messages as well."""
        for sleeping in sqs_backends[DEFAULT_ACCOUNT_ID][REGION].queues[self._name]._messages:
            sleeping.delayed_until = 0
        found: list[dict[str, Any]] = []
        while batch := _SQS.receive_message(
            QueueUrl=self.url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        ).get("Messages"):
            for message in batch:
                _SQS.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
                found.append(dict(message))
        return found

    def jobs(self) -> list[Job]:
        return [read_envelope(message["Body"]) for message in self.messages()]

    def send(self, body: str) -> None:
        """Put a message on the queue unchanged."""
        _SQS.send_message(QueueUrl=self.url, MessageBody=body)

    def delete(self) -> None:
        _SQS.delete_queue(QueueUrl=self.url)


class Aws:
    """An account in this process, with three queues, a table, a topic, and the secrets below `relay/`."""

    def __init__(self) -> None:
        self.secrets = _SECRETS
        self.dynamodb = _DYNAMODB
        self.sns = _SNS
        self.retries = Mailbox("retries")
        self.chores = Mailbox("chores")
        self.dead_letters = Mailbox("dead-letters")
        self.table = f"ledger-{uuid.uuid4().hex}"
        self.dynamodb.create_table(TableName=self.table, **LEDGER_TABLE)
        self.topic_arn = _SNS.create_topic(Name="fallback")["TopicArn"]

    def put_secret(self, channel: str, document: Any) -> None:
        name, text = f"relay/{channel}", document if isinstance(document, str) else json.dumps(document)
        try:
            self.secrets.create_secret(Name=name, SecretString=text)
        except self.secrets.exceptions.ResourceExistsException:
            self.secrets.put_secret_value(SecretId=name, SecretString=text)

    def known(self) -> list[dict[str, Any]]:
        return [dict(item) for item in self.dynamodb.scan(TableName=self.table)["Items"]]

    def announce(self, channel: str, *incident_ids: str, signals: tuple[AcceptedSignal, ...] = ()) -> None:
        """Record incidents as announced by a channel, with these signals; existing entries stay unchanged."""
        ledger = Ledger(Table(self.dynamodb, self.table, time.time))
        for incident_id in incident_ids:
            state = State.of(samples.share(id=incident_id), time.time())
            entry = Entry(newest=state, announced=state, accepted_signals=signals)
            ledger.write(key(channel, (), incident_id), Entry(), entry)

    def close_circuit(self, channel: str) -> None:
        """Close a channel's circuit, so that it may be signalled again."""
        self.dynamodb.delete_item(TableName=self.table, Key={"pk": {"S": gate_of(channel)}})

    def told(self) -> list[str]:
        published = sns_backends[DEFAULT_ACCOUNT_ID][REGION].topics[self.topic_arn].sent_notifications
        return [str(message) for _, message, *_ in published]


@contextmanager
def aws() -> Iterator[Aws]:
    """Open a new account for a `with` block; no call reaches a real one."""
    with pytest.MonkeyPatch.context() as environment, mock_aws():
        environment.setenv("AWS_DEFAULT_REGION", REGION)
        yield Aws()

"""The library over real sockets: moto in this process for AWS, whatever listens on loopback for xMatters."""

import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
from moto import mock_aws

from relay import incident
from relay.channel_cache import ChannelCache
from relay.deadline import Deadline
from relay.delivery import Delivery, Redelivery, Result
from relay.http import AllowedHosts, Session
from relay.message import Job
from relay.queues import Queue
from relay.secrets_manager import Secrets
from relay.sending import Sender
from relay.webhook import Webhook
from relay.xmatters import XMatters
from tests import samples
from tests.fakes import Recorder

REGION = "eu-central-1"
LOOPBACK = AllowedHosts(("*.xmatters.com",), loopback=True)

# Making a client takes longer than most tests, so there is one of each. In a session of their own: the default one
# may be older than moto, and would go out to AWS.
_SESSION = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
_SQS = _SESSION.client("sqs")
_SECRETS = _SESSION.client("secretsmanager")


class Aws:
    """An account in this process, with a queue and the secrets below `relay/`."""

    def __init__(self) -> None:
        self.sqs = _SQS
        self.secrets = _SECRETS
        self.queue_url = self.sqs.create_queue(QueueName=f"dead-letters-{uuid.uuid4().hex}")["QueueUrl"]

    def put_secret(self, channel: str, document: Any) -> None:
        """Write a channel's secret, or a new version of it."""
        name, text = f"relay/{channel}", document if isinstance(document, str) else json.dumps(document)
        try:
            self.secrets.create_secret(Name=name, SecretString=text)
        except self.secrets.exceptions.ResourceExistsException:
            self.secrets.put_secret_value(SecretId=name, SecretString=text)

    def messages(self) -> list[dict[str, Any]]:
        """Take every message off the queue, with its attributes."""
        found: list[dict[str, Any]] = []
        while batch := self.sqs.receive_message(
            QueueUrl=self.queue_url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        ).get("Messages"):
            found.extend(dict(message) for message in batch)
        return found

    def jobs(self) -> list[Job]:
        """The same, unpacked."""
        return [Job.from_json(message["Body"]) for message in self.messages()]


@contextmanager
def aws() -> Iterator[Aws]:
    """A fresh account for as long as the block lasts; nothing reaches a real one."""
    with pytest.MonkeyPatch.context() as environment, mock_aws():
        environment.setenv("AWS_DEFAULT_REGION", REGION)
        yield Aws()


@dataclass
class Live:
    """The path as it is wired in Lambda, but that it waits for nothing between tries."""

    aws: Aws
    recorder: Recorder = field(default_factory=Recorder)
    clock: Callable[[], float] = time.time
    chance: float = 0.0

    def __post_init__(self) -> None:
        self.session = Session(LOOPBACK, clock=self.clock)
        self.channels = ChannelCache(
            Secrets(self.aws.secrets, "relay", ticks=time.monotonic).read,
            LOOPBACK,
            seconds=300,
            clock=self.clock,
            notice=self.recorder.telemetry.notice,
        )
        self.sender = Sender(self.channels, XMatters(self.session), time.sleep, lambda: random.random() * self.chance)
        self.delivery = Delivery(self.sender, Queue(self.aws.sqs, self.aws.queue_url), time.time)
        self.redelivery = Redelivery(self.sender, self.channels)
        self.webhook = Webhook(self.channels, self.delivery, self.recorder.telemetry)

    def share(self, body: bytes | None = None, *, seconds: float = 7.0, recipients: tuple[str, ...] = ()) -> Result:
        """Relay one share to the channel `noc` within so many seconds, of which two are the queue's."""
        content = samples.body() if body is None else body
        return self.delivery.relay(
            self.channels.get("noc"),
            incident.parse(content),
            content,
            recipients=recipients,
            correlation_id="c1",
            deadline=Deadline(seconds, time.monotonic),
        )

    def redeliver(self, job: Job) -> Result:
        """Try a kept job again."""
        return self.redelivery.redeliver(job, Deadline(5, time.monotonic))


@dataclass
class Received:
    """A request as it came in."""

    target: str
    headers: Mapping[str, str]
    body: bytes


# Gives status, headers and body for a request.
type Script = Callable[[Received], tuple[int, Mapping[str, str], bytes]]


class Site(ThreadingHTTPServer):
    """A plain keep-alive HTTP server on loopback that answers by script and counts connections."""

    daemon_threads = True

    def __init__(self, script: Script) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = script
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.connections = 0
        self.received: list[Received] = []


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body in one segment: in two, Nagle's algorithm costs 40 ms an answer.
    wbufsize = -1
    server: Site

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        received = Received(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        self.server.received.append(received)
        status, headers, content = self.server.script(received)
        self.send_response_only(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def site(script: Script) -> Iterator[Site]:
    """A site for as long as the block lasts."""
    with Site(script) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()

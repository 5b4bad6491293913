"""The relay's deployment in the local cloud: AWS clients for it, its queues, and `stack.json`, which names it."""

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import requests
from botocore.config import Config

from sandbox.environment import REGION

ANSWER_SECONDS = 3.0
# One attempt and short timeouts: the page polls, so the next poll is the retry.
_QUICK = Config(connect_timeout=1, read_timeout=3, retries={"total_max_attempts": 1}, proxies={})


@functools.cache
def client(endpoint_url: str, service: str, *, is_quick: bool = False) -> Any:
    """Return a client of a service in the cloud at `endpoint_url`; a quick one does not wait, and never retries."""
    # The emulator takes these credentials from anybody on this machine.
    session: Any = boto3.Session("test", "test", region_name=REGION)
    return session.client(service, endpoint_url=endpoint_url, config=_QUICK if is_quick else None)


@dataclass(frozen=True)
class Deployment:
    """A deployed relay.

    Attributes:
        aws_endpoint_url, region: Address and region of the emulator, for AWS clients.
        stack_name, outputs: Name and outputs of the relay's stack.
    """

    aws_endpoint_url: str
    region: str
    stack_name: str
    outputs: Mapping[str, str]

    def client(self, service: str, *, is_quick: bool = False) -> Any:
        """Return a client of a service, the same each time."""
        return client(self.aws_endpoint_url, service, is_quick=is_quick)

    def asked(self, path: str) -> Any:
        """Return the JSON that the emulator has at a path of its own."""
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(f"{self.aws_endpoint_url}{path}", timeout=ANSWER_SECONDS)
            answer.raise_for_status()
            return answer.json()

    def retrying(self) -> int:
        """Count the jobs on the retry queue, delayed jobs and jobs in flight included."""
        return self._count("RetryQueueUrl")

    def dead_letters(self) -> int:
        """Count the jobs on the dead-letter queue, jobs in flight included."""
        return self._count("DeadLetterQueueUrl")

    def purge(self) -> None:
        """Delete all messages of all queues, delayed messages and messages in flight included."""
        for output in ("RetryQueueUrl", "ChoreQueueUrl", "DeadLetterQueueUrl"):
            self.client("sqs").purge_queue(QueueUrl=self.outputs[output])

    def _count(self, output: str) -> int:
        names = ["", "NotVisible", "Delayed"]
        counts = self.client("sqs").get_queue_attributes(
            QueueUrl=self.outputs[output], AttributeNames=[f"ApproximateNumberOfMessages{name}" for name in names]
        )
        return sum(map(int, counts["Attributes"].values()))


# Returns the deployment; None if no relay is deployed now.
type Find = Callable[[], Deployment | None]


class StackFile:
    """Finder of the deployment that `stack.json` names. The file may appear, change and vanish at any time."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._text = ""
        self._found: Deployment | None = None

    def find(self) -> Deployment | None:
        """Return the deployment; None without a file, or with one that cannot be read."""
        try:
            text = self._path.read_text() if self._path else ""
        except OSError:
            text = ""
        if text != self._text:
            # The page compares deployments by identity.
            self._text, self._found = text, _deployment(text)
        return self._found


def _deployment(text: str) -> Deployment | None:
    try:
        known = json.loads(text)
        return Deployment(known["aws_endpoint_url"], known["region"], known["stack_name"], dict(known["outputs"]))
    except (ValueError, KeyError, TypeError):
        return None

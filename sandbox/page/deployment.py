"""The relay's deployment in the local cloud, found through `stack.json`, and AWS clients for it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_logs import CloudWatchLogsClient

# One attempt and short timeouts: the page polls, so the next poll is the retry.
_QUICK = Config(connect_timeout=1, read_timeout=3, retries={"total_max_attempts": 1}, proxies={})


@dataclass(frozen=True)
class Deployment:
    """A deployed relay.

    Attributes:
        aws_endpoint_url, region: Address and region of the emulator.
        stack_name, outputs: Name and outputs of the relay's stack.
    """

    aws_endpoint_url: str
    region: str
    stack_name: str
    outputs: Mapping[str, str]

    @cached_property
    def logs(self) -> "CloudWatchLogsClient":
        """Client of CloudWatch Logs."""
        return self._session.client("logs", endpoint_url=self.aws_endpoint_url, config=_QUICK)

    @cached_property
    def dynamodb(self) -> "DynamoDBClient":
        """Client of DynamoDB."""
        return self._session.client("dynamodb", endpoint_url=self.aws_endpoint_url, config=_QUICK)

    @cached_property
    def iam(self) -> "IAMClient":
        """Client of IAM."""
        return self._session.client("iam", endpoint_url=self.aws_endpoint_url, config=_QUICK)

    @cached_property
    def _session(self) -> boto3.Session:
        # The emulator takes these credentials from anybody on this machine.
        return boto3.Session("test", "test", region_name=self.region)


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
            # The same deployment keeps its clients.
            self._text, self._found = text, _deployment(text)
        return self._found


def _deployment(text: str) -> Deployment | None:
    try:
        known = json.loads(text)
        return Deployment(known["aws_endpoint_url"], known["region"], known["stack_name"], dict(known["outputs"]))
    except (ValueError, KeyError, TypeError):
        return None

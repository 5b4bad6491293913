"""The deployed stack of a verb: its outputs, its AWS clients, and the options that select it."""

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial, wraps
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import click
from botocore.exceptions import ClientError, NoRegionError

from relay.deadline import Deadline
from relay.http.client import HttpClient
from relay.http.session import AllowList, Session, VendorHosts
from relay.ledger.table import Table
from relayctl.log_lines import FUNCTIONS, LogReader

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudformation.type_defs import StackTypeDef


class StackMissingError(LookupError):
    """Error: the account and region have no such stack, or the stack is no relay."""


@dataclass(frozen=True)
class Effects:
    """Side effects of one run of relayctl, as functions that tests replace."""

    # Makes a session; None for its `profile_name` or `region_name` means the AWS CLI's own choice
    sessions: Callable[..., boto3.Session] = boto3.Session
    # Makes a client of an allow-list's hosts; `most` bytes of an answer are read
    outward: Callable[..., HttpClient] = lambda hosts, **most: HttpClient(Session(hosts, **most))
    clock: Callable[[], float] = time.time  # Returns epoch seconds
    ticks: Callable[[], float] = time.monotonic  # Returns seconds of a monotonic clock, for deadlines
    sleep: Callable[[float], None] = time.sleep


STACK_NAME = "bigpanda-xmatters-relay"
_API_HOST = re.compile(r"(?P<id>[a-z0-9]+)\.execute-api\.[a-z0-9-]+\.amazonaws\.com(\.cn)?")
_QUEUE_HOST = re.compile(r"sqs\.[a-z0-9-]+\.amazonaws\.com(\.cn)?|localhost|127\.0\.0\.1")
_QUEUE_PATH = re.compile(r"/\d{12}/[A-Za-z0-9_-]{1,80}(\.fifo)?")
_TABLE_SECONDS = 10.0


@dataclass(frozen=True)
class Stack:
    """One deployed stack. It calls CloudFormation at the first use of an output or a parameter."""

    given: str  # Its name, or its ARN, as the operator gave it
    session: boto3.Session  # The boto3 session of the operator
    endpoint_url: str | None  # The URL of the local cloud; None on AWS
    effects: Effects = field(default_factory=Effects)

    def output(self, key: str) -> str:
        """Return an output of the stack. Raises StackMissingError if there is no stack, or it is not a relay."""
        if key not in self.outputs:
            raise StackMissingError(f"the stack {self.name!r} is not a relay: it has no output {key}")
        return self.outputs[key]

    @cached_property
    def outputs(self) -> dict[str, str]:
        """The stack's outputs by key, with URLs that work from this machine. Raises StackMissingError."""
        return outputs_in(self._description, self.endpoint_url)

    @cached_property
    def parameters(self) -> dict[str, str]:
        """The stack's parameters by name, also those with default values. Raises StackMissingError."""
        return {each["ParameterKey"]: each["ParameterValue"] for each in self._description.get("Parameters", [])}

    @property
    def name(self) -> str:
        """Name of the stack. Raises StackMissingError."""
        return self._description["StackName"]

    @property
    def arn(self) -> str:
        """ARN of the stack, which has partition, region and account. Raises StackMissingError."""
        return self._description["StackId"]

    @property
    def tags(self) -> list[dict[str, str]]:
        """Tags of the stack, without those of AWS itself. Raises StackMissingError."""
        found = self._description.get("Tags", [])
        return [{"Key": each["Key"], "Value": each["Value"]} for each in found if not each["Key"].startswith("aws:")]

    @property
    def hosts(self) -> VendorHosts:
        """Allow-lists of the vendors' hosts. Raises StackMissingError."""
        return VendorHosts.of(self._names("XMattersHosts"), self._names("BigPandaHosts"), loopback=self.is_local)

    @property
    def functions(self) -> tuple[str, ...]:
        """Short names of the stack's functions: the last part of their log groups' names. Raises StackMissingError."""
        return FUNCTIONS if "ReconcileFunction" in self.outputs else FUNCTIONS[:-1]

    def _names(self, parameter: str) -> list[str]:
        if parameter not in self.parameters:
            raise StackMissingError(f"the stack {self.name!r} has no parameter {parameter}; deploy it again")
        return self.parameters[parameter].split(",")

    @property
    def key_arn(self) -> str | None:
        """ARN of the customer managed KMS key of the stack; None if it uses AWS's keys. Raises StackMissingError."""
        return None if self.is_local else self.parameters.get("KmsKeyArn") or None

    @property
    def is_local(self) -> bool:
        """True if the stack is in a local cloud. Raises StackMissingError."""
        return self.parameters.get("Profile") == "local"

    def api_host(self, url: str) -> AllowList:
        """Return an allow-list with only the host of `url`, a URL of the stack's own API. Raises StackMissingError."""
        return AllowList("API", (urlsplit(url).hostname or "",), loopback=self.is_local)

    def deadline(self, seconds: float) -> Deadline:
        return Deadline(seconds, self.effects.ticks)

    def table(self) -> Table:
        return Table(self.session.client("dynamodb"), self.output("LedgerTableName"), self.effects.clock)

    def bounded_table(self) -> Table:
        """Return the ledger's table, all of whose calls together may take ten seconds. Raises StackMissingError."""
        deadline = self.deadline(_TABLE_SECONDS)
        return self.table().limited(partial(deadline.run, part="table", at_least=1.0, at_most=_TABLE_SECONDS))

    @cached_property
    def _description(self) -> "StackTypeDef":
        return describe(self.session.client("cloudformation"), self.given)

    @property
    def logs(self) -> LogReader:
        return LogReader(self.session.client("logs"), self.name, self.effects.clock)


def on_stack(verb: Callable[..., None]) -> Callable[..., None]:
    """Add `--stack`, `--region`, `--profile` and `--json` to a verb, and call the verb with `stack` and `as_json`."""

    @click.option(
        "--stack",
        "stack_name",
        envvar="RELAY_STACK",
        default=STACK_NAME,
        metavar="NAME",
        # Click's own note of the default would break the name at a hyphen.
        help=f"The stack: {STACK_NAME} if left out.",
    )
    # The SDK reads AWS_DEFAULT_REGION and the profile's region by itself.
    @click.option(
        "--region", envvar="AWS_REGION", metavar="REGION", help="AWS region; by default that of the AWS CLI 2."
    )
    @click.option("--profile", metavar="NAME", help="AWS profile; by default that of the AWS CLI.")
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
    @wraps(verb)
    def wrapped(stack_name: str, region: str | None, profile: str | None, **arguments: Any) -> None:
        effects: Effects = click.get_current_context().obj or Effects()
        session = effects.sessions(profile_name=profile, region_name=region)
        # Botocore accepts an empty region name, and fails later without naming the region.
        if session.region_name == "":
            raise NoRegionError
        verb(stack=Stack(stack_name, session, os.environ.get("AWS_ENDPOINT_URL") or None, effects), **arguments)

    return wrapped


def describe(cloudformation: "CloudFormationClient", stack_name: str) -> "StackTypeDef":
    """Return CloudFormation's description of a stack: outputs, parameters and ARN. Raises StackMissingError."""
    try:
        found = cloudformation.describe_stacks(StackName=stack_name).get("Stacks")
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") != "ValidationError":
            raise
        found = None
    # AWS answers an error; another service at the endpoint may answer an empty list.
    if not found:
        raise StackMissingError(f"there is no stack named {stack_name!r} here")
    return found[0]


def outputs_in(description: "StackTypeDef", endpoint_url: str | None) -> dict[str, str]:
    """Return the outputs in a stack's description by key, with URLs that work from the operator's machine."""
    outputs = description.get("Outputs", [])
    return {item["OutputKey"]: usable_from_here(item["OutputValue"], endpoint_url) for item in outputs}


def usable_from_here(value: str, endpoint_url: str | None) -> str:
    """Return an output's value; the URL of an API or a queue is rewritten to the local cloud at `endpoint_url`.

    Other values, and all values if `endpoint_url` is None, are returned unchanged.

    >>> usable_from_here("https://a1b2.execute-api.us-east-1.amazonaws.com/v1/x/{y}", "http://127.0.0.1:4566")
    'http://127.0.0.1:4566/_aws/execute-api/a1b2/v1/x/{y}'
    """
    if endpoint_url is None or not value.startswith(("http://", "https://")):
        return value
    url, base = urlsplit(value), endpoint_url.rstrip("/")
    rest = value.partition("://")[2][len(url.netloc) :]
    if api := _API_HOST.fullmatch(url.hostname or ""):
        return f"{base}/_aws/execute-api/{api['id']}{rest}"
    if _QUEUE_HOST.fullmatch(url.hostname or "") and _QUEUE_PATH.fullmatch(url.path):
        return f"{base}{rest}"
    return value

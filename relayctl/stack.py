"""The deployed stack that a verb works on, and the options that name it."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import click
from botocore.exceptions import NoRegionError

from relay.http.session import VendorHosts
from relayctl.effects import Effects
from relayctl.outputs import StackMissingError, read_arn, read_outputs, read_parameters

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

STACK_NAME = "bigpanda-xmatters-relay"


class EndpointUrlError(ValueError):
    """AWS_ENDPOINT_URL is not a URL; the message does not quote it."""


@dataclass(frozen=True)
class Stack:
    """One deployed stack, asked for its outputs when they are needed."""

    name: str
    session: boto3.Session
    endpoint_url: str | None
    effects: Effects = field(default_factory=Effects)

    def output(self, key: str) -> str:
        """One of the stack's outputs. Raises StackMissingError, too when the stack is another than the relay's."""
        if key not in self.outputs:
            raise StackMissingError(f"the stack {self.name!r} is not a relay: it has no output {key}")
        return self.outputs[key]

    @cached_property
    def outputs(self) -> dict[str, str]:
        """The stack's outputs, with URLs that can be used from here. Raises StackMissingError."""
        return read_outputs(self._cloudformation, self.name, self.endpoint_url)

    @cached_property
    def parameters(self) -> dict[str, str]:
        """The values that the stack was deployed with. Raises StackMissingError."""
        return read_parameters(self._cloudformation, self.name)

    @cached_property
    def arn(self) -> str:
        """The stack's ARN. Raises StackMissingError."""
        return read_arn(self._cloudformation, self.name)

    @property
    def hosts(self) -> VendorHosts:
        """The hosts of each vendor that the relay may call. Raises StackMissingError."""
        return VendorHosts.of(self._names("XMattersHosts"), self._names("BigPandaHosts"), loopback=self.is_local)

    def _names(self, parameter: str) -> list[str]:
        """A parameter's names. Raises StackMissingError where the stack has no such parameter."""
        if parameter not in self.parameters:
            raise StackMissingError(f"the stack {self.name!r} has no parameter {parameter}; deploy it again")
        return self.parameters[parameter].split(",")

    @property
    def key_arn(self) -> str | None:
        """The KMS key that encrypts what the stack keeps; None for keys of AWS. Raises StackMissingError."""
        return None if self.is_local else self.parameters.get("KmsKeyArn") or None

    @property
    def is_local(self) -> bool:
        """Whether it lives in a local cloud. Raises StackMissingError."""
        return self.parameters.get("Profile") == "local"

    @cached_property
    def _cloudformation(self) -> "CloudFormationClient":
        return self.session.client("cloudformation")

    @cached_property
    def secrets(self) -> "SecretsManagerClient":
        """Secrets Manager."""
        return self.session.client("secretsmanager")

    @cached_property
    def sqs(self) -> "SQSClient":
        """SQS."""
        return self.session.client("sqs")

    @cached_property
    def sns(self) -> "SNSClient":
        """SNS."""
        return self.session.client("sns")

    @cached_property
    def dynamodb(self) -> "DynamoDBClient":
        """DynamoDB."""
        return self.session.client("dynamodb")

    @cached_property
    def cloudwatch(self) -> Any:
        """CloudWatch."""
        return self.session.client("cloudwatch")

    @cached_property
    def functions(self) -> "LambdaClient":
        """Lambda."""
        return self.session.client("lambda")


def _endpoint_url() -> str | None:
    """Return AWS_ENDPOINT_URL, or None on AWS itself. Raises EndpointUrlError."""
    value = os.environ.get("AWS_ENDPOINT_URL") or None
    if value is not None and not _is_url(value):
        raise EndpointUrlError("AWS_ENDPOINT_URL is not a URL such as http://127.0.0.1:4566; unset it to ask AWS")
    return value


def _is_url(value: str) -> bool:
    try:
        url = urlsplit(value)
        # The port is read, and judged, when it is asked for.
        return url.scheme in {"http", "https"} and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        return False


def on_stack(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb `--stack`, `--region`, `--profile` and `--json`; it is called with `stack` and `as_json`.

    The context's object may be other `Effects` than the real ones.
    """

    @click.option(
        "--stack",
        "stack_name",
        envvar="RELAY_STACK",
        default=STACK_NAME,
        metavar="NAME",
        # Click would break its own note of the default at a hyphen.
        help=f"The stack: {STACK_NAME} if left out.",
    )
    @click.option("--region", metavar="REGION", help="As the AWS CLI takes it.")
    @click.option("--profile", metavar="NAME", help="As the AWS CLI takes it.")
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
    @wraps(verb)
    def wrapped(stack_name: str, region: str | None, profile: str | None, **arguments: Any) -> None:
        effects: Effects = click.get_current_context().obj or Effects()
        session = effects.sessions(profile_name=profile, region_name=region)
        # Botocore takes an empty name for a region's, and then fails without its name.
        if session.region_name == "":
            raise NoRegionError
        verb(stack=Stack(stack_name, session, _endpoint_url(), effects), **arguments)

    return wrapped

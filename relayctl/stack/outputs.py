"""Description of a CloudFormation stack, and its outputs with URLs that work from the operator's machine.

On AWS the URLs are those of CloudFormation. A local cloud gives the URLs of AWS, or its own under another host name;
both are rewritten to addresses on the local cloud.
"""

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudformation.type_defs import StackTypeDef

_API_HOST = re.compile(r"(?P<id>[a-z0-9]+)\.execute-api\.[a-z0-9-]+\.amazonaws\.com(\.cn)?")
_QUEUE_HOST = re.compile(r"sqs\.[a-z0-9-]+\.amazonaws\.com(\.cn)?|localhost|127\.0\.0\.1")
_QUEUE_PATH = re.compile(r"/\d{12}/[A-Za-z0-9_-]{1,80}(\.fifo)?")


class StackMissingError(LookupError):
    """The account and region have no such stack."""


def describe(cloudformation: "CloudFormationClient", stack_name: str) -> "StackTypeDef":
    """Return CloudFormation's description of a stack: outputs, parameters and ARN.

    Raises StackMissingError if there is no such stack; other errors of AWS come as botocore raises them.
    """
    try:
        found = cloudformation.describe_stacks(StackName=stack_name).get("Stacks")
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == "ValidationError":
            raise StackMissingError(f"there is no stack named {stack_name!r} here") from error
        raise
    # AWS answers an error instead; another service at the endpoint may not.
    if not found:
        raise StackMissingError(f"there is no stack named {stack_name!r} here")
    return found[0]


def outputs_in(description: "StackTypeDef", endpoint_url: str | None) -> dict[str, str]:
    """Return the outputs in a description by key; `endpoint_url` is the URL of the local cloud, or None on AWS."""
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

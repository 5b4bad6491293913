import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ConnectTimeoutError, NoCredentialsError
from botocore.stub import Stubber

from relay.channels.cache import Secrets
from relay.failures import ChannelUnreadable, UnknownChannel

CLIENT = boto3.client(
    "secretsmanager", region_name="eu-central-1", aws_access_key_id="test", aws_secret_access_key="test"
)


@pytest.fixture
def aws() -> Iterator[Stubber]:
    with Stubber(CLIENT) as stub:
        yield stub
        stub.assert_no_pending_responses()


def secrets() -> Secrets:
    return Secrets(CLIENT, "team/relay", ticks=time.monotonic)


def test_secret_is_read_by_prefix_and_channel(aws: Stubber) -> None:
    aws.add_response("get_secret_value", {"SecretString": "{}"}, {"SecretId": "team/relay/noc"})
    assert secrets().read("noc") == "{}"


def test_channels_are_named_by_the_secrets_below_the_prefix(aws: Stubber) -> None:
    aws.add_response("list_secrets", {"SecretList": [{"Name": f"team/relay/{name}"} for name in ("noc", "dba")]})
    assert sorted(secrets().names()) == ["dba", "noc"]


@pytest.mark.parametrize("code", ["ResourceNotFoundException", "InvalidRequestException"])
def test_deleted_secret_is_an_unknown_channel(aws: Stubber, code: str) -> None:
    aws.add_client_error("get_secret_value", code)
    with pytest.raises(UnknownChannel):
        secrets().read("noc")


@pytest.mark.parametrize("code", ["AccessDeniedException", "ThrottlingException", "DecryptionFailure", "InternalError"])
def test_other_refusals_of_secrets_manager_make_the_channel_unreadable(aws: Stubber, code: str) -> None:
    aws.add_client_error("get_secret_value", code, "words that may quote something")
    with pytest.raises(ChannelUnreadable, match=f"channel noc: {code}$"):
        secrets().read("noc")


class _Client:
    def __init__(self, call: Any) -> None:
        self.get_secret_value = call


@pytest.mark.parametrize(
    "error", [ConnectTimeoutError(endpoint_url="https://secretsmanager.test"), NoCredentialsError()], ids=type
)
def test_connection_failure_makes_the_channel_unreadable(error: Exception) -> None:
    def fail(**_: str) -> None:
        raise error

    client: Any = _Client(fail)
    with pytest.raises(ChannelUnreadable, match=type(error).__name__):
        Secrets(client, "relay", ticks=time.monotonic).read("noc")


def test_read_of_a_secret_that_hangs_times_out() -> None:
    let_go = threading.Event()
    client: Any = _Client(lambda **_: {"SecretString": str(let_go.wait(20))})
    # On this clock more time passes between two calls than a read may take.
    ticks = itertools.count(0.0, 3 + 1)
    with pytest.raises(ChannelUnreadable, match="TimeoutError"):
        Secrets(client, "relay", ticks=lambda: next(ticks)).read("noc")
    let_go.set()

"""Secrets Manager as the source of channels' secrets."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from relay.channels.channel import is_channel_name
from relay.deadline import Deadline
from relay.failures import ChannelForbidden, ChannelMalformed, ChannelUnreadable, UnknownChannel

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

# Time limit of one read.
READ_SECONDS = 3.0
# Secrets Manager answers InvalidRequestException for a secret that is marked for deletion.
_GONE = {"ResourceNotFoundException", "InvalidRequestException"}
# Errors that last until an operator corrects a policy or the KMS key.
_DENIED = {"AccessDeniedException", "AccessDenied", "DecryptionFailure"}


class ListedChannel(NamedTuple):
    """A channel's secret as Secrets Manager lists it: without its content.

    Attributes:
        name: The name of the channel.
        changed_at: The time of the secret's last change; None if Secrets Manager does not say.
    """

    name: str
    changed_at: datetime | None


def list_channels(client: "SecretsManagerClient", prefix: str) -> Iterator[ListedChannel]:
    """Yield the channels whose secrets are below the prefix, also invalid ones. Raises botocore's exceptions."""
    pages = client.get_paginator("list_secrets").paginate(Filters=[{"Key": "name", "Values": [f"{prefix}/"]}])
    for page in pages:
        for secret in page["SecretList"]:
            name = secret.get("Name", "").removeprefix(f"{prefix}/")
            if is_channel_name(name) and "DeletedDate" not in secret:
                yield ListedChannel(name, secret.get("LastChangedDate"))


class Secrets:
    """Reader of the channels' secrets, whose names begin with one prefix. `ticks` is a monotonic clock in seconds."""

    def __init__(self, client: "SecretsManagerClient", prefix: str, *, ticks: Callable[[], float]) -> None:
        self._client = client
        self._prefix = prefix
        self._ticks = ticks

    def read(self, channel: str) -> str:
        """Return the text of a channel's secret within three seconds. Raises UnknownChannel or ChannelUnreadable."""
        try:
            answer = Deadline(READ_SECONDS, self._ticks).run(
                lambda: self._client.get_secret_value(SecretId=f"{self._prefix}/{channel}"), part="secret"
            )
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "unknown error")
            if code in _GONE:
                raise UnknownChannel(channel) from None
            kind = ChannelForbidden if code in _DENIED else ChannelUnreadable
            raise kind(f"Secrets Manager refused to read the secret of channel {channel}: {code}") from None
        except (BotoCoreError, TimeoutError) as error:
            detail = f"Secrets Manager could not be reached for channel {channel}: {type(error).__name__}"
            raise ChannelUnreadable(detail) from None
        if "SecretString" not in answer:
            raise ChannelMalformed(f"the secret of channel {channel} is binary, and must be JSON text")
        return answer["SecretString"]

    def names(self) -> Iterator[str]:
        """Yield the names of all channels, valid or not. Raises ChannelUnreadable."""
        try:
            for listed in list_channels(self._client, self._prefix):
                yield listed.name
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "unknown error")
            raise ChannelUnreadable(f"Secrets Manager refused to list the channels: {code}") from None
        except BotoCoreError as error:
            raise ChannelUnreadable(f"Secrets Manager could not be reached: {type(error).__name__}") from None

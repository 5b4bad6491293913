"""Secrets Manager as the source of channels' secrets."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from relay.deadline import Deadline
from relay.errors import ChannelUnreadable, UnknownChannel

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

READ_SECONDS = 3.0
# The second is what a secret says of itself that is marked for deletion.
_GONE = {"ResourceNotFoundException", "InvalidRequestException"}


class Secrets:
    """The secrets below one prefix. `ticks` gives seconds that never go back."""

    def __init__(self, client: "SecretsManagerClient", prefix: str, *, ticks: Callable[[], float]) -> None:
        self._client = client
        self._prefix = prefix
        self._ticks = ticks

    def read(self, channel: str) -> str:
        """The text of a channel's secret, within three seconds. Raises UnknownChannel or ChannelUnreadable."""
        try:
            answer = Deadline(READ_SECONDS, self._ticks).run(
                lambda: self._client.get_secret_value(SecretId=f"{self._prefix}/{channel}"), part="secret"
            )
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "unknown error")
            if code in _GONE:
                raise UnknownChannel(channel) from None
            raise ChannelUnreadable(
                f"Secrets Manager refused to read the secret of channel {channel}: {code}"
            ) from None
        except (BotoCoreError, TimeoutError) as error:
            detail = f"Secrets Manager could not be reached for channel {channel}: {type(error).__name__}"
            raise ChannelUnreadable(detail) from None
        if "SecretString" not in answer:
            raise ChannelUnreadable(f"the secret of channel {channel} is binary, and must be JSON text")
        return answer["SecretString"]

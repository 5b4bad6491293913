"""Where channels are kept: secrets below the stack's prefix in Secrets Manager."""

import json
from typing import Any

from botocore.exceptions import ClientError

from relay.channel import is_channel_name
from relay.errors import InvalidChannel
from relayctl.stack import Stack

_GONE = {"ResourceNotFoundException", "InvalidRequestException"}
# What Secrets Manager says to a new secret with the name of one that is being removed, or that came in between.
_TAKEN = {"InvalidRequestException", "ResourceExistsException"}


class ChannelStore:
    """The channels of one stack. What AWS refuses comes as botocore raises it."""

    def __init__(self, stack: Stack) -> None:
        self._secrets = stack.secrets
        self._prefix = stack.output("SecretPrefix")

    def exists(self, name: str) -> bool:
        """Whether there is such a channel, usable or not, that is not being removed."""
        return self.text(name) is not None

    def text(self, name: str) -> str | None:
        """The secret of a channel as it stands there; None when there is none or it is being removed."""
        try:
            return self._secrets.get_secret_value(SecretId=self._id(name)).get("SecretString", "")
        except ClientError as error:
            if error.response["Error"].get("Code") in _GONE:
                return None
            raise

    def read(self, name: str) -> dict[str, Any] | None:
        """The decoded secret of a channel; None when there is none or it is being removed. Raises InvalidChannel."""
        text = self.text(name)
        if text is None:
            return None
        try:
            document = json.loads(text)
        except ValueError:
            raise InvalidChannel(f"the secret {self._id(name)} is not JSON; mend or remove it first") from None
        if not isinstance(document, dict):
            raise InvalidChannel(f"the secret {self._id(name)} is not a JSON object; mend or remove it first")
        return document

    def write(self, name: str, text: str, *, exists: bool) -> None:
        """Keep a channel's secret, in place of what was there."""
        if exists:
            self._secrets.put_secret_value(SecretId=self._id(name), SecretString=text)
            return
        try:
            self._secrets.create_secret(
                Name=self._id(name), SecretString=text, Description="A channel of the BigPanda to xMatters relay"
            )
        except ClientError as error:
            if error.response["Error"].get("Code") not in _TAKEN:
                raise
            # A secret of that name is being removed: it is taken back, and what was in it is replaced.
            self._secrets.restore_secret(SecretId=self._id(name))
            self._secrets.put_secret_value(SecretId=self._id(name), SecretString=text)

    def names(self) -> list[tuple[str, str | None]]:
        """Every channel with the time of its last change, by name."""
        pages = self._secrets.get_paginator("list_secrets").paginate(
            Filters=[{"Key": "name", "Values": [f"{self._prefix}/"]}]
        )
        found = []
        for page in pages:
            for secret in page["SecretList"]:
                name = secret.get("Name", "").removeprefix(f"{self._prefix}/")
                if is_channel_name(name) and "DeletedDate" not in secret:
                    changed = secret.get("LastChangedDate")
                    found.append((name, changed.isoformat(timespec="seconds") if changed else None))
        return sorted(found)

    def remove(self, name: str, days: int) -> None:
        """Remove a channel; its secret can be restored for so many days."""
        self._secrets.delete_secret(SecretId=self._id(name), RecoveryWindowInDays=days)

    def _id(self, name: str) -> str:
        return f"{self._prefix}/{name}"

"""Channels in Secrets Manager: secrets below the stack's prefix, changed by compare-and-set."""

import json
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from relay.channels.channel import is_channel_name
from relay.errors import InvalidChannel
from relayctl.stack import Stack

_GONE = {"ResourceNotFoundException", "InvalidRequestException"}
# Codes of CreateSecret when the name belongs to a secret that is being removed, or that was made in between.
_TAKEN = {"InvalidRequestException", "ResourceExistsException"}
# Codes of UpdateSecretVersionStage when the version to replace is not current any more, or the secret is being removed.
_MOVED = {"InvalidParameterException", *_GONE}
_CURRENT = "AWSCURRENT"
_LONGEST_WINDOW_DAYS = 30


class ChannelChangedError(Exception):
    """Another writer changed the channel between this writer's read and write. Nothing was stored."""


class Kept(NamedTuple):
    """A channel's secret as it was read.

    Attributes:
        document: The decoded secret.
        version: Its version's id in Secrets Manager.
    """

    document: dict[str, Any]
    version: str


class ChannelStore:
    """The channels of one stack. What AWS refuses comes as botocore raises it."""

    def __init__(self, stack: Stack) -> None:
        self._secrets = stack.secrets
        self._prefix = stack.output("SecretPrefix")
        self._key = stack.key_arn

    def exists(self, name: str) -> bool:
        """True if there is such a channel, usable or not, that is not being removed."""
        return self._value(name) is not None

    def text(self, name: str) -> str | None:
        """Return the secret of a channel as it stands there; None when there is none or it is being removed."""
        value = self._value(name)
        return None if value is None else value.get("SecretString", "")

    def read(self, name: str) -> Kept | None:
        """Return the decoded secret of a channel; None when there is none or it is being removed.

        Raises InvalidChannel.
        """
        value = self._value(name)
        if value is None:
            return None
        try:
            document = json.loads(value.get("SecretString", ""))
        except ValueError:
            raise InvalidChannel(f"the secret {self._id(name)} is not JSON; mend or remove it first") from None
        if not isinstance(document, dict):
            raise InvalidChannel(f"the secret {self._id(name)} is not a JSON object; mend or remove it first")
        return Kept(document, value["VersionId"])

    def write(self, name: str, text: str, *, replaces: str | None) -> None:
        """Store a channel's secret in place of the version that was read; None: there was no channel.

        Raises ChannelChangedError when another writer was faster.
        """
        if replaces is not None:
            self._swap(name, text, replaces)
        elif removed := self._create(name, text):
            self._secrets.restore_secret(SecretId=self._id(name))
            try:
                self._swap(name, text, removed)
            except BaseException:
                self._remove_again(name, removed)
                raise

    def _create(self, name: str, text: str) -> str | None:
        """Create the secret; return the version of a removed one, which is still to be restored and replaced."""
        by_key: Any = {"KmsKeyId": self._key} if self._key else {}
        try:
            self._secrets.create_secret(
                Name=self._id(name),
                SecretString=text,
                Description="A channel of the BigPanda to xMatters relay",
                **by_key,
            )
        except ClientError as error:
            if error.response["Error"].get("Code") not in _TAKEN:
                raise
        else:
            return None
        # Read before the restore: of two writers that restore it, both name the removed version, and one wins.
        held = self._secrets.describe_secret(SecretId=self._id(name))
        if "DeletedDate" not in held:
            raise ChannelChangedError(name)
        versions = held.get("VersionIdsToStages", {}).items()
        current = next((version for version, stages in versions if _CURRENT in stages), None)
        if current is None:
            raise InvalidChannel(
                f"the removed secret {self._id(name)} has no current version; delete it for good first"
            )
        return current

    def _remove_again(self, name: str, removed: str) -> None:
        """Remove a channel whose restored version is still current: a failed change must not bring it back."""
        with suppress(ClientError, BotoCoreError):
            current = self._value(name)
            if current is not None and current["VersionId"] == removed:
                self.remove(name, _LONGEST_WINDOW_DAYS)

    def _swap(self, name: str, text: str, replaces: str) -> None:
        """Put a new version under a label of its own, and make it current if `replaces` still is."""
        version = str(uuid.uuid4())
        label = f"relayctl-{version}"
        self._put(name, text, version, label)
        try:
            self._make_current(name, version, replaces)
        finally:
            # Secrets Manager removes old versions only if they carry no label.
            with suppress(ClientError, BotoCoreError):
                self._secrets.update_secret_version_stage(
                    SecretId=self._id(name), VersionStage=label, RemoveFromVersionId=version
                )

    def _put(self, name: str, text: str, version: str, label: str) -> None:
        try:
            self._secrets.put_secret_value(
                SecretId=self._id(name), SecretString=text, ClientRequestToken=version, VersionStages=[label]
            )
        except ClientError as error:
            if error.response["Error"].get("Code") not in _GONE:
                raise
            raise ChannelChangedError(name) from None

    def _make_current(self, name: str, version: str, replaces: str) -> None:
        try:
            self._secrets.update_secret_version_stage(
                SecretId=self._id(name),
                VersionStage=_CURRENT,
                MoveToVersionId=version,
                RemoveFromVersionId=replaces,
            )
        except ClientError as error:
            if error.response["Error"].get("Code") not in _MOVED:
                raise
            # botocore repeats a call whose answer was lost; the second one finds its own version current.
            current = self._value(name)
            if current is None or current["VersionId"] != version:
                raise ChannelChangedError(name) from None

    def _value(self, name: str) -> Mapping[str, Any] | None:
        try:
            return self._secrets.get_secret_value(SecretId=self._id(name), VersionStage=_CURRENT)
        except ClientError as error:
            if error.response["Error"].get("Code") in _GONE:
                return None
            raise

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

"""Channels: their names on the command line, and their secrets in Secrets Manager, below the stack's prefix."""

import uuid
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import click
from botocore.exceptions import BotoCoreError, ClientError

from relay.channels.cache import list_channels
from relay.channels.channel import Channel, is_channel_name
from relay.channels.parsing import decode_secret, parse_channel
from relay.failures import InvalidChannel
from relayctl import terminal
from relayctl.channel.secret_document import SecretDocument
from relayctl.failed_calls import tried
from relayctl.stack.deployed import Stack

_CURRENT = "AWSCURRENT"
_PREVIOUS = "AWSPREVIOUS"
# Message of a verb that finds no channel.
NO_CHANNELS = (
    "no channels yet; make one with: relayctl channel set NAME (Secrets Manager may list a new one five minutes late)"
)


def checked_name(value: str) -> str:
    """Return the name of a channel as the operator gave it. Raises BadParameter if no channel can have it."""
    if not is_channel_name(value):
        raise click.BadParameter("use 1 to 48 of a-z, 0-9, - and _, beginning with a letter or digit")
    return value


NAME = click.argument("name", type=checked_name, metavar="NAME")
NAME_OR_ALL = click.argument("name", type=checked_name, required=False, metavar="[NAME]")
CHANNEL = click.option("--channel", type=checked_name, metavar="NAME", help="Only this channel.")


def _changed_meanwhile(name: str) -> click.ClickException:
    return click.ClickException(
        f"channel {name}: changed meanwhile by another operator; nothing was stored; run the command again"
    )


class ChannelStore:
    """The secrets of one stack's channels, written with optimistic locking. Botocore's errors are raised unchanged."""

    def __init__(self, stack: Stack) -> None:
        self.stack, self._secrets = stack, stack.session.client("secretsmanager")
        self._prefix = stack.output("SecretPrefix")
        self._key, self._errors = stack.key_arn, self._secrets.exceptions
        # There is no secret, or the secret is marked for deletion.
        self._gone = (self._errors.ResourceNotFoundException, self._errors.InvalidRequestException)

    def exists(self, name: str) -> bool:
        """True if the channel has a secret, valid or not, that is not removed."""
        return self._value(name) is not None

    def is_removed(self, name: str) -> bool:
        """True if the channel has a secret that is marked for deletion."""
        try:
            self._secrets.get_secret_value(SecretId=self._id(name))
        except self._gone as error:
            return isinstance(error, self._errors.InvalidRequestException)
        return False

    def channel(self, name: str) -> Channel | None:
        """Return a channel; None if it does not exist, or is removed. Raises InvalidChannel."""
        value = self._value(name)
        return None if value is None else parse_channel(name, value.get("SecretString", ""), self.stack.hosts)

    def read(self, name: str) -> SecretDocument:
        """Return the decoded secret of a channel; an empty one if there is no channel. Raises InvalidChannel."""
        return self._decoded(self._value(name), f"the secret {self._id(name)}", "; repair or remove it first")

    def existing(self, name: str) -> SecretDocument:
        """Return the decoded secret as `read` does; exit with code 3 if there is no such channel."""
        found = self.read(name)
        if found.version is None:
            terminal.nothing(f"there is no channel {name}")
        return found

    def read_previous(self, name: str) -> SecretDocument:
        """Return the secret before its last change as `read` does; an empty one if there is no earlier one."""
        return self._decoded(self._value(name, _PREVIOUS), f"the previous version of the secret {self._id(name)}")

    @staticmethod
    def _decoded(value: Mapping[str, Any] | None, what: str, remedy: str = "") -> SecretDocument:
        if value is None:
            return SecretDocument()
        document = None
        with suppress(InvalidChannel):
            document = decode_secret(value.get("SecretString", ""))
        if not isinstance(document, dict):
            raise InvalidChannel(f"{what} is not a JSON object{remedy}")
        return SecretDocument(document, value["VersionId"])

    def write(self, name: str, text: str, *, replaces: str | None) -> None:
        """Store a secret in place of version `replaces`; None: a new one. Raises ClickException if it has changed."""
        if replaces is not None:
            self._swap(name, text, replaces)
        elif removed := self._create(name, text):
            self._secrets.restore_secret(SecretId=self._id(name))
            try:
                self._swap(name, text, removed)
            except (ClientError, BotoCoreError, KeyboardInterrupt):
                # It is not removed again: the failed call, or another operator, may have stored new settings.
                terminal.say(
                    f"warning: channel {name} works again, maybe with its credentials and settings from before its "
                    f"removal; to refuse them, type: relayctl channel remove {name}"
                )
                raise

    def _create(self, name: str, text: str) -> str | None:
        """Create a secret; if a removed one has the name, return its current version, to be restored and replaced.

        Raises ClickException.
        """
        options: Any = {"KmsKeyId": self._key} if self._key else {}
        # CloudFormation tags what the stack makes, and secrets are not among it.
        if tags := self.stack.tags:
            options["Tags"] = tags
        try:
            self._secrets.create_secret(
                Name=self._id(name),
                SecretString=text,
                Description="A channel of the BigPanda to xMatters relay",
                **options,
            )
        except (self._errors.InvalidRequestException, self._errors.ResourceExistsException):
            # The secret is marked for deletion, or was created meanwhile.
            pass
        else:
            return None
        # Read before the restore: two writers that restore the secret both replace this version, and one of them fails.
        held = self._secrets.describe_secret(SecretId=self._id(name))
        if "DeletedDate" not in held:
            raise _changed_meanwhile(name)
        return next(version for version, stages in held["VersionIdsToStages"].items() if _CURRENT in stages)

    def _swap(self, name: str, text: str, replaces: str) -> None:
        """Store a new version under a staging label of its own, and make it current if `replaces` still is.

        Raises ClickException if another writer replaced it meanwhile.
        """
        version = str(uuid.uuid4())
        label = f"relayctl-{version}"
        try:
            self._secrets.put_secret_value(
                SecretId=self._id(name), SecretString=text, ClientRequestToken=version, VersionStages=[label]
            )
        except self._gone:
            raise _changed_meanwhile(name) from None
        try:
            self._secrets.update_secret_version_stage(
                SecretId=self._id(name),
                VersionStage=_CURRENT,
                MoveToVersionId=version,
                RemoveFromVersionId=replaces,
            )
        except (self._errors.InvalidParameterException, *self._gone):
            # botocore repeats a call whose answer was lost; the second call finds its own version current.
            current = self._value(name)
            if current is None or current["VersionId"] != version:
                raise _changed_meanwhile(name) from None
        finally:
            # Secrets Manager deletes only versions without a label.
            with suppress(ClientError, BotoCoreError):
                self._secrets.update_secret_version_stage(
                    SecretId=self._id(name), VersionStage=label, RemoveFromVersionId=version
                )

    def _value(self, name: str, stage: str = _CURRENT) -> Mapping[str, Any] | None:
        try:
            return self._secrets.get_secret_value(SecretId=self._id(name), VersionStage=stage)
        except self._gone:
            return None

    def names(self) -> dict[str, float | None]:
        """Return every channel, sorted, with the time of its last change (epoch seconds; None if it is not known).

        Secrets Manager's list may be five minutes old (API Reference, "ListSecrets"): removed channels are left out.
        """
        found = dict(list_channels(self._secrets, self._prefix))
        # A secret that cannot be read may exist.
        there = [name for name in sorted(found) if tried(partial(self.exists, name))[0] is not False]
        return {name: at.timestamp() if (at := found[name]) else None for name in there}

    def remove(self, name: str, days: int) -> None:
        self._secrets.delete_secret(SecretId=self._id(name), RecoveryWindowInDays=days)

    def _id(self, name: str) -> str:
        return f"{self._prefix}/{name}"

"""Secrets of channels in Secrets Manager, a cache of them, and marks that end cached copies.

`relayctl` changes the secret first, and then a mark of the channel in DynamoDB: one mark for revoked credentials,
another one for mode and pauses. If a mark differs from that of the cached copy, the secret is read again. While it
can't be read or is malformed, the last good copy stays in use, but after a revocation it authenticates nobody.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from relay.channels import misconfiguration
from relay.channels.channel import Channel, is_channel_name
from relay.deadline import Clock, Deadline
from relay.failures import (
    ChannelError,
    ChannelForbidden,
    ChannelMalformed,
    ChannelUnreadable,
    InvalidChannel,
    LedgerError,
    UnknownChannel,
)

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient


READ_SECONDS = 3.0
# Secrets Manager answers InvalidRequestException for a secret that is marked for deletion.
_GONE = {"ResourceNotFoundException", "InvalidRequestException"}
# Errors that last until an operator corrects a policy or the KMS key.
_DENIED = {"AccessDeniedException", "AccessDenied", "DecryptionFailure"}


def list_channels(client: "SecretsManagerClient", prefix: str) -> Iterator[tuple[str, datetime | None]]:
    """Yield each channel's name, and the time of its secret's last change (None if unknown).

    The names of the secrets begin with `prefix` and a slash. Raises botocore's exceptions.
    """
    pages = client.get_paginator("list_secrets").paginate(Filters=[{"Key": "name", "Values": [f"{prefix}/"]}])
    for page in pages:
        for secret in page["SecretList"]:
            name = secret.get("Name", "").removeprefix(f"{prefix}/")
            if is_channel_name(name) and "DeletedDate" not in secret:
                yield name, secret.get("LastChangedDate")


class Secrets:
    """Reader of the channels' secrets, whose names begin with one prefix. It keeps nothing, so each read is new.

    `ticks` returns monotonic time (seconds), which limits a read.
    """

    def __init__(self, client: "SecretsManagerClient", prefix: str, *, ticks: Callable[[], float]) -> None:
        self._client = client
        self._prefix = prefix
        self._ticks = ticks

    def read(self, channel: str) -> str:
        """Return the text of a channel's secret, within three seconds. Raises UnknownChannel and ChannelUnreadable."""
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
            for name, _ in list_channels(self._client, self._prefix):
                yield name
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "unknown error")
            raise ChannelUnreadable(f"Secrets Manager refused to list the channels: {code}") from None
        except BotoCoreError as error:
            raise ChannelUnreadable(f"Secrets Manager could not be reached: {type(error).__name__}") from None


# Shortest time between two reads of the marks. One read serves all channels and requests.
MARKS_SECONDS = 10.0


def settings_mark_name(channel: str) -> str:
    """Return the name of the change mark of a channel's mode and pauses. No channel can have this name."""
    return f"{channel}/settings"


class Marks(NamedTuple):
    """Change marks of one channel: random texts, empty for none.

    Attributes:
        revocation: Changes when a credential is revoked.
        settings: Changes when the mode or a pause changes.
    """

    revocation: str = ""
    settings: str = ""


class ChangeMarks:
    """The change marks of all channels. `read_at` is the time of their last successful read (epoch seconds; 0: none).

    `source` reads the marks by their names, and raises LedgerError. `notice` counts and logs failed reads.
    """

    def __init__(
        self, source: Callable[[], Mapping[str, str]], clock: Clock, notice: Callable[[str, str], None]
    ) -> None:
        self._source = source
        self._clock = clock
        self._notice = notice
        self._marks: Mapping[str, str] = {}
        self._tried_at = 0.0
        self.read_at = 0.0

    def current_marks(self, channel: str) -> Marks:
        """Return a channel's change marks, read at most ten seconds ago; after a failed read, older ones."""
        now = self._clock()
        # A clock that was set back makes the difference negative.
        if not 0 <= now - self._tried_at < MARKS_SECONDS:
            self._read(now)
        return self.known_marks(channel)

    @property
    def are_unread(self) -> bool:
        """True if the last read of the marks failed, so that a change of a channel may be unknown."""
        return self.read_at < self._tried_at

    def known_marks(self, channel: str) -> Marks:
        """Return a channel's change marks as of the last successful read, without a read."""
        return Marks(self._marks.get(channel, ""), self._marks.get(settings_mark_name(channel), ""))

    def _read(self, now: float) -> None:
        self._tried_at = now
        try:
            self._marks = self._source()
        except LedgerError as error:
            self._notice("marks_unread", f"a revoked credential may pass until a channel is read again: {error}")
        else:
            self.read_at = now


# Shortest time between two reads of one secret after a failed credential or a failed read.
REFRESH_SECONDS = 10.0
# A rotated credential must work within seconds, and guessed credentials must not cost a read each.
RECENT_SECONDS = 2.0
# Lifetime of a negative entry: a name without a secret is not looked up again during this time.
UNKNOWN_SECONDS = 60.0
# The same for the job worker. Job messages do not come from outside, so their channel names are not guessed; and the
# jobs of a channel that was just restored must not be given up.
JOBS_UNKNOWN_SECONDS = 2.0
# A secret that is malformed, or that the function may not read, stays so until an operator acts.
MALFORMED_SECONDS = 10.0
# Bounds the memory that guessed channel names can take.
MAX_ABSENT = 1024
# Longest time that a copy admits requests while neither its secret nor the change marks can be read.
UNPROVED_SECONDS = 3600.0


@dataclass
class _Copy:
    """The last good version of a channel. Times are epoch seconds.

    Attributes:
        good_until: Use the copy without a read before this time.
        read_at: Time of the last read, successful or not.
        good_at: Time of the last successful read.
        marks: The channel's change marks, as they were known before the last successful read.
        failure: The error text of the last read; None if it succeeded.
    """

    channel: Channel
    good_until: float
    read_at: float
    good_at: float
    marks: Marks
    failure: str | None = None

    def is_revoked(self, marks: Marks) -> bool:
        """True if `marks` (the current ones) show that a credential may have been revoked since this copy was read."""
        return marks.revocation not in ("", self.marks.revocation)

    def is_outdated(self, marks: Marks) -> bool:
        """True if, since this copy was read, a credential may have been revoked, or the mode or a pause changed."""
        return self.is_revoked(marks) or marks.settings not in ("", self.marks.settings)


class ChannelCache:
    """Cache of channels by name; `source` reads a channel's secret and parses it.

    `source` raises UnknownChannel, ChannelUnreadable or InvalidChannel. A copy is used for `seconds`, and longer while
    the secret can't be read or is malformed. A name without a secret is not looked up again for `unknown_seconds`.
    `notice` counts and logs a problem, by its name and a text.
    """

    def __init__(
        self,
        source: Callable[[str], Channel],
        *,
        seconds: float,
        clock: Clock,
        notice: Callable[[str, str], None],
        change_marks: ChangeMarks,
        unknown_seconds: float = UNKNOWN_SECONDS,
    ) -> None:
        self._source = source
        self._seconds = seconds
        self._clock = clock
        self._notice = notice
        self._unknown_seconds = unknown_seconds
        self._change_marks = change_marks
        self._copies: dict[str, _Copy] = {}
        # Negative entries by channel name: expiry (epoch seconds), and the class and text of the error to raise.
        self._absent: OrderedDict[str, tuple[float, type[ChannelError], str]] = OrderedDict()

    def get(self, name: str) -> Channel:
        """Return the channel from the cache; from its secret if the cached copy is too old.

        If the secret can't be read or is malformed, an older copy is returned; without one, raises ChannelUnreadable.
        Raises UnknownChannel if there is no such secret.
        """
        now = self._clock()
        copy = self._copies.get(name)
        if copy and now < copy.good_until:
            return copy.channel
        if copy:
            return self._read_again(name, copy)
        until, kind, detail = self._absent.get(name, (0.0, ChannelError, ""))
        if now < until:
            raise kind(detail)
        return self._read(name)

    def cached(self, name: str) -> Channel | None:
        """Return the last good copy of a channel, however old, without a read; None if there is no copy."""
        copy = self._copies.get(name)
        return copy.channel if copy else None

    def for_authentication(self, name: str) -> Channel:
        """Return the channel against which a request's credentials are checked: from the cache, or read again.

        If the secret can't be read, an older copy is returned. Raises UnknownChannel if there is no such secret. Raises
        ChannelUnreadable if the secret can't be read and there is no copy, if the copy's credentials were revoked, or
        if the change marks could not be read for an hour either.
        """
        marks = self._change_marks.current_marks(name)
        copy = self._copies.get(name)
        if copy is None:
            return self.get(name)
        if copy.is_revoked(marks):
            # A failing read takes seconds, so not every share attempts one.
            if copy.failure is None or not 0 <= self._clock() - copy.read_at < RECENT_SECONDS:
                self._read_again(name, copy)
                copy = self._copies[name]
            if copy.is_revoked(marks):
                raise ChannelUnreadable(f"a credential was revoked, and {copy.failure}")
            return copy.channel
        channel = self._for_work(name, marks)
        copy = self._copies[name]
        if self._clock() - max(copy.good_at, self._change_marks.read_at) >= UNPROVED_SECONDS:
            raise ChannelUnreadable(
                f"neither the secret nor the change marks could be read for an hour: {copy.failure}"
            )
        return channel

    def for_work(self, name: str) -> Channel:
        """Return the channel for work on a job or a debt: from the cache, or read again if its change marks differ.

        If the marks can't be read, the copy is at most ten seconds old. If the secret can't be read, an older copy is
        returned; without one, raises ChannelUnreadable. Raises UnknownChannel if there is no such secret.
        """
        return self._for_work(name, self._change_marks.current_marks(name))

    def _for_work(self, name: str, marks: Marks) -> Channel:
        copy = self._copies.get(name)
        is_outdated = copy is not None and copy.is_outdated(marks)
        if copy is None or not (is_outdated or self._change_marks.are_unread):
            return self.get(name)
        # A failing read takes seconds, so not every job attempts one. Nor does it without marks to compare.
        if (copy.failure or not is_outdated) and 0 <= self._clock() - copy.read_at < REFRESH_SECONDS:
            return copy.channel
        return self._read_again(name, copy)

    def refresh(self, name: str) -> Channel:
        """Return the channel, read within the last ten seconds, after a vendor refused its credential.

        If the secret can't be read, an older copy is returned; without one, raises ChannelUnreadable. Raises
        UnknownChannel if there is no such secret.
        """
        copy = self._copies.get(name)
        if copy is None or self._clock() - copy.read_at < REFRESH_SECONDS:
            return self.get(name)
        return self._read_again(name, copy)

    def for_refusal(self, name: str) -> Channel:
        """Return the channel, read within the last two seconds, for the last check before a credential is refused.

        Raises UnknownChannel if there is no such secret, and ChannelUnreadable if it can't be read. An older copy does
        not do: the credential may have been rotated since.
        """
        copy = self._copies.get(name)
        if copy is None:
            return self.get(name)
        # A clock that was set back makes the difference negative.
        if not 0 <= self._clock() - copy.read_at < RECENT_SECONDS:
            self._read_again(name, copy)
            copy = self._copies[name]
        if copy.failure:
            raise ChannelUnreadable(copy.failure)
        return copy.channel

    def _read(self, name: str) -> Channel:
        # Read before the secret, so that a change during the read makes this copy outdated.
        marks = self._change_marks.known_marks(name)
        try:
            found = self._source(name)
        except UnknownChannel as error:
            self._copies.pop(name, None)
            self._remember(name, error, self._unknown_seconds)
            raise
        except InvalidChannel as error:
            malformed = ChannelMalformed(f"the secret of channel {name} is malformed: {error}")
            self._remember(name, malformed, MALFORMED_SECONDS)
            raise malformed from error
        except (ChannelForbidden, ChannelMalformed) as error:
            self._remember(name, error, MALFORMED_SECONDS)
            raise
        now = self._clock()
        self._copies[name] = _Copy(found, now + self._seconds, now, good_at=now, marks=marks)
        if problems := misconfiguration.problems(found):
            self._notice("misconfigured_channel", f"channel {name}: {'; '.join(map(str, problems))}")
        return found

    def _read_again(self, name: str, copy: _Copy) -> Channel:
        try:
            return self._read(name)
        except ChannelUnreadable as error:
            self._notice("stale_channel", str(error))
            # A failing read takes seconds, so the next one waits for a while.
            now = self._clock()
            copy.good_until = max(copy.good_until, now + REFRESH_SECONDS)
            copy.read_at, copy.failure = now, str(error)
            return copy.channel

    def _remember(self, name: str, error: ChannelError, seconds: float) -> None:
        self._absent[name] = (self._clock() + seconds, type(error), str(error))
        self._absent.move_to_end(name)
        while len(self._absent) > MAX_ABSENT:
            self._absent.popitem(last=False)

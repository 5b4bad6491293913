"""Exceptions of the relay.

RelayError
├── ConfigError               environment variables of the function are missing or wrong
├── BadRequest                the request is wrong; holds the HTTP status of the answer
│   └── Unauthorized          missing or wrong credentials, or an unknown channel; one answer for all three
├── ChannelError
│   ├── UnknownChannel        the channel does not exist, or was removed
│   ├── ChannelUnreadable     the channel's secret can't be read now
│   │   ├── ChannelForbidden  AWS denies the read of the secret, or its decryption
│   │   ├── ChannelMalformed  a function read the secret, and it is not valid
│   │   ├── UncheckableSender credentials can't be checked now, and nothing indicates that they are valid
│   │   └── LookupsLimited    the source address is over its budget of refused requests
│   └── InvalidChannel        a secret or settings file is not a valid channel
├── SendError                 xMatters did not accept a signal, or BigPanda a request
│   ├── NoAnswer              no answer in time, or no connection
│   └── BadAnswer             an error answer
├── QueueError                a queue did not accept a message
└── LedgerError               the ledger can't be read or written
"""

from relay.failures.reasons import Reason


class RelayError(Exception):
    """Base class of the relay's exceptions.

    Attributes:
        reason: Reason for logs, metrics and retries.
    """

    reason: Reason = Reason.INTERNAL


class ConfigError(RelayError):
    """Environment variables of the function are wrong. The message lists all problems, one on each line."""


class BadRequest(RelayError):
    """The request is wrong, and is answered with an error.

    Attributes:
        field: Part of the request at fault, such as a member of its body.
        detail: Description of the problem.
        status: HTTP status of the answer.
        error: Error code in the answer.
    """

    reason = Reason.REFUSED

    def __init__(self, field: str, detail: str, *, status: int = 400, error: str = "bad_request") -> None:
        super().__init__(f"{field}: {detail}")
        self.field = field
        self.detail = detail
        self.status = status
        self.error = error


class Unauthorized(BadRequest):
    """Missing or wrong credentials, or an unknown channel. The answer is the same for all three.

    Attributes:
        channel_exists: True if the channel exists, so that the refused request may be a share from BigPanda.
    """

    def __init__(self, *, channel_exists: bool = False) -> None:
        super().__init__("credentials", "missing or wrong", status=401, error="unauthorized")
        self.channel_exists = channel_exists


class ChannelError(RelayError):
    """Base class of errors about a channel."""


class UnknownChannel(ChannelError):
    """The channel does not exist, or was removed."""

    reason = Reason.CHANNEL_REMOVED


class ChannelUnreadable(ChannelError):
    """The channel's secret can't be read now. A later read may succeed.

    Attributes:
        exists: True if the channel is known to exist in spite of the failed read.
    """

    exists = False


class ChannelForbidden(ChannelUnreadable):
    """AWS denies the read of the secret, or its decryption. The secret is taken to exist.

    The function's role allows reads of all names below the prefix, so AWS would report a missing secret as not found.
    """

    exists = True


class ChannelMalformed(ChannelUnreadable):
    """A function read the channel's secret, and the secret is not a valid channel. A later read may find a valid one.

    The channel cache (`channels.cache`) raises this error in place of the parser's InvalidChannel.
    """

    exists = True


class UncheckableSender(ChannelUnreadable):
    """The channel's secret can't be read to check the credentials, and nothing else indicates that they are valid."""


class LookupsLimited(ChannelUnreadable):
    """The source address is over its budget of refused requests, so no channel is looked up for it now."""


class InvalidChannel(ChannelError):
    """A secret's text or a settings file is not a valid channel, as its parser found.

    The message names keys, never values.
    """


class SendError(RelayError):
    """A request to a vendor failed: most often, xMatters did not accept a signal.

    Attributes:
        reason: Reason of the failure.
        detail: Description of the failure, without secrets.
        http_status: HTTP status of the answer; None if there was no answer.
        excerpt: Redacted beginning of the answer's body; empty if there was no answer.
        retry_after: Wait that the answer's Retry-After header asks for (seconds); None if it has none.
        may_have_acted: True if the failure is ambiguous: the vendor may have acted on the request, so a signal may
            already have paged.
        was_sent: True if the request itself was sent, and so counts as an attempt. False, for example, if the deadline
            had passed, the URL is not allowed, or a log-in before the request failed.
    """

    def __init__(
        self,
        reason: Reason,
        detail: str,
        *,
        http_status: int | None = None,
        excerpt: str = "",
        retry_after: float | None = None,
        may_have_acted: bool = False,
        was_sent: bool = True,
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.http_status = http_status
        self.excerpt = excerpt
        self.retry_after = retry_after
        self.may_have_acted = may_have_acted
        self.was_sent = was_sent


class NoAnswer(SendError):
    """No answer: the host can't be reached, closed the connection, or did not answer in time.

    Also raised if the request was not sent at all (`was_sent` is False), for example because a rate limit has no room.
    """


class BadAnswer(SendError):
    """An error answer, with its `http_status` and a redacted `excerpt`."""


class QueueError(RelayError):
    """A queue did not accept a message. The error text gives the cause, without the queued message."""


class LedgerError(RelayError):
    """The ledger can't be read or written now. The error text gives the cause, without the data."""

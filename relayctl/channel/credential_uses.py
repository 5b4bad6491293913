"""Last use of each credential of a channel, and the rules for the early end of a previous one."""

from collections.abc import Sequence
from typing import NamedTuple

from relay.channels.channel import Channel
from relay.channels.parsing import parse_channel
from relay.channels.token import EndpointName
from relay.failures import InvalidChannel, LedgerError
from relay.foreign_text import printable
from relay.ledger import credentials
from relay.ledger.credentials import USE_SECONDS
from relay.ledger.table import Table
from relayctl import moments, terminal
from relayctl.channel.endpoints import ENDPOINTS, KEYS
from relayctl.channel.secret_document import SecretDocument
from relayctl.stack.deployed import Stack
from relayctl.stack.outputs import StackMissingError

# A credential that was used within this time is in use.
IN_USE_SECONDS = 3600.0


class Use(NamedTuple):
    """Last use of a credential.

    Attributes:
        endpoint: `inbound` or `callback`.
        age: `current` or, after a rotation, `previous`.
        kind: `token` or `basic`.
        used_at: Time of the use (epoch seconds), up to USE_SECONDS too early; None if no use is known.
    """

    endpoint: EndpointName
    age: str
    kind: str
    used_at: float | None

    def document(self) -> dict[str, str | None]:
        """Return the use as a JSON object for programs."""
        used_at = moments.iso_or_none(self.used_at)
        return {"endpoint": self.endpoint, "credential": self.age, "kind": self.kind, "used_at": used_at}

    def __str__(self) -> str:
        """Return the credential and its last use as one line of text."""
        return f"{self.endpoint} {self.age} {self.kind}: {moments.iso_or_none(self.used_at) or 'none known'}"


def of_channel(stack: Stack, name: str, document: SecretDocument) -> list[Use] | None:
    """Return the last use of each credential; None, with a note on stderr, if the uses cannot be read."""
    try:
        return read(stack.bounded_table(), parse_channel(name, document.text(), stack.hosts))
    except (InvalidChannel, LedgerError, StackMissingError) as error:
        terminal.say(f"note: the last use of credentials is not known: {printable(str(error))}")
        return None


def read(table: Table, channel: Channel) -> list[Use]:
    """Return the last use of each credential of a channel. Raises LedgerError."""
    return [
        Use(endpoint, age, kind, credentials.last_used(table, channel.name, endpoint, fingerprint))
        for endpoint in KEYS
        for age, kind, fingerprint in channel.fingerprints(endpoint)
    ]


def newest(uses: Sequence[Use], endpoint: EndpointName, *ages: str) -> float | None:
    """Return the last use of an endpoint's credentials of these ages (epoch seconds); None if none is known."""
    found = [each.used_at for each in uses if each.endpoint == endpoint and each.age in ages and each.used_at]
    return max(found, default=None)


def obstacle(uses: Sequence[Use], key: str, now: float) -> str | None:
    """Return the reason why the previous credential must not end yet; None if it may end.

    The vendor may still use it if it was used within the last hour, or if the current one was never used. `key` is the
    endpoint's key in the secret.
    """
    endpoint, vendor = ENDPOINTS[key].name, ENDPOINTS[key].vendor
    previous = newest(uses, endpoint, "previous")
    if previous is not None and (free_at := previous + USE_SECONDS + IN_USE_SECONDS) > now:
        return (
            f"{vendor} used the old credential at {moments.iso(previous)}, or up to an hour later: paste the new "
            f"one there, and try again after {moments.iso(free_at)}"
        )
    if newest(uses, endpoint, "current") is None:
        return f"{vendor} has not used the new credential yet, as far as is known: paste it there first"
    return None


def described(used_at: float | None) -> str:
    """Return the time of a last use in words."""
    return "none known" if used_at is None else f"{moments.iso(used_at)}, or up to an hour later"

"""Last use of each credential of a channel, read from the ledger's table."""

from datetime import UTC, datetime
from typing import NamedTuple

from relay.channels.channel import Channel
from relay.channels.parsing import parse_channel
from relay.channels.token import EndpointName
from relay.failures.errors import InvalidChannel, LedgerError
from relay.foreign_text import printable
from relay.ledger import credentials
from relay.ledger.table import Table
from relayctl import terminal
from relayctl.endpoints import KEYS
from relayctl.revocation import bounded_table
from relayctl.secret_document import SecretDocument
from relayctl.stack import Stack
from relayctl.stack_outputs import StackMissingError


class Use(NamedTuple):
    """Last use of a credential.

    Attributes:
        endpoint: `inbound` or `callback`.
        age: `current` or, after a rotation, `previous`.
        kind: `token` or `basic`.
        used_at: Time of the use (ISO 8601), up to an hour too early; None if no use is known.
    """

    endpoint: EndpointName
    age: str
    kind: str
    used_at: str | None

    def document(self) -> dict[str, str | None]:
        """Return the use as a JSON object for programs."""
        return {"endpoint": self.endpoint, "credential": self.age, "kind": self.kind, "used_at": self.used_at}

    def __str__(self) -> str:
        """Return the credential and its last use as one line of text."""
        return f"{self.endpoint} {self.age} {self.kind}: {self.used_at or 'none known'}"


def of_channel(stack: Stack, name: str, document: SecretDocument) -> list[Use] | None:
    """Return the last use of each credential; None, with a note on stderr, if the uses cannot be read."""
    try:
        return read(bounded_table(stack), parse_channel(name, document.text(), stack.hosts))
    except (InvalidChannel, LedgerError, StackMissingError) as error:
        terminal.say(f"note: the last use of credentials is not known: {printable(str(error))}")
        return None


def read(table: Table, channel: Channel) -> list[Use]:
    """Return the last use of each credential of a channel. Raises LedgerError."""
    return [
        Use(endpoint, age, kind, _moment(credentials.last_used(table, channel.name, endpoint, fingerprint)))
        for endpoint in KEYS
        for age, kind, fingerprint in channel.fingerprints(endpoint)
    ]


def _moment(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")

"""Last uses of the credentials of a channel's doors, as the ledger's table has them."""

from datetime import UTC, datetime
from typing import NamedTuple

from relay.channels.channel import parse_channel
from relay.channels.token import Door
from relay.errors import InvalidChannel, LedgerError
from relay.foreign_text import printable
from relay.ledger import credentials
from relayctl import terminal
from relayctl.outputs import StackMissingError
from relayctl.revocation import table
from relayctl.secret_document import SecretDocument
from relayctl.stack import Stack

_DOORS: tuple[Door, ...] = ("inbound", "callback")


class Use(NamedTuple):
    """The last use of a credential.

    Attributes:
        door: `inbound` or `callback`.
        age: `current` or `previous`.
        kind: `token` or `basic`.
        used_at: ISO 8601, up to an hour too early; None if no use is known.
    """

    door: Door
    age: str
    kind: str
    used_at: str | None

    def document(self) -> dict[str, str | None]:
        """Return the same for programs."""
        return {"door": self.door, "credential": self.age, "kind": self.kind, "used_at": self.used_at}

    def __str__(self) -> str:
        """Return the same for people."""
        return f"{self.door} {self.age} {self.kind}: {self.used_at or 'none known'}"


def of_channel(stack: Stack, name: str, document: SecretDocument) -> list[Use]:
    """Return the last use of each credential; none of them, with a note on stderr, if that can't be told."""
    try:
        channel, its_table = parse_channel(name, document.text(), stack.hosts), table(stack)
        return [
            Use(door, age, kind, _moment(credentials.last_used(its_table, name, door, fingerprint)))
            for door in _DOORS
            for age, kind, fingerprint in channel.fingerprints(door)
        ]
    except (InvalidChannel, LedgerError, StackMissingError) as error:
        terminal.say(f"note: when credentials were used last is not known: {printable(str(error))}")
        return []


def _moment(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")

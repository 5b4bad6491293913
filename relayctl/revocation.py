"""Revocation: a mark in the ledger's table, by which the doors read a channel again before they admit anybody."""

import uuid
from datetime import UTC, datetime

from relay.channels.epoch import EPOCH_SECONDS
from relay.deadline import Deadline
from relay.errors import LedgerError
from relay.ledger import credentials
from relay.ledger.table import Table
from relayctl import terminal
from relayctl.outputs import StackMissingError
from relayctl.stack import Stack

# Secrets Manager may serve the old version for seconds after a write.
SETTLE_SECONDS = 5.0
_TABLE_SECONDS = 10.0


def put_in_force(stack: Stack, name: str) -> str | None:
    """Mark a channel whose secret was changed; say and return (ISO 8601) from when on no door takes what was revoked.

    Return None, after a warning, if the mark could not be written, or on Ctrl-C.
    """
    try:
        _mark(stack, name)
        if not stack.is_local:
            # A function may have read the old version after the first mark.
            with terminal.status("waiting until Secrets Manager serves the new version …"):
                stack.effects.sleep(SETTLE_SECONDS)
            _mark(stack, name)
    # The secret is stored: the new credential is printed in any case.
    except (LedgerError, StackMissingError, KeyboardInterrupt) as error:
        why = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
        seconds = stack.parameters.get("SecretCacheSeconds", "300")
        terminal.say(
            f"warning: stored, but functions that run may take what was revoked for {seconds} s more, and one that "
            f"can't read the secret for longer ({why}); run the command again"
        )
        return None
    moment = datetime.fromtimestamp(stack.effects.clock() + EPOCH_SECONDS, UTC)
    terminal.say(f"channel {name}: what was revoked is refused everywhere from {moment:%H:%M:%S} UTC on")
    return moment.isoformat(timespec="seconds")


def table(stack: Stack) -> Table:
    """Return the ledger's table. Raises StackMissingError."""
    plain = Table(stack.dynamodb, stack.output("LedgerTableName"), stack.effects.clock)
    return plain.within(Deadline(_TABLE_SECONDS, stack.effects.ticks), "table", at_least=1.0, at_most=_TABLE_SECONDS)


def _mark(stack: Stack, name: str) -> None:
    credentials.revoke(table(stack), name, uuid.uuid4().hex[:12], stack.effects.clock())

"""Marks of changed channels in the ledger's table: a function with an older copy reads the channel's secret again."""

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial

from relay.channels.cache import MARKS_SECONDS
from relay.deadline import Deadline
from relay.failures import LedgerError
from relay.ledger import credentials
from relay.ledger.table import Table
from relayctl import moments, terminal
from relayctl.stack.deployed import Stack
from relayctl.stack.outputs import StackMissingError

# Secrets Manager may serve the old version for seconds after a write.
SETTLE_SECONDS = 5.0
_TABLE_SECONDS = 10.0


def put_in_force(
    stack: Stack,
    *names: str,
    effect: str = "revoked credentials are refused",
    revokes: bool = True,
    advice: str = "run the command again",
) -> str | None:
    """Mark the secrets of channels as changed, so that each function reads them again.

    Return the time (ISO 8601) from which no function uses an older copy of a secret. This time is also written to
    stderr, with `effect`, the words for the change that is then in force. If the mark could not be written, or on
    Ctrl-C, return None after a warning that ends with `advice`.

    A function that finds the mark may fail to read the secret. Then it refuses requests if `revokes` is True. If
    `revokes` is False, it works with its older copy.
    """
    try:
        _mark(stack, names, revokes=revokes)
        if not stack.is_local:
            # A function may have read the old version after the first mark.
            with terminal.status("waiting until Secrets Manager serves the new version …"):
                stack.effects.sleep(SETTLE_SECONDS)
            _mark(stack, names, revokes=revokes)
    # The secret is stored: the caller must still print the new credential.
    except (LedgerError, StackMissingError, KeyboardInterrupt) as error:
        why = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
        seconds = stack.parameters.get("SecretCacheSeconds", "300")
        terminal.say(
            f"warning: stored, but running functions may work with the settings before for {seconds} s more, and a "
            f"function that cannot read the secret for longer ({why}); {advice}"
        )
        return None
    at = stack.effects.clock() + MARKS_SECONDS
    for name in names:
        terminal.say(f"channel {name}: {effect} everywhere from {moments.clock_in_zones(at)} on")
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def bounded_table(stack: Stack) -> Table:
    """Return the ledger's table, with a time limit of ten seconds for all calls together. Raises StackMissingError."""
    deadline = Deadline(_TABLE_SECONDS, stack.effects.ticks)
    return stack.table().limited(partial(deadline.run, part="table", at_least=1.0, at_most=_TABLE_SECONDS))


def _mark(stack: Stack, names: Iterable[str], *, revokes: bool) -> None:
    mark, table = credentials.revoke if revokes else credentials.mark_changed, bounded_table(stack)
    for name in names:
        mark(table, name, uuid.uuid4().hex[:12], stack.effects.clock())

"""Rate limits of BigPanda's endpoints (calls a second). All functions count their calls in the ledger's table."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from relay.channels.channel import BigPandaAccess
from relay.failures.errors import NoAnswer
from relay.failures.reasons import Reason
from relay.ledger.table import Table

# Limits of one endpoint: docs/vendors.md, "BigPanda's API".
CALLS_A_SECOND = 5
USERS_A_SECOND = 2
# Calls a second for all questions but the first one about a resolve. The rest is for first questions, so that a flood
# of invented incidents delays no question about a true one.
REPEATED_CALLS_A_SECOND, REPEATED_SECONDS = 2, 4
# Number of seconds of the clock in which a call looks for room before it fails.
MAX_WAITS = 4
# Time to live of a count. It is used within its own seconds only.
RATE_KEPT_SECONDS = 3600.0


@dataclass(frozen=True)
class RateLimit:
    """Rate limiter for BigPanda's API, shared by all functions through counts in the ledger's table.

    Attributes:
        table: The ledger's table, which has the counts.
        clock: The time in epoch seconds.
        sleep: Waits for a number of seconds.
    """

    table: Table
    clock: Callable[[], float]
    sleep: Callable[[float], object]

    def wait(self, access: BigPandaAccess, endpoint: str, *, calls: int = 1) -> None:
        """Wait until `calls` further calls are within the rate limit of an endpoint of BigPanda's API, and count them.

        `endpoint` is a short name; `users` has a lower limit than the others. The limit holds for each API key. Raises
        NoAnswer after MAX_WAITS seconds without room, and LedgerError when the table fails.
        """
        limit = USERS_A_SECOND if endpoint == "users" else CALLS_A_SECOND
        for _ in range(MAX_WAITS):
            second = int(self.clock())
            if self._counted(access, endpoint, second, calls) <= limit:
                return
            self.sleep(max(0.0, second + 1 - self.clock()))
        raise NoAnswer(Reason.PACED, "BigPanda's rate limit is used up by other calls", was_sent=False)

    def has_room_to_repeat(self, access: BigPandaAccess, calls: int) -> bool:
        """Count a question of `calls` calls that is not the first about its resolve, and return True if it has room.

        The room is counted in parts of the clock's time that are long enough for a question in several environments.
        Raises LedgerError when the table fails.
        """
        counted = self._counted(access, "repeated", int(self.clock() // REPEATED_SECONDS), calls)
        return counted <= max(calls, REPEATED_SECONDS * REPEATED_CALLS_A_SECOND)

    def _counted(self, access: BigPandaAccess, what: str, part: int, calls: int) -> float:
        """Count calls of the kind `what` in a part of the clock's time, and return their number in it."""
        account = hashlib.sha256(access.api_key.encode()).hexdigest()[:16]
        counted = self.table.update(f"rate/{account}/{what}/{part}", add={"calls": calls}, lasts=RATE_KEPT_SECONDS)
        return counted["calls"] if counted else 0

    def has_room(self, what: str, most: int) -> bool:
        """Count an event of the kind `what`, such as a channel's callbacks, in the clock's current minute.

        Returns True if this minute now has at most `most` events of this kind, else False. Raises LedgerError when the
        table fails.
        """
        name = f"rate/{what}/{int(self.clock() // 60)}"
        counted = self.table.update(name, add={"calls": 1}, lasts=RATE_KEPT_SECONDS)
        return counted is None or counted["calls"] <= most

"""BigPanda's limits: how often its endpoints may be asked in a second, counted over all functions."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from relay.channels.channel import Access
from relay.errors import NoAnswer, Reason
from relay.ledger.table import Table

# The limits of one endpoint (docs/vendors.md, "BigPanda's API"), and how often to wait for one's turn.
CALLS_A_SECOND = 5
USERS_A_SECOND = 2
TURNS = 4
# A count of calls in one second is of no use a little later.
RATE_KEPT_SECONDS = 3600.0


@dataclass(frozen=True)
class Turns:
    """Lets so many ask as may. `clock` gives epoch seconds, `sleep` waits for seconds."""

    table: Table
    clock: Callable[[], float]
    sleep: Callable[[float], object]

    def wait(self, access: Access, endpoint: str, *, calls: int = 1) -> None:
        """Wait until so many more calls in this second are within the limit of an endpoint.

        Raises NoAnswer if that takes too long, and LedgerError when the table fails.
        """
        account = hashlib.sha256(access.api_key.encode()).hexdigest()[:16]
        limit = USERS_A_SECOND if endpoint == "users" else CALLS_A_SECOND
        for _ in range(TURNS):
            second = int(self.clock())
            name = f"rate/{account}/{endpoint}/{second}"
            counted = self.table.update(name, add={"calls": calls}, lasts=RATE_KEPT_SECONDS)
            if counted is None or counted["calls"] <= limit:
                return
            self.sleep(max(0.0, second + 1 - self.clock()))
        raise NoAnswer(Reason.PACED, "many others are asking BigPanda now", asked=False)

    def has_room(self, what: str, most: int) -> bool:
        """Count one more of something in this minute; return False if there were `most` of it already.

        Raises LedgerError when the table fails.
        """
        name = f"rate/{what}/{int(self.clock() // 60)}"
        counted = self.table.update(name, add={"calls": 1}, lasts=RATE_KEPT_SECONDS)
        return counted is None or counted["calls"] <= most

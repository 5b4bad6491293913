"""Dead letter of an incident: its last dead-lettered state, and its revival by an operator's replay. Pure code."""

from copy import replace
from typing import NamedTuple

from relay.incidents.transition import State


class DeadLetterRecord(NamedTuple):
    """Record of an incident's last dead-lettered state. Times are epoch seconds, 0 for never.

    To revive a state is to make it owed again, after an operator replayed its job.

    Attributes:
        state: The state, without alerts; None if there is none, or it was revived.
        at: When the state's message was dead-lettered. It distinguishes a replayed message from older copies of
            the message's job.
        revived_at: When the newest state was revived; 0 if it was not, or if a newer state came since.
    """

    state: State | None = None
    at: float = 0.0
    revived_at: float = 0.0

    def has(self, state: State) -> bool:
        """True if `state` is the dead-lettered state."""
        return state.is_of_same_share(self.state)

    def replaced(self, state: State, at: float) -> "DeadLetterRecord":
        """Return the record with `state` dead-lettered at `at` (epoch seconds).

        If it records that state already, the later time is kept.
        """
        return DeadLetterRecord(state.without_alerts(), max(at, self.at) if self.has(state) else at)

    def revived(self, at: float) -> "DeadLetterRecord":
        """Return the record after its state became owed again at `at` (epoch seconds), by a replay."""
        return replace(self, state=None, revived_at=at)

    def settled(self) -> "DeadLetterRecord":
        """Return the record without a state, since the incident was announced or needs no signal."""
        return replace(self, state=None)

    def superseded(self) -> "DeadLetterRecord":
        """Return the record without the time of the revival, since a state newer than the revived one came."""
        return replace(self, revived_at=0.0)

"""Dead letter of an incident: its last dead-lettered state, and the revival of that state. Pure code."""

from copy import replace
from typing import NamedTuple

from relay.incidents.transition import State


class DeadLetter(NamedTuple):
    """Last dead-lettered state of an incident. Times are epoch seconds, 0 for never.

    Attributes:
        state: The state, without alerts; None if there is none, or it was revived.
        mark: The mark of the state's message: when it was dead-lettered.
        revived_at: When the newest state came back from the dead-letter queue; 0 if it did not, or did not stay.
    """

    state: State | None = None
    mark: float = 0.0
    revived_at: float = 0.0

    def holds(self, state: State) -> bool:
        """True if that state is dead-lettered."""
        return state.is_of_same_share(self.state)

    def replaced(self, state: State, mark: float) -> "DeadLetter":
        """Return the dead letter of a state whose message has that mark. The mark of a state never goes back."""
        return DeadLetter(state.without_alerts(), max(mark, self.mark) if self.holds(state) else mark)

    def revived(self, at: float) -> "DeadLetter":
        """Return the dead letter after its state became owed again at that time."""
        return replace(self, state=None, revived_at=at)

    def settled(self) -> "DeadLetter":
        """Return the dead letter without a state, after the incident was announced or needs no signal."""
        return replace(self, state=None)

    def superseded(self) -> "DeadLetter":
        """Return the dead letter after a newer state than the revived one came."""
        return replace(self, revived_at=0.0)

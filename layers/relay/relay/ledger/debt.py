"""Debt of an incident: its newest state, while that state is owed, and the attempts to announce it. Pure code."""

from copy import replace
from typing import NamedTuple

from relay.failures.reasons import Reason
from relay.incidents.transition import State
from relay.ledger.row import Row
from relay.ledger.wait import Slot

# Rows of given-up states are due so long after them. A reader of the index reads at most a number of rows, the earliest
# first, and states that still wait must be among them. It is the lifetime of an entry.
BEHIND_SECONDS = 90 * 24 * 3600.0


class Debt(NamedTuple):
    """Debt of an incident: its newest state, while that state is owed. Times are epoch seconds, 0 for never.

    A state is owed if the channel's policy says to signal it, and it is not announced yet.

    Attributes:
        since: When the first state came that is owed; None if nothing is owed.
        is_notified: True if the fallback topic was notified of the debt.
        plan: Number of the message that wakes the newest state, or, if only a row does, of the next one. A message of
            that state with a lower number is dropped: a later one took its place. The number survives the debt.
        attempts: Number of attempts of the newest state.
        reason: Reason of the last failed attempt, or of the wait of a replayed or paused state; empty if there is none.
        slot: Time that the rate limiter reserved for the incident's next signal; None if there is none.
        row: The debt's row in the table's `due` index, which the sweeper reads; None if nothing is owed, the first
            attempts are not over, or an operator dropped the dead-lettered state.
        paused_until: End of the channel's pause for which the state waited last. The delay until the fallback topic is
            notified counts from then.
        paused_by: Id of that pause (`Pause.id`); empty if the state waited for none.
        is_page_missing: True if a critical signal has no page, and the fallback topic is not notified of that yet.
        claim_hold_until: End of the debt's only wait for BigPanda's answer about a resolve; 0 if it did not wait yet.
        dead_lettered_at: When the newest state was dead-lettered; 0 if it was not, or if it was replayed since.
        revived_at: When the newest state was revived: made owed again, after an operator replayed its message.
    """

    since: float | None = None
    is_notified: bool = False
    plan: int = 0
    attempts: int = 0
    reason: str = ""
    slot: Slot | None = None
    row: Row | None = None
    paused_until: float = 0.0
    paused_by: str = ""
    is_page_missing: bool = False
    claim_hold_until: float = 0.0
    dead_lettered_at: float = 0.0
    revived_at: float = 0.0

    @property
    def is_critical(self) -> bool:
        """True if the debt's row is critical (see `Row.is_critical`); False without a row."""
        return self.row is not None and self.row.is_critical

    @property
    def due(self) -> float:
        """Time from which the sweeper acts on the debt (epoch seconds); 0 without a row in the table's index."""
        return self.row.due if self.row else 0.0

    @property
    def job(self) -> str:
        """Name of the job that is stored for the debt (`Job.stored_name`); empty if none is stored."""
        return self.row.job if self.row else ""

    def paused(self, until: float, by: str) -> "Debt":
        """Return the debt of a state that waits for the end of a pause, at `until` (epoch seconds).

        `by` is the id of the pause.
        """
        return replace(self, paused_until=until, paused_by=by, reason=Reason.PAUSED)

    def resumed(self, ended: float) -> "Debt":
        """Return the debt after the channel's pause ended at `ended` (epoch seconds), maybe earlier than planned."""
        return replace(self, paused_until=ended) if self.paused_until > ended else self

    def owing(self, state: State, slot: Slot | None = None) -> "Debt":
        """Return the debt with `state` owed. `since` stays the arrival of the first owed state.

        `slot` is the time that the rate limiter reserved; None keeps the earlier slot.
        """
        return replace(self, since=state.came if self.since is None else self.since, slot=slot or self.slot)

    def started_anew(self) -> "Debt":
        """Return the debt for a newer state than before: without attempts, reason, dead letter and revival."""
        return replace(self, attempts=0, reason="", dead_lettered_at=0.0, revived_at=0.0)

    def failed(self, attempts: int, reason: str) -> "Debt":
        """Return the debt with `attempts` added to its attempts; the last one failed for `reason`."""
        return replace(self, attempts=self.attempts + attempts, reason=reason)

    def announced(self, *, is_owed: bool) -> "Debt":
        """Return the debt after xMatters accepted a signal.

        Nothing is owed then, unless `is_owed` is True: a newer state is owed.
        """
        if is_owed:
            return replace(self, reason="")
        return replace(self.settled(), slot=self.slot, reason="")

    def settled(self) -> "Debt":
        """Return the debt with nothing owed: no slot, no row (see `with_row`), and not notified."""
        kept = self.with_row(None)
        return replace(
            kept,
            since=None,
            is_notified=False,
            slot=None,
            paused_until=0.0,
            paused_by="",
            claim_hold_until=0.0,
            dead_lettered_at=0.0,
        )

    def dead_lettered(self, state: State, at: float) -> "Debt":
        """Return the debt after the newest state, `state`, was dead-lettered at `at` (epoch seconds).

        It keeps a row without a stored job: the fallback topic is notified of a critical, and the state counts as given
        up until it is replayed, overtaken or dropped.
        """
        is_to_notify = self.is_page_missing or (state.is_critical and not self.is_notified)
        due = at if is_to_notify else at + BEHIND_SECONDS
        row = Row(due, is_critical=state.is_critical)
        return replace(self.owing(state).with_row(row), dead_lettered_at=max(at, self.dead_lettered_at))

    def revived(self, at: float) -> "Debt":
        """Return the debt after its dead-lettered state became owed again at `at` (epoch seconds), by a replay."""
        return replace(self, reason="", dead_lettered_at=0.0, revived_at=at)

    def with_row(self, row: Row | None) -> "Debt":
        """Return the debt with this row in the table's `due` index; None removes the row.

        As long as the fallback topic must be notified of a missing page, the debt always has a row, a critical one.
        """
        if self.is_page_missing:
            row = replace(row or Row(0.0), is_critical=True)
        return replace(self, row=row)

    def postponed(self, until: float) -> "Debt":
        """Return the debt with a row that is not due before `until` (epoch seconds), since its job has to wait.

        A debt without a row stays as it is.
        """
        return replace(self, row=replace(self.row, due=max(self.row.due, until), rung=0, begun=0)) if self.row else self

    def rung(self, until: float) -> "Debt":
        """Return the debt after the sweeper sent it a message ("bell"), or invoked the worker.

        The sweeper acts on the debt again at `until` (epoch seconds).
        """
        return replace(self, row=replace(self.row, due=until, rung=self.row.begun + 1)) if self.row else self

    def bell_begun(self) -> "Debt":
        """Return the debt after a worker began to work a message of the sweeper.

        A bell from before the last recorded result does not count.
        """
        return replace(self, row=replace(self.row, begun=self.row.rung)) if self.row else self

    def with_page_missing(self, now: float) -> "Debt":
        """Return the debt after no page was found for a critical signal.

        It has a row in the table's index, due at `now` (epoch seconds), so that the fallback topic is notified.
        """
        # The row of a given-up state is due long after it.
        row = self.row if self.row and self.row.job else Row(now)
        return replace(self, is_page_missing=True, row=replace(row, is_critical=True))

    def notified(self, newest: State | None) -> "Debt":
        """Return the debt after the fallback topic was notified of it. `newest` is the incident's newest state.

        A row without a stored job was there for the notification only, and is removed.
        """
        row = self.row if self.row and self.row.job else None
        if row and newest:
            row = replace(row, is_critical=newest.is_critical)
        return replace(self, is_notified=self.is_notified or self.since is not None, is_page_missing=False, row=row)

"""Follower of replayed jobs: reads their outcomes from the entries of their incidents in the ledger."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from relay.delivery.task import entry_key_of
from relay.failures import LedgerError, Reason
from relay.ledger.entry import Entry
from relay.ledger.table import Ledger
from relayctl.dlq.mover import LONGEST_SLEEP_SECONDS, Became, Fate, Moved

# Time between two reads of the entries.
POLL_SECONDS = 2.0
# The follower stops when no entry changed for this time.
STILL_SECONDS = 60.0
# The follower stops after this many failed reads in a row.
MAX_FAILED_POLLS = 5


def fate(moved: Moved, entry: Entry) -> Fate:
    """Return the outcome of a replayed job, as far as its incident's ledger entry shows it."""
    state, job = moved.state, moved.job
    if state is None:
        return moved.first_fate
    dead_lettered_at = job.dead_lettered_seconds
    is_received = dead_lettered_at is None or entry.debt.revived_at > dead_lettered_at
    if state.is_of_same_share(entry.announced):
        return Fate(Became.DELIVERED, request_id=_request_id(entry)) if is_received else Fate(Became.NOT_OWED)
    if state.precedes(entry.announced) or state.precedes(entry.newest) or state.is_same(entry.announced):
        return Fate(Became.NOT_OWED)
    if entry.is_given_up and state.is_of_same_share(entry.newest):
        # An equal time is that of the moved message: no worker has received it yet.
        is_again = dead_lettered_at is None or entry.debt.dead_lettered_at > dead_lettered_at
        return Fate(Became.DEAD_LETTERED, entry.debt.reason or None) if is_again else Fate(Became.WAITING)
    if state.is_of_same_share(entry.newest):
        if entry.debt.since is None:
            return Fate(Became.NOT_OWED)
        if is_received:
            return Fate(Became.WAITING, Reason.IN_FLIGHT if entry.lease else entry.debt.reason or None)
    return Fate(Became.WAITING)


def _request_id(entry: Entry) -> str | None:
    last = entry.accepted_signals[-1] if entry.accepted_signals else None
    return last.request_id if last and last.at >= entry.debt.revived_at else None


@dataclass
class Follower:
    """Follows replayed jobs: reads their outcomes from the ledger entries of their incidents.

    Attributes:
        ledger: The entries of incidents.
        clock: The time in epoch seconds.
        sleep: Waits for a number of seconds.
        problem: Error of the last read of the ledger; None if it succeeded.
    """

    ledger: Ledger
    clock: Callable[[], float]
    sleep: Callable[[float], object]
    problem: str | None = field(default=None, init=False)

    def follow(
        self, jobs: Sequence[Moved], stopping: Callable[[], bool] = lambda: False
    ) -> Iterator[Mapping[int, Fate]]:
        """Read the outcomes of jobs repeatedly. Yield after each read those that changed, by their index in `jobs`.

        What is yielded is empty if none changed, or if the read failed (see `problem`). The iteration ends when no
        outcome will change any more, when none changed for STILL_SECONDS, after MAX_FAILED_POLLS failed reads in a row,
        or when `stopping` returns True. Jobs that are not signals are not followed.
        """
        fates = {index: moved.first_fate for index, moved in enumerate(jobs) if moved.is_to_follow}
        changed_at, failed = self.clock(), 0
        while fates and not stopping():
            changed = self._changed(jobs, fates)
            failed = failed + 1 if self.problem else 0
            fates = {index: changed.get(index, known) for index, known in fates.items()}
            fates = {index: known for index, known in fates.items() if not known.is_settled}
            changed_at = self.clock() if changed else changed_at
            yield changed
            if failed == MAX_FAILED_POLLS or self.clock() - changed_at >= STILL_SECONDS:
                return
            if fates:
                self._sleep(stopping)

    def _changed(self, jobs: Sequence[Moved], fates: Mapping[int, Fate]) -> dict[int, Fate]:
        try:
            entries = self.ledger.read_many({entry_key_of(jobs[index].job) for index in fates})
        except LedgerError as error:
            self.problem = str(error)
            return {}
        self.problem = None
        changed = {}
        for index, known in fates.items():
            entry = entries.get(entry_key_of(jobs[index].job))
            if entry is not None and (now := fate(jobs[index], entry)) != known:
                changed[index] = now
        return changed

    def _sleep(self, stopping: Callable[[], bool]) -> None:
        until = self.clock() + POLL_SECONDS
        while (left := until - self.clock()) > 0 and not stopping():
            self.sleep(min(left, LONGEST_SLEEP_SECONDS))

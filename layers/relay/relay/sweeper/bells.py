"""Bells: messages of the sweeper, which wake debts (owed states) whose own message is late, or that have none.

If SQS fails, or a state is too old, the sweeper invokes the job worker directly. The sweeper itself dead-letters a job
that workers began too often.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from copy import replace
from dataclasses import dataclass
from functools import partial
from itertools import batched

from relay.channels.policy import Mode
from relay.deadline import Deadline
from relay.delivery.delivery import OVERAGE_SECONDS, STORED_SECONDS
from relay.delivery.rules import MAX_CATCH_UP_SECONDS
from relay.delivery.task import recorded_state
from relay.failures import LedgerError, Reason
from relay.jobs.job import Flag, Job
from relay.jobs.queue import Outbox, envelope_of
from relay.ledger.debt import FALLBACK_DESCRIPTION, MAX_BEGUN, Row
from relay.ledger.entry import Entry
from relay.ledger.rate_limit_and_circuit import circuit_of
from relay.ledger.table import MAX_BATCH
from relay.sweeper.run import DueRow, DueRows, SweeperRun, SweepPolicies, Tools, is_resumed

# Time for a message that the sweeper sent to take effect, before the sweeper acts on its debt again.
BELL_SECONDS = 180.0
# The same for a direct invocation of the worker.
INVOKED_SECONDS = 60.0
# Direct invocations of the worker in a run. They add to those by the queue, and the webhook needs concurrency, too.
MAX_INVOCATIONS = 200
# In one run, the messages of a channel's criticals become visible this much before its others. Workers take messages in
# parallel, so the order of sending alone would not let the criticals ring first.
CRITICALS_FIRST_SECONDS = 5.0
# A state whose last sender left its lease wakes so much later: the ledger may have failed, and its signal is then
# recorded first.
UNRECORDED_SECONDS = MAX_CATCH_UP_SECONDS + 5.0
# Debts of a channel that a run wakes once the open time of its circuit is over, if a pause may hold some of them.
HALF_OPEN_BELLS = 20
# If the retry queue has more visible messages than this, only criticals are woken (docs/decisions.md,
# D-sweeper-backlog).
BACKLOG = 200


@dataclass(frozen=True)
class Bells:
    """Wakes overdue debts, and dead-letters debts at which workers keep failing.

    `invoke` invokes the job worker with a message's text (envelope), and returns False if that fails.
    """

    tools: Tools
    rows: DueRows
    policies: SweepPolicies
    outbox: Outbox
    invoke: Callable[[str], bool]

    def ring_overdue(self, run: SweeperRun, rows: Iterable[DueRow], deadline: Deadline, *, ahead: float = 0.0) -> int:
        """Send messages for overdue debts (owed states), criticals first; return their number.

        A debt counts as overdue `ahead` seconds before its row is due. A run sends a channel at most the messages that
        its rate limit allows in a minute, and none while its circuit is open. If the retry queue has more than BACKLOG
        messages, only criticals are woken. Expired states are woken in spite of the rate limit and the circuit, to be
        dead-lettered, and are not counted.
        """
        overdue = [each for each in rows if self._is_overdue(each, ahead)]
        if not overdue:
            return 0
        self.policies.read(each.channel for each in overdue)
        with_criticals = {each.channel for each in overdue if each.entry.debt.has_critical_row}
        waiting = self.outbox.retries.backlog()
        if waiting is not None and waiting > BACKLOG:
            overdue = [each for each in overdue if each.entry.debt.has_critical_row]
        woken: dict[str, int] = defaultdict(int)
        most: dict[str, int] = {}

        def may_ring(row: DueRow) -> bool:
            if row.channel not in most:
                most[row.channel] = self._most_in_a_run(row.channel) if deadline.remaining() else 0
            return woken[row.channel] < most[row.channel]

        def is_to_see(row: DueRow) -> bool:
            return may_ring(row) or self._expires_at(row) < self.tools.clock()

        for batch in batched(_interleaved(overdue), MAX_BATCH, strict=False):
            for each in self.rows.current(filter(is_to_see, batch)):
                if not deadline.remaining():
                    return sum(woken.values())
                if self._is_overdue(each, ahead) and is_to_see(each):
                    is_second = each.channel in with_criticals and not each.entry.debt.has_critical_row
                    delay = CRITICALS_FIRST_SECONDS if is_second else 0.0
                    delay = UNRECORDED_SECONDS if each.entry.lease else delay
                    ring = partial(self._ring_one, run, each, delay, may_ring=may_ring(each))
                    woken[each.channel] += self.tools.run_logging_failure(ring, otherwise=False)
        return sum(woken.values())

    def _most_in_a_run(self, channel: str) -> int:
        """Return how many of a channel's debts may be woken in one run; of a removed one, to be dead-lettered."""
        policy = self.policies.of(channel)
        if channel in self.policies.removed or policy.mode is Mode.SHADOW:
            return policy.max_per_minute
        try:
            circuit = circuit_of(self.tools.table, channel)
        except LedgerError:
            return 1
        now = self.tools.clock()
        if circuit.is_open(now):
            return 0
        if circuit.open_until is None:
            return policy.max_per_minute
        # One of them probes the circuit, unless a pause holds it.
        may_hold = any(each.when and each.is_active(now) for each in policy.pauses)
        return min(HALF_OPEN_BELLS, policy.max_per_minute) if may_hold else 1

    def _is_overdue(self, row: DueRow, ahead: float) -> bool:
        now, entry = self.tools.clock() + ahead, row.entry
        is_due = entry.debt.due <= now or is_resumed(self.policies, row, now)
        return bool(entry.debt.job) and is_due and not entry.is_busy(now)

    def _expires_at(self, row: DueRow) -> float:
        """Return when the worker will dead-letter a state (epoch seconds); infinity if the policy can't be read.

        A time that is too early does no harm: the worker judges the age itself.
        """
        newest, debt = row.entry.newest, row.entry.debt
        if newest is None or row.channel in self.policies.unread:
            return math.inf
        since = max(newest.came, debt.since or 0.0, debt.revived_at, debt.paused_until, row.entry.quiet_until(newest))
        return since + self.policies.of(row.channel).max_age_seconds

    def _ring_one(self, run: SweeperRun, row: DueRow, delay: float, *, may_ring: bool) -> bool:
        """Wake a debt by its stored job, also above the limit (not `may_ring`) if the state is too old.

        Returns True if the debt counts against the limit.
        """
        job = self.rows.stored_job(row, row.entry.debt.job)
        if job is None:
            self.tools.telemetry.notice("sweeper_failed", f"the stored job of incident {row.incident_id} can't be read")
            # A newer version that was rolled back may have written it. It stays until a version can read it.
            if text := self.rows.ledger.stored(row.key, row.entry.debt.job):
                self.rows.ledger.store(row.key, row.entry.debt.job, text, lasts=STORED_SECONDS)
            self._postpone(row)
            return False
        debt_row = row.entry.debt.row or Row(0.0)
        now, expires_at = self.tools.clock(), self._expires_at(row)
        is_too_old = expires_at < now
        if debt_row.begun >= MAX_BEGUN:
            self._dead_letter(row, job, Reason.EXPIRED if is_too_old else Reason.INTERNAL)
            return False
        if not may_ring and not is_too_old:
            return False
        job = job.planned(row.entry.debt.plan).with_flags(Flag.BELL)
        # A queue that failed is not called again in this run, since each call can take seconds. If no worker began the
        # bell that was sent before, the queue may not wake the worker at all. What is too old waits for no queue.
        is_direct = is_too_old and run.invocations < MAX_INVOCATIONS
        if not is_direct and run.has_queue and not debt_row.is_unbegun:
            run.has_queue = self.outbox.enqueue(job, until=now + delay)
            if run.has_queue:
                # This message may vanish as well.
                self._record_bell(row, min(now + BELL_SECONDS, max(expires_at + OVERAGE_SECONDS, now)))
                return not is_too_old
        if run.invocations < MAX_INVOCATIONS and self.invoke(envelope_of(job)):
            run.invocations += 1
            self._record_bell(row, now + INVOKED_SECONDS)
            return not is_too_old
        return False

    def _dead_letter(self, row: DueRow, job: Job, reason: Reason) -> None:
        newest = row.entry.newest
        if newest is None or not newest.is_same(recorded_state(job, newest)):
            # A newer state is owed, and has a message of its own.
            self._postpone(row)
            return
        plan = row.entry.debt.plan + 1
        dead_lettered = self.outbox.dead_letter(job.with_reason(reason).planned(plan))
        at = dead_lettered.dead_lettered_seconds if dead_lettered else None
        if dead_lettered is None or at is None:
            return
        if newest.is_critical:
            # The fallback topic's message describes the incident with this job.
            with suppress(LedgerError):
                self.rows.ledger.store(row.key, FALLBACK_DESCRIPTION, envelope_of(job), lasts=STORED_SECONDS)
        self.rows.change(row, lambda entry: entry.dead_lettering(newest, at, reason, plan=plan))
        self.tools.telemetry.notice(
            "dead_lettered", f"the job of incident {row.incident_id}: workers failed repeatedly"
        )

    def _postpone(self, row: DueRow) -> None:
        until = self.tools.clock() + BELL_SECONDS
        self.rows.change(row, lambda entry: replace(entry, debt=entry.debt.postponed(until)))

    def _record_bell(self, row: DueRow, until: float) -> None:
        def woken(entry: Entry) -> Entry:
            # The worker may have finished already: its record stays.
            return replace(entry, debt=entry.debt.woken(until)) if entry.debt.row == row.entry.debt.row else entry

        self.rows.change(row, woken)


def _interleaved(rows: Iterable[DueRow]) -> list[DueRow]:
    """Return the rows with criticals first. Among the criticals, and among the others, the channels take turns."""
    ranks: dict[tuple[bool, str], int] = defaultdict(int)
    placed: list[tuple[bool, int, DueRow]] = []
    # First those whose bell no worker began: the worker is invoked directly for them.
    for each in sorted(rows, key=lambda row: not (row.entry.debt.row and row.entry.debt.row.is_unbegun)):
        is_other = not each.entry.debt.has_critical_row
        ranks[is_other, each.channel] += 1
        placed.append((is_other, ranks[is_other, each.channel], each))
    return [each for *_, each in sorted(placed, key=lambda place: place[:2])]

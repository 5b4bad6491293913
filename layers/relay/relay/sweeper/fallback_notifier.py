"""Notifications of the last resort about criticals that are overdue, or that nobody is known to have heard of.

The fallback topic gets one message for each channel. Then the phones, if there are any, are called and texted once
about all channels.
"""

import json
from collections.abc import Mapping, Sequence
from copy import replace
from dataclasses import dataclass
from functools import partial
from itertools import batched
from secrets import SystemRandom
from typing import Any

from relay.channels.policy import NOTIFIED_WITHIN_SECONDS
from relay.deadline import Clock, Deadline
from relay.delivery.delivery import STORED_SECONDS
from relay.delivery.fallback_messages import MAX_NAMED, Fallback, OverdueDebt
from relay.incidents.share import is_open, parse_share
from relay.jobs.job import Job, timestamp
from relay.jobs.queue import MAX_LOGGED_IDS
from relay.ledger.debt import FALLBACK_DESCRIPTION, FOR_OTHERS, Row
from relay.ledger.entry import Entry
from relay.ledger.table import Table
from relay.sweeper.run import (
    AT_ONCE,
    DueRow,
    DueRows,
    SweeperRun,
    SweepPolicies,
    Tools,
    by_channel,
)

# Shortest time between two calls of the phones about one channel, and between two messages to the fallback topic about
# its owed states. Of a critical that nobody heard both tell in the next run: nothing more will ring for it.
NOTIFIED_AGAIN_SECONDS = 300.0
# Debts of a channel that a run checks and marks for the fallback topic; the message counts the others without a check.
# The limit keeps time for the messages of other channels: ten thousand debts of one channel would take a whole run.
MAX_CHECKED = 500
# Request ids of xMatters that a message names for one incident.
MAX_REQUEST_IDS = 3


@dataclass(frozen=True)
class FallbackNotifier:
    """Notifies topic and phones of criticals that are overdue, or that nobody is known to have heard of."""

    tools: Tools
    rows: DueRows
    policies: SweepPolicies
    fallback: Fallback

    def notify(self, run: SweeperRun, rows: Sequence[DueRow], deadline: Deadline) -> int:
        """Notify people of overdue or unheard criticals. Return the number of channels of which people were notified.

        People are not notified of a canary's incident, but its entry is marked as if they were.
        """
        self.policies.read(each.channel for each in rows)
        overdue = [each for each in rows if self._is_to_notify(each)]
        # Of a canary nobody is told here: its receipt ends, as if people had been told.
        canaries = [each for each in overdue if each.is_canary and self._may_notify(run, each)]
        real = [each for each in overdue if not each.is_canary]
        # A message names all that is overdue in its channel, since it delays the next message.
        channels = {each.channel for each in real if self._may_notify(run, each)}
        waiting = by_channel(sorted((each for each in real if each.channel in channels), key=lambda each: each.since))
        notified: dict[str, list[DueRow]] = {}
        overdue_by_channel: dict[str, list[DueRow]] = {}
        for some in batched(sorted(waiting.items(), key=lambda each: len(each[1])), AT_ONCE, strict=False):
            if not deadline.remaining():
                break
            # Read again, since the index lags: no person must be woken for a debt that was settled meanwhile.
            current = self.rows.current(each for _, rows in some for each in rows[:MAX_CHECKED])
            due = by_channel(each for each in current if self._is_to_notify(each) and not self._is_held(each))
            # What made the channel's message due may have been settled meanwhile, too.
            due = {name: rows for name, rows in due.items() if any(self._may_notify(run, each) for each in rows)}
            unchecked = {channel: len(rows[MAX_CHECKED:]) for channel, rows in some}
            notified |= self._notify_some(run, due, unchecked)
            overdue_by_channel |= due
        # After the messages of all channels, which a service that hangs must not delay.
        others = sum(len(waiting[channel][MAX_CHECKED:]) for channel in overdue_by_channel)
        call = partial(self._call_phones, run, overdue_by_channel, others)
        none: dict[str, list[DueRow]] = {}
        notified |= self.tools.run_logging_failure(call, otherwise=none)
        now = self.tools.clock()
        told = [*canaries, *(each for rows in notified.values() for each in rows)]
        marks = [partial(self._mark, each, now, deadline) for each in told]
        ends = [
            partial(self._end_receipt, each, deadline)
            for each in rows
            if self._awaits_nothing(each.channel, each.entry)
        ]
        self.tools.at_once([partial(self.tools.run_logging_failure, each, otherwise=None) for each in [*marks, *ends]])
        return len(notified)

    def _may_notify(self, run: SweeperRun, row: DueRow) -> bool:
        is_late = self.tools.clock() - run.notified.get(row.channel, 0.0) >= NOTIFIED_AGAIN_SECONDS
        return is_late or self._is_unheard(row)

    def _is_unheard(self, row: DueRow) -> bool:
        """True if a critical rang, but a step of its proof (receipt) is late or failed: nothing else rings for it."""
        return bool(self._missed(row)) and not _owes_critical(row.entry)

    def _awaits_nothing(self, channel: str, entry: Entry) -> bool:
        policy = self.policies.of(channel)
        # A channel that was removed by mistake may come back.
        age = self.tools.clock() - entry.receipt.since
        if channel in self.policies.unread or (channel in self.policies.removed and age < NOTIFIED_WITHIN_SECONDS):
            return False
        return entry.receipt.is_open and not entry.receipt.awaits_a_step(policy)

    def _end_receipt(self, row: DueRow, deadline: Deadline) -> None:
        def ended(entry: Entry) -> Entry:
            return replace(entry, receipt=entry.receipt.ended()) if self._awaits_nothing(row.channel, entry) else entry

        if deadline.remaining():
            self.rows.change(row, ended)

    def _notify_some(
        self, run: SweeperRun, due: Mapping[str, list[DueRow]], unchecked: Mapping[str, int]
    ) -> dict[str, list[DueRow]]:
        """Publish a message for each channel in `due`. Return the debts of each channel whose message SNS accepted."""
        publish = (partial(self._publish, channel, rows, unchecked[channel]) for channel, rows in due.items())
        answers = self.tools.at_once(
            [partial(self.tools.run_logging_failure, each, otherwise=False) for each in publish]
        )
        notified = [channel for channel, is_notified in zip(due, answers, strict=True) if is_notified]
        for channel, rows in due.items():
            missed = {each.incident_id: step for each in rows if (step := self._missed(each))}
            ids, is_notified = [each.incident_id for each in rows], channel in notified
            self.tools.telemetry.notified(channel, ids, missed, is_notified=is_notified)
        if notified:
            run.record_notified(self.tools.table, notified, self.tools.clock())
        return {channel: due[channel] for channel in notified}

    def _call_phones(self, run: SweeperRun, due: Mapping[str, list[DueRow]], others: int) -> dict[str, list[DueRow]]:
        """Call and text the phones about the channels in `due`. Return their debts if AWS accepted any of it."""
        debts = [self._brief_debt(each) for rows in due.values() for each in rows]
        failures = self.fallback.call(list(due), debts, others) if debts else {}
        accepted = [way for way, failure in failures.items() if not failure]
        if failures:
            failed = {way: failure for way, failure in failures.items() if failure}
            # The incidents are in the lines about the topic.
            self.tools.telemetry.logger.warning(
                "fallback phones called" if accepted else "no fallback phone could be called about critical incidents",
                channels=list(due)[:MAX_LOGGED_IDS],
                count=len(due),
                accepted=accepted,
                failed=failed or None,
            )
        if not accepted:
            return {}
        run.record_notified(self.tools.table, due, self.tools.clock())
        return dict(due)

    def _mark(self, row: DueRow, now: float, deadline: Deadline) -> None:
        """Record that people were told of a critical; if nobody heard it, owe it to `unanswered_recipients`, too."""
        # Without time nothing is recorded, so that the next message repeats the incident.
        if deadline.remaining():
            missed = self._missed(row)
            # If the policy can't be read, the worker that has one decides.
            may_have_others = self.policies.of(row.channel).unanswered_recipients or row.channel in self.policies.unread
            has_others = bool(missed and may_have_others)

            def notified(entry: Entry) -> Entry:
                changed = entry.fallback_notified(row.entry, missed, now)
                # Of the entry as it is now: a share may have come while the message was published.
                current = replace(row, entry=entry)
                return changed.owing_others(self._row_for_others(current, now), now) if has_others else changed

            self.rows.change(row, notified)

    def _row_for_others(self, row: DueRow, now: float) -> Row | None:
        """Store the job that signals the policy's `unanswered_recipients`, and return the row that wakes it.

        None if the ledger has no job of the newest state.
        """
        policy, newest = self.policies.of(row.channel), row.entry.newest
        job = self.rows.stored_job(row, FOR_OTHERS)
        if job is None or newest is None or (job.version, job.digest) != (newest.version, newest.digest):
            return None
        lasts = policy.max_age_seconds + STORED_SECONDS
        # Marked as replayed: no worker sends it without the ledger, which alone knows whom it is for.
        self.rows.store(row, job._replace(revived_at=timestamp(now)), lasts=lasts)
        return Row(now, job.stored_name)

    def _publish(self, channel: str, rows: Sequence[DueRow], unchecked: int) -> bool:
        debts = [self._debt(each) for each in rows[:MAX_NAMED]]
        return self.fallback.notify(channel, debts, others=len(rows) - len(debts) + unchecked)

    def _is_to_notify(self, row: DueRow) -> bool:
        entry, policy, now = row.entry, self.policies.of(row.channel), self.tools.clock()
        if policy.stops_all(now):
            return False
        if self._missed(row):
            return True
        if not entry.debt.has_critical_row or entry.debt.is_notified or not entry.debt.is_owed:
            return False
        # Nothing will ring of itself for a given-up state, so there is nothing to wait for.
        delay_start = self.policies.with_holds(row, now).delay_start or now
        return entry.debt.is_given_up or now - delay_start >= policy.fallback_after_seconds

    def _missed(self, row: DueRow) -> str:
        """Return the step of a critical (`Missed`) that is late, or that failed; empty for none."""
        policy = self.policies.of(row.channel)
        return row.entry.receipt.missed_step(policy, self.tools.clock()) if row.entry.is_awaited else ""

    def _is_held(self, row: DueRow) -> bool:
        """True if an active pause with conditions holds a row's state. The entry may not record that pause."""
        active = [each for each in self.policies.of(row.channel).pauses if each.is_active(self.tools.clock())]
        # Nothing signals a given-up state after the pause, and the critical of a receipt rang.
        if row.entry.debt.is_given_up or not _owes_critical(row.entry) or not any(each.when for each in active):
            return False
        if (job := self._stored_job(row)) is None:
            return False
        # Imported here, since most channels have no pause: this keeps the import out of cold starts.
        from relay.channels.routes import pauses_for  # noqa: PLC0415

        share = parse_share(job.body)
        return bool(pauses_for(share, active, is_open=is_open(share)))

    def _debt(self, row: DueRow) -> OverdueDebt:
        """Return the description of an owed critical: from the stored job, or from the little that the entry keeps."""
        entry, brief = row.entry, self._brief_debt(row)
        job = self._stored_job(row)
        described = OverdueDebt.of_job(job) if job else brief
        criticals = [each for each in entry.accepted_signals if each.is_critical and each.at >= entry.receipt.since]
        pages = [signal.page_number for signal in criticals if signal.page_number]
        without_page = tuple(
            each.request_id
            for each in entry.accepted_signals
            if each.is_page_missing and each.is_open and each.at >= entry.receipt.since
        )
        return replace(
            described,
            since=entry.receipt.since if brief.missed else row.since,
            reason=entry.debt.reason or described.reason,
            is_dead_lettered=entry.debt.is_given_up,
            missed=brief.missed,
            request_ids=without_page[-MAX_REQUEST_IDS:],
            page=pages[-1] if pages else "",
            description=described.description or brief.description,
            recipients=described.recipients or entry.receipt.recipients,
        )

    def _brief_debt(self, row: DueRow) -> OverdueDebt:
        missed = "" if _owes_critical(row.entry) else self._missed(row)
        return OverdueDebt(row.incident_id, row.since, missed=missed, description=row.entry.about.title)

    def _stored_job(self, row: DueRow) -> Job | None:
        """Return the job that describes a critical; None if none is stored."""
        # A job that is stored as a description may be of an earlier critical, unless this one made no page.
        if not _owes_critical(row.entry) and not row.entry.receipt.has_no_page:
            return None
        name = row.entry.debt.job if _owes_critical(row.entry) else ""
        return self.rows.stored_job(row, name or FALLBACK_DESCRIPTION)


def _owes_critical(entry: Entry) -> bool:
    """True if the entry owes a critical: the message then describes it, and not the receipt of an earlier critical."""
    return entry.debt.is_owed and entry.newest is not None and entry.newest.is_critical


# Key of the record of a test: `at` (epoch seconds), and the `ways` whose number a person typed. It is kept for so long
# that doctor asks for a new test before.
TEST_KEY = "fallback/test"
TEST_KEPT_SECONDS = 2 * 365 * 86_400.0
# The ways of a test have different numbers of these, so that a typed number tells its way.
NUMBERS = range(1000, 10_000)


def carry_out(asked: Mapping[str, Any], fallback: Fallback, table: Table, clock: Clock) -> dict[str, Any]:
    """Test the last resort (topic and phones) for `relayctl fallback test`, in two requests of relayctl (`asked`).

    The first request sends a short number by each way, such as a phone call. Its result has a list `ways`, with `way`
    (the name), `number` and `failure` of each; `failure` is empty if AWS accepted the test. The second request has a
    list `confirmed`: the ways whose number reached people. The list is recorded, and the result is empty. Raises
    LedgerError.
    """
    if "confirmed" in asked:
        record = {"at": clock(), "ways": list(asked["confirmed"])}
        table.store(TEST_KEY, json.dumps(record), lasts=TEST_KEPT_SECONDS)
        return {}
    ways = fallback.ways
    numbers = {way: str(number) for way, number in zip(ways, SystemRandom().sample(NUMBERS, len(ways)), strict=True)}
    failures = fallback.test(numbers)
    return {"ways": [{"way": way, "number": numbers[way], "failure": failures[way]} for way in numbers]}

"""Sweeper: reads the rows of all debts every minute, notifies the fallback topic, and replaces vanished messages.

A state that is owed after its first attempts has a message on the retry queue and a row in the ledger's `due` index. A
message can vanish, wait for a busy worker, or not be there at all because the wait is long or SQS is down. The row
cannot, so the sweeper works from the rows. One run after the other; two at once do no harm, since a lease lets one run.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import replace
from dataclasses import dataclass, field
from functools import partial
from itertools import batched
from typing import Any, NamedTuple, Protocol

from relay.channels.cache import ChannelCache
from relay.channels.policy import Policy
from relay.deadline import Deadline
from relay.delivery.debts import OVERAGE_SECONDS, STORED_SECONDS
from relay.delivery.fallback import MAX_NAMED, Debt, Fallback
from relay.delivery.task import kept_state
from relay.entrypoints.sweeper_run import Run
from relay.errors import ChannelError, LedgerError, Reason
from relay.jobs.envelope import Job, UnreadableMessage, seconds_of
from relay.jobs.outbox import Keeper
from relay.ledger.entry import Entry
from relay.ledger.ledger import Ledger
from relay.ledger.rates import FLOODED_SECONDS, Rates
from relay.ledger.row import CRITICAL, OTHER, WORDS, Row, shards
from relay.ledger.table import MAX_BATCH, Table
from relay.telemetry import Telemetry

# Of the function's 60 seconds: the next run starts when this one is surely over.
RUN_SECONDS = 45.0
# Of those, the fallback topic has so many.
NOTIFY_SECONDS = 20.0
# Secrets that can't be read must not take the time of everything else.
POLICY_SECONDS = 8.0
# One channel is told of no more often than this.
NOTIFIED_AGAIN_SECONDS = 300.0
# A message that the sweeper sent has so much time to come, before another takes its place.
HEALED_SECONDS = 180.0
# A worker that the sweeper invoked has so much time, before it is invoked again.
INVOKED_SECONDS = 60.0
# Invocations of the worker in a run: they come on top of those by the queue, and the webhook needs concurrency, too.
MAX_INVOCATIONS = 200
# After so many jobs that a worker began and that came to nothing, the job is dead-lettered (docs/decisions.md,
# D-poison-debt).
MAX_BEGUN = 5
# With more messages than this to be received now, the retry queue is behind, and new ones would make it worse
# (docs/decisions.md, D-sweeper-backlog).
BACKLOG = 200
# Calls at the same time: a client of AWS keeps ten connections.
AT_ONCE = 10
# What one run reads of a shard: 16 shards hold no more in any storm that was thought of.
MAX_ROWS = 5000
# A channel is sick, and has a log line, if something is owed for so long.
SICK_SECONDS = 120.0
# A run checks and marks no more debts of a channel for the fallback topic; its message counts the others, too. The many
# debts of one channel must not take the time that the messages of other channels need (docs/decisions.md,
# D-sweeper-fairness).
MAX_CHECKED = 500
# A message names no more of xMatters' request ids for an incident.
MAX_REQUEST_IDS = 3


class AtOnce(Protocol):
    """Makes several calls at the same time."""

    def __call__[T](self, calls: Sequence[Callable[[], T]]) -> list[T]:
        """Return the results in the order of the calls."""


class Owed(NamedTuple):
    """A row of the index: the entry's key, the entry as the index has it, and its channel."""

    key: str
    entry: Entry
    channel: str

    @property
    def incident_id(self) -> str:
        """The incident's id, or its hash if the id is too long for a key."""
        return self.key.split("/", 3)[3]

    @property
    def since(self) -> float:
        """The time from which the state is owed, in epoch seconds; of one without a page, the time when it came."""
        entry = self.entry
        if entry.owed_since is not None or entry.announced is None:
            return entry.owed_since or entry.row_due
        return entry.announced.came


@dataclass(frozen=True)
class Sweeper:
    """One run of the sweeper after the other.

    Attributes:
        ledger: the rows and stored jobs.
        table: the table that holds the run's lease.
        channels: gives the policies of channels with rows.
        keeper: the queues.
        fallback: the fallback topic.
        telemetry: logs and metrics.
        backlog: counts the messages of the retry queue that can be received now; None if SQS does not say.
        invoke: invokes the job worker with an envelope, without SQS; False if that fails.
        at_once: makes calls, AT_ONCE of them at the same time, and returns their results in order.
        clock: gives epoch seconds.
        deadlines: makes a deadline of so many seconds.
    """

    ledger: Ledger
    table: Table
    channels: ChannelCache
    keeper: Keeper
    fallback: Fallback
    telemetry: Telemetry
    backlog: Callable[[], int | None]
    invoke: Callable[[str], bool]
    at_once: AtOnce
    clock: Callable[[], float]
    deadlines: Callable[[float], Deadline]
    _policies: dict[str, Policy] = field(default_factory=dict, init=False, repr=False)
    # Channels whose secret could not be read in this run.
    _unread: set[str] = field(default_factory=set, init=False, repr=False)

    def sweep(self) -> dict[str, Any]:
        """Run once and return the counts of what was done; empty if another run is at it, or the ledger fails."""
        deadline = self.deadlines(RUN_SECONDS)
        self._policies.clear()
        self._unread.clear()
        try:
            run = Run.begin(self.table, self.clock())
            if run is None:
                return {}
            critical = _each_once(self._rows(CRITICAL))
            # A topic that hangs must leave time for healing.
            notified = self._notify(run, critical, self.deadlines(NOTIFY_SECONDS))
            rows = _each_once([*critical, *self._rows(OTHER)])
            # Before healing: a flood may leave no time after it.
            self._judge_rates(run, rows)
            healed = self._heal(run, rows, deadline)
            run.end(self.table)
        except LedgerError as error:
            self.telemetry.notice("sweeper_failed", str(error))
            return {}
        oldest = max((self.clock() - each.entry.row_due for each in rows if each.entry.row_job), default=0.0)
        self._report_sick(rows)
        self.telemetry.swept(len(rows), max(oldest, 0.0), healed)
        return {"owed": len(rows), "notified": notified, "healed": healed}

    def _rows(self, kind: str) -> Iterator[Owed]:
        for shard in shards(kind):
            found = [Owed(key, entry, key.split("/", 2)[1]) for key, entry in self.ledger.due(shard, MAX_ROWS)]
            yield from found
            if len(found) == MAX_ROWS:
                detail = f"shard {shard} of the index has more rows than a run reads: newer debts are not seen"
                self.telemetry.notice("sweeper_failed", detail)

    # ---- Fallback ------------------------------------------------------------------------------------------------

    def _notify(self, run: Run, rows: Sequence[Owed], deadline: Deadline) -> int:
        """Notify the fallback topic of overdue criticals, one message a channel; return how many channels.

        Channels with few debts come first, and entries are marked only when all channels have their message: the many
        debts of one channel must not hide those of another.
        """
        self._read_policies(rows)
        overdue = (each for each in rows if self._is_to_notify(each) and self._may_notify(run, each.channel))
        waiting = _by_channel(sorted(overdue, key=lambda each: each.since))
        notified: dict[str, list[Owed]] = {}
        for some in batched(sorted(waiting.items(), key=lambda each: len(each[1])), AT_ONCE, strict=False):
            if not deadline.remaining():
                break
            # The index lags: a debt that was settled meanwhile must not wake people.
            current = self._current(each for _, owed in some for each in owed[:MAX_CHECKED])
            due = _by_channel(each for each in current if self._is_to_notify(each))
            unchecked = {channel: len(owed[MAX_CHECKED:]) for channel, owed in some}
            notified |= self._notify_some(run, due, unchecked)
        marks = (partial(self._mark, each, deadline) for owed in notified.values() for each in owed)
        self.at_once([partial(self._tried, each, otherwise=None) for each in marks])
        return len(notified)

    def _may_notify(self, run: Run, channel: str) -> bool:
        return self.clock() - run.notified.get(channel, 0.0) >= NOTIFIED_AGAIN_SECONDS

    def _notify_some(
        self, run: Run, due: Mapping[str, list[Owed]], unchecked: Mapping[str, int]
    ) -> dict[str, list[Owed]]:
        """Notify of some channels at once, and note that in the run; return those of which SNS took the message.

        `unchecked` counts more overdue debts of each channel, as the index has them.
        """
        publish = (partial(self._publish, channel, owed, unchecked[channel]) for channel, owed in due.items())
        answers = self.at_once([partial(self._tried, each, otherwise=False) for each in publish])
        notified = [channel for channel, is_notified in zip(due, answers, strict=True) if is_notified]
        for channel, owed in due.items():
            self.telemetry.notified(channel, [each.incident_id for each in owed], is_notified=channel in notified)
        if notified:
            run.note(self.table, notified, self.clock())
        return {channel: due[channel] for channel in notified}

    def _mark(self, owed: Owed, deadline: Deadline) -> None:
        """Note in an entry that the topic was notified; without time the next message tells of it again."""
        if deadline.remaining():
            self._change(owed, Entry.notified)

    def _publish(self, channel: str, owed: Sequence[Owed], unchecked: int) -> bool:
        debts = [self._debt(each) for each in owed[:MAX_NAMED]]
        return self.fallback.notify(channel, debts, others=len(owed) - len(debts) + unchecked)

    def _read_policies(self, rows: Iterable[Owed]) -> None:
        """Read the policies of all rows' channels, several at once: a storm's secrets take long one by one.

        A channel whose secret can't be read in time has the default policy in this run.
        """
        deadline = self.deadlines(POLICY_SECONDS)

        def read(channel: str) -> None:
            if deadline.remaining():
                self._policy(channel)
            else:
                self._policies.setdefault(channel, Policy())
                self._unread.add(channel)

        self.at_once([partial(read, channel) for channel in dict.fromkeys(each.channel for each in rows)])

    def _tried[T](self, call: Callable[[], T], otherwise: T) -> T:
        """Return what a call returns; if it fails, log that, so that one debt or channel does not keep the others."""
        try:
            return call()
        except LedgerError as error:
            self.telemetry.notice("sweeper_failed", str(error))
        except Exception as error:  # noqa: BLE001 - see above
            self.telemetry.crashed(error)
        return otherwise

    def _is_to_notify(self, owed: Owed) -> bool:
        entry = owed.entry
        if entry.unconfirmed:
            return True
        is_open = entry.is_critical and not entry.is_notified and entry.owed_since is not None
        return is_open and self.clock() - owed.since >= self._policy(owed.channel).fallback_after_seconds

    def _debt(self, owed: Owed) -> Debt:
        """Return the debt as people read it, with the words of its stored job, if there is one."""
        entry = owed.entry
        is_unconfirmed = entry.unconfirmed and entry.owed_since is None
        job = self._stored(owed, WORDS if is_unconfirmed else entry.row_job or WORDS)
        told = Debt.of_job(job) if job else Debt(owed.incident_id, owed.since)
        is_given_up = entry.dead_lettered is not None and entry.dead_lettered.is_of_same_share(entry.kept)
        lost = tuple(raised.request_id for raised in entry.raised if raised.is_lost and raised.is_open)
        return replace(
            told,
            since=owed.since,
            reason=entry.reason or told.reason,
            is_given_up=is_given_up,
            is_unconfirmed=is_unconfirmed,
            request_ids=lost[-MAX_REQUEST_IDS:],
        )

    # ---- Healing -------------------------------------------------------------------------------------------------

    def _heal(self, run: Run, rows: Iterable[Owed], deadline: Deadline) -> int:
        """Send a new message for each debt whose message did not come, criticals first; return how many.

        A channel gets no more of them in a run than its policy lets it send in a minute. Channels take turns: the many
        debts of one channel must not take the time of the others.
        """
        overdue = [each for each in rows if self._is_overdue(each)]
        if not overdue:
            return 0
        self._read_policies(overdue)
        waiting = self.backlog()
        if waiting is not None and waiting > BACKLOG:
            overdue = [each for each in overdue if each.entry.is_critical]
        healed: dict[str, int] = defaultdict(int)

        def may_heal(owed: Owed) -> bool:
            return healed[owed.channel] < self._policy(owed.channel).max_per_minute

        for batch in batched(_in_turn(overdue), MAX_BATCH, strict=False):
            for each in self._current(filter(may_heal, batch)):
                if not deadline.remaining():
                    return sum(healed.values())
                if self._is_overdue(each) and may_heal(each):
                    heal = partial(self._heal_one, run, each, deadline)
                    healed[each.channel] += self._tried(heal, otherwise=False)
        return sum(healed.values())

    def _is_overdue(self, owed: Owed) -> bool:
        now, entry = self.clock(), owed.entry
        return bool(entry.row_job) and entry.row_due <= now and not entry.is_busy(now)

    def _heal_one(self, run: Run, owed: Owed, deadline: Deadline) -> bool:
        """Send a debt's stored job to the retry queue, or invoke the worker with it.

        The worker is invoked if SQS fails, or if no worker began the job that was sent before.
        """
        job = self._stored(owed, owed.entry.row_job)
        if job is None:
            self.telemetry.notice("sweeper_failed", f"the stored job of incident {owed.incident_id} can't be read")
            self._change(owed, lambda entry: entry.postponed(self.clock() + HEALED_SECONDS))
            return False
        if owed.entry.row_begun >= MAX_BEGUN:
            return self._give_up(owed, job, Reason.INTERNAL, deadline)
        if self._is_too_old(owed, job):
            return self._give_up(owed, job, Reason.EXPIRED, deadline)
        row = owed.entry.row or Row(0.0)
        number = row.begun + 1
        job, now = replace(job, healed=number), self.clock()
        # A queue that hangs takes seconds of each debt: it is not asked again in this run. Where the job before it was
        # sent, and no worker began it, nothing may wake the worker.
        if run.has_queue and row.sent < number:
            run.has_queue = self.keeper.keep(job, deadline, until=now)
            if run.has_queue:
                # A message may vanish again, and then the job must be given up in time.
                due = min(now + HEALED_SECONDS, max(self._expires_at(owed, job) + OVERAGE_SECONDS, now))
                self._change(owed, lambda entry: entry.healing(due, number))
                return True
        if run.invocations < MAX_INVOCATIONS and self.invoke(job.to_json()):
            run.invocations += 1
            self._change(owed, lambda entry: entry.healing(now + INVOKED_SECONDS, number))
            return True
        return False

    def _is_too_old(self, owed: Owed, job: Job) -> bool:
        """True if the state is too old to be sent; its message did not come to give it up."""
        kept = owed.entry.kept
        is_announced = kept is not None and kept.is_of_same_share(owed.entry.announced)
        is_kept = kept is not None and kept.is_same(kept_state(job, kept))
        return is_kept and not is_announced and self.clock() > self._expires_at(owed, job)

    def _expires_at(self, owed: Owed, job: Job) -> float:
        """Return when the state is too old, in epoch seconds; infinity if the channel's policy can't be read.

        The channel's own age may be longer than the default one.
        """
        since = max(seconds_of(job.revived_at or job.received_at), owed.entry.revived_at)
        age = self._policy(owed.channel).max_age_seconds
        return math.inf if owed.channel in self._unread else since + age

    def _give_up(self, owed: Owed, job: Job, reason: Reason, deadline: Deadline) -> bool:
        """Dead-letter a job that is too old, or that workers began again and again and never came to an end with."""
        kept = owed.entry.kept
        if kept is None or not kept.is_same(kept_state(job, kept)):
            # A newer state took over, and its own message is on its way.
            self._change(owed, lambda entry: entry.postponed(self.clock() + HEALED_SECONDS))
            return False
        dead_lettered = self.keeper.dead_letter(replace(job, reason=reason), deadline)
        mark = dead_lettered.mark if dead_lettered else None
        if dead_lettered is None or mark is None:
            return False
        if kept.is_critical:
            # The fallback topic's message needs the words of the job.
            with suppress(LedgerError):
                self.ledger.store(owed.key, WORDS, job.to_json(), lasts=STORED_SECONDS)
        self._change(owed, lambda entry: entry.dead_lettering(kept, mark, reason))
        why = "it is too old" if reason == Reason.EXPIRED else "workers failed at it"
        self.telemetry.notice("dead_lettered", f"the job of incident {owed.incident_id}: {why}")
        return False

    # ---- Shared --------------------------------------------------------------------------------------------------

    def _current(self, rows: Iterable[Owed]) -> Iterator[Owed]:
        """Yield the rows with their entries as they are now; one that DynamoDB does not answer for is left out."""
        for batch in batched(rows, MAX_BATCH, strict=False):
            entries = self.ledger.read_many([each.key for each in batch])
            for each in batch:
                if each.key in entries:
                    yield replace(each, entry=entries[each.key])

    def _change(self, owed: Owed, change: Callable[[Entry], Entry]) -> None:
        self.ledger.change(owed.key, change, owed.entry)

    def _stored(self, owed: Owed, name: str) -> Job | None:
        text = self.ledger.stored(owed.key, name) if name else None
        try:
            return Job.from_json(text) if text else None
        except UnreadableMessage:
            return None

    def _policy(self, channel: str) -> Policy:
        """Return a channel's policy, the default if the channel can't be read or is gone."""
        if channel not in self._policies:
            self._policies[channel] = Policy()
            self._unread.add(channel)
            try:
                self._policies[channel] = self.channels.get(channel).policy
                self._unread.discard(channel)
            except ChannelError:
                pass
            except Exception as error:  # noqa: BLE001 - one channel's fault must not keep the others' debts
                self.telemetry.crashed(error)
        return self._policies[channel]

    def _judge_rates(self, run: Run, rows: Sequence[Owed]) -> None:
        """Report the channels that are above their rate limits in several runs in a row."""
        self._read_policies(rows)
        owed = {channel: [each.entry for each in some] for channel, some in _by_channel(rows).items()}
        now = self.clock()
        above = {rate.channel: rate for rate in Rates(self.table).above(owed, self._policies, now)}
        since = run.above_since(above.keys(), now)
        flooded = {above[name]: now - began for name, began in since.items() if now - began >= FLOODED_SECONDS}
        self.telemetry.flooded(flooded)

    def _report_sick(self, rows: Iterable[Owed]) -> None:
        """Write a log line for each channel that owes something for long."""
        now = self.clock()
        for channel, owed in _by_channel(rows).items():
            oldest = min(owed, key=lambda each: each.since)
            if now - oldest.since >= SICK_SECONDS:
                self.telemetry.sick(channel, len(owed), now - oldest.since, oldest.entry.reason)


def _by_channel(rows: Iterable[Owed]) -> dict[str, list[Owed]]:
    found: dict[str, list[Owed]] = defaultdict(list)
    for each in rows:
        found[each.channel].append(each)
    return found


def _in_turn(rows: Iterable[Owed]) -> list[Owed]:
    """Return the rows with criticals first, and among them, and the others, the first of each channel, and so on."""
    turns: dict[tuple[bool, str], int] = defaultdict(int)
    placed: list[tuple[bool, int, Owed]] = []
    for each in rows:
        is_other = not (each.entry.row and each.entry.row.is_critical)
        turns[is_other, each.channel] += 1
        placed.append((is_other, turns[is_other, each.channel], each))
    return [each for *_, each in sorted(placed, key=lambda place: place[:2])]


def _each_once(rows: Iterable[Owed]) -> list[Owed]:
    """Return each row once: one that is written while the index is read can stand on a later page, too."""
    return list({each.key: each for each in rows}.values())

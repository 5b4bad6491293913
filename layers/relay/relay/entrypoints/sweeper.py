"""Sweeper: reads the rows of all debts every minute, notifies the fallback topic, and replaces vanished messages.

A state that is owed after its first attempts has a message on the retry queue and a row in the ledger's `due` index.
The message can vanish or wait for a busy worker. There may be none if the wait is long or SQS is down. So the sweeper
works from the rows. A lease keeps two runs from working at the same time.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import replace
from dataclasses import dataclass, field
from functools import partial
from itertools import batched
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from relay.channels.cache import ChannelCache
from relay.channels.policy import Policy
from relay.deadline import Deadline
from relay.delivery.debts import OVERAGE_SECONDS, STORED_SECONDS
from relay.delivery.fallback import MAX_NAMED, Fallback, OverdueDebt
from relay.delivery.task import recorded_state
from relay.entrypoints.sweeper_run import Run
from relay.errors import ChannelError, LedgerError
from relay.incidents.share import parse_share
from relay.incidents.transition import is_open
from relay.jobs.envelope import UnreadableMessage, envelope_of, read_envelope
from relay.jobs.job import Job
from relay.jobs.outbox import Keeper
from relay.ledger.entry import Entry
from relay.ledger.entry_key import channel_of, incident_of
from relay.ledger.flood_detector import FLOODED_SECONDS, FloodDetector
from relay.ledger.ledger import Ledger
from relay.ledger.row import CRITICAL, FALLBACK_DESCRIPTION, OTHER, Row, shards
from relay.ledger.table import MAX_BATCH, Table
from relay.reasons import Reason
from relay.telemetry.telemetry import Telemetry

if TYPE_CHECKING:
    from relay.entrypoints.health_watch import HealthWatch

# Time limit of a run. It ends before the function's time-out of 60 seconds and before the next run.
SWEEP_SECONDS = 45.0
# The part of it for notifications.
NOTIFY_SECONDS = 20.0
# Time limit of reading policies, so that unreadable secrets do not use up the run.
POLICY_SECONDS = 8.0
# Shortest time between two messages to the fallback topic about one channel.
NOTIFIED_AGAIN_SECONDS = 300.0
# Time for a message that the sweeper sent to take effect, before the sweeper acts on its debt again.
HEALED_SECONDS = 180.0
# The same for a direct invocation of the worker.
INVOKED_SECONDS = 60.0
# Direct invocations of the worker in a run. They add to those by the queue, and the webhook needs concurrency, too.
MAX_INVOCATIONS = 200
# The job of a debt is dead-lettered after a worker began this many of its jobs without a recorded result
# (docs/decisions.md, D-poison-debt).
MAX_BEGUN = 5
# If the retry queue has more visible messages than this, only messages of criticals are replaced (docs/decisions.md,
# D-sweeper-backlog).
BACKLOG = 200
# Parallel calls. A boto3 client keeps ten connections.
AT_ONCE = 10
# Rows that a run reads of a shard. Even a large storm should not fill 16 shards of this size.
MAX_ROWS = 5000
# A channel with a debt of this age gets a log line in each run.
OWES_SECONDS = 120.0
# The run begins nothing new after this time: neither messages about channels' health nor the heartbeat. It leaves time
# for calls that are under way before the lease ends.
LATEST_SECONDS = 52.0
# Time limit of the judgement of channels' health. It is a deadline of its own, after healing.
HEALTH_SECONDS = 8.0
# Time limit of the probes of credentials. A run with less time left probes nothing.
PROBES_SECONDS = 6.0
# Time limit of the heartbeat.
HEARTBEAT_SECONDS = 2.0
# Debts of a channel that a run checks and marks for the fallback topic; the message counts the others without a check.
# The limit keeps time for the messages of other channels (docs/decisions.md, D-sweeper-fairness).
MAX_CHECKED = 500
# Request ids of xMatters that a message names for one incident.
MAX_REQUEST_IDS = 3


class AtOnce(Protocol):
    """Function that makes several calls in parallel."""

    def __call__[T](self, calls: Sequence[Callable[[], T]]) -> list[T]:
        """Make the calls, and return their results in the same order."""


class Owed(NamedTuple):
    """A row of the ledger's `due` index: the entry of an incident that is owed, or whose page is missing.

    Attributes:
        key: Key of the entry.
        entry: The entry as the index has it; it may be out of date.
        channel: Name of the channel.
    """

    key: str
    entry: Entry
    channel: str

    @property
    def incident_id(self) -> str:
        """The incident's id, or its hash if the id is too long for a key."""
        return incident_of(self.key)

    @property
    def since(self) -> float:
        """The time since which the state is owed (epoch seconds). If its page is missing, it is the state's arrival."""
        entry = self.entry
        if entry.debt.since is not None or entry.announced is None:
            return entry.debt.since or entry.debt.due
        return entry.announced.came

    @property
    def late_from(self) -> float:
        """Time from which the debt's delay counts (epoch seconds): its start, or the end of its quiet time."""
        newest = self.entry.newest
        return max(self.since, self.entry.quiet_until(newest) if newest else 0.0)


@dataclass(frozen=True)
class Sweeper:
    """The sweeper: notifies the fallback topic, replaces vanished messages, and ends long waits, every minute.

    Attributes:
        ledger: The entries, rows and stored jobs.
        table: Table with the run's lease.
        channels: The cached channels, for their policies.
        keeper: The queues.
        fallback: Publisher to the fallback topic.
        telemetry: Log and metrics.
        backlog: Returns the approximate number of visible messages on the retry queue; None if SQS can't be asked.
        invoke: Invokes the job worker directly with an envelope; returns False if that fails.
        at_once: Runs calls, AT_ONCE of them in parallel, and returns their results in order.
        clock: The time in epoch seconds.
        deadlines: Returns a deadline of a number of seconds.
        health: Watch over channels' health; None without a topic for it.
        heartbeat: Calls an external dead man's switch within a number of seconds; returns the reason of a failure, or
            an empty text. None without a switch.
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
    health: "HealthWatch | None" = None
    heartbeat: Callable[[float], str] | None = None
    _policies: dict[str, Policy] = field(default_factory=dict, init=False, repr=False)
    # Channels whose secret could not be read in this run.
    _unread: set[str] = field(default_factory=set, init=False, repr=False)
    # Shards of the index that have more rows than this run read.
    _cut: list[str] = field(default_factory=list, init=False, repr=False)

    def sweep(self) -> dict[str, Any]:
        """Do one run, and return its counts for the log; empty if another run has the lease, or the ledger fails."""
        deadline, latest = self.deadlines(SWEEP_SECONDS), self.deadlines(LATEST_SECONDS)
        self._policies.clear()
        self._unread.clear()
        self._cut.clear()
        try:
            run = Run.begin(self.table, self.clock())
            if run is None:
                return {}
            critical = _each_once(self._rows(CRITICAL))
            # With a deadline of its own, so that a topic that hangs leaves time for healing.
            notified = self._notify(run, critical, self.deadlines(NOTIFY_SECONDS))
            rows = _each_once([*critical, *self._rows(OTHER)])
            # Before healing, which may use up the run's time during a flood.
            self._judge_loads(run, rows)
            healed = self._heal(run, rows, deadline)
            self._attempted(partial(self._judge_health, run, rows, latest), otherwise=None)
            run.end(self.table)
        except LedgerError as error:
            self.telemetry.notice("sweeper_failed", str(error))
            return {}
        oldest = max((self.clock() - each.entry.debt.due for each in rows if each.entry.debt.job), default=0.0)
        self._report_owing(rows)
        self.telemetry.swept(Counter(each.channel for each in rows), max(oldest, 0.0), healed)
        self._beat(latest)
        return {"owed": len(rows), "notified": notified, "healed": healed}

    def _rows(self, kind: str) -> Iterator[Owed]:
        for shard in shards(kind):
            found = [Owed(key, entry, channel_of(key)) for key, entry in self.ledger.due(shard, MAX_ROWS)]
            yield from found
            if len(found) == MAX_ROWS:
                detail = f"shard {shard} of the index has more rows than a run reads: newer debts are not seen"
                self.telemetry.notice("sweeper_failed", detail)
                self._cut.append(shard)

    # ---- Fallback ------------------------------------------------------------------------------------------------

    def _notify(self, run: Run, rows: Sequence[Owed], deadline: Deadline) -> int:
        """Notify the fallback topic of overdue criticals, with one message a channel. Return the number of channels.

        Channels with few debts come first, and entries are marked after all messages are sent. So the many debts (owed
        states) of one channel do not delay the message of another.
        """
        self._read_policies(rows)
        overdue = (each for each in rows if self._is_to_notify(each) and self._may_notify(run, each.channel))
        waiting = _by_channel(sorted(overdue, key=lambda each: each.since))
        notified: dict[str, list[Owed]] = {}
        for some in batched(sorted(waiting.items(), key=lambda each: len(each[1])), AT_ONCE, strict=False):
            if not deadline.remaining():
                break
            # Read again, since the index lags: no person must be woken for a debt that was settled meanwhile.
            current = self._current(each for _, owed in some for each in owed[:MAX_CHECKED])
            due = _by_channel(each for each in current if self._is_to_notify(each))
            unchecked = {channel: len(owed[MAX_CHECKED:]) for channel, owed in some}
            notified |= self._notify_some(run, due, unchecked)
        marks = (partial(self._mark, each, deadline) for owed in notified.values() for each in owed)
        self.at_once([partial(self._attempted, each, otherwise=None) for each in marks])
        return len(notified)

    def _may_notify(self, run: Run, channel: str) -> bool:
        return self.clock() - run.notified.get(channel, 0.0) >= NOTIFIED_AGAIN_SECONDS

    def _notify_some(
        self, run: Run, due: Mapping[str, list[Owed]], unchecked: Mapping[str, int]
    ) -> dict[str, list[Owed]]:
        """Publish one message for each channel in `due`, in parallel, and record the time in the run.

        Returns the debts of each channel whose message SNS accepted. `unchecked` is, by channel, the number of further
        overdue debts, which are counted from the index without a read of their entries.
        """
        publish = (partial(self._publish, channel, owed, unchecked[channel]) for channel, owed in due.items())
        answers = self.at_once([partial(self._attempted, each, otherwise=False) for each in publish])
        notified = [channel for channel, is_notified in zip(due, answers, strict=True) if is_notified]
        for channel, owed in due.items():
            self.telemetry.notified(channel, [each.incident_id for each in owed], is_notified=channel in notified)
        if notified:
            run.note(self.table, notified, self.clock())
        return {channel: due[channel] for channel in notified}

    def _mark(self, owed: Owed, deadline: Deadline) -> None:
        """Record in an incident's entry that the fallback topic was notified.

        If there is no time, the next message repeats the incident.
        """
        if deadline.remaining():
            self._change(owed, lambda entry: replace(entry, debt=entry.debt.notified(entry.newest)))

    def _publish(self, channel: str, owed: Sequence[Owed], unchecked: int) -> bool:
        debts = [self._debt(each) for each in owed[:MAX_NAMED]]
        return self.fallback.notify(channel, debts, others=len(owed) - len(debts) + unchecked)

    def _read_policies(self, rows: Iterable[Owed]) -> None:
        """Read the policies of all rows' channels in parallel, since one after the other takes long in a storm.

        A channel whose secret can't be read in time gets the default policy in this run.
        """
        deadline = self.deadlines(POLICY_SECONDS)

        def read(channel: str) -> None:
            if deadline.remaining():
                self._policy(channel)
            else:
                self._policies.setdefault(channel, Policy())
                self._unread.add(channel)

        self.at_once([partial(read, channel) for channel in dict.fromkeys(each.channel for each in rows)])

    def _attempted[T](self, call: Callable[[], T], otherwise: T) -> T:
        """Return the result of a call, or log its failure and return `otherwise`.

        So a failure in one debt or channel does not stop the others.
        """
        try:
            return call()
        except LedgerError as error:
            self.telemetry.notice("sweeper_failed", str(error))
        except Exception as error:  # noqa: BLE001 - see the docstring
            self.telemetry.crashed(error)
        return otherwise

    def _is_to_notify(self, owed: Owed) -> bool:
        entry, policy = owed.entry, self._policy(owed.channel)
        if policy.stops_all(self.clock()):
            return False
        if entry.debt.unconfirmed:
            return True
        is_open = entry.debt.is_critical and not entry.debt.is_notified and entry.debt.since is not None
        return is_open and self.clock() - self._overdue_since(owed) >= policy.fallback_after_seconds

    def _overdue_since(self, owed: Owed) -> float:
        """Return the time from which the delay counts (epoch seconds): `Owed.late_from`, or the end of a pause."""
        now, held_until = self.clock(), owed.entry.debt.held_until
        has_ended_early = held_until > now and not self._is_held(owed, now)
        past = [each for each in self._policy(owed.channel).pauses if owed.since < each.until <= now]
        # Which past pause held a state is known if the pause was for all incidents, or held this state when it ended.
        ends = [each.until for each in past if has_ended_early or not each.when]
        return max([owed.late_from, *ends, *([] if has_ended_early else [held_until])])

    def _is_held(self, owed: Owed, now: float) -> bool:
        """True if the pause for which a state waits goes on at `now` (epoch seconds), or that can't be found out."""
        policy, until = self._policy(owed.channel), owed.entry.debt.held_until
        is_on = any(each.is_active(now) and each.until >= until for each in policy.pauses)
        return until > now and (is_on or owed.channel in self._unread)

    def _debt(self, owed: Owed) -> OverdueDebt:
        """Return the description of an owed critical for the fallback topic's message.

        It is made from the stored job; without one it has little more than the incident's id.
        """
        entry = owed.entry
        is_unconfirmed = entry.debt.unconfirmed and entry.debt.since is None
        job = self._stored(owed, FALLBACK_DESCRIPTION if is_unconfirmed else entry.debt.job or FALLBACK_DESCRIPTION)
        described = OverdueDebt.of_job(job) if job else OverdueDebt(owed.incident_id, owed.since)
        is_given_up = entry.dead_letter.state is not None and entry.dead_letter.state.is_of_same_share(entry.newest)
        lost = tuple(signal.request_id for signal in entry.accepted_signals if signal.is_lost and signal.is_open)
        return replace(
            described,
            since=owed.since,
            reason=entry.debt.reason or described.reason,
            is_given_up=is_given_up,
            is_unconfirmed=is_unconfirmed,
            request_ids=lost[-MAX_REQUEST_IDS:],
        )

    # ---- Healing -------------------------------------------------------------------------------------------------

    def _heal(self, run: Run, rows: Iterable[Owed], deadline: Deadline) -> int:
        """Replace the messages of overdue debts (owed states), criticals first. Return the number of replaced messages.

        In one run, a channel gets at most the messages that its rate limit allows in a minute. Channels are
        interleaved, so that the many debts of one channel do not use up the time of the others.
        """
        overdue = [each for each in rows if self._is_overdue(each)]
        if not overdue:
            return 0
        self._read_policies(overdue)
        waiting = self.backlog()
        if waiting is not None and waiting > BACKLOG:
            overdue = [each for each in overdue if each.entry.debt.is_critical]
        healed: dict[str, int] = defaultdict(int)

        def may_heal(owed: Owed) -> bool:
            return healed[owed.channel] < self._policy(owed.channel).max_per_minute

        for batch in batched(_interleaved(overdue), MAX_BATCH, strict=False):
            for each in self._current(filter(may_heal, batch)):
                if not deadline.remaining():
                    return sum(healed.values())
                if self._is_overdue(each) and may_heal(each):
                    heal = partial(self._heal_one, run, each, deadline)
                    healed[each.channel] += self._attempted(heal, otherwise=False)
        return sum(healed.values())

    def _is_overdue(self, owed: Owed) -> bool:
        now, entry = self.clock(), owed.entry
        is_due = entry.debt.due <= now or self._is_resumed(owed, now)
        return bool(entry.debt.job) and is_due and not entry.is_busy(now)

    def _is_resumed(self, owed: Owed, now: float) -> bool:
        """True if the pause for which a state waits has ended early, and its job was not sent since."""
        debt = owed.entry.debt
        is_sent = debt.row is not None and debt.row.sent > 0
        return debt.held_until > now and not is_sent and not self._is_held(owed, now)

    def _heal_one(self, run: Run, owed: Owed, deadline: Deadline) -> bool:
        """Send a debt's stored job to the retry queue, or invoke the job worker with it directly.

        The worker is invoked directly if SQS fails, or if no worker began the job that was sent before. A job that
        expired, or that no worker could finish, is dead-lettered instead. Returns False if nothing was done.
        """
        job = self._stored(owed, owed.entry.debt.job)
        if job is None:
            self.telemetry.notice("sweeper_failed", f"the stored job of incident {owed.incident_id} can't be read")
            self._postpone(owed)
            return False
        if owed.entry.debt.begun >= MAX_BEGUN:
            return self._give_up(owed, job, Reason.INTERNAL, deadline)
        if self._is_too_old(owed, job):
            return self._give_up(owed, job, Reason.EXPIRED, deadline)
        row = owed.entry.debt.row or Row(0.0)
        number = row.begun + 1
        job, now = job.healing(number), self.clock()
        # A queue that failed is not called again in this run, since each call can take seconds. If no worker began the
        # job that was sent before, the queue may not wake the worker at all.
        if run.has_queue and row.sent < number:
            run.has_queue = self.keeper.keep(job, deadline, until=now)
            if run.has_queue:
                # This message may vanish as well. Then the sweeper must dead-letter the job at its age limit.
                due = min(now + HEALED_SECONDS, max(self._expires_at(owed, job) + OVERAGE_SECONDS, now))
                self._record_sent(owed, number, due)
                return True
        if run.invocations < MAX_INVOCATIONS and self.invoke(envelope_of(job)):
            run.invocations += 1
            self._record_sent(owed, number, now + INVOKED_SECONDS)
            return True
        return False

    def _is_too_old(self, owed: Owed, job: Job) -> bool:
        """True if the state of the stored job has expired, is the incident's newest one, and is not announced."""
        newest = owed.entry.newest
        is_announced = newest is not None and newest.is_of_same_share(owed.entry.announced)
        is_newest = newest is not None and newest.is_same(recorded_state(job, newest))
        return is_newest and not is_announced and self.clock() > self._expires_at(owed, job)

    def _expires_at(self, owed: Owed, job: Job) -> float:
        """Return the time at which the state expires (epoch seconds); infinity if the channel's policy can't be read.

        Without the policy the limit is unknown: the channel's own may be longer than the default.
        """
        if owed.channel in self._unread:
            return math.inf
        policy = self._policy(owed.channel)
        # A state that waited for the end of a flap or a pause is as old as its wait is over.
        quiet_until = owed.entry.quiet_until(owed.entry.newest) if owed.entry.newest else 0.0
        since = max(job.age_counts_from, owed.entry.dead_letter.revived_at, quiet_until)
        if policy.pauses:
            since = _age_start(job, policy, since)
        return since + policy.max_age_seconds

    def _give_up(self, owed: Owed, job: Job, reason: Reason, deadline: Deadline) -> bool:
        """Dead-letter a stored job that expired, or that workers began repeatedly without a recorded result.

        `reason` is recorded in the job. Returns False if it was not dead-lettered.
        """
        newest = owed.entry.newest
        if newest is None or not newest.is_same(recorded_state(job, newest)):
            # A newer state is owed, and has a message of its own.
            self._postpone(owed)
            return False
        dead_lettered = self.keeper.dead_letter(job.with_reason(reason), deadline)
        mark = dead_lettered.revival.mark if dead_lettered else None
        if dead_lettered is None or mark is None:
            return False
        if newest.is_critical:
            # The fallback topic's message describes the incident with this job.
            with suppress(LedgerError):
                self.ledger.store(owed.key, FALLBACK_DESCRIPTION, envelope_of(job), lasts=STORED_SECONDS)
        self._change(owed, lambda entry: entry.dead_lettering(newest, mark, reason))
        why = "it expired" if reason == Reason.EXPIRED else "workers failed repeatedly"
        self.telemetry.notice("dead_lettered", f"the job of incident {owed.incident_id}: {why}")
        return False

    # ---- Shared --------------------------------------------------------------------------------------------------

    def _current(self, rows: Iterable[Owed]) -> Iterator[Owed]:
        """Yield the rows with their entries as read from the table, since the index lags behind.

        Rows that DynamoDB did not process are left out.
        """
        for batch in batched(rows, MAX_BATCH, strict=False):
            entries = self.ledger.read_many([each.key for each in batch])
            for each in batch:
                if each.key in entries:
                    yield replace(each, entry=entries[each.key])

    def _change(self, owed: Owed, change: Callable[[Entry], Entry]) -> None:
        self.ledger.change(owed.key, change, owed.entry)

    def _postpone(self, owed: Owed) -> None:
        def change(entry: Entry) -> Entry:
            return replace(entry, debt=entry.debt.postponed(self.clock() + HEALED_SECONDS))

        self._change(owed, change)

    def _record_sent(self, owed: Owed, number: int, until: float) -> None:
        self._change(owed, lambda entry: replace(entry, debt=entry.debt.with_job_sent(number, until)))

    def _stored(self, owed: Owed, name: str) -> Job | None:
        text = self.ledger.stored(owed.key, name) if name else None
        try:
            return read_envelope(text) if text else None
        except UnreadableMessage:
            return None

    def _policy(self, channel: str) -> Policy:
        """Return a channel's policy, or the default policy if the channel can't be read or was removed."""
        if channel not in self._policies:
            self._policies[channel] = Policy()
            self._unread.add(channel)
            try:
                self._policies[channel] = self.channels.in_force(channel).policy
                self._unread.discard(channel)
            except ChannelError:
                pass
            except Exception as error:  # noqa: BLE001 - a fault in one channel must not stop the others
                self.telemetry.crashed(error)
        return self._policies[channel]

    def _judge_loads(self, run: Run, rows: Sequence[Owed]) -> None:
        """Log and count the channels that were above their rate limits in several consecutive runs."""
        self._read_policies(rows)
        now = self.clock()
        # What waits for the end of a flap does not wait for the rate limit.
        moving = _by_channel(each for each in rows if each.late_from <= now)
        owed = {channel: [each.entry for each in some] for channel, some in moving.items()}
        above = {load.channel: load for load in FloodDetector(self.table).above(owed, self._policies, now)}
        since = run.above_since(above.keys(), now)
        flooded = {above[name]: now - began for name, began in since.items() if now - began >= FLOODED_SECONDS}
        self.telemetry.flooded(flooded)

    def _judge_health(self, run: Run, rows: Iterable[Owed], latest: Deadline) -> None:
        if self.health:
            owed = {channel: [each.entry for each in some] for channel, some in _by_channel(rows).items()}
            deadline = self.deadlines(min(HEALTH_SECONDS, latest.remaining()))
            self.health.judge(run, owed, deadline, is_whole=not self._cut)
            # After the messages, so that a vendor that hangs does not delay them.
            if latest.remaining() >= PROBES_SECONDS:
                self.health.probe.run(self.deadlines(PROBES_SECONDS))

    def _beat(self, latest: Deadline) -> None:
        if self.heartbeat:
            seconds = min(HEARTBEAT_SECONDS, latest.remaining())
            failure = self.heartbeat(seconds) if seconds else "no time was left"
            if failure:
                self.telemetry.notice("heartbeat_failed", failure)

    def _report_owing(self, rows: Iterable[Owed]) -> None:
        """Log each channel that has owed a state for longer than OWES_SECONDS."""
        now = self.clock()
        for channel, owed in _by_channel(rows).items():
            oldest = min(owed, key=self._overdue_since)
            seconds = now - self._overdue_since(oldest)
            if seconds >= OWES_SECONDS:
                self.telemetry.owes(channel, len(owed), seconds, oldest.entry.debt.reason)


def _age_start(job: Job, policy: Policy, came: float) -> float:
    """Return the time from which a job's age counts (epoch seconds): `came`, or the end of a later pause."""
    # Imported here, since most channels have no pause: this keeps the import out of cold starts.
    from relay.channels.pause import age_start, pauses_for  # noqa: PLC0415

    share = parse_share(job.payload.body)
    return age_start(pauses_for(share, policy.pauses, is_open=is_open(share)), came, policy.max_age_seconds)


def _by_channel(rows: Iterable[Owed]) -> dict[str, list[Owed]]:
    found: dict[str, list[Owed]] = defaultdict(list)
    for each in rows:
        found[each.channel].append(each)
    return found


def _interleaved(rows: Iterable[Owed]) -> list[Owed]:
    """Return the rows with criticals first; among criticals and others, one row of each channel at a time."""
    ranks: dict[tuple[bool, str], int] = defaultdict(int)
    placed: list[tuple[bool, int, Owed]] = []
    for each in rows:
        is_other = not (each.entry.debt.row and each.entry.debt.row.is_critical)
        ranks[is_other, each.channel] += 1
        placed.append((is_other, ranks[is_other, each.channel], each))
    return [each for *_, each in sorted(placed, key=lambda place: place[:2])]


def _each_once(rows: Iterable[Owed]) -> list[Owed]:
    """Return each row once. A row that is written during the query can appear again on a later page."""
    return list({each.key: each for each in rows}.values())

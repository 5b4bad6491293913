"""A run of the sweeper: the rows of the `due` index, the channels' policies, and the state between two runs."""

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import replace
from dataclasses import dataclass, field
from functools import partial
from itertools import batched
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

from relay.channels.cache import ChannelCache
from relay.channels.policy import NOTIFIED_WITHIN_SECONDS, Policy
from relay.deadline import Clock, Deadline, Deadlines
from relay.failures import ChannelError, LedgerError, UnknownChannel
from relay.health import judgement
from relay.health.announcement import IN_A_ROW_SECONDS, ChannelState
from relay.health.judgement import ShareWatch
from relay.incidents.share import CANARY_PREFIX
from relay.jobs.job import Job
from relay.jobs.queue import UnreadableMessage, envelope_of, read_envelope
from relay.ledger.debt import shards
from relay.ledger.entry import Entry, channel_of, incident_id_of
from relay.ledger.table import MAX_BATCH, Ledger, Table, parsed
from relay.sweeper.canary import Canary

if TYPE_CHECKING:
    from relay.telemetry import Telemetry

# Rows that a run reads of a shard. Even a large storm should not fill the shards of both kinds with so many.
MAX_ROWS = 5000


class DueRow(NamedTuple):
    """Row of the `due` index: an entry, maybe out of date, that owes a state or awaits proof that people heard."""

    key: str
    entry: Entry

    @property
    def channel(self) -> str:
        return channel_of(self.key)

    @property
    def incident_id(self) -> str:
        """The incident's id, or its hash if the id is too long for a key."""
        return incident_id_of(self.key)

    @property
    def is_canary(self) -> bool:
        """True if the incident is a canary's, by its id."""
        return self.incident_id.startswith(CANARY_PREFIX)

    @property
    def is_waiting(self) -> bool:
        """True if the entry's state is owed and not given up; False if only proof is awaited that people heard."""
        return self.entry.debt.is_owed and not self.entry.debt.is_given_up

    @property
    def since(self) -> float:
        """Start of the debt (epoch seconds); if only proof is awaited, time at which the critical was sent."""
        return self.entry.debt.since or self.entry.receipt.since


@dataclass(frozen=True)
class DueRows:
    """The rows of the `due` index, and the entries and stored jobs that belong to them. Methods raise LedgerError."""

    ledger: Ledger
    telemetry: "Telemetry"

    def read(self, run: "SweeperRun", kind: str) -> Iterator[DueRow]:
        """Yield the rows of that kind (CRITICAL or OTHER), at most MAX_ROWS of each shard of the index.

        If a shard has more, `run.is_whole` becomes False.
        """
        for shard in shards(kind):
            found = [DueRow(key, entry) for key, entry in self.ledger.due(shard, MAX_ROWS)]
            yield from found
            if len(found) == MAX_ROWS:
                detail = f"shard {shard} of the index has more rows than a run reads: newer debts are not seen"
                self.telemetry.notice("sweeper_failed", detail)
                run.is_whole = False

    def current(self, rows: Iterable[DueRow]) -> Iterator[DueRow]:
        """Yield the rows with their entries read again from the table, since those of the index may be out of date."""
        for batch in batched(rows, MAX_BATCH, strict=False):
            entries = self.ledger.read_many([each.key for each in batch])
            yield from (replace(each, entry=entries[each.key]) for each in batch)

    def change(self, row: DueRow, change: Callable[[Entry], Entry]) -> None:
        self.ledger.change(row.key, change, row.entry)

    def stored_job(self, row: DueRow, name: str) -> Job | None:
        """Return the job that is stored as `name` beside a row's entry; None if there is none, or it is malformed."""
        text = self.ledger.stored(row.key, name)
        try:
            return read_envelope(text) if text else None
        except UnreadableMessage:
            return None

    def store(self, row: DueRow, job: Job, *, lasts: float) -> None:
        self.ledger.store(row.key, job.stored_name, envelope_of(job), lasts=lasts)


def by_channel(rows: Iterable[DueRow]) -> dict[str, list[DueRow]]:
    found: dict[str, list[DueRow]] = defaultdict(list)
    for each in rows:
        found[each.channel].append(each)
    return found


def each_once(rows: Iterable[DueRow]) -> list[DueRow]:
    """Return each row once. A row that is written during a query of the index can appear again on a later page."""
    return list({each.key: each for each in rows}.values())


# Parallel calls. A boto3 client keeps ten connections.
AT_ONCE = 10


class AtOnce(Protocol):
    """Function that makes calls in parallel, AT_ONCE of them at a time, and returns their results in order."""

    def __call__[T](self, calls: Sequence[Callable[[], T]]) -> list[T]: ...


LIST_SECONDS = 3.0


class Tools(NamedTuple):
    """Adapters that all parts of the sweeper use. `names` lists all channels, and raises ChannelUnreadable."""

    names: Callable[[], Iterable[str]]
    channels: ChannelCache
    table: Table
    telemetry: "Telemetry"
    at_once: AtOnce
    clock: Clock
    deadlines: Deadlines

    def all_names(self, deadline: Deadline) -> list[str] | None:
        """Return the names of all channels; None if they could not be listed in time, which is logged and counted."""
        try:
            return deadline.run(lambda: list(self.names()), part="names", at_most=LIST_SECONDS)
        except (ChannelError, TimeoutError) as error:
            self.telemetry.notice("health_failed", f"the channels could not be listed: {type(error).__name__}")
            return None

    def run_logging_failure[T](self, call: Callable[[], T], otherwise: T) -> T:
        """Return the result of a call; if it fails, log that and return `otherwise`."""
        try:
            return call()
        except LedgerError as error:
            self.telemetry.notice("sweeper_failed", str(error))
        except Exception as error:  # noqa: BLE001 - see the docstring
            self.telemetry.crashed(error)
        return otherwise


KEY = "sweeper"
# The longest time that a run works, so that a lease expires only if its run died.
SWEEP_LEASE_SECONDS = 55.0
# Older notification times are dropped, since they no longer suppress a message.
NOTES_KEPT_SECONDS = 3600.0


@dataclass
class SweeperRun:
    """A run of the sweeper, under a lease that one run at a time can have, and the state that is kept between runs.

    Attributes:
        until: End of the lease (epoch seconds).
        notified: Time of the last notification by the fallback topic or the phones (epoch seconds), by channel.
        above: Times of the first and of the last of the consecutive runs that found a channel above its rate limit
            (epoch seconds), by channel.
        health: State of each channel that is sick, or was a short time ago.
        expected: Expectation of shares of each channel whose policy has `expect_share_every`.
        canaries: Canary of each channel whose policy has `canary`.
        is_whole: False if a shard of the `due` index has more rows than this run reads.
        has_queue: False if the retry queue failed in this run.
        invocations: Number of times that the run invoked the worker directly.
    """

    until: float
    notified: dict[str, float] = field(default_factory=dict)
    above: dict[str, tuple[float, float]] = field(default_factory=dict)
    health: dict[str, ChannelState] = field(default_factory=dict)
    expected: dict[str, ShareWatch] = field(default_factory=dict)
    canaries: dict[str, Canary] = field(default_factory=dict)
    is_whole: bool = True
    has_queue: bool = True
    invocations: int = 0
    _sequence: int = 0

    @classmethod
    def begin(cls, table: Table, now: float) -> Self | None:
        """Start a run by taking the sweeper's lease; None if another run has it. Raises LedgerError."""
        found = table.read(KEY)
        none: dict[str, Any] = {}
        before = parsed(found, dict, none)
        # A longer lease is none of a run's: it would keep all runs out, and no alarm would go off.
        if 0 < float(before.get("until", 0.0)) - now <= 2 * SWEEP_LEASE_SECONDS:
            return None
        told = before.get("notified", {})
        notified = {name: at for name, at in told.items() if now - at < NOTES_KEPT_SECONDS}
        above = {name: (began, last) for name, (began, last) in before.get("above", {}).items()}
        run = cls(now + SWEEP_LEASE_SECONDS, notified, above, _sequence=found.sequence if found else 0)
        # A state that cannot be read is lost: one message is repeated, and the fallback is notified all the same.
        with suppress(TypeError, ValueError, AttributeError):
            run.health = {name: ChannelState.of(members) for name, members in before.get("health", {}).items()}
            expected = before.get("expected", {}).items()
            run.expected = {name: ShareWatch(float(every), float(since)) for name, (every, since) in expected}
            run.canaries = canaries_of(before)
        return run if run.record(table) else None

    def record_notified(self, table: Table, channels: Iterable[str], now: float) -> None:
        """Record that the fallback topic or the phones were told of these channels at `now`. Raises LedgerError."""
        self.notified.update(dict.fromkeys(channels, now))
        self.record(table)

    def above_since(self, channels: Collection[str], now: float) -> dict[str, float]:
        """Note that these channels owe more than their rate limits let through at `now`; `record` stores that.

        Returns, by channel, the time of the first of the consecutive runs that found it so (epoch seconds).
        """
        in_a_row = {name: began for name, (began, last) in self.above.items() if now - last <= IN_A_ROW_SECONDS}
        since = {name: in_a_row.get(name, now) for name in channels}
        self.above = {name: (began, now) for name, began in since.items()}
        return since

    def end(self, table: Table) -> None:
        """Give the sweeper's lease back, and store the state for the next run. Raises LedgerError."""
        self.until = 0.0
        self.record(table)

    def record(self, table: Table) -> bool:
        """Store the state as it is now. Return False if another run took the lease meanwhile. Raises LedgerError."""
        members = {
            "until": self.until,
            "notified": self.notified,
            "above": self.above,
            "health": {name: state.members() for name, state in self.health.items()},
            "expected": self.expected,
            "canaries": self.canaries,
        }
        sequence = table.write(KEY, self._sequence, json.dumps(members, separators=(",", ":")))
        self._sequence = sequence or self._sequence
        return sequence is not None


def canaries_of(members: Mapping[str, Any]) -> dict[str, Canary]:
    """Return the canary of each channel. `members` is the stored state of the sweeper's runs."""
    return {name: Canary(*each[: len(Canary._fields)]) for name, each in members.get("canaries", {}).items()}


# Time limit of reading policies, so that unreadable secrets do not use up the run.
POLICY_SECONDS = 8.0
# Policy of a channel without a copy that can't be read for NOTIFIED_WITHIN_SECONDS. Proof may be awaited of a critical
# that rang: a false alarm is better than a silence.
UNREAD = Policy(notified_within_seconds=NOTIFIED_WITHIN_SECONDS)


@dataclass(frozen=True)
class SweepPolicies:
    """The policies of channels, each read once in a run of the sweeper.

    Attributes:
        unread: Channels whose secret could not be read in this run, so that their policy is not known.
        unread_since: Time of the first run that could not read a channel's policy (epoch seconds).
    """

    tools: Tools
    known: dict[str, Policy] = field(default_factory=dict, init=False, repr=False)
    unread: set[str] = field(default_factory=set, init=False, repr=False)
    removed: set[str] = field(default_factory=set, init=False, repr=False)
    unread_since: dict[str, float] = field(default_factory=dict, init=False, repr=False)

    def begin_run(self) -> None:
        self.known.clear()
        self.unread.clear()
        self.removed.clear()

    def read(self, channels: Iterable[str]) -> None:
        """Read the policies of these channels in parallel.

        If no time is left for a channel, it counts as unread, with the policy of its cached copy or the default.
        """
        deadline = self.tools.deadlines(POLICY_SECONDS)

        def read_one(channel: str) -> None:
            if deadline.remaining():
                self.of(channel)
            else:
                copy = self.tools.channels.cached(channel)
                self.known.setdefault(channel, copy.policy if copy else Policy())
                self.unread.add(channel)

        self.tools.at_once([partial(read_one, channel) for channel in dict.fromkeys(channels)])

    def of(self, channel: str) -> Policy:
        """Return a channel's policy, read once in a run.

        | channel | policy |
        | --- | --- |
        | removed | the default policy |
        | can't be read, with a cached copy | that of the copy |
        | can't be read, without a copy | the default policy |
        | unread for NOTIFIED_WITHIN_SECONDS | UNREAD, which awaits a proof that a device got each critical |
        """
        if channel not in self.known:
            self.known[channel] = self._read_policy(channel)
        return self.known[channel]

    def with_holds(self, row: DueRow, now: float) -> Entry:
        """Return a row's entry, in which `debt.paused_until` is the end of its last hold, also of a past one.

        A hold is a pause, or the least time between two signals.
        """
        policy = self.of(row.channel)
        return judgement.with_holds(row.entry, policy, now, is_policy_known=row.channel not in self.unread)

    def _read_policy(self, channel: str) -> Policy:
        unread_since = self.unread_since.pop(channel, None)
        try:
            return self.tools.channels.for_work(channel).policy
        except UnknownChannel:
            self.removed.add(channel)
            return Policy()
        except ChannelError:
            pass
        except Exception as error:  # noqa: BLE001 - a fault in one channel must not stop the others
            self.tools.telemetry.crashed(error)
        now = self.tools.clock()
        self.unread.add(channel)
        self.unread_since[channel] = since = now if unread_since is None else unread_since
        return UNREAD if now - since >= NOTIFIED_WITHIN_SECONDS else Policy()


def is_resumed(policies: SweepPolicies, row: DueRow, now: float) -> bool:
    """True if a state waits for a pause that was ended early, and the sweeper has not woken the state since.

    False if the channel's policy can't be read: then the pause lasts until the end that the entry records.
    """
    debt = row.entry.debt
    is_sent = debt.row is not None and (debt.row.is_unbegun or debt.row.begun > 0)
    if debt.paused_until <= now or is_sent or row.channel in policies.unread:
        return False
    pauses = policies.of(row.channel).pauses
    return not any(each.is_active(now) and each.id == debt.paused_by for each in pauses)

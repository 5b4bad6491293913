"""Reading of the status of a stack's channels, once or repeatedly. If a source fails, the others are still read."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from relay.channels.channel import Channel
from relay.channels.parsing import parse_channel
from relay.delivery.channel_health import Debts, RefusedCredentials, ShareWatch
from relay.failures.errors import InvalidChannel
from relay.ledger.channel_rate_limiter import Gate
from relay.ledger.entry_key import channel_of, key
from relay.ledger.ledger import Ledger
from relay.ledger.row import CRITICAL, OTHER, shards
from relay.ledger.sources import Sources
from relay.ledger.table import Table
from relay.ledger.wait import gate_of
from relay.sweeper.credential_probe import Probe, Probes, read_probes
from relayctl.aws_errors import guarded
from relayctl.channel import credential_uses
from relayctl.channel.credential_uses import Use
from relayctl.channel.revocation import bounded_table
from relayctl.channel.store import ChannelStore
from relayctl.log_lines import WEBHOOK, LogReader
from relayctl.stack import hour_traffic
from relayctl.stack.channel_status import ChannelStatus, last_share
from relayctl.stack.deployed import Stack
from relayctl.stack.hour_traffic import PATTERNS, HourTraffic, Refused
from relayctl.stack.queue_depths import UndeliveredJobs

# Rows that are read of a shard of the ledger's index, as the sweeper reads them.
MAX_ROWS = 5000
# Uses, which are recorded once an hour, and refused requests, for which a day's log is read, are read less often.
USES_SECONDS = 60.0


class StackStatus(NamedTuple):
    """Status of the channels of a stack.

    Attributes:
        at: Time of the reading (epoch seconds).
        channels: Status of each channel.
        undelivered: Jobs on the queues, of all channels; None if SQS could not be asked.
        problems: Sources that failed or were not read wholly, in words.
        is_partial: True if the numbers of shares and signals are too low, since there were too many log lines.
    """

    at: float
    channels: list[ChannelStatus]
    undelivered: UndeliveredJobs | None
    problems: list[str]
    is_partial: bool


class _Secret(NamedTuple):
    """A channel's secret as it was read.

    Attributes:
        changed_at: Time of its last change (ISO 8601); None if unknown.
        channel: The channel; None if the secret was not read, or is not valid.
        problem: The reason why the secret is not valid; None if it is valid, or was not read.
    """

    changed_at: str | None = None
    channel: Channel | None = None
    problem: str | None = None


@dataclass
class StatusReader:
    """Reads the status of channels.

    Attributes:
        stack: The stack.
        only: Name of the only channel to read; None for all channels.
        has_pages: False to leave out the last confirmed pages.
    """

    stack: Stack
    only: str | None = None
    has_pages: bool = True
    _traffic: HourTraffic = field(default_factory=HourTraffic)
    _names: dict[str, str | None] = field(default_factory=dict)
    _secrets: dict[str, _Secret] = field(default_factory=dict)
    _uses: dict[str, tuple[float, list[Use]]] = field(default_factory=dict)
    _probes: Probes = field(default_factory=Probes)
    _problems: list[str] = field(default_factory=list)
    # Time of the last reading of refused requests (epoch seconds), and the requests; None before the first.
    _refused: tuple[float, Mapping[str, Refused] | None] = (0.0, None)

    def read(self) -> StackStatus:
        """Read the status of the channels now. Raises StackMissingError."""
        now, self._problems = self.stack.effects.clock(), []
        store, table = ChannelStore(self.stack), bounded_table(self.stack)
        self._list(store)
        debts = self._debts(Ledger(table))
        has_traffic = self._count(now)
        self._probes = self._read_probes(table, now)
        # A removed channel is shown as long as a worker or the sweeper has something to do for it.
        removed = (name for name, each in (debts or {}).items() if each.owed or each.unnotified or each.pages_missing)
        names = {*self._names, *removed}
        wanted = sorted(names if self.only is None else names & {self.only})
        channels = [self._channel(store, table, name, debts, now, has_traffic=has_traffic) for name in wanted]
        undelivered = self._guarded("queues", lambda: UndeliveredJobs.of(self.stack))
        if self._traffic.is_partial:
            self._problems.append("log: more lines than are read; shares and signals are at least what is shown")
        problems = list(dict.fromkeys(self._problems))
        return StackStatus(now, channels, undelivered, problems, self._traffic.is_partial)

    def read_without_logs(self, changed_at: Mapping[str, str | None]) -> StackStatus:
        """Read the status of the channels in `changed_at` without traffic and queues. Raises StackMissingError.

        `changed_at` has the time of the last change of each secret by channel (ISO 8601, or None). The reading makes no
        call of CloudWatch Logs, and some calls to the ledger for each channel.
        """
        now, self._problems, self._names = self.stack.effects.clock(), [], dict(changed_at)
        store, table = ChannelStore(self.stack), bounded_table(self.stack)
        debts = self._debts(Ledger(table))
        self._probes = self._read_probes(table, now)
        channels = [self._channel(store, table, name, debts, now, has_traffic=False) for name in sorted(changed_at)]
        return StackStatus(now, channels, None, list(dict.fromkeys(self._problems)), is_partial=False)

    def _read_probes(self, table: Table, now: float) -> Probes:
        return self._guarded("ledger", lambda: read_probes(table, now)) or Probes()

    def _list(self, store: ChannelStore) -> None:
        found = self._guarded("channels", lambda: dict(store.names()))
        if found is not None:
            self._names = found
        elif self.only is not None:
            self._names.setdefault(self.only, None)

    def _debts(self, ledger: Ledger) -> dict[str, Debts] | None:
        """Return the debts by channel; None if the ledger cannot be read."""

        def read() -> dict[str, Debts]:
            found: dict[str, Debts] = {}
            for shard in (*shards(CRITICAL), *shards(OTHER)):
                rows = list(ledger.due(shard, MAX_ROWS))
                # A row that is written during the query can appear twice.
                for name, entry in dict(rows).items():
                    found.setdefault(channel_of(name), Debts()).add(entry)
                if len(rows) == MAX_ROWS:
                    self._problems.append(f"ledger: more debts than are read; shard {shard} has {MAX_ROWS} or more")
            return found

        return self._guarded("ledger", read)

    def _count(self, now: float) -> bool:
        """Count the shares and signals in the functions' new log lines; return False if a log cannot be read."""
        reader = LogReader(self.stack.logs, self.stack.name)

        def read(function: str) -> bool:
            self._traffic.read(reader, function, now)
            return True

        if now - self._refused[0] >= USES_SECONDS:
            self._refused = now, self._guarded(f"log {WEBHOOK}", lambda: hour_traffic.read_refused(reader, now))

        unread = [function for function in PATTERNS if not self._guarded(f"log {function}", partial(read, function))]
        return not unread

    def _channel(
        self,
        store: ChannelStore,
        table: Table,
        name: str,
        debts: Mapping[str, Debts] | None,
        now: float,
        *,
        has_traffic: bool,
    ) -> ChannelStatus:
        """Return the status of a channel; `debts` are those of all channels, None if they cannot be read."""
        secret = self._secret(store, name)
        channel, traffic = secret.channel, self._traffic.of(name, now)
        gate = self._guarded("ledger", lambda: Gate.of(table.numbers(gate_of(name))))
        status = ChannelStatus(
            name,
            changed_at=_seconds(self._names.get(name)),
            problem=secret.problem,
            traffic=traffic if has_traffic else None,
            debts=None if debts is None else debts.get(name, Debts()),
            gate=gate,
        )
        if channel is None:
            return status
        status = status._replace(policy=channel.policy, confirms_pages=channel.rest is not None)
        if has_traffic and self._refused[1] is not None:
            status = status._replace(refused_requests=self._refused[1].get(name, Refused(0, 0.0)))
        if self.has_pages and channel.rest and traffic.incidents:
            at, page = self._guarded("ledger", lambda: self._page(table, name, traffic.incidents)) or (None, "")
            status = status._replace(page_at=at, page=page)
        uses = self._last_uses(table, channel, now)
        probe, prints = self._probes.channels.get(name, Probe()), channel.api_fingerprints()
        kinds = probe.refused_among(prints)
        return status._replace(
            uses=uses or (),
            shares=_share_watch(channel, uses, status.changed_at),
            probed_at=probe.at if probe.at and prints else None,
            refused=RefusedCredentials(name, kinds) if kinds else None,
        )

    def _secret(self, store: ChannelStore, name: str) -> _Secret:
        """Return the channel's secret; an earlier reading is used again if the secret's time of change is the same."""
        if name not in self._names:
            return _Secret(problem="the channel was removed")
        changed_at, known = self._names[name], self._secrets.get(name)
        if known and known.changed_at == changed_at and changed_at is not None:
            return known
        texts = self._guarded(f"secret of channel {name}", lambda: [store.text(name)])
        if texts is None:
            return _Secret()
        self._secrets[name] = self._parsed(name, texts[0], changed_at)
        return self._secrets[name]

    def _parsed(self, name: str, text: str | None, changed_at: str | None) -> _Secret:
        if text is None:
            return _Secret(problem="the channel was removed")
        try:
            return _Secret(changed_at, parse_channel(name, text, self.stack.hosts))
        except InvalidChannel as error:
            return _Secret(changed_at, problem=f"its secret is not valid: {error}")

    def _page(self, table: Table, name: str, incidents: tuple[str, ...]) -> tuple[float | None, str]:
        """Find the latest signal of these incidents with a known page; return its time and the page's number.

        The time is in epoch seconds. Without such a signal, return None and an empty text. Raises LedgerError.
        """
        shared = Sources(table, self.stack.effects.clock).of_incidents(name, incidents)
        keys = [key(name, each, incident) for incident in incidents for each in ((), *shared.get(incident, ()))]
        entries = Ledger(table).read_many(keys).values()
        signals = [signal for entry in entries for signal in entry.accepted_signals if signal.pages]
        newest = max(signals, key=lambda each: each.at, default=None)
        return (newest.at, newest.page_number) if newest else (None, "")

    def _last_uses(self, table: Table, channel: Channel, now: float) -> list[Use] | None:
        """Return the last uses of the channel's credentials; None if they cannot be read."""
        at, known = self._uses.get(channel.name, (0.0, []))
        if now - at < USES_SECONDS:
            return known
        found = self._guarded("ledger", lambda: credential_uses.read(table, channel))
        if found is not None:
            self._uses[channel.name] = (now, found)
        return found

    def _guarded[T](self, source: str, read: Callable[[], T]) -> T | None:
        """Return the result of reading a source; if it fails, note the reason in the problems, and return None."""
        return guarded(read, lambda error: self._problems.append(f"{source}: {error}"))


def _share_watch(channel: Channel, uses: Sequence[Use] | None, changed_at: float | None) -> ShareWatch | None:
    """Return the interval at which the policy expects shares, and the time of the last share.

    If no share is known, the time of the last change of the channel's secret stands for it. Return None if neither time
    is known, if the policy expects no shares, or if the uses of credentials (`uses`) could not be read.
    """
    every = channel.policy.expect_share_every
    if every is None or uses is None:
        return None
    shared_at = last_share(uses)
    since = changed_at if shared_at is None else shared_at
    return None if since is None else ShareWatch(every, since)


def _seconds(moment: str | None) -> float | None:
    return None if moment is None else datetime.fromisoformat(moment).timestamp()


def watched(reader: StatusReader, every: float, sleep: Callable[[float], Any]) -> Iterator[StackStatus]:
    """Yield the status again and again, with a pause of `every` seconds."""
    while True:
        yield reader.read()
        sleep(every)

"""Reading of the status of a stack's channels. If a source fails, the others are still read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from relay.delivery.channel_health import Debts, RefusedCredentials, ShareWatch
from relay.failures import InvalidChannel
from relay.ledger.channel_rate_limiter import Gate, gate_of
from relay.ledger.entry_key import channel_of
from relay.ledger.table import Ledger, Table
from relay.sweeper.canary import Canary
from relay.sweeper.credential_probe import Probe, Probes, read_probes
from relayctl.channel import endpoints
from relayctl.channel.endpoints import last_use
from relayctl.channel.store import ChannelStore
from relayctl.failed_calls import Readings
from relayctl.kept_by_functions import read_canaries
from relayctl.log_lines import WEBHOOK
from relayctl.stack import channel_status
from relayctl.stack.channel_status import PATTERNS, ChannelStatus, Refused, Traffic
from relayctl.stack.deployed import Stack
from relayctl.stack.owed import MAX_ROWS, UndeliveredJobs, due

_REMOVED = "the channel was removed"


class StackStatus(NamedTuple):
    """Status of the channels of a stack."""

    at: float  # Time of the reading (epoch seconds)
    channels: list[ChannelStatus]
    undelivered: UndeliveredJobs | None  # Of all channels; None if SQS was not asked, or failed
    problems: list[str]  # Sources that failed or were not read wholly, in words
    is_partial: bool  # True if the numbers of shares and signals are too low, since there were too many log lines

    def of(self, name: str) -> ChannelStatus | None:
        return next((each for each in self.channels if each.name == name), None)


@dataclass
class StatusReader:
    """Reads the status of channels."""

    stack: Stack
    only: str | None = None  # Name of the only channel to read; None for all channels
    has_logs: bool = True  # False to leave out the logs and the queues, and channels that were removed
    _readings: Readings = field(default_factory=Readings)
    _refused: Mapping[str, Refused] | None = None  # By channel; None if they are not read

    def read(self) -> StackStatus:
        self._readings = Readings()
        now, store, table = self.stack.effects.clock(), ChannelStore(self.stack), self.stack.bounded_table()
        listed = self._readings.read("channels", store.names)
        if listed is None and self.only is not None:
            listed = {self.only: None}
        debts = self._readings.read("ledger", lambda: self._debts(Ledger(table)))
        traffic, is_partial = self._traffic(now)
        probes = self._readings.read("ledger", lambda: read_probes(table, now)) or Probes()
        canaries = self._readings.read("ledger", lambda: read_canaries(table))
        names = set(listed or ())
        if self.has_logs:
            # A removed channel is shown as long as a worker or the sweeper has something to do for it.
            names |= {
                name for name, each in (debts or {}).items() if each.owed or each.unnotified or each.pages_missing
            }
        channels = list[ChannelStatus]()
        for name in sorted(names if self.only is None else names & {self.only}):
            status = ChannelStatus(
                name,
                changed_at=(listed or {}).get(name),
                traffic=None if traffic is None else traffic.get(name, Traffic()),
                debts=None if debts is None else debts.get(name, Debts()),
                gate=self._readings.read("ledger", partial(self._gate, table, name)),
                problem=None if name in (listed or {}) else _REMOVED,
            )
            probe = probes.channels.get(name, Probe())
            channels.append(status if status.problem else self._with_secret(table, status, probe, canaries))
        undelivered = self._readings.read("queues", lambda: UndeliveredJobs.of(self.stack)) if self.has_logs else None
        return StackStatus(now, channels, undelivered, self._readings.problems, is_partial)

    def _debts(self, ledger: Ledger) -> dict[str, Debts]:
        rows = due(ledger)
        if len(rows) >= MAX_ROWS:
            self._readings.add("ledger", problem=f"maybe more debts than are read; the index has {len(rows)} or more")
        found: dict[str, Debts] = {}
        for name, entry in rows.items():
            found.setdefault(channel_of(name), Debts()).add(entry)
        return found

    def _traffic(self, now: float) -> tuple[dict[str, Traffic] | None, bool]:
        if not self.has_logs:
            return None, False
        reader, found = self.stack.logs, dict[str, Traffic]()
        self._refused = self._readings.read(f"log {WEBHOOK}", partial(channel_status.read_refused, reader, now))
        read = [
            self._readings.read(f"log {function}", partial(channel_status.count, reader, function, now, found))
            for function in PATTERNS
        ]
        if False in read:
            self._readings.add("log", problem="more lines than are read; shares and signals are at least what is shown")
        return None if None in read else found, False in read

    @staticmethod
    def _gate(table: Table, name: str) -> Gate:
        return Gate.of(table.numbers(gate_of(name)))

    def _with_secret(
        self, table: Table, status: ChannelStatus, probe: Probe, canaries: Mapping[str, Canary] | None
    ) -> ChannelStatus:
        channel = None
        with self._readings.reading(f"secret of channel {status.name}"):
            try:
                channel = ChannelStore(self.stack).channel(status.name)
            except InvalidChannel as error:
                return status._replace(problem=f"its secret is not valid: {error}")
            if channel is None:
                return status._replace(problem=_REMOVED)
        if channel is None:
            return status
        policy, uses = channel.policy, self._readings.read("ledger", partial(endpoints.read_uses, table, channel))
        refused = self._refused if status.traffic is not None else None
        prints = channel.api_fingerprints()
        kinds = probe.refused_among(prints)
        # If no share is known, the last change of the secret stands for it.
        since = last_use(uses or (), "inbound", "current", "previous") or status.changed_at
        every = None if uses is None else policy.expect_share_every
        return status._replace(
            policy=policy,
            refused_requests=None if refused is None else refused.get(status.name, Refused(0, 0.0)),
            uses=uses or (),
            shares=None if every is None or since is None else ShareWatch(every, since),
            probed_at=probe.at if probe.at and prints else None,
            refused=RefusedCredentials(status.name, kinds) if kinds else None,
            canary=canaries.get(status.name, Canary()) if policy.canary and canaries is not None else None,
        )

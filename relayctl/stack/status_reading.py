"""Reading of the state of a stack: what is owed, and the status of its channels. After a failure the rest is read."""

from collections import defaultdict
from functools import partial
from typing import NamedTuple, Self

from relay.delivery.channel_health import Debts, ShareWatch, refusals
from relay.failures import InvalidChannel
from relay.ledger.channel_rate_limiter import Gate, gate_of
from relay.ledger.debt import CRITICAL, OTHER, shards
from relay.ledger.entry import Entry
from relay.ledger.entry_key import channel_of
from relay.ledger.table import Ledger, parsed
from relay.sweeper.canary import Canary
from relay.sweeper.credential_probe import Probe, Probes, read_probes
from relay.sweeper.run import KEY, canaries_of
from relayctl.channel import endpoints
from relayctl.channel.endpoints import last_use
from relayctl.channel.store import ChannelStore
from relayctl.dlq.queue import QueueDepth
from relayctl.dlq.reading import Filter, choosing, held_elsewhere
from relayctl.failed_calls import Readings
from relayctl.stack import channel_status
from relayctl.stack.channel_status import ChannelStatus
from relayctl.stack.deployed import Stack

# Rows that are read of a shard of the ledger's index, as the sweeper reads them.
MAX_ROWS = 5000
_REMOVED = "the channel was removed"


class UndeliveredJobs(NamedTuple):
    """Approximate numbers of undelivered jobs of all channels of a stack: SQS cannot count by channel."""

    waiting: int  # On retry and chore queue; a share's job stays 36 seconds after its delivery
    dead_lettered: int  # Jobs on the dead-letter queue

    @classmethod
    def of(cls, stack: Stack) -> Self:
        """Read the approximate numbers of waiting and of dead-lettered jobs of a stack from SQS."""
        sqs, outputs = stack.session.client("sqs"), ("RetryQueueUrl", "ChoreQueueUrl", "DeadLetterQueueUrl")
        retry, chore, dead = (QueueDepth.of(sqs, stack.output(name)).about for name in outputs)
        return cls(retry + chore, dead)


class Owed(NamedTuple):
    """Owed states and undelivered jobs of one channel, or of all channels of a stack."""

    debts: Debts | None  # Owed states in the ledger; None if the ledger could not be read
    dead_lettered: int  # Number of dead-lettered jobs
    undelivered: UndeliveredJobs  # Approximate numbers of jobs on the queues, of all channels
    problems: list[str]  # Sources that could not be read, in words; then more may be owed

    @classmethod
    def of(cls, stack: Stack, channel: str | None) -> Self:
        """Read what is owed for a channel; None for all. Raises botocore's exceptions if queues cannot be counted."""
        readings, undelivered, debts, dead = Readings(), UndeliveredJobs.of(stack), None, 0
        with readings.reading("ledger"):
            rows = due(Ledger(stack.bounded_table())).items()
            debts = Debts.of(entry for key, entry in rows if channel in {None, channel_of(key)})
        if undelivered.dead_lettered:
            with readings.reading("dead-letter queue"), choosing(stack, Filter(channel=channel)) as choice:
                dead = len(choice.jobs) + len(choice.unreadable)
                if held := choice.depth.held:
                    readings.note("dead-letter queue", held_elsewhere(held))
        return cls(debts, dead, undelivered, readings.problems)

    @property
    def owed(self) -> int:
        """Number of owed states, as far as it is known."""
        return self.debts.owed if self.debts else 0

    def __str__(self) -> str:
        owed = channel_status.owed_words(self.debts or Debts())
        dead = f"{self.dead_lettered} dead-lettered" if self.dead_lettered else ""
        unknown = (f"what is owed for this channel is not known: {each}" for each in self.problems)
        return "; ".join(filter(None, [owed, dead, *unknown]))

    def advice(self, name: str) -> str:
        """Return what an operator can do to have all this delivered, or to remove the channel all the same."""
        return (
            f"relayctl incident list --owed --channel {name} and relayctl dlq list --channel {name} name what is owed; "
            f"relayctl channel resume {name} ends a pause, relayctl dlq replay --channel {name} --yes delivers what is "
            "dead-lettered, --drain waits until nothing is owed, and --drop-owed removes the channel now"
        )


def due(ledger: Ledger) -> dict[str, Entry]:
    """Return the entries that the ledger's index has as owed or given up, by their keys. Raises LedgerError."""
    # A row that is written during the query can appear twice.
    return {key: each for shard in (*shards(CRITICAL), *shards(OTHER)) for key, each in ledger.due(shard, MAX_ROWS)}


class StackStatus(NamedTuple):
    """Status of the channels of a stack."""

    at: float  # Time of the reading (epoch seconds)
    channels: list[ChannelStatus]
    undelivered: UndeliveredJobs | None  # Of all channels; None if SQS was not asked, or failed
    readings: Readings  # Sources that failed or were not read wholly

    def of(self, name: str) -> ChannelStatus | None:
        return next((each for each in self.channels if each.name == name), None)


def read_status(stack: Stack, only: str | None = None, *, has_logs: bool = True) -> StackStatus:
    """Read the status of the channel `only`, or of all; without logs also without queues and removed channels."""
    readings, now, store, table = Readings(), stack.effects.clock(), ChannelStore(stack), stack.bounded_table()
    listed = readings.read("channels", store.names)
    if listed is None:
        listed = {only: None} if only else {}
    rows, debts = readings.read("ledger", lambda: due(Ledger(table))), defaultdict[str, Debts](Debts)
    for name, entry in (rows or {}).items():
        debts[channel_of(name)].add(entry)
    traffic = channel_status.read_traffic(stack.logs, readings, now) if has_logs else None
    probes = readings.read("ledger", lambda: read_probes(table, now)) or Probes()
    none: dict[str, Canary] = {}
    # The canary of each channel as the sweeper's last run left it.
    canaries = readings.read("ledger", lambda: parsed(table.read(KEY), canaries_of, none))
    names = set(listed)
    if has_logs:
        # A removed channel is shown as long as a worker or the sweeper has something to do for it.
        names |= {name for name, each in debts.items() if each.owed or each.unnotified or each.pages_missing}
    channels = list[ChannelStatus]()
    for name in sorted(names if only is None else names & {only}):
        gate = readings.read("ledger", partial(table.numbers, gate_of(name)))
        status = ChannelStatus(
            name,
            changed_at=listed.get(name),
            traffic=None if traffic is None else traffic[name],
            debts=None if rows is None else debts[name],
            gate=None if gate is None else Gate.of(gate),
            problem=None if name in listed else _REMOVED,
        )
        with readings.reading(f"secret of channel {name}"):
            status = status if status.problem else _with_secret(store, status)
        if channel := status.channel:
            uses = readings.read("ledger", partial(endpoints.read_uses, table, channel))
            kinds = probes.channels.get(name, Probe()).refused_among(channel.api_fingerprints())
            # If no share is known, the last change of the secret stands for it.
            since = last_use(uses or (), "inbound", "current", "previous") or status.changed_at
            every = None if uses is None else channel.policy.expect_share_every
            status = status._replace(
                uses=uses or (),
                shares=None if every is None or since is None else ShareWatch(every, since),
                refused=refusals(name, kinds),
                canary=canaries.get(name, Canary()) if channel.policy.canary and canaries is not None else None,
            )
        channels.append(status)
    undelivered = readings.read("queues", lambda: UndeliveredJobs.of(stack)) if has_logs else None
    return StackStatus(now, channels, undelivered, readings)


def _with_secret(store: ChannelStore, status: ChannelStatus) -> ChannelStatus:
    try:
        channel = store.channel(status.name)
    except InvalidChannel as error:
        return status._replace(problem=f"its secret is not valid: {error}")
    return status._replace(channel=channel, problem=None if channel else _REMOVED)

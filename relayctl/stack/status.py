"""relayctl status and doctor: the status of channels, as far as it can be read, their health, and checks of all."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Any, NamedTuple, Self

import click

from relay.channels.channel import Channel
from relay.channels.policy import Policy
from relay.failures import InvalidChannel
from relay.foreign_text import printable
from relay.health import judgement
from relay.health.judgement import Debts, ShareWatch, age, owed_reasons
from relay.incidents.share import TEST_PREFIX
from relay.ledger.debt import CRITICAL, OTHER, shards
from relay.ledger.entry import Entry, channel_of
from relay.ledger.rate_limit_and_circuit import Gate, gate_of
from relay.ledger.table import Ledger, parsed
from relay.sweeper.canary import Canary
from relay.sweeper.credential_probe import Probe, Probes, read_probes
from relay.sweeper.run import KEY, canaries_of
from relayctl import check_results, moments, terminal
from relayctl.channel import checks, pauses
from relayctl.channel.endpoints import Use, last_use, read_uses
from relayctl.channel.store import CHANNEL, NO_CHANNELS, ChannelStore
from relayctl.check_results import Check, failed, ok, warning
from relayctl.dlq.queue import Filter, QueueDepth, choosing
from relayctl.failed_calls import Readings, tried
from relayctl.log_lines import JOB_WORKER, WEBHOOK, Line, LinesCutError, LogReader
from relayctl.moments import DAY, HOUR
from relayctl.stack.checks import StackChecks
from relayctl.stack.deployed import Stack, StackMissingError, on_stack
from relayctl.terminal import counted

# The lines that count: function and message, how far back in seconds, and answers of FilterLogEvents that are read.
_READ = ((WEBHOOK, "share", HOUR, 60), (JOB_WORKER, "job", HOUR, 60), (WEBHOOK, "request refused", DAY, 30))


@dataclass
class Traffic:
    """Traffic of a channel in the last hour, and its refused requests of the last day. Times are epoch seconds."""

    shares: int = 0
    signals: int = 0  # Number of signals that xMatters accepted
    last_share: float | None = None  # Other than of a test incident
    last_signal: float | None = None  # Time of the last accepted signal
    refused: int = 0  # Requests with a wrong credential
    refused_at: float = 0.0  # Time of the last one

    def add(self, line: Line) -> None:
        if line.message == "request refused":
            is_share = line.fields.get("may_be_share") is True
            self.refused, self.refused_at = self.refused + is_share, max(self.refused_at, line.at * is_share)
            return
        is_share = line.message == "share"
        self.shares += is_share
        if is_share and not line.text("incident_id").startswith(TEST_PREFIX):
            self.last_share = max(self.last_share or 0.0, line.at)
        if line.text("outcome") == "delivered" and (is_share or line.text("kind") in {"signal", ""}):
            self.signals += 1
            self.last_signal = max(self.last_signal or 0.0, line.at)

    def refused_words(self, now: float) -> str:
        """Return how many requests had a wrong credential, and when the last one came, in words."""
        requests, ago = counted(self.refused, "request"), age(now - self.refused_at)
        return f"{requests} with a wrong credential refused in a day, the last {ago} ago"


def read_traffic(reader: LogReader, readings: Readings, now: float) -> Mapping[str, Traffic] | None:
    """Return traffic by channel; None if a log cannot be read. `readings` notes if too many lines make it too low."""
    found, complete = defaultdict[str, Traffic](Traffic), 0
    for function, message, seconds, most in _READ:
        with readings.reading(f"log {function}"):
            try:
                for line in reader.lines(function, (message,), now - seconds, most):
                    found[line.text("channel")].add(line)
            except LinesCutError as error:
                readings.note(f"log {function}", str(error))
            complete += 1
    return found if complete == len(_READ) else None


class Health(StrEnum):
    """Degree of a channel's health; the members are in order, the worst first."""

    SICK = "sick"
    UNKNOWN = "unknown"
    OWES = "owes"
    OK = "ok"


class ChannelStatus(NamedTuple):
    """Status of a channel, from which its health is judged. An attribute is None if it could not be read."""

    name: str
    changed_at: float | None = None  # Time of the last change of its secret (epoch seconds)
    problem: str | None = None  # Why the secret cannot be used; None if it is valid, or was not read
    channel: Channel | None = None
    traffic: Traffic | None = None  # Traffic of the last hour
    debts: Debts | None = None  # The channel's states that are owed to xMatters; None if they could not be read
    gate: Gate | None = None  # State of its rate limiter and circuit breaker (`ledger.rate_limit_and_circuit`)
    uses: Sequence[Use] = ()  # Last uses of its credentials; empty if they could not be read
    shares: ShareWatch | None = None  # None if its policy expects none, or the last one is not known
    refused: Sequence[str] = ()  # Texts about unchanged credentials that a vendor refused when last probed
    canary: Canary | None = None  # Its canary; None if it has none, or if it could not be read

    @property
    def policy(self) -> Policy | None:
        return self.channel.policy if self.channel else None

    @property
    def shared_at(self) -> float | None:
        """Recorded time of the last accepted share (epoch seconds), up to an hour too early; None if not known."""
        return last_use(self.uses, "inbound", "current", "previous")


def judge(status: ChannelStatus, now: float) -> tuple[Health, list[str]]:
    """Return the health of a channel, and the reasons for it in words, the most important first."""
    debts = status.debts
    sick = [status.problem] if status.problem else []
    circuit = status.gate.circuit if status.gate else None
    failed = status.canary.failure if status.canary else ""
    sick += judgement.sick_reasons(debts, circuit, status.shares, now, refused=status.refused, canary=failed)
    sick += filter(None, [only_refused(status, now)])
    if sick:
        return Health.SICK, sick
    if debts is None:
        return Health.UNKNOWN, ["its debts could not be read"]
    if debts.oldest is not None and debts.oldest > now:
        until = moments.moment(debts.oldest)
        return Health.OWES, [f"{owed_words(debts)}, held until {until} by a pause, flap or distance"]
    if debts.owed:
        since = "?" if debts.oldest is None else age(now - debts.oldest)
        return Health.OWES, [f"owed for {since}{owed_reasons(debts)}"]
    if debts.given_up_other:
        return Health.OWES, [f"{debts.given_up_other} given up"]
    return Health.OK, []


def owed_words(debts: Debts) -> str:
    """Return the owed states in words, such as `1 critical, 2 other owed`; empty if nothing is owed."""
    counts = {"critical": debts.critical, "other": debts.other}
    said = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return f"{said} owed" if said else ""


def only_refused(status: ChannelStatus, now: float) -> str | None:
    """Return the reason why the channel is sick if requests were refused and no share was accepted since, else None."""
    traffic = status.traffic
    if traffic is None or not traffic.refused:
        return None
    # Without the right to read the secret the uses are not known, and only the last hour is judged.
    used_at = min((status.shared_at or 0.0) + HOUR, now - HOUR) if status.uses else now - HOUR
    is_accepted = (traffic.last_share or used_at) >= traffic.refused_at
    return None if is_accepted else f"{traffic.refused_words(now)}, and no share came since"


def document(status: ChannelStatus, now: float) -> dict[str, Any]:
    traffic, debts, gate, (health, why) = status.traffic, status.debts, status.gate, judge(status, now)
    until, circuit = gate.circuit.open_until if gate else None, None if gate is None else "closed"
    if gate and until is not None:
        circuit = "open" if gate.circuit.is_open(now) else "probing"
    return {
        "channel": status.name,
        "health": health,
        "why": why,
        **pauses.document(status.policy, now),
        "shares_last_hour": traffic.shares if traffic else None,
        "signals_last_hour": traffic.signals if traffic else None,
        "refused_last_day": traffic.refused if traffic else None,
        "last_share_at": moments.iso_or_none(traffic.last_share if traffic else status.shared_at),
        "last_signal_at": moments.iso_or_none(traffic.last_signal if traffic else None),
        "owed_critical": debts.critical if debts else None,
        "owed_other": debts.other if debts else None,
        "oldest_debt_at": moments.iso_or_none(debts.oldest if debts else None),
        "given_up_critical": debts.given_up if debts else None,
        "given_up_other": debts.given_up_other if debts else None,
        "circuit": circuit,
        "circuit_open_until": moments.iso_or_none(until if circuit == "open" else None),
        "rate_used": gate.counted(now) if gate else None,
        "rate_limit": status.policy.max_per_minute if status.policy else None,
        "secret_changed_at": moments.iso_or_none(status.changed_at),
        "credentials": [each.document() for each in status.uses],
        "canary_at": moments.iso_or_none((status.canary and status.canary.judged_at) or None),
        "canary_failure": (status.canary and status.canary.failure) or None,
    }


# Rows that are read of a shard of the ledger's index, as the sweeper reads them.
MAX_ROWS = 5000
_REMOVED = "the channel was removed"


def undelivered_jobs(stack: Stack) -> dict[str, int]:
    """Return the approximate numbers of undelivered jobs of all channels, since SQS cannot count by channel.

    `waiting` are on the retry and chore queues, where a share's job stays for 36 seconds after its delivery.
    """
    sqs, outputs = stack.session.client("sqs"), ("RetryQueueUrl", "ChoreQueueUrl", "DeadLetterQueueUrl")
    retry, chore, dead = (QueueDepth.of(sqs, stack.output(name)).about for name in outputs)
    return {"waiting": retry + chore, "dead_lettered": dead}


class Owed(NamedTuple):
    """Owed states and undelivered jobs of one channel, or of all channels of a stack."""

    debts: Debts | None  # Owed states in the ledger; None if the ledger could not be read
    dead_lettered: int  # Number of dead-lettered jobs
    undelivered: dict[str, int]  # Approximate numbers of jobs on the queues, of all channels
    problems: list[str]  # Sources that could not be read, in words; then more may be owed

    @classmethod
    def of(cls, stack: Stack, channel: str | None) -> Self:
        """Read what is owed for a channel; None for all. Raises botocore's exceptions if queues cannot be counted."""
        readings, undelivered, debts, dead = Readings(), undelivered_jobs(stack), None, 0
        with readings.reading("ledger"):
            rows = due(Ledger(stack.bounded_table())).items()
            debts = Debts.of(entry for key, entry in rows if channel in {None, channel_of(key)})
        if undelivered["dead_lettered"]:
            with readings.reading("dead-letter queue"), choosing(stack, Filter(channel=channel)) as choice:
                dead = len(choice.jobs) + len(choice.unreadable)
                if choice.unseen:
                    readings.note("dead-letter queue", choice.unseen)
        return cls(debts, dead, undelivered, readings.problems)

    def __str__(self) -> str:
        owed = owed_words(self.debts or Debts())
        dead = f"{self.dead_lettered} dead-lettered" if self.dead_lettered else ""
        unknown = (f"what is owed for this channel is not known: {each}" for each in self.problems)
        return "; ".join(filter(None, [owed, dead, *unknown]))


def due(ledger: Ledger) -> dict[str, Entry]:
    """Return by key the entries whose state is owed, given up, or not known to be heard. Raises LedgerError."""
    # A row that is written during the query can appear twice.
    return {key: each for shard in (*shards(CRITICAL), *shards(OTHER)) for key, each in ledger.due(shard, MAX_ROWS)}


class StackStatus(NamedTuple):
    """Status of the channels of a stack."""

    at: float  # Time of the reading (epoch seconds)
    channels: list[ChannelStatus]  # The least healthy first, then by name
    undelivered: dict[str, int] | None  # Of all channels; None if SQS was not asked, or failed
    readings: Readings  # Sources that failed or were not read wholly


@terminal.status("reading the ledger and the logs …")
def read_status(stack: Stack, only: str | None = None, *, has_logs: bool = True) -> StackStatus:
    """Read the status of the channel `only`, or of all. Without `has_logs`, skip logs, queues and removed channels."""
    readings, now, store, table = Readings(), stack.effects.clock(), ChannelStore(stack), stack.bounded_table()
    listed = readings.read("channels", store.names)
    if listed is None:
        listed = {only: None} if only else {}
    elif only and only not in listed and tried(partial(store.exists, only))[0]:
        # Secrets Manager lists a new channel minutes late.
        listed = {**listed, only: None}
    rows, entries = readings.read("ledger", lambda: due(Ledger(table))), defaultdict[str, list[Entry]](list)
    for name, entry in (rows or {}).items():
        entries[channel_of(name)].append(entry)
    debts = {name: Debts.of(some) for name, some in entries.items()}
    traffic = read_traffic(stack.logs, readings, now) if has_logs else None
    probes = readings.read("ledger", lambda: read_probes(table, now)) or Probes()
    canaries = readings.read("ledger", lambda: parsed(table.read(KEY), canaries_of, dict[str, Canary]()))
    names = set(listed)
    if has_logs:
        # A removed channel is shown as long as a worker or the sweeper has something to do for it.
        names |= {name for name, each in debts.items() if each.owed or each.unnotified or each.awaited}
    channels = list[ChannelStatus]()
    for name in sorted(names if only is None else names & {only}):
        gate = readings.read("ledger", partial(table.attributes, gate_of(name)))
        status = ChannelStatus(
            name,
            changed_at=listed.get(name),
            traffic=None if traffic is None else traffic[name],
            gate=None if gate is None else Gate.of(gate),
            problem=None if name in listed else _REMOVED,
        )
        with readings.reading(f"secret of channel {name}"):
            status = status if status.problem else _with_secret(store, status)
        is_known, policy = status.policy is not None, status.policy or Policy()
        held = (judgement.with_holds(each, policy, now, is_policy_known=is_known) for each in entries[name])
        status = status._replace(debts=None if rows is None else Debts.of(held))
        if channel := status.channel:
            uses = readings.read("ledger", partial(read_uses, table, channel))
            kinds = probes.channels.get(name, Probe()).refused_among(channel.api_fingerprints())
            # If no share is known, the last change of the secret stands for it.
            since = last_use(uses or (), "inbound", "current", "previous") or status.changed_at
            every = None if uses is None else channel.policy.expect_share_every
            status = status._replace(
                uses=uses or (),
                shares=None if every is None or since is None else ShareWatch(every, since),
                refused=judgement.refusals(name, kinds),
                canary=canaries.get(name, Canary()) if channel.policy.canary and canaries is not None else None,
            )
        channels.append(status)
    undelivered = readings.read("queues", lambda: undelivered_jobs(stack)) if has_logs else None
    channels.sort(key=lambda each: (list(Health).index(judge(each, now)[0]), each.name))
    return StackStatus(now, channels, undelivered, readings)


def _with_secret(store: ChannelStore, status: ChannelStatus) -> ChannelStatus:
    try:
        channel = store.channel(status.name)
    except InvalidChannel as error:
        return status._replace(problem=f"its secret is not valid: {error}")
    return status._replace(channel=channel, problem=None if channel else _REMOVED)


def health(status: StackStatus, name: str) -> Iterator[Check]:
    """Yield a channel's health as one result, FAILED if it is sick or not known; nothing if its secret is unusable."""
    channel = next((each for each in status.channels if each.name == name), None)
    # The check of the secret reports an invalid secret, and one that may not be read.
    if channel is None or channel.problem:
        return
    degree, why = judge(channel, status.at)
    unread = [each for each in status.readings.problems if not each.startswith("secret of ")]
    if degree == Health.SICK:
        yield failed("health", f"sick: {'; '.join(why)}")
    elif unread:
        yield failed("health", f"not checked: {'; '.join(unread)}")
    else:
        yield ok("health", "; ".join([*why, traffic(channel, status.at)]))


_COLORS = {Health.SICK: "red", Health.UNKNOWN: "yellow", Health.OWES: "yellow", Health.OK: "green"}


def traffic(each: ChannelStatus, now: float) -> str:
    """Return the traffic of a channel in words: shares and signals of the last hour, refused requests of a day."""
    hour = each.traffic
    if hour is None:
        # The ledger's record of the last share may be an hour too old.
        shared = "not known" if each.shared_at is None else f"within {age(now - each.shared_at)}"
        return f"last share {shared}" + (f", changed {age(now - each.changed_at)} ago" if each.changed_at else "")
    last = [f"last share {age(now - hour.last_share)} ago"] if hour.last_share is not None else []
    last += [f"last signal {age(now - hour.last_signal)} ago"] if hour.last_signal is not None else []
    last += [hour.refused_words(now)] if hour.refused else []
    return "; ".join([f"{counted(hour.shares, 'share')}, {counted(hour.signals, 'signal')} in the last hour", *last])


@click.command()
@CHANNEL
@on_stack
def status(stack: Stack, channel: str | None, as_json: bool) -> None:
    """Show the status of each channel, the least healthy first.

    With --channel, all that is known of it.

    \b
    Example:
      relayctl status
      relayctl status --channel payments
    """
    found = read_status(stack, channel)
    none = NO_CHANNELS if channel is None else f"there is no channel {channel}"
    print_status(stack, found, none, whole=channel is not None, as_json=as_json)


def print_status(stack: Stack, found: StackStatus, none: str, *, whole: bool, as_json: bool) -> None:
    """Print a status, as JSON or as a line for each channel, and the sources that failed.

    `whole` prints all members of the JSON document, too. Exit with code 1 if a source failed, or with the message
    `none` if there is no channel.
    """
    documents = [document(each, found.at) for each in found.channels]
    if as_json:
        head = {"stack": stack.name, "at": moments.iso(found.at), "channels": documents, "queues": found.undelivered}
        terminal.document({**head, "problems": found.readings.problems})
    for each, one in () if as_json else zip(found.channels, documents, strict=True):
        unknown = pauses.LIVE if each.problem else "mode not known"
        mode = "; ".join(pauses.words(each.policy, found.at)) if each.policy else unknown
        name = each.name if mode == pauses.LIVE else f"{each.name} ({mode})"
        line = printable(f"{name}: {'; '.join([*one['why'], traffic(each, found.at)])}")
        terminal.show_line(line, lead=f"{one['health']:7}  ", color=_COLORS[one["health"]])
        if whole:
            terminal.members(one)
    if found.undelivered and documents and not as_json:
        terminal.members({"jobs of all channels": found.undelivered})
    found.readings.conclude(found.channels, none, as_json=as_json)


@click.command()
@on_stack
def doctor(stack: Stack, as_json: bool) -> None:
    """Check the whole stack, and every channel: its health as `status` has it, then as `channel test` does.

    Nothing is changed and nobody is notified.

    \b
    Example:
      relayctl doctor
    """
    # First: it raises an error if there is no such stack, or the stack is not a relay.
    store = ChannelStore(stack)
    with terminal.status(f"checking the stack {stack.name} …"):
        of_stack = list(StackChecks(stack).of(datetime.now(UTC)))
        names, listed = _listed(store)
    of_stack.append(listed)
    of_channels, known = dict[str, list[Check]](), None
    # The checks of the stack report what it lacks.
    with suppress(StackMissingError):
        known = read_status(stack)
    for name in names:
        with terminal.status(f"checking channel {name} …"):
            of_channels[name] = [*(health(known, name) if known else ()), *checks.of(store, name)]
    titled = {f"stack {stack.name}": of_stack, **{f"channel {name}": found for name, found in of_channels.items()}}
    for title, found in () if as_json else titled.items():
        click.echo(click.style(printable(title), bold=True))
        check_results.show(found)
    every = [*of_stack, *(check for found in of_channels.values() for check in found)]
    channels = [{"channel": name, **check_results.listing(found)} for name, found in of_channels.items()]
    whole = {"stack": stack.name, **check_results.listing(of_stack), "channels": channels}
    check_results.conclude(f"stack {stack.name}", every, whole if as_json else None)


def _listed(store: ChannelStore) -> tuple[list[str], Check]:
    names, problem = tried(lambda: list(store.names()))
    if problem:
        return [], failed("channels", f"not checked: {problem}")
    if not names:
        return [], warning("channels", NO_CHANNELS)
    return names, ok("channels", f"{len(names)} of them")

"""Health of a channel: its debts, and the limits that make it sick. Pure code.

The sweeper's messages and `relayctl status` both judge with this module.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from relay.channels.channel import ApiKind
from relay.delivery.delivery import OVERDUE_SECONDS
from relay.failures import Reason
from relay.ledger.channel_rate_limiter import Circuit
from relay.ledger.entry import Entry

# A critical that is owed for longer makes the channel sick: the first attempts and retries are over by then.
SICK_CRITICAL_SECONDS = 120.0
# Any debt that is older makes the channel sick: the longest backoff is over by then.
SICK_SECONDS = 900.0
_REFUSALS: dict[ApiKind, str] = {
    "rest": "xMatters refuses xmatters.rest",
    "bigpanda": "BigPanda refuses bigpanda.api_key",
}
_LENGTHS = (("d", 86_400), ("h", 3600), ("m", 60))


@dataclass
class Debts:
    """Debts of a channel.

    Attributes:
        critical: Number of owed criticals.
        other: Number of other owed states.
        given_up: Number of criticals that were dead-lettered, and not replayed, overtaken or dropped since.
        given_up_other: Number of other states that were, too.
        unnotified: Number of given-up criticals that the fallback topic was not notified of yet.
        pages_missing: Number of critical signals without a page, of which the fallback topic was not notified yet.
        oldest: Earliest `Entry.delay_start` of the owed states (epoch seconds); None if nothing is owed.
        oldest_critical: Earliest `Entry.delay_start` of the owed criticals (epoch seconds); None if none is owed.
        next_attempt: Time of the channel's next attempt, at the latest (epoch seconds); None if no attempt waits.
        reasons: Number of owed states by the reason of their last failure or wait.
    """

    critical: int = 0
    other: int = 0
    given_up: int = 0
    given_up_other: int = 0
    unnotified: int = 0
    pages_missing: int = 0
    oldest: float | None = None
    oldest_critical: float | None = None
    next_attempt: float | None = None
    reasons: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> "Debts":
        """Return the debts of one channel. `entries` are its entries in the ledger's `due` index."""
        debts = cls()
        for entry in entries:
            debts.add(entry)
        return debts

    @property
    def owed(self) -> int:
        """Number of owed states for which an attempt waits."""
        return self.critical + self.other

    @property
    def unpaged_criticals(self) -> int:
        """Number of criticals of which people may not know: owed, given up, or without a page."""
        return self.critical + self.given_up + self.pages_missing

    def add(self, entry: Entry) -> None:
        """Add one entry of the ledger's `due` index to these counts of a channel's debts."""
        self.pages_missing += entry.receipt.is_open and bool(entry.receipt.missed)
        since = entry.delay_start
        if since is None:
            return
        if entry.is_given_up:
            self.given_up += entry.debt.is_critical
            self.given_up_other += not entry.debt.is_critical
            self.unnotified += entry.debt.is_critical and not entry.debt.is_notified
            return
        self.reasons.update([entry.debt.reason] if entry.debt.reason else [])
        self.oldest = _earliest(self.oldest, since)
        self.next_attempt = _earliest(self.next_attempt, next_attempt(entry))
        if entry.debt.is_critical:
            self.critical += 1
            self.oldest_critical = _earliest(self.oldest_critical, since)
        else:
            self.other += 1


class ShareWatch(NamedTuple):
    """Expectation that shares come to a channel, by `expect_share_every` of its policy.

    Attributes:
        every: Longest time between two shares that the policy allows (seconds).
        since: Time of the last share with the right credentials (epoch seconds). The record can be up to an hour older
            than the share. If no share came yet, the time from which one is expected.
    """

    every: float
    since: float

    def is_silent(self, now: float) -> bool:
        """True if no share came for longer than the policy allows."""
        return now - self.since > self.every


class RefusedCredentials(NamedTuple):
    """Credentials for the vendors' APIs that the last probe found refused.

    Attributes:
        channel: Name of the channel.
        kinds: Kinds of the credentials, as in `relayctl channel rotate`; at least one.
    """

    channel: str
    kinds: Sequence[ApiKind]

    @property
    def reasons(self) -> list[str]:
        """Texts that say why the channel is sick: one for each refused credential, with the command to rotate it."""
        return [f"{_REFUSALS[kind]} (type: relayctl channel rotate {self.channel} {kind})" for kind in self.kinds]


def next_attempt(entry: Entry) -> float | None:
    """Return the time of the next attempt for an entry, at the latest (epoch seconds); None if no attempt waits.

    It is the slot that the rate limiter reserved, if there is one. Otherwise it is computed from the entry's row in the
    `due` index, which is due OVERDUE_SECONDS after the job's message wakes. No attempt comes before a pause's end.
    """
    if not entry.debt.job:
        return None
    attempt = entry.debt.slot.at if entry.debt.slot else entry.debt.due - OVERDUE_SECONDS
    return max(attempt, entry.debt.paused_until)


def ongoing_reasons(
    debts: Debts | None,
    circuit: Circuit | None,
    shares: ShareWatch | None,
    now: float,
    *,
    refused: RefusedCredentials | None = None,
) -> list[str]:
    """Return the causes of a channel's sickness that last until they are mended, as texts.

    The most important cause is first. Every run of the sweeper finds a cause again until it is mended. `now` is in
    epoch seconds. An argument is None if it could not be read. `shares` is also None if the policy expects no shares,
    and `refused` is also None if no credential was refused.
    """
    found = []
    if circuit and circuit.is_open(now):
        failures = f" after {circuit.failures} failures in a row" if circuit.failures else ""
        found.append(f"its circuit is open{failures}")
    if debts:
        found += _given_up(debts)
        found += _owed_too_long(debts, now)
    if shares and shares.is_silent(now):
        found.append(f"no share came for {age(now - shares.since)}, and one is expected every {age(shares.every)}")
    if refused:
        found += refused.reasons
    return found


def momentary_reasons(debts: Debts) -> list[str]:
    """Return the reasons of a channel's sickness that one run of the sweeper finds, and the next run no longer does.

    Their cause (a missing page) leaves the ledger's `due` index once the fallback topic is notified, though nothing is
    mended. So the sweeper remembers these reasons for some time.
    """
    return [f"{debts.pages_missing} critical signals made no page"] if debts.pages_missing else []


def owed_reasons(debts: Debts) -> str:
    """Return the most frequent reasons of debts in brackets, with a space in front; empty if there are none."""
    named = ", ".join(f"{reason} {count}" for reason, count in debts.reasons.most_common(3))
    return f" ({named})" if named else ""


def age(seconds: float) -> str:
    """Return a duration in its largest unit, rounded down; a negative one is 0s."""
    whole = max(0, int(seconds))
    for unit, length in _LENGTHS:
        if whole >= length:
            return f"{whole // length}{unit}"
    return f"{whole}s"


def _given_up(debts: Debts) -> list[str]:
    criticals = "1 critical was" if debts.given_up == 1 else f"{debts.given_up} criticals were"
    return [f"{criticals} given up, and rang nobody"] if debts.given_up else []


def _owed_too_long(debts: Debts, now: float) -> list[str]:
    if debts.oldest_critical is not None and now - debts.oldest_critical > SICK_CRITICAL_SECONDS:
        return [f"a critical is owed for {age(now - debts.oldest_critical)}{owed_reasons(debts)}"]
    if debts.oldest is not None and now - debts.oldest > SICK_SECONDS:
        return [f"owed for {age(now - debts.oldest)}{owed_reasons(debts)}"]
    if debts.reasons[Reason.CREDENTIALS]:
        return ["xMatters refuses the credentials"]
    if debts.reasons[Reason.REFUSED]:
        return ["xMatters refuses the signals"]
    return []


def _earliest(known: float | None, found: float | None) -> float | None:
    return min((each for each in (known, found) if each is not None), default=None)

"""Health of a channel: its debts, the limits that make it sick, and the messages to SNS topics about it."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import replace
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from relay.channels.channel import ApiKind
from relay.channels.policy import Policy
from relay.delivery import sns_topic
from relay.delivery.delivery import OVERDUE_SECONDS
from relay.failures import Reason
from relay.foreign_text import first_of, one_line, quoted
from relay.jobs.job import timestamp
from relay.ledger.entry import Entry
from relay.ledger.rate_limit_and_circuit import Circuit

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient


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
    """Counts of a channel's debts (owed states), and of criticals that nobody is known to have heard of.

    Attributes:
        critical: Owed criticals that are not given up.
        other: Other owed states that are not given up.
        given_up: Dead-lettered criticals, until they are replayed, dropped, or superseded by a newer state.
        given_up_other: The same for states that are not critical.
        unnotified: Given-up criticals that the fallback topic was not notified of yet.
        awaited: Announced criticals of which nobody is known to have heard (`Entry.is_awaited`).
        oldest: Earliest time from which the delay of an owed state counts (epoch seconds); None if nothing is owed.
        oldest_critical: The same for owed criticals.
        reasons: Number of owed states by the reason of their last failure or wait.
    """

    critical: int = 0
    other: int = 0
    given_up: int = 0
    given_up_other: int = 0
    unnotified: int = 0
    awaited: int = 0
    oldest: float | None = None
    oldest_critical: float | None = None
    reasons: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> "Debts":
        """Count the debts of one channel, from its entries in the ledger's `due` index."""
        debts = cls()
        for entry in entries:
            debts.add(entry)
        return debts

    @property
    def owed(self) -> int:
        """Number of owed states that are not given up."""
        return self.critical + self.other

    @property
    def unpaged_criticals(self) -> int:
        """Number of criticals of which people may not know: owed or given up."""
        return self.critical + self.given_up

    def add(self, entry: Entry) -> None:
        self.awaited += entry.is_awaited
        since = entry.delay_start
        if since is None:
            return
        if entry.debt.is_given_up:
            self.given_up += entry.debt.has_critical_row
            self.given_up_other += not entry.debt.has_critical_row
            self.unnotified += entry.debt.has_critical_row and not entry.debt.is_notified
            return
        self.reasons.update([entry.debt.reason] if entry.debt.reason else [])
        self.oldest = _earliest(self.oldest, since)
        if entry.debt.has_critical_row:
            self.critical += 1
            self.oldest_critical = _earliest(self.oldest_critical, since)
        else:
            self.other += 1


def with_holds(entry: Entry, policy: Policy, now: float, *, is_policy_known: bool = True) -> Entry:
    """Return the entry with `paused_until` at the end of the debt's last hold, so that its delay counts from then.

    A hold is a pause that the state met, or `min_seconds_between_signals` after the last signal, if people know the
    critical already. A pause that still lasts ends as `policy` says; with `is_policy_known` False, as the entry says.
    """
    debt, since = entry.debt, entry.debt.since or entry.receipt.since
    is_recorded_end = debt.paused_until <= now or not is_policy_known
    ends = [debt.paused_until if is_recorded_end else 0.0, _distance_ends(entry, policy)]
    ends += [each.until for each in policy.pauses if each.id == debt.paused_by]
    ends += [each.until for each in policy.pauses if not each.when and each.since <= now and since < each.until]
    return replace(entry, debt=replace(debt, paused_until=max(ends)))


def _distance_ends(entry: Entry, policy: Policy) -> float:
    known, signals = entry.announced, entry.accepted_signals
    if known is None or not known.is_critical or entry.eased or not signals:
        return 0.0
    # An attempt that failed delays no message.
    return signals[-1].at + policy.min_seconds_between_signals


class ShareWatch(NamedTuple):
    """Expectation that shares come to a channel, by `expect_share_every` of its policy.

    Attributes:
        every: Longest time between two shares (seconds).
        since: Recorded time of the last share (epoch seconds), up to an hour before the true one. Without a share yet,
            the time from which one is expected.
    """

    every: float
    since: float

    def is_silent(self, now: float) -> bool:
        return now - self.since > self.every


def refusals(channel: str, kinds: Sequence[ApiKind]) -> list[str]:
    """Return a text for each kind of credential that a vendor refuses, with the command to rotate it."""
    return [f"{_REFUSALS[kind]} (type: relayctl channel rotate {channel} {kind})" for kind in kinds]


def next_attempt(entry: Entry, now: float) -> float | None:
    """Return the expected time of an entry's next attempt (epoch seconds); None if no stored job waits for one.

    It is the slot that the rate limiter reserved, or else the time at which the debt's message wakes. For a message
    that is late, it is the time at which the sweeper acts. The end of a pause or flap replaces an earlier time.
    """
    if not entry.debt.job:
        return None
    wakes = entry.debt.slot.at if entry.debt.slot else entry.debt.due - OVERDUE_SECONDS
    attempt = wakes if wakes >= now or entry.debt.slot else entry.debt.due
    calm_at = entry.quiet_until(entry.newest) if entry.newest else 0.0
    return max(attempt, entry.debt.paused_until, calm_at)


def sick_reasons(
    debts: Debts | None,
    circuit: Circuit | None,
    shares: ShareWatch | None,
    now: float,
    *,
    refused: Sequence[str] = (),
    canary: str = "",
) -> list[str]:
    """Return the causes of sickness that last until they are mended, as texts, the most important first.

    An argument is None if it could not be read; `shares` also if the policy expects none. `now` is in epoch seconds.
    `refused` has the texts of `refusals`. `canary` says why the channel's last canary failed; empty if it did not.
    """
    found = []
    if circuit and circuit.is_open(now):
        failures = f" after {circuit.failures} failures in a row" if circuit.failures else ""
        found.append(f"its circuit is open{failures}")
    if debts:
        criticals = "1 critical was" if debts.given_up == 1 else f"{debts.given_up} criticals were"
        found += [f"{criticals} given up"] if debts.given_up else []
        found += _owed_too_long(debts, now)
    if shares and shares.is_silent(now):
        found.append(f"no share came for {age(now - shares.since)}, and one is expected every {age(shares.every)}")
    found += refused
    if canary:
        found.append(f"its canary failed: {canary}")
    return found


def owed_reasons(debts: Debts) -> str:
    """Return the three most frequent reasons of debts as a text such as ` (upstream 3, paced 1)`; empty for none."""
    named = ", ".join(f"{reason} {count}" for reason, count in debts.reasons.most_common(3))
    return f" ({named})" if named else ""


def age(seconds: float) -> str:
    """Return a duration in its largest unit, rounded down, such as `3h`; a negative one is `0s`."""
    whole = max(0, int(seconds))
    for unit, length in _LENGTHS:
        if whole >= length:
            return f"{whole // length}{unit}"
    return f"{whole}s"


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


# Channels that a message about many describes with a line each; the others are counted.
MAX_DESCRIBED = 50
# Names of channels in an SMS about many. A name has up to 48 characters.
MAX_NAMED_IN_SMS = 2
# Characters of the reasons. They are the relay's own words.
MAX_WHY = 500
WHAT_TO_DO = 'What to do: docs/operate.md, "A channel is sick".'
# Characters of a recipient's name.
MAX_RECIPIENT = 80


type Health = Literal["sick", "well"]


class ChannelNotice(NamedTuple):
    """Content of a health message about one channel, which became sick or is well again.

    Attributes:
        since: Start of the sickness (epoch seconds), also of one that is over.
        why: Reasons of the sickness.
        is_urgent: True if the message is to wake a person.
    """

    channel: str
    since: float
    why: str
    debts: Debts
    is_urgent: bool = False


@dataclass(frozen=True)
class HealthTopics:
    """Publisher to the topics about sick channels.

    Attributes:
        client: Returns the SNS client, which is created at its first use.
        alarm_arn: ARN of the topic that wakes people; empty for none.
        notice_arn: ARN of the topic that people read later; empty for none.
    """

    client: "Callable[[], SNSClient]"
    alarm_arn: str
    notice_arn: str

    def arn(self, *, is_urgent: bool) -> str:
        """Return the ARN of the topic for an urgent or another message. If there is only one topic, it gets both."""
        first, second = (self.alarm_arn, self.notice_arn) if is_urgent else (self.notice_arn, self.alarm_arn)
        return first or second

    def tell(self, health: Health, notices: Sequence[ChannelNotice], now: float) -> bool:
        """Publish one message about channels that are sick, or well again. Return False if SNS does not accept it."""
        is_sick, is_one, [first, *_] = health == "sick", len(notices) == 1, notices
        state = "sick" if is_sick else "well again"
        who = f"Channel {first.channel} is" if is_one else f"{len(notices)} channels are"
        subject = f"{who} {state}" + (f": {_counts(notices, ' incidents')}" if is_sick else "")
        sms = f"{who.removeprefix('Channel ')} {state} ({_counts(notices)})"
        if is_sick or not is_one:
            sms += f": {first.why if is_one else _first(notices)}"
        texts = sns_topic.texts(_one(health, first, now) if is_one else _many(state, notices), sms)
        # A message about many channels has no attribute `channel`: it is for whoever reads about all of them.
        attributes = {"health": health} | ({"channel": first.channel} if is_one else {})
        arn = self.arn(is_urgent=is_sick and any(each.is_urgent for each in notices))
        return sns_topic.publish(self.client, arn, subject, texts, attributes)

    def tell_unreachable(self, channel: str, recipients: Mapping[str, str]) -> bool:
        """Publish a message about recipients whom xMatters would not notify. Return False if SNS does not accept it.

        `recipients` has the reason why, by the recipient's name.
        """
        many = f"{len(recipients)} recipient(s)"
        named = [f"{quoted(name, MAX_RECIPIENT)}: {why}" for name, why in sorted(recipients.items())]
        lines = [f"xMatters would not notify {many} of channel {channel} now:", *(f"- {each}" for each in named)]
        lines += ["", f"Type: relayctl channel test {channel}", WHAT_TO_DO]
        texts = sns_topic.texts("\n".join(lines), f"{channel}: xMatters would not notify {'; '.join(named)}")
        subject, attributes = f"Channel {channel}: xMatters would not notify {many}", {"channel": channel}
        arn = self.arn(is_urgent=False)
        return sns_topic.publish(self.client, arn, subject, texts, {"health": "recipients"} | attributes)


def _one(health: Health, notice: ChannelNotice, now: float) -> str:
    since, why = f"sick since {timestamp(notice.since)} ({age(now - notice.since)})", one_line(notice.why, MAX_WHY)
    name = notice.channel
    if health == "sick":
        lines, todo = [f"Channel {name} is {since}.", f"Why: {why}."], WHAT_TO_DO
    else:
        lines = [f"Channel {name} is well again. It was {since}.", f"Why it was sick: {why}."]
        todo = "Dead-lettered signals are not sent again by themselves: relayctl dlq list"
    return "\n".join([*lines, f"Incidents: {_counts([notice])}.", "", f"Type: relayctl status --channel {name}", todo])


def _many(what: str, notices: Sequence[ChannelNotice]) -> str:
    lines = [f"{len(notices)} channels are {what}. Incidents: {_counts(notices)}.", ""]
    for each in notices[:MAX_DESCRIBED]:
        why = one_line(each.why, MAX_WHY)
        lines += [f"- {each.channel}: since {timestamp(each.since)}; {_counts([each])}; {why}"]
    if len(notices) > MAX_DESCRIBED:
        lines += [f"And {len(notices) - MAX_DESCRIBED} more channels."]
    lines += [
        "",
        "Type: relayctl status",
        f"Or for one of them: relayctl status --channel {notices[0].channel}",
        WHAT_TO_DO,
    ]
    return "\n".join(lines)


def _counts(notices: Sequence[ChannelNotice], what: str = "") -> str:
    """Return the numbers of incidents that wait, and of those that were given up."""
    debts = [each.debts for each in notices]
    waiting = f"{sum(each.critical for each in debts)} critical, {sum(each.other for each in debts)} other{what} wait"
    critical, other = sum(each.given_up for each in debts), sum(each.given_up_other for each in debts)
    return waiting + (f"; {critical} critical, {other} other given up" if critical or other else "")


def _first(notices: Sequence[ChannelNotice]) -> str:
    return first_of([each.channel for each in notices], MAX_NAMED_IN_SMS)

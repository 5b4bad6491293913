"""Messages about sick channels to the two topics for people: one that wakes them, one that they read tomorrow.

A message names the channel, since when it is sick, why, the incidents that wait, and the command to type. When people
are told, and how often, is decided in `sweeper.health_announcement`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from relay.delivery import sns_topic
from relay.delivery.channel_health import Debts, age
from relay.foreign_text import one_line
from relay.jobs.job import timestamp

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

# Channels that a message about many describes with a line each; the others are counted.
MAX_DESCRIBED = 50
# Names of channels in an SMS about many. A name has up to 48 characters.
MAX_NAMED_IN_SMS = 2
# Characters of the reasons. They are the relay's own words.
MAX_WHY = 500


class ChannelNotice(NamedTuple):
    """A channel that became sick, or is well again.

    Attributes:
        channel: Name of the channel.
        since: Start of the sickness (epoch seconds).
        why: Reasons of the sickness, in words.
        debts: Debts of the channel.
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
        """Return the ARN of the topic for an urgent or another message. If there is only one topic, it gets all."""
        first, second = (self.alarm_arn, self.notice_arn) if is_urgent else (self.notice_arn, self.alarm_arn)
        return first or second

    def sick(self, notices: Sequence[ChannelNotice], now: float) -> bool:
        """Publish one message that these channels are sick. Return False if SNS does not accept it."""
        is_urgent = any(each.is_urgent for each in notices)
        if len(notices) == 1:
            [one] = notices
            subject = f"Channel {one.channel} is sick: {_counts(notices, ' incidents')}"
            whole = _one_sick(one, now)
            sms = f"{one.channel} is sick ({_counts(notices)}): {one.why}"
        else:
            subject = f"{len(notices)} channels are sick: {_counts(notices, ' incidents')}"
            whole = _many("sick", notices)
            sms = f"{len(notices)} channels are sick ({_counts(notices)}): {_first(notices)}"
        return self._publish("sick", notices, subject, sns_topic.texts(whole, sms), is_urgent=is_urgent)

    def well(self, notices: Sequence[ChannelNotice], now: float) -> bool:
        """Publish one message that these channels are well again. Return False if SNS does not accept it."""
        if len(notices) == 1:
            [one] = notices
            subject = f"Channel {one.channel} is well again"
            whole = _one_well(one, now)
            sms = f"{one.channel} is well again ({_counts(notices)})"
        else:
            subject = f"{len(notices)} channels are well again"
            whole = _many("well again", notices)
            sms = f"{len(notices)} channels are well again: {_first(notices)}"
        return self._publish("well", notices, subject, sns_topic.texts(whole, sms), is_urgent=False)

    def _publish(
        self,
        health: Literal["sick", "well"],
        notices: Sequence[ChannelNotice],
        subject: str,
        texts: Mapping[str, str],
        *,
        is_urgent: bool,
    ) -> bool:
        # A message about many channels has no attribute `channel`: it is for whoever reads about all of them.
        attributes = {"health": health} | ({"channel": notices[0].channel} if len(notices) == 1 else {})
        return sns_topic.publish(self.client, self.arn(is_urgent=is_urgent), subject, texts, attributes)


def _one_sick(notice: ChannelNotice, now: float) -> str:
    return "\n".join(
        [
            f"Channel {notice.channel} is sick since {timestamp(notice.since)} ({age(now - notice.since)}).",
            f"Why: {one_line(notice.why, MAX_WHY)}.",
            f"Incidents: {_counts([notice])}.",
            "",
            f"Type: relayctl status --channel {notice.channel}",
            'What to do: docs/operate.md, "A channel is sick".',
        ]
    )


def _one_well(notice: ChannelNotice, now: float) -> str:
    return "\n".join(
        [
            f"Channel {notice.channel} is well again. It was sick since {timestamp(notice.since)}"
            f" ({age(now - notice.since)}).",
            f"Why it was sick: {one_line(notice.why, MAX_WHY)}.",
            f"Incidents: {_counts([notice])}.",
            "",
            f"Type: relayctl status --channel {notice.channel}",
            "Dead-lettered signals are not sent again by themselves: relayctl dlq list",
        ]
    )


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
        'What to do: docs/operate.md, "A channel is sick".',
    ]
    return "\n".join(lines)


def _counts(notices: Sequence[ChannelNotice], what: str = "") -> str:
    """Return the numbers of incidents that wait and, apart from these, of those that the relay gave up."""
    debts = [each.debts for each in notices]
    waiting = f"{sum(each.critical for each in debts)} critical, {sum(each.other for each in debts)} other{what} wait"
    critical, other = sum(each.given_up for each in debts), sum(each.given_up_other for each in debts)
    return waiting + (f"; {critical} critical, {other} other given up" if critical or other else "")


def _first(notices: Sequence[ChannelNotice]) -> str:
    more = len(notices) - MAX_NAMED_IN_SMS
    named = ", ".join(each.channel for each in notices[:MAX_NAMED_IN_SMS])
    return named + (f" and {more} more" if more > 0 else "")

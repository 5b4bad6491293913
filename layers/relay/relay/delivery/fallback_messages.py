"""Last resort: the fallback topic, and phones, for overdue critical incidents that xMatters has not announced.

Topic and phones share no credential with xMatters. The topic gets one message about a channel, which subscribers can
filter by the attribute `channel`. The phones are called and texted once about all channels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

from relay.delivery import sns_topic
from relay.failures import BadRequest, Reason
from relay.foreign_text import MAX_IDENTIFIER, first_of, identifier, is_bigpanda_link, one_line, quoted
from relay.incidents.details import Details, console_link, details_of
from relay.incidents.share import Share, parse_share
from relay.jobs.job import Job, seconds_of, timestamp
from relay.ledger.receipt import Missed

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

    from relay.delivery.fallback_phones import Phones, Way

# Name of the topic among the ways of the last resort.
TOPIC = "topic"
MAX_NAMED = 10
MAX_WORDS = 200
# A call has 30 seconds while the account is in AWS's sandbox, and says the message twice.
MAX_SPOKEN_WORDS = 60
MAX_RECIPIENTS = 10


class OverdueDebt(NamedTuple):
    """Critical that is owed for too long, or that nobody heard, as the fallback topic's message describes it.

    Attributes:
        since: When the incident became owed; if a signal was accepted, when that was sent (epoch seconds).
        reason: Reason of the last failed attempt; empty if none failed.
        missed: Step (`Missed`) after the acceptance that is late or failed; empty if xMatters accepted no signal.
        page: Number of its page; empty if unknown.
        request_ids: xMatters' ids of the signals without a page.
        description: Description of one of its alerts, or of the incident; empty if unknown.
        recipients: Names of the signal's recipients; empty if the workflow chooses them.
        link: URL of the incident in BigPanda's console; empty if unknown.
    """

    incident_id: str
    since: float
    reason: str = ""
    is_dead_lettered: bool = False
    missed: str = ""
    page: str = ""
    request_ids: tuple[str, ...] = ()
    description: str = ""
    recipients: tuple[str, ...] = ()
    link: str = ""

    @classmethod
    def of_job(cls, job: Job) -> Self:
        found = _details(job)
        # `in_flight` is the reason of a job that never failed.
        reason = "" if job.stamps.reason == Reason.IN_FLIGHT else job.stamps.reason
        return cls(
            job.incident_id,
            seconds_of(job.received_at),
            reason,
            description=_described(found) if found else "",
            recipients=job.stamps.recipients,
            link=found.link if found else "",
        )

    def words(self) -> str:
        """Return the incident's id and description on one line."""
        return _words(self.incident_id, self.description)

    def lines(self) -> list[str]:
        return [
            f"- Incident {self.words()}",
            f"  {self._state()}",
            f"  recipients: {_names(self.recipients)}" if self.recipients else "",
            f"  {_link(self.link, self.incident_id)}",
        ]

    def _state(self) -> str:
        if self.missed:
            return f"signalled {timestamp(self.since)}; {self._missed()}"
        reason = f"; last reason: {identifier(self.reason)}" if self.reason else ""
        dead_lettered = "; the relay has given up: relayctl dlq list" if self.is_dead_lettered else ""
        return f"owed since {timestamp(self.since)}{reason}{dead_lettered}"

    def _missed(self) -> str:
        # Without its number a page may not exist. Of an unanswered page it may not be known if people were notified.
        done = f"made page {identifier(self.page)}" if self.page else "accepted its signal"
        match self.missed:
            case Missed.PAGE_MISSING | Missed.PAGE_SUPPRESSED:
                named = f" (request id {', '.join(map(identifier, self.request_ids))})" if self.request_ids else ""
                flood = ": its flood control suppressed pages then; raise its limits (docs/xmatters/README.md, 4)"
                cause = flood if self.missed == Missed.PAGE_SUPPRESSED else ""
                return f"xMatters accepted its signal{named} and made no page of it{cause}"
            case Missed.NOBODY_NOTIFIED:
                return f"xMatters {done}, and no device is known to have got it"
            case _:
                return f"xMatters {done}, and nobody answered"


@dataclass(frozen=True)
class Fallback:
    """Notifies people by the fallback topic (SNS) and by phones.

    Attributes:
        client: Returns the SNS client, which is created at its first use.
        phones: The phones to call and text; None if there are none, or if the function does not use them.
    """

    client: "Callable[[], SNSClient]"
    topic_arn: str
    phones: "Phones | None" = None

    @property
    def ways(self) -> list[str]:
        """Names of the ways by which people are notified: the fallback topic, and a call and a text to each phone."""
        return [TOPIC, *(each.name for each in (self.phones.ways if self.phones else ()))]

    def notify(self, channel: str, debts: Sequence[OverdueDebt], others: int = 0) -> bool:
        """Publish one message about a channel's overdue criticals. Return False if SNS does not accept it.

        `debts` must not be empty; the message describes the first MAX_NAMED. `others` is the number of further overdue
        criticals, which are only counted.
        """
        texts = _texts(channel, debts, others)
        return self._publish(_subject(channel, debts, others), texts, {"channel": channel})

    def call(self, channels: Sequence[str], debts: Sequence[OverdueDebt], others: int) -> dict[str, str]:
        """Call and text all phones once about the overdue criticals of `channels`. Return the failure of each way.

        A way is a number to call or to text, by its name. Its failure is empty if AWS took the call or text. Without
        phones, the result is empty. `debts` must not be empty; the call describes the first, which should be the worst.
        `others` is the number of further overdue criticals.
        """
        if not self.phones:
            return {}
        named, worst = first_of(channels, 1), debts[0]
        # A voice reads no link, and nobody understands an id that is read aloud.
        words = one_line(worst.description, MAX_SPOKEN_WORDS)
        worst_one = f" The worst is {words}." if words else ""
        spoken = f"{_opening(named, debts, others)}{worst_one} Look at your e-mail."
        written = sns_topic.short(_sms(named, debts, others))
        return self.phones.send(lambda way: f"Critical. {spoken} Again. {spoken}" if way.is_call else written)

    def test(self, numbers: Mapping[str, str]) -> dict[str, str]:
        """Send a test message over each of `ways`. Return each way's failure by the way's name; an empty text for none.

        `numbers` has a short number for each way. People tell it to the operator, which shows that the message came.
        """
        about = "This is a test of the relay's last resort: nothing is wrong."
        written = f"{about} The number is {numbers[TOPIC]}."
        asked = "The operator who runs `relayctl fallback test` asks you for the number."
        texts = sns_topic.texts(f"{written}\n{asked}", written)
        is_published = self._publish("TEST of the relay's last resort: nothing is wrong", texts, {})

        def text_for(way: "Way") -> str:
            number = numbers[way.name]
            # The commas let the voice read digit by digit.
            told = f"The number is {', '.join(number) if way.is_call else number}."
            return f"{about} {told} Again. {told}" if way.is_call else f"{about} {told}"

        failures = self.phones.send(text_for) if self.phones else {}
        return {TOPIC: "" if is_published else "SNS did not accept it"} | failures

    def notify_of_unknown(self, channels: Sequence[str], found: Sequence[Share]) -> bool:
        """Publish one message about open criticals in BigPanda of which no share came. Return False if SNS fails.

        `found` has these incidents, from BigPanda's API. They may belong to any of `channels`: the API does not name
        the channel.
        """
        subject = f"CRITICAL, not paged: incident {first_of([_id(each.incident_id) for each in found], 1)}"
        return self._publish(subject, _unknown_texts(channels, found), {})

    def _publish(self, subject: str, texts: Mapping[str, str], attributes: Mapping[str, str]) -> bool:
        return sns_topic.publish(self.client, self.topic_arn, subject, texts, attributes)


def _subject(channel: str, debts: Sequence[OverdueDebt], others: int) -> str:
    count = len(debts) + others
    what = f"incident {_id(debts[0].incident_id)}" if count == 1 else f"{count} incidents"
    happened = "nobody answered" if _is_unanswered(debts) else "xMatters did not notify"
    return f"CRITICAL, {happened}: {what} of channel {channel}"


def _is_unanswered(debts: Sequence[OverdueDebt]) -> bool:
    return all(debt.missed == Missed.NOBODY_ANSWERED for debt in debts)


def _texts(channel: str, debts: Sequence[OverdueDebt], others: int) -> dict[str, str]:
    count = len(debts) + others
    lines = [_opening(channel, debts, others), "Notify the recipients by other means now.", ""]
    for debt in debts[:MAX_NAMED]:
        lines += [*filter(None, debt.lines()), ""]
    if count > MAX_NAMED:
        lines += [f"And {count - len(debts[:MAX_NAMED])} more critical incidents.", ""]
    if any(not debt.is_dead_lettered and not debt.missed for debt in debts):
        lines.append("The relay goes on trying, so pages may still come.")
    lines.append("What to do: docs/operate.md, FallbackAlarm.")
    return sns_topic.texts("\n".join(lines), _sms(channel, debts, others))


def _opening(channels: str, debts: Sequence[OverdueDebt], others: int) -> str:
    of_channels = f"{_incidents(len(debts) + others)} of channel {channels}"
    if _is_unanswered(debts):
        return f"Nobody answered the pages of {of_channels}."
    return f"xMatters did not notify people of {of_channels}."


def _sms(channels: str, debts: Sequence[OverdueDebt], others: int) -> str:
    happened = "not answered" if _is_unanswered(debts) else "not notified by xMatters"
    return f"CRITICAL {channels}: {_incidents(len(debts) + others)} {happened}. Worst: {debts[0].words()}"


def _incidents(count: int) -> str:
    return "1 critical incident" if count == 1 else f"{count} critical incidents"


def _unknown_texts(channels: Sequence[str], found: Sequence[Share]) -> dict[str, str]:
    lines = [
        "BigPanda shows these incidents as critical. The relay got no webhook for them, and notified nobody:",
        "",
    ]
    for each in found[:MAX_NAMED]:
        details = details_of(each)
        lines += [f"- Incident {_words(each.incident_id, _described(details))}", f"  {details.link}", ""]
    if len(found) > MAX_NAMED:
        lines += [f"And {len(found) - MAX_NAMED} more.", ""]
    others = " or others" if len(channels) > MAX_NAMED else ""
    lines += [
        f"They may be of channel {', '.join(channels[:MAX_NAMED])}{others}, or belong to another team: the relay "
        "does not know with whom BigPanda shared them.",
        "If they are yours, notify the recipients by other means now.",
        'What to do: docs/operate.md, "A missed critical".',
    ]
    whole = "\n".join(lines)
    first = _id(found[0].incident_id)
    sms = f"CRITICAL, not paged: {len(found)} incidents without a webhook. First: {first}"
    return sns_topic.texts(whole, sms)


def _id(incident_id: str) -> str:
    """Return an incident's id; in quotes, and without a link, if a mail program could turn it into one."""
    return quoted(incident_id, MAX_IDENTIFIER) if set(incident_id) & set(".:@") else identifier(incident_id)


def _names(recipients: Sequence[str]) -> str:
    return first_of([quoted(name, MAX_IDENTIFIER) for name in recipients], MAX_RECIPIENTS)


def _words(incident_id: str, description: str) -> str:
    """Return an incident's id and its description on one line, both without links and control characters."""
    return _id(incident_id) + (f": {quoted(description, MAX_WORDS)}" if description else "")


def _link(link: str, incident_id: str) -> str:
    return link if is_bigpanda_link(link) else console_link(incident_id)


def _described(found: Details) -> str:
    return next(filter(None, (*(alert.description for alert in found.alerts), found.description)), "")


def _details(job: Job) -> Details | None:
    try:
        return details_of(parse_share(job.body))
    except BadRequest:
        return None

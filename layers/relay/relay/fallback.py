"""The fallback topic: SNS notifies people of a critical incident that xMatters does not bring to them.

The topic shares no credential with xMatters. It is notified once for each incident, and at most once a minute: in a
storm the next message says how many more incidents there are.
"""

import json
from collections.abc import Callable, Sequence
from copy import replace
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from relay import details, incident
from relay.details import Details, console_link
from relay.errors import BadRequest, LedgerError, Reason
from relay.message import Job, legal_text
from relay.table import Table

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

MINUTE = 60.0
MAX_SUBJECT = 99
MAX_WORDS = 200
# Incidents by name in one message.
MAX_NAMED = 10
_KEY = "fallback"
_TRIES = 4


class Unconfirmed(NamedTuple):
    """Signals that xMatters accepted and made no page of, by xMatters' request ids."""

    request_ids: tuple[str, ...]


class Missed(NamedTuple):
    """A critical incident that is not rung.

    Attributes:
        incident_id: BigPanda's id of it.
        said: What it says of itself; empty if nothing.
        link: Its address in BigPanda's console.
    """

    incident_id: str
    said: str
    link: str


class Told(Enum):
    """What became of the wish to tell the topic."""

    TOLD = auto()
    COUNTED = auto()
    NOT = auto()


class Tally(NamedTuple):
    """When the topic was told last, in epoch seconds, and of how many it was not told since."""

    last: float = 0.0
    more: int = 0


@dataclass(frozen=True)
class Fallback:
    """Notifies the topic. `client` makes the SNS client when it is needed first. `clock`: epoch seconds."""

    client: "Callable[[], SNSClient]"
    topic_arn: str
    table: Table
    clock: Callable[[], float]

    def tell(self, job: Job, *, unconfirmed: Unconfirmed | None = None, is_given_up: bool = False) -> Told:
        """Notify the topic of a critical that is owed for too long, or that is `unconfirmed`; or count it.

        `is_given_up`: its job is in the dead-letter queue.
        """
        others = self._count(one_more=1)
        if others is None:
            return Told.COUNTED
        owed = _unconfirmed(job, unconfirmed, others) if unconfirmed else _owed(job, others, is_given_up=is_given_up)
        return Told.TOLD if self._publish(owed, others) else Told.NOT

    def missed(self, channels: Sequence[str], missed: Sequence[Missed]) -> bool:
        """Notify the topic, in one message, of criticals that BigPanda shows and no share told of.

        False if that failed. A reconcile run has one such message at most for each of its pieces, and each incident is
        in one: so nothing is counted.
        """
        return self._publish(_missed(channels, missed), 0)

    def flush(self, job: Job) -> bool:
        """Tell the topic of those that were only counted, if a minute is over; `job` may be one of them.

        False where some of them remain to be told of: somebody has to come again when the minute is over.
        """
        tally, _ = self._tally()
        if tally.more and self._is_over(tally) and (counted := self._count(one_more=0)):
            return self._publish(_counted(job, counted), counted)
        return not tally.more

    def _count(self, *, one_more: int) -> int | None:
        """How many others to tell of, now; None when the minute is not over, and this one is counted.

        Where the ledger can't tell, the topic is told: rather twice than not at all.
        """
        before = self._changed(
            lambda tally: Tally(self.clock()) if self._is_over(tally) else replace(tally, more=tally.more + one_more)
        )
        if before is None:
            return 0
        return before.more if self._is_over(before) else None

    def _is_over(self, tally: Tally) -> bool:
        return self.clock() - tally.last >= MINUTE

    def _changed(self, change: Callable[[Tally], Tally]) -> Tally | None:
        """Change the tally, and return what it was; None when the ledger can't."""
        for _ in range(_TRIES):
            tally, sequence = self._tally()
            after = change(tally)
            try:
                written = self.table.write(_KEY, sequence, json.dumps([after.last, after.more]))
            except LedgerError:
                return None
            if written:
                return tally
        return None

    def _tally(self) -> tuple[Tally, int]:
        try:
            found = self.table.read(_KEY)
        except LedgerError:
            return Tally(), 0
        if found is None:
            return Tally(), 0
        last, more = json.loads(found.text)
        return Tally(last, more), found.sequence

    def _publish(self, message: "_Message", counted: int) -> bool:
        """Notify the topic; False if that failed: then the counted incidents stay counted."""
        try:
            self.client().publish(TopicArn=self.topic_arn, Subject=message.subject, Message=message.text)
        except (ClientError, BotoCoreError):
            if counted:
                self._changed(lambda tally: replace(tally, more=tally.more + counted))
            return False
        return True


class _Message(NamedTuple):
    subject: str
    text: str


def _message(subject: str, *lines: str) -> _Message:
    """A message. SNS takes less than 100 printable ASCII characters as subject (docs/vendors.md, "What SNS takes")."""
    plain = "".join(character if " " <= character <= "~" else "?" for character in subject)[:MAX_SUBJECT]
    return _Message(plain, "\n".join(filter(None, lines)))


def _owed(job: Job, others: int, *, is_given_up: bool) -> _Message:
    # A job that never failed says only that it is on its way.
    reason = "" if job.reason == Reason.IN_FLIGHT else f"; last reason: {job.reason}"
    return _message(
        f"CRITICAL, xMatters not reached: incident {job.incident_id}",
        f"BigPanda incident {legal_text(job.incident_id)} is critical, and xMatters has not accepted its signal.",
        *_about(job),
        f"Owed since: {job.received_at}{reason}",
        _link(job),
        _and_more(others),
        "Notify the recipients by other means now.",
        "The relay has given up: the job is in the dead-letter queue (relayctl dlq list)."
        if is_given_up
        else "The relay goes on trying, so the page may still come.",
        "What to do: docs/operate.md, FallbackAlarm.",
    )


def _unconfirmed(job: Job, unconfirmed: Unconfirmed, others: int) -> _Message:
    requests = ", ".join(map(legal_text, unconfirmed.request_ids))
    return _message(
        f"CRITICAL, no page made: incident {job.incident_id}",
        f"xMatters accepted the signal for the critical BigPanda incident {legal_text(job.incident_id)}, and made no "
        "page of it within three minutes.",
        "Perhaps nobody was notified.",
        *_about(job),
        f"Received: {job.received_at}; xMatters' request id: {requests}",
        _link(job),
        _and_more(others),
        "Is somebody on it? If not, notify the recipients by other means now.",
        "The relay does not send the signal again.",
        "What to do: docs/operate.md, UnconfirmedAlarm.",
    )


def _missed(channels: Sequence[str], missed: Sequence[Missed]) -> _Message:
    first, more = missed[0], len(missed) - 1
    named = [f"Incident {legal_text(each.incident_id)}: {legal_text(each.said)[:MAX_WORDS]}" for each in missed]
    return _message(
        f"CRITICAL, not rung: incident {first.incident_id}{f' and {more} more' if more else ''}",
        "No share of these came to the relay, which did not notify anybody. BigPanda has them as critical:",
        *named[:MAX_NAMED],
        f"And {len(missed) - MAX_NAMED} more." if len(missed) > MAX_NAMED else "",
        f"They may be of channel {', '.join(channels[:MAX_NAMED])}{' or others' if len(channels) > MAX_NAMED else ''}, "
        "or shared with others alone: BigPanda does not say with whom.",
        f"In BigPanda: {legal_text(first.link)}",
        "If they are yours, notify the recipients by other means now.",
        'What to do: docs/operate.md, "A missed critical".',
    )


def _counted(job: Job, counted: int) -> _Message:
    """The message that stands for incidents that were only counted; `job` may be one of them."""
    return _message(
        f"CRITICAL, {counted} more not brought to people by xMatters",
        f"{counted} more critical incidents since the last message: xMatters has not accepted them, or made no page.",
        f"One of them may be incident {legal_text(job.incident_id)} of channel {job.channel}.",
        "Notify people by other means now.",
        "The worker's log names each incident: lines 'fallback told' and 'unconfirmed'.",
        "What to do: docs/operate.md, FallbackAlarm.",
    )


def _and_more(others: int) -> str:
    return f"And {others} more critical incidents that xMatters has not accepted, or made no page of." if others else ""


def _about(job: Job) -> tuple[str, ...]:
    found = _details(job)
    described = (*(alert.description for alert in found.alerts), found.description) if found else ()
    said = next(filter(None, described), None)
    return (
        f"It says: {legal_text(said)[:MAX_WORDS]}" if said else "",
        f"Channel: {job.channel}; recipients: {legal_text(', '.join(job.recipients))}",
    )


def _link(job: Job) -> str:
    found = _details(job)
    return f"In BigPanda: {legal_text(found.link if found else console_link(job.incident_id))}"


def _details(job: Job) -> Details | None:
    try:
        return details.of(incident.parse(job.body))
    except BadRequest:
        return None

"""The fallback: a critical incident that is owed for too long is told to people on a way that is not xMatters.

The topic shares no credential with xMatters. It is told once of each, with a subject and a link; never more than once
a minute, for a storm: the next message says how many more there are.
"""

import json
from collections.abc import Callable
from copy import replace
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from relay import details, incident
from relay.details import Details, console_link
from relay.errors import BadRequest, LedgerError
from relay.message import Job, legal_text
from relay.table import Table

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

MINUTE = 60.0
MAX_SUBJECT = 99
MAX_WORDS = 200
_KEY = "fallback"
OWED = "xMatters has not accepted it"
UNCONFIRMED = "xMatters accepted it but made no page of it"
_TRIES = 4


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
    """Tells the topic. `client` makes its client when it is needed first, which is seldom. `clock`: epoch seconds."""

    client: "Callable[[], SNSClient]"
    topic_arn: str
    table: Table
    clock: Callable[[], float]

    def tell(self, job: Job, what: str = OWED) -> Told:
        """Tell the topic of a critical that is owed for too long, or of which no page came; or count it."""
        others = self._count(one_more=1)
        if others is None:
            return Told.COUNTED
        words = f"And {others} more that are critical and owed." if others else ""
        return Told.TOLD if self._publish(job, what, words, others) else Told.NOT

    def flush(self, job: Job) -> bool:
        """Tell the topic of those that were only counted, if a minute is over; `job` may be one of them.

        False where some of them remain to be told of: somebody has to come again when the minute is over.
        """
        tally, _ = self._tally()
        if tally.more and self._is_over(tally) and (counted := self._count(one_more=0)):
            words = f"{counted} critical and owed were only counted since the last message; this may be one of them."
            return self._publish(job, OWED, words, counted)
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

    def _publish(self, job: Job, what: str, words: str, counted: int) -> bool:
        """Whether the topic was told; if not, those that were counted stay counted."""
        try:
            self.client().publish(TopicArn=self.topic_arn, Subject=_subject(job), Message=_message(job, what, words))
        except (ClientError, BotoCoreError):
            if counted:
                self._changed(lambda tally: replace(tally, more=tally.more + counted))
            return False
        return True


def _subject(job: Job) -> str:
    """SNS takes less than 100 printable ASCII characters (docs/vendors.md, "What SNS takes")."""
    text = f"CRITICAL, xMatters not reached: incident {job.incident_id}"
    return "".join(character if " " <= character <= "~" else "?" for character in text)[:MAX_SUBJECT]


def _message(job: Job, what: str, words: str) -> str:
    found = _details(job)
    described = (*(alert.description for alert in found.alerts), found.description) if found else ()
    said = next(filter(None, described), None)
    lines = [
        f"BigPanda incident {legal_text(job.incident_id)} is critical, and {what}.",
        *([f"It says: {legal_text(said)[:MAX_WORDS]}"] if said else []),
        f"Channel: {job.channel}; recipients: {legal_text(', '.join(job.recipients))}",
        f"Since: {job.received_at}; last reason: {job.reason}",
        *([words] if words else []),
        f"In BigPanda: {legal_text(found.link if found else console_link(job.incident_id))}",
        "The relay goes on trying. What to do: docs/operate.md, FallbackAlarm.",
    ]
    return "\n".join(lines)


def _details(job: Job) -> Details | None:
    try:
        return details.of(incident.parse(job.body))
    except BadRequest:
        return None

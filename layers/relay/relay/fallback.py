"""The fallback: a critical incident that is owed for too long is told to people on a way that is not xMatters.

The topic shares no credential with xMatters. It is told once of each, with a subject and a link; never more than once
a minute, for a storm: the next message says how many more there are.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from botocore.exceptions import BotoCoreError, ClientError

from relay import incident
from relay.errors import BadRequest, LedgerError
from relay.message import Job, legal_text
from relay.table import Table

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

MINUTE = 60.0
MAX_SUBJECT = 99
MAX_WORDS = 200
_KEY = "fallback"
_TRIES = 4


@dataclass(frozen=True)
class Tally:
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

    def tell(self, job: Job) -> bool:
        """Tell the topic of a critical that is owed for too long, or count it; false when neither could be done."""
        others = self._count(one_more=1)
        if others is None:
            return True
        return self._publish(job, f"And {others} more that are critical and owed." if others else "", others)

    def flush(self, job: Job) -> None:
        """Tell the topic of those that were only counted, if a minute is over; `job` may be one of them."""
        tally, _ = self._tally()
        if tally.more and self._is_over(tally) and (counted := self._count(one_more=0)):
            words = f"{counted} critical and owed were only counted since the last message; this may be one of them."
            self._publish(job, words, counted)

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

    def _publish(self, job: Job, words: str, counted: int) -> bool:
        """Whether the topic was told; if not, those that were counted stay counted."""
        try:
            self.client().publish(TopicArn=self.topic_arn, Subject=_subject(job), Message=_message(job, words))
        except (ClientError, BotoCoreError):
            if counted:
                self._changed(lambda tally: replace(tally, more=tally.more + counted))
            return False
        return True


def _subject(job: Job) -> str:
    """SNS takes less than 100 printable ASCII characters (docs/vendors.md, "What SNS takes")."""
    text = f"CRITICAL, xMatters not reached: incident {job.incident_id}"
    return "".join(character if " " <= character <= "~" else "?" for character in text)[:MAX_SUBJECT]


def _message(job: Job, words: str) -> str:
    lines = [
        f"BigPanda incident {legal_text(job.incident_id)} is critical, and xMatters has not accepted it.",
        *_words(job),
        f"Channel: {job.channel}; recipients: {legal_text(', '.join(job.recipients))}",
        f"Since: {job.received_at}; last reason: {job.reason}",
        *([words] if words else []),
        f"In BigPanda: {link(job)}",
        "The relay goes on trying. What to do: docs/operate.md, FallbackAlarm.",
    ]
    return "\n".join(lines)


def _words(job: Job) -> list[str]:
    """What the alerts say first, if they say anything."""
    document = _document(job)
    alerts = document.get("alerts")
    first = alerts[0] if isinstance(alerts, list) and alerts and isinstance(alerts[0], dict) else {}
    said = first.get("description") or document.get("description")
    return [f"It says: {legal_text(str(said))[:MAX_WORDS]}"] if said else []


def link(job: Job) -> str:
    """The incident in BigPanda's console: the body's own link if it has one, else the console's usual form.

    The form is taken from a client that BigPanda publishes (docs/vendors.md, "What BigPanda sends").
    """
    links = _document(job).get("links")
    for each in links if isinstance(links, list) else []:
        if isinstance(each, dict) and str(each.get("href", "")).startswith("https://"):
            return legal_text(str(each["href"]))
    return (
        f"https://a.bigpanda.io/#/app/overview/all/active/incidents/{quote(job.incident_id, safe='', errors='replace')}"
    )


def _document(job: Job) -> dict[str, Any]:
    try:
        document = dict(incident.parse(job.body).document)
    except BadRequest:
        return {}
    wrapped = document.get("incident")
    return wrapped if isinstance(wrapped, dict) else document

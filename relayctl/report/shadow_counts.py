"""Counts for a shadow report: the webhook's log lines of a channel, and xMatters' pages.

The memory does not grow with the number of lines: the newest signals are kept, and the rest is counted. The lines may
come in any order.
"""

import heapq
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlencode

from relay.channels.channel import Rest
from relay.deadline import Deadline
from relay.http.client import HttpClient, json_object
from relay.incidents.json_fields import Fields, scalar
from relay.incidents.transition import Transition
from relay.jobs.job import timestamp
from relay.jobs.outcome import Outcome
from relay.xmatters.rest import EVENTS_PATH, RestApi, listed
from relayctl.log_lines import Line

# Text properties carry a language in searches.
LANGUAGE = "#en"
# An id that no incident has. If pages are found for it, xMatters does not filter by the property.
NO_INCIDENT = "relayctl-no-such-incident"


class Span(NamedTuple):
    """A span of time.

    Attributes:
        since: Start (epoch seconds).
        until: End (epoch seconds).
    """

    since: float
    until: float


class PageCounts:
    """Counter of pages. Every method raises NoAnswer or BadAnswer when a request fails."""

    def __init__(self, outward: HttpClient) -> None:
        self._api = RestApi(outward)

    def in_span(self, rest: Rest, span: Span, deadline: Deadline) -> int:
        """Return the number of pages that were made in the span, by the relay or by any other sender.

        `rest` has the credentials of a user of xMatters. Only the pages that this user may see are counted.
        """
        return self._count(rest, span, {}, deadline)

    def of_incident(self, rest: Rest, name: str, incident_id: str, span: Span, deadline: Deadline) -> int:
        """Return the number of pages of the span whose text property `name` is the incident's id."""
        named = {"propertyName": f"{name}{LANGUAGE}", "propertyValue": incident_id}
        return self._count(rest, span, named, deadline)

    def _count(self, rest: Rest, span: Span, filters: dict[str, str], deadline: Deadline) -> int:
        times = {"from": timestamp(span.since), "to": timestamp(span.until)}
        query = urlencode({**filters, **times, "limit": 1}, errors="replace")
        answer = self._api.ask(rest, "GET", f"{EVENTS_PATH}?{query}", None, deadline, says=_total)
        return _total(answer) or 0


def _total(answer: Any) -> int | None:
    """Return the number of all matching pages that an answer of xMatters states; None if it states none."""
    text = scalar(Fields(json_object(answer.body)).first("total")) or ""
    return int(text) if listed(answer) is not None and text.isascii() and text.isdigit() else None


MINUTE = 60.0
# Distinct names and reasons that are counted, and incidents. Lines with others are counted under OTHER, or left out.
MAX_NAMES = 1000
MAX_INCIDENTS = 5000
OTHER = "others"
# Outcomes of shares that a channel in shadow mode would not signal.
SUPPRESSED = (Outcome.UNCHANGED, Outcome.DUPLICATE, Outcome.SUPERSEDED)


class Signal(NamedTuple):
    """A signal that would have been sent.

    Attributes:
        at: Time of the share (epoch seconds).
        incident_id: BigPanda's id of the incident.
        transition: The transition; empty if the ledger failed.
        why: The explanation of the transition; empty if there is none.
        status: The incident's status; empty if it is not known.
        recipients: The recipients that the channel or the webhook's URL names; empty if the workflow names them.
        is_unguarded: True if the ledger failed: then the relay would send the signal without protection against a
            second page.
    """

    at: float
    incident_id: str
    transition: str
    why: str
    status: str
    recipients: tuple[str, ...]
    is_unguarded: bool


class Suppressed(NamedTuple):
    """A cause for which shares would not have been signalled; shares are counted by it.

    Attributes:
        outcome: The outcome of the shares.
        transition: The transition; empty if it was not looked for.
        why: The explanation; empty if there is none.
    """

    outcome: str
    transition: str
    why: str


@dataclass
class IncidentCount:
    """Signals that one incident would have made.

    Attributes:
        signals: Number of signals.
        ends: Number of these signals that announce the incident's end.
        last: Time of its last share (epoch seconds).
    """

    signals: int = 0
    ends: int = 0
    last: float = 0.0


class Peak(NamedTuple):
    """The minute with the most signals.

    Attributes:
        at: Start of the minute (epoch seconds).
        signals: Number of signals in it.
    """

    at: float
    signals: int


@dataclass
class ShadowCounts:
    """Counts of a channel's shares.

    Attributes:
        most: Maximum number of signals to keep; the newest are kept.
        shares: Number of all shares.
        live: Number of shares with the outcome of a live channel, such as `delivered`: the channel was not in shadow
            mode then.
        signals: Number of signals that would have been sent.
        unguarded: Number of these signals for which the ledger failed.
        transitions: Number of these signals by transition.
        recipients: Number of these signals by recipient.
        unnamed: Number of these signals without a recipient in the channel or the URL: the workflow in xMatters names
            the recipients.
        suppressed: Number of shares that would not have been signalled, by cause.
        incidents: Counts by incident id, for the first MAX_INCIDENTS incidents of the shares.
        uncounted: Number of shares of further incidents, which are not in `incidents`.
        first_shadowed: Time of the earliest signal that would have been sent (epoch seconds); None without one.
    """

    most: int
    shares: int = 0
    live: int = 0
    signals: int = 0
    unguarded: int = 0
    transitions: Counter[str] = field(default_factory=Counter)
    recipients: Counter[str] = field(default_factory=Counter)
    unnamed: int = 0
    suppressed: Counter[Suppressed] = field(default_factory=Counter)
    incidents: dict[str, IncidentCount] = field(default_factory=dict)
    uncounted: int = 0
    first_shadowed: float | None = None
    # Signals by the number of the minute since the epoch. It has one entry for each minute of the report at most.
    _minutes: Counter[int] = field(default_factory=Counter)
    _newest: list[tuple[float, int, Signal]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def add(self, line: Line) -> None:
        """Add a log line of the webhook about one share to the counts."""
        self.shares += 1
        outcome = line.text("outcome")
        if outcome == Outcome.SHADOWED:
            self._add_signal(_signal(line))
        elif outcome in SUPPRESSED:
            cause = Suppressed(outcome, line.text("transition"), line.text("why"))
            is_known = cause in self.suppressed or len(self.suppressed) < MAX_NAMES
            self.suppressed[cause if is_known else Suppressed(outcome, "", OTHER)] += 1
        else:
            self.live += 1
        self._note_incident(line, is_signal=outcome == Outcome.SHADOWED)

    @property
    def newest(self) -> list[Signal]:
        """The latest signals that would have been sent, at most `most` of them, oldest first."""
        return [signal for _, _, signal in sorted(self._newest)]

    @property
    def peak(self) -> Peak | None:
        """The minute with the most signals; the latest one if several have as many; None without a signal."""
        if not self._minutes:
            return None
        minute = max(self._minutes, key=lambda each: (self._minutes[each], each))
        return Peak(minute * MINUTE, self._minutes[minute])

    def would_wait(self, limit: int) -> int:
        """Return the number of signals that a rate limit of `limit` signals a minute would have delayed.

        The estimate counts by whole minutes. A delayed signal counts against the limit of a later minute, so it may
        delay that minute's signals.
        """
        waiting = delayed = 0
        before: int | None = None
        for minute in sorted(self._minutes):
            if before is not None:
                waiting = max(0, waiting - limit * (minute - before))
            arrived = self._minutes[minute]
            late = max(0, arrived - max(0, limit - waiting))
            delayed += late
            waiting, before = waiting + arrived, minute
        return delayed

    def _add_signal(self, signal: Signal) -> None:
        self.signals += 1
        self.unguarded += signal.is_unguarded
        self.transitions[signal.transition] += 1
        self.unnamed += not signal.recipients
        for name in signal.recipients:
            self.recipients[name if name in self.recipients or len(self.recipients) < MAX_NAMES else OTHER] += 1
        self._minutes[int(signal.at // MINUTE)] += 1
        self.first_shadowed = min(self.first_shadowed or signal.at, signal.at)
        kept = (signal.at, next(self._numbers), signal)
        if len(self._newest) < self.most:
            heapq.heappush(self._newest, kept)
        elif self._newest:
            heapq.heappushpop(self._newest, kept)

    def _note_incident(self, line: Line, *, is_signal: bool) -> None:
        incident_id = line.text("incident_id")
        if incident_id not in self.incidents and len(self.incidents) >= MAX_INCIDENTS:
            self.uncounted += 1
            return
        count = self.incidents.setdefault(incident_id, IncidentCount())
        count.signals += is_signal
        count.ends += is_signal and line.text("transition") == Transition.RESOLVED
        count.last = max(count.last, line.at)


def _signal(line: Line) -> Signal:
    names = line.fields.get("recipients")
    return Signal(
        line.at,
        line.text("incident_id"),
        line.text("transition"),
        line.text("why"),
        line.text("status"),
        tuple(map(str, names)) if isinstance(names, list) else (),
        bool(line.text("unguarded")),
    )

"""Counts for a shadow report: the webhook's log lines of a channel, and xMatters' pages."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from relay.channels.channel import Rest
from relay.deadline import Deadline
from relay.http.client import json_object
from relay.incidents.share import Fields, scalar
from relay.jobs.job import timestamp
from relay.jobs.outcome import Outcome
from relay.xmatters.directory import EVENTS_PATH, RestApi, listed
from relayctl import moments
from relayctl.log_lines import Line

# Text properties carry a language in searches.
LANGUAGE = "#en"
MINUTE = 60.0
# Outcomes of shares that a channel in shadow mode would not signal.
SUPPRESSED: Mapping[str, str] = {
    Outcome.UNCHANGED: "nothing that the channel announces",
    Outcome.DUPLICATE: "a copy of a known share",
    Outcome.SUPERSEDED: "a newer state of the incident was known",
}


@dataclass
class ShadowCounts:
    """Counts of a channel's shares; the lines may come in any order.

    Attributes:
        most: Maximum number of signals to keep; the newest are kept.
        shares: Number of all shares.
        live: Number of shares with the outcome of a live channel, such as `delivered`: the channel was not in shadow
            mode then.
        signals: Number of signals that would have been sent.
        unguarded: Number of these signals for which the ledger failed.
        transitions: Number of these signals by transition; an empty text if the ledger failed.
        recipients: Number of these signals by recipient.
        unnamed: Number of these signals without a recipient in the channel or the URL: the workflow in xMatters names
            the recipients.
        minutes: Number of these signals by the number of the minute since the epoch.
        suppressed: Number of shares that would not have been signalled, by outcome, transition and explanation.
        incidents: Time of the last share by incident id (epoch seconds).
        newest: The newest signals as JSON objects, each with its time.
    """

    most: int
    shares: int = 0
    live: int = 0
    signals: int = 0
    unguarded: int = 0
    transitions: Counter[str] = field(default_factory=Counter)
    recipients: Counter[str] = field(default_factory=Counter)
    unnamed: int = 0
    minutes: Counter[int] = field(default_factory=Counter)
    suppressed: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    incidents: dict[str, float] = field(default_factory=dict)
    newest: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    def add(self, line: Line) -> None:
        """Add a log line of the webhook about one share to the counts."""
        self.shares += 1
        outcome, incident_id = line.text("outcome"), line.text("incident_id")
        self.incidents[incident_id] = max(self.incidents.get(incident_id, 0.0), line.at)
        if outcome == Outcome.SHADOWED:
            self._add_signal(line, incident_id)
        elif outcome in SUPPRESSED:
            self.suppressed[outcome, line.text("transition"), line.text("why")] += 1
        else:
            self.live += 1

    def _add_signal(self, line: Line, incident_id: str) -> None:
        named = line.fields.get("recipients")
        names = list(map(str, named)) if isinstance(named, list) else []
        self.signals += 1
        self.unguarded += bool(line.text("unguarded"))
        self.transitions[line.text("transition")] += 1
        self.unnamed += not names
        self.recipients.update(names)
        self.minutes[int(line.at // MINUTE)] += 1
        signal = {
            "at": moments.iso(line.at),
            "incident_id": incident_id,
            **{name: line.text(name) or None for name in ("transition", "why", "status")},
            "recipients": names,
            "unguarded": bool(line.text("unguarded")),
        }
        self.newest.append((line.at, signal))
        if len(self.newest) > 2 * self.most:
            self.newest = self._listed()

    def _listed(self) -> list[tuple[float, dict[str, Any]]]:
        return sorted(self.newest, key=lambda each: each[0])[-self.most :] if self.most else []

    def document(self) -> dict[str, Any]:
        """Return the counts, and the latest signals that would have been sent, as members of a JSON object."""
        # The latest minute, if several have as many signals.
        peak = max(self.minutes, key=lambda each: (self.minutes[each], each), default=None)
        return {
            "shares": self.shares,
            "live_shares": self.live,
            "signals": self.signals,
            "unguarded_signals": self.unguarded,
            "by_transition": dict(self.transitions.most_common()),
            "by_recipient": dict(self.recipients.most_common()),
            "without_named_recipient": self.unnamed,
            "peak_signals": 0 if peak is None else self.minutes[peak],
            "peak_at": None if peak is None else moments.iso(peak * MINUTE),
            "listed": [signal for _, signal in self._listed()],
            "suppressed": [
                {"outcome": outcome, "transition": transition, "why": why, "count": number}
                for (outcome, transition, why), number in self.suppressed.most_common()
            ],
        }


def count_pages(
    api: RestApi, rest: Rest, times: tuple[float, float], deadline: Deadline, name: str = "", value: str = ""
) -> int:
    """Return the number of pages that xMatters made, by any sender, from one time to another (epoch seconds).

    With `name`, only pages whose text property has this value are counted. Pages that the user of the credentials may
    not see are never counted. Raises NoAnswer or BadAnswer.
    """
    named = {"propertyName": f"{name}{LANGUAGE}", "propertyValue": value} if name else {}
    period = dict(zip(("from", "to"), map(timestamp, times), strict=True))
    query = urlencode({**named, **period, "limit": 1}, errors="replace")
    answer = api.ask(rest, "GET", f"{EVENTS_PATH}?{query}", None, deadline, says=_total)
    return _total(answer) or 0


def _total(answer: Any) -> int | None:
    """Return the number of all matching pages that an answer of xMatters states; None if it states none."""
    text = scalar(Fields(json_object(answer.body)).first("total")) or ""
    return int(text) if listed(answer) is not None and text.isascii() and text.isdigit() else None

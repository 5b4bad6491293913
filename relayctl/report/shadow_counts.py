"""Counts for a shadow report: the webhook's log lines of a channel, and xMatters' pages."""

from collections import Counter
from collections.abc import Mapping, Sequence
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

# Fields of a log line that are counted.
FIELDS = ("outcome", "incident_id", "transition", "why", "status", "recipients", "unguarded")
# Text properties carry a language in searches.
LANGUAGE = "#en"
MINUTE = 60.0
# Outcomes of shares that a channel in shadow mode would not signal.
SUPPRESSED: Mapping[str, str] = {
    Outcome.UNCHANGED: "nothing that the channel announces",
    Outcome.DUPLICATE: "a copy of a known share",
    Outcome.SUPERSEDED: "a newer state of the incident was known",
}


def counts(lines: Sequence[Line], most: int) -> dict[str, Any]:
    """Return the counts of a channel's shares as members of a JSON object; the log lines may come in any order.

    `most` is the maximum number of signals that are listed, the newest.
    """
    signals = sorted((line for line in lines if line.text("outcome") == Outcome.SHADOWED), key=lambda line: line.at)
    suppressed = Counter(
        (line.text("outcome"), line.text("transition"), line.text("why"))
        for line in lines
        if line.text("outcome") in SUPPRESSED
    )
    minutes = Counter(int(line.at // MINUTE) for line in signals)
    # The latest minute, if several have as many signals.
    peak = max(minutes, key=lambda each: (minutes[each], each), default=None)
    return {
        "shares": len(lines),
        # The channel was not in shadow mode then.
        "live_shares": len(lines) - len(signals) - suppressed.total(),
        "signals": len(signals),
        "unguarded_signals": sum(bool(line.text("unguarded")) for line in signals),
        "by_transition": dict(Counter(line.text("transition") for line in signals).most_common()),
        "by_recipient": dict(Counter(name for line in signals for name in _recipients(line)).most_common()),
        # The workflow in xMatters names the recipients of these.
        "without_named_recipient": sum(not _recipients(line) for line in signals),
        "peak_signals": 0 if peak is None else minutes[peak],
        "peak_at": None if peak is None else moments.iso(peak * MINUTE),
        "listed": [
            {
                "at": moments.iso(line.at),
                "incident_id": line.text("incident_id"),
                **{name: line.text(name) or None for name in ("transition", "why", "status")},
                "recipients": _recipients(line),
                "unguarded": bool(line.text("unguarded")),
            }
            for line in signals[len(signals) - min(most, len(signals)) :]
        ],
        "suppressed": [
            {"outcome": outcome, "transition": transition, "why": why, "count": number}
            for (outcome, transition, why), number in suppressed.most_common()
        ],
    }


def _recipients(line: Line) -> list[str]:
    named = line.fields.get("recipients")
    return list(map(str, named)) if isinstance(named, list) else []


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

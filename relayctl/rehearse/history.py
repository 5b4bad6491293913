"""History of each incident, from what was fetched: when it was shared and in which state, and its pages. Pure code.

No activity of BigPanda's tells of a change of status. A past state is exact where a page told it; else it is inferred
from the alerts that were active then, and marked as inferred. An alert that is over by now is taken to have been as bad
as the incident's severity.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from relay.bigpanda.listing import SHARED
from relay.incidents.callback import ESCALATE
from relay.incidents.share import RANKS, Fields, Share, fields_of, parse_share, scalar, time_of

_OPENS = ("incident_opened", "incident_reopen", "incident_created")
_CLOSES = ("incident_resolved_ui_manually", "incident_resolved_api", "incident_resolved_by_alerts", "incident_resolved")
# A page may tell of a share that BigPanda logs some seconds later.
_CLOCKS_DIFFER_SECONDS = 5.0
# A page that tells another status than the alerts is taken to be about a share within this time before it.
_TELLS_SECONDS = 120.0


class Period(NamedTuple):
    """The time that a rehearsal is about, in epoch seconds."""

    since: int
    until: int


class Told(NamedTuple):
    """An incident as BigPanda's API gives it."""

    id: str
    document: Any  # The incident with its alerts; None if it is gone
    activities: Sequence[Any]  # Its activities, the newest first


class Page(NamedTuple):
    """A page that xMatters made."""

    id: str  # UUID of xMatters' event
    at: float  # When it was made (epoch seconds)
    status: str | None = None  # Status of the incident that it told; None if unknown
    answered_at: float | None = None  # First answer (epoch seconds); None without one, or if unknown
    is_notified: bool | None = None  # True if a device got it, False if none did; None if its audits are unknown


class Moment(NamedTuple):
    """A past share, with the incident's state at that time."""

    at: float  # When BigPanda shared the incident (epoch seconds); when its page was made, if BigPanda logged no share
    body: bytes  # A webhook's body with the state at that time
    status: str  # The incident's status then
    is_inferred: bool  # True if the state was inferred
    page: Page | None = None  # The page that the direct integration made of it; None if it made none

    @property
    def share(self) -> Share:
        """The share in the body. It is parsed at each use, since the parsed shares of a long past take much memory."""
        return parse_share(self.body)


class History(NamedTuple):
    """History of one incident."""

    incident_id: str
    title: str  # Its title; empty if unknown
    moments: tuple[Moment, ...]  # Its shares, oldest first
    spells: tuple[tuple[float, float | None], ...]  # Start and end (epoch seconds) of being open; None while it is

    @property
    def pages(self) -> list[tuple[Page, Moment]]:
        """Its pages, oldest first, each with its share."""
        known = [(moment.page, moment) for moment in self.moments if moment.page]
        return sorted(known, key=lambda each: each[0].at)


class Past(NamedTuple):
    """Past of a team: the histories of all incidents."""

    histories: tuple[History, ...]  # One for each incident that was shared with a target in the period
    targets: Mapping[str, int]  # Number of shares by BigPanda's name of their target, also of those that were left out


def is_open(spells: Iterable[tuple[float, float | None]], at: float) -> bool:
    return any(start <= at and (end is None or at < end) for start, end in spells)


def read_past(
    period: Period, incidents: Iterable[Told], pages: Mapping[str, Sequence[Page]] | None, targets: Collection[str] = ()
) -> Past:
    """Return the past of incidents in a period. `targets` are the share targets that count; if empty, all webhooks.

    `pages` are by incident id. If None, each share is taken to have made one at once, as the direct integration does.
    """
    counted = Counter[str]()
    histories = []
    for each in incidents:
        # BigPanda lists the newest first, also of those with the same time.
        logged = sorted(map(fields_of, reversed(each.activities)), key=_at)
        shares = [activity for activity in logged if activity.get("type") == SHARED]
        counted.update(map(_target, shares))
        wanted = [activity for activity in shares if _is_wanted(_target(activity), targets)]
        # The direct integration makes a page of a share, so there was a share that BigPanda did not log.
        times = sorted({at for at in map(_at, wanted) if period.since <= at <= period.until})
        assumed = [Page(f"assumed-{at}", at) for at in times]
        of_pages = assumed if pages is None else pages.get(each.id, ()) if wanted or not shares else ()
        history = _history(each, logged, times, of_pages)
        if history.moments:
            histories.append(history)
    ordered = tuple(sorted(histories, key=lambda each: each.moments[0].at))
    return Past(ordered, dict(counted))


def with_answers(past: Past, audits: Mapping[str, Sequence[Any]]) -> Past:
    """Return the past with the answers and notifications that xMatters' records (audits, by page id) tell of."""

    def told(moment: Moment) -> Moment:
        page = moment.page
        return moment._replace(page=page._replace(**_heard(audits[page.id]))) if page and page.id in audits else moment

    histories = (each._replace(moments=tuple(map(told, each.moments))) for each in past.histories)
    return past._replace(histories=tuple(histories))


def _history(told: Told, logged: Sequence[Fields], times: Iterable[float], pages: Sequence[Page]) -> History:
    incident = Fields(told.document)
    spells = _spells(incident, logged)
    alerts = [Fields(each) for each in incident.get("alerts") or () if isinstance(each, dict)]
    severity = str(incident.get("severity") or incident.get("status") or "unknown").lower()
    names = ("incident_tags", "incidentTags", "environments")
    own = {name: told.document[name] for name in names if name in told.document}

    def alerts_at(at: float) -> list[dict[str, Any]]:
        begun = (each for each in alerts if (time_of(each.first("startedon", "start")) or 0) <= at)
        return [_alert_at(each, at, severity) for each in begun]

    def inferred_at(at: float) -> str:
        if not is_open(spells, at):
            return "ok"
        return max(
            (each["status"] for each in alerts_at(at)), key=lambda status: RANKS.get(status, 0), default=severity
        )

    def moment(at: float, page: Page | None = None) -> Moment:
        told_status = page.status if page and page.at - at <= _TELLS_SECONDS else None
        status = told_status or inferred_at(at)
        is_over = status == "ok"
        members = {"id": told.id, "status": status, "severity": severity, "active": not is_over, "resolved": is_over}
        members |= {"changedOn": int(at), "updatedOn": int(at), "alerts": alerts_at(at)}
        return Moment(at, json.dumps({"incident": own | members}).encode(), status, told_status is None, page)

    matched, unmatched = _matched({at: inferred_at(at) for at in times}, pages)
    found = [moment(at, page) for at, page in matched.items()] + [moment(page.at, page) for page in unmatched]
    title = next((text for each in alerts if (text := scalar(each.get("description")))), "")
    return History(told.id, title, tuple(sorted(found, key=lambda each: each.at)), tuple(spells))


def _alert_at(alert: Fields, at: float, severity: str) -> dict[str, Any]:
    """Return an alert as it was at a time: over, or as bad as it is now, or as the incident's severity."""
    end, now = time_of(alert.first("endedon", "end")), str(alert.get("status") or "unknown").lower()
    is_over = end is not None and end <= at
    status = "ok" if is_over else severity if now == "ok" else now
    kept = {name: alert[name] for name in ("description", "tags", "sourcesystem", "primaryproperty") if name in alert}
    return {"id": scalar(alert.first("id", "alertid")), "status": status, "active": not is_over} | kept


def _spells(incident: Fields, logged: Sequence[Fields]) -> list[tuple[float, float | None]]:
    """Return when the incident was open, from its activities; from its own times if they say nothing."""
    spells: list[tuple[float, float | None]] = []
    start = time_of(incident.first("startedon", "start", "started"))
    end = time_of(incident.first("endedon", "end"))
    for each in logged:
        kind, at = str(each.get("type")), _at(each)
        if kind in _OPENS and (not spells or spells[-1][1] is not None):
            spells.append((at, None))
        elif kind.startswith(_CLOSES) and not spells:
            # BigPanda forgot the activities before.
            spells.append((min(start or 0.0, at), at))
        elif kind.startswith(_CLOSES) and spells[-1][1] is None:
            spells[-1] = (spells[-1][0], at)
    if not spells:
        return [(start or 0.0, end)]
    if spells[-1][1] is None and end is not None and end > spells[-1][0] and incident.get("active") is False:
        spells[-1] = (spells[-1][0], end)
    return spells


def _matched(inferred: Mapping[float, str], pages: Sequence[Page]) -> tuple[dict[float, Page | None], list[Page]]:
    """Give each page to a share: the last one before it that has none and the page's status, else that has none."""
    found, unmatched = dict[float, Page | None].fromkeys(inferred), list[Page]()
    for page in pages:
        free = [at for at, its in found.items() if its is None and at <= page.at + _CLOCKS_DIFFER_SECONDS]
        alike = [at for at in free if page.status in {None, inferred[at]}]
        if free:
            found[(alike or free)[-1]] = page
        else:
            unmatched.append(page)
    return found, unmatched


def _heard(audits: Iterable[Any]) -> dict[str, Any]:
    is_notified, answers = False, list[float]()
    for each in map(fields_of, audits):
        response = fields_of(each.get("response"))
        notification = fields_of(each.get("notification") or response.get("notification"))
        kind = str(each.first("audittype", "type")).upper()
        is_delivered = str(notification.get("deliverystatus")).upper() in {"DELIVERED", "RESPONDED"}
        is_notified = is_notified or is_delivered or kind == "NOTIFICATION_DELIVERED"
        if kind == "RESPONSE_RECEIVED":
            at = time_of(response.get("received")) or time_of(each.first("at", "created"))
            is_notified = True
            # Who escalates passes the page on.
            if at is not None and (scalar(response.get("response")) or "").strip().lower() not in ESCALATE:
                answers.append(at)
    return {"is_notified": is_notified, "answered_at": min(answers, default=None)}


def _target(activity: Fields) -> str:
    return str(fields_of(activity.get("params")).get("sharetarget") or "unknown")


def _is_wanted(target: str, targets: Collection[str]) -> bool:
    return target in targets if targets else target.startswith("webhook") or "xmatters" in target.lower()


def _at(activity: Fields) -> float:
    return time_of(activity.get("timestamp")) or 0.0

"""History of each incident, from what was fetched: when it was shared and in which state, and its pages. Pure code.

No activity of BigPanda's tells of a change of status. A past state is exact where a page told it; else it is inferred
from the alerts that were active then, and marked as inferred. An alert that is over by now is taken to have been as bad
as the incident's severity.
"""

import json
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from relay.bigpanda.listing import SHARED
from relay.incidents.callback import ESCALATE
from relay.incidents.share import RANKS, Fields, Share, fields_of, parse_share, scalar, time_of
from relay.xmatters.directory import SUPPRESSED_WITHIN_SECONDS
from relayctl.rehearse.fetch import ACTIVITIES, AUDITS, DETAILS, EVENTS, SUPPRESSED, Archive

_OPENS = ("incident_opened", "incident_reopen", "incident_created")
_CLOSES = ("incident_resolved_ui_manually", "incident_resolved_api", "incident_resolved_by_alerts", "incident_resolved")
# A page may tell of a share that BigPanda logs some seconds later.
_CLOCKS_DIFFER_SECONDS = 5.0
# A page that tells another status than the alerts is taken to be about a share within this time before it.
_TELLS_SECONDS = 120.0


class Page(NamedTuple):
    """A page that xMatters made."""

    id: str  # UUID of xMatters' event
    at: float  # When it was made (epoch seconds)
    status: str | None = None  # Status of the incident that it told; None if unknown
    answered_at: float | None = None  # First answer (epoch seconds); None without one, or if unknown
    answered_by: str = ""  # That person; empty if unknown
    is_notified: bool | None = None  # True if a device got it, False if none did; None if its audits are unknown


class Moment(NamedTuple):
    """A share of the past."""

    at: float  # When BigPanda shared the incident (epoch seconds); when its page was made, if BigPanda logged no share
    body: bytes  # A webhook's body with the state at that time
    status: str  # The incident's status then
    is_inferred: bool  # True if the state was inferred
    page: Page | None = None  # The page that the direct integration made of it; None if it made none

    @property
    def share(self) -> Share:
        """The body, parsed anew each time: parsed, a long past would take much memory."""
        return parse_share(self.body)


class History(NamedTuple):
    """History of one incident."""

    incident_id: str
    title: str  # Its title; empty if unknown
    moments: tuple[Moment, ...]  # Its shares, oldest first
    spells: tuple[tuple[float, float | None], ...]  # Start and end (epoch seconds) of being open; None while it is
    earlier: tuple[Moment, ...] = ()  # Its shares before the period: what people knew when it began

    @property
    def pages(self) -> list[tuple[Page, Moment]]:
        """Its pages, oldest first, each with its share."""
        known = [(moment.page, moment) for moment in self.moments if moment.page]
        return sorted(known, key=lambda each: each[0].at)

    def is_open(self, at: float) -> bool:
        return any(start <= at and (end is None or at < end) for start, end in self.spells)


class Past(NamedTuple):
    """All histories."""

    histories: tuple[History, ...]  # One for each incident that was shared with a target in the period
    targets: Mapping[str, int]  # Number of shares by BigPanda's name of their target, also of those that were left out
    logs_updates: bool  # True if BigPanda logged further shares of an incident, not only the first one
    others: int = 0  # Number of pages with the id of another incident
    dropped: int = 0  # Number of shares without a page around which xMatters' flood control dropped something


def read_pages(archive: Archive) -> dict[str, list[Page]]:
    """Return the pages by BigPanda's id of the incident, oldest first, with what is known of their answers."""
    audits = {key: _heard(document) for key, document in archive.all(AUDITS) if isinstance(document, list)}
    found = defaultdict[str, dict[str, Page]](dict)
    for _, events in archive.all(EVENTS):
        for event in events:
            at, incident, name = time_of(event["created"]), event["incident"], event["id"]
            if at is not None and isinstance(incident, str) and name:
                status = str(event["told_status"] or "").strip().lower() or None
                page = Page(name, at, status if status in RANKS else None)
                found[incident][name] = page._replace(**audits.get(name, {}))
    return {incident: sorted(pages.values(), key=lambda page: page.at) for incident, pages in found.items()}


def read_past(archive: Archive) -> Past:
    """Return what is known of the archive's period; all webhooks are wanted if it is about no target of shares."""
    pages, targets = read_pages(archive), archive.about["targets"]
    # BigPanda lists the newest first, also of those with the same time.
    activities = {key: [fields_of(each) for each in reversed(listed)] for key, listed in archive.all(ACTIVITIES)}
    counted = Counter[str]()
    logs_updates, histories = False, []
    # One by one: the details of all incidents would take much memory. Two runs at once may have added one twice.
    for key, document in archive.all(DETAILS):
        if not isinstance(document, dict) or key not in activities:
            continue
        logged = sorted(activities.pop(key), key=_at)
        shares = [each for each in logged if each.get("type") == SHARED]
        counted.update(map(_target, shares))
        wanted = [each for each in shares if is_wanted(_target(each), targets)]
        again = any(fields_of(each.get("params")).get("firsttime") is False for each in wanted)
        logs_updates = logs_updates or again or len(wanted) > len(set(map(_target, wanted)))
        history = _history(key, document, logged, wanted, pages.get(key, ()), archive.about)
        if history.moments:
            histories.append(history)
    ordered = tuple(sorted(histories, key=lambda each: each.moments[0].at))
    others = sum(map(len, pages.values())) - sum(len(each.pages) for each in ordered)
    return Past(ordered, dict(counted), logs_updates, others, _dropped(archive, ordered))


def _dropped(archive: Archive, histories: Iterable[History]) -> int:
    """Count the shares that flood control may have dropped: xMatters says when it dropped, and not which signal."""
    times = sorted({at for _, found in archive.all(SUPPRESSED) for each in found if (at := time_of(each)) is not None})
    shares = (moment.at for history in histories for moment in history.moments if moment.page is None)
    return sum(
        bisect_left(times, at - SUPPRESSED_WITHIN_SECONDS) < bisect_right(times, at + SUPPRESSED_WITHIN_SECONDS)
        for at in shares
    )


def _history(
    key: str,
    document: Mapping[str, Any],
    logged: Sequence[Fields],
    shares: Sequence[Fields],
    pages: Sequence[Page],
    about: Mapping[str, Any],
) -> History:
    incident = Fields(document)
    spells = _spells(incident, logged)
    alerts = [Fields(each) for each in incident.get("alerts") or () if isinstance(each, dict)]
    severity = str(incident.get("severity") or incident.get("status") or "unknown").lower()
    own = {name: document[name] for name in ("incident_tags", "incidentTags", "environments") if name in document}

    def alerts_at(at: float) -> list[dict[str, Any]]:
        begun = (each for each in alerts if (time_of(each.first("startedon", "start")) or 0) <= at)
        return [_alert_at(each, at, severity) for each in begun]

    def inferred_at(at: float) -> str:
        if not any(start <= at and (end is None or at < end) for start, end in spells):
            return "ok"
        return max(
            (each["status"] for each in alerts_at(at)), key=lambda status: RANKS.get(status, 0), default=severity
        )

    def moment(at: float, told: str | None, page: Page | None = None) -> Moment:
        status = told or inferred_at(at)
        is_over, alerts = status == "ok", alerts_at(at)
        members = {"id": key, "status": status, "severity": severity, "active": not is_over, "resolved": is_over}
        members |= {"changedOn": int(at), "updatedOn": int(at), "alerts": alerts}
        return Moment(at, json.dumps({"incident": own | members}).encode(), status, told is None, page)

    times = sorted({_at(each) for each in shares if _at(each) <= about["until"]})
    told = _told_states({at: inferred_at(at) for at in times}, pages)
    known = [moment(at, told.get(at)) for at in times]
    matched, unmatched = _matched([each for each in known if each.at >= about["since"]], pages)
    # The direct integration makes a page of a share, so there was a share that BigPanda did not log.
    is_wanted_one = known or not any(each.get("type") == SHARED for each in logged)
    matched += [moment(page.at, page.status, page) for page in unmatched] if is_wanted_one else []
    title = next((text for each in alerts if (text := scalar(each.get("description")))), "")
    ordered, earlier = sorted(matched, key=lambda each: each.at), [each for each in known if each.at < about["since"]]
    return History(key, title, tuple(ordered), tuple(spells), tuple(earlier))


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


def _told_states(inferred: Mapping[float, str], pages: Sequence[Page]) -> dict[float, str]:
    """Return the status that a page told of the last share before it, or of an earlier one with that status."""
    told: dict[float, str] = {}
    for page in pages:
        near = [at for at in inferred if page.at - _TELLS_SECONDS <= at <= page.at + _CLOCKS_DIFFER_SECONDS]
        alike = [at for at in near if inferred[at] == page.status and at not in told]
        if page.status and near:
            told.setdefault((alike or near)[-1], page.status)
    return told


def _matched(moments: Sequence[Moment], pages: Sequence[Page]) -> tuple[list[Moment], list[Page]]:
    """Give each page to a share: the last one before it that has none and the page's status, else that has none."""
    left, unmatched = list(moments), list[Page]()
    for page in pages:
        free = [
            place
            for place, moment in enumerate(left)
            if moment.page is None and moment.at <= page.at + _CLOCKS_DIFFER_SECONDS
        ]
        alike = [place for place in free if page.status in {None, left[place].status}]
        if not free:
            unmatched.append(page)
            continue
        place = (alike or free)[-1]
        left[place] = left[place]._replace(page=page)
    return left, unmatched


def _heard(audits: Iterable[Any]) -> dict[str, Any]:
    is_notified, answers = False, list[tuple[float, str]]()
    for each in map(fields_of, audits):
        response = fields_of(each.get("response"))
        notification = fields_of(each.get("notification") or response.get("notification"))
        kind = str(each.first("audittype", "type")).upper()
        is_delivered = str(notification.get("deliverystatus")).upper() in {"DELIVERED", "RESPONDED"}
        is_notified = is_notified or is_delivered or kind == "NOTIFICATION_DELIVERED"
        if kind == "RESPONSE_RECEIVED":
            recipient = fields_of(notification.get("recipient"))
            owner = fields_of(recipient.get("owner")) or recipient
            at = time_of(response.get("received")) or time_of(each.first("at", "created"))
            is_notified = True
            # Who escalates passes the page on.
            if at is not None and (scalar(response.get("response")) or "").strip().lower() not in ESCALATE:
                answers.append((at, scalar(owner.get("targetname")) or ""))
    first = min(answers, default=(None, ""))
    return {"is_notified": is_notified, "answered_at": first[0], "answered_by": first[1]}


def _target(activity: Fields) -> str:
    return str(fields_of(activity.get("params")).get("sharetarget") or "unknown")


def is_wanted(target: str, targets: Collection[str]) -> bool:
    """True if shares with this target count; `targets` are the wanted ones, every webhook if it is empty."""
    return target in targets if targets else target.startswith("webhook") or "xmatters" in target.lower()


def _at(activity: Fields) -> float:
    return time_of(activity.get("timestamp")) or 0.0

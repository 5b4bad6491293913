"""Ninety plausible days of a team of twenty, as both vendors remember them: what `make rehearsal` rehearses.

The team pages by BigPanda's direct integration: each share makes a page of its own. Its days have outages, flapping,
storms, nights in which nobody answers, somebody who is absent, and one outage of xMatters. The figures of the past are
counted while it is made, so that a test can compare them with the report's.
"""

import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

from sandbox.server.in_process import Box
from sandbox.xmatters.flow import Order
from sandbox.xmatters.pages import record_time

DAYS, TEAM = 90, 20
# The least and the greatest number of incidents of a day.
USUAL_DAY = (4, 9)
ENVIRONMENT, TARGET, KEY = "5f0a7c21d3", "webhook.xmatters", "BPU-rehearsal-not-a-secret"
LOGIN = ("rehearsal", "rehearsal-not-a-secret")
PAGED_SECONDS = 2.0
_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86_400.0
_SERVICES = ("payments-api", "checkout", "ledger-db", "search", "auth", "mail-relay", "warehouse", "edge-lb")
_FAULTS = ("latency is high", "disk is 91 % full", "error rate is 4 %", "replica lags behind", "host is down")


@dataclass
class MadePage:
    """A page of the past.

    Attributes:
        at: When xMatters made it (epoch seconds).
        status: Status of the incident that it told.
        answered_after: Seconds until somebody answered; None if nobody did.
        is_notified: False if no device got it.
    """

    at: float
    status: str
    answered_after: float | None = None
    is_notified: bool = True


@dataclass
class PastIncident:
    """An incident of the past.

    Attributes:
        id: BigPanda's id.
        title: Its title.
        activities: Type, time (epoch seconds) and parameters of each activity, oldest first.
        alerts: Its alerts, in API v2's form.
        pages: Its pages, oldest first.
        spells: When it was open: start and end of each time (epoch seconds).
    """

    id: str
    title: str
    activities: list[tuple[str, float, dict[str, Any]]] = field(default_factory=list)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    pages: list[MadePage] = field(default_factory=list)
    spells: list[tuple[float, float]] = field(default_factory=list)


class Past:
    """The past of a team, until a time.

    Attributes:
        since, until: The period (epoch seconds).
        days: Its days.
        incidents: The incidents, oldest first.
        expected: What a report has to count, by its own words.
    """

    def __init__(self, until: float, days: int = DAYS, a_day: tuple[int, int] = USUAL_DAY) -> None:
        """Make the past of some days before `until` (epoch seconds)."""
        self.until, self.days = until // _MINUTE * _MINUTE, days
        self.since = self.until - days * _DAY
        self._a_day = a_day
        self.incidents: list[PastIncident] = []
        self.expected = Counter[str]()
        # The same past each time, relative to its end.
        self._random = Random(20)
        self._outage = self.since + days // 2 * _DAY + 2 * _HOUR
        for day in range(days):
            # The first hour stays empty: a rehearsal begins some seconds later than the past.
            for at in self._times(self.since + day * _DAY + _HOUR):
                self._story(at)
        self.expected["incidents"] = len(self.incidents)

    def _times(self, midnight: float) -> Iterator[float]:
        """Yield when the incidents of a day begin: more of them in the working hours."""
        for _ in range(self._random.randint(*self._a_day)):
            hour = self._random.choice([*range(24), *range(9, 18), *range(9, 18)])
            at = midnight + hour * _HOUR + self._random.randrange(3600)
            # Every story ends before the period does.
            if at < self.until - 6 * _HOUR and not self._outage - 3 * _HOUR < at < self._outage + 3 * _HOUR:
                yield at
        if midnight <= self._outage < midnight + _DAY:
            yield from (self._outage + minute * _MINUTE for minute in (1, 7, 12, 20))

    def _story(self, at: float) -> None:
        service, fault = self._random.choice(_SERVICES), self._random.choice(_FAULTS)
        made = PastIncident(f"{len(self.incidents):024x}", f"{service}: {fault}")
        self.incidents.append(made)
        if self._outage <= at < self._outage + _HOUR:
            self._outage_of_xmatters(made, at)
            return
        usual = (self._warning, self._critical, self._worsens, self._eases, self._growing, self._late_tag)
        rare = (self._flaps, self._storm, self._unheard, self._maintenance)
        [story] = self._random.choices((*usual, *rare), weights=(26, 18, 12, 10, 10, 5, 8, 3, 5, 3))
        story(made, at)

    # ---- Stories -----------------------------------------------------------------------------------------------------

    def _warning(self, made: PastIncident, at: float) -> None:
        self._open(made, at, "warning")
        self._close(made, at + self._random.randint(10, 90) * _MINUTE)

    def _critical(self, made: PastIncident, at: float) -> None:
        answered = self._random.randint(40, 900)
        self._open(made, at, "critical", answered_after=answered)
        # The comment of the person who works on it is shared, and pages again.
        self._share(made, at + answered + 300, "critical", "repeat", answered_after=60)
        self._close(made, at + 2 * _HOUR)

    def _worsens(self, made: PastIncident, at: float) -> None:
        self._open(made, at, "warning")
        self._alert(made, at + 15 * _MINUTE, "critical")
        self._share(made, at + 15 * _MINUTE, "critical", answered_after=self._random.randint(40, 600))
        self._close(made, at + _HOUR)

    def _eases(self, made: PastIncident, at: float) -> None:
        self._open(made, at, "critical", answered_after=self._random.randint(40, 600))
        made.alerts[-1] |= {"end": int(at + 20 * _MINUTE), "status": "ok"}
        self._alert(made, at + 19 * _MINUTE, "warning")
        self._share(made, at + 20 * _MINUTE, "warning")
        self._close(made, at + _HOUR)

    def _flaps(self, made: PastIncident, at: float) -> None:
        for turn in range(self._random.randint(5, 9)):
            self._open(made, at + turn * 6 * _MINUTE, "warning", is_first=turn == 0)
            self._close(made, at + (turn * 6 + 3) * _MINUTE)

    def _growing(self, made: PastIncident, at: float) -> None:
        self._open(made, at, "warning")
        for number in range(1, self._random.randint(3, 8)):
            self._alert(made, at + number * 4 * _MINUTE, "warning")
            self._share(made, at + number * 4 * _MINUTE, "warning", "repeat")
        self._close(made, at + _HOUR)

    def _late_tag(self, made: PastIncident, at: float) -> None:
        """Get a tag from BigPanda's AI two minutes later, which is shared, too."""
        self._open(made, at, "warning")
        made.activities.append(("incident_tag_updated", at + 120, {"tag": "service_owner"}))
        self._share(made, at + 120, "warning", "repeat")
        self._close(made, at + _HOUR)

    def _maintenance(self, made: PastIncident, at: float) -> None:
        """Look as if it was over while a maintenance window lasts."""
        self._open(made, at, "warning")
        self._close(made, at + 10 * _MINUTE)
        self._open(made, at + 100 * _MINUTE, "warning", is_first=False)
        self._close(made, at + 2 * _HOUR)

    def _storm(self, made: PastIncident, at: float) -> None:
        """Share nine times in a minute: xMatters' flood control lets four signals through."""
        self._open(made, at, "critical", answered_after=200)
        for number in range(1, 4):
            self._share(made, at + 5 * number, "critical", "repeat", answered_after=200)
        for number in range(4, 9):
            self._shared(made, at + 5 * number)
        self.expected["without_page"] += 5
        self._close(made, at + 3 * _HOUR)

    def _unheard(self, made: PastIncident, at: float) -> None:
        """Page at night: the person is absent, or sleeps."""
        is_notified = self._random.random() < 0.6
        classes = ("unanswered",) if is_notified else ("unanswered", "to_nobody")
        self._open(made, at, "critical", *classes, answered_after=None, is_notified=is_notified)
        self._close(made, at + 4 * _HOUR)

    def _outage_of_xmatters(self, made: PastIncident, at: float) -> None:
        """Share while xMatters is down: it makes the pages three hours later, when the incidents are over."""
        again = self._outage + 3 * _HOUR + self._random.randint(1, 600)
        self._begin(made, at, "warning")
        self._shared(made, at, is_first=True)
        self._paged(made, again, "warning", "late", "stale")
        end = at + 30 * _MINUTE
        self._end(made, end)
        self._paged(made, again + 1, "ok", "late")
        made.pages.sort(key=lambda page: page.at)

    # ---- What happens in them ----------------------------------------------------------------------------------------

    def _open(
        self, made: PastIncident, at: float, status: str, *classes: str, is_first: bool = True, **page: Any
    ) -> None:
        self._begin(made, at, status)
        self._share(made, at, status, *classes, is_first=is_first, **page)

    def _begin(self, made: PastIncident, at: float, status: str) -> None:
        made.activities.append(("incident_reopen" if made.spells else "incident_created", at, {}))
        made.spells.append((at, at))
        if not made.alerts or status == "critical":
            self._alert(made, at, status)
        made.alerts[-1]["end"] = None

    def _alert(self, made: PastIncident, at: float, status: str) -> None:
        tags = [{"name": "host", "value": made.title.partition(":")[0]}, {"name": "team", "value": "platform"}]
        alert = {"alert_id": f"{made.id}-{len(made.alerts)}", "status": status, "start": int(at), "end": None}
        made.alerts.append(alert | {"description": made.title, "tags": tags})

    def _close(self, made: PastIncident, at: float) -> None:
        self._end(made, at)
        self._paged(made, at + PAGED_SECONDS, "ok")

    def _end(self, made: PastIncident, at: float) -> None:
        made.activities.append(("incident_resolved_by_alerts", at - 1, {}))
        made.spells[-1] = (made.spells[-1][0], at - 1)
        for alert in made.alerts:
            alert |= {"end": int(at) - 1, "status": "ok"}
        self._shared(made, at)

    def _share(
        self, made: PastIncident, at: float, status: str, *classes: str, is_first: bool = False, **page: Any
    ) -> None:
        self._shared(made, at, is_first=is_first)
        self._paged(made, at + PAGED_SECONDS, status, *classes, **page)

    def _shared(self, made: PastIncident, at: float, *, is_first: bool = False) -> None:
        params = {"share_target": TARGET, "share_auto": True, "firstTime": is_first}
        made.activities.append(("incident_shared", at, params))
        self.expected["shares"] += 1

    def _paged(self, made: PastIncident, at: float, status: str, *classes: str, **page: Any) -> None:
        made.pages.append(MadePage(at, status, **page))
        self.expected.update(["pages", *classes])


class Clock:
    """The clock of stand-ins that tell of the past.

    Attributes:
        at: The time (epoch seconds).
    """

    def __init__(self, at: float) -> None:
        self.at = at

    def __call__(self) -> datetime:
        """Return the time."""
        return datetime.fromtimestamp(self.at, UTC)


def tell(past: Past, box: Box, clock: Clock) -> None:
    """Let both stand-ins remember the past; `clock` is theirs, and stands at the end of the period afterwards."""
    box.bigpanda.let_in(KEY)
    box.events.declare({"type": "basic", "username": LOGIN[0], "password": LOGIN[1]})
    for each in past.incidents:
        for kind, at, params in each.activities:
            box.bigpanda.remember(each.id, kind, params, int(at))
    box.bigpanda.declare_incidents(ENVIRONMENT, [_as_incident(each) for each in past.incidents])
    pages = [(page, each) for each in past.incidents for page in each.pages]
    for page, incident in sorted(pages, key=lambda pair: pair[0].at):
        _make_page(box, clock, page, incident)
    clock.at = past.until


def _make_page(box: Box, clock: Clock, page: MadePage, incident: PastIncident) -> None:
    clock.at = page.at
    over = page.status == "ok"
    order = Order(incident.id, ENVIRONMENT, page.status, over, incident.title, (), "LOW" if over else "HIGH", ())
    made = box.xmatters.pages.make(str(uuid.uuid4()), "direct", order)
    person = f"person{int(page.at) % TEAM + 1}"
    recipient = {"targetName": f"{person}|Phone", "owner": {"targetName": person}}
    if page.is_notified:
        notification = {"deliveryStatus": "DELIVERED", "recipient": recipient}
        box.xmatters.pages.audit(made.id, "NOTIFICATION_DELIVERED", notification=notification)
    if page.answered_after is not None:
        clock.at = page.at + page.answered_after
        received = record_time(clock())
        response = {"response": "Acknowledge", "received": received, "notification": {"recipient": recipient}}
        box.xmatters.pages.audit(made.id, "RESPONSE_RECEIVED", response=response)
    clock.at = page.at + 1
    box.xmatters.pages.change(made.id, "TERMINATED")


def _as_incident(each: PastIncident) -> dict[str, Any]:
    start, (_, end) = each.spells[0][0], each.spells[-1]
    severity = "critical" if any(page.status == "critical" for page in each.pages) else "warning"
    times = {"start": int(start), "changed_at": int(end), "updated_at": int(end), "end": int(end)}
    state = {"status": "ok", "active": False, "severity": severity, "folders": ["resolved"]}
    return {"id": each.id, **state, **times, "alerts": each.alerts}

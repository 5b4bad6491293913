"""History of an incident from activities, alerts and pages; the pace of a reader; and what the rehearsal decides."""

from pathlib import Path
from typing import Any

import pytest

from relay.http.client import HttpClient
from relay.http.session import HttpAnswer
from relayctl.rehearse.fetch import MARGIN, Reader, list_incidents, read_incidents, read_pages
from relayctl.rehearse.findings import pages_got, rehearse
from relayctl.rehearse.history import History, Page, Past, Period, Told, read_past, with_answers
from relayctl.rehearse.rehearse import POLICIES
from relayctl.settings.settings_file import channel_of, settings_of
from relayctl.stack.deployed import Effects
from tests.fakes import Clock, FakeSession, Step
from tests.unit.reconcile_scene import Tenant, answer, incident

T = 1_780_000_000
PERIOD = Period(T, T + 86_000)


class Story:
    """Words of both vendors about one incident."""

    def __init__(self) -> None:
        self._alerts: list[dict[str, Any]] = []
        self._activities: list[dict[str, Any]] = []
        self._pages: list[Page] = []
        self._audits: dict[str, list[dict[str, Any]]] = {}

    def alert(self, status: str, start: float, end: float | None = None) -> None:
        alert = {"alert_id": f"a{len(self._alerts)}", "status": status, "start": T + start}
        self._alerts.append(alert | {"end": None if end is None else T + end})

    def happened(self, kind: str, at: float, **params: Any) -> None:
        # BigPanda lists the newest first.
        self._activities.insert(0, {"type": f"incident_{kind}", "timestamp": T + at, "params": params})

    def shared(self, *times: float) -> None:
        for at in times:
            self.happened("shared", at, share_target="webhook.xmatters")

    def paged(self, at: float, status: str | None = None, *audits: dict[str, Any]) -> None:
        self._pages.append(Page(f"page-{at}", T + at, status))
        if audits:
            self.audited(at, *audits)

    def audited(self, at: float, *audits: dict[str, Any]) -> None:
        self._audits[f"page-{at}"] = [*audits]

    def told(self, **members: Any) -> History:
        [history] = self.told_past(**members).histories
        return history

    def told_past(self, **members: Any) -> Past:
        incident = {"id": "i1", "severity": "critical", "alerts": self._alerts} | members
        told = Told("i1", incident, self._activities)
        past = read_past(Period(T - 10_000, T + 100_000), [told], {"i1": self._pages} if self._pages else {})
        return with_answers(past, self._audits)


@pytest.fixture
def story() -> Story:
    return Story()


@pytest.mark.parametrize(
    ("alerts", "activities", "shared", "statuses"),
    [
        ([("ok", 0, 600), ("warning", 300)], {"created": 0}, (1, 301, 700), ["critical", "critical", "warning"]),
        # BigPanda forgot the first activities.
        ([("critical", 0)], {"resolved_by_alerts": 100, "reopen": 200}, (50, 101, 201), ["critical", "ok", "critical"]),
        ([("critical", 0)], {"created": 0, "resolved_by_alerts": 100, "reopen": 100}, (101,), ["critical"]),
    ],
    ids=["alerts that were active", "open before its end", "ended and reopened in one second"],
)
def test_state_that_no_page_told_is_inferred(
    story: Story, alerts: list[Any], activities: dict[str, float], shared: tuple[float, ...], statuses: list[str]
) -> None:
    for alert in alerts:
        story.alert(*alert)
    for kind, at in activities.items():
        story.happened(kind, at)
    story.shared(*shared)
    found = story.told(start=T).moments
    assert [(moment.status, moment.is_inferred) for moment in found] == [(each, True) for each in statuses]
    assert [len(each.share.alerts) for each in found] == [1, len(alerts), len(alerts)][: len(found)]


def test_status_that_a_page_told_is_exact(story: Story) -> None:
    story.alert("ok", 0, end=600)
    story.happened("created", 0)
    story.shared(1)
    story.paged(3, "warning")
    [moment] = story.told().moments
    assert (moment.status, moment.is_inferred) == ("warning", False)


def test_pages_of_an_incident_whose_activities_are_forgotten_are_counted(story: Story) -> None:
    story.alert("critical", 0, end=100)
    story.paged(3, "critical")
    story.paged(103, "ok")
    history = story.told(start=T, end=T + 100)
    assert [moment.status for moment in history.moments] == ["critical", "ok"]
    assert [set(each.classes) for each in pages_got([history])] == [set(), set()]


def test_pages_of_an_incident_that_was_shared_with_others_alone_are_left_out(story: Story) -> None:
    story.alert("critical", 0)
    story.happened("shared", 1, share_target="email.noc")
    story.paged(3, "critical")
    assert story.told_past().histories == ()


def test_page_whose_audits_xmatters_does_not_show_is_not_called_unheard(story: Story) -> None:
    story.alert("critical", 0)
    story.happened("created", 0)
    story.shared(1, 101)
    for at in (2, 102):
        story.paged(at, "critical")
    story.audited(102, {"auditType": "NOTIFICATION_DELIVERED"})
    assert [set(each.classes) for each in pages_got([story.told()])] == [set(), {"repeat", "unanswered"}]


def test_signal_that_waits_for_its_distance_rings_later(story: Story) -> None:
    story.alert("ok", 0, end=4)
    story.alert("warning", 0)
    story.happened("created", 0)
    story.shared(1, 5)
    done = rehearse([story.told()], channel_of("parity", settings_of(POLICIES["parity"])))
    assert [ring.after for ring in done.rings] == [0, pytest.approx(11, abs=1)]


def test_pace_keeps_within_two_percent_of_the_limit(tmp_path: Path) -> None:
    bigpanda = reader(tmp_path, answer([]))
    for page in range(26):
        bigpanda.get("/incidents", {"page": page})
    assert 5.0 < bigpanda.effects.ticks() <= 5.1


def reader(folder: Path, vendor: Step) -> Reader:
    clock = Clock(0.0)
    effects = Effects(ticks=clock, sleep=clock.sleep)
    return Reader(
        "Vendor", HttpClient(FakeSession(vendor)), "https://vendor.example", {}, (1 + MARGIN) / 5, effects, folder
    )


def test_listing_goes_on_if_bigpanda_gives_fewer_than_it_was_asked_for_and_after_an_incident_that_is_gone(
    tmp_path: Path,
) -> None:
    tenant = Tenant(incidents=[incident(Clock(), f"i{number}") for number in range(3)], page_size=1)
    tenant.faults["/incidents/i0?"] = lambda _: HttpAnswer(410, {}, b"")
    bigpanda = reader(tmp_path, tenant)
    listed = list_incidents(bigpanda, PERIOD, ["e1"])
    assert [each.id for each in listed] == ["i0", "i1", "i2"]
    assert [told.id for told in read_incidents(bigpanda, listed)] == ["i1", "i2"]


def test_incident_is_found_in_whatever_property_has_its_id(tmp_path: Path) -> None:
    created = "2026-03-04T02:58:14.301+0000"
    events = [
        {"id": "p1", "created": created, "properties": {"BP ID#en": "i1", "Status": "Critical", "x": "y" * 300}},
        {"id": "p2", "created": None, "properties": {"BP ID": "i1"}},
        {"id": "p3", "created": created, "properties": {"BP ID": "i2"}},
    ]
    found = read_pages(reader(tmp_path, answer({"data": events})), PERIOD, "incident_id", {"i1"})
    assert found == {"i1": [Page("p1", 1772593094.301, "critical")]}

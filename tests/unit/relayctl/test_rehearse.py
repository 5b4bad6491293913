"""History of an incident from activities, alerts and pages; the pace of a reader; and what the rehearsal decides."""

import json
from pathlib import Path
from typing import Any

import pytest

from relayctl.rehearse.archive import Archive
from relayctl.rehearse.findings import pages_got
from relayctl.rehearse.history import History, Page, read_pages, read_past
from relayctl.rehearse.reader import Pace
from relayctl.rehearse.rehearse import POLICIES, channel_of_policy
from relayctl.rehearse.replay import Rehearsal, rehearse
from relayctl.stack.deployed import Effects

T = 1_780_000_000


class Story:
    """What both vendors say of one incident, in an archive."""

    def __init__(self, folder: Path) -> None:
        self._archive = Archive(folder, {}, is_redacted=False)
        self._alerts: list[dict[str, Any]] = []
        self._activities: list[dict[str, Any]] = []

    def alert(self, status: str, start: float, end: float | None = None) -> None:
        alert = {"alert_id": f"a{len(self._alerts)}", "status": status, "start": T + start}
        self._alerts.append(alert | {"end": None if end is None else T + end})

    def happened(self, kind: str, at: float, **params: Any) -> None:
        # BigPanda lists the newest first.
        self._activities.insert(0, {"type": f"incident_{kind}", "timestamp": T + at, "params": params})

    def shared(self, *times: float) -> None:
        for at in times:
            self.happened("shared", at, share_target="webhook.xmatters")

    def paged(self, at: float, status: str | None = None, answered: float | None = None) -> None:
        name = f"page-{at}"
        event = {"id": name, "created": T + at, "incident": "i1", "told_status": status}
        self._archive.add("events", name, [event])
        if answered is not None:
            response = {"received": T + answered, "notification": {"recipient": {"targetName": "jdoe"}}}
            self._archive.add("audits", name, [{"auditType": "RESPONSE_RECEIVED", "response": response}])

    def told(self, **members: Any) -> History:
        incident = {"id": "i1", "severity": "critical", "alerts": self._alerts} | members
        self._archive.add("incidents", "i1", incident)
        self._archive.add("activities", "i1", self._activities)
        past = read_past(self._archive, read_pages(self._archive), T - 10_000, T + 100_000, ())
        [history] = past.histories
        return history


@pytest.fixture
def story(tmp_path: Path) -> Story:
    return Story(tmp_path / "past")


def test_state_is_inferred_from_the_alerts_that_were_active(story: Story) -> None:
    story.alert("ok", 0, end=600)
    story.alert("warning", 300)
    story.happened("created", 0)
    story.shared(1, 301, 700)
    history = story.told()
    assert [moment.status for moment in history.moments] == ["critical", "critical", "warning"]
    assert all(moment.is_inferred for moment in history.moments)
    assert [len(moment.share.alerts) for moment in history.moments] == [1, 2, 2]


def test_status_that_a_page_told_is_exact(story: Story) -> None:
    story.alert("ok", 0, end=600)
    story.happened("created", 0)
    story.shared(1)
    story.paged(3, "warning")
    [moment] = story.told().moments
    assert (moment.status, moment.is_inferred) == ("warning", False)


def test_incident_that_reopened_was_over_in_between(story: Story) -> None:
    story.alert("warning", 0)
    for kind, at in (("created", 0), ("resolved_by_alerts", 100), ("reopen", 200)):
        story.happened(kind, at)
    story.shared(1, 101, 201)
    history = story.told()
    assert [moment.status for moment in history.moments] == ["warning", "ok", "warning"]
    assert [history.is_open(T + at) for at in (50, 150, 250)] == [True, False, True]


def test_share_with_another_target_is_left_out(story: Story) -> None:
    story.alert("warning", 0)
    story.happened("shared", 1, share_target="email.noc")
    story.shared(2)
    assert [moment.at for moment in story.told().moments] == [T + 2]


def test_late_page_is_matched_with_the_share_of_its_status(story: Story) -> None:
    story.alert("critical", 0)
    for kind, at in (("created", 0), ("resolved_by_alerts", 1000)):
        story.happened(kind, at)
    story.shared(1, 1001)
    story.paged(1003, "ok")
    story.paged(4000, "critical")
    history = story.told()
    assert [moment.page and moment.page.at - T for moment in history.moments] == [4000, 1003]
    classes = {each.page.at - T: set(each.classes) for each in pages_got([history])}
    # Nobody was told of the incident before the page of its end.
    assert classes == {1003: {"repeat"}, 4000: {"late", "stale"}}


def test_page_without_a_share_is_counted_and_matched_with_none(story: Story) -> None:
    story.alert("warning", 0)
    story.happened("created", 0)
    story.shared(100)
    story.paged(5, "warning")
    story.paged(101, "warning")
    history = story.told()
    assert [page.at - T for page in history.unmatched] == [5]
    assert len(list(pages_got([history]))) == 2


def test_answer_of_a_person_is_read_from_the_audits(story: Story) -> None:
    story.alert("critical", 0)
    story.happened("created", 0)
    story.shared(1)
    story.paged(2, "critical", answered=62)
    [got] = pages_got([story.told()])
    assert (got.answered_after, got.page.answered_by, got.classes) == (60, "jdoe", frozenset())


def rehearsed(history: History, policy: str) -> Rehearsal:
    return rehearse([history], channel_of_policy(policy, POLICIES[policy]))


def test_rehearsal_rings_changes_and_names_what_it_leaves_out(story: Story) -> None:
    story.alert("critical", 0)
    for kind, at in (("created", 0), ("resolved_by_alerts", 3000)):
        story.happened(kind, at)
    story.shared(1, 100, 200, 3001)
    done = rehearsed(story.told(), "parity")
    assert [(ring.transition, ring.at - T) for ring in done.rings] == [("opened", 1), ("resolved", 3001)]
    assert done.quiet == {"unchanged": 2}


def test_flapping_rings_once_until_it_is_calm(story: Story) -> None:
    story.alert("warning", 0)
    for turn in range(5):
        story.happened("reopen" if turn else "created", turn * 120)
        story.shared(turn * 120 + 1)
        story.happened("resolved_by_alerts", turn * 120 + 60)
        story.shared(turn * 120 + 61)
    history = story.told()
    parity, flap = (rehearsed(history, policy) for policy in ("parity", "flap"))
    assert len(parity.rings) == 10
    assert len(flap.rings) < 7
    assert flap.rings[-1].transition == "resolved"


def test_signal_that_waits_for_its_distance_rings_later(story: Story) -> None:
    story.alert("ok", 0, end=4)
    story.alert("warning", 0)
    story.happened("created", 0)
    story.shared(1, 5)
    done = rehearsed(story.told(), "parity")
    assert [ring.after for ring in done.rings] == [0, pytest.approx(11, abs=1)]


def test_pace_keeps_within_two_percent_of_the_limit() -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    pace = Pace(5, Effects(ticks=lambda: now[0], sleep=sleep))
    for _ in range(1001):
        pace.wait()
    assert 200.0 < now[0] <= 204.0


def test_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    Archive(tmp_path / "past", {"property": "incident_id"}, is_redacted=False)
    with pytest.raises(Exception, match="was fetched with another property"):
        Archive(tmp_path / "past", {"property": "bigpanda_id"}, is_redacted=False)


def test_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear")
    with pytest.raises(Exception, match="has other files; name a new folder"):
        Archive(tmp_path, {}, is_redacted=False)


def test_pages_of_other_incidents_and_without_a_time_are_left_out(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "past", {}, is_redacted=False)
    events = [
        {"id": "p1", "created": "2026-03-04T02:58:14.301+0000", "incident": "i1", "told_status": "Critical"},
        {"id": "p2", "created": None, "incident": "i1", "told_status": None},
        {"id": "p3", "created": "2026-03-04T02:58:14.301+0000", "incident": None, "told_status": None},
    ]
    archive.add("events", "day", json.loads(json.dumps(events)))
    assert read_pages(archive) == {"i1": [Page("p1", 1772593094.301, "critical")]}

"""xMatters' phones in the sandbox: devices, groups, answers, expiry, flood control. The real time stands still."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from sandbox.http.faults import Script
from sandbox.http.schema import InvalidError
from sandbox.xmatters.api import XMatters
from sandbox.xmatters.notifying import UnknownError
from sandbox.xmatters.signals import Signal

START = datetime(2030, 1, 1, tzinfo=UTC)
OPEN = {"incident": {"id": "i1", "status": "critical", "title": "Database is down"}}
RESOLVED = {"incident": {"id": "i1", "status": "ok", "title": "Database is down"}}
EMAIL = {"name": "Work Email", "kind": "EMAIL"}
VOICE = {"name": "Mobile", "kind": "VOICE", "delay_seconds": 60}
PUSH = {"name": "Phone App", "kind": "APPLE_PUSH", "delay_seconds": 120}
PEOPLE: list[dict[str, Any]] = [
    {"name": "kim", "full_name": "Kim Lee", "devices": [EMAIL, VOICE, PUSH]},
    {"name": "jo", "full_name": "Jo Roe", "devices": [EMAIL, VOICE]},
    {"name": "away", "full_name": "Al Away", "status": "INACTIVE"},
    {"name": "sam", "full_name": "Sam Poe", "devices": [EMAIL]},
]
GROUPS: list[dict[str, Any]] = [
    {
        "name": "dba",
        "members": [{"name": "away"}, {"name": "kim"}, {"name": "jo", "after_seconds": 300}, {"name": "sam"}],
    },
    {"name": "asleep", "members": [{"name": "away"}]},
    {"name": "closed", "status": "INACTIVE", "members": [{"name": "sam"}]},
]


@pytest.fixture
def xmatters() -> Iterator[XMatters]:
    """A fake xMatters with people and groups. Time passes only if a test turns its clock ahead."""
    xmatters = XMatters("http://127.0.0.1:1", Script(), lambda: START)
    xmatters.people.declare_phones({"people": PEOPLE, "groups": GROUPS})
    yield xmatters
    xmatters.close()


def send(xmatters: XMatters, *recipients: str, body: Mapping[str, Any] | bytes = OPEN, function: str = "f1") -> None:
    """Let the flow take an accepted signal."""
    xmatters.workflow.take(
        Signal(
            index=0,
            received_at=START,
            function=function,
            request_id=str(uuid4()),
            recipients=recipients,
            auth="url",
            headers=CIMultiDictProxy(CIMultiDict()),
            body_bytes=body if isinstance(body, bytes) else json.dumps(body).encode(),
            status=202,
            accepted=True,
            fault=None,
        )
    )


def rung(xmatters: XMatters) -> list[tuple[str, str, float]]:
    """Return person, device and time (seconds after START) of each notification."""
    return [
        (each["person"], each["device"], (datetime.fromisoformat(each["at"]) - START).total_seconds())
        for each in xmatters.story()["notifications"]
    ]


def states(xmatters: XMatters) -> list[tuple[str, str, str]]:
    return [(each["person"], each["device"], each["state"]) for each in xmatters.story()["notifications"]]


def page(xmatters: XMatters, place: int = -1) -> dict[str, Any]:
    found: dict[str, Any] = xmatters.story()["pages"][place]
    return found


def log(xmatters: XMatters) -> list[str]:
    return [line["text"] for line in page(xmatters)["log"]]


def answer(xmatters: XMatters, person: str, response: str, comment: str | None = None) -> None:
    """Answer with this response the newest notification of a person that offers responses."""
    asked = [each for each in xmatters.story()["notifications"] if each["person"] == person and each["responses"]]
    xmatters.notifier.answer(asked[-1]["id"], response, comment)


def have(xmatters: XMatters, people: list[dict[str, Any]], *groups: dict[str, Any]) -> None:
    xmatters.people.declare_phones({"people": people, "groups": list(groups)})


class TestPriorityThreshold:
    def test_device_above_the_pages_priority_stays_silent_and_the_log_says_so(self, xmatters: XMatters) -> None:
        have(xmatters, [{"name": "kim", "devices": [EMAIL, {**VOICE, "priority_threshold": "HIGH"}, PUSH]}])
        send(xmatters, "kim", body={"incident": {"id": "i1", "status": "warning", "title": "Slow"}})
        xmatters.clock.turn(600)
        assert rung(xmatters) == [("kim", "Work Email", 0), ("kim", "Phone App", 120)]
        assert "kim (Mobile) takes no pages with priority MEDIUM, and is not notified there." in log(xmatters)

    def test_device_at_its_threshold_rings(self, xmatters: XMatters) -> None:
        have(xmatters, [{"name": "kim", "devices": [{**EMAIL, "priority_threshold": "HIGH"}]}])
        send(xmatters, "kim")
        assert rung(xmatters) == [("kim", "Work Email", 0)]

    def test_member_without_a_device_for_the_priority_is_escalated_past(self, xmatters: XMatters) -> None:
        loud = {**EMAIL, "priority_threshold": "HIGH"}
        members = [{"name": "kim"}, {"name": "jo", "after_seconds": 300}]
        have(
            xmatters,
            [{"name": "kim", "devices": [loud]}, {"name": "jo", "devices": [EMAIL]}],
            {"name": "dba", "members": members},
        )
        send(xmatters, "dba", body={"incident": {"id": "i1", "status": "warning", "title": "Slow"}})
        assert rung(xmatters) == []
        xmatters.clock.turn(300)
        assert rung(xmatters) == [("jo", "Work Email", 300)]


class TestShifts:
    DAY: Mapping[str, Any] = {"name": "day", "begins": "08:00", "ends": "20:00", "members": [{"name": "kim"}]}
    NIGHT: Mapping[str, Any] = {"name": "night", "begins": "20:00", "ends": "08:00", "members": [{"name": "jo"}]}

    def team(self, xmatters: XMatters, *shifts: Mapping[str, Any]) -> None:
        have(xmatters, PEOPLE, {"name": "dba", "shifts": [dict(each) for each in shifts]})

    @pytest.mark.parametrize(("hours", "person"), [(0, "jo"), (7.99, "jo"), (8, "kim"), (19.99, "kim"), (20, "jo")])
    def test_member_of_the_shift_that_covers_the_time_rings(
        self, xmatters: XMatters, hours: float, person: str
    ) -> None:
        self.team(xmatters, self.DAY, self.NIGHT)
        xmatters.clock.turn(hours * 3600) if hours else None
        send(xmatters, "dba")
        assert [each[0] for each in rung(xmatters)] == [person]

    def test_group_whose_shifts_cover_no_time_notifies_nobody_and_says_so(self, xmatters: XMatters) -> None:
        self.team(xmatters, self.DAY)
        send(xmatters, "dba")
        assert rung(xmatters) == []
        assert "No shift of the group dba covers this time." in log(xmatters)
        assert "Nobody is left in the group dba." in log(xmatters)

    def test_members_of_two_shifts_that_overlap_are_notified_in_the_order_of_the_shifts(
        self, xmatters: XMatters
    ) -> None:
        backup = {"name": "backup", "members": [{"name": "sam", "after_seconds": 120}]}
        self.team(xmatters, self.NIGHT, backup)
        send(xmatters, "dba")
        answer(xmatters, "jo", "Escalate")
        assert [each[0] for each in rung(xmatters)] == ["jo", "sam"]

    def test_declared_shifts_are_read_back_as_declared(self, xmatters: XMatters) -> None:
        self.team(xmatters, self.DAY, self.NIGHT)
        [group] = xmatters.story()["groups"]
        xmatters.people.declare_phones({"people": PEOPLE, "groups": [group]})
        assert xmatters.story()["groups"] == [group]
        assert [(each["name"], each["begins"], each["ends"]) for each in group["shifts"]] == [
            ("day", "08:00", "20:00"), ("night", "20:00", "08:00"),
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("group", "message"),
        [
            ({"members": [], "shifts": []}, "groups\\[0\\] has members and shifts"),
            ({"shifts": [{"name": "day", "begins": "8:00"}]}, "groups\\[0\\].shifts\\[0\\].begins"),
            ({"shifts": [{"name": "day", "ends": "24:00"}]}, "groups\\[0\\].shifts\\[0\\].ends"),
            ({"shifts": [{"name": "day", "members": [{}]}]}, "groups\\[0\\].shifts\\[0\\].members\\[0\\]"),
        ],
    )
    def test_invalid_shift_is_refused_by_its_place_and_changes_nothing(
        self, xmatters: XMatters, group: dict[str, Any], message: str
    ) -> None:
        before = xmatters.story()["groups"]
        with pytest.raises(InvalidError, match=message):
            have(xmatters, [], {"name": "dba", **group})
        assert xmatters.story()["groups"] == before


class TestUser:
    def test_devices_ring_in_order_each_after_its_delay(self, xmatters: XMatters) -> None:
        send(xmatters, "kim")
        assert rung(xmatters) == [("kim", "Work Email", 0)]
        xmatters.clock.turn(59)
        assert len(rung(xmatters)) == 1
        xmatters.clock.turn(121)
        assert rung(xmatters) == [("kim", "Work Email", 0), ("kim", "Mobile", 60), ("kim", "Phone App", 180)]

    def test_acknowledge_shows_the_details_ends_the_page_and_stops_later_devices(self, xmatters: XMatters) -> None:
        send(xmatters, "kim")
        xmatters.clock.turn(60)
        answer(xmatters, "kim", "Acknowledge", "on it")
        first, second = xmatters.story()["notifications"]
        assert (first["state"], first["responses"]) == ("over", [])
        assert (second["state"], second["answer"], second["responses"]) == ("answered", "Acknowledge", [])
        assert second["text"].splitlines() == [
            "CRITICAL: Database is down", "Incident: i1", "Status: critical",
        ]  # fmt: skip
        assert (page(xmatters)["status"], page(xmatters)["ended_because"]) == ("TERMINATED", "Kim Lee acknowledged")
        assert page(xmatters)["terminated"] == (START + timedelta(seconds=60)).isoformat()
        xmatters.clock.turn(600)
        assert len(rung(xmatters)) == 2
        assert "Kim Lee answered Acknowledge on Mobile, saying: on it." in log(xmatters)

    def test_user_who_is_a_recipient_can_not_escalate(self, xmatters: XMatters) -> None:
        send(xmatters, "kim")
        with pytest.raises(InvalidError, match="its responses are Acknowledge"):
            xmatters.notifier.answer(1, "Escalate")
        assert page(xmatters)["status"] == "ACTIVE"

    def test_answered_page_takes_no_second_answer(self, xmatters: XMatters) -> None:
        send(xmatters, "kim")
        answer(xmatters, "kim", "Acknowledge")
        with pytest.raises(InvalidError, match="can no longer be answered"):
            xmatters.notifier.answer(1, "Acknowledge")

    def test_unknown_notification_is_named(self, xmatters: XMatters) -> None:
        with pytest.raises(UnknownError, match="there is no notification 7"):
            xmatters.notifier.answer(7, "Acknowledge")

    def test_one_device_of_a_user_can_be_the_recipient(self, xmatters: XMatters) -> None:
        send(xmatters, "kim|mobile")
        xmatters.clock.turn(600)
        assert rung(xmatters) == [("kim", "Mobile", 60)]

    def test_undeclared_devices_mean_one_for_email(self, xmatters: XMatters) -> None:
        xmatters.directory.declare([{"targetName": "new"}])
        send(xmatters, "NEW")
        assert rung(xmatters) == [("new", "Work Email", 0)]

    def test_failed_delivery_can_not_be_answered_and_the_next_device_rings(self, xmatters: XMatters) -> None:
        broken = {"name": "Old Phone", "kind": "VOICE", "fails": True}
        xmatters.people.declare_phones({"people": [{"name": "kim", "devices": [broken, EMAIL]}]})
        send(xmatters, "kim")
        assert states(xmatters) == [("kim", "Old Phone", "over"), ("kim", "Work Email", "ringing")]
        assert "Delivery to kim (Old Phone) failed." in log(xmatters)

    def test_each_kind_of_device_tells_how_to_answer(self, xmatters: XMatters) -> None:
        send(xmatters, "dba")
        xmatters.clock.turn(60)
        mail, call = xmatters.story()["notifications"]
        assert mail["text"] == "CRITICAL: Database is down"
        assert call["text"] == (
            "This is xMatters with an alert of high priority. CRITICAL: Database is down. "
            "Press 1 for Acknowledge, 2 for Escalate."
        )


class TestGroup:
    def test_first_active_member_is_notified_at_once(self, xmatters: XMatters) -> None:
        send(xmatters, "dba")
        [made] = xmatters.story()["notifications"]
        assert (made["person"], made["group"], made["responses"]) == ("kim", "dba", ["Acknowledge", "Escalate"])
        assert "The group dba has 1 inactive: skipped without waiting." in log(xmatters)

    def test_escalate_notifies_the_next_at_once_and_stops_the_member(self, xmatters: XMatters) -> None:
        send(xmatters, "dba")
        xmatters.clock.turn(10)
        answer(xmatters, "kim", "Escalate")
        assert rung(xmatters)[-1] == ("jo", "Work Email", 10)
        xmatters.clock.turn(200)
        assert [person for person, _, _ in rung(xmatters)] == ["kim", "jo", "jo"]

    def test_escalation_delay_starts_anew_with_each_member(self, xmatters: XMatters) -> None:
        send(xmatters, "dba")
        xmatters.clock.turn(200)
        answer(xmatters, "kim", "Escalate")
        xmatters.clock.turn(299)
        assert "sam" not in {person for person, _, _ in rung(xmatters)}
        xmatters.clock.turn(1)
        assert rung(xmatters)[-1] == ("sam", "Work Email", 500)

    def test_unanswered_delay_escalates_and_the_member_before_can_still_answer(self, xmatters: XMatters) -> None:
        send(xmatters, "dba")
        xmatters.clock.turn(300)
        assert ("jo", "Work Email", 300) in rung(xmatters)
        assert "Kim Lee did not answer in time." in log(xmatters)
        answer(xmatters, "kim", "Acknowledge")
        assert page(xmatters)["status"] == "TERMINATED"
        assert {state for person, _, state in states(xmatters) if person == "jo"} == {"over"}

    def test_nobody_left_is_said_after_the_last_escalation_and_the_page_stays_active(self, xmatters: XMatters) -> None:
        send(xmatters, "dba")
        for person in ("kim", "jo", "sam"):
            answer(xmatters, person, "Escalate")
        assert log(xmatters)[-1] == "Nobody is left in the group dba."
        assert page(xmatters)["status"] == "ACTIVE"

    def test_nobody_left_is_said_after_the_last_delay(self, xmatters: XMatters) -> None:
        send(xmatters, "dba")
        xmatters.clock.turn(899)
        assert "Nobody is left in the group dba." not in log(xmatters)
        xmatters.clock.turn(1)
        assert log(xmatters)[-2:] == ["Sam Poe did not answer in time.", "Nobody is left in the group dba."]

    def test_group_without_an_active_member_has_nobody_left(self, xmatters: XMatters) -> None:
        send(xmatters, "asleep")
        assert (rung(xmatters), log(xmatters)[-1]) == ([], "Nobody is left in the group asleep.")

    def test_acknowledge_in_one_group_ends_the_page_for_all_recipients(self, xmatters: XMatters) -> None:
        send(xmatters, "dba", "sam")
        assert [person for person, _, _ in rung(xmatters)] == ["kim", "sam"]
        answer(xmatters, "sam", "Acknowledge")
        assert states(xmatters) == [("kim", "Work Email", "over"), ("sam", "Work Email", "answered")]

    def test_on_call_in_the_directory_is_the_groups_members(self, xmatters: XMatters) -> None:
        assert xmatters.directory.document()["groups"][0] == {
            "targetName": "dba", "status": "ACTIVE", "onCall": ["away", "kim", "jo", "sam"],
        }  # fmt: skip
        xmatters.directory.declare([{"targetName": "jo"}], [{"targetName": "dba", "onCall": ["jo", "new"]}])
        send(xmatters, "dba")
        xmatters.clock.turn(300)
        assert rung(xmatters) == [("jo", "Work Email", 0), ("new", "Work Email", 300)]


class TestRecipients:
    @pytest.mark.parametrize(
        ("recipients", "said"),
        [
            ((), "The signal names no recipients, so nobody is notified."),
            (("nobody",), "xMatters knows no user and no group nobody, so nobody is notified for this recipient."),
            (("away",), "away is inactive, so nobody is notified for this recipient."),
            (("closed",), "closed is inactive, so nobody is notified for this recipient."),
            (("kim|Pager",), "Kim Lee has no such device, and is not notified."),
        ],
    )
    def test_page_that_notifies_nobody_says_why(self, xmatters: XMatters, recipients: Sequence[str], said: str) -> None:
        send(xmatters, *recipients)
        assert said in log(xmatters)
        assert (rung(xmatters), page(xmatters)["status"]) == ([], "ACTIVE")

    def test_unknown_recipient_does_not_keep_the_others_from_being_notified(self, xmatters: XMatters) -> None:
        send(xmatters, "nobody", "sam")
        assert rung(xmatters) == [("sam", "Work Email", 0)]


class TestEnd:
    def test_page_expires_although_nobody_answered(self, xmatters: XMatters) -> None:
        send(xmatters, "sam", body=OPEN | {"expirationInMinutes": 30})
        xmatters.clock.turn(1799)
        assert page(xmatters)["status"] == "ACTIVE"
        xmatters.clock.turn(1)
        assert page(xmatters)["ended_because"] == "it expired, and no answer had ended it"
        assert states(xmatters) == [("sam", "Work Email", "over")]

    def test_terminated_page_rings_nobody_more(self, xmatters: XMatters) -> None:
        send(xmatters, "dba")
        ended = xmatters.notifier.end(page(xmatters)["number"])
        assert ended.status == "TERMINATED"
        xmatters.clock.turn(86400)
        assert len(rung(xmatters)) == 1
        with pytest.raises(InvalidError, match="has ended"):
            xmatters.notifier.end(ended.id)
        with pytest.raises(UnknownError):
            xmatters.notifier.end("1")

    def test_suspended_page_notifies_nobody_new_until_it_is_resumed(self, xmatters: XMatters) -> None:
        send(xmatters, "dba")
        identifier = page(xmatters)["id"]
        xmatters.notifier.set_status(identifier, "SUSPENDED")
        xmatters.clock.turn(310)
        assert len(rung(xmatters)) == 1
        answer(xmatters, "kim", "Escalate")
        assert len(rung(xmatters)) == 1
        xmatters.notifier.set_status(identifier, "ACTIVE")
        assert rung(xmatters) == [("kim", "Work Email", 0), ("jo", "Work Email", 310)]

    def test_suspended_page_can_be_acknowledged(self, xmatters: XMatters) -> None:
        send(xmatters, "kim")
        xmatters.notifier.set_status(page(xmatters)["id"], "SUSPENDED")
        answer(xmatters, "kim", "Acknowledge")
        assert page(xmatters)["status"] == "TERMINATED"

    def test_resolve_makes_a_page_for_information_that_ends_when_all_are_notified(self, xmatters: XMatters) -> None:
        send(xmatters, "dba", body=OPEN)
        send(xmatters, "dba", "sam", body=RESOLVED)
        assert (page(xmatters)["subject"], page(xmatters)["priority"]) == ("RESOLVED: Database is down", "LOW")
        told = [each for each in xmatters.story()["notifications"] if each["page"] == page(xmatters)["number"]]
        assert [(each["person"], each["responses"], each["state"]) for each in told] == [
            ("kim", [], "over"), ("sam", [], "over"),
        ]  # fmt: skip
        assert page(xmatters)["status"] == "ACTIVE"
        xmatters.clock.turn(180)
        assert page(xmatters)["ended_because"] == "it was for information, and all are notified"
        assert page(xmatters, 0)["status"] == "ACTIVE"

    def test_clearing_stops_everything(self, xmatters: XMatters) -> None:
        send(xmatters, "dba")
        xmatters.clear()
        xmatters.clock.turn(86400)
        story = xmatters.story()
        assert (story["pages"], story["notifications"]) == ([], [])


class TestFloods:
    def test_controls_are_off_at_first(self, xmatters: XMatters) -> None:
        for _ in range(9):
            send(xmatters, "kim")
        assert len(xmatters.story()["pages"]) == 9

    def test_fifth_signal_alike_within_a_minute_makes_no_page(self, xmatters: XMatters) -> None:
        xmatters.workflow.set({"floods": True})
        for _ in range(6):
            send(xmatters, "kim")
        send(xmatters, "sam", body=OPEN)
        assert len(xmatters.story()["pages"]) == 5
        assert {each["text"] for each in xmatters.story()["without_page"]} == {
            "The signal was suppressed by trigger flood control."
        }
        xmatters.clock.turn(60)
        send(xmatters, "kim")
        assert len(xmatters.story()["pages"]) == 6

    def test_fifth_alert_to_the_same_recipients_makes_no_page(self, xmatters: XMatters) -> None:
        xmatters.workflow.set({"floods": True})
        for number in range(5):
            send(xmatters, "kim", body={"id": f"i{number}", "status": "critical"})
        send(xmatters, "kim", body={"id": "other trigger"}, function="f2")
        assert [each["incident_id"] for each in xmatters.story()["without_page"]] == ["i4"]
        assert len(xmatters.story()["pages"]) == 5

    def test_phone_rings_once_in_300_seconds_and_email_always(self, xmatters: XMatters) -> None:
        xmatters.workflow.set({"floods": True})
        for number in range(2):
            send(xmatters, "jo", body={"id": f"i{number}"})
        xmatters.clock.turn(60)
        assert [device for _, device, _ in rung(xmatters)] == ["Work Email", "Work Email", "Mobile"]
        assert log(xmatters)[-1] == "Notification flood control suppressed the notification to Jo Roe (Mobile)."

    def test_flow_without_a_page_accepts_and_says_so(self, xmatters: XMatters) -> None:
        xmatters.workflow.set({"mode": "no_page"})
        send(xmatters, "kim")
        assert xmatters.story()["pages"] == []
        assert [each["text"] for each in xmatters.story()["without_page"]] == ["The flow made no page."]
        xmatters.workflow.reset()
        send(xmatters, "kim")
        assert len(xmatters.story()["pages"]) == 1


class TestAudits:
    def test_all_that_happens_to_a_page_is_audited(self, xmatters: XMatters) -> None:
        send(xmatters, "dba")
        answer(xmatters, "kim", "Escalate", "in a tunnel")
        answer(xmatters, "jo", "Acknowledge")
        audits = xmatters.pages.audits(page(xmatters)["id"])
        assert [each["auditType"] for each in audits] == [
            "EVENT_CREATED", "NOTIFICATION_DELIVERED", "RESPONSE_RECEIVED", "NOTIFICATION_DELIVERED",
            "RESPONSE_RECEIVED", "EVENT_TERMINATED",
        ]  # fmt: skip
        response = audits[2]["response"]
        assert (response["response"], response["comment"], response["source"]) == ("Escalate", "in a tunnel", "EMAIL")
        assert response["option"]["action"] == "ESCALATE"
        assert response["notification"]["recipient"]["targetName"] == "kim|Work Email"
        assert response["notification"]["deliveryStatus"] == "RESPONDED"


class TestDeclarations:
    @pytest.mark.parametrize(
        ("document", "message"),
        [
            ([], "phones must be object"),
            ({"pages": []}, "'pages'"),
            ({"people": [{}]}, r"people\[0\]"),
            ({"people": [{"name": "a", "devices": [EMAIL, {"name": "b", "kind": "FLAG"}]}]}, r"devices\[1\].kind"),
            ({"people": [{"name": "a", "devices": [EMAIL, EMAIL]}]}, r"people\[0\].devices occurs twice"),
            ({"people": [{"name": "a", "devices": [EMAIL | {"delay_seconds": -1}]}]}, "delay_seconds"),
            ({"people": [{"name": "a", "devices": [EMAIL | {"delay_seconds": 1e400}]}]}, "delay_seconds"),
            ({"people": [{"name": "a"}], "groups": [{"name": "A"}]}, "occurs twice"),
            ({"groups": [{"name": "g", "members": ["kim"]}]}, r"members\[0\]"),
            ({"groups": [{"name": "g", "members": [{"name": "kim", "after_seconds": "5"}]}]}, "after_seconds"),
        ],
    )
    def test_invalid_declaration_names_the_key_and_changes_nothing(
        self, xmatters: XMatters, document: object, message: str
    ) -> None:
        before = xmatters.story()
        with pytest.raises(InvalidError, match=message):
            xmatters.people.declare_phones(document)
        assert xmatters.story() == before

    def test_what_the_story_shows_can_be_declared_again(self, xmatters: XMatters) -> None:
        before = xmatters.story()
        xmatters.people.declare_phones({"people": before["people"], "groups": before["groups"]})
        assert xmatters.story() == before
        json.dumps(before)

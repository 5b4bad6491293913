"""Receipts: a critical that xMatters accepts, and of which nobody is known to know, is told to the fallback topic once.

The relay is the real one, over fakes of xMatters and AWS.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest

from relay.bigpanda.listing import first_answer
from relay.channels.policy import Policy
from relay.deadline import Deadline
from relay.failures import ChannelForbidden
from relay.http.session import HttpAnswer
from relay.ledger.credentials import change_mark
from relay.ledger.entry import entry_key
from relay.ledger.receipt import Heard, Receipt
from relay.ledger.receipt_prover import ReceiptProver
from tests import samples
from tests.fakes import TABLE_DOWN, Call, FakeSecrets, FakeSession, Recorder, Relay, once, slow
from tests.fakes import new_relay as plain_relay
from tests.unit.reconcile_scene import answer
from tests.unit.xmatters_tenant import Tenant, new_relay

# Both steps of a receipt are awaited, or one of them.
BOTH = {"notified_within_seconds": 300, "answered_within_seconds": 900}
NOTIFIED = {"notified_within_seconds": 300}
ANSWERED = {"notified_within_seconds": 0, "answered_within_seconds": 900}


def watched(
    policy: Mapping[str, Any], *, tenant: Tenant | None = None, recipients: Sequence[str] = ("Ops",), **changes: Any
) -> Relay:
    """Return a relay whose channel takes callbacks, and has access to the REST API of `tenant` if there is one."""
    xmatters = samples.CALLBACK | {"recipients": list(recipients)}
    if tenant:
        return new_relay(tenant, policy={**NOTIFIED, **policy}, xmatters=xmatters, **changes)
    return plain_relay(Tenant().accept, policy=policy, xmatters=xmatters, **changes)


def told(relay: Relay) -> list[str]:
    """Return the steps of which the fallback topic was told, by the log."""
    lines = relay.recorder.lines("fallback notified")
    return [step for line in lines for step in line.get("missed", {}).values()]


def heard(relay: Relay) -> tuple[bool, bool, bool]:
    """Return if the receipt of the incident `i1` is open, and if it has a notification and an answer."""
    receipt = relay.entry().receipt
    return receipt.is_open, receipt.notified_at > 0, receipt.answered_at > 0


class Story(NamedTuple):
    """Story of a critical: events, and the steps of which the fallback topic is told.

    Attributes:
        events: Words, as of `Relay.play`.
        told: Steps of which the topic is told.
        policy: The channel's policy.
        audits: Audits of the first page; None if the channel has no access to the REST API.
        questions: Number of times that audits are read.
        recipients: Recipients of the channel.
    """

    events: str
    told: Sequence[str] = ()
    policy: Mapping[str, Any] = BOTH
    audits: list[str] | None = None
    questions: int = 0
    recipients: Sequence[str] = ("Ops",)


UNNOTIFIED, UNANSWERED = ["nobody_notified"], ["nobody_answered"]
TWO = ("Ops", "Dba")
BY_STATUS = {
    "routes": [{"when": {"status": "warning"}, "recipients": ["Dba"]}, {"when": {"status": "*"}, "recipients": ["Ops"]}]
}
# The end of stories that are over in the sweeper's next run.
NEXT = "0 15 15 sweep"
STORIES: dict[str, Story] = {
    # A channel with callbacks only: a callback is believed.
    "nothing comes": Story("critical 15 30m", UNNOTIFIED),
    "delivered": Story("critical 15 delivery:Delivered 30m", UNANSWERED),
    "acknowledged": Story("critical 15 response:Acknowledge 30m"),
    "escalated": Story("critical 15 response:Escalate 30m", UNNOTIFIED),
    "delivered, no answer is awaited": Story("critical 15 delivery:Delivered 30m", policy=NOTIFIED),
    "nothing is awaited": Story("critical 15 30m", policy={}),
    "answered before the critical": Story("warning 5 response:Acknowledge 0 critical 30m", UNNOTIFIED),
    # xMatters says that it notifies nobody else: the topic is told in the sweeper's next run.
    "failed": Story(f"critical 20 failure {NEXT}", UNNOTIFIED),
    "delivered, failed": Story(f"critical 20 delivery:Delivered 0 failure {NEXT}", UNANSWERED),
    "failed, acknowledged": Story(f"critical 20 failure 0 response:Acknowledge {NEXT}"),
    "escalated by xMatters": Story(f"critical 20 escalation {NEXT}"),
    "a device failed": Story(f"critical 20 delivery:Failed {NEXT}"),
    "terminated, and no REST API": Story(f"critical 20 status:terminated {NEXT}"),
    # Without the REST API, a failure counts for the only signal alone.
    "failed, after a warning": Story(f"warning 5 critical 5 failure {NEXT}"),
    "failed for an earlier critical": Story(f"critical 5 ok 5 failure critical {NEXT}"),
    "delivered before the critical": Story("warning 5 delivery:Delivered critical 30m", UNNOTIFIED, NOTIFIED),
    "failed, after an end": Story(f"critical 5 ok 5 critical 5 failure {NEXT}", UNNOTIFIED),
    # A channel with the REST API: shortly before a step is late, the audits of the pages prove it or not.
    "no audit": Story("critical 30m", UNNOTIFIED, {}, [], 1),
    "audit of a delivery": Story("critical 30m", (), {}, ["FAILED", "DELIVERED"], 1),
    "no audit of an answer": Story("critical 30m", UNANSWERED, BOTH, ["DELIVERED"], 2),
    "audit of an acknowledgement": Story("critical 30m", (), BOTH, ["DELIVERED", "Escalate", "Acknowledge"], 1),
    "audit of an acknowledgement, which is awaited before the delivery": Story(
        "critical 30m", (), {**NOTIFIED, "answered_within_seconds": 120}, ["DELIVERED", "Acknowledge"], 1
    ),
    "forged deliveries": Story(
        " ".join(["critical 40", *(f"delivery:Delivered=jdoe{number} 0" for number in range(5)), "7m"]),
        UNNOTIFIED, {}, [], 2,
    ),
    "page of another incident": Story("critical 15 response:Acknowledge@page-9 7m", UNNOTIFIED, BOTH, [], 1),
    # The page has ended without an answer: the topic is told in the next run.
    "terminated, not delivered": Story(f"critical 15 status:terminated {NEXT}", UNNOTIFIED, {}, [], 1),
    "terminated, delivered": Story(
        f"critical 15 status:terminated_external {NEXT}", UNANSWERED, BOTH, ["DELIVERED"], 1
    ),
    "terminated, acknowledged": Story(
        f"critical 15 status:terminated {NEXT}", (), BOTH, ["DELIVERED", "Acknowledge"], 1
    ),
    "the answer ended it": Story("critical 15 status:terminated 0 response:Acknowledge 0 30m", (), BOTH, [], 0),
    # Only the newest page of the critical counts.
    "failed, older page": Story(f"warning 15 critical 15 failure@page-1 {NEXT}", (), BOTH, []),
    "failed, after a page of other people": Story(
        f"warning 15 critical 40 failure@page-2=Ops {NEXT}", UNNOTIFIED, BOTH | BY_STATUS, [], 1
    ),
    "failed, newest page": Story(f"warning 15 critical 40 failure@page-2 {NEXT}", UNNOTIFIED, BOTH, [], 1),
    "terminated, newest page": Story(
        f"warning 15 critical 15 status:terminated@page-2 {NEXT}", UNNOTIFIED, BOTH, [], 1
    ),
    # Of several recipients each has to fail.
    **{
        f"{' and '.join(failed)} failed{', REST' if audits is not None else ''}": Story(
            f"critical 40 {' 0 '.join(f'failure={name}' for name in failed)} {NEXT}",
            steps, BOTH, audits, int(bool(steps) and audits is not None), TWO,
        )
        for audits in (None, list[str]())
        for failed, steps in (
            (TWO, UNNOTIFIED),
            (("ops", "DBA"), UNNOTIFIED),
            (("Ops", "Ops"), ()),
            (("Ops", "jdoe"), ()),
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("name", STORIES)
def test_fallback_is_told_once_of_the_step_that_is_late_or_cannot_come(name: str) -> None:
    story = STORIES[name]
    tenant = None if story.audits is None else Tenant()
    if tenant:
        tenant.audits["page-1"] = story.audits or []
    relay = watched(story.policy, tenant=tenant, recipients=story.recipients)
    relay.play(story.events)
    assert told(relay) == [*story.told]
    assert len(relay.sns.published) == len(story.told)
    assert relay.entry().receipt.missed == "".join(story.told)
    assert tenant is None or len(tenant.audited) == story.questions
    if story.events.endswith("30m"):
        assert relay.dynamodb.indexed() == relay.chores.messages == []
        assert len(relay.session.calls) == 1 + ("warning" in story.events)


class TestRestOfTheStory:
    """Cases that a table of words does not say."""

    def test_recipient_in_the_triggers_url_has_to_fail_too(self) -> None:
        xmatters = samples.CALLBACK | {"recipients": ["Dba"], "trigger_url": f"{samples.TRIGGER_URL}&recipients=Ops"}
        relay = plain_relay(Tenant().accept, policy=BOTH, xmatters=xmatters)
        relay.play(f"critical 15 failure=Dba {NEXT}")
        assert told(relay) == []
        relay.play(f"failure=Ops {NEXT}")
        assert told(relay) == UNNOTIFIED

    def test_answer_of_which_xmatters_does_not_say_who_gave_it_is_that_of_somebody(self) -> None:
        relay = watched(BOTH)
        relay.play("critical 15")
        relay.call_back("response", "Acknowledge", person={})
        relay.wake(0)
        assert relay.entry().receipt.answered_by == "somebody"

    def test_message_says_what_is_missing_and_whom_to_call(self) -> None:
        relay = watched(BOTH, recipients=TWO)
        relay.share(description="disk full", title="Disk full")
        relay.sweep_for(360)
        [message] = relay.sns.published
        assert message["Subject"] == "CRITICAL, xMatters did not notify: incident i1 of channel noc"
        assert "xMatters accepted its signal, and no device is known to have got it" in message["Message"]
        assert 'recipients: \\"Ops\\", \\"Dba\\"' in message["Message"]
        assert "The relay goes on trying" not in message["Message"]

    @pytest.mark.parametrize("is_removed", [True, False], ids=["channel removed", "times set to 0"])
    def test_receipt_of_which_nothing_is_awaited_any_more_ends(self, is_removed: bool) -> None:
        relay = watched(BOTH)
        relay.play("critical")
        if is_removed:
            del relay.secrets.texts["noc"]
            relay.clock.now += 600
        else:
            relay.change_policy(notified_within_seconds=0)
        relay.sweep(0)
        assert (told(relay), relay.dynamodb.indexed()) == ([], [])

    def test_answer_counts_at_once_although_the_credential_of_xmatters_changed_since_the_secret_was_read(self) -> None:
        tenant = Tenant()
        relay = watched(BOTH, tenant=tenant)
        relay.play("critical 40")
        old = relay.rest.calls[-1].headers["Authorization"]

        def rotated(call: Call) -> HttpAnswer:
            return samples.refused(401) if call.headers["Authorization"] == old else tenant.rest(call)

        relay.rest.steps = [rotated]
        relay.edit_secret(lambda document: document["xmatters"]["rest"]["auth"].update(password="new-pw"))
        tenant.status = {"anna": "ACTIVE"}
        relay.play("response:Acknowledge=anna 0")
        assert (relay.entry().acknowledged_by, heard(relay)) == ("anna", (False, True, True))

    @pytest.mark.parametrize("tenant", [None, Tenant()], ids=["no REST API", "REST API"])
    def test_answer_to_a_critical_that_rang_without_the_ledger_waits_for_its_record(
        self, tenant: Tenant | None
    ) -> None:
        relay = watched(BOTH, tenant=tenant)
        relay.dynamodb.failure = TABLE_DOWN
        relay.play("critical response:Acknowledge")
        records, relay.retries.messages = relay.retries.messages, []
        relay.play("400")
        relay.dynamodb.failure = None
        relay.play("85")
        assert relay.entry().announced is None
        relay.retries.messages = records
        relay.play("0 60")
        assert (relay.entry().acknowledged_by, heard(relay)) == ("jdoe", (False, True, True))

    @pytest.mark.parametrize("gap", [20, 30])
    def test_people_are_asked_about_in_time_although_the_page_of_an_older_signal_is_still_searched(
        self, gap: int
    ) -> None:
        tenant = Tenant()
        tenant.hidden, tenant.audits = {"r1"}, {"page-2": ["DELIVERED"]}
        relay = watched({"notified_within_seconds": 120}, tenant=tenant)
        relay.play(f"warning {gap} critical 30m")
        assert told(relay) == []

    def test_delivery_of_a_page_that_no_follow_up_found_yet_uses_up_no_question(self) -> None:
        tenant = Tenant()
        tenant.hidden, tenant.audits = {"r1"}, {"page-1": ["DELIVERED"]}
        relay = watched(BOTH, tenant=tenant)
        relay.play("critical 15")
        tenant.hidden.clear()
        relay.play("delivery:Delivered 0")
        assert (tenant.audited, heard(relay)) == ([], (True, False, False))
        relay.play("40 delivery:Delivered=anna 0")
        assert (tenant.audited, heard(relay)) == (["page-1"], (True, True, False))

    def test_delivery_to_one_team_proves_nothing_for_another_if_xmatters_cannot_be_asked(self) -> None:
        relay = watched(NOTIFIED)
        relay.post(recipients=("net",))
        relay.play("15 delivery:Delivered 0")
        relay.post(recipients=("dba",))
        relay.play("15 delivery:Delivered 0 30m")
        assert told(relay) == UNNOTIFIED

    @pytest.mark.parametrize("gap", [100, 225, 240])
    def test_page_of_a_second_signal_is_searched_before_the_question_is_asked(self, gap: int) -> None:
        tenant = Tenant()
        tenant.audits = {"page-2": ["DELIVERED"]}
        relay = watched(NOTIFIED | {"notify_on": ["opened", "grew"]}, tenant=tenant)
        relay.share(alerts=["a1"])
        relay.sweep_for(gap, step=5)
        relay.share(alerts=["a2"], changedOn=int(relay.clock.now))
        relay.sweep_for(600, step=5)
        assert (told(relay), relay.session.calls[1:] != []) == ([], True)

    @pytest.mark.parametrize(("part", "status"), [("events", 401), ("events", 503), ("events", 400), ("audits", 503)])
    def test_bigpanda_is_asked_in_time_although_each_question_about_the_page_fails(
        self, part: str, status: int
    ) -> None:
        tenant, commented = Tenant(), FakeSession(answer([acted()]))
        tenant.replies[part] = samples.refused(status)
        relay = new_relay(tenant, policy=ANSWERED, access=TestAnswersInBigPanda.ACCESS, bigpanda=commented)
        relay.play("critical")
        relay.sweep_for(1000, step=5)
        assert (told(relay), relay.entry().receipt.answered_by) == ([], "BigPanda user anna")

    def test_answer_is_asked_for_although_a_device_got_the_page_just_before_that_was_late(self) -> None:
        commented = FakeSession(answer([acted(timestamp=TestAnswersInBigPanda.SINCE + 400)]))
        access = TestAnswersInBigPanda.ACCESS
        relay = plain_relay(Tenant().accept, policy=BOTH, xmatters=samples.CALLBACK, access=access, bigpanda=commented)
        relay.play("critical")
        relay.sweep_for(258, step=5)
        relay.play("delivery:Delivered 0 20m")
        assert (told(relay), relay.entry().receipt.answered_by) == ([], "BigPanda user anna")

    def test_answers_count_at_once_although_bigpanda_hangs(self) -> None:
        hangs, access = FakeSession(), {"api_key": "BPU1", "environments": ["e1"]}
        relay = plain_relay(Tenant().accept, policy=ANSWERED, xmatters=samples.CALLBACK, access=access, bigpanda=hangs)
        hangs.steps = [slow(relay.clock, 60, lambda _: samples.refused(503))]
        for name in ("i1", "i2", "i3"):
            relay.share(id=name)
            relay.call_back("response", "Acknowledge", incident_id=name)
        relay.wake(5)
        assert [relay.entry(name).receipt.answered_by for name in ("i1", "i2", "i3")] == ["jdoe"] * 3
        assert len(hangs.calls) == 1

    def test_answer_in_a_pause_counts_although_the_question_about_it_was_due_before(self) -> None:
        said, access = list[Any](), TestAnswersInBigPanda.ACCESS
        bigpanda = FakeSession(lambda _: answer(said))
        relay = plain_relay(Tenant().accept, policy=ANSWERED, access=access, bigpanda=bigpanda)
        relay.play("critical 1m")
        relay.change_policy(**ANSWERED, pauses=[samples.pause("keep", 60)])
        relay.sweep_for(1200, step=20)
        said.append(acted(timestamp=TestAnswersInBigPanda.SINCE + 1200))
        relay.sweep_for(3600, step=20)
        assert (told(relay), relay.entry().receipt.answered_by) == ([], "BigPanda user anna")

    @pytest.mark.parametrize(("begins", "ends"), [(0, 1200), (240, 120)], ids=["ended early", "cancelled"])
    def test_people_are_asked_about_although_the_pause_that_held_the_question_is_ended_early_or_cancelled(
        self, begins: int, ends: int
    ) -> None:
        tenant = Tenant()
        tenant.audits["page-1"] = ["DELIVERED"]
        relay = watched({}, tenant=tenant)
        relay.change_policy(**NOTIFIED, pauses=[samples.pause("keep", begins, 7200)])
        relay.play("critical")
        relay.sweep_for(ends)
        relay.change_policy(**NOTIFIED)
        relay.sweep_for(300, step=15)
        assert (tenant.audited, told(relay)) == (["page-1"], [])

    def test_people_are_told_in_time_although_a_pause_holds_other_incidents_of_the_channel(self) -> None:
        others = samples.pause("keep", -60, 8 * 3600, when={"status": "warning"})
        relay = watched(NOTIFIED | {"pauses": [others]})
        relay.play("critical")
        relay.sweep_for(600)
        assert told(relay) == UNNOTIFIED

    def test_critical_of_a_channel_that_was_removed_by_mistake_is_told_of_once_the_channel_is_back(self) -> None:
        relay = watched(BOTH)
        relay.play("critical")
        secret = relay.secrets.texts.pop("noc")
        change_mark(relay.credentials.table(relay.clock), "noc", "removed", relay.clock.now, revokes=True)
        relay.sweep_for(120)
        relay.secrets.texts["noc"] = secret
        relay.sweep_for(360)
        assert told(relay) == UNNOTIFIED

    @pytest.mark.parametrize("is_refused", [True, False])
    def test_message_describes_this_critical_and_not_an_earlier_one(self, is_refused: bool) -> None:
        tenant = Tenant()
        relay = watched({}, tenant=tenant, recipients=["Storage"])
        tenant.makes_pages, accept = is_refused, relay.session.steps
        relay.session.steps = [samples.refused(400)] if is_refused else accept
        relay.play("critical 10m ok 1m", description="disk full")
        tenant.makes_pages, relay.session.steps = True, accept
        relay.edit_secret(lambda document: document["xmatters"].update(recipients=["Payments"]))
        relay.clock.now += 400
        relay.channels.for_work("noc")
        relay.play("critical 10m", description="payment is down")
        message = relay.sns.published[-1]["Message"]
        assert ("Payments" in message, "Storage" in message, "disk full" in message) == (True, False, False)

    def test_message_names_no_signal_of_an_earlier_critical(self) -> None:
        tenant = Tenant()
        tenant.makes_pages = False
        relay = watched({}, tenant=tenant)
        relay.play("critical 10m ok 30m critical 10m")
        assert "(request id r3)" in relay.sns.published[-1]["Message"]

    def test_answer_counts_for_the_incident_of_its_page_although_others_got_one_of_their_own(self) -> None:
        relay = watched(BOTH, tenant=Tenant())
        relay.post(recipients=("dba",))
        relay.post()
        relay.wake(5)
        relay.play("response:Acknowledge@page-2 0")
        assert heard(relay) == (False, True, True)
        assert relay.ledger.read(entry_key("noc", ("dba",), "i1")).receipt.is_open

    def test_end_of_a_page_waits_for_the_answer_that_ended_it_although_nobody_else_was_told(self) -> None:
        """The share names its recipients: of those in the secret, no receipt is awaited."""
        relay = watched(BOTH, tenant=Tenant())
        relay.post(recipients=("dba",))
        relay.play("15 status:terminated 0 sweep response:Acknowledge 0 30m")
        assert told(relay) == []

    def test_critical_whose_next_share_has_no_known_status_is_told_of_all_the_same(self) -> None:
        relay = watched(BOTH)
        relay.play("critical")
        relay.play("comment 30m", status="major")
        assert told(relay) == UNNOTIFIED

    def test_failure_of_an_older_page_says_nothing_of_a_critical_whose_signal_has_no_id(self) -> None:
        relay = watched(BOTH)
        relay.play("warning 5")
        relay.session.steps = [HttpAnswer(202, {}, b"{}")]
        relay.play(f"critical 5 failure {NEXT}")
        assert (told(relay), heard(relay)) == ([], (True, False, False))


class TestAnswersInBigPanda:
    """A channel with BigPanda's key: shortly before a step is late, BigPanda is asked if a person answered there."""

    SINCE = 1_800_000_001
    ACCESS: ClassVar[dict[str, Any]] = {"api_key": "BPU1", "automations": ["servicenow"]}

    def channel(self, *activities: dict[str, Any]) -> Relay:
        """Return a relay with a critical of SINCE, and with these activities in BigPanda, the newest first."""
        relay = plain_relay(policy=ANSWERED, access=self.ACCESS, bigpanda=FakeSession(answer(activities)))
        relay.play("critical")
        return relay

    @pytest.mark.parametrize(
        ("activity", "is_answer"),
        [
            ({"type": "incident_commented"}, True),
            ({"type": "incident_assigned"}, True),
            ({"type": "incident_commented", "timestamp": SINCE + 700}, True),
            ({"type": "incident_commented", "timestamp": SINCE - 1}, False),
            ({"type": "incident_commented", "timestamp": SINCE * 1000}, False),
            ({"type": "incident_commented", "created_by": None}, False),
            ({"type": "incident_commented", "created_by": "servicenow"}, False),
            ({"type": "incident_assigned", "created_by": "servicenow"}, False),
            ({"type": "incident_tag_updated"}, False),
        ],
    )
    def test_assignment_or_comment_of_a_person_since_the_critical_is_an_answer(
        self, activity: dict[str, Any], is_answer: bool
    ) -> None:
        relay = self.channel(acted(**activity))
        relay.sweep_for(1800, step=30)
        receipt = relay.entry().receipt
        assert told(relay) == ([] if is_answer else ["nobody_answered"])
        assert receipt.answered_by == ("BigPanda user anna" if is_answer else "")
        assert (relay.dynamodb.indexed(), relay.chores.messages) == ([], [])

    def test_answer_in_the_second_of_the_critical_counts(self) -> None:
        activity = acted(timestamp=self.SINCE)
        assert first_answer([activity], (), self.SINCE + 0.7, self.SINCE + 9) == (
            "BigPanda user anna",
            self.SINCE + 0.7,
        )

    @pytest.mark.parametrize("mark", ["[relay 12ab34cd]", "&#91;relay 12ab34cd&#93;"])
    def test_what_the_user_of_the_relay_did_is_no_answer(self, mark: str) -> None:
        comment = acted(created_by="relay", params={"said": f"Nobody is left for xMatters page 1. {mark}"})
        relay = self.channel(comment, acted(type="incident_assigned", created_by="relay"))
        relay.sweep_for(1800, step=30)
        assert told(relay) == ["nobody_answered"]

    def test_bigpanda_is_asked_although_the_access_to_the_rest_api_was_removed_since_the_page_was_found(self) -> None:
        relay = new_relay(Tenant(), policy=ANSWERED, access=self.ACCESS, bigpanda=FakeSession(answer([acted()])))
        relay.play("critical 15")
        relay.edit_secret(lambda document: document["xmatters"].pop("rest"))
        relay.play("30m")
        assert (told(relay), relay.entry().receipt.answered_by) == ([], "BigPanda user anna")

    def test_bigpanda_is_asked_once_shortly_before_the_step_is_late(self) -> None:
        relay = self.channel()
        relay.sweep_for(840, step=30)
        assert relay.bigpanda.calls == []
        relay.sweep_for(1800, step=30)
        [call] = relay.bigpanda.calls
        query = parse_qs(urlsplit(call.url).query)
        assert urlsplit(call.url).path == "/resources/v2.0/incidents/i1/activities"
        assert query["types"] == ["incident_assigned,incident_commented"]
        assert told(relay) == ["nobody_answered"]
        assert any(name.startswith("rate/") and "/activities/" in name for name in relay.dynamodb.items)


def acted(**members: Any) -> dict[str, Any]:
    """Return an activity of BigPanda: a comment of the user `anna`, a minute after the critical, with other members."""
    at = TestAnswersInBigPanda.SINCE + 60
    activity = {"id": "1", "type": "incident_commented", "timestamp": at, "created_by": "anna", "params": {}}
    return {name: value for name, value in (activity | members).items() if value is not None}


# ---- Further recipients of a critical that nobody answers ------------------------------------------------------------

LATE_ANSWER = {"answered_within_seconds": 300, "unanswered_recipients": ["Boss", "Duty"]}


def test_question_that_xmatters_left_without_an_answer_is_asked_again_before_the_topic_is_told() -> None:
    tenant = Tenant()
    tenant.audits["page-1"] = ["DELIVERED"]
    tenant.replies["audits"] = samples.refused(503)
    relay = watched({}, tenant=tenant)
    relay.play("critical 15 4m")
    assert tenant.paths[-1] == "audits"
    tenant.replies.clear()
    relay.play("30m")
    assert (tenant.audited, told(relay)) == (["page-1"], [])


def test_further_recipients_are_signalled_although_an_older_critical_expires_when_the_newer_one_comes() -> None:
    grows = {"notify_on": ["opened", "grew"], "max_age_seconds": 600, "notified_within_seconds": 0}
    relay = watched(LATE_ANSWER | grows, tenant=Tenant())
    accept, relay.session.steps = relay.session.steps, [samples.refused(503)]

    def recovers(_: object) -> None:
        relay.close_circuits()
        relay.session.steps = accept
        relay.session.calls.clear()
        relay.play("critical", alerts=["a1", "a2"])

    relay.dead_letters.before = once(recovers)
    relay.play("critical 26m", alerts=["a1"])
    assert len(relay.dead_letters.messages) == 1
    assert relay.rung() == ["Ops", "Boss,Duty"]


def test_two_questions_at_once_leave_the_one_about_the_next_step() -> None:
    tenant = Tenant()
    tenant.audits["page-1"] = ["DELIVERED"]
    relay = watched({"notified_within_seconds": 300, "answered_within_seconds": 900}, tenant=tenant)
    relay.play("critical 15")
    name, entry, channel = entry_key("noc", (), "i1"), relay.entry(), relay.channels.get("noc")

    def heard_of(_: object, page: str, __: object) -> Heard:
        tenant.audited.append(page)
        return Heard(is_notified=True)

    prover = ReceiptProver(heard_of, lambda *_: None, relay.ledger, relay.clock)
    ask = partial(prover.ask, name, entry, channel, ["page-1"], Deadline(5, relay.clock), is_early=False)
    assert ask() == ask()
    assert (tenant.audited, relay.entry().receipt.question_at(channel.policy) is not None) == (["page-1"], True)


def test_device_that_got_a_critical_after_a_recipient_failed_is_a_proof() -> None:
    policy = Policy(notified_within_seconds=300, answered_within_seconds=900)
    receipt = Receipt.begun(1000, ("Ops",)).after_dead_end(policy)
    assert receipt.missed_step(policy, 1010) == "nobody_notified"
    assert receipt.notified(1010, policy).missed_step(policy, 1020) == ""


def test_person_who_escalated_got_the_notification_although_xmatters_does_not_say_so() -> None:
    policy, escalated = Policy(notified_within_seconds=300), Heard(is_notified=False, answers=(("jdoe", "Escalate"),))
    receipt = Receipt.begun(1000, ("Ops",)).heard(escalated, policy, samples.parsed().responses, 1010)
    assert (receipt.notified_at, receipt.answered_at) == (1010, 0)


def test_nobody_is_told_of_a_critical_that_a_person_snoozed() -> None:
    relay = watched(NOTIFIED)
    relay.play("critical 15")
    relay.play("comment 30m", snooze={"snoozed": True})
    assert told(relay) == []


class TestUnansweredRecipients:
    def test_they_are_signalled_once_after_the_fallback_topic_without_a_further_share(self) -> None:
        relay = watched(LATE_ANSWER)
        relay.play("critical 30m")
        assert relay.rung() == ["Ops", "Boss,Duty"]
        # A workflow drops a signal with the id of another one as its repeat.
        assert len({call.headers["X-Relay-Delivery-Id"] for call in relay.session.calls}) == 2

    def test_they_are_signalled_although_the_ledger_failed_when_the_critical_rang(self) -> None:
        relay = watched(LATE_ANSWER)
        relay.dynamodb.failure = TABLE_DOWN
        relay.play("critical")
        relay.dynamodb.failure = None
        relay.play("10 30m")
        assert relay.rung() == ["Ops", "Boss,Duty"]

    def test_their_signal_is_not_too_old_although_the_answer_is_awaited_for_longer_than_a_signal_may_wait(self) -> None:
        relay = watched(LATE_ANSWER | {"answered_within_seconds": 900, "max_age_seconds": 600})
        relay.play("critical 30m")
        assert relay.rung() == ["Ops", "Boss,Duty"]

    def test_they_are_signalled_at_once_although_the_incident_flaps(self) -> None:
        relay = watched(LATE_ANSWER | {"flap": {"transitions": 2, "minutes": 60}})
        relay.play("warning 2 ok 2 warning 2 critical 30m")
        assert relay.rung()[-2:] == ["Ops", "Boss,Duty"]

    def test_they_are_signalled_although_alerts_join_the_critical_while_the_topic_is_told(self) -> None:
        relay = watched(LATE_ANSWER | {"notify_on": ["opened", "grew"]})
        relay.play("critical", alerts=["a1"])
        relay.sns.before = once(lambda _: relay.play("critical", alerts=["a1", "a2"]))
        relay.play("30m")
        assert relay.rung() == ["Ops", "Ops", "Boss,Duty"]

    def test_they_do_not_join_those_of_a_critical_that_comes_anew_after_a_better_state(self) -> None:
        relay = watched(LATE_ANSWER | {"preset": "oncall"})
        accept = relay.session.steps
        relay.play("critical")
        relay.session.steps = [samples.refused(503)]
        relay.play("7m")
        relay.session.steps = accept
        relay.close_circuits()
        assert relay.play("warning critical") == ["unchanged eased", "delivered worsened"]
        assert (relay.rung()[0], relay.rung()[-1]) == ("Ops", "Ops")

    def test_they_join_the_others_only_as_far_as_names_fit_into_a_signal(self) -> None:
        names = [*(f"{number:0>200}" for number in range(10)), "x" * 32]
        relay = watched(LATE_ANSWER | {"notify_on": ["opened", "grew"]}, recipients=names)
        relay.play("critical 60 240 sweep", alerts=["a1"])
        relay.play("critical comment comment", alerts=["a1", "a2"])
        assert relay.rung() == [",".join(names), ",".join([*names, "Boss"]), "Boss,Duty"]


def test_answer_counts_although_a_page_of_a_large_group_has_more_audits_than_are_read() -> None:
    tenant = Tenant()
    tenant.audits["page-1"] = ["DELIVERED"] * 100 + ["Acknowledge"]
    relay = watched(ANSWERED, tenant=tenant)
    relay.play("critical 30m")
    assert told(relay) == []


def test_delivery_counts_although_the_answers_of_a_large_groups_page_cannot_be_read() -> None:
    tenant = Tenant()
    tenant.audits["page-1"] = ["DELIVERED"] * 100

    def refuse_filter(call: Call) -> HttpAnswer:
        return samples.refused(400) if "auditType" in call.url else tenant.rest(call)

    relay = watched({}, tenant=tenant, rest=FakeSession(refuse_filter))
    relay.play("critical 30m")
    assert told(relay) == []


def test_answer_counts_although_it_is_awaited_for_longer_than_a_job_may_live() -> None:
    tenant = Tenant()
    tenant.audits["page-1"] = ["DELIVERED"]
    relay = watched({"notified_within_seconds": 300, "answered_within_seconds": 8 * 3600}, tenant=tenant)
    relay.play("critical 15 15 15 60m")
    tenant.audits["page-1"].append("Acknowledge")
    relay.sweep_for(6.9 * 3600, step=300)
    relay.sweep_for(0.2 * 3600, step=30)
    assert (heard(relay), told(relay), relay.dead_letters.messages) == ((False, True, True), [], [])


@pytest.mark.parametrize("answered", ["page-1", "page-1b"])
@pytest.mark.parametrize("says_of_other", [True, False])
def test_answer_to_one_of_two_pages_counts_although_xmatters_says_nothing_of_the_other_one(
    answered: str, says_of_other: bool
) -> None:
    tenant = Tenant()
    tenant.further_pages = [{"id": "page-1b", "eventId": "9", "status": "ACTIVE"}]
    tenant.audits |= {page: ["DELIVERED"] for page in ("page-1", "page-1b")}
    tenant.audits[answered].append("Acknowledge")

    def rest(call: Call) -> HttpAnswer:
        is_about_other = "/audits" in call.url and f"eventId={answered}&" not in call.url
        return samples.refused(500) if is_about_other and not says_of_other else tenant.rest(call)

    relay = watched(BOTH, tenant=tenant)
    relay.rest.steps = [rest]
    relay.play("critical 15 15 30m")
    assert (told(relay), heard(relay)) == ([], (False, True, True))


def test_second_page_of_an_earlier_critical_proves_nothing_for_one_that_rang_while_the_first_page_was_asked_about() -> (
    None
):
    tenant = Tenant()
    relay = watched({}, tenant=tenant)
    relay.play("critical 40")
    name, read, channel = entry_key("noc", (), "i1"), relay.entry(), relay.channels.get("noc")

    def heard_of(_: object, page: str, __: object) -> Heard:
        if page == "page-1":
            relay.play("ok critical")
        return Heard(is_notified=True)

    prover = ReceiptProver(heard_of, lambda *_: None, relay.ledger, relay.clock)
    prover.ask(name, read, channel, ["page-1", "page-1b"], Deadline(5, relay.clock), is_early=False)
    assert heard(relay) == (True, False, False)


def test_end_of_a_further_page_does_not_mean_that_nobody_is_left() -> None:
    tenant = Tenant()
    relay = watched(BOTH, tenant=tenant)
    relay.play("critical 15 15")
    tenant.further_pages = [{"id": "page-1b", "eventId": "9", "status": "TERMINATED"}]
    relay.play(f"status:terminated_external@page-1b {NEXT}")
    assert (told(relay), heard(relay)) == ([], (True, False, False))


def test_what_xmatters_says_of_an_earlier_criticals_pages_proves_nothing_for_one_that_rang_before_the_question() -> (
    None
):
    tenant = Tenant()
    tenant.audits["page-1"] = ["DELIVERED"]
    relay = watched({}, tenant=tenant)
    relay.play("critical 40")
    name, channel = entry_key("noc", (), "i1"), relay.channels.get("noc")
    # A worker with a callback reads the entry, and verifies the callback's page, which takes seconds.
    read = relay.entry()
    relay.play("warning 20 critical 15")
    assert relay.entry().receipt.since > read.receipt.since
    prover = ReceiptProver(lambda *_: Heard(is_notified=True), lambda *_: None, relay.ledger, relay.clock)
    assert read.pages_to_ask_about() == ["page-1"]
    prover.ask(name, read, channel, ["page-1"], Deadline(5, relay.clock), is_early=True)
    assert heard(relay) == (True, False, False)
    relay.play("30m")
    assert told(relay) == ["nobody_notified"]


def test_critical_is_told_of_if_the_secret_that_awaits_its_proof_cannot_be_read() -> None:
    relay = watched(BOTH, tenant=Tenant())
    relay.play("critical")
    new = replace(relay, secrets=FakeSecrets(noc=ChannelForbidden("AccessDenied")), recorder=Recorder())
    new.sweep_for(360)
    assert told(new) == ["nobody_notified"]


def test_further_recipients_do_not_wait_for_the_distance_of_a_signal_that_the_incident_owes_to_all() -> None:
    wants = {"min_seconds_between_signals": 3600, "notify_on": ["opened", "worsened", "grew", "resolved"]}
    relay = watched({**LATE_ANSWER, **wants})
    relay.play("critical 60", alerts=[{"id": "a1"}])
    relay.play("critical", alerts=[{"id": "a1"}, {"id": "a2"}])
    relay.sweep_for(420)
    assert relay.rung() == ["Ops", "Ops,Boss,Duty"]


def test_answer_is_awaited_on_if_the_secret_cannot_be_read_for_some_time() -> None:
    relay = watched(BOTH)
    relay.play("critical 15 delivery:Delivered 0")
    assert heard(relay) == (True, True, False)
    secret = relay.secrets.texts["noc"]
    relay.secrets.texts["noc"] = ChannelForbidden("AccessDenied")
    replace(relay, recorder=Recorder()).sweep_for(300)
    relay.secrets.texts["noc"] = secret
    relay.sweep_for(660)
    assert told(relay) == ["nobody_answered"]

"""Receipts: a critical that xMatters accepts, and of which nobody is known to know, is told to the fallback topic once.

The relay is the real one, over fakes of xMatters and AWS.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.exceptions import EndpointConnectionError

from relay.bigpanda.listing import first_answer
from relay.failures import ChannelUnreadable, InvalidChannel
from relay.http.session import HttpAnswer
from tests import samples
from tests.fakes import TABLE_DOWN, Call, FakeSecrets, FakeSession, HookedDynamoDb, Relay, worked
from tests.unit.paging_tenant import REST, Tenant

TOKEN = "callback-token"
# Both steps of a receipt are awaited.
BOTH = {"notified_within_seconds": 300, "answered_within_seconds": 900}


def watched(
    policy: dict[str, Any],
    *,
    tenant: Tenant | None = None,
    recipients: tuple[str, ...] = ("Ops",),
    in_url: str = "",
    **changes: Any,
) -> Relay:
    """Return a relay whose channel takes callbacks, and has access to the REST API of `tenant` if there is one."""
    document = samples.secret(policy={"min_seconds_between_signals": 0, **policy})
    document["xmatters"] |= {"callback": {"token": TOKEN}, "recipients": list(recipients)}
    document["xmatters"]["trigger_url"] += in_url
    if tenant:
        document["xmatters"]["rest"] = REST
    trigger = (tenant or Tenant()).accept
    rest = FakeSession(tenant.rest) if tenant else FakeSession(samples.accepted())
    relay = Relay(FakeSession(trigger), secrets=FakeSecrets(noc=json.dumps(document)), rest=rest, **changes)
    if tenant:
        tenant.now = relay.clock
    return relay


def call_back(
    relay: Relay, kind: str, text: str, *, page: str = "page-1", person: str = "jdoe", is_worked: bool = True
) -> str:
    """Let xMatters call back about the incident `i1`; return the outcome of the callback.

    Its job waits unless `is_worked`.
    """
    said = {"relay": 1, "kind": kind, "incident_id": "i1", "event": {"id": page, "number": page}}
    said |= {"person": {"target": person}, kind if kind in {"response", "status"} else "deliverystatus": text}
    answer = relay.callbacks.serve(samples.request(json.dumps(said).encode(), headers={"x-api-key": TOKEN}))
    if is_worked:
        relay.wake(0)
    return str(answer.document["outcome"])


def told(relay: Relay) -> list[str]:
    """Return the steps of which the fallback topic was told, by the log."""
    lines = (line for line in relay.recorder.lines() if line["message"] == "fallback notified")
    return [step for line in lines for step in line.get("missed", {}).values()]


def heard(relay: Relay) -> tuple[bool, bool, bool]:
    """Return if the receipt of the incident `i1` is open, and if it has a notification and an answer."""
    receipt = relay.entry().receipt
    return receipt.is_open, receipt.notified_at > 0, receipt.answered_at > 0


# The tag `team` brings in further recipients.
LATE_TAG: dict[str, Any] = {"routes": [{"when": {"tag.team": "db"}, "recipients": ["Dba"]}]}


def tagged(relay: Relay) -> None:
    """Let BigPanda share the critical again, with a tag that came late."""
    relay.clock.now += 30
    relay.share(changedOn=int(relay.clock.now), tags=[{"name": "team", "value": "db"}])
    relay.wake(15)


def accepted_before_an_outage(relay: Relay) -> Callable[[Call], HttpAnswer]:
    """Return an answer that accepts a signal, just before the ledger begins to fail."""

    def accept(_: Call) -> HttpAnswer:
        relay.dynamodb.failure = TABLE_DOWN
        return samples.accepted("r2")

    return accept


class TestWithoutRestApi:
    """A channel with callbacks only: a callback is believed."""

    @pytest.mark.parametrize(
        ("policy", "calls", "steps"),
        [
            (BOTH, [], ["nobody_notified"]),
            (BOTH, [("delivery", "Failed")], ["nobody_notified"]),
            (BOTH, [("delivery", "Delivered")], ["nobody_answered"]),
            (BOTH, [("delivery", "Delivered"), ("response", "Escalate")], ["nobody_answered"]),
            (BOTH, [("delivery", "Delivered"), ("response", "Acknowledge")], []),
            (BOTH, [("response", "Acknowledge")], []),
            (BOTH, [("response", "On my way")], []),
            ({"notified_within_seconds": 300}, [("delivery", "Delivered")], []),
            ({"answered_within_seconds": 300}, [("delivery", "Delivered")], ["nobody_answered"]),
            ({}, [], []),
        ],
    )
    def test_fallback_is_told_once_of_the_step_that_is_late(
        self, policy: dict[str, Any], calls: list[tuple[str, str]], steps: list[str]
    ) -> None:
        relay = watched(policy)
        relay.play("critical 5")
        for kind, text in calls:
            relay.clock.now += 10
            call_back(relay, kind, text)
        relay.sweep_for(1800)
        assert told(relay) == steps
        assert relay.dynamodb.indexed() == []
        assert len(relay.session.calls) == 1

    @pytest.mark.parametrize("again", ["critical", "critical critical"], ids=["as before", "grown, which rings"])
    @pytest.mark.parametrize("between", ["ok", "warning"])
    def test_critical_whose_better_state_was_never_told_is_still_awaited(self, between: str, again: str) -> None:
        wants = ["opened", "worsened", "grew", "eased", "resolved"]
        relay = watched({"answered_within_seconds": 300, "max_per_minute": 1, "notify_on": wants})
        relay.play(f"critical 5 {between} 5", alerts=["a1"])
        assert relay.entry().debt.since is not None
        relay.play("critical", alerts=["a1", "a2"] if again != "critical" else ["a1"])
        relay.sweep_for(600)
        assert relay.statuses() == again
        assert told(relay) == ["nobody_answered"]

    def test_receipt_that_was_answered_after_the_index_was_read_brings_no_early_message(self) -> None:
        table = HookedDynamoDb()
        relay = watched({"answered_within_seconds": 300}, dynamodb=table)
        relay.play("critical")
        relay.session.steps = [samples.refused(404)]
        for seconds, incident_id in ((100, "i2"), (60, "i3")):
            relay.clock.now += seconds
            relay.share(id=incident_id)
            relay.sweep(0)
        table.before_next(lambda: call_back(relay, "response", "Acknowledge"), "batch_get_item")
        relay.sweep(140)
        assert (relay.entry().receipt.is_open, len(relay.sns.published)) == (False, 1)
        relay.sweep(100)
        assert len(relay.sns.published) == 2

    @pytest.mark.parametrize("is_worked", [True, False])
    def test_answer_from_before_the_critical_proves_nothing(self, *, is_worked: bool) -> None:
        relay = watched(BOTH)
        relay.play("warning 5")
        call_back(relay, "response", "Acknowledge", is_worked=is_worked)
        relay.play("critical 0")
        assert heard(relay) == (True, False, False)

    def test_message_says_what_is_missing_and_whom_to_call(self) -> None:
        relay = watched(BOTH, recipients=("Ops", "Dba"))
        relay.share(description="disk full", title="Disk full")
        relay.sweep_for(360)
        [message] = relay.sns.published
        assert message["Subject"] == "CRITICAL, xMatters did not notify: incident i1 of channel noc"
        assert "xMatters made a page, and no device is known to have got it" in message["Message"]
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

    def test_receipt_stays_open_while_the_channel_cannot_be_read(self) -> None:
        relay = watched(BOTH)
        relay.play("critical")
        relay.secrets.texts["noc"] = ChannelUnreadable("throttled")
        relay.other(samples.accepted()).sweep(0)
        assert heard(relay)[0]


class TestUnansweredRecipients:
    """Further recipients are signalled, once, when the fallback topic was told of a critical that nobody heard."""

    OTHERS: ClassVar[dict[str, Any]] = {"answered_within_seconds": 300, "unanswered_recipients": ["Boss", "Duty"]}

    def recipients(self, relay: Relay) -> list[str]:
        return [call.url.partition("recipients=")[2] for call in relay.session.calls]

    def test_they_are_signalled_once_after_the_fallback_topic(self) -> None:
        relay = watched(self.OTHERS)
        relay.play("critical")
        relay.sweep_for(300)
        assert (told(relay), self.recipients(relay)) == (["nobody_answered"], ["Ops"])
        relay.sweep_for(1800)
        assert self.recipients(relay) == ["Ops", "Boss,Duty"]
        assert (len(relay.sns.published), relay.dynamodb.indexed(), relay.retries.messages) == (1, [], [])

    def test_they_are_left_alone_if_a_person_answers_meanwhile(self) -> None:
        relay = watched(self.OTHERS)
        relay.play("critical")
        relay.wake(60)
        relay.sweep(240)
        call_back(relay, "response", "Acknowledge")
        relay.sweep_for(600)
        assert (self.recipients(relay), relay.dynamodb.indexed()) == (["Ops"], [])

    def test_they_are_signalled_although_the_critical_was_replayed_longer_ago_than_its_greatest_age(self) -> None:
        relay = watched(self.OTHERS | {"max_age_seconds": 120})
        relay.session.steps = [samples.refused(404), samples.accepted()]
        relay.play("critical")
        [dead] = relay.dead_letters.jobs()
        worked(relay, dead)
        assert self.recipients(relay) == ["Ops", "Ops"]
        relay.sweep_for(900)
        assert self.recipients(relay) == ["Ops", "Ops", "Boss,Duty"]

    @pytest.mark.parametrize(
        ("policy", "said"),
        [
            ({"flap": {"transitions": 4, "minutes": 60}}, {"flapping": True}),
            ({"min_seconds_between_signals": 3600}, {}),
        ],
        ids=["flapping", "spaced"],
    )
    def test_what_spares_the_people_who_were_rung_delays_no_further_recipients(
        self, policy: dict[str, Any], said: dict[str, Any]
    ) -> None:
        relay = watched(self.OTHERS | policy)
        relay.play("critical", **said)
        relay.sweep_for(420)
        assert self.recipients(relay) == ["Ops", "Boss,Duty"]

    def test_they_join_the_others_in_a_signal_that_is_for_all(self) -> None:
        relay = watched(self.OTHERS | {"notify_on": ["opened", "grew"]})
        relay.share(alerts=["a1"])
        relay.wake(60)
        relay.sweep(240)
        relay.share(alerts=["a1", "a2"], changedOn=1_800_000_400)
        relay.sweep_for(600)
        assert self.recipients(relay) == ["Ops", "Ops,Boss,Duty"]

    @pytest.mark.parametrize("events", ["ok", "warning"])
    def test_critical_that_comes_again_before_they_were_called_does_not_call_them_at_once(self, events: str) -> None:
        relay = watched(self.OTHERS | {"preset": "oncall", "notify_on": ["opened", "worsened", "reopened"]})
        relay.play("critical")
        relay.wake(60)
        relay.sweep(240)
        relay.play(f"{events} critical")
        assert (told(relay), self.recipients(relay)) == (["nobody_answered"], ["Ops", "Ops"])

    @pytest.mark.parametrize("has_rest", [True, False])
    def test_recipients_whom_no_missing_proof_can_call_are_refused(self, has_rest: bool) -> None:
        document = samples.secret(policy={"unanswered_recipients": ["Boss"]})
        document["xmatters"] |= {"rest": REST} if has_rest else {"callback": {"token": "t"}}
        if has_rest:
            assert samples.parsed(document).policy.unanswered_recipients == ("Boss",)
        else:
            with pytest.raises(InvalidChannel, match="unanswered_recipients"):
                samples.parsed(document)

    def test_their_signal_that_could_not_be_recorded_at_once_is_not_repeated(self) -> None:
        relay = watched(self.OTHERS)
        relay.play("critical 60")
        relay.session.steps = [accepted_before_an_outage(relay)]
        relay.sweep(240)
        relay.sweep(60)
        relay.wake(0)
        relay.dynamodb.failure = None
        relay.sweep_for(300)
        relay.play("comment 60 comment")
        assert self.recipients(relay) == ["Ops", "Boss,Duty"]

    def test_they_are_signalled_although_an_earlier_signal_is_recorded_after_the_topic_was_notified(self) -> None:
        relay = watched(self.OTHERS)
        relay.play("critical 60")
        relay.dynamodb.failure = EndpointConnectionError(endpoint_url="https://dynamodb.test")
        relay.play("comment")
        relay.dynamodb.failure = None
        relay.sweep(300)
        assert told(relay) == ["nobody_answered"]
        relay.wake(0)
        relay.sweep_for(300)
        assert self.recipients(relay) == ["Ops", "Ops", "Boss,Duty"]
        assert relay.dynamodb.indexed() == relay.retries.messages == []


class TestWithRestApi:
    """A channel with xMatters' REST API: shortly before a step is late, the audits of the pages prove it or not."""

    @pytest.mark.parametrize(
        ("audits", "policy", "steps", "questions"),
        [
            ([], {}, ["nobody_notified"], 1),
            (["FAILED"], {}, ["nobody_notified"], 1),
            (["FAILED", "DELIVERED"], {}, [], 1),
            (["DELIVERED"], {"answered_within_seconds": 900}, ["nobody_answered"], 2),
            (["DELIVERED", "Escalate"], {"answered_within_seconds": 900}, ["nobody_answered"], 2),
            (["DELIVERED", "Escalate", "Acknowledge"], {"answered_within_seconds": 900}, [], 1),
            (["DELIVERED"], {"notified_within_seconds": 0}, [], 0),
        ],
    )
    def test_audits_prove_the_steps(
        self, audits: list[str], policy: dict[str, Any], steps: list[str], questions: int
    ) -> None:
        tenant = Tenant()
        tenant.audits["page-1"] = audits
        relay = watched(policy, tenant=tenant)
        relay.play("critical")
        relay.sweep_for(1800, step=30)
        assert (told(relay), tenant.audited) == (steps, ["page-1"] * questions)
        assert relay.dynamodb.indexed() == relay.chores.messages == []

    def test_forged_delivery_drops_no_deadline_and_costs_one_question(self) -> None:
        tenant = Tenant()
        relay = watched({}, tenant=tenant)
        relay.play("critical 15")
        for number in range(5):
            call_back(relay, "delivery", "Delivered", person=f"jdoe{number}")
        assert (heard(relay), tenant.audited) == ((True, False, False), ["page-1"])
        relay.sweep_for(420, step=30)
        assert told(relay) == ["nobody_notified"]
        assert len(tenant.audited) == 2

    def test_callback_about_the_page_of_another_incident_proves_nothing(self) -> None:
        tenant = Tenant()
        relay = watched({"answered_within_seconds": 900}, tenant=tenant)
        relay.play("critical 15")
        call_back(relay, "response", "Acknowledge", page="page-9")
        relay.sweep_for(420, step=30)
        assert (told(relay), heard(relay)[2]) == (["nobody_notified"], False)

    @pytest.mark.parametrize(("page", "acknowledged_by"), [("page-1", ""), ("page-2", "jdoe")])
    def test_answer_to_an_older_page_does_not_quiet_the_newer_critical(self, page: str, acknowledged_by: str) -> None:
        relay = watched(BOTH, tenant=Tenant())
        relay.play("warning 15 critical 15")
        call_back(relay, "response", "Acknowledge", page=page)
        assert relay.entry().acknowledged_by == acknowledged_by

    @pytest.mark.parametrize(("page", "steps"), [("page-1", ["nobody_answered"]), ("page-2", [])])
    def test_answer_to_a_page_from_before_the_critical_is_none_to_the_critical(
        self, page: str, steps: list[str]
    ) -> None:
        tenant = Tenant()
        relay = watched({"notified_within_seconds": 0, "answered_within_seconds": 300}, tenant=tenant)
        relay.play("warning 60 critical 60")
        call_back(relay, "response", "Acknowledge", page=page)
        relay.sweep_for(600)
        assert told(relay) == steps

    @pytest.mark.parametrize("page", ["page-1", "page-2"])
    def test_answer_to_either_page_counts_after_a_late_tag(self, page: str) -> None:
        relay = watched(BOTH | LATE_TAG, tenant=Tenant())
        relay.play("critical 15")
        tagged(relay)
        assert relay.statuses() == "critical critical"
        call_back(relay, "response", "Acknowledge", page=page)
        assert (relay.entry().acknowledged_by, heard(relay)) == ("jdoe", (False, True, True))

    def test_fallback_is_told_although_xmatters_cannot_be_asked(self) -> None:
        tenant = Tenant()
        relay = watched({}, tenant=tenant)
        relay.play("critical 15")
        relay = relay.with_rest(FakeSession(samples.refused(503)))
        relay.sweep_for(420, step=30)
        assert told(relay) == ["nobody_notified"]
        assert "upstream" in {line.get("reason") for line in relay.recorder.lines()}, "the failure is in the log"


class TestToldAtOnce:
    """xMatters says that it notifies nobody else: the fallback topic is told in the sweeper's next run."""

    ANSWER: ClassVar[dict[str, Any]] = {"notified_within_seconds": 0, "answered_within_seconds": 900}

    @pytest.mark.parametrize(
        ("policy", "calls", "steps"),
        [
            (BOTH, [("failure", "")], ["nobody_notified"]),
            (BOTH, [("delivery", "Delivered"), ("failure", "")], ["nobody_answered"]),
            (ANSWER, [("failure", "")], ["nobody_notified"]),
            (BOTH, [("failure", ""), ("response", "Acknowledge")], []),
            (BOTH, [("failure", ""), ("delivery", "Delivered")], []),
            (BOTH, [("delivery", "Failed")], []),
            (BOTH, [("escalation", "")], []),
            (BOTH, [("status", "terminated")], []),
            ({"notified_within_seconds": 300}, [("delivery", "Delivered"), ("failure", "")], []),
            ({}, [("failure", "")], []),
        ],
    )
    def test_failed_recipient_is_told_in_the_next_run(
        self, policy: dict[str, Any], calls: list[tuple[str, str]], steps: list[str]
    ) -> None:
        relay = watched(policy)
        relay.play("critical 20")
        for kind, text in calls:
            call_back(relay, kind, text)
        relay.sweep(20)
        assert told(relay) == steps

    @pytest.mark.parametrize(
        ("audits", "text", "policy", "steps", "questions"),
        [
            ([], "terminated", {}, ["nobody_notified"], 1),
            (["DELIVERED"], "terminated_external", BOTH, ["nobody_answered"], 1),
            (["DELIVERED", "Escalate"], "terminated", BOTH, ["nobody_answered"], 1),
            (["DELIVERED", "Acknowledge"], "terminated", BOTH, [], 1),
            (["DELIVERED"], "terminated", {}, [], 1),
            ([], "suspended", {}, [], 0),
        ],
    )
    def test_page_that_ended_without_an_answer_is_told_in_the_next_run(
        self, audits: list[str], text: str, policy: dict[str, Any], steps: list[str], questions: int
    ) -> None:
        tenant = Tenant()
        tenant.audits["page-1"] = audits
        relay = watched(policy, tenant=tenant)
        relay.play("critical 15")
        call_back(relay, "status", text)
        relay.wake(15)
        relay.sweep(30)
        assert (told(relay), len(tenant.audited)) == (steps, questions)

    def test_answer_that_ends_its_page_costs_no_question_although_it_comes_after_the_end(self) -> None:
        tenant = Tenant()
        relay = watched(BOTH, tenant=tenant)
        relay.play("critical 15")
        call_back(relay, "status", "terminated")
        call_back(relay, "response", "Acknowledge")
        relay.sweep_for(1800, step=15)
        assert (told(relay), tenant.audited) == ([], [])

    @pytest.mark.parametrize("kind", ["failure", "status"])
    @pytest.mark.parametrize(("page", "steps"), [("page-1", []), ("page-2", ["nobody_notified"]), ("page-9", [])])
    def test_only_the_newest_page_of_the_critical_counts(self, kind: str, page: str, steps: list[str]) -> None:
        relay = watched(BOTH, tenant=Tenant())
        relay.play("warning 15 critical 15")
        call_back(relay, kind, "terminated", page=page)
        relay.wake(15)
        relay.sweep(30)
        assert told(relay) == steps

    @pytest.mark.parametrize("events", ["warning 5 critical", "critical 5 ok 5 critical", "critical 5 warning"])
    def test_without_the_rest_api_a_failure_counts_for_the_only_signal_alone(self, events: str) -> None:
        relay = watched(BOTH)
        relay.play(f"{events} 5")
        call_back(relay, "failure", "")
        relay.sweep(30)
        is_only = events.startswith("critical 5 ok")
        assert told(relay) == (["nobody_notified"] if is_only else [])

    def test_failure_of_an_older_page_says_nothing_of_a_critical_whose_signal_has_no_id(self) -> None:
        relay = watched(BOTH)
        relay.play("warning 5")
        relay.session.steps = [HttpAnswer(202, {}, b"{}")]
        relay.play("critical 5")
        call_back(relay, "failure", "")
        relay.sweep(30)
        assert (told(relay), heard(relay)) == ([], (True, False, False))

    @pytest.mark.parametrize("has_rest", [True, False])
    @pytest.mark.parametrize(
        ("failed", "steps"),
        [
            (["Ops", "Dba"], ["nobody_notified"]),
            (["Dba", "Dba", "Ops"], ["nobody_notified"]),
            (["ops", "DBA"], ["nobody_notified"]),
            (["Ops", "Ops"], []),
            (["Ops", "jdoe"], []),
        ],
    )
    @pytest.mark.parametrize("in_url", ["", "&recipients=Ops"], ids=["all in the secret", "one in the trigger's URL"])
    def test_it_is_told_in_the_next_run_once_each_recipient_failed(
        self, failed: list[str], steps: list[str], *, has_rest: bool, in_url: str
    ) -> None:
        tenant = Tenant()
        names = ("Dba",) if in_url else ("Ops", "Dba")
        relay = watched(BOTH, recipients=names, in_url=in_url, tenant=tenant if has_rest else None)
        relay.play("critical 15")
        for person in failed:
            call_back(relay, "failure", "", person=person)
        assert len(tenant.audited) == (1 if has_rest and steps else 0)
        relay.wake(15)
        relay.sweep(30)
        assert told(relay) == steps

    @pytest.mark.parametrize("has_rest", [True, False])
    def test_it_is_told_once_and_written_once_whatever_comes_again(self, has_rest: bool) -> None:
        tenant = Tenant() if has_rest else None
        relay = watched(BOTH, tenant=tenant)
        relay.play("critical 15")
        call_back(relay, "failure", "")
        written = relay.entry().sequence
        call_back(relay, "failure", "")
        assert relay.entry().sequence == written
        relay.sweep(30)
        call_back(relay, "failure", "again")
        relay.sweep_for(1800, step=30)
        assert (told(relay), relay.dynamodb.indexed()) == (["nobody_notified"], [])
        assert tenant is None or tenant.audited == ["page-1"]

    def test_page_that_ends_before_a_follow_up_finds_it_is_told_once_it_is_found(self) -> None:
        relay = watched(BOTH, tenant=Tenant())
        relay.play("critical")
        jobs, relay.retries.messages = relay.retries.messages, []
        call_back(relay, "status", "terminated")
        relay.wake(30)
        relay.sweep(30)
        assert told(relay) == []
        relay.retries.messages = jobs
        relay.wake(15)
        relay.sweep_for(60, step=15)
        assert told(relay) == ["nobody_notified"]


class TestAnswersInBigPanda:
    """A channel with BigPanda's key: shortly before a step is late, BigPanda is asked if a person answered there."""

    SINCE = 1_800_000_001

    def channel(self, *activities: HttpAnswer | dict[str, Any], tenant: Tenant | None = None, **access: Any) -> Relay:
        """Return a relay with a critical of SINCE, and with these activities in BigPanda, the newest first."""
        relay = watched({"answered_within_seconds": 900, "notified_within_seconds": 0}, tenant=tenant)
        document = json.loads(str(relay.secrets.texts["noc"]))
        document["bigpanda"] = {"api_key": "BPU1", "automations": ["servicenow"], **access}
        if not tenant:
            del document["xmatters"]["callback"]
        step = activities[0] if activities and isinstance(activities[0], HttpAnswer) else listing(*activities)
        relay = replace(relay, secrets=FakeSecrets(noc=json.dumps(document)), bigpanda=FakeSession(step))
        if tenant:
            tenant.now = relay.clock
        relay.play("critical")
        return relay

    @pytest.mark.parametrize("has_answered", [True, False])
    def test_bigpanda_is_asked_before_it_is_told_at_once_that_nobody_is_left(self, has_answered: bool) -> None:
        activities = [acted(type="incident_commented")] if has_answered else []
        relay = self.channel(*activities, tenant=Tenant())
        relay.clock.now += 15
        call_back(relay, "failure", "")
        relay.sweep(30)
        assert told(relay) == ([] if has_answered else ["nobody_notified"])
        assert len(relay.bigpanda.calls) == 1

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

    def test_first_answer_counts(self) -> None:
        relay = self.channel(
            acted(timestamp=self.SINCE + 90, created_by="zoe"), acted(timestamp=self.SINCE + 60, created_by="bob")
        )
        relay.sweep_for(1800, step=30)
        receipt = relay.entry().receipt
        assert (receipt.answered_by, receipt.answered_at) == ("BigPanda user bob", self.SINCE + 60)

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

    def test_bigpanda_is_asked_although_xmatters_cannot_be(self) -> None:
        tenant = Tenant()
        relay = self.channel(acted(), tenant=tenant)
        relay.wake(15)
        relay = relay.with_rest(FakeSession(samples.refused(503)))
        relay.sweep_for(1800, step=30)
        assert (told(relay), relay.entry().receipt.answered_by) == ([], "BigPanda user anna")

    def test_bigpanda_is_not_asked_about_what_was_answered_in_xmatters(self) -> None:
        tenant = Tenant()
        tenant.audits["page-1"] = ["Acknowledge"]
        relay = self.channel(tenant=tenant)
        relay.sweep_for(1800, step=30)
        assert (told(relay), relay.bigpanda.calls, relay.entry().receipt.answered_by) == ([], [], "jdoe")

    def test_callback_about_a_delivery_is_no_occasion_to_ask_bigpanda(self) -> None:
        tenant = Tenant()
        relay = self.channel(acted(), tenant=tenant)
        relay.wake(15)
        call_back(relay, "delivery", "Delivered")
        assert (tenant.audited, relay.bigpanda.calls) == (["page-1"], [])


def acted(**members: Any) -> dict[str, Any]:
    """Return an activity of BigPanda: a comment of the user `anna`, a minute after the critical, with other members."""
    at = TestAnswersInBigPanda.SINCE + 60
    activity = {"id": "1", "type": "incident_commented", "timestamp": at, "created_by": "anna", "params": {}}
    return {name: value for name, value in (activity | members).items() if value is not None}


def listing(*activities: HttpAnswer | dict[str, Any]) -> HttpAnswer:
    """Return BigPanda's answer with these activities."""
    return HttpAnswer(200, {}, json.dumps(activities).encode())


@pytest.mark.parametrize("key", ["notified_within_seconds", "answered_within_seconds"])
@pytest.mark.parametrize(("seconds", "xmatters"), [(59, {"callback": {"token": "t"}}), (60, {})])
def test_time_that_is_too_short_or_that_nothing_can_prove_is_refused(
    key: str, seconds: int, xmatters: dict[str, Any]
) -> None:
    document = samples.secret(policy={key: seconds})
    document["xmatters"] |= xmatters
    with pytest.raises(InvalidChannel, match=key):
        samples.parsed(document)

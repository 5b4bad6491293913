"""Watch over recipients: people are told by name of recipients whom xMatters would not notify.

The relay is the real one, over fakes of xMatters and AWS.
"""

import json
from typing import Any

import pytest

from tests import samples
from tests.fakes import Relay, slow
from tests.unit.xmatters_tenant import Tenant, new_relay

DOWN = samples.refused(503)

NOTICE = "arn:aws:sns:eu-central-1:000000000000:notices"
HOUR = 3600.0
# An absence that is on at the clock's time, 15 January 2027.
ABSENCE = {"start": "2027-01-01T00:00:00.000Z", "end": "2027-02-01T00:00:00.000+0000"}


@pytest.fixture
def company() -> Tenant:
    tenant = Tenant()
    tenant.status |= {"anna": "ACTIVE", "Ops": "ACTIVE"}
    tenant.on_call = {"Ops": 1}
    return tenant


def watched(company: Tenant, *recipients: str, **policy: Any) -> Relay:
    return new_relay(company, policy=policy, xmatters={"recipients": list(recipients)}, notice_topic_arn=NOTICE)


def messages(relay: Relay) -> list[str]:
    """Return the lines about recipients, without those that are the same in each message, of all messages."""
    texts = (json.loads(each["Message"])["default"] for each in relay.sns.published)
    return [line for text in texts for line in text.splitlines() if line.startswith("- ")]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, []),
        ({"status": {"jdoe": "INACTIVE", "Ops": "ACTIVE"}}, ['- "jdoe": user, inactive']),
        ({"status": {"jdoe": "INACTIVE", "Ops": "ACTIVE"}, "devices": {"jdoe": []}}, ['- "jdoe": user, inactive']),
        ({"status": {"Ops": "ACTIVE"}}, ['- "jdoe": no user and no group of that name']),
        ({"status": {"jdoe": "ACTIVE", "Ops": "INACTIVE"}}, ['- "Ops": group, inactive']),
        ({"on_call": {}}, ['- "Ops": group, nobody is on call']),
        ({"devices": {"jdoe": [{"status": "INACTIVE"}]}}, ['- "jdoe": without an active device']),
        ({"devices": {"jdoe": [{"status": "INACTIVE"}, {"status": "ACTIVE"}]}}, []),
        ({"absences": [{}]}, ['- "jdoe": absent, without a replacement']),
        ({"absences": [{"includeDirectNotifications": False}]}, []),
        ({"absences": [{"group": {"id": "g"}}]}, []),
        ({"absences": [{"replacement": {"id": "id-anna"}}]}, []),
        ({"absences": [{"end": "2027-01-02T00:00:00Z"}]}, []),
        ({"absences": [{"end": None}]}, []),
        ({"replies": {"devices": DOWN}, "absences": [{}]}, ['- "jdoe": absent, without a replacement']),
        ({"replies": {"absences": DOWN}, "on_call": {}}, ['- "Ops": group, nobody is on call']),
        ({"replies": {"people": DOWN}}, []),
        ({"replies": {"groups": DOWN}, "absences": [{}]}, []),
    ],
)
def test_people_are_told_of_recipients_whom_xmatters_would_not_notify(
    change: dict[str, Any], told: list[str], company: Tenant
) -> None:
    for name, value in change.items():
        absences = name == "absences"
        setattr(
            company, name, [ABSENCE | {"member": {"id": "id-jdoe"}} | each for each in value] if absences else value
        )
    relay = watched(company, "jdoe|Work Phone", "Ops")
    relay.sweep_for(300)
    assert [line.replace("|Work Phone", "") for line in messages(relay)] == told
    assert {each["TopicArn"] for each in relay.sns.published} <= {NOTICE}
    assert "crash" not in relay.recorder.metrics()


@pytest.mark.parametrize("has_channel", [True, False])
def test_stack_without_channels_or_with_one_that_names_no_recipients_has_nobody_to_check(
    has_channel: bool, company: Tenant
) -> None:
    relay = watched(company)
    relay.secrets.texts = relay.secrets.texts if has_channel else {}
    relay.sweep_for(300)
    assert (messages(relay), relay.recorder.metrics().get("crash")) == ([], None)


def test_people_are_told_of_further_recipients_whom_xmatters_would_not_notify(company: Tenant) -> None:
    relay = watched(company, "Ops", answered_within_seconds=300, unanswered_recipients=["Boss"])
    relay.sweep_for(300)
    assert messages(relay) == ['- "Boss": no user and no group of that name']


def test_people_are_told_once_until_another_recipient_is_found(company: Tenant) -> None:
    company.on_call = {}
    relay = watched(company, "Ops", "jdoe")
    relay.sweep_for(9 * 24 * HOUR, step=HOUR)
    assert len(messages(relay)) == 1
    company.status["jdoe"] = "INACTIVE"
    relay.sweep_for(2 * HOUR)
    assert messages(relay)[1:] == ['- "Ops": group, nobody is on call', '- "jdoe": user, inactive']


@pytest.mark.parametrize("status", [401, 429, 503])
def test_people_are_not_told_again_because_a_check_had_no_answer(status: int, company: Tenant) -> None:
    company.on_call, company.status["jdoe"] = {}, "INACTIVE"
    relay = watched(company, "Ops", "jdoe")
    relay.sweep_for(25 * HOUR, step=600)
    relay.rest.steps = [samples.refused(status)]
    relay.sweep_for(2 * HOUR)
    relay.rest.steps = [company.rest]
    relay.sweep_for(2 * HOUR)
    assert [each["Subject"] for each in relay.sns.published if "would not notify" in each["Subject"]] == [
        "Channel noc: xMatters would not notify 2 recipient(s)"
    ]


def test_check_has_few_recipients_and_all_have_their_turn(company: Tenant) -> None:
    names = [f"user{number:02}" for number in range(25)]
    relay = watched(company, *names)
    for expected in (10, 20, 30):
        relay.sweep_for(HOUR)
        assert len([path for path in company.paths if path.startswith("people/")]) == expected
    relay.sweep_for(30 * HOUR, step=600)
    assert sorted(set(messages(relay))) == [f'- "{name}": no user and no group of that name' for name in names]
    assert len(messages(relay)) < 40


def test_all_recipients_have_their_turn_although_a_check_comes_only_every_other_hour(company: Tenant) -> None:
    relay = watched(company, *(f"user{number:02}" for number in range(20)))
    for number in range(6):
        relay.clock.now += 7200
        if number == 1:
            relay.secrets.texts["new"] = json.dumps(samples.secret())
        relay.sweep_for(120)
    assert len({path for path in company.paths if path.startswith("people/")}) == 20
    assert "crash" not in relay.recorder.metrics()


def test_check_of_ten_groups_ends_although_each_answer_takes_a_third_of_a_second(company: Tenant) -> None:
    names = [f"Team {number}" for number in range(10)]
    company.status, company.on_call = dict.fromkeys(names, "ACTIVE"), dict.fromkeys(names[1:], 1)
    relay = watched(company, *names)
    relay.rest.steps = [slow(relay.clock, 0.3, company.rest)]
    relay.sweep_for(300)
    assert messages(relay) == ['- "Team 0": group, nobody is on call']

from typing import Any

import pytest

from relay.channels.policy import PRIORITIES, FlapRule, Policy
from relay.incidents.own_body import BodyRule
from relay.incidents.transition import PRESETS, State, Transition
from tests import samples


def test_empty_policy_has_the_documented_defaults() -> None:
    assert Policy.of({}) == Policy()
    assert Policy() == Policy(
        notify_on=PRESETS["parity"],
        min_seconds_between_signals=15,
        max_per_minute=60,
        max_per_minute_per_recipients=None,
        max_age_seconds=6 * 3600,
        fallback_after_seconds=300,
        expect_share_every=None,
    )


@pytest.mark.parametrize(
    ("members", "chosen"),
    [
        ({"preset": "parity"}, PRESETS["parity"]),
        ({"preset": "oncall"}, PRESETS["oncall"]),
        ({"notify_on": ["grew", "opened"]}, {Transition.GREW, Transition.OPENED}),
        ({"preset": "oncall", "notify_on": ["eased"]}, {Transition.EASED}),
        ({"notify_on": []}, set()),
    ],
    ids=lambda value: ", ".join(sorted(value)) or "nothing",
)
def test_notify_on_is_a_preset_or_a_list_that_overrides_it(members: dict[str, Any], chosen: set[Transition]) -> None:
    assert Policy.of(members).notify_on == chosen


NUMBERS = {
    "min_seconds_between_signals": 0,
    "max_per_minute": 30,
    "max_per_minute_per_recipients": 4,
    "max_age_seconds": 60,
    "fallback_after_seconds": 0.5,
    "expect_share_every": 7200,
}


def test_numbers_of_a_policy_are_taken_as_given_zero_included() -> None:
    policy = Policy.of(NUMBERS)
    assert {name: getattr(policy, name) for name in NUMBERS} == NUMBERS


def test_rule_for_flaps_is_none_unless_the_policy_has_one() -> None:
    assert Policy.of({}).flap is None
    assert Policy.of({"flap": {"transitions": 4, "minutes": 0.5}}).flap == FlapRule(4, 0.5)


def test_own_body_has_its_rules_from_the_policy() -> None:
    assert Policy.of({"body": "xmatters"}).own_body == BodyRule()
    changed = {"max_property_length": 300, "properties": {"team": "payments"}}
    assert Policy.of({"body": "xmatters", **changed}).own_body == BodyRule(300, (("team", "payments"),))
    assert Policy.of(changed).own_body is None


@pytest.mark.parametrize(
    ("members", "priority"),
    [
        ({"status": "critical"}, "HIGH"),
        ({"status": "warning"}, "LOW"),
        ({"status": None}, "MEDIUM"),
        ({"status": "strange"}, "MEDIUM"),
        ({"status": "critical", "active": False}, "LOW"),
    ],
)
def test_priority_follows_the_status_as_the_policy_says(members: dict[str, Any], priority: str) -> None:
    policy = Policy.of({"priorities": {"warning": "LOW"}})
    assert policy.priorities == {**PRIORITIES, "warning": "LOW"}
    assert policy.priority_of(State.of(samples.share(**members), 0.0)) == priority


def test_policy_of_a_channel_is_read_from_its_secret() -> None:
    policy = {"preset": "oncall", "body": "bigpanda", **NUMBERS}
    assert samples.parsed(samples.secret(policy=policy)).policy == Policy.of(policy)
    assert samples.parsed(samples.secret()).policy == Policy()

"""Pauses of a channel: which one applies, to which incidents, and the time from which a state's age counts."""

import json
from typing import Any

import pytest

from relay.channels.parsing import parse_channel
from relay.channels.pause import Pause, active_pause, age_start, pauses_for
from relay.failures.errors import InvalidChannel
from relay.incidents.share import parse_share
from tests import samples
from tests.fakes import HOSTS

NOON, ONE, TWO = "2027-01-15T12:00:00Z", "2027-01-15T13:00:00Z", "2027-01-15T14:00:00Z"
AT_NOON = 1_800_014_400.0
HOUR = 3600.0


def pause(since: str = NOON, until: str = ONE, then: str = "keep", **members: Any) -> Pause:
    return Pause.of({"since": since, "until": until, "then": then, **members})


def test_pause_is_active_from_its_start_until_its_end() -> None:
    assert pause().since == AT_NOON
    moments = (AT_NOON - 1, AT_NOON, AT_NOON + HOUR - 1, AT_NOON + HOUR)
    assert [active_pause([pause()], moment) is not None for moment in moments] == [False, True, True, False]


def test_of_two_active_pauses_the_one_that_keeps_applies_and_then_the_longer_one() -> None:
    kept, dropped, longer = pause(), pause(until=TWO, then="drop"), pause(until=TWO)
    assert active_pause([dropped, kept], AT_NOON) == kept
    assert active_pause([kept, longer], AT_NOON) == longer


def test_pause_with_conditions_applies_to_the_incidents_that_meet_them_all() -> None:
    share = parse_share(samples.body(status="critical", severity="critical"))
    both = pause(when={"status": "crit*", "severity": ["warning", "critical"]})
    assert pauses_for(share, [both, pause(), pause(when={"status": "warning"})], is_open=True) == (both, pause())


def test_pause_whose_conditions_cost_too_much_does_not_apply() -> None:
    share = parse_share(samples.body(tags={"host": [f"{number}{'a' * 2000}" for number in range(900)]}))
    fitting, costly = (
        pause(when={"tag.host": [*many, "9*"]}) for many in ((), [f"*b{'a*' * 90}{n}" for n in range(50)])
    )
    assert pauses_for(share, [fitting, costly], is_open=True) == (fitting,)


@pytest.mark.parametrize(
    ("pauses", "start"),
    [
        ([], AT_NOON),
        ([pause()], AT_NOON + HOUR),
        ([pause(), pause(ONE, TWO)], AT_NOON + 2 * HOUR),
        # Only the end of the first pause brings the second one within the state's age.
        (
            [pause("2027-01-15T18:30:00Z", "2027-01-15T22:00:00Z"), pause(until="2027-01-15T18:00:00Z")],
            AT_NOON + 10 * HOUR,
        ),
        # It had expired before the second pause began.
        ([pause("2027-01-15T20:00:00Z", "2027-01-15T21:00:00Z")], AT_NOON),
        ([pause("2027-01-15T10:00:00Z", "2027-01-15T11:00:00Z")], AT_NOON),
    ],
    ids=["no pause", "one", "two in a row", "two, stored in another order", "after its age", "before it came"],
)
def test_age_counts_from_the_end_of_a_pause(pauses: list[Pause], start: float) -> None:
    assert age_start(pauses, AT_NOON, 6 * HOUR) == start


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        ({"since": NOON, "until": "soon", "then": "keep"}, "policy.pauses.0.until: must be an ISO 8601 time"),
        ({"since": ONE, "until": NOON, "then": "keep"}, "policy.pauses.0.until: must not be before since"),
        ({"since": NOON, "until": ONE}, "policy.pauses.0: needs then"),
        ({"since": NOON, "until": ONE, "then": "wait"}, "policy.pauses.0.then: must be one of keep, drop"),
        ({"since": NOON, "until": ONE, "then": "keep", "when": {}}, "policy.pauses.0.when"),
        (
            {"since": NOON, "until": ONE, "then": "keep", "when": {"team": "a"}},
            "policy.pauses.0.when: unknown key team",
        ),
    ],
)
def test_invalid_pause_is_refused_with_its_key(members: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidChannel) as caught:
        parse_channel("noc", json.dumps(samples.secret(policy={"pauses": [members]})), HOSTS)
    assert str(caught.value).startswith(complaint)

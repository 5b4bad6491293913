"""Memory of a flapping incident: which changes count, when a flap begins, and when the incident is calm."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from relay.channels.policy import FlapRule
from relay.incidents.transition import State
from relay.ledger.entry import Flap
from tests.unit.states import NOW, over, state

RULE = FlapRule(3, 10)
TEN_MINUTES = 600.0


def seen(states: Iterable[State], rule: FlapRule = RULE) -> Flap:
    """Return the memory after these states came, one after the other."""
    flap, before = Flap(), None
    for each in states:
        flap, before = flap.after_state(before, each, rule, is_flagged=False), each
    return flap


def test_incident_flaps_after_as_many_changes_as_the_policy_says() -> None:
    states = [state(0), over(10), state(20), over(30)]
    assert seen(states[:3]).calm_at == 0
    assert seen(states).calm_at == NOW + 30 + TEN_MINUTES


def test_changes_that_are_too_far_apart_are_no_flap() -> None:
    assert seen([state(0), over(10), state(20), over(10 + TEN_MINUTES)]).calm_at == 0


def test_incident_that_was_calm_begins_anew() -> None:
    flap = seen([state(0), over(10), state(20), over(30)]).announcing()
    after = flap.after_state(over(30), state(31 + TEN_MINUTES), RULE, is_flagged=False)
    assert (after.calm_at, after.is_signalled, len(after.changes)) == (0, False, 1)


def test_flag_of_bigpanda_is_enough_while_the_incident_is_open() -> None:
    assert Flap().after_state(None, state(), RULE, is_flagged=True).calm_at == NOW + TEN_MINUTES
    assert Flap().after_state(state(), over(9), RULE, is_flagged=True).calm_at == 0


def test_signal_before_a_flap_announces_no_flap() -> None:
    assert not seen([state(0), over(10)]).announcing().is_signalled


@given(st.lists(st.tuples(st.floats(0.1, 400), st.booleans()), max_size=60), st.integers(2, 20))
def test_memory_holds_no_more_changes_than_the_policy_names(steps: list[tuple[float, bool]], transitions: int) -> None:
    came, states = 0.0, []
    for seconds, is_open in steps:
        came += seconds
        states.append(state(came) if is_open else over(came))
    flap = seen(states, FlapRule(transitions, 10))
    assert len(flap.changes) <= transitions
    assert list(flap.changes) == sorted(flap.changes)

"""The oracle: the rules of what is owed and which state is newer, independent of the relay's code."""

from collections.abc import Iterable, Mapping

from tests.simulation.story import RANKS, SharedState
from tests.simulation.world import BEGINS_AT

# The largest difference of two functions' clocks, and a margin: arrivals and dead letters have a function's time.
CLOCKS_DIFFER = 0.7
PARITY = {"opened", "worsened", "eased", "resolved", "reopened"}
ONCALL = {"opened", "worsened", "resolved", "reopened"}


def wanted(policy: Mapping[str, object]) -> set[str]:
    """Return the transitions that a policy announces."""
    if isinstance(chosen := policy.get("notify_on"), list):
        return set(chosen)
    return PARITY if policy["preset"] == "parity" else ONCALL


def changed(told: SharedState | None, now: SharedState) -> str:
    """Return the transition from the announced state `told` to `now`."""
    was_open = told is not None and told.is_open
    if now.is_open and not was_open:
        return "opened" if told is None else "reopened"
    if was_open and not now.is_open:
        return "resolved"
    if told is None or not now.is_open:
        return "touched"
    before, after = RANKS[told.status], RANKS[now.status]
    if after != before:
        return "worsened" if after > before else "eased"
    return "grew" if now.alerts - told.alerts else "touched"


def surely_newer(one: SharedState, other: SharedState) -> bool:
    """Return True if `one` is newer than `other` beyond doubt."""
    if one.version is not None and other.version is not None and one.version != other.version:
        return one.version > other.version
    if one.tells_the_same(other):
        return False
    if not (one.arrivals and other.answered):
        return False
    # A share for our own comment shows the state of the second in which the comment was written.
    if one.is_comment and one.version is not None:
        return False
    if other.has_wrong_stamps and one.version is not None and one.version[0] < BEGINS_AT + other.at:
        # By its timestamps it may be older than states that the relay knew when the other one came.
        return False
    if one.has_wrong_stamps != other.has_wrong_stamps and one.at < other.at:
        # The relay may derive the order from other states' time stamps.
        return False
    # Only arrivals order them. A repeated state may be a copy, or the incident may be in that state again.
    return min(one.arrivals) > max([*other.arrivals, *other.answered]) + CLOCKS_DIFFER


def newest(states: Iterable[SharedState]) -> list[SharedState]:
    """Return the states that are not surely older than another."""
    there = list(states)
    return [state for state in there if not any(surely_newer(other, state) for other in there)]

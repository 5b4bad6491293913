import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.failures.reasons import HANDLING, LONGEST_WAIT_SECONDS, Reason
from relay.jobs.backoff import wait_seconds

CONSTANT = [reason for reason in Reason if HANDLING[reason].constant_wait_seconds is not None]
JITTERED = [reason for reason in Reason if HANDLING[reason].constant_wait_seconds is None]


def test_backoff_is_at_most_the_age_within_half_a_minute_and_fifteen_minutes() -> None:
    longest = [wait_seconds(Reason.UPSTREAM, age, None, 1.0) for age in (-5, 0, 30, 61, 480, 901, 1e6)]
    assert longest == [30, 30, 30, 61, 480, 900, 900]


def test_critical_that_surely_did_not_notify_is_retried_within_a_minute_however_long_it_failed() -> None:
    longest = [wait_seconds(Reason.UPSTREAM, age, None, 1.0, is_critical=True) for age in (0, 59, 3600)]
    assert longest == [30, 59, 60]
    assert wait_seconds(Reason.UPSTREAM, 3600, None, 1.0, is_critical=True, may_have_acted=True) == 900


@pytest.mark.parametrize("reason", [Reason.UPSTREAM, Reason.UNREACHABLE, Reason.RATE_LIMITED, Reason.INTERNAL])
def test_backoff_has_full_jitter(reason: Reason) -> None:
    assert [wait_seconds(reason, 60, None, chance) for chance in (0.0, 0.25, 1.0)] == [0, 15, 60]


@pytest.mark.parametrize("reason", [Reason.TIMEOUT, Reason.UPSTREAM, Reason.UNREACHABLE, Reason.INTERNAL])
def test_signal_that_may_have_notified_waits_at_least_half_a_minute(reason: Reason) -> None:
    waits = [wait_seconds(reason, 60, None, chance, may_have_acted=True) for chance in (0.0, 0.25, 1.0)]
    assert waits == [30, 30, 60]


def test_refused_credentials_are_retried_every_five_minutes() -> None:
    assert CONSTANT == [Reason.CREDENTIALS]
    assert {wait_seconds(Reason.CREDENTIALS, age, 7, chance) for age in (0, 9000) for chance in (0.0, 1.0)} == {300}


def test_retry_after_is_honoured_up_to_the_longest_wait() -> None:
    assert wait_seconds(Reason.RATE_LIMITED, 0, 77, 0.0) == 77
    assert wait_seconds(Reason.RATE_LIMITED, 240, 77, 1.0) == 240
    assert wait_seconds(Reason.RATE_LIMITED, 0, 86_400, 0.0) == LONGEST_WAIT_SECONDS
    assert wait_seconds(Reason.TIMEOUT, 0, 5, 0.0, may_have_acted=True) == 30


@given(
    st.sampled_from(Reason),
    st.floats(-1e6, 1e9),
    st.none() | st.floats(-1e9, 1e9),
    st.floats(0, 1),
    st.booleans(),
)
def test_backoff_is_never_longer_than_the_delay_of_a_message(
    reason: Reason, age: float, retry_after: float | None, chance: float, may_have_acted: bool
) -> None:
    assert 0 <= wait_seconds(reason, age, retry_after, chance, may_have_acted=may_have_acted) <= 900


@given(st.sampled_from(JITTERED), st.floats(0, 1e6), st.floats(0, 1))
def test_backoff_never_shrinks_with_age_at_equal_jitter(reason: Reason, age: float, chance: float) -> None:
    assert wait_seconds(reason, age, None, chance) <= wait_seconds(reason, age + 1, None, chance)

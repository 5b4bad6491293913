"""Failures: what each reason means for retries, credentials and dead letters; the waits before retries."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.failures import HANDLING, Reason, is_ambiguous_status, reason_for_status, wait_seconds


def test_every_reason_has_a_handling() -> None:
    assert set(HANDLING) == set(Reason)


@pytest.mark.parametrize(
    ("status", "reason", "is_ambiguous"),
    [
        (301, Reason.UPSTREAM, False),
        (401, Reason.CREDENTIALS, False),
        (403, Reason.CREDENTIALS, False),
        (404, Reason.REFUSED, False),
        (408, Reason.UPSTREAM, False),
        (429, Reason.RATE_LIMITED, False),
        (500, Reason.UPSTREAM, True),
        (502, Reason.UPSTREAM, True),
        (503, Reason.UPSTREAM, False),
        (504, Reason.UPSTREAM, True),
    ],
)
def test_status_of_an_answer_has_its_reason(status: int, reason: Reason, is_ambiguous: bool) -> None:
    assert reason_for_status(status) == reason
    assert is_ambiguous_status(status) is is_ambiguous


CRITICAL: dict[str, Any] = {"is_critical": True}
AMBIGUOUS: dict[str, Any] = {"may_have_acted": True}


@pytest.mark.parametrize(
    ("reason", "age", "retry_after", "jitter", "members", "wait"),
    [
        *(("upstream", age, None, 1, {}, wait) for age, wait in [(-5, 30), (30, 30), (61, 61), (901, 900)]),
        *(("upstream", age, None, 1, CRITICAL, wait) for age, wait in [(0, 30), (59, 59), (3600, 60)]),
        ("upstream", 3600, None, 1, CRITICAL | AMBIGUOUS, 900),
        *(("rate_limited", 60, None, jitter, {}, wait) for jitter, wait in [(0, 0), (0.25, 15), (1, 60)]),
        *(("timeout", 60, None, jitter, AMBIGUOUS, wait) for jitter, wait in [(0, 30), (0.25, 30), (1, 60)]),
        *(("credentials", age, 7, jitter, {}, 300) for age in (0, 9000) for jitter in (0, 1)),
        ("rate_limited", 0, 77, 0, {}, 77),
        ("rate_limited", 240, 77, 1, {}, 240),
        ("rate_limited", 0, 86_400, 0, CRITICAL, 900),
        ("timeout", 0, 5, 0, AMBIGUOUS, 30),
    ],
)
def test_wait_of_a_failed_job(
    reason: str, age: float, retry_after: float | None, jitter: float, members: dict[str, Any], wait: float
) -> None:
    assert wait_seconds(Reason(reason), age, retry_after, jitter, **members) == wait


@given(
    st.sampled_from(Reason),
    st.floats(-1e6, 1e9),
    st.none() | st.floats(-1e9, 1e9),
    st.floats(0, 1),
    st.booleans(),
    st.booleans(),
)
def test_wait_fits_the_delay_of_a_message_and_never_shrinks_with_age(
    reason: Reason, age: float, retry_after: float | None, jitter: float, may_have_acted: bool, is_critical: bool
) -> None:
    now, later = (
        wait_seconds(reason, each, retry_after, jitter, may_have_acted=may_have_acted, is_critical=is_critical)
        for each in (age, age + 1)
    )
    assert 0 <= now <= later <= 900

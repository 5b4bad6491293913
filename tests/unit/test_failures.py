"""Failures: what each reason means for retries, credentials, the circuit breaker and dead letters; the exceptions."""

import pytest

from relay.failures import HANDLING, Reason, is_ambiguous_status, reason_for_status


def test_every_reason_has_a_handling() -> None:
    assert set(HANDLING) == set(Reason)


@pytest.mark.parametrize(
    ("status", "reason", "is_ambiguous"),
    [
        (100, Reason.REFUSED, False),
        (301, Reason.REFUSED, False),
        (400, Reason.REFUSED, False),
        (401, Reason.CREDENTIALS, False),
        (403, Reason.CREDENTIALS, False),
        (404, Reason.REFUSED, False),
        (408, Reason.UPSTREAM, False),
        (429, Reason.RATE_LIMITED, False),
        (499, Reason.REFUSED, False),
        (500, Reason.UPSTREAM, True),
        (502, Reason.UPSTREAM, True),
        (503, Reason.UPSTREAM, False),
        (504, Reason.UPSTREAM, True),
        (599, Reason.UPSTREAM, True),
    ],
)
def test_status_of_an_answer_has_its_reason(status: int, reason: Reason, is_ambiguous: bool) -> None:
    assert reason_for_status(status) == reason
    assert is_ambiguous_status(status) is is_ambiguous

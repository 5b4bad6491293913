"""Failures: what each reason means for retries, credentials, the circuit breaker and dead letters; the exceptions."""

import pytest

from relay.failures import HANDLING, Handling, Reason, is_ambiguous_status, reason_for_status


def test_every_reason_has_a_handling() -> None:
    assert set(HANDLING) == set(Reason)


@pytest.mark.parametrize(
    ("member", "reasons"),
    [
        ("retries_inline", {Reason.RATE_LIMITED, Reason.UPSTREAM, Reason.UNREACHABLE}),
        ("renews_credentials", {Reason.CREDENTIALS}),
        ("is_final", {Reason.REFUSED, Reason.EXPIRED, Reason.CHANNEL_REMOVED, Reason.SHADOWED}),
        ("breaks_circuit", {Reason.RATE_LIMITED, Reason.UPSTREAM, Reason.UNREACHABLE, Reason.TIMEOUT}),
    ],
)
def test_handling_holds_for_these_reasons_alone(member: str, reasons: set[Reason]) -> None:
    assert {reason for reason in Reason if getattr(HANDLING[reason], member)} == reasons


def test_refused_credentials_are_renewed_every_five_minutes() -> None:
    assert HANDLING[Reason.CREDENTIALS] == Handling(renews_credentials=True, constant_wait_seconds=300)


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

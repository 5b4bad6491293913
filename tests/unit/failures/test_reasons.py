import pytest

from relay.failures.reasons import HANDLING, Handling, Reason, is_ambiguous_status, reason_for_status


def test_every_reason_has_a_handling() -> None:
    assert set(HANDLING) == set(Reason)


def test_passing_failures_alone_are_retried_inline() -> None:
    assert {reason for reason in Reason if HANDLING[reason].retries_inline} == {
        Reason.RATE_LIMITED,
        Reason.UPSTREAM,
        Reason.UNREACHABLE,
    }


def test_refused_credentials_alone_are_renewed() -> None:
    assert {reason for reason in Reason if HANDLING[reason].renews_credentials} == {Reason.CREDENTIALS}
    assert HANDLING[Reason.CREDENTIALS] == Handling(renews_credentials=True, constant_wait_seconds=300)


def test_lasting_reasons_are_final() -> None:
    final = {Reason.REFUSED, Reason.EXPIRED, Reason.CHANNEL_REMOVED, Reason.SHADOWED}
    assert {reason for reason in Reason if HANDLING[reason].is_final} == final


@pytest.mark.parametrize("status", range(400, 600))
def test_every_5xx_but_503_is_ambiguous(status: int) -> None:
    assert is_ambiguous_status(status) == (status in set(range(500, 600)) - {503})


def test_failures_of_the_channel_open_the_circuit_and_those_of_one_signal_do_not() -> None:
    assert {reason for reason in Reason if HANDLING[reason].breaks_circuit} == {
        Reason.RATE_LIMITED,
        Reason.UPSTREAM,
        Reason.UNREACHABLE,
        Reason.TIMEOUT,
    }


@pytest.mark.parametrize("status", range(100, 600))
def test_every_status_has_the_reason_of_the_table(status: int) -> None:
    exceptions = {
        401: Reason.CREDENTIALS,
        403: Reason.CREDENTIALS,
        408: Reason.UPSTREAM,
        429: Reason.RATE_LIMITED,
    }
    usual = Reason.UPSTREAM if status >= 500 else Reason.REFUSED
    assert reason_for_status(status) == exceptions.get(status, usual)

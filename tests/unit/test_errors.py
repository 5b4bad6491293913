import pytest

from relay import errors
from relay.errors import HANDLING, Handling, Reason, is_ambiguous_status, reason_for_status


def test_every_reason_has_its_handling_and_nothing_else_has() -> None:
    assert set(HANDLING) == set(Reason)


def test_only_failures_that_may_pass_soon_are_tried_again_at_once() -> None:
    assert {reason for reason in Reason if HANDLING[reason].retries_inline} == {
        Reason.RATE_LIMITED,
        Reason.UPSTREAM,
        Reason.UNREACHABLE,
    }


def test_only_refused_credentials_are_renewed() -> None:
    assert {reason for reason in Reason if HANDLING[reason].renew_credentials} == {Reason.CREDENTIALS}
    assert HANDLING[Reason.CREDENTIALS] == Handling(renew_credentials=True, steady=300)


def test_what_can_not_pass_is_final() -> None:
    final = {Reason.REFUSED, Reason.EXPIRED, Reason.CHANNEL_REMOVED}
    assert {reason for reason in Reason if HANDLING[reason].is_final} == final


def test_what_asked_nothing_is_no_try() -> None:
    assert {reason for reason in Reason if not HANDLING[reason].is_attempt} == {
        Reason.CIRCUIT_OPEN,
        Reason.IN_FLIGHT,
        Reason.PACED,
    }


@pytest.mark.parametrize("status", range(400, 600))
def test_every_5xx_but_503_may_have_rung(status: int) -> None:
    assert is_ambiguous_status(status) == (status in set(range(500, 600)) - {503})


def test_the_circuit_opens_for_what_tells_of_the_channel_and_not_of_one_signal() -> None:
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


def test_the_tree_in_the_docstring_is_the_tree_in_the_code() -> None:
    drawn = set((errors.__doc__ or "").split())
    classes = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.RelayError)]
    assert [each.__name__ for each in classes if each.__name__ not in drawn] == []


def test_a_send_error_says_its_reason_first() -> None:
    error = errors.BadAnswer(Reason.UPSTREAM, "HTTP 503", http_status=503)
    assert str(error) == "upstream: HTTP 503"
    assert (error.asked, error.may_have_rung) == (True, False)

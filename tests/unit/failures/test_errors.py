from relay.failures import errors
from relay.failures.reasons import Reason


def test_tree_of_errors_in_the_docstring_is_that_of_the_code() -> None:
    drawn = set((errors.__doc__ or "").split())
    classes = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.RelayError)]
    assert [each.__name__ for each in classes if each.__name__ not in drawn] == []


def test_send_error_begins_with_its_reason() -> None:
    error = errors.BadAnswer(Reason.UPSTREAM, "HTTP 503", http_status=503)
    assert str(error) == "upstream: HTTP 503"
    assert (error.was_sent, error.may_have_acted) == (True, False)

import pytest

from relay.ledger.accepted_signal import AcceptedSignal, Audience, with_signal
from tests.unit.states import NOW, state


def signal(*recipients: str, is_for_one: bool = False) -> AcceptedSignal:
    """Return the signal of a critical state to these recipients."""
    return AcceptedSignal.of(state(), "r1", NOW, Audience(recipients, is_for_one=is_for_one))


class TestRecipients:
    def test_signal_knows_whom_it_notified(self) -> None:
        assert signal("ops", "dba").notified("dba")
        assert not signal("ops", "dba").notified("jdoe")

    @pytest.mark.parametrize(
        ("newer", "older", "reaches"),
        [
            (("ops", "dba"), ("dba",), True),
            (("dba",), ("ops", "dba"), False),
            ((), (), True),
            (("ops",), (), False),
            ((), ("ops",), False),
        ],
    )
    def test_newer_signal_reaches_all_of_an_older_one(
        self, newer: tuple[str, ...], older: tuple[str, ...], reaches: bool
    ) -> None:
        assert signal(*newer).reaches_all_of(signal(*older)) is reaches

    def test_signal_for_the_acknowledger_alone_replaces_no_other(self) -> None:
        assert not signal("jdoe", is_for_one=True).reaches_all_of(signal("jdoe"))


class TestMerged:
    def test_page_that_one_job_found_or_ended_stays_so(self) -> None:
        known, found = signal(), signal()._replace(pages=("u-1",), page_number="1001")
        assert known.merged(found) == found.merged(known) == found
        assert found._replace(is_over=True).merged(found).is_over


class TestWithSignal:
    def test_signals_are_in_the_order_of_their_claims(self) -> None:
        late, early = AcceptedSignal("r2", NOW + 5, is_open=True), AcceptedSignal("r1", NOW, is_open=True)
        assert with_signal((late,), early) == (early, late)

    def test_signal_that_is_known_stays_as_it_is(self) -> None:
        known = AcceptedSignal("r1", NOW, is_open=True, pages=("u-1",))
        assert with_signal((known,), AcceptedSignal("r1", NOW + 5, is_open=True)) == (known,)

"""End: what a resolve claims, and what BigPanda's answers make of it."""

from relay.ledger.entry import Entry
from relay.ledger.incident_end import End
from tests.unit.states import NOW, over, state

STAMPS = (NOW, NOW)


def claimed(version: tuple[float, float] | None = STAMPS) -> End:
    """Return the end of an incident of which a resolve came at NOW."""
    return End().claimed(NOW, version)


class TestClaim:
    def test_resolve_that_comes_soon_after_another_is_part_of_its_claim(self) -> None:
        later = (NOW + 30, NOW + 30)
        assert claimed().claimed(NOW + 30, later) == End(claimed_at=NOW, version=later)
        assert not claimed().begins_claim(NOW + 30)

    def test_resolve_is_asked_about_anew_after_a_while(self) -> None:
        assert claimed().begins_claim(NOW + 120)

    def test_resolve_without_timestamps_gets_those_of_its_arrival(self) -> None:
        assert claimed(None).version == STAMPS

    def test_silence_of_an_earlier_claim_does_not_count(self) -> None:
        assert End(silent_since=NOW).claimed(NOW + 900, STAMPS).silent_since == 0


class TestAnsweredOpen:
    def test_answer_before_a_minute_only_ends_the_silence(self) -> None:
        silent = claimed()._replace(silent_since=NOW + 3)
        assert silent.answered_open(NOW + 60 - 1) == claimed()

    def test_answer_after_a_minute_refutes_the_resolve_and_its_copies(self) -> None:
        refuted = claimed().answered_open(NOW + 60)
        assert not refuted.is_claimed
        assert [refuted.has_refuted(each) for each in (STAMPS, (NOW + 1, NOW), None)] == [True, False, False]

    def test_claim_goes_on_for_a_resolve_that_came_within_the_last_minute(self) -> None:
        end = claimed().claimed(NOW + 50, (NOW + 50, NOW)).answered_open(NOW + 60)
        assert end.claimed_at == NOW, "the question's message goes on with the claim"
        assert not end.answered_open(NOW + 50 + 60).is_claimed


class TestEntry:
    def test_owed_state_waits_for_the_answer_about_a_newer_resolve_alone(self) -> None:
        entry = Entry().owing(state()).claiming(over(5))
        assert entry.claim_hold(state()) == over(5).came + 60
        assert Entry().claiming(over(5)).claim_hold(state(9)) == 0

    def test_hold_of_a_debt_stays_for_newer_states_and_later_claims(self) -> None:
        held = Entry().owing(state()).claiming(over(5)).owing(state(9)).claiming(over(500))
        assert held.claim_hold(state(9)) == over(5).came + 60

    def test_state_without_timestamps_that_came_after_the_resolve_does_not_wait(self) -> None:
        unstamped = state(9)._replace(version=over(5).version, has_borrowed_version=True)
        assert Entry().claiming(over(5)).claim_hold(unstamped) == 0

    def test_newer_resolve_stays_claimed_when_an_older_end_is_recorded(self) -> None:
        entry = Entry().owing(state()).claiming(over(20))
        assert entry.owing(over(9)).end.is_claimed
        assert not entry.owing(over(20)).end.is_claimed

    def test_closed_state_ends_the_claim_and_an_open_one_leaves_it(self) -> None:
        entry = Entry().owing(state()).claiming(over(5))
        assert entry.owing(state(9)).end.is_claimed
        assert not entry.unchanged(over(9)).end.is_claimed
        assert entry.unchanged(over(9)).is_over

from copy import replace

from relay.ledger.incident_end import DISTRUST_SECONDS, End
from tests.unit.states import NOW, announced, over, state


class TestEnd:
    def test_newest_resolve_counts_and_is_not_confirmed(self) -> None:
        end = End().resolved(NOW + 5).resolved(NOW)
        assert (end.at, end.is_confirmed, End().is_confirmed) == (NOW + 5, False, True)

    def test_confirmation_holds_until_the_next_resolve_and_ends_the_doubt(self) -> None:
        end = End(NOW).doubted(NOW + 1).confirmed()
        assert (end, end.is_confirmed) == (End(NOW, NOW, contradicted_at=NOW + 1), True)
        assert not end.resolved(NOW + 5).is_confirmed

    def test_first_answer_that_the_incident_is_open_counts(self) -> None:
        assert End(NOW).doubted(NOW + 1).doubted(NOW + 60).refuted_since == NOW + 1

    def test_refuted_resolve_ends_no_page(self) -> None:
        assert End(NOW, refuted_since=NOW + 1).refuted(NOW + 61) == End(contradicted_at=NOW + 61)

    def test_answers_count_from_the_last_suspected_resolve(self) -> None:
        end = End(refuted_since=NOW).suspected(NOW + 5)
        assert end.doubted(NOW + 60).refuted_since == NOW + 60
        assert not end.doubted(NOW + 60).refuted(NOW + 120).is_suspected

    def test_suspected_resolve_that_came_after_the_first_answer_outlives_a_refutation(self) -> None:
        end = End().suspected(NOW).doubted(NOW + 1).suspected(NOW + 30)
        assert end.refuted(NOW + 61).suspected_at == NOW + 30

    def test_dispute_is_a_first_answer_also_about_a_confirmed_end(self) -> None:
        end = End(NOW).confirmed().disputed(NOW + 60)
        assert (end.is_confirmed, end.refuted_since, end.contradicted_at) == (False, NOW + 60, NOW + 60)
        assert End(NOW).doubted(NOW + 1).disputed(NOW + 60).refuted_since == NOW + 1

    def test_resolves_are_distrusted_for_some_time_after_an_answer_that_contradicts_one(self) -> None:
        end = End(NOW).doubted(NOW + 1)
        assert end.is_distrusted(NOW + DISTRUST_SECONDS)
        assert not end.is_distrusted(NOW + 1 + DISTRUST_SECONDS)
        assert not End().is_distrusted(NOW)


class TestEndOfAnEntry:
    def test_end_is_in_doubt_until_it_is_confirmed_or_the_incident_is_open_again(self) -> None:
        entry = announced(state()).unchanged(over(5))
        assert (entry.is_end_in_doubt, entry.has_live_pages()) == (True, False)
        assert not replace(entry, end=entry.end.confirmed()).is_end_in_doubt
        assert not entry.owing(state(9)).is_end_in_doubt

    def test_open_state_voids_suspected_resolves(self) -> None:
        entry = replace(announced(state()), end=End().suspected(NOW + 5))
        assert entry.is_end_in_doubt
        assert not entry.owing(state(9)).is_end_in_doubt

    def test_resolve_of_an_incident_that_is_known_to_be_over_is_not_suspect(self) -> None:
        entry = announced(state()).unchanged(over(5))
        contradicted = replace(entry, end=entry.end.doubted(NOW + 6))
        assert contradicted.is_resolve_suspect(NOW + 7)
        assert not replace(contradicted, end=contradicted.end.confirmed()).is_resolve_suspect(NOW + 7)

    def test_later_share_of_a_confirmed_end_needs_no_confirmation(self) -> None:
        entry = announced(state()).unchanged(over(5))
        entry = replace(entry, end=entry.end.confirmed()).unchanged(over(9))
        assert (entry.end.at, entry.is_end_in_doubt) == (over(9).came, False)

    def test_doubt_about_an_end_is_void_once_the_incident_is_open_again(self) -> None:
        entry = announced(state()).unchanged(over(5))
        doubted = replace(entry, end=entry.end.doubted(NOW + 6))
        assert doubted.owing(over(9)).end.refuted_since == NOW + 6
        assert doubted.owing(state(9)).end.refuted_since == 0.0

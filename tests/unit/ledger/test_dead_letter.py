from relay.ledger.dead_letter import DeadLetterRecord
from relay.ledger.entry import Entry
from tests.unit.states import NOW, bare, state

MARK = NOW + 60.0


class TestRevival:
    def dead_lettered(self) -> Entry:
        return Entry().owing(state()).dead_lettering(state(), MARK, "refused")

    def test_revived_state_is_owed_and_no_longer_dead_lettered(self) -> None:
        revived = self.dead_lettered().reviving(state(), MARK + 9)
        assert (revived.dead_letter.state, revived.dead_letter.revived_at, revived.debt.since) == (None, MARK + 9, NOW)
        assert revived.newest == bare(state())

    def test_state_that_is_dead_lettered_again_is_not_revived(self) -> None:
        again = self.dead_lettered().reviving(state(), MARK + 9).dead_lettering(state(), MARK + 60, "expired")
        assert again.dead_letter == DeadLetterRecord(bare(state()), MARK + 60, 0.0)
        assert again.debt.reason == "expired"

    def test_dead_letter_that_is_recorded_after_its_revival_changes_nothing(self) -> None:
        revived = Entry().owing(state()).reviving(state(), MARK + 9)
        assert revived.dead_lettering(state(), MARK, "refused") == revived

    def test_mark_of_a_dead_letter_never_goes_back(self) -> None:
        assert self.dead_lettered().dead_lettering(state(), MARK - 9, "refused").dead_letter.at == MARK

    def test_newer_state_clears_the_revival_of_an_older_one(self) -> None:
        assert self.dead_lettered().reviving(state(), MARK + 9).owing(state(5)).dead_letter.revived_at == 0.0

    def test_unchanged_state_clears_the_dead_lettered_one(self) -> None:
        assert self.dead_lettered().unchanged(state()).dead_letter.state is None

from collections.abc import Callable

import pytest

from relay.ledger.dead_letter import DeadLetterRecord
from relay.ledger.entry import Entry
from tests.unit.states import NOW, bare, over, state

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


class TestGivenUp:
    def entry(self) -> Entry:
        return Entry().owing(state()).dead_lettering(state(), MARK, "refused")

    @pytest.mark.parametrize(
        ("change", "is_given_up"),
        [
            (lambda entry: entry, True),
            (lambda entry: entry.notified(), True),
            (lambda entry: entry.dead_lettering(state()._replace(came=NOW + 30), MARK + 9, "expired"), True),
            (lambda entry: entry.reviving(state(), MARK + 9), False),
            (lambda entry: entry.owing(state(5)), False),
            (lambda entry: entry.announcing(state(), "r1", NOW), False),
            (lambda entry: entry.unchanged(over(5)), False),
        ],
        ids=[
            "dead-lettered",
            "notified",
            "dead-lettered again as a later copy",
            "revived",
            "a newer state is owed",
            "announced",
            "over",
        ],
    )
    def test_state_is_given_up_until_it_is_replayed_or_overtaken(
        self, change: Callable[[Entry], Entry], is_given_up: bool
    ) -> None:
        assert change(self.entry()).is_given_up is is_given_up

    def test_drop_takes_only_the_state_whose_message_was_deleted_out_of_the_index(self) -> None:
        assert self.entry().dropped(MARK).debt.row is None
        assert self.entry().dropped(MARK - 1) == self.entry(), "dead-lettered again since"
        assert self.entry().owing(state(5)).dropped(MARK) == self.entry().owing(state(5))

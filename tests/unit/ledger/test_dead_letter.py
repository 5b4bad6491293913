from collections.abc import Callable

import pytest

from relay.ledger.entry import Entry
from tests.unit.states import NOW, bare, over, state

MARK = NOW + 60.0


class TestRevival:
    def dead_lettered(self) -> Entry:
        return Entry().owing(state()).dead_lettering(state(), MARK, "refused", plan=1)

    def test_state_that_is_dead_lettered_again_is_not_revived(self) -> None:
        again = self.dead_lettered().reviving(state(), MARK + 9).dead_lettering(state(), MARK + 60, "expired", plan=1)
        assert (again.is_given_up, again.debt.dead_lettered_at, again.debt.reason) == (True, MARK + 60, "expired")

    def test_dead_letter_that_is_recorded_after_its_revival_changes_nothing(self) -> None:
        revived = Entry().owing(state()).reviving(state(), MARK + 9)
        assert revived.dead_lettering(state(), MARK, "refused", plan=1) == revived

    def test_mark_of_a_dead_letter_never_goes_back(self) -> None:
        assert self.dead_lettered().dead_lettering(state(), MARK - 9, "refused", plan=1).debt.dead_lettered_at == MARK

    def test_newer_state_clears_the_revival_of_an_older_one(self) -> None:
        assert self.dead_lettered().reviving(state(), MARK + 9).owing(state(5)).debt.revived_at == 0.0

    def test_state_that_the_entry_has_not_seen_is_owed_and_dead_lettered(self) -> None:
        entry = Entry(announced=state()).dead_lettering(state(5), MARK, "expired", plan=1)
        assert (entry.newest, entry.is_given_up, entry.debt.is_critical) == (bare(state(5)), True, True)


class TestGivenUp:
    def entry(self) -> Entry:
        return Entry().owing(state()).dead_lettering(state(), MARK, "refused", plan=1)

    @pytest.mark.parametrize(
        ("change", "is_given_up"),
        [
            (lambda entry: entry, True),
            (lambda entry: entry.notified(), True),
            (lambda entry: entry.dead_lettering(state()._replace(came=NOW + 30), MARK + 9, "expired", plan=1), True),
            (lambda entry: entry.reviving(state(), MARK + 9), False),
            (lambda entry: entry.owing(state(5)), False),
            (lambda entry: entry.announcing(state(), "r1", NOW), False),
            (lambda entry: entry.unchanged(state()), False),
            (lambda entry: entry.unchanged(over(5)), False),
        ],
        ids=[
            "dead-lettered",
            "notified",
            "dead-lettered again as a later copy",
            "revived",
            "a newer state is owed",
            "announced",
            "not to be announced",
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

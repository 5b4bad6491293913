"""Health of a channel: the limits that make it sick, and its debts."""

import pytest

from relay.delivery.channel_health import (
    SICK_CRITICAL_SECONDS,
    SICK_SECONDS,
    Debts,
    ShareWatch,
    age,
    momentary_reasons,
    next_attempt,
    ongoing_reasons,
)
from relay.ledger.circuit_breaker import Circuit
from relay.ledger.debt import Debt
from relay.ledger.entry import Entry
from relay.ledger.row import Row
from relay.ledger.wait import Slot

NOW = 1_800_000_000.0


def owed(ago: float = 1.0, reason: str = "", *, is_critical: bool = True) -> Entry:
    """Return an entry that has been owed for `ago` seconds."""
    return Entry(debt=Debt(since=NOW - ago, reason=reason, row=Row(NOW + 180, job="d/1", is_critical=is_critical)))


def dead_lettered(*, is_critical: bool = True) -> Entry:
    return Entry(debt=Debt(since=NOW - 1, row=Row(NOW, is_critical=is_critical), dead_lettered_at=NOW))


def why(*entries: Entry) -> list[str]:
    return ongoing_reasons(Debts.of(entries), None, None, NOW)


class TestLimits:
    def test_critical_makes_the_channel_sick_after_two_minutes(self) -> None:
        assert why(owed(SICK_CRITICAL_SECONDS)) == []
        assert why(owed(SICK_CRITICAL_SECONDS + 1, "upstream")) == ["a critical is owed for 2m (upstream 1)"]

    def test_other_debt_makes_the_channel_sick_after_fifteen_minutes(self) -> None:
        assert why(owed(SICK_SECONDS, is_critical=False)) == []
        assert why(owed(SICK_SECONDS + 1, "timeout", is_critical=False)) == ["owed for 15m (timeout 1)"]

    @pytest.mark.parametrize(
        ("reason", "words"),
        [("credentials", ["xMatters refuses the credentials"]), ("refused", ["xMatters refuses the signals"])],
    )
    def test_refused_credentials_and_signals_make_the_channel_sick_at_once(self, reason: str, words: list[str]) -> None:
        assert why(owed(reason=reason)) == words

    @pytest.mark.parametrize("reason", ["", "upstream", "paced", "circuit_open"])
    def test_other_reasons_alone_do_not_make_the_channel_sick(self, reason: str) -> None:
        assert why(owed(reason=reason)) == []

    def test_open_circuit_makes_the_channel_sick_until_it_may_be_probed(self) -> None:
        circuit = Circuit(NOW + 1, 5)
        assert ongoing_reasons(Debts(), circuit, None, NOW) == ["its circuit is open after 5 failures in a row"]
        assert ongoing_reasons(Debts(), circuit, None, NOW + 1) == []
        assert ongoing_reasons(Debts(), Circuit(NOW + 1), None, NOW) == ["its circuit is open"]

    def test_channel_without_an_expected_share_is_sick(self) -> None:
        shares = ShareWatch(7200, NOW - 7200)
        assert ongoing_reasons(Debts(), None, shares, NOW) == []
        later = ongoing_reasons(Debts(), None, shares, NOW + 3600)
        assert later == ["no share came for 3h, and one is expected every 2h"]

    def test_given_up_criticals_make_the_channel_sick(self) -> None:
        assert why(dead_lettered()) == ["1 critical was given up, and rang nobody"]
        assert why(dead_lettered(), dead_lettered()) == ["2 criticals were given up, and rang nobody"]
        assert why(dead_lettered(is_critical=False)) == []

    def test_missing_pages_are_a_momentary_reason(self) -> None:
        debts = Debts.of([Entry(debt=Debt(is_page_missing=True))])
        assert momentary_reasons(debts) == ["1 critical signals made no page"]
        assert ongoing_reasons(debts, None, None, NOW) == []
        assert momentary_reasons(Debts()) == []


def test_debts_are_counted_by_kind() -> None:
    missing = Entry(debt=Debt(is_page_missing=True))
    given_up = [dead_lettered(), dead_lettered(is_critical=False), dead_lettered(is_critical=False)]
    debts = Debts.of([owed(5), owed(50, is_critical=False), owed(9, is_critical=False), *given_up, missing])
    assert (debts.critical, debts.other, debts.owed, debts.unpaged_criticals) == (1, 2, 3, 3)
    assert (debts.given_up, debts.given_up_other, debts.unnotified) == (1, 2, 1)
    assert (debts.oldest, debts.oldest_critical) == (NOW - 50, NOW - 5)


def test_next_attempt_is_the_reserved_slot_or_before_the_sweeper_acts() -> None:
    row = Row(NOW + 180, job="d/1")
    assert next_attempt(Entry(debt=Debt(row=row))) == NOW
    assert next_attempt(Entry(debt=Debt(row=row, slot=Slot(NOW + 5, is_critical=True)))) == NOW + 5
    assert next_attempt(Entry(debt=Debt(row=Row(NOW)))) is None


@pytest.mark.parametrize(("seconds", "text"), [(-1, "0s"), (59.9, "59s"), (60, "1m"), (7199, "1h"), (86_400, "1d")])
def test_age_has_one_unit_and_is_rounded_down(seconds: float, text: str) -> None:
    assert age(seconds) == text

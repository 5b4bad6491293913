from copy import replace
from typing import Any

import pytest

from relay.failures.reasons import Reason
from relay.ledger.channel_rate_limiter import Gate
from relay.ledger.wait import Rule, Ticket, Wait
from tests.unit.rate_limiter_line import Line, moments, storm
from tests.unit.states import NOW

BREAKING = [Reason.UPSTREAM, Reason.UNREACHABLE, Reason.TIMEOUT]
HARMLESS = [None, Reason.REFUSED, Reason.CREDENTIALS, Reason.INTERNAL]


def broken() -> Line:
    """Return a channel's gate and its senders, with a circuit that opened just now."""
    line = Line()
    for _ in range(5):
        line.report(line.ticket(), Reason.UPSTREAM)
    return line


class TestCircuit:
    @pytest.mark.parametrize("failure", BREAKING)
    def test_circuit_opens_after_five_failures_in_a_row(self, failure: Reason) -> None:
        line = Line()
        for _ in range(4):
            line.report(line.ticket(), failure)
        line.report(line.ticket(), failure)
        closed = line.closed()
        assert (closed.reason, closed.slot) == (Reason.CIRCUIT_OPEN, None)
        assert closed.until >= line.clock.now + 30

    @pytest.mark.parametrize("between", HARMLESS, ids=str)
    def test_other_result_between_failures_resets_the_count_of_the_circuit(self, between: Reason | None) -> None:
        line = Line()
        for _ in range(4):
            line.report(line.ticket(), Reason.UPSTREAM)
        line.report(line.ticket(), between)
        for _ in range(4):
            line.report(line.ticket(), Reason.UPSTREAM)
        line.ticket()

    @pytest.mark.parametrize("failure", HARMLESS[1:])
    def test_failure_of_the_signal_alone_does_not_count_and_takes_no_call(self, failure: Reason) -> None:
        line = Line()
        for _ in range(9):
            line.report(line.ticket(), failure)
        assert line.dynamodb.calls == ["update_item"] * 9
        line.ticket()

    def test_signals_that_wait_for_the_circuit_come_back_spread_out_criticals_first(self) -> None:
        line = broken()
        opens = line.clock.now + 30
        is_critical = [line.closed(is_critical=True).until - opens for _ in range(50)]
        others = [line.closed().until - opens for _ in range(50)]
        assert 0 <= min(is_critical) < max(is_critical) <= 5 <= min(others) < max(others) <= 2 * 5
        assert len(set(is_critical)) == 50

    def test_single_probe_passes_after_the_circuit_was_open_for_its_time(self) -> None:
        line = broken()
        line.clock.now += 30 - 0.01
        line.closed()
        line.clock.now += 0.01
        line.ticket()
        closed = line.closed()
        assert closed.reason == Reason.CIRCUIT_OPEN
        assert closed.until >= line.clock.now + 12

    def test_only_one_of_two_concurrent_probes_passes(self) -> None:
        line, others = broken(), list[Ticket | Wait]()
        line.clock.now += 30
        table = line.rate_limiter.table

        class Slow:
            """A fake table: another sender claims the probe between a sender's read of the gate and its own claim."""

            def update(self, name: str, **changes: Any) -> Any:
                if changes.get("only_if") and not others:
                    others.append(Ticket({}))
                    others[0] = line.ask()
                return table.update(name, **changes)

        slow: Any = Slow()
        answer = replace(line.rate_limiter, table=slow).enter(line.rules, is_critical=True)
        assert isinstance(others[0], Ticket)
        assert isinstance(answer, Wait)
        assert answer.reason == Reason.CIRCUIT_OPEN
        assert 5 <= answer.until - line.clock.now <= 2 * 5
        assert Gate.of(line.numbers()).counted(line.clock.now) == 6

    def test_second_probe_passes_if_the_first_never_reports(self) -> None:
        line = broken()
        line.clock.now += 30
        line.ticket()
        line.clock.now += 12
        line.ticket()

    def test_successful_probe_closes_the_circuit(self) -> None:
        line = broken()
        line.clock.now += 30
        probe = line.ticket()
        assert probe.troubled
        line.report(probe)
        assert line.item().keys().isdisjoint({"open_until", "failures"})
        assert not line.ticket().troubled
        for _ in range(4):
            line.report(line.ticket(), Reason.UPSTREAM)
        line.ticket()

    @pytest.mark.parametrize("failure", BREAKING)
    def test_failed_probe_opens_the_circuit_again_at_once(self, failure: Reason) -> None:
        line = broken()
        line.clock.now += 30
        line.report(line.ticket(), failure)
        assert line.closed().until >= line.clock.now + 30

    @pytest.mark.parametrize("failure", HARMLESS, ids=str)
    def test_probe_with_a_failure_of_the_signal_alone_closes_the_circuit(self, failure: Reason | None) -> None:
        line = broken()
        line.clock.now += 30
        line.report(line.ticket(), failure)
        line.ticket()
        line.ticket()

    def test_signal_without_room_at_another_gate_is_no_probe_and_blocks_none(self) -> None:
        line = broken()
        line.rules.append(Rule("gate/noc/people", 1))
        line.clock.now += 30
        Line(limit=1, clock=line.clock, dynamodb=line.dynamodb, gate="gate/noc/people").ticket()
        assert line.closed().reason == Reason.PACED
        line.rules[1] = Rule("gate/noc/others", 1)
        assert line.ticket().troubled

    def test_recovery_uses_the_whole_rate_and_lets_criticals_go_first(self) -> None:
        line = broken()
        line.given.clear()
        askers = storm(line, 200, critical=40, within=20)
        line.run(until=30)
        assert line.given == []
        line.clock.now = NOW + 30 + 0.1
        line.report(line.ticket())
        line.run()
        critical, others = moments(askers, is_critical=True), moments(askers, is_critical=False)
        assert (len(critical), len(others)) == (40, 160)
        assert max(critical) < min(others)
        assert line.given[-1] <= 30 + 2 * 5 + 200 / 60 * 60 / 0.95


class TestRateLimited:
    @pytest.mark.parametrize(
        ("retry_after", "pause"), [(None, 30), (77, 77), (0, 5), (-3, 5), (5, 5), (900, 900), (86_400, 900)]
    )
    def test_answer_429_opens_the_circuit_for_its_clamped_retry_after(
        self, retry_after: float | None, pause: float
    ) -> None:
        line = Line()
        line.report(line.ticket(), Reason.RATE_LIMITED, retry_after)
        closed = line.closed(is_critical=True)
        assert closed.reason == Reason.CIRCUIT_OPEN
        assert pause <= closed.until - line.clock.now <= pause + 5
        line.clock.now += pause
        assert line.ticket().troubled

    def test_failure_of_an_earlier_signal_does_not_shorten_the_retry_after(self) -> None:
        line = Line()
        tickets = [line.ticket() for _ in range(6)]
        line.report(tickets[0], Reason.RATE_LIMITED, 600)
        for ticket in tickets[1:]:
            line.report(ticket, Reason.TIMEOUT)
        assert line.closed().until >= line.clock.now + 600

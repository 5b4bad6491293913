"""Debts: the queue or the ledger row that keeps a state that xMatters did not accept, and its messages' numbers."""

import pytest
import requests

from relay.failures import QueueError
from relay.jobs.queue import read_envelope
from tests import samples
from tests.fakes import Step, hooked, new_relay, table_down

DOWN, REFUSED = samples.refused(503), samples.refused(404, b"no such trigger")
LATE = requests.ReadTimeout("late")
NO = QueueError("SQS refused the message: AccessDenied")
LATER = 1_800_000_001


# What takes nothing, the answer of xMatters, and the place that keeps the share: None if it is unsafe.
PLACES: list[tuple[set[str], Step, str | None]] = [
    (set(), DOWN, "retry"),
    ({"retries"}, DOWN, "ledger"),
    ({"retries", "table"}, DOWN, "dead_letter"),
    ({"retries", "row"}, DOWN, "dead_letter"),
    ({"retries", "table", "dead_letters"}, DOWN, None),
    ({"retries", "table", "dead_letters"}, LATE, None),
    ({"retries"}, REFUSED, "dead_letter"),
    ({"retries", "dead_letters"}, REFUSED, "ledger"),
    ({"retries", "table", "dead_letters"}, REFUSED, None),
]


@pytest.mark.parametrize(("broken", "answer", "place"), PLACES)
def test_share_that_is_not_accepted_is_kept_where_something_takes_it_or_is_unsafe(
    broken: set[str], answer: Step, place: str | None
) -> None:
    relay, table = hooked(answer)
    relay.retries.failure = NO if "retries" in broken else None
    relay.dead_letters.failure = NO if "dead_letters" in broken else None
    table.refuses_writes = "table" in broken
    if "row" in broken:
        # The writes of the table: the gate, the claim, and the record with the row.
        table.before_next(table_down, after=2)
    result = relay.share(status="warning", changedOn=LATER)
    assert (result.outcome, result.queue) == ("queued" if place else "unsafe", place)
    assert (relay.entry().is_given_up, bool(result.notices.last_copy)) == (
        place == "dead_letter" and not broken & {"table", "row"},
        place is None,
    )
    if place is None:
        copy = read_envelope(result.notices.last_copy or "")
        assert (copy.body, copy.stamps.attempts) == (relay.session.calls[0].body, len(relay.session.calls))
        assert (copy.stamps.reason, (result.detail or "")[-18:]) == (result.reason, "; no queue took it")
    again, older = (relay.share(status="warning", changedOn=each) for each in (LATER, LATER - 1))
    if "row" not in broken:
        is_known = (again.outcome, older.outcome) == ("duplicate", "superseded")
        assert is_known == ("table" not in broken), "no share is a duplicate of an unsafe one, or superseded by it"
    relay.retries.failure = relay.dead_letters.failure = None
    table.refuses_writes = False
    relay.close_circuits()
    relay.sweep_for(300, 20)
    is_dead = answer is REFUSED and place is not None
    assert bool([job for job in relay.dead_letters.jobs() if job.stamps.reason == "refused"]) == is_dead


def test_each_next_message_of_a_state_that_fails_has_a_higher_number() -> None:
    relay = new_relay(DOWN)
    relay.share(status="critical")
    plans = []
    for _ in range(3):
        plans += [job.plan for job in relay.retries.jobs()]
        relay.close_circuits()
        relay.wake(60)
    assert len(plans) == len(set(plans)) == 3
    assert plans == sorted(plans)

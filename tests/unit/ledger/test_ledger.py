"""Rows of debts: the attributes that put an entry into the index, and its shards."""

from copy import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.delivery.step import Standing, judge_share
from relay.incidents.share import PRESETS, State
from relay.ledger.accepted_signal import AcceptedSignal
from relay.ledger.debt import Debt, Row, Slot
from relay.ledger.entry import About, Acknowledgement, End, Entry, Flap, Lease
from relay.ledger.entry_key import key
from relay.ledger.receipt import Receipt
from relay.ledger.table import Ledger, row_of
from tests.fake_dynamodb import MAX_ITEM_BYTES, MAX_KEY_BYTES, FakeDynamoDb, size
from tests.fakes import Clock
from tests.unit.states import NOW, bare, lease, over, state


def fresh() -> tuple[Ledger, FakeDynamoDb]:
    dynamodb = FakeDynamoDb()
    return Ledger(dynamodb.table(Clock())), dynamodb


MARK = NOW + 60.0


MOMENTS = st.floats(1e9, 4e9)
DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)
STATES = st.builds(
    State,
    version=st.none() | st.tuples(MOMENTS, MOMENTS | st.just(0.0)),
    digest=DIGESTS,
    came=MOMENTS,
    is_open=st.booleans(),
    rank=st.none() | st.integers(0, 3),
    alerts=st.frozensets(st.text("0123456789abcdef", min_size=8, max_size=8), max_size=4),
    has_borrowed_version=st.booleans(),
)
SIGNALS = st.builds(
    AcceptedSignal,
    request_id=st.text(max_size=40),
    at=MOMENTS,
    is_open=st.booleans(),
    pages=st.lists(st.text(max_size=36), max_size=2).map(tuple),
    page_number=st.text(max_size=9),
    is_over=st.booleans(),
    is_page_missing=st.booleans(),
    is_for_one=st.booleans(),
    recipients=st.lists(st.text("0123456789abcdef", min_size=8, max_size=8), max_size=3).map("".join),
    is_critical=st.booleans(),
)
DEBTS = st.builds(
    Debt,
    since=st.none() | MOMENTS,
    is_notified=st.booleans(),
    plan=st.integers(0, 999),
    attempts=st.integers(0, 99),
    reason=st.text(max_size=8),
    slot=st.none() | st.builds(Slot, at=MOMENTS, is_critical=st.booleans()),
    row=st.none() | st.builds(Row, MOMENTS, DIGESTS | st.just(""), st.integers(0, 9), st.booleans(), st.booleans()),
    paused_until=MOMENTS,
    claim_hold_until=MOMENTS,
    dead_lettered_at=MOMENTS,
    revived_at=MOMENTS,
)
RECEIPTS = st.builds(
    Receipt,
    since=MOMENTS,
    is_open=st.booleans(),
    notified_at=MOMENTS,
    answered_at=MOMENTS,
    answered_by=st.text(max_size=8),
    missed=st.text(max_size=8),
    told_at=MOMENTS,
    questions=st.integers(0, 3),
    others_at=MOMENTS,
    recipients=st.lists(st.text(max_size=8), max_size=2).map(tuple),
)
# A state that is not owed has no row.
DEBTS = DEBTS.map(lambda debt: debt if debt.since is not None else replace(debt, row=None))
ENTRIES = st.builds(
    Entry,
    newest=st.none() | STATES,
    seen_digests=st.lists(DIGESTS, max_size=3).map(tuple),
    announced=st.none() | STATES,
    doubtful=st.lists(STATES, max_size=3).map(tuple),
    eased=st.none() | STATES,
    receipt=RECEIPTS,
    acknowledgement=st.none() | st.builds(Acknowledgement, by=st.text(max_size=8), rank=st.integers(0, 3)),
    flap=st.builds(Flap, changes=st.lists(MOMENTS, max_size=4).map(tuple), calm_at=MOMENTS, is_signalled=st.booleans()),
    lease=st.none() | st.builds(Lease, owner=st.text(max_size=8), until=MOMENTS, began=MOMENTS, state=STATES),
    signal_times=st.lists(MOMENTS, max_size=8).map(tuple),
    accepted_signals=st.lists(SIGNALS, max_size=3).map(tuple),
    debt=DEBTS,
    end=st.builds(
        End,
        at=MOMENTS,
        claimed_at=MOMENTS,
        version=st.none() | st.tuples(MOMENTS, MOMENTS | st.just(0.0)),
        silent_since=MOMENTS,
    ),
    about=st.builds(
        About,
        title=st.text(max_size=80),
        facts=st.dictionaries(st.sampled_from(["environment", "tag.team"]), st.lists(st.text(max_size=8)).map(tuple)),
        environment_id=st.text(max_size=8),
    ),
    others=st.dictionaries(st.sampled_from(["colour", "shape"]), st.integers() | st.text() | st.lists(st.integers())),
    is_unreadable=st.just(False),
)


class TestEntryJson:
    @given(ENTRIES)
    def test_entry_is_read_as_it_was_written(self, entry: Entry) -> None:
        """The row of an open receipt is read as that of the debt, if there is one."""
        ledger, _ = fresh()
        written = ledger.write("k", Entry(), entry)
        assert written == replace(entry, sequence=1)
        row = row_of(entry) if entry.debt.since is not None else None
        assert ledger.read("k") == replace(written, debt=replace(entry.debt, row=row))

    def test_entry_with_thousands_of_alerts_fits_into_an_item(self) -> None:
        most = full(3_000)
        assert most < MAX_ITEM_BYTES / 4
        assert most < full(1000) + 100

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "no JSON",
            "[]",
            "7",
            "null",
            '{"newest": 7}',
            '{"newest": [1, 2]}',
            '{"lease": ["a"]}',
            '{"seen_digests": 7}',
        ],
    )
    def test_unreadable_entry_is_begun_anew_and_its_resolve_is_owed(self, text: str) -> None:
        ledger, _ = fresh()
        ledger.table.write("k", 0, text)
        lost = ledger.read("k")
        assert (lost.is_unreadable, lost.sequence, lost.newest, lost.announced) == (True, 1, None, None)
        assert judge_share(lost, over(), PRESETS["parity"]).standing == Standing.OWED
        written = ledger.write("k", lost, lost.unchanged(state()))
        assert written
        assert ledger.read("k").newest == bare(state())


# One status for each state that the ledger tells apart.
STATUSES = ("critical", "warning", "unknown", "odd", "ok")


def full(alerts: int) -> int:
    """Return the size in bytes of the largest ledger item of an incident with this number of alerts."""
    members: dict[str, Any] = {"alerts": [{"id": f"alert-{number}"} for number in range(alerts)]}
    entry = Entry()
    for number in range(16):
        entry = entry.owing(state(number, version=0, flapping=bool(number % 2), **members))
    for number in range(16 + 1):
        mine = lease(state(number, **members), number, "f" * 32)
        entry = entry.leased(mine, 1, queued=True).accepted(mine, f"{number:036}", 1, until=mine.began)
    for number, status in enumerate(STATUSES):
        mine = lease(state(100 + number, status=status, **members), 100 + number, "f" * 32)
        entry = entry.leased(mine, 1, queued=True).failed(mine, 1, 1, until=mine.began, reason="refused")
        entry = entry.dead_lettering(mine.state, MARK, "refused", plan=number)
    entry = entry.leased(lease(state(200, **members), 200), 1, queued=True)
    assert [len(each.alerts) for each in entry.maybe_announced() if each] == [min(alerts, 1000)] * (len(STATUSES) + 2)
    ledger, dynamodb = fresh()
    ledger.write("k", Entry(), entry)
    return size(dynamodb.items["k"])


@pytest.mark.parametrize(
    "incident_id",
    ["\ud800", "a\udfff", "\ud83d\ude00", "\U0001f600" * 512, "\ud800" * 512, "x" * 512, "ü" * 512, "\x00\n", " "],
    ids=repr,
)
def test_key_fits_into_dynamodb_whatever_the_incident_id_is(incident_id: str) -> None:
    name = key("a" * 48, ("x" * 200,) * 100, incident_id)
    assert 0 < len(name.encode()) <= MAX_KEY_BYTES

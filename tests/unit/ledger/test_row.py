"""Rows of debts: the attributes that put an entry into the index, and its shards."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.ledger.entry_key import key
from relay.ledger.row import ATTRIBUTES, CRITICAL, OTHER, Row, shard, shards, stored_key

NAMES = [key("noc", (), f"66b0a1b2c3d4e5f6a7b8c{number:03}") for number in range(1000)]


@given(
    st.floats(0, 4e9, allow_subnormal=False),
    st.text("0123456789abcdef", min_size=32, max_size=32) | st.just(""),
    st.integers(0, 99),
    st.integers(0, 99),
    st.booleans(),
)
def test_row_is_read_from_the_attributes_it_was_written_as(
    due: float, job: str, rung: int, begun: int, is_critical: bool
) -> None:
    row = Row(
        due=due,
        job=job,
        rung=rung,
        begun=begun,
        is_critical=is_critical,
    )
    attributes = row.attributes("k")
    assert set(attributes) == set(ATTRIBUTES)
    assert Row.of(attributes) == row


def test_item_without_a_place_in_the_index_has_no_row() -> None:
    assert Row.of({}) is None
    assert Row.of({"due": "critical#1", "job": "d"}) is None
    assert Row.of({"due_at": 7.0, "job": "d"}) is None


@pytest.mark.parametrize("is_critical", [True, False])
def test_entry_has_one_of_the_shards_of_its_kind(is_critical: bool) -> None:
    kind = CRITICAL if is_critical else OTHER
    found = Counter(shard(name, is_critical=is_critical) for name in NAMES)
    assert set(found) == set(shards(kind))
    assert shard(NAMES[0], is_critical=is_critical) == shard(NAMES[0], is_critical=is_critical)


def test_key_of_a_stored_job_names_entry_and_delivery() -> None:
    assert stored_key("incident/noc/0123/a/b", "d1") == "job/noc/0123/a/b/d1"
    assert stored_key("incident/noc/0123/a", "d1") != stored_key("incident/noc/0123/a", "d2")

"""Notes of reconcile runs: they always fit into an item, and an unreadable note counts as none."""

import json
from copy import replace

import pytest

from relay.channels.channel import BigPandaAccess
from relay.ledger.table import Table
from relay.reconcile.comparison import summary_of
from relay.reconcile.notes import (
    DAY_SECONDS,
    MAX_DAYS,
    MAX_NAME_LENGTH,
    MAX_REMEMBERED,
    ChannelNote,
    Difference,
    GroupNote,
    UnknownCounts,
    group_key,
    group_name,
    listing_name,
    read_channel_notes,
    short_name,
)
from tests.fake_dynamodb import MAX_ITEM_BYTES, FakeDynamoDb
from tests.unit.states import state

NOW = 1_800_000_000.123456
ACCESS = BigPandaAccess("https://api.bigpanda.io", "BPU-1", (), assign=False, email_domain=None, comments=frozenset())


@pytest.fixture
def dynamodb() -> FakeDynamoDb:
    return FakeDynamoDb()


@pytest.fixture
def table(dynamodb: FakeDynamoDb) -> Table:
    return dynamodb.table(lambda: NOW)


def test_group_note_is_read_as_it_was_written(table: Table) -> None:
    differing = {"i2": Difference("13", NOW, NOW + 1)}
    note = GroupNote(
        run="r1",
        piece=3,
        is_working=True,
        until=NOW,
        began=NOW - 1,
        last=NOW - 2,
        snoozed_at={"i1": NOW},
        unknown=differing,
        days={"20833": UnknownCounts(2, 1)},
    )
    written = note.write(table, "g")
    assert written == GroupNote.read(table, "g") == note._replace(sequence=1)
    assert note.write(table, "g") is None, "another writer was there"


def test_channel_notes_are_read_as_they_were_written(table: Table) -> None:
    note = ChannelNote(NOW - 9, NOW, {"i2": Difference("13", NOW, 0.0)})
    assert note.write(table, "reconcile/p/noc")
    assert note.write(table, "reconcile/p/noc") is None, "another writer was there"
    keys = {"noc": "reconcile/p/noc", "dba": "reconcile/p/dba"}
    assert read_channel_notes(table, keys) == {"noc": note._replace(sequence=1), "dba": ChannelNote()}


def test_missing_note_is_read_as_an_empty_one(table: Table) -> None:
    assert GroupNote.read(table, "g") == GroupNote()


@pytest.mark.parametrize(
    "text", ["", "[]", "7", '{"days": {"1": [1]}}', '{"snoozed_at": {"i": "x"}}', '{"unknown": 1}', '{"piece": []}']
)
def test_unreadable_group_note_is_begun_anew(table: Table, text: str) -> None:
    table.write(group_key("g"), 0, text)
    assert GroupNote.read(table, "g") == GroupNote(sequence=1)


@pytest.mark.parametrize("text", ["", "[]", '{"since": "x"}', '{"differing": {"i": [1]}}', '{"differing": []}'])
def test_unreadable_channel_note_is_begun_anew(table: Table, text: str) -> None:
    table.write("k", 0, text)
    assert read_channel_notes(table, {"noc": "k"}) == {"noc": ChannelNote(sequence=1)}


def test_unknown_members_of_a_group_note_are_ignored(table: Table) -> None:
    table.write(group_key("g"), 0, json.dumps({"until": NOW, "more": [1]}))
    assert GroupNote.read(table, "g") == GroupNote(until=NOW, sequence=1)


@pytest.mark.parametrize("name", ["i{:060}", "\u00e9{}", '"\\{}', "{:024}"])
def test_notes_fit_into_an_item_however_many_incidents_there_are(
    table: Table, dynamodb: FakeDynamoDb, name: str
) -> None:
    names = [short_name(name.format(number)) for number in range(MAX_REMEMBERED + 500)]
    assert len(set(names)) == len(names)
    snoozed_at = {each: NOW + number for number, each in enumerate(names)}
    differing = {each: Difference("13", NOW + number, NOW) for number, each in enumerate(names)}
    assert GroupNote(snoozed_at=snoozed_at, unknown=differing).write(table, "g")
    assert ChannelNote(differing=differing).write(table, "k")
    read, channel = GroupNote.read(table, "g"), read_channel_notes(table, {"noc": "k"})["noc"]
    assert list(read.snoozed_at) == list(read.unknown) == list(channel.differing) == names[:499:-1], "the latest stay"
    assert all(len(item["text"]["S"]) < MAX_ITEM_BYTES * 0.9 for item in dynamodb.items.values())


def test_criticals_stay_in_a_full_note(table: Table) -> None:
    critical, warning = Difference(summary_of(state()), NOW), Difference(summary_of(state(status="warning")), NOW + 60)
    differing = {"i0": critical, **{f"w{number}": warning for number in range(MAX_REMEMBERED)}}
    assert GroupNote(unknown=differing).write(table, "g")
    assert ChannelNote(differing=differing).write(table, "k")
    assert "i0" in GroupNote.read(table, "g").unknown
    assert "i0" in read_channel_notes(table, {"noc": "k"})["noc"].differing


def test_unknown_incidents_are_counted_by_day_for_a_week(table: Table) -> None:
    note = GroupNote()
    for day in range(MAX_DAYS + 2):
        note = note.counting(NOW + day * DAY_SECONDS, found=2).counting(NOW + day * DAY_SECONDS, came=1)
    assert note.write(table, "g")
    assert list(GroupNote.read(table, "g").days.values()) == [UnknownCounts(2, 1)] * MAX_DAYS


def test_group_name_differs_by_api_key_and_listing_name_does_not() -> None:
    rotated = replace(ACCESS, api_key="BPU-2")
    assert group_name(ACCESS, "e1") != group_name(rotated, "e1")
    assert listing_name(ACCESS, "e1") == listing_name(rotated, "e1")
    for other in (replace(ACCESS, base_url="https://eu-api.bigpanda.io"), replace(ACCESS, reconcile_query="a = 1")):
        assert group_name(ACCESS, "e1") != group_name(other, "e1")
        assert listing_name(ACCESS, "e1") != listing_name(other, "e1")
    assert listing_name(ACCESS, "e1") != listing_name(ACCESS, "e2")
    assert "BPU" not in group_name(ACCESS, "e1")


@pytest.mark.parametrize("name", ["66b0f1c2a94d3e0012ab34cd", "i-1", "a.b:c_d"])
def test_ordinary_incident_id_is_its_own_short_name(name: str) -> None:
    assert short_name(name) == name


@pytest.mark.parametrize("name", ["x" * (MAX_NAME_LENGTH + 1), "a b", "\ud800", "\u00e9", '"'])
def test_long_or_odd_incident_id_has_a_hash_as_short_name(name: str) -> None:
    assert len(short_name(name)) == MAX_NAME_LENGTH
    assert short_name(name) == short_name(name) != name

"""The note of how far a channel was compared: it always fits, and what can't be read is no note."""

import json

import pytest

from relay.look import MAX_NAME_LENGTH, MAX_REMEMBERED, Difference, Look, Span, short
from relay.table import Table
from tests.fake_dynamodb import MAX_ITEM_BYTES, FakeDynamoDb

NOW = 1_800_000_000.123456


@pytest.fixture
def dynamodb() -> FakeDynamoDb:
    return FakeDynamoDb()


@pytest.fixture
def table(dynamodb: FakeDynamoDb) -> Table:
    return dynamodb.table(lambda: NOW)


def test_what_is_written_is_read(table: Table) -> None:
    look = Look(NOW, {"e": Span(NOW - 9, NOW)}, {"i1": NOW}, {"i2": Difference("13", NOW, NOW + 1)})
    written = look.write(table, "noc")
    assert written == Look.read(table, "noc") == look._replace(sequence=1)
    assert look.write(table, "noc") is None, "another one stands there"


def test_nothing_is_an_empty_note(table: Table) -> None:
    assert Look.read(table, "noc") == Look()


@pytest.mark.parametrize("text", ["", "[]", "7", '{"spans": 1}', '{"spans": {"e": [1]}}', '{"asleep": {"i": "x"}}'])
def test_what_cannot_be_read_is_begun_anew(table: Table, text: str) -> None:
    table.write("reconcile/noc", 0, text)
    assert Look.read(table, "noc") == Look(sequence=1)


def test_members_that_a_newer_version_wrote_do_no_harm(table: Table) -> None:
    table.write("reconcile/noc", 0, json.dumps({"until": NOW, "more": [1]}))
    assert Look.read(table, "noc") == Look(NOW, sequence=1)


@pytest.mark.parametrize("name", ["i{:060}", "\u00e9{}", '"\\{}', "{:024}"])
def test_however_many_there_are_and_whatever_they_are_called_it_fits(
    table: Table, dynamodb: FakeDynamoDb, name: str
) -> None:
    names = [short(name.format(number)) for number in range(MAX_REMEMBERED + 500)]
    assert len(set(names)) == len(names)
    asleep = {each: NOW + number for number, each in enumerate(names)}
    differing = {each: Difference("13", NOW + number, NOW) for number, each in enumerate(names)}
    assert Look(NOW, {}, asleep, differing).write(table, "noc")
    read = Look.read(table, "noc")
    assert list(read.asleep) == list(read.differing) == names[:499:-1], "the latest stay"
    [item] = dynamodb.items.values()
    assert len(item["text"]["S"]) < MAX_ITEM_BYTES * 0.9


@pytest.mark.parametrize("name", ["66b0f1c2a94d3e0012ab34cd", "i-1", "a.b:c_d"])
def test_an_ordinary_id_is_its_own_name(name: str) -> None:
    assert short(name) == name


@pytest.mark.parametrize("name", ["x" * (MAX_NAME_LENGTH + 1), "a b", "\ud800", "\u00e9", '"'])
def test_another_one_has_a_hash_for_a_name(name: str) -> None:
    assert len(short(name)) == MAX_NAME_LENGTH
    assert short(name) == short(name) != name

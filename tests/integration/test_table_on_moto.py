"""The table's calls against moto and against the unit tests' fake, which have to agree."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from moto import mock_aws

from relay.failures import LedgerError
from relay.ledger.table import KEPT_SECONDS, Table
from tests.fake_dynamodb import FakeDynamoDb
from tests.fakes import Clock
from tests.integration.relayctl_cloud import client
from tests.ledger_table import LEDGER_TABLE


@pytest.fixture
def moto() -> Iterator[Table]:
    with mock_aws():
        client("dynamodb").create_table(TableName="ledger", **LEDGER_TABLE)
        yield Table(client("dynamodb"), "ledger", Clock())


def fake() -> Table:
    return FakeDynamoDb().table(Clock())


def told(table: Table, do: Callable[[Table], Any]) -> Any:
    """Return a call's result, or the text of its failure."""
    try:
        return do(table)
    except LedgerError as error:
        return str(error)


SCRIPT: list[Callable[[Table], Any]] = [
    lambda table: table.read("k"),
    lambda table: table.write("k", 0, "one"),
    lambda table: table.write("k", 0, "lost"),
    lambda table: table.write("k", 3, "lost"),
    lambda table: table.write("k", 1, "two ✓ \u0000"),
    lambda table: table.write("k", 1, "lost"),
    lambda table: table.read("k"),
    lambda table: table.write("never", 1, "lost"),
    lambda table: table.read("never"),
    lambda table: table.update("g", put={"open_until": 5.0}, only_if=("open_until", 1.0)),
    lambda table: table.read("g"),
    lambda table: table.update("g", add={"sa1": 1, "other": 1_800_000_000.123457}),
    lambda table: table.update("g", add={"sa1": -1, "other": 1.5}, remove=["sa0", "never"]),
    lambda table: table.update("g", put={"other": 3.5}, below=("other", 3.5)),
    lambda table: table.update("g", add={"sa2": -1}, put={"critical": 3.5}, below=("critical", 3.5)),
    lambda table: table.update("g", put={"critical": 4.5}, below=("critical", 3.6)),
    lambda table: table.update("g", add={"failures": 1}),
    lambda table: table.update("g", add={"failures": 4}, put={"open_until": 1_800_000_030.1234567}),
    lambda table: table.update("g", put={"open_until": 7.0}, only_if=("open_until", 1_800_000_030.1234567)),
    lambda table: table.update("g", put={"open_until": 8.0}, only_if=("open_until", 1_800_000_030.1234567)),
    lambda table: table.update("g", remove=["failures", "open_until", "never"]),
    lambda table: table.update("g", put={"open_until": 7.0}, only_if=("open_until", 7.0)),
    # moto accepts such keys in an update; DynamoDB does not.
    lambda table: table.store("", "text", lasts=60),
    lambda table: table.store("x" * 2049, "text", lasts=60),
    lambda table: table.store("x" * 2048, "text", lasts=60),
    lambda table: table.store("large", "x" * 420_000, lasts=60),
    lambda table: table.read("large"),
    lambda table: table.write("a", 0, "one", others={"due": "other#1", "due_at": 7.5, "job": "j", "begun": 0}),
    lambda table: table.write("b", 0, "two", others={"due": "other#1", "due_at": 6.0}),
    lambda table: table.write("c", 0, "three", others={"due": "other#2", "due_at": 1.0}),
    lambda table: list(table.due("other#1", 10)),
    lambda table: list(table.due("other#1", 1)),
    lambda table: list(table.due("other#3", 10)),
    lambda table: table.write("a", 1, "one", others={"due": "critical#1", "due_at": 7.5}),
    lambda table: table.write("b", 1, "two", remove=["due", "due_at", "never"]),
    lambda table: [list(table.due(shard, 10)) for shard in ("other#1", "critical#1")],
    lambda table: [table.read(name) for name in ("a", "b")],
    lambda table: table.store("j", "first", lasts=60),
    lambda table: table.store("j", "second", lasts=60),
    lambda table: table.read("j"),
]


def test_each_table_call_gives_the_same_on_moto_and_on_the_fake(moto: Table) -> None:
    both = (moto, fake())
    for number, do in enumerate(SCRIPT):
        theirs, ours = (told(table, do) for table in both)
        assert ours == theirs, f"step {number}"


def test_written_item_has_an_expiry_time(moto: Table) -> None:
    moto.write("k", 0, "text")
    item = client("dynamodb").get_item(TableName="ledger", Key={"pk": {"S": "k"}})["Item"]
    assert item["expires"] == {"N": str(int(Clock().now + KEPT_SECONDS))}

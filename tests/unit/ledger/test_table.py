from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError, ParamValidationError

from relay.failures import LedgerError
from relay.ledger.table import Table
from tests.fake_dynamodb import FakeDynamoDb
from tests.fakes import Clock


def fresh() -> tuple[Table, FakeDynamoDb]:
    dynamodb = FakeDynamoDb()
    return dynamodb.table(Clock()), dynamodb


@pytest.mark.parametrize("items", [0, 2, 3, 11])
def test_shard_is_read_over_all_pages_earliest_first(items: int) -> None:
    table, dynamodb = fresh()
    for number in range(items):
        # The order of writing differs from the order in which items are due.
        at = float((number * 7) % items)
        table.write(f"k{at:.0f}", 0, "text", others={"due": "critical#1", "due_at": at})
    assert dynamodb.page_size == 2
    found = [(each.key, each.others["due_at"]) for each in table.due("critical#1", 5000)]
    assert found == [(f"k{number}", number) for number in range(items)]


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "a value of the item: secret-1"}}, "PutItem")


DOES: list[Callable[[Table], Any]] = [
    lambda table: table.read("k"),
    lambda table: table.write("k", 0, "secret-1"),
    lambda table: table.store("k", "secret-1", lasts=60),
    lambda table: table.read_many(["k"]),
    lambda table: list(table.due("critical#1", 10)),
    lambda table: table.update("k", add={"calls": 1}),
    lambda table: table.update("k", put={"other": 1.0}, below=("other", 1.0)),
    lambda table: table.update("k", put={"open_until": 1.0}, only_if=("open_until", 1.0)),
]


class TestFailures:
    @pytest.mark.parametrize("do", DOES)
    def test_each_call_that_fails_is_a_ledger_error_that_quotes_no_item(self, do: Callable[[Table], Any]) -> None:
        table, dynamodb = fresh()
        dynamodb.failure = refused("AccessDeniedException")
        with pytest.raises(LedgerError, match=r"^DynamoDB refused: AccessDeniedException$"):
            do(table)

    @pytest.mark.parametrize(
        ("failure", "said"),
        [
            (ClientError({}, "PutItem"), "DynamoDB refused: None"),
            (EndpointConnectionError(endpoint_url="secret-1"), "could not be reached: EndpointConnectionError"),
            (ConnectTimeoutError(endpoint_url="secret-1"), "could not be reached: ConnectTimeoutError"),
            (ParamValidationError(report="secret-1"), "could not be reached: ParamValidationError"),
        ],
    )
    def test_each_failure_of_dynamodb_is_a_ledger_error(self, failure: Exception, said: str) -> None:
        table, dynamodb = fresh()
        dynamodb.failure = failure
        with pytest.raises(LedgerError, match=said):
            table.read("k")

"""The table's calls against moto and against the unit tests' fake, which have to agree."""

import random
import uuid
from collections.abc import Callable, Iterator
from copy import replace
from typing import Any

import boto3
import pytest
from moto import mock_aws

from relay.failures import LedgerError, Reason
from relay.ledger.channel_rate_limiter import Gate, RateLimiter, Rule, Ticket
from relay.ledger.debt import Slot, Wait
from relay.ledger.entry import Entry
from relay.ledger.entry_key import key
from relay.ledger.table import KEPT_SECONDS, Ledger, Table
from tests.fake_dynamodb import FakeDynamoDb
from tests.fakes import Clock
from tests.ledger_table import LEDGER_TABLE
from tests.unit.states import lease, over, state

# In a separate session: the default session may be older than moto, and would then call AWS.
_CLIENT = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-central-1").client(
    "dynamodb"
)


@pytest.fixture
def moto() -> Iterator[Table]:
    """A table with the template's keys and index."""
    with mock_aws():
        name = f"ledger-{uuid.uuid4().hex}"
        _CLIENT.create_table(TableName=name, **LEDGER_TABLE)
        yield Table(_CLIENT, name, Clock())


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


def test_random_counters_are_the_same_on_moto_and_on_the_fake(moto: Table) -> None:
    chance, both = random.Random(7), (moto, fake())
    for _ in range(150):
        grows, gone = chance.sample(["sa", "sb", "sc", "other"], 2)
        add = {grows: chance.choice([1, -1, 1.0166666666666666])}
        theirs, ours = (table.update("g", add=add, remove=[gone]) for table in both)
        assert ours == theirs


def test_written_item_has_an_expiry_time(moto: Table) -> None:
    moto.write("k", 0, "text")
    [name] = _CLIENT.list_tables()["TableNames"]
    item = _CLIENT.get_item(TableName=name, Key={"pk": {"S": "k"}})["Item"]
    assert item["expires"] == {"N": str(int(Clock().now + KEPT_SECONDS))}


def test_ledger_entry_lives_the_same_on_moto_and_on_the_fake(moto: Table) -> None:
    alerts = [{"id": number} for number in range(300)]
    name = key("noc", ("Network Operations",), "\ud800/✓")

    def life(table: Table) -> list[Entry | None]:
        ledger, lived = Ledger(table), list[Entry | None]()
        first, second = lease(state(alerts=alerts)), lease(over(60), 60, "b")
        empty = ledger.read(name)
        claimed = ledger.write(name, empty, empty.owing(first.state).claimed(first, 3, queued=True))
        assert claimed
        lived += [empty, claimed, ledger.write(name, empty, empty.unchanged(over(9)))]
        announced = ledger.write(name, claimed, claimed.accepted(first, "r1", 2, until=first.began))
        assert announced
        owed = announced.owing(second.state)
        waiting = replace(owed, debt=replace(owed.debt, slot=Slot(1_800_000_061.25, is_critical=False)))
        lived += [announced, ledger.write(name, announced, waiting), ledger.read(name)]
        now = ledger.read(name)
        timed_out = now.claimed(second, 1, queued=True).failed(second, 1, 1, until=second.began, reason="refused")
        timed_out = timed_out.dead_lettering(second.state, 1_800_000_060.0, "refused", plan=1)
        return [*lived, ledger.write(name, now, timed_out), ledger.read(name)]

    assert life(fake()) == life(moto)


def test_rate_limit_and_circuit_are_the_same_on_moto_and_on_the_fake(moto: Table) -> None:
    def drained(table: Table) -> list[Ticket | Wait | Gate]:
        clock, chance = Clock(), random.Random(7)
        pace, rules = RateLimiter(table, clock, chance.random), [Rule("gate/noc", 5), Rule("gate/noc/people", 4)]
        waiting: list[tuple[float, bool, Slot | None]] = [(clock.now, number % 3 == 0, None) for number in range(14)]
        got: list[Ticket | Wait | Gate] = []
        while waiting:
            waiting.sort(key=lambda each: each[0])
            moment, is_critical, slot = waiting.pop(0)
            clock.now = max(clock.now, moment)
            answer = pace.enter(rules, is_critical=is_critical, slot=slot)
            got.append(answer)
            if isinstance(answer, Wait):
                waiting.append((answer.until, is_critical, answer.slot))
            else:
                sent = sum(isinstance(each, Ticket) for each in got)
                pace.report(rules, answer, Reason.UPSTREAM if 2 < sent <= 8 else None, None)
        return [*got, Gate.of(table.numbers("gate/noc"))]

    ours = drained(fake())
    assert ours == drained(moto)
    assert {each.reason for each in ours if isinstance(each, Wait)} == {"paced", "circuit_open"}

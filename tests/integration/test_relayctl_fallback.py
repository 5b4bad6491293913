"""relayctl fallback test: a number by each way of the last resort, and the ways whose numbers a person typed."""

import json
import re
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from relay.delivery.fallback_messages import Fallback
from relayctl.stack.last_resort import last_confirmation
from tests.fakes import FakeMessaging, FakeSns, interrupted, phones
from tests.integration.relayctl_cloud import Operator

CALL, TEXT = "call to phone 1 (ends in 00)", "text to phone 1 (ends in 00)"


class People:
    """The topic's subscriber and the phone's owner, who tell the operator the numbers that came."""

    def __init__(self, operator: Operator) -> None:
        self.sns, self.messaging = FakeSns(), FakeMessaging()
        client: Any = self.sns
        operator.last_resort = Fallback(lambda: client, "arn:topic", phones(self.messaging, "+14255550100"))

    def number_of(self, way: str) -> str:
        """Return the number that came by a way, as a person reads or hears it."""
        texts = {kind: text for kind, *_, text in self.messaging.sent}
        text = json.loads(self.sns.published[0]["Message"])["email"] if way == "topic" else texts[way]
        found = re.search(r"The number is ([0-9, ]+)\.", text)
        assert found, text
        return re.sub(", ", "", found[1])


@pytest.fixture
def people(operator: Operator) -> People:
    return People(operator)


def test_ways_whose_numbers_are_typed_are_confirmed_and_remembered(
    operator: Operator, people: People, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = [lambda way=way: people.number_of(way) for way in ("call", "topic", "text")]
    assert operator.typed("fallback", "test", answers=[lambda: "y", *numbers]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["ok", *f"{way}: confirmed".split()] for way in ("topic", CALL, TEXT)
    ]
    assert last_confirmation(operator.ledger.table) == (operator.clock.now, (CALL, "topic", TEXT))


def test_way_whose_number_is_not_typed_fails_and_the_typed_ones_are_remembered(
    operator: Operator, people: People, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = (lambda: people.number_of("text"), lambda: "123", lambda: people.number_of("text"), lambda: "")
    assert operator.typed("fallback", "test", "--yes", answers=answers) == 1
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == ["failed", "failed", "ok"]
    assert "topic: AWS accepted it, and nobody confirmed it" in out
    assert "No way of this test has that number." in err
    assert last_confirmation(operator.ledger.table) == (operator.clock.now, (TEXT,))


def test_number_that_was_typed_before_ctrl_c_is_remembered_and_no_call_is_repeated(
    operator: Operator, people: People
) -> None:
    configs: list[Any] = []
    operator.hooks["before-call.lambda.Invoke"] = lambda context, **_: configs.append(context["client_config"])
    answers = (lambda: people.number_of("topic"), interrupted)
    assert operator.typed("fallback", "test", "--yes", answers=answers) == 130
    assert last_confirmation(operator.ledger.table) == (operator.clock.now, ("topic",))
    assert {(each.retries["total_max_attempts"], each.read_timeout) for each in configs} == {(1, 90)}


def test_without_a_terminal_a_test_is_sent_and_nothing_is_confirmed(operator: Operator, people: People) -> None:
    refused = operator.run("fallback", "test")
    assert (refused.exit_code, people.sns.published) == (2, [])
    people.sns.failure = ReadTimeoutError(endpoint_url="https://sns.test")
    document = operator.run_json("fallback", "test", "--yes", code=1)
    assert [each["state"] for each in document["checks"]] == ["failed", "warning", "warning"]
    assert (document["failed"], document["warnings"]) == (1, 2)
    assert not any(people.number_of(way) in json.dumps(document) for way in ("call", "text"))
    assert last_confirmation(operator.ledger.table) is None


def test_sweeper_without_the_test_is_named(operator: Operator) -> None:
    done = operator.run("fallback", "test", "--yes")
    assert (done.exit_code, "the stack's sweeper knows no test: deploy the stack again" in done.stderr) == (1, True)

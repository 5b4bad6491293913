"""Members that a newer version wrote survive in this one: after a roll-back, and while both run in a deployment."""

import json
from typing import Any

from relay.jobs.queue import envelope_of
from relay.ledger.rate_limit_and_circuit import Gate
from relay.ledger.table import Ledger
from tests import samples
from tests.compat import formats
from tests.compat.formats import ENTRY_KEY, document_of, item_of
from tests.compat.test_formats import golden
from tests.fake_dynamodb import FakeDynamoDb
from tests.fakes import Clock, Relay, new_relay
from tests.unit.states import over

DOWN = samples.refused(503, b"down")


def test_members_and_attributes_of_an_entry_survive_a_write() -> None:
    dynamodb, document = FakeDynamoDb(), golden("entry-1")
    newer = document | {"text": {**document["text"], "newer": [1]}, "newer": {"N": "1"}}
    dynamodb.items[ENTRY_KEY] = item_of(newer)
    ledger = Ledger(dynamodb.table(Clock()))
    entry = ledger.read(ENTRY_KEY)
    assert entry == formats.ENTRY._replace(others={"newer": [1]}, sequence=1)
    assert ledger.write(ENTRY_KEY, entry, entry.unchanged(over(9)))
    after = document_of(dynamodb.items[ENTRY_KEY])
    assert (after["text"]["newer"], after["newer"], after["sequence"]) == ([1], {"N": "1"}, {"N": "2"})


def test_attributes_of_a_gate_survive_signals_and_an_open_circuit() -> None:
    relay = new_relay(DOWN)
    relay.dynamodb.items["gate/noc"] = {"pk": {"S": "gate/noc"}, "newer": {"N": "1"}}
    for number in range(5):
        relay.share(id=f"i{number}")
    assert relay.dynamodb.items["gate/noc"]["newer"] == {"N": "1"}
    assert Gate.of(relay.table.attributes("gate/noc")).circuit.is_open(relay.clock.now)


def test_message_with_unknown_members_and_an_unknown_reason_is_delivered() -> None:
    relay = new_relay()
    assert worked_as_newer(relay) == []
    assert relay.recorder.outcomes() == ["delivered"]


def test_unknown_flag_of_a_message_is_in_the_next_one() -> None:
    relay = new_relay(DOWN)
    assert worked_as_newer(relay) == []
    [job] = relay.retries.jobs()
    assert (job.flags, job.stamps.reason) == ({"newer"}, "upstream")


def test_state_that_waits_for_an_unknown_reason_is_woken_by_the_sweeper() -> None:
    relay = new_relay(DOWN)
    relay.share()
    relay.retries.messages.clear()
    [name] = [name for name in relay.dynamodb.items if name.startswith("incident/")]
    document = document_of(relay.dynamodb.items[name])
    relay.dynamodb.items[name] = item_of(document | {"text": {**document["text"], "reason": "newer"}})
    relay.session.steps = [samples.accepted("r1")]
    relay.sweep_for(600.0)
    relay.drain()
    entry = relay.entry()
    assert (entry.announced, entry.debt.since) == (entry.newest, None)
    assert "crash" not in relay.recorder.metrics()


def worked_as_newer(relay: Relay) -> list[str]:
    """Let the worker work a message of a newer version; return the ids of the messages that stay."""
    message: Any = json.loads(envelope_of(samples.job()))
    message |= {"newer": [1], "flags": ["newer"], "stamps": {**message["stamps"], "reason": "newer", "newer": 1}}
    return relay.worker.work([{"messageId": "m1", "body": json.dumps(message)}])

"""Test of the last resort: a short number by each way that is set up, and the record of the ways that people confirmed.

The sweeper runs it for `relayctl fallback test`, so the test uses the function's own settings and permissions.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from secrets import SystemRandom
from typing import Any, NamedTuple

from relay.deadline import Clock
from relay.delivery.fallback import Fallback
from relay.ledger.table import Table

# Key of the record in the table, and the time for which it is kept: doctor asks for a new test long before.
KEY = "fallback/test"
KEPT_SECONDS = 2 * 365 * 86_400.0
# The ways of a test have different numbers of these, so that a typed number tells its way.
NUMBERS = range(1000, 10_000)


class Confirmation(NamedTuple):
    """Record of the last test that a person confirmed.

    Attributes:
        at: Time of the confirmation (epoch seconds).
        ways: Names of the ways whose number the person typed.
    """

    at: float
    ways: tuple[str, ...]


def carry_out(asked: Mapping[str, Any], fallback: Fallback, table: Table, clock: Clock) -> dict[str, Any]:
    """Record the confirmed ways if `asked` has them (`confirmed`); else send a test by each way.

    A test's result has a list `ways`, each with `way`, `number` and `failure`, which is empty if the test was accepted.
    Raises LedgerError.
    """
    if "confirmed" in asked:
        record = {"at": clock(), "ways": list(asked["confirmed"])}
        table.store(KEY, json.dumps(record), lasts=KEPT_SECONDS)
        return {}
    ways = fallback.ways
    numbers = {way: str(number) for way, number in zip(ways, SystemRandom().sample(NUMBERS, len(ways)), strict=True)}
    failures = fallback.test(numbers)
    return {"ways": [{"way": way, "number": numbers[way], "failure": failures[way]} for way in numbers]}


def last_confirmation(table: Table) -> Confirmation | None:
    """Return the record of the last confirmed test; None if there is none. Raises LedgerError."""
    found = table.read(KEY)
    with suppress(ValueError, KeyError, TypeError):
        if found:
            record = json.loads(found.text)
            return Confirmation(float(record["at"]), tuple(map(str, record["ways"])))
    return None

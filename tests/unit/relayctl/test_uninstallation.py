"""Readiness of a stack for its deletion."""

from typing import Any

import pytest

from relayctl.stack.owed import Account, OwedStates, UndeliveredJobs
from relayctl.stack.uninstall import reasons_against


def reasons(
    *, present: tuple[str, ...] = (), owed: int = 0, waiting: int = 0, dead: int = 0, exported: int = 0, **account: Any
) -> list[str]:
    """Return the reasons against the deletion of a stack; `owed` and `dead` are those of a removed channel."""
    channels = {"gone": OwedStates(others=owed, owed=owed, dead_lettered=dead)}
    whole = Account(channels, UndeliveredJobs(waiting, dead), account.get("problems", []), has_ledger=True)
    return reasons_against(whole, set(present), exported)


@pytest.mark.parametrize(
    ("left", "reason"),
    [
        ({"present": ("noc",)}, "1 channel takes"),
        ({"owed": 2}, "2 states are"),
        ({"waiting": 1}, "1 job waits on the retry and chore queues"),
        ({"dead": 3, "exported": 1}, "2 dead-lettered, and not exported"),
        ({"problems": ["ledger: AccessDenied"]}, "not known: ledger: AccessDenied"),
    ],
)
def test_each_thing_that_is_left_is_a_reason(left: dict[str, Any], reason: str) -> None:
    [found] = reasons(**left)
    assert found.startswith(reason)


def test_empty_stack_and_exported_dead_letters_are_no_reason() -> None:
    assert reasons() == []
    assert reasons(dead=3, exported=3) == []

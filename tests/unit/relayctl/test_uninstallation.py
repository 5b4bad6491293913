"""Readiness of a stack for its deletion, and the commands for it."""

from typing import Any

import pytest

from relayctl.stack.owed import Account, OwedStates, UndeliveredJobs
from relayctl.stack.uninstall import StackNames, reasons_against

TOPIC = "arn:aws:sns:us-east-1:123456789012:relay-FallbackTopic-1"
URLS = [
    "https://sqs.us-east-1.amazonaws.com/123456789012/retry",
    "https://sqs.us-east-1.amazonaws.com/123456789012/dead",
]


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


def test_commands_name_stack_region_and_profile_and_delete_the_table_last_but_the_queues() -> None:
    names = StackNames("relay two", "us-east-1", "ops", "team/relay", "table-1", URLS, TOPIC)
    lines = [line for lines in names.commands().values() for line in lines]
    assert lines[0] == "sam delete --stack-name 'relay two' --region us-east-1 --profile ops"
    assert lines[1].startswith("aws dynamodb update-table --no-deletion-protection-enabled --table-name table-1")
    assert lines[2].startswith("aws dynamodb delete-table --table-name table-1")
    assert [URLS[0] in lines[3], URLS[1] in lines[4]] == [True, True]
    assert lines[5].startswith(f"aws sns delete-topic --topic-arn {TOPIC}")
    assert "Key=name,Values=team/relay/" in lines[6]
    assert "The fallback topic, with its subscriptions." in names.stays()


def test_commands_without_a_profile_name_none() -> None:
    names = StackNames("relay", "us-east-1", None, "relay", "table-1", URLS, None)
    assert not any("--profile" in line for lines in names.commands().values() for line in lines)


def test_given_topic_is_not_deleted() -> None:
    names = StackNames("relay", "us-east-1", None, "relay", "table-1", URLS, None)
    assert "topic" not in str([names.commands(), names.stays()])

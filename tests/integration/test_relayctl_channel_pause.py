"""relayctl channel pause and resume, with AWS in memory."""

from typing import Any

import pytest
from click.testing import Result

from tests.fakes import interrupted, once
from tests.integration.relayctl_cloud import Operator, refusal

# The operator's clock stands at 2027-01-15T08:00:00Z.
NOW, TEN = "2027-01-15T08:00:00Z", "2027-01-15T10:00:00Z"


def run(operator: Operator, *arguments: str, code: int = 0) -> Result:
    return operator.run("channel", *arguments, code=code)


def pauses(operator: Operator) -> Any:
    return operator.secret("payments").get("policy", {}).get("pauses")


def stored(until: str = TEN) -> dict[str, Any]:
    """Return a pause as relayctl stores it, with its author."""
    return {"since": NOW, "until": until, "then": "keep", "by": "user/moto"}


def test_pause_is_stored_with_its_end_and_acts_within_seconds(operator: Operator) -> None:
    operator.keep("payments")
    done = run(operator, "pause", "payments", "--until", TEN, "--keep")
    assert pauses(operator) == [stored()]
    assert operator.marks().keys() == {"payments/settings"}
    assert done.stdout == (
        "channel payments: paused until 2027-01-15 10:00 (UTC), then the newest states ring; by user/moto\n"
    )
    assert "channel payments: it is paused everywhere from 08:00:15 (UTC) on" in done.stderr
    assert "the fallback topic is not notified" in done.stderr


def test_all_channels_are_paused_and_resumed_although_one_is_not_valid(operator: Operator) -> None:
    operator.keep("db", "payments")
    operator.secrets.create_secret(Name="team/relay/broken", SecretString="{")
    done = run(operator, "pause", "--all", "--until", TEN, "--keep", code=1)
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["channel db", "channel payments"]
    assert "channel broken: not changed" in done.stderr
    assert pauses(operator) == [stored()]
    operator.secrets.delete_secret(SecretId="team/relay/broken", ForceDeleteWithoutRecovery=True)
    found = operator.run_json("channel", "resume", "--all")["channels"]
    assert [each["channel"] for each in found] == ["db", "payments"]
    run(operator, "resume", "--all", code=3)


def test_resume_ends_active_pauses_now_and_removes_future_ones(operator: Operator) -> None:
    operator.keep("payments")
    run(operator, "pause", "payments", "--until", TEN, "--keep")
    run(operator, "pause", "payments", "--from", TEN, "--until", "2027-01-15T11:00:00Z", "--keep")
    others = run(operator, "resume", "payments", "--when", "status=warning", code=3).stderr.splitlines()
    assert [line.partition(" until")[0] for line in others[:2]] == [
        "channel payments: not ended: paused",
        "channel payments: not ended: to be paused from 2027-01-15 10:00 (UTC)",
    ]
    operator.clock.now = 1_800_003_600
    lines = run(operator, "resume", "payments").stdout.splitlines()
    assert lines == [
        "channel payments: ended: paused until 2027-01-15 10:00 (UTC), then the newest states ring; by user/moto",
        "channel payments: ended: to be paused from 2027-01-15 10:00 (UTC) until 2027-01-15 11:00 (UTC), then "
        "the newest states ring; by user/moto",
    ]
    assert pauses(operator) == [stored("2027-01-15T09:00:00Z")]
    assert "there is no channel payments with such a pause" in run(operator, "resume", "payments", code=3).stderr


@pytest.mark.parametrize("operation", ["GetSecretValue", "PutSecretValue"])
def test_all_other_channels_are_paused_if_aws_refuses_a_call_for_one(operator: Operator, operation: str) -> None:
    operator.keep("a", "payments", "z")
    # `pause --all` reads each secret when it lists the channels, and again.
    denied = once(lambda **_: refusal("AccessDeniedException"), at=2 if operation == "PutSecretValue" else 5)
    operator.hooks[f"before-call.secretsmanager.{operation}"] = denied
    done = run(operator, "pause", "--all", "--until", TEN, "--keep", code=1)
    assert f"channel payments: not changed: AWS refused {operation}: AccessDeniedException" in done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["channel a", "channel z"]
    assert operator.marks().keys() == {"a/settings", "z/settings"}
    assert pauses(operator) is None


def test_ctrl_c_ends_resume_of_all_after_a_channel_and_the_rest_is_named_and_resumed_by_the_next_call(
    operator: Operator,
) -> None:
    operator.keep("a", "payments", "z")
    run(operator, "pause", "--all", "--until", TEN, "--keep")
    before = operator.marks()
    operator.hooks["before-call.secretsmanager.PutSecretValue"] = once(interrupted, at=2)
    done = run(operator, "resume", "--all", code=130)
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["channel a"]
    assert "not changed, or not in force: payments, z; run the command again" in done.stderr
    marks = operator.marks()
    assert {name for name, mark in marks.items() if mark != before[name]} == {"a/settings"}
    assert pauses(operator) == [stored()]
    found = operator.run_json("channel", "resume", "--all")["channels"]
    assert [each["channel"] for each in found] == ["payments", "z"]
    assert all(mark != marks[name] for name, mark in operator.marks().items()), "also that of a channel without a pause"


def test_undo_says_that_it_undoes_no_pause(operator: Operator) -> None:
    operator.keep("payments")
    run(operator, "pause", "payments", "--until", TEN, "--keep")
    assert "relayctl channel resume ends pauses" in run(operator, "undo", "payments", "--yes", code=3).stderr

"""relayctl channel pause and resume, with AWS in memory."""

from typing import Any

from click.testing import Result

from tests.integration.relayctl_cloud import Operator

# The operator's clock stands at 2027-01-15T08:00:00Z.
NOW, TEN = "2027-01-15T08:00:00Z", "2027-01-15T10:00:00Z"


def keep(operator: Operator, **policy: Any) -> None:
    operator.keep("payments", policy=policy)


def run(operator: Operator, *arguments: str, code: int = 0) -> Result:
    return operator.run("channel", *arguments, code=code)


def pauses(operator: Operator) -> Any:
    return operator.secret("payments").get("policy", {}).get("pauses")


def stored(until: str = TEN) -> dict[str, Any]:
    """Return a pause as relayctl stores it, with its author."""
    return {"since": NOW, "until": until, "then": "keep", "by": "user/moto"}


def test_pause_is_stored_with_its_end_and_acts_within_seconds(operator: Operator) -> None:
    keep(operator)
    done = run(operator, "pause", "payments", "--until", TEN, "--keep")
    assert pauses(operator) == [stored()]
    assert operator.marks().keys() == {"payments/settings"}
    assert done.stdout == (
        "channel payments: paused until 2027-01-15 10:00 (UTC), then the newest states ring; by user/moto\n"
    )
    assert "channel payments: it is paused everywhere from 08:00:15 (UTC) on" in done.stderr
    assert "the fallback topic is not notified" in done.stderr


def test_all_channels_are_paused_and_resumed_although_one_is_not_valid(operator: Operator) -> None:
    keep(operator)
    operator.keep("db")
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
    keep(operator)
    run(operator, "pause", "payments", "--until", TEN, "--keep")
    run(operator, "pause", "payments", "--from", TEN, "--until", "2027-01-15T11:00:00Z", "--keep")
    operator.clock.now = 1_800_003_600
    lines = run(operator, "resume", "payments").stdout.splitlines()
    assert lines == [
        "channel payments: ended: paused until 2027-01-15 10:00 (UTC), then the newest states ring; by user/moto",
        "channel payments: ended: to be paused from 2027-01-15 10:00 (UTC) until 2027-01-15 11:00 (UTC), then "
        "the newest states ring; by user/moto",
    ]
    assert pauses(operator) == [stored("2027-01-15T09:00:00Z")]
    assert "there is no channel payments with such a pause" in run(operator, "resume", "payments", code=3).stderr


def test_undo_and_settings_files_leave_pauses_alone(operator: Operator, tmp_path: Any) -> None:
    keep(operator)
    run(operator, "export", str(tmp_path))
    run(operator, "pause", "payments", "--until", TEN, "--keep")
    assert "pauses" not in (tmp_path / "payments.yaml").read_text()
    run(operator, "plan", str(tmp_path))
    run(operator, "set", "payments", "--set", "policy.max_per_minute=30")
    run(operator, "undo", "payments", "--yes")
    assert pauses(operator) == [stored()]

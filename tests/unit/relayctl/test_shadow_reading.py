"""Log reading for a shadow report: spans of time, newest first, a bounded number of answers, progress and Ctrl-C."""

import json
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError
from click.testing import CliRunner, Result

from relayctl.__main__ import main
from relayctl.report.shadow import MAX_ANSWERS
from relayctl.stack.deployed import Effects
from tests import samples
from tests.fakes import Clock

NOW = 1_800_000_000.0
# A week, 30 days and a year before NOW.
WEEK_AGO, MONTH_AGO, YEAR_AGO = "2027-01-08T08:00:00Z", "2026-12-16T08:00:00Z", "2026-01-15T08:00:00Z"
DAY = 86_400.0


class FakeLogs:
    """CloudWatch Logs in which every answer has one share, at the start of the requested time.

    Attributes:
        size: Number of answers (pages) for each requested time.
        asked: Start and end of each requested time (epoch seconds); requests for further pages are left out.
        on_call: Called before each answer.
    """

    def __init__(self, size: int = 1, on_call: Callable[[], object] = lambda: None) -> None:
        self.size = size
        self.asked: list[tuple[float, float]] = []
        self.on_call = on_call

    def filter_log_events(self, *, startTime: int, endTime: int, nextToken: str = "0", **_: Any) -> dict[str, Any]:
        self.on_call()
        number = int(nextToken)
        if not number:
            self.asked.append((startTime / 1000, (endTime + 1) / 1000))
        fields = {"message": "share", "channel": "noc", "outcome": "shadowed", "incident_id": "i1"}
        more = {"nextToken": str(number + 1)} if number + 1 < self.size else {}
        return {"events": [{"timestamp": startTime, "message": json.dumps(fields)}], **more}


class FakeSession:
    """A boto3 session of a stack with one channel in shadow mode."""

    region_name = "us-east-1"

    def __init__(self, logs: FakeLogs) -> None:
        self.logs = logs

    def client(self, name: str, **_: Any) -> Any:
        return self.logs if name == "logs" else self

    def describe_stacks(self, **_: Any) -> dict[str, Any]:
        parameters = {
            "XMattersHosts": "acme.xmatters.com",
            "BigPandaHosts": "api.bigpanda.io",
            "Profile": "aws",
            "LogRetentionDays": "30",
        }
        return {
            "Stacks": [
                {
                    "Outputs": [{"OutputKey": "SecretPrefix", "OutputValue": "relay"}],
                    "Parameters": [{"ParameterKey": name, "ParameterValue": text} for name, text in parameters.items()],
                }
            ]
        }

    def get_secret_value(self, **_: Any) -> dict[str, Any]:
        return {"SecretString": json.dumps(samples.secret() | {"policy": {"mode": "shadow"}}), "VersionId": "v1"}


def run(logs: FakeLogs, *arguments: str, ticks: Clock | None = None) -> Result:
    effects = Effects(lambda **_: FakeSession(logs), clock=Clock(NOW), ticks=ticks or Clock())  # type: ignore[arg-type]
    return CliRunner().invoke(main, ["shadow", "report", "noc", *arguments], obj=effects)


def read(logs: FakeLogs, *arguments: str, code: int = 0) -> Any:
    done = run(logs, *arguments, "--json")
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


def test_time_before_the_retention_is_not_asked_for() -> None:
    logs = FakeLogs()
    found = read(logs, "--since", YEAR_AGO)
    assert logs.asked[-1][0] == NOW - 30 * DAY
    assert found["complete_from"] == MONTH_AGO
    assert "LogRetentionDays" in found["sources"][0]["problem"]


def test_number_of_answers_is_bounded_and_the_unread_time_is_named() -> None:
    logs = FakeLogs(size=MAX_ANSWERS // 2 + 1)
    found = read(logs, "--since", WEEK_AGO, code=1)
    assert found["shares"] == MAX_ANSWERS
    assert found["complete_from"] == "2027-01-15T07:51:00Z"
    assert "were not all read" in found["sources"][0]["problem"]


def test_lines_that_were_read_before_a_failure_are_reported() -> None:
    calls: list[int] = []

    def fail_at_third() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, "FilterLogEvents")

    found = read(FakeLogs(on_call=fail_at_third), "--since", WEEK_AGO, code=1)
    assert found["shares"] == 2
    assert [each["source"] for each in found["sources"] if each["is_failure"]] == ["log bigpanda-webhook"]


def test_progress_is_printed_although_stderr_is_no_terminal() -> None:
    ticks = Clock()
    logs = FakeLogs(on_call=lambda: ticks.sleep(3))
    done = run(logs, "--since", WEEK_AGO, ticks=ticks)
    assert "reading the webhook's log: 2 shares" in done.stderr
    assert "reading" not in done.stdout


def test_ctrl_c_is_exit_code_130() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    done = run(FakeLogs(on_call=interrupt))
    assert (done.exit_code, done.stdout) == (130, "")

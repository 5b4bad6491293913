"""`make staging`: its guard, its report, and its checks with an account's answers; botocore checks each request."""

import io
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
import requests
from samtranslator.yaml_helper import yaml_parse

from sandbox.errors import SandboxError
from tools.staging import account
from tools.staging.checks import CHECKS
from tools.staging.report import Check, Checked, Seen, judged
from tools.staging.target import CHANNEL, Target, XMatters

ACCOUNT = "123456789012"


class Sts:
    """The service that says whose credentials these are."""

    def get_caller_identity(self) -> dict[str, str]:
        return {"Account": ACCOUNT}


def only_sts(service: str) -> Any:
    assert service == "sts", f"the guard let {service} be called"
    return Sts()


def checked(*seen: Seen, error: Exception | None = None) -> Checked:
    """Run a check that sees this, and then may raise an error."""

    def run(_: Target) -> Iterator[Seen]:
        yield from seen
        if error:
            raise error

    world = Target("a stack", {}, boto3.Session(), XMatters(None, ""), lambda **_: None)
    return Check("a check", "docs/sky.md", "The sky is blue.", run).checked(world)


def test_another_account_than_the_named_one_is_refused() -> None:
    account.confirm(only_sts, ACCOUNT)
    with pytest.raises(SandboxError, match=f"of account {ACCOUNT}, and you named 210987654321: nothing was done"):
        account.confirm(only_sts, "210987654321")


def test_whatever_the_stack_would_retain_goes_with_it_but_the_accounts_role() -> None:
    resources = account.removable(yaml_parse((account.ROOT / "template.yaml").read_text()))["Resources"]
    retained = {name for name, each in resources.items() if each.get("DeletionPolicy") == "Retain"}
    assert retained == {"ApiGatewayRole", "ApiGatewayAccount"}
    assert "DeletionProtectionEnabled" not in resources["LedgerTable"]["Properties"]


def test_check_that_fails_keeps_what_it_saw_before_and_differs() -> None:
    found = checked(judged("x", 1, holds=True), error=OSError("no route"))
    assert [each.verdict for each in found.seen] == ["held", "differs"]
    assert "OSError: no route" in found.seen[1].said


@pytest.mark.parametrize("each", CHECKS, ids=lambda each: each.name)
def test_check_quotes_its_document(each: Check) -> None:
    document = (account.ROOT / each.source).read_text()
    assert each.says in " ".join(document.split())


# This needs a network.
ELSEWHERE = {"requests to the api"}
OUTPUTS = {
    "ApiId": "a1",
    "BigPandaWebhookUrl": "https://api.example/v1/bigpanda/{channel}",
    "RetryQueueUrl": "https://sqs.example/1/retry",
    "DeadLetterQueueUrl": "https://sqs.example/1/dead",
    "FallbackTopicArn": "arn:aws:sns:us-east-1:123456789012:fallback",
    "LedgerTableName": "ledger",
    "JobWorkerFunction": "worker",
    "DashboardUrl": "https://us-east-1.console.aws.amazon.com/#dashboards/dashboard/relay-us-east-1",
}
ANSWERS: Mapping[str, Any] = {
    "GetAccountSettings": {"AccountLimit": {"ConcurrentExecutions": 1000}},
    "GetRestApi": {"apiStatus": "AVAILABLE", "securityPolicy": "SecurityPolicy_TLS13_1_2_2021_06"},
    "DescribeStackEvents": {
        "StackEvents": [
            {
                "LogicalResourceId": name,
                "ResourceStatus": "CREATE_COMPLETE",
                "Timestamp": datetime(2026, 1, 1, tzinfo=UTC),
            }
            for name in ("ApiGatewayAccount", "AccessLogGroup", "Apiv1Stage")
        ]
    },
    "DescribeStacks": {
        "Stacks": [
            {
                "StackStatus": "DELETE_COMPLETE",
                "Outputs": [{"OutputKey": key, "OutputValue": value} for key, value in OUTPUTS.items()],
            }
        ]
    },
    "DescribeStackResource": {"StackResourceDetail": {"PhysicalResourceId": "made-by-aws"}},
    "DescribeAlarms": {"MetricAlarms": [{"AlarmName": "made-by-aws"}]},
    "GetDashboard": {"DashboardBody": '{"widgets": [{}]}'},
    "FilterLogEvents": {"events": [{"message": "REPORT RequestId: 1"}, {"message": '"status":"403"'}]},
    "GetMetricStatistics": {"Datapoints": [{"Sum": 0.0}]},
    "GetQueueAttributes": {
        "Attributes": {
            "QueueArn": "arn:aws:sqs:us-east-1:1:dead",
            "ApproximateNumberOfMessages": "0",
            "ApproximateNumberOfMessagesNotVisible": "0",
            "ApproximateNumberOfMessagesDelayed": "0",
        }
    },
    "SendMessage": {"MessageId": "unreadable"},
    "DescribeQueryDefinitions": {
        "queryDefinitions": [{"name": "relay/shares", "queryString": "fields @message", "logGroupNames": ["a"]}]
    },
    "StartQuery": {"queryId": "1"},
    "GetQueryResults": {"status": "Complete", "results": []},
    "GetCallerIdentity": {"Account": "123456789012"},
    "CreateRole": {"Role": {"Arn": "arn:aws:iam::123456789012:role/relay-two-hours/relay-doctor"}},
    "AssumeRole": {"Credentials": {"AccessKeyId": "a", "SecretAccessKey": "b", "SessionToken": "c"}},
}
SAID_BY_RELAYCTL = {
    "channels": [{"channel": CHANNEL}],
    "checks": [{"check": "table", "state": "ok", "detail": ""}],
    "messages": [{"message_id": "unreadable"}],
    "reasons": [],
    "can_be_deleted": True,
    "verified": True,
}


class Account(boto3.Session):
    """A session whose clients check their requests, and send none."""

    def client(self, service_name: str, *_: Any, **__: Any) -> Any:
        made = super().client(service_name)  # type: ignore[call-overload]
        made.meta.events.register("before-call", self._answer)
        return made

    def _answer(self, model: Any, **_: Any) -> tuple[Any, Any]:
        exported = {"body": io.BytesIO(b'{"x-amazon-apigateway-policy": "128.0.0.0/1"}')}
        return SimpleNamespace(status_code=200), exported if model.name == "GetExport" else ANSWERS.get(model.name, {})


class Relay(Target):
    """A relay that answers 200 to every share, and rings for it once; a minute passes with each look at the clock."""

    def __init__(self) -> None:
        self.deployments, self.minutes = list[Mapping[str, str]](), iter(range(0, 1_000_000, 60))
        account = Account("test", "test", None, "us-east-1")
        world = (lambda **parameters: self.deployments.append(parameters), lambda _: None, lambda: next(self.minutes))
        super().__init__("relay", {}, account, StandIn(), *world)

    def post(self, body: bytes, *, path: str = "", bearer: str | None = None) -> requests.Response:
        assert isinstance(self.xmatters, StandIn)
        self.xmatters.signals.append(body)
        answer = requests.Response()
        answer.status_code = 200
        return answer

    def relayctl(self, *arguments: str, codes: tuple[int, ...] = (0,), **environment: str) -> str:
        return json.dumps(SAID_BY_RELAYCTL)


class StandIn(XMatters):
    def __init__(self) -> None:
        super().__init__(None, "https://xmatters.example/api/integration/1/functions/1/triggers?apiKey=k")
        self.signals = list[bytes]()

    def answer(self, status: int) -> None:
        pass

    def accepted(self) -> list[bytes]:
        return self.signals

    def runtime(self) -> str:
        return "{}"


@pytest.mark.parametrize("each", [each for each in CHECKS if each.name not in ELSEWHERE], ids=lambda each: each.name)
def test_check_sends_valid_requests_to_an_account(each: Check) -> None:
    seen = each.checked(Relay()).seen
    assert [one for one in seen if one.what == "the check itself"] == []
    assert seen

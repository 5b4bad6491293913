"""The dead-letter queue, alarms, parameters and outputs after SAM's own transform; what AWS's own checks say.

`${Name}` in what is expected stands for a reference that only a deployment can fill in.
"""

import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from relay.delivery import Outcome
from relay.telemetry import NOTICES
from sandbox.cloud import without_aws
from tests.artefact import templates
from tests.artefact.builds import ROOT
from tests.artefact.templates import TEMPLATE, Stack, of_clone

SAM = ROOT / ".venv-sam" / "bin"
TOPIC = "arn:aws:sns:us-east-1:123456789012:on-call"


@pytest.fixture(scope="module")
def parameters() -> dict[str, dict[str, Any]]:
    """The template's parameters as they are declared."""
    return dict(templates.read(TEMPLATE)["Parameters"])


class TestDeadLetterQueue:
    def test_it_is_encrypted_and_keeps_messages_for_fourteen_days(self, on_aws: Stack) -> None:
        queue = on_aws.only("AWS::SQS::Queue")
        assert queue["SqsManagedSseEnabled"] is True
        assert queue["MessageRetentionPeriod"] == 14 * 24 * 60 * 60
        assert queue["MaximumMessageSize"] == 1024 * 1024

    def test_a_message_that_is_being_worked_off_stays_hidden_as_long_as_the_worker_may_take(
        self, on_aws: Stack
    ) -> None:
        queue, worker = on_aws.only("AWS::SQS::Queue"), on_aws.of_type("AWS::Lambda::Function")["JobWorkerFunction"]
        assert queue["VisibilityTimeout"] >= worker["Timeout"]

    def test_undelivered_shares_survive_a_replacement(self, on_aws: Stack) -> None:
        assert on_aws.resources["DeadLetterQueue"]["UpdateReplacePolicy"] == "Retain"

    def test_on_aws_it_is_reached_by_tls_alone(self, on_aws: Stack) -> None:
        policy = on_aws.only("AWS::SQS::QueuePolicy")
        assert policy["Queues"] == ["${DeadLetterQueue}"]
        [statement] = policy["PolicyDocument"]["Statement"]
        assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "sqs:*")
        assert statement["Resource"] == "${DeadLetterQueue.Arn}"
        assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}

    def test_the_local_profile_leaves_out_what_the_local_cloud_refuses(self) -> None:
        assert of_clone(Profile="local").of_type("AWS::SQS::QueuePolicy") == {}


class TestAlarms:
    @pytest.mark.parametrize(("topic", "told"), [("", []), (TOPIC, [TOPIC])])
    def test_they_tell_the_topic_if_there_is_one(self, topic: str, told: list[str]) -> None:
        alarms = of_clone(AlarmTopicArn=topic).of_type("AWS::CloudWatch::Alarm")
        assert alarms.keys() == {
            "DeadLettersAlarm",
            "UndeliveredSharesAlarm",
            "UnsafeSharesAlarm",
            "StaleChannelAlarm",
            "WebhookErrorsAlarm",
            "WebhookThrottlesAlarm",
        }
        for alarm in alarms.values():
            assert alarm["AlarmActions"] == told
            assert alarm["OKActions"] == told

    def test_they_go_off_at_the_first_of_it_and_silence_is_fine(self, on_aws: Stack) -> None:
        for alarm in on_aws.of_type("AWS::CloudWatch::Alarm").values():
            assert alarm["Period"] * alarm["EvaluationPeriods"] == 60
            assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("GreaterThanThreshold", 0)
            assert alarm["TreatMissingData"] == "notBreaching"
            assert "docs/" in alarm["AlarmDescription"]

    def test_they_watch_the_queue_and_the_function_of_this_stack(self, on_aws: Stack) -> None:
        alarms = on_aws.of_type("AWS::CloudWatch::Alarm")
        assert alarms["DeadLettersAlarm"]["Dimensions"] == [
            {"Name": "QueueName", "Value": "${DeadLetterQueue.QueueName}"}
        ]
        for name in ("WebhookErrorsAlarm", "WebhookThrottlesAlarm"):
            assert alarms[name]["Dimensions"] == [{"Name": "FunctionName", "Value": "${BigPandaWebhookFunction}"}]

    def test_those_on_our_own_metrics_watch_metrics_that_there_are(self, on_aws: Stack) -> None:
        ours = {
            name: alarm
            for name, alarm in on_aws.of_type("AWS::CloudWatch::Alarm").items()
            if not alarm["Namespace"].startswith("AWS/")
        }
        counted = {f"outcome_{outcome}" for outcome in Outcome} | set(NOTICES)
        assert len(ours) == 3
        for name, alarm in ours.items():
            assert alarm["MetricName"] in counted, name
            assert alarm["Dimensions"] == [{"Name": "service", "Value": "relay"}], name


class TestParameters:
    def test_each_is_described_and_bounded(self, parameters: dict[str, dict[str, Any]]) -> None:
        for name, parameter in parameters.items():
            assert parameter.get("Description", "").endswith("."), name
            bounds = parameter.keys() & {"AllowedValues", "AllowedPattern", "MinValue", "MaxValue"}
            assert bounds in ({"AllowedValues"}, {"AllowedPattern"}, {"MinValue", "MaxValue"}), name
            assert ("AllowedPattern" in bounds) == ("ConstraintDescription" in parameter), name

    def test_each_default_is_allowed(self, parameters: dict[str, dict[str, Any]]) -> None:
        for name, parameter in parameters.items():
            default = parameter["Default"]
            assert default in parameter.get("AllowedValues", [default]), name
            assert re.fullmatch(parameter.get("AllowedPattern", ".*"), str(default)), name
            if "MinValue" in parameter:
                assert parameter["MinValue"] <= default <= parameter["MaxValue"], name

    def test_each_stands_in_a_group_of_the_console(self, parameters: dict[str, dict[str, Any]]) -> None:
        interface = templates.read(TEMPLATE)["Metadata"]["AWS::CloudFormation::Interface"]
        grouped = [name for group in interface["ParameterGroups"] for name in group["Parameters"]]
        assert sorted(grouped) == sorted(parameters)

    @pytest.mark.parametrize(
        ("name", "good", "bad"),
        [
            (
                "SecretPrefix",
                ["", "relay", "ops/relay-1", "a_+=.@-z/b"],
                ["/relay", "relay/", "a//b", "relay *", "*", "relay\n"],
            ),
            (
                "AllowedHosts",
                ["acme.xmatters.com", "*.xmatters.com,*.bigpanda.io", "a.b-c.d1"],
                ["", "*", "*.*", "https://acme.xmatters.com", "ACME.xmatters.com", "a.com, b.com", "a.com,", "x.*.com"],
            ),
            (
                "AlarmTopicArn",
                ["", TOPIC, "arn:aws-us-gov:sns:us-gov-west-1:123456789012:a_b-C"],
                ["on-call", "arn:aws:sqs:us-east-1:123456789012:q", TOPIC + ":subscription", TOPIC + " "],
            ),
        ],
    )
    def test_patterns(self, parameters: dict[str, dict[str, Any]], name: str, good: list[str], bad: list[str]) -> None:
        pattern = parameters[name]["AllowedPattern"]
        assert [value for value in good if not re.fullmatch(pattern, value)] == []
        assert [value for value in bad if re.fullmatch(pattern, value)] == []


class TestOutputs:
    def test_all_of_them_are_there_and_described(self, on_aws: Stack) -> None:
        assert {name: output["Value"] for name, output in on_aws.outputs.items()} == {
            "ApiId": "${Api}",
            "BigPandaWebhookUrl": "https://${Api}.execute-api.us-east-1.amazonaws.com/v1/bigpanda/{channel}",
            "DeadLetterQueueUrl": "${DeadLetterQueue}",
            "SecretPrefix": "relay",
            "JobWorkerFunction": "${JobWorkerFunction}",
        }
        assert all(output["Description"] for output in on_aws.outputs.values())

    def test_the_prefix_is_the_one_that_was_chosen(self) -> None:
        assert of_clone(SecretPrefix="ops").outputs["SecretPrefix"]["Value"] == "ops"


@pytest.mark.parametrize(
    "command",
    [
        ["sam", "validate", "--region", "us-east-1"],
        ["sam", "validate", "--lint", "--region", "us-east-1"],
        ["cfn-lint", str(TEMPLATE)],
    ],
    ids=["validate", "validate --lint", "cfn-lint"],
)
def test_aws_own_checks_have_nothing_to_say(command: list[str], tmp_path: Path) -> None:
    # The SAM CLI would go and look for a newer version of itself.
    settings = tmp_path / ".aws-sam" / "metadata.json"
    settings.parent.mkdir()
    settings.write_text(json.dumps({"telemetryEnabled": False, "lastVersionCheck": time.time()}))
    environment = without_aws(os.environ) | {
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
        "SAM_CLI_TELEMETRY": "0",
        "NO_COLOR": "1",
    }
    program = SAM / command[0]
    assert program.exists(), "run `make setup`"
    done = subprocess.run(
        [program, *command[1:]], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert not re.search(r"\b[WE]\d{4}\b|warning", said, re.IGNORECASE), said

"""Queues, ledger, fallback topic, alarms, parameters and outputs after SAM's own transform; what AWS's own checks say.

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

from relay.errors import Reason
from relay.jobs.outcome import Outcome
from relay.jobs.queue import MAX_DELAY_SECONDS, MAX_MESSAGE_BYTES
from relay.ledger.row import AT, INDEX, SHARD, Row
from relay.telemetry import NOTICES
from relayctl.stack_checks import WOKEN
from sandbox.environment import without_aws
from tests.artefact import templates
from tests.artefact.builds import ROOT
from tests.artefact.templates import TEMPLATE, Stack, of_clone
from tests.fake_dynamodb import FakeDynamoDb
from tests.ledger_table import LEDGER_TABLE

SAM = ROOT / ".venv-sam" / "bin"
TOPIC = "arn:aws:sns:us-east-1:123456789012:on-call"

# Alarms on the relay's own metrics.
OURS = {
    "NewDeadLettersAlarm": "dead_lettered",
    "UnsafeSharesAlarm": "outcome_unsafe",
    "UnsafeCallbacksAlarm": "callback_unsafe",
    "UnreadableJobsAlarm": "unreadable_job",
    "CredentialsAlarm": "reason_credentials",
    "StaleChannelAlarm": "stale_channel",
    "LedgerAlarm": "unguarded",
    "UnconfirmedAlarm": "unconfirmed",
    "FallbackAlarm": "fallback_notified",
    "FallbackFailedAlarm": "fallback_failed",
    "MissedSharesAlarm": "share_missed",
    "ReconcileFailedAlarm": "reconcile_failed",
    "UnauthorizedSharesAlarm": "unauthorized_share",
    "FailingSignalsAlarm": "signal_failed",
    "ForgedResolveAlarm": "resolve_refuted",
    "LookupsLimitedAlarm": "lookups_limited",
    "UndecidedRequestsAlarm": "undecided_request",
    "EpochUnreadAlarm": "epoch_unread",
    "SweeperGoneAlarm": "sweeper_heartbeat",
    "OverdueDebtsAlarm": "debt_overdue_seconds",
    "FloodedChannelsAlarm": "channels_flooded",
}
# Those on figures that are true at the time of a run; the others count what happened.
OF_GAUGES = {"OverdueDebtsAlarm", "FloodedChannelsAlarm"}
# Alarms on several metrics of AWS's at once.
OF_METRICS = {"LedgerThrottledAlarm"}
OF_ACCESS_LOG = {"RefusedRequestsAlarm": "bigpanda_4xx"}
AGES = {each.queue: each.oldest_seconds for each in WOKEN}
# Alarms on the age of the oldest message.
OF_AGES = {"RetryQueueAlarm": "RetryQueue", "ChoreQueueAlarm": "ChoreQueue"}
OF_QUEUES = {"DeadLettersAlarm", *OF_AGES}
OF_FUNCTIONS = {
    "WebhookErrorsAlarm": ("${BigPandaWebhookFunction}", "Errors"),
    "WebhookThrottlesAlarm": ("${BigPandaWebhookFunction}", "Throttles"),
    "CallbackErrorsAlarm": ("${XMattersCallbackFunction}", "Errors"),
    "WorkerErrorsAlarm": ("${JobWorkerFunction}", "Errors"),
    "WorkerThrottlesAlarm": ("${JobWorkerFunction}", "Throttles"),
    "WorkerRecursionAlarm": ("${JobWorkerFunction}", "RecursiveInvocationsDropped"),
    "ChoreWorkerErrorsAlarm": ("${ChoreWorkerFunction}", "Errors"),
    "ChoreWorkerThrottlesAlarm": ("${ChoreWorkerFunction}", "Throttles"),
    "ChoreWorkerRecursionAlarm": ("${ChoreWorkerFunction}", "RecursiveInvocationsDropped"),
    "ReconcileErrorsAlarm": ("${ReconcileFunction}", "Errors"),
    "ReconcileGoneAlarm": ("${ReconcileFunction}", "Invocations"),
    "SweeperErrorsAlarm": ("${SweeperFunction}", "Errors"),
}
# Those that watch what happens every few minutes, with how long they look, and what they bear.
SLOW = {"MissedSharesAlarm": (300, 0), "ReconcileErrorsAlarm": (300, 0), "ReconcileFailedAlarm": (900, 1)}
SLOW |= {"ReconcileGoneAlarm": (1800, 1)}
SLOW |= {"SweeperGoneAlarm": (300, 1), "OverdueDebtsAlarm": (60, 600)}
SLOW |= {"LookupsLimitedAlarm": (300, 0), "UndecidedRequestsAlarm": (300, 0), "EpochUnreadAlarm": (300, 0)}
SLOW |= {"UnauthorizedSharesAlarm": (300, 0), "RefusedRequestsAlarm": (300, 0), "FailingSignalsAlarm": (300, 0)}


@pytest.fixture(scope="module")
def parameters() -> dict[str, dict[str, Any]]:
    """The template's parameters as they are declared."""
    return dict(templates.read(TEMPLATE)["Parameters"])


KEY = "arn:aws:kms:us-east-1:123456789012:key/0a1b2c3d-0000-4000-8000-000000000000"
WEB_ACL = "arn:aws:wafv2:us-east-1:123456789012:regional/webacl/relay-1/0a1b2c3d-0000-4000-8000-000000000000"
QUEUES = ("RetryQueue", "ChoreQueue", "DeadLetterQueue")
# What a change of properties must not throw away.
KEPT = ("LedgerTable", *QUEUES)


def test_what_was_kept_survives_a_replacement_and_the_end_of_the_stack(on_aws: Stack) -> None:
    for name in KEPT:
        assert on_aws.resources[name]["UpdateReplacePolicy"] == "Retain", name
        assert on_aws.resources[name]["DeletionPolicy"] == "Retain", name


def test_table_is_protected_against_deletion_on_aws(on_aws: Stack) -> None:
    assert on_aws.only("AWS::DynamoDB::Table")["DeletionProtectionEnabled"] is True
    assert "DeletionProtectionEnabled" not in of_clone(Profile="local").only("AWS::DynamoDB::Table")


class TestKeyOfOnesOwn:
    def test_it_encrypts_all_that_holds_incidents(self) -> None:
        chosen = of_clone(KmsKeyArn=KEY)
        for queue in chosen.of_type("AWS::SQS::Queue").values():
            assert queue["KmsMasterKeyId"] == KEY
            # SQS takes one of the two alone.
            assert "SqsManagedSseEnabled" not in queue
        sse = {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY}
        assert chosen.only("AWS::DynamoDB::Table")["SSESpecification"] == sse
        assert chosen.only("AWS::SNS::Topic")["KmsMasterKeyId"] == KEY
        groups = chosen.of_type("AWS::Logs::LogGroup")
        assert len(groups) == 7
        assert {group["KmsKeyId"] for group in groups.values()} == {KEY}

    @pytest.mark.parametrize("parameters", [{}, {"Profile": "local", "KmsKeyArn": KEY}])
    def test_without_it_and_in_the_local_cloud_keys_of_aws_do(self, parameters: dict[str, str]) -> None:
        resources = templates.stack(TEMPLATE, parameters, templates.LOCAL_ACCOUNT).resources
        assert "kms" not in json.dumps(resources).lower()
        assert all(resources[name]["Properties"]["SqsManagedSseEnabled"] is True for name in QUEUES)


class TestLocalProfile:
    """Profile=local allows plain http, and leaves protections out: AWS must not run it."""

    REFUSED = "LocalProfileIsForTheLocalCloudAlone"

    def test_deployment_with_it_to_aws_fails_by_a_name_that_sqs_refuses(self) -> None:
        name = of_clone(Profile="local").resources[self.REFUSED]["Properties"]["QueueName"]
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,80}", name) is None
        assert "Profile=aws" in name

    def test_deployment_with_it_to_the_local_cloud_has_nothing_of_that(self) -> None:
        local = templates.stack(TEMPLATE, {"Profile": "local"}, templates.LOCAL_ACCOUNT)
        assert self.REFUSED not in local.resources

    def test_deployment_to_aws_has_nothing_of_that(self, on_aws: Stack) -> None:
        assert self.REFUSED not in on_aws.resources


class TestQueues:
    @pytest.mark.parametrize("name", QUEUES)
    def test_they_are_encrypted_and_keep_messages_for_fourteen_days(self, on_aws: Stack, name: str) -> None:
        queue = on_aws.of_type("AWS::SQS::Queue")[name]
        assert queue["SqsManagedSseEnabled"] is True
        assert queue["MessageRetentionPeriod"] == 14 * 24 * 60 * 60
        assert queue["MaximumMessageSize"] == MAX_MESSAGE_BYTES

    def test_there_are_no_others(self, on_aws: Stack) -> None:
        assert on_aws.of_type("AWS::SQS::Queue").keys() == set(QUEUES)

    @pytest.mark.parametrize("name", ["RetryQueue", "ChoreQueue"])
    def test_poison_goes_to_the_dead_letter_queue_and_throttled_receives_do_not_send_a_job_there_soon(
        self, on_aws: Stack, name: str
    ) -> None:
        queues = on_aws.of_type("AWS::SQS::Queue")
        assert queues[name]["RedrivePolicy"] == {
            "deadLetterTargetArn": "${DeadLetterQueue.Arn}",
            "maxReceiveCount": 20,
        }
        assert "RedrivePolicy" not in queues["DeadLetterQueue"]

    def test_a_message_that_is_being_replayed_stays_hidden_as_long_as_the_worker_may_take(self, on_aws: Stack) -> None:
        queue = on_aws.of_type("AWS::SQS::Queue")["DeadLetterQueue"]
        worker = on_aws.of_type("AWS::Lambda::Function")["JobWorkerFunction"]
        assert queue["VisibilityTimeout"] >= worker["Timeout"]

    def test_on_aws_they_are_reached_by_tls_alone(self, on_aws: Stack) -> None:
        policies = on_aws.of_type("AWS::SQS::QueuePolicy")
        assert [policy["Queues"] for policy in policies.values()] == [[f"${{{name}}}"] for name in QUEUES]
        for name, policy in zip(QUEUES, policies.values(), strict=True):
            [statement] = policy["PolicyDocument"]["Statement"]
            assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "sqs:*")
            assert statement["Resource"] == f"${{{name}.Arn}}"
            assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}

    def test_the_local_profile_leaves_out_what_the_local_cloud_refuses(self) -> None:
        assert of_clone(Profile="local").of_type("AWS::SQS::QueuePolicy") == {}


class TestLedger:
    def test_it_is_paid_by_use_encrypted_and_can_be_restored(self, on_aws: Stack) -> None:
        table = on_aws.only("AWS::DynamoDB::Table")
        assert table["BillingMode"] == "PAY_PER_REQUEST"
        # Left out, DynamoDB encrypts with a key of its own, which costs nothing.
        assert "SSESpecification" not in table
        assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}

    def test_its_key_and_its_end_are_those_that_the_library_writes(self, on_aws: Stack) -> None:
        table = on_aws.only("AWS::DynamoDB::Table")
        database = FakeDynamoDb()
        database.table(lambda: 1_000.0).write("incident/demo/1/i-1", 0, "{}")
        [item] = database.items.values()
        [key] = table["KeySchema"]
        assert key == {"AttributeName": "pk", "KeyType": "HASH"}
        assert item[key["AttributeName"]].keys() == {"S"}
        end = table["TimeToLiveSpecification"]
        assert end["Enabled"] is True
        assert int(item[end["AttributeName"]]["N"]) > 1_000

    def test_other_doubles_have_the_same_table(self, on_aws: Stack) -> None:
        table = on_aws.only("AWS::DynamoDB::Table")
        assert {name: table[name] for name in LEDGER_TABLE} == LEDGER_TABLE

    def test_its_index_lists_what_the_library_puts_there(self, on_aws: Stack) -> None:
        [index] = on_aws.only("AWS::DynamoDB::Table")["GlobalSecondaryIndexes"]
        types = {each["AttributeName"]: each["AttributeType"] for each in LEDGER_TABLE["AttributeDefinitions"]}
        attributes = Row(5.0, "j", is_critical=True).attributes("incident/noc/1/i1")
        assert index["IndexName"] == INDEX
        assert [key["AttributeName"] for key in index["KeySchema"]] == [SHARD, AT]
        assert (types[SHARD], types[AT]) == ("S", "N")
        assert isinstance(attributes[SHARD], str)
        assert isinstance(attributes[AT], float)


class TestFallbackTopic:
    def test_the_stack_makes_one_where_none_is_named(self, on_aws: Stack) -> None:
        topic = on_aws.only("AWS::SNS::Topic")
        # With a key, the worker would need a right to it.
        assert topic == {"DisplayName": "relay"}

    def test_a_topic_of_ones_own_takes_its_place(self) -> None:
        chosen = of_clone(FallbackTopicArn=TOPIC)
        assert chosen.of_type("AWS::SNS::Topic") == {}
        worker = chosen.of_type("AWS::Lambda::Function")["JobWorkerFunction"]
        assert worker["Environment"]["Variables"]["RELAY_FALLBACK_TOPIC_ARN"] == TOPIC
        assert chosen.outputs["FallbackTopicArn"]["Value"] == TOPIC


class TestAlarms:
    @pytest.mark.parametrize(("topic", "told"), [("", []), (TOPIC, [TOPIC])])
    def test_they_tell_the_topic_if_there_is_one(self, topic: str, told: list[str]) -> None:
        alarms = of_clone(AlarmTopicArn=topic).of_type("AWS::CloudWatch::Alarm")
        assert alarms.keys() == OURS.keys() | OF_FUNCTIONS.keys() | OF_QUEUES | OF_ACCESS_LOG.keys() | OF_METRICS
        for alarm in alarms.values():
            assert alarm["AlarmActions"] == told
            assert alarm["OKActions"] == told

    def test_they_go_off_at_the_first_of_it(self, on_aws: Stack) -> None:
        for name, alarm in on_aws.of_type("AWS::CloudWatch::Alarm").items():
            if name not in OF_AGES.keys() | OF_METRICS:
                looks = (alarm["Period"] * alarm["EvaluationPeriods"], alarm["Threshold"])
                assert looks == SLOW.get(name, (60, 0)), name

    def test_silence_is_fine_and_each_says_where_to_read_on(self, on_aws: Stack) -> None:
        for name, alarm in on_aws.of_type("AWS::CloudWatch::Alarm").items():
            is_of_silence = name in {"ReconcileGoneAlarm", "SweeperGoneAlarm"}
            assert alarm["ComparisonOperator"] == ("LessThan" if is_of_silence else "GreaterThan") + "Threshold", name
            assert alarm["TreatMissingData"] == ("breaching" if is_of_silence else "notBreaching"), name
            assert "docs/" in alarm["AlarmDescription"], name

    @pytest.mark.parametrize("minutes", ["2", "5", "10", "15", "30", "60"])
    def test_those_on_looks_see_three_of_them(self, minutes: str) -> None:
        alarms = of_clone(ReconcileMinutes=minutes).of_type("AWS::CloudWatch::Alarm")
        for name in ("ReconcileFailedAlarm", "ReconcileGoneAlarm"):
            period = int(alarms[name]["Period"])
            assert (period >= 3 * 60 * int(minutes), period % 60) == (True, 0), name

    @pytest.mark.parametrize(("name", "queue"), OF_AGES.items())
    def test_one_watches_for_jobs_that_nobody_works_off(self, on_aws: Stack, name: str, queue: str) -> None:
        alarm = on_aws.of_type("AWS::CloudWatch::Alarm")[name]
        assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/SQS", "ApproximateAgeOfOldestMessage")
        assert alarm["Dimensions"] == [{"Name": "QueueName", "Value": f"${{{queue}.QueueName}}"}]
        assert alarm["Threshold"] == AGES[f"{queue}Url"], "doctor fails at the same age"
        assert alarm["Statistic"] == "Maximum"
        # Whatever waits is sent anew by then.
        assert alarm["Threshold"] > MAX_DELAY_SECONDS

    def test_one_watches_what_rests_in_the_dead_letter_queue(self, on_aws: Stack) -> None:
        alarm = on_aws.of_type("AWS::CloudWatch::Alarm")["DeadLettersAlarm"]
        assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/SQS", "ApproximateNumberOfMessagesVisible")
        assert alarm["Dimensions"] == [{"Name": "QueueName", "Value": "${DeadLetterQueue.QueueName}"}]
        assert alarm["Statistic"] == "Maximum"

    def test_those_on_functions_watch_the_functions_of_this_stack(self, on_aws: Stack) -> None:
        alarms = on_aws.of_type("AWS::CloudWatch::Alarm")
        watched = {
            name: (alarm["Dimensions"][0]["Value"], alarm["MetricName"])
            for name, alarm in alarms.items()
            if alarm.get("Namespace") == "AWS/Lambda"
        }
        assert watched == OF_FUNCTIONS
        assert all([each["Name"] for each in alarms[name]["Dimensions"]] == ["FunctionName"] for name in watched)
        assert {alarms[name]["Statistic"] for name in watched} == {"Sum"}

    def test_those_on_our_own_metrics_watch_metrics_that_there_are(self, on_aws: Stack) -> None:
        ours = {
            name: alarm
            for name, alarm in on_aws.of_type("AWS::CloudWatch::Alarm").items()
            if not alarm.get("Namespace", "AWS/").startswith("AWS/")
        }
        assert {name: alarm["MetricName"] for name, alarm in ours.items()} == OURS | OF_ACCESS_LOG
        outcomes = {f"{what}_{each}" for what in ("outcome", "callback") for each in Outcome}
        counted = outcomes | {f"reason_{each}" for each in Reason} | set(NOTICES)
        for name in OURS:
            alarm = ours[name]
            assert alarm["MetricName"] in counted, name
            assert alarm["Namespace"] == "relay", name
            assert alarm["Dimensions"] == [{"Name": "service", "Value": "relay"}], name
            assert alarm["Statistic"] == ("Maximum" if name in OF_GAUGES else "Sum"), name

    def test_one_watches_throttled_writes_of_the_table_and_of_its_index(self, on_aws: Stack) -> None:
        alarm = on_aws.of_type("AWS::CloudWatch::Alarm")["LedgerThrottledAlarm"]
        whole, *parts = alarm["Metrics"]
        assert whole["Expression"] == "FILL(writes, 0) + FILL(indexed, 0)"
        metrics = [part["MetricStat"]["Metric"] for part in parts]
        assert {(metric["Namespace"], metric["MetricName"]) for metric in metrics} == {
            ("AWS/DynamoDB", "WriteThrottleEvents")
        }
        dimensions = [{each["Name"]: each["Value"] for each in metric["Dimensions"]} for metric in metrics]
        table = {"TableName": "${LedgerTable}"}
        assert dimensions == [table, table | {"GlobalSecondaryIndexName": INDEX}]


class TestFailingSignalsAlarm:
    def test_one_failed_minute_is_no_alarm_and_three_of_five_are(self, on_aws: Stack) -> None:
        alarm = on_aws.of_type("AWS::CloudWatch::Alarm")["FailingSignalsAlarm"]
        assert (alarm["Period"], alarm["DatapointsToAlarm"], alarm["EvaluationPeriods"]) == (60, 3, 5)


class TestRefusedRequestsAlarm:
    def test_it_watches_what_the_filter_counts_in_the_access_log(self, on_aws: Stack) -> None:
        alarm = on_aws.of_type("AWS::CloudWatch::Alarm")["RefusedRequestsAlarm"]
        metric_filter = on_aws.only("AWS::Logs::MetricFilter")
        [counted] = metric_filter["MetricTransformations"]
        assert metric_filter["LogGroupName"] == "${AccessLogGroup}"
        assert (counted["MetricNamespace"], counted["MetricName"]) == (alarm["Namespace"], alarm["MetricName"])
        # A constant is the only dimension that a filter can't give.
        assert "Dimensions" not in alarm
        assert counted["MetricValue"] == "1"

    def test_it_counts_4xx_of_the_webhook_and_leaves_relayctl_out(self, on_aws: Stack) -> None:
        terms = on_aws.only("AWS::Logs::MetricFilter")["FilterPattern"].strip("{ }").split(" && ")
        assert terms == [
            '($.resource = "/bigpanda/{channel}")',
            '($.status = "4*")',
            '($.user_agent != "relayctl*")',
        ]

    def test_the_filter_reads_fields_that_the_access_log_has(self, on_aws: Stack) -> None:
        pattern = on_aws.only("AWS::Logs::MetricFilter")["FilterPattern"]
        written = json.loads(on_aws.only("AWS::ApiGateway::Stage")["AccessLogSetting"]["Format"])
        assert set(re.findall(r"\$\.(\w+)", pattern)) <= written.keys()
        paths = on_aws.only("AWS::ApiGateway::RestApi")["Body"]["paths"]
        assert set(re.findall(r'"(/[^"]+)"', pattern)) <= paths.keys()

    def test_without_access_logs_there_is_neither_filter_nor_alarm(self) -> None:
        chosen = of_clone(ApiGatewayLogging="off")
        assert chosen.of_type("AWS::Logs::MetricFilter") == {}
        assert "RefusedRequestsAlarm" not in chosen.resources


class TestSilenceAlarm:
    def test_it_is_off_by_default(self, on_aws: Stack) -> None:
        assert "SilenceAlarm" not in on_aws.resources

    @pytest.mark.parametrize("hours", ["1", "2", "4", "8", "12", "24"])
    def test_it_looks_as_far_back_as_is_asked_and_as_cloudwatch_takes(self, hours: str) -> None:
        alarm = of_clone(SilenceAlarmHours=hours).resources["SilenceAlarm"]["Properties"]
        [period] = {each["MetricStat"]["Period"] for each in alarm["Metrics"] if "MetricStat" in each}
        assert int(alarm["EvaluationPeriods"]) * period == int(hours) * 3600
        assert "DatapointsToAlarm" not in alarm, "every hour must be silent"
        # PutMetricAlarm: seven days, and one day for periods below an hour.
        assert int(alarm["EvaluationPeriods"]) * period <= (604_800 if period >= 3600 else 86_400)

    def test_no_figures_are_silence(self) -> None:
        alarm = of_clone(SilenceAlarmHours="4").resources["SilenceAlarm"]["Properties"]
        assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("LessThanThreshold", 1)
        assert alarm["TreatMissingData"] == "breaching"

    def test_it_adds_up_shares_that_were_let_in_and_no_requests_of_strangers(self) -> None:
        metrics = of_clone(SilenceAlarmHours="4").resources["SilenceAlarm"]["Properties"]["Metrics"]
        [expression] = [each for each in metrics if each["ReturnData"]]
        figures = {each["Id"]: each["MetricStat"] for each in metrics if not each["ReturnData"]}
        assert expression["Expression"] == " + ".join(f"FILL({name}, 0)" for name in figures)
        for stat in figures.values():
            assert stat["Stat"] == "Sum"
            assert stat["Metric"]["Namespace"] == "relay"
            assert stat["Metric"]["Dimensions"] == [{"Name": "service", "Value": "relay"}]
        watched = {stat["Metric"]["MetricName"] for stat in figures.values()}
        # A secret that can't be read makes a request of anybody `unsafe`.
        assert watched == {f"outcome_{each}" for each in Outcome if each != Outcome.UNSAFE}


class TestParameters:
    def test_each_is_described_and_bounded(self, parameters: dict[str, dict[str, Any]]) -> None:
        for name, parameter in parameters.items():
            assert parameter.get("Description", "").endswith("."), name
            bounds = parameter.keys() & {"AllowedValues", "AllowedPattern", "MinValue", "MaxValue"}
            assert bounds in ({"AllowedValues"}, {"AllowedPattern"}, {"MinValue", "MaxValue"}), name
            assert ("AllowedPattern" in bounds) == ("ConstraintDescription" in parameter), name

    def test_each_default_is_allowed(self, parameters: dict[str, dict[str, Any]]) -> None:
        for name, parameter in parameters.items():
            if name in templates.ASKED:
                continue
            default = parameter["Default"]
            assert default in parameter.get("AllowedValues", [default]), name
            assert re.fullmatch(parameter.get("AllowedPattern", ".*"), str(default)), name
            if "MinValue" in parameter:
                assert parameter["MinValue"] <= default <= parameter["MaxValue"], name

    def test_tenant_of_xmatters_is_asked_for_since_no_default_could_be_right(
        self, parameters: dict[str, dict[str, Any]]
    ) -> None:
        assert [name for name, each in parameters.items() if "Default" not in each] == list(templates.ASKED)
        assert parameters["BigPandaHosts"]["Default"] == "api.bigpanda.io,eu-api.bigpanda.io"

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
            *(
                (
                    name,
                    ["acme.xmatters.com", "*.xmatters.com,api.bigpanda.io", "a.b-c.d1"],
                    ["", "*", "*.*", "https://a.xmatters.com", "A.xmatters.com", "a.com, b.com", "a.com,", "x.*.com"],
                )
                for name in ("XMattersHosts", "BigPandaHosts")
            ),
            (
                "KmsKeyArn",
                ["", KEY, KEY.replace("aws", "aws-cn", 1), KEY.replace("key/", "key/mrk-")],
                ["alias/relay", KEY.replace("key/", "alias/"), KEY + " ", TOPIC],
            ),
            (
                "AllowedSourceCidrs",
                ["", "192.0.2.0/24", "192.0.2.1/32,2001:db8::/32"],
                ["192.0.2.1", "anybody", "192.0.2.0/24, 198.51.100.0/24", "192.0.2.0/24,", "*"],
            ),
            (
                "WebAclArn",
                ["", WEB_ACL, WEB_ACL.replace("aws", "aws-us-gov", 1)],
                ["relay", WEB_ACL.replace("regional", "global"), WEB_ACL + " ", TOPIC],
            ),
            *(
                (
                    name,
                    ["", TOPIC, "arn:aws-us-gov:sns:us-gov-west-1:123456789012:a_b-C"],
                    ["on-call", "arn:aws:sqs:us-east-1:123456789012:q", TOPIC + ":sub", TOPIC + ".fifo", TOPIC + " "],
                )
                for name in ("AlarmTopicArn", "FallbackTopicArn")
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
            "XMattersCallbackUrl": "https://${Api}.execute-api.us-east-1.amazonaws.com/v1/xmatters/{channel}",
            "DeadLetterQueueUrl": "${DeadLetterQueue}",
            "RetryQueueUrl": "${RetryQueue}",
            "ChoreQueueUrl": "${ChoreQueue}",
            "LedgerTableName": "${LedgerTable}",
            "FallbackTopicArn": "${FallbackTopic}",
            "SecretPrefix": "relay",
            "JobWorkerFunction": "${JobWorkerFunction}",
            "ChoreWorkerFunction": "${ChoreWorkerFunction}",
            "SweeperFunction": "${SweeperFunction}",
            "ReconcileFunction": "${ReconcileFunction}",
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

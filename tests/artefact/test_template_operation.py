"""Queues, ledger, fallback topic, alarms, parameters and outputs after SAM's transform; AWS's own template checks.

`${Name}` in an expected value is a reference that only a deployment can fill in.
"""

import json
import os
import re
import subprocess
import time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from cloudformation_validate import CelEngine, Severity, ValidateConfig

from relay.channels.policy import Policy
from relay.jobs.queue import MAX_DELAY_SECONDS, MAX_MESSAGE_BYTES, MAX_RECEIVES
from relay.ledger.debt import AT, INDEX, SHARD, Row
from relay.telemetry import METRICS
from relay.version import VERSION
from relayctl.stack.checks import WORKER_QUEUES
from sandbox.environment import without_aws
from tests.artefact import templates
from tests.artefact.builds import ROOT
from tests.artefact.templates import ALL_OPTIONS, ASKED, TEMPLATE, Stack, of_clone
from tests.fake_dynamodb import FakeDynamoDb
from tests.ledger_table import LEDGER_TABLE

SAM = ROOT / ".venv-sam" / "bin"
TOPIC = "arn:aws:sns:us-east-1:123456789012:on-call"
NOTICE_TOPIC = "arn:aws:sns:us-east-1:123456789012:tomorrow"
# Alarms that can wait until tomorrow: no page is late or lost by them alone, or the fallback topic is notified of it.
WAITS = {"RefusedRequestsAlarm", "StaleChannelAlarm", "OverloadedChannelsAlarm", "ReconcileAlarm", "ChoresAlarm"}

# Alarms on one of the relay's own metrics.
OURS = {
    "NewDeadLettersAlarm": "dead_lettered",
    "UnsafeAlarm": "unsafe",
    "CredentialsAlarm": "credentials_refused",
    "StaleChannelAlarm": "stale_channel",
    "LedgerAlarm": "unguarded",
    "PageMissingAlarm": "page_missing",
    "FallbackAlarm": "critical_waits",
    "MissedSharesAlarm": "share_missed",
    "UnauthorizedSharesAlarm": "unauthorized_share",
    "FailingSignalsAlarm": "signal_failed",
    "DoubtfulResolveAlarm": "doubtful_resolve",
    "OverloadedChannelsAlarm": "channels_overloaded",
}
# Alarms on gauges, the value at the time of a run; all others watch counters.
OF_GAUGES = {"OverloadedChannelsAlarm"}
OF_ACCESS_LOG = {"RefusedRequestsAlarm": "api_4xx"}
FUNCTIONS = ("${BigPandaWebhookFunction}", "${XMattersCallbackFunction}", "${JobWorkerFunction}")
WEBHOOK, CALLBACK, JOB_WORKER = FUNCTIONS
# Alarms on several metrics: the expression, and the metrics that it names. Each has namespace, name, last dimension and
# statistic.
OF_METRICS: dict[str, tuple[str, dict[str, tuple[str, str, str, str]]]] = {
    "DeadLettersAlarm": (
        "visible + held",
        {
            "visible": ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "${DeadLetterQueue.QueueName}", "Maximum"),
            "held": ("AWS/SQS", "ApproximateNumberOfMessagesNotVisible", "${DeadLetterQueue.QueueName}", "Maximum"),
        },
    ),
    "LateSignalsAlarm": (
        "MAX([FILL(age, 0) / 1200, FILL(overdue, 0) / 600])",
        {
            "age": ("AWS/SQS", "ApproximateAgeOfOldestMessage", "${RetryQueue.QueueName}", "Maximum"),
            "overdue": ("relay", "debt_overdue_seconds", "relay", "Maximum"),
        },
    ),
    "FunctionsAlarm": (
        "SUM([FILL(webhook_errors, 0), FILL(webhook_throttles, 0), FILL(callback_errors, 0), FILL(worker_errors, 0), "
        "FILL(worker_throttles, 0)])",
        {
            "webhook_errors": ("AWS/Lambda", "Errors", WEBHOOK, "Sum"),
            "webhook_throttles": ("AWS/Lambda", "Throttles", WEBHOOK, "Sum"),
            "callback_errors": ("AWS/Lambda", "Errors", CALLBACK, "Sum"),
            "worker_errors": ("AWS/Lambda", "Errors", JOB_WORKER, "Sum"),
            "worker_throttles": ("AWS/Lambda", "Throttles", JOB_WORKER, "Sum"),
        },
    ),
    "ReconcileAlarm": ("FILL(errors, 3)", {"errors": ("AWS/Lambda", "Errors", "${ReconcileFunction}", "Sum")}),
    "SweeperGoneAlarm": ("FILL(errors, 1)", {"errors": ("AWS/Lambda", "Errors", "${SweeperFunction}", "Minimum")}),
}
AGES = {each.queue: each.oldest_seconds for each in WORKER_QUEUES}
# Alarms on the age of the oldest message.
OF_AGES = {"LateSignalsAlarm": "RetryQueue", "ChoresAlarm": "ChoreQueue"}
CHORES_AGE = ("AWS/SQS", "ApproximateAgeOfOldestMessage", "${ChoreQueue.QueueName}", "Maximum")
# Alarms that go off without values.
OF_SILENCE = {"ReconcileAlarm", "SweeperGoneAlarm"}
# Evaluated seconds and threshold of the alarms that differ from one minute and 0.
SLOW = {"MissedSharesAlarm": (300, 0), "SweeperGoneAlarm": (300, 0), "StaleChannelAlarm": (300, 0)}
SLOW |= {"UnauthorizedSharesAlarm": (300, 0), "RefusedRequestsAlarm": (300, 0), "FailingSignalsAlarm": (300, 0)}
# The same of the alarms on several metrics.
SLOW |= {
    "LateSignalsAlarm": (300, 1),
    "ChoresAlarm": (300, 1800),
    "FunctionsAlarm": (300, 0),
    "ReconcileAlarm": (1800, 1),
}


def _alarms(stack: Stack) -> dict[str, dict[str, Any]]:
    """Return the properties of all alarms by logical id; one on FILL(metric, 0) in the form of one on the metric."""
    return {name: _unfilled(alarm) for name, alarm in stack.of_type("AWS::CloudWatch::Alarm").items()}


def _unfilled(alarm: dict[str, Any]) -> dict[str, Any]:
    match alarm.get("Metrics"):
        case [{"Expression": text}, {"Id": name, "MetricStat": stat}] if text == f"FILL({name}, 0)":
            watched: dict[str, Any] = stat["Metric"] | {"Period": stat["Period"], "Statistic": stat["Stat"]}
            return alarm | watched
    return alarm


def _period(alarm: dict[str, Any]) -> Any:
    """Return the period of an alarm in seconds."""
    return alarm.get("Period") or alarm["Metrics"][1]["MetricStat"]["Period"]


def _watched(stat: dict[str, Any]) -> tuple[str, str, str, str]:
    """Return namespace, name, last dimension and statistic of a metric that an alarm watches."""
    metric = stat["Metric"]
    return (metric["Namespace"], metric["MetricName"], metric["Dimensions"][-1]["Value"], stat["Stat"])


@pytest.fixture(scope="module")
def parameters() -> dict[str, dict[str, Any]]:
    """The template's parameters, as declared."""
    return dict(templates.read(TEMPLATE)["Parameters"])


KEY = "arn:aws:kms:us-east-1:123456789012:key/0a1b2c3d-0000-4000-8000-000000000000"
IDENTITY = "arn:aws:sms-voice:us-east-1:123456789012:"
WEB_ACL = "arn:aws:wafv2:us-east-1:123456789012:regional/webacl/relay-1/0a1b2c3d-0000-4000-8000-000000000000"
QUEUES = ("RetryQueue", "ChoreQueue", "DeadLetterQueue")
# Resources that a change of properties must not delete, by what becomes of them when the stack is deleted. A table that
# is protected against deletion can't go with a first deployment that failed.
KEPT = {"LedgerTable": "Retain"} | dict.fromkeys((*QUEUES, "FallbackTopic"), "RetainExceptOnCreate")


def test_table_queues_and_topic_are_retained_on_replacement_and_stack_removal(on_aws: Stack) -> None:
    for name, policy in KEPT.items():
        assert on_aws.resources[name]["UpdateReplacePolicy"] == "Retain", name
        assert on_aws.resources[name]["DeletionPolicy"] == policy, name


def test_table_is_protected_against_deletion_on_aws(on_aws: Stack) -> None:
    assert on_aws.only("AWS::DynamoDB::Table")["DeletionProtectionEnabled"] is True
    assert "DeletionProtectionEnabled" not in of_clone(Profile="local").only("AWS::DynamoDB::Table")


class TestKeyOfOnesOwn:
    def test_customer_kms_key_encrypts_all_resources_with_incident_data(self) -> None:
        chosen = of_clone(KmsKeyArn=KEY)
        for queue in chosen.of_type("AWS::SQS::Queue").values():
            assert queue["KmsMasterKeyId"] == KEY
            # SQS accepts only one of the two.
            assert "SqsManagedSseEnabled" not in queue
        sse = {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY}
        assert chosen.only("AWS::DynamoDB::Table")["SSESpecification"] == sse
        assert chosen.only("AWS::SNS::Topic")["KmsMasterKeyId"] == KEY
        groups = chosen.of_type("AWS::Logs::LogGroup")
        assert len(groups) == 7
        assert {group["KmsKeyId"] for group in groups.values()} == {KEY}

    @pytest.mark.parametrize("parameters", [{}, {"Profile": "local", "KmsKeyArn": KEY}])
    def test_aws_keys_are_used_without_a_customer_kms_key_and_in_the_local_cloud(
        self, parameters: dict[str, str]
    ) -> None:
        resources = templates.stack(TEMPLATE, parameters, templates.LOCAL_ACCOUNT).resources
        assert "kms" not in json.dumps(resources).lower()
        assert all(resources[name]["Properties"]["SqsManagedSseEnabled"] is True for name in QUEUES)


class TestLocalProfile:
    """Profile=local allows plain http and leaves protections out, so a deployment of it to AWS has to fail."""

    REFUSED = "LocalProfileIsForTheLocalCloudAlone"

    def test_local_profile_on_aws_fails_on_a_queue_name_that_sqs_refuses(self) -> None:
        name = of_clone(Profile="local").resources[self.REFUSED]["Properties"]["QueueName"]
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,80}", name) is None
        assert "Profile=aws" in name

    def test_local_profile_in_the_local_cloud_has_no_failing_queue(self) -> None:
        local = templates.stack(TEMPLATE, {"Profile": "local"}, templates.LOCAL_ACCOUNT)
        assert self.REFUSED not in local.resources

    def test_aws_profile_has_no_failing_queue(self, on_aws: Stack) -> None:
        assert self.REFUSED not in on_aws.resources


class TestQueues:
    @pytest.mark.parametrize("name", QUEUES)
    def test_queues_are_encrypted_and_keep_messages_for_fourteen_days(self, on_aws: Stack, name: str) -> None:
        queue = on_aws.of_type("AWS::SQS::Queue")[name]
        assert queue["SqsManagedSseEnabled"] is True
        assert queue["MessageRetentionPeriod"] == 14 * 24 * 60 * 60
        assert queue["MaximumMessageSize"] == MAX_MESSAGE_BYTES

    def test_stack_has_exactly_three_queues(self, on_aws: Stack) -> None:
        assert on_aws.of_type("AWS::SQS::Queue").keys() == set(QUEUES)

    @pytest.mark.parametrize("name", ["RetryQueue", "ChoreQueue"])
    def test_workers_queues_redrive_to_the_dead_letter_queue_after_20_receives(self, on_aws: Stack, name: str) -> None:
        queues = on_aws.of_type("AWS::SQS::Queue")
        assert queues[name]["RedrivePolicy"] == {
            "deadLetterTargetArn": "${DeadLetterQueue.Arn}",
            "maxReceiveCount": MAX_RECEIVES,
        }
        assert "RedrivePolicy" not in queues["DeadLetterQueue"]

    def test_dead_letter_queue_hides_a_received_message_for_the_workers_timeout(self, on_aws: Stack) -> None:
        queue = on_aws.of_type("AWS::SQS::Queue")["DeadLetterQueue"]
        worker = on_aws.of_type("AWS::Lambda::Function")["JobWorkerFunction"]
        assert queue["VisibilityTimeout"] >= worker["Timeout"]

    def test_queues_on_aws_deny_access_without_tls(self, on_aws: Stack) -> None:
        policies = on_aws.of_type("AWS::SQS::QueuePolicy")
        assert [policy["Queues"] for policy in policies.values()] == [[f"${{{name}}}"] for name in QUEUES]
        for name, policy in zip(QUEUES, policies.values(), strict=True):
            [statement] = policy["PolicyDocument"]["Statement"]
            assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "sqs:*")
            assert statement["Resource"] == f"${{{name}.Arn}}"
            assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}

    def test_local_profile_has_no_queue_policies(self) -> None:
        assert of_clone(Profile="local").of_type("AWS::SQS::QueuePolicy") == {}


class TestLedger:
    def test_ledger_table_is_on_demand_encrypted_and_restorable(self, on_aws: Stack) -> None:
        table = on_aws.only("AWS::DynamoDB::Table")
        assert table["BillingMode"] == "PAY_PER_REQUEST"
        # Without it, DynamoDB encrypts with its own key, which is free.
        assert "SSESpecification" not in table
        assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}

    def test_ledger_tables_key_and_ttl_attribute_match_the_library(self, on_aws: Stack) -> None:
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

    def test_tests_own_ledger_table_matches_the_template(self, on_aws: Stack) -> None:
        table = on_aws.only("AWS::DynamoDB::Table")
        assert {name: table[name] for name in LEDGER_TABLE} == LEDGER_TABLE

    def test_ledger_tables_index_matches_the_librarys_rows(self, on_aws: Stack) -> None:
        [index] = on_aws.only("AWS::DynamoDB::Table")["GlobalSecondaryIndexes"]
        types = {each["AttributeName"]: each["AttributeType"] for each in LEDGER_TABLE["AttributeDefinitions"]}
        attributes = Row(5.0, "j", is_critical=True).attributes("incident/noc/1/i1")
        assert index["IndexName"] == INDEX
        assert [key["AttributeName"] for key in index["KeySchema"]] == [SHARD, AT]
        assert (types[SHARD], types[AT]) == ("S", "N")
        assert isinstance(attributes[SHARD], str)
        assert isinstance(attributes[AT], float)


class TestFallbackTopic:
    def test_stack_makes_a_fallback_topic_by_default(self, on_aws: Stack) -> None:
        topic = on_aws.only("AWS::SNS::Topic")
        # With a KMS key, the worker would need a permission for it.
        assert topic == {"DisplayName": "relay"}

    def test_named_fallback_topic_replaces_the_stacks_topic(self) -> None:
        chosen = of_clone(FallbackTopicArn=TOPIC)
        assert chosen.of_type("AWS::SNS::Topic") == {}
        worker = chosen.of_type("AWS::Lambda::Function")["JobWorkerFunction"]
        assert worker["Environment"]["Variables"]["RELAY_FALLBACK_TOPIC_ARN"] == TOPIC
        assert chosen.outputs["FallbackTopicArn"]["Value"] == TOPIC


class TestAlarms:
    @pytest.mark.parametrize(
        ("topic", "notice", "wakes", "waits"),
        [
            ("", "", [], []),
            (TOPIC, "", [TOPIC], [TOPIC]),
            (TOPIC, NOTICE_TOPIC, [TOPIC], [NOTICE_TOPIC]),
            ("", NOTICE_TOPIC, [], [NOTICE_TOPIC]),
        ],
    )
    def test_alarms_that_can_wait_notify_the_notice_topic_and_all_others_the_alarm_topic(
        self, topic: str, notice: str, wakes: list[str], waits: list[str]
    ) -> None:
        alarms = _alarms(of_clone(AlarmTopicArn=topic, NoticeTopicArn=notice))
        assert alarms.keys() == {*OURS, *OF_ACCESS_LOG, *OF_METRICS, "ChoresAlarm"}
        for name, alarm in alarms.items():
            assert alarm["AlarmActions"] == alarm["OKActions"] == (waits if name in WAITS else wakes), name

    def test_silence_wakes_people(self) -> None:
        chosen = of_clone(AlarmTopicArn=TOPIC, NoticeTopicArn=NOTICE_TOPIC, SilenceAlarmHours="4")
        assert chosen.resources["SilenceAlarm"]["Properties"]["AlarmActions"] == [TOPIC]

    def test_operations_guide_says_which_alarms_can_wait(self) -> None:
        guide = (ROOT / "docs/operate.md").read_text()
        table = guide.partition("## An alarm went off\n")[2].partition("\n## ")[0]
        marked = re.findall(r"\[(\w+Alarm)\]\(#[a-z-]+\)°", table)
        assert sorted(marked) == sorted(WAITS)

    def test_there_are_twenty_alarms_at_most_and_none_is_composite(self) -> None:
        everything = of_clone(SilenceAlarmHours="4")
        assert len(_alarms(everything)) <= 20
        assert everything.of_type("AWS::CloudWatch::CompositeAlarm") == {}

    def test_alarms_have_the_expected_periods_and_thresholds(self, on_aws: Stack) -> None:
        for name, alarm in _alarms(on_aws).items():
            looks = (_period(alarm) * alarm["EvaluationPeriods"], alarm["Threshold"])
            assert looks == SLOW.get(name, (60, 0)), name

    def test_alarms_ignore_missing_data_except_heartbeats_and_cite_a_runbook(self, on_aws: Stack) -> None:
        for name, alarm in _alarms(on_aws).items():
            assert alarm["ComparisonOperator"] == "GreaterThanThreshold", name
            assert alarm["TreatMissingData"] == ("breaching" if name in OF_SILENCE else "notBreaching"), name
            assert "docs/" in alarm["AlarmDescription"], name

    @pytest.mark.parametrize(("name", "filled"), [("SweeperGoneAlarm", 1), ("SilenceAlarm", 0)])
    def test_alarms_on_silence_fill_gaps_and_are_not_set_off_by_one_late_figure(self, name: str, filled: int) -> None:
        alarm = of_clone(SilenceAlarmHours="2").resources[name]["Properties"]
        whole, part = alarm["Metrics"]
        assert (whole["Expression"], whole["ReturnData"]) == (f"FILL({part['Id']}, {filled})", True)
        assert part["ReturnData"] is False
        # Each of these periods must be silent, and FILL makes a late figure count as silence.
        assert alarm["DatapointsToAlarm"] == alarm["EvaluationPeriods"] > 1
        # The local cloud refuses a template with an alarm on an expression.
        assert name not in of_clone(SilenceAlarmHours="2", Profile="local").resources

    @pytest.mark.parametrize("minutes", ["2", "5", "10", "15", "30", "60"])
    def test_reconcile_alarm_needs_two_periods_of_three_runs_each(self, minutes: str) -> None:
        alarm = _alarms(of_clone(ReconcileMinutes=minutes))["ReconcileAlarm"]
        period = int(_period(alarm))
        assert (period >= 3 * 60 * int(minutes), period % 60) == (True, 0)
        # FILL makes a late value of the newest period an error.
        assert alarm["DatapointsToAlarm"] == alarm["EvaluationPeriods"] == 2

    @pytest.mark.parametrize("name", OF_METRICS)
    def test_alarm_on_several_metrics_watches_exactly_those(self, on_aws: Stack, name: str) -> None:
        alarm = _alarms(on_aws)[name]
        whole, *parts = alarm["Metrics"]
        expression, expected = OF_METRICS[name]
        assert (whole["Expression"], whole["ReturnData"]) == (expression, True)
        assert {part["Id"]: _watched(part["MetricStat"]) for part in parts} == expected
        assert not any(part["ReturnData"] for part in parts)
        assert {part["MetricStat"]["Period"] for part in parts} == {_period(alarm)}
        ours = {metric for namespace, metric, *_ in expected.values() if not namespace.startswith("AWS/")}
        assert ours <= set(METRICS)
        # The local cloud refuses a template with an alarm on an expression.
        assert name not in of_clone(Profile="local").resources

    @pytest.mark.parametrize("name", ["LateSignalsAlarm", "FunctionsAlarm"])
    def test_alarms_on_several_metrics_see_each_one_while_the_others_have_no_value(
        self, on_aws: Stack, name: str
    ) -> None:
        """A sum by + has no value while one metric has none; the sweeper keeps both of DeadLettersAlarm alive."""
        alarm = _alarms(on_aws)[name]
        whole, *parts = alarm["Metrics"]
        assert re.fullmatch(r"(?:MAX|SUM)\(\[.+\]\)", whole["Expression"])
        assert re.findall(r"FILL\((\w+), 0\)", whole["Expression"]) == [part["Id"] for part in parts]
        # A value that comes late must count once it is there.
        assert (alarm["EvaluationPeriods"], alarm["DatapointsToAlarm"]) == (5, 1)

    @pytest.mark.parametrize(("name", "queue"), OF_AGES.items())
    def test_age_alarms_go_off_beyond_the_longest_delay_where_doctor_fails(
        self, on_aws: Stack, name: str, queue: str
    ) -> None:
        alarm = _alarms(on_aws)[name]
        seconds = alarm["Threshold"]
        if "Metrics" in alarm:
            [divisor] = re.findall(r"FILL\(age, 0\) / (\d+)", alarm["Metrics"][0]["Expression"])
            seconds *= int(divisor)
        assert seconds == AGES[f"{queue}Url"], "doctor fails at the same age"
        # A waiting job is sent again, as a new message, before this age.
        assert seconds > MAX_DELAY_SECONDS
        assert (alarm["EvaluationPeriods"], alarm["DatapointsToAlarm"]) == (5, 1)

    def test_alarm_on_a_message_that_no_worker_receives_goes_off_within_half_an_hour(self, on_aws: Stack) -> None:
        """The event source is switched off, and the webhook died in a first attempt: no row, so no fallback message."""
        alarm = on_aws.of_type("AWS::CloudWatch::Alarm")["LateSignalsAlarm"]
        goes_off = AGES["RetryQueueUrl"] + _period(alarm) * alarm["EvaluationPeriods"]
        assert goes_off <= 30 * 60 < Policy().max_age_seconds

    def test_reconcile_alarm_goes_off_by_two_errors_of_three_runs_or_by_no_run(self, on_aws: Stack) -> None:
        alarm = on_aws.of_type("AWS::CloudWatch::Alarm")["ReconcileAlarm"]
        [of_no_run] = re.findall(r"FILL\(errors, (\d)\)", alarm["Metrics"][0]["Expression"])
        assert 1 <= alarm["Threshold"] < 2 <= int(of_no_run)

    def test_chores_alarm_watches_the_age_of_the_queue_alone(self, on_aws: Stack) -> None:
        alarm = _alarms(on_aws)["ChoresAlarm"]
        assert _watched({"Metric": alarm, "Stat": alarm["Statistic"]}) == CHORES_AGE

    def test_alarms_on_the_relays_metrics_watch_metrics_that_exist(self, on_aws: Stack) -> None:
        ours = {
            name: alarm
            for name, alarm in _alarms(on_aws).items()
            if not alarm.get("Namespace", "AWS/").startswith("AWS/") and name not in OF_METRICS
        }
        assert {name: alarm["MetricName"] for name, alarm in ours.items()} == OURS | OF_ACCESS_LOG
        for name in OURS:
            alarm = ours[name]
            assert alarm["MetricName"] in METRICS, name
            assert alarm["Namespace"] == "relay", name
            assert alarm["Dimensions"] == [{"Name": "service", "Value": "relay"}], name
            assert alarm["Statistic"] == ("Maximum" if name in OF_GAUGES else "Sum"), name


class TestFailingSignalsAlarm:
    def test_failing_signals_alarm_needs_three_failed_minutes_of_five(self, on_aws: Stack) -> None:
        alarm = on_aws.of_type("AWS::CloudWatch::Alarm")["FailingSignalsAlarm"]
        assert (alarm["Period"], alarm["DatapointsToAlarm"], alarm["EvaluationPeriods"]) == (60, 3, 5)


class TestRefusedRequestsAlarm:
    def test_refused_requests_alarm_watches_the_access_logs_metric_filter(self, on_aws: Stack) -> None:
        alarm = on_aws.of_type("AWS::CloudWatch::Alarm")["RefusedRequestsAlarm"]
        metric_filter = on_aws.only("AWS::Logs::MetricFilter")
        [counted] = metric_filter["MetricTransformations"]
        assert metric_filter["LogGroupName"] == "${AccessLogGroup}"
        assert (counted["MetricNamespace"], counted["MetricName"]) == (alarm["Namespace"], alarm["MetricName"])
        # A metric filter cannot set a constant dimension.
        assert "Dimensions" not in alarm
        assert counted["MetricValue"] == "1"

    def test_refused_requests_filter_counts_4xx_of_both_endpoints_without_relayctl(self, on_aws: Stack) -> None:
        terms = on_aws.only("AWS::Logs::MetricFilter")["FilterPattern"].strip("{ }").split(" && ")
        assert terms == [
            '($.path = "/v1/*")',
            '($.status = "4*")',
            '($.user_agent != "relayctl*")',
        ]

    def test_refused_requests_filter_reads_the_requests_path_and_other_fields_of_the_access_log(
        self, on_aws: Stack
    ) -> None:
        pattern = on_aws.only("AWS::Logs::MetricFilter")["FilterPattern"]
        stage = on_aws.only("AWS::ApiGateway::Stage")
        written = json.loads(stage["AccessLogSetting"]["Format"])
        assert set(re.findall(r"\$\.(\w+)", pattern)) <= written.keys()
        # Not the resource's path, which a request that no route took may not have.
        assert written["path"] == "$context.path"
        paths = on_aws.only("AWS::ApiGateway::RestApi")["Body"]["paths"]
        [wanted] = re.findall(r'"(/[^"]+)"', pattern)
        assert {path for path in paths if fnmatchcase(f"/{stage['StageName']}{path}", wanted)} == {
            "/bigpanda/{channel}",
            "/xmatters/{channel}",
        }

    def test_without_access_logs_the_alarm_watches_what_the_functions_refuse(self) -> None:
        chosen = of_clone(ApiGatewayLogging="off")
        assert chosen.of_type("AWS::Logs::MetricFilter") == {}
        alarm = chosen.resources["RefusedRequestsAlarm"]["Properties"]
        assert alarm["MetricName"] in METRICS
        assert (alarm["MetricName"], alarm["Namespace"]) == ("rejected_request", "relay")
        assert alarm["Dimensions"] == [{"Name": "service", "Value": "relay"}]


class TestSilenceAlarm:
    def test_silence_alarm_is_off_by_default(self, on_aws: Stack) -> None:
        assert "SilenceAlarm" not in on_aws.resources

    @pytest.mark.parametrize("hours", ["2", "4", "8", "12", "24"])
    def test_silence_alarm_spans_the_chosen_hours_within_cloudwatchs_limits(self, hours: str) -> None:
        alarm = _alarms(of_clone(SilenceAlarmHours=hours))["SilenceAlarm"]
        period = int(alarm["Period"])
        # The hour that has just begun is silent at its first minute.
        assert (alarm["EvaluationPeriods"] - 1) * period == int(hours) * 3600
        # Limits of PutMetricAlarm: seven days, and one day for periods below an hour.
        assert int(alarm["EvaluationPeriods"]) * period <= (604_800 if period >= 3600 else 86_400)

    def test_silence_alarm_treats_missing_data_as_silence(self) -> None:
        alarm = _alarms(of_clone(SilenceAlarmHours="4"))["SilenceAlarm"]
        assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("LessThanThreshold", 1)
        assert alarm["TreatMissingData"] == "breaching"

    def test_silence_alarm_counts_authorized_shares_only(self) -> None:
        alarm = _alarms(of_clone(SilenceAlarmHours="4"))["SilenceAlarm"]
        # `unsafe` also counts requests of strangers, while a secret cannot be read.
        assert (alarm["Namespace"], alarm["MetricName"], alarm["Statistic"]) == ("relay", "share", "Sum")
        assert alarm["Dimensions"] == [{"Name": "service", "Value": "relay"}]


class TestParameters:
    def test_each_parameter_is_described_and_bounded(self, parameters: dict[str, dict[str, Any]]) -> None:
        for name, parameter in parameters.items():
            assert parameter.get("Description", "").endswith("."), name
            bounds = parameter.keys() & {"AllowedValues", "AllowedPattern", "MinValue", "MaxValue"}
            assert bounds in ({"AllowedValues"}, {"AllowedPattern"}, {"MinValue", "MaxValue"}), name
            assert ("AllowedPattern" in bounds) == ("ConstraintDescription" in parameter), name

    def test_each_parameters_default_is_allowed(self, parameters: dict[str, dict[str, Any]]) -> None:
        for name, parameter in parameters.items():
            if name in templates.ASKED:
                continue
            default = parameter["Default"]
            assert default in parameter.get("AllowedValues", [default]), name
            assert re.fullmatch(parameter.get("AllowedPattern", ".*"), str(default)), name
            if "MinValue" in parameter:
                assert parameter["MinValue"] <= default <= parameter["MaxValue"], name

    def test_only_the_xmatters_hosts_have_no_default(self, parameters: dict[str, dict[str, Any]]) -> None:
        assert [name for name, each in parameters.items() if "Default" not in each] == list(templates.ASKED)
        assert parameters["BigPandaHosts"]["Default"] == "api.bigpanda.io,eu-api.bigpanda.io"

    def test_each_parameter_is_in_a_group_of_the_console(self, parameters: dict[str, dict[str, Any]]) -> None:
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
            (
                "DomainName",
                ["", "relay.example.com", "a-1.b2.co"],
                ["relay", "https://relay.example.com", "Relay.example.com", "*.example.com", "relay.example.com/v1"],
            ),
            (
                "CertificateArn",
                ["", "arn:aws:acm:eu-west-1:123456789012:certificate/0a1b-2c3d"],
                ["0a1b-2c3d", "arn:aws:iam::123456789012:server-certificate/relay", KEY],
            ),
            (
                "PermissionsBoundaryArn",
                ["", "arn:aws:iam::123456789012:policy/b", "arn:aws-cn:iam::aws:policy/teams/Power_User+=,.@-"],
                ["boundary", "arn:aws:iam::123456789012:role/b", "arn:aws:iam::123456789012:policy/", KEY],
            ),
            ("RolePath", ["/", "/teams/", "/a/b_+=,.@-/"], ["", "teams", "/teams", "teams/", "//", "/a b/"]),
            (
                "ApiSecurityPolicy",
                ["", "SecurityPolicy_TLS13_1_2_2021_06", "SecurityPolicy_TLS13_1_2_PFS_PQ_2025_09"],
                ["TLS_1_0", "SecurityPolicy_", "SecurityPolicy_TLS13 ", "securitypolicy_tls13"],
            ),
            (
                "FallbackPhones",
                ["", "+14255550100", "+14255550100,+4915112345678", ",".join(["+14255550100"] * 5)],
                ["14255550100", "+0123456789", "+1 425 555 0100", "+14255550100,", ",".join(["+14255550100"] * 6)],
            ),
            (
                "FallbackVoiceIdentity",
                ["", IDENTITY + "phone-number/phone-1", IDENTITY + "pool/pool-1"],
                ["+14255550100", "phone-1", IDENTITY + "sender-id/RELAY/DE", IDENTITY + "phone-number/*"],
            ),
            (
                "FallbackTextIdentity",
                ["", IDENTITY + "phone-number/phone-1", IDENTITY + "pool/pool-1", IDENTITY + "sender-id/RELAY/DE"],
                ["RELAY", IDENTITY + "opt-out-list/Default", IDENTITY + "sender-id/*"],
            ),
            (
                "HeartbeatUrl",
                ["", "https://hc-ping.com/0a1b-2c3d", "https://switch.example.com", "https://a.b/c?key=d%20e&f=~g"],
                [
                    "http://hc-ping.com/1",
                    "https://a.b:8443/c",
                    "https://user@a.b/c",
                    "https://a.b/c#d",
                    "https://a.b/c d",
                ],
            ),
            *(
                (
                    name,
                    ["", TOPIC, "arn:aws-us-gov:sns:us-gov-west-1:123456789012:a_b-C"],
                    ["on-call", "arn:aws:sqs:us-east-1:123456789012:q", TOPIC + ":sub", TOPIC + ".fifo", TOPIC + " "],
                )
                for name in ("AlarmTopicArn", "NoticeTopicArn", "FallbackTopicArn")
            ),
        ],
    )
    def test_parameter_pattern_accepts_valid_and_refuses_invalid_values(
        self, parameters: dict[str, dict[str, Any]], name: str, good: list[str], bad: list[str]
    ) -> None:
        pattern = parameters[name]["AllowedPattern"]
        assert [value for value in good if not re.fullmatch(pattern, value)] == []
        assert [value for value in bad if re.fullmatch(pattern, value)] == []


class TestOutputs:
    def test_stack_outputs_are_complete_and_described(self, on_aws: Stack) -> None:
        assert {name: output["Value"] for name, output in on_aws.outputs.items()} == {
            "Version": VERSION,
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
            "DashboardUrl": "https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1#dashboards/dashboard/relay",
        }
        assert all(output["Description"] for output in on_aws.outputs.values())

    def test_secret_prefix_output_follows_its_parameter(self) -> None:
        assert of_clone(SecretPrefix="ops").outputs["SecretPrefix"]["Value"] == "ops"


@pytest.mark.parametrize(
    "command",
    [
        ["sam", "validate", "--region", "us-east-1"],
        ["sam", "validate", "--lint", "--region", "us-east-1"],
    ],
    ids=["validate", "validate --lint"],
)
def test_sam_validate_reports_no_problems(command: list[str], tmp_path: Path) -> None:
    # Without these settings the SAM CLI checks for a newer version of itself.
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


@pytest.fixture(scope="module")
def validator() -> CelEngine:
    return CelEngine()


@pytest.mark.parametrize("options", [{}, ALL_OPTIONS], ids=["defaults", "all options"])
def test_cloudformation_validate_finds_no_error_in_the_transformed_template(
    validator: CelEngine, options: dict[str, str], tmp_path: Path
) -> None:
    parameters = ASKED | options
    document = templates.transformed(TEMPLATE, parameters)
    (tmp_path / "template.json").write_text(json.dumps(document))
    settings = ValidateConfig(parameter_overrides=parameters, severity_level=Severity.ERROR)
    found = validator.validate_template(str(tmp_path / "template.json"), settings).diagnostics
    assert [f"{each.rule_id} {each.message}" for each in found] == []

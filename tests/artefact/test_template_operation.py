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

from relay.channels.policy import Policy
from relay.jobs.queue import MAX_DELAY_SECONDS, MAX_MESSAGE_BYTES
from relay.ledger.row import AT, INDEX, SHARD, Row
from relay.telemetry.metrics import METRICS
from relayctl.stack.checks import WORKER_QUEUES
from sandbox.environment import without_aws
from tests.artefact import templates
from tests.artefact.builds import ROOT
from tests.artefact.templates import TEMPLATE, Stack, of_clone
from tests.fake_dynamodb import FakeDynamoDb
from tests.ledger_table import LEDGER_TABLE

SAM = ROOT / ".venv-sam" / "bin"
TOPIC = "arn:aws:sns:us-east-1:123456789012:on-call"
NOTICE_TOPIC = "arn:aws:sns:us-east-1:123456789012:tomorrow"
# Alarms that can wait until tomorrow: no page is late or lost by them alone, or the fallback topic is notified of it.
WAITS = {
    *("LookupsLimitedAlarm", "RefusedRequestsAlarm", "StaleChannelAlarm", "MarksUnreadAlarm", "UnreadableJobsAlarm"),
    *("OverloadedChannelsAlarm", "LedgerThrottledAlarm", "SweeperErrorsAlarm", "UndecidedRequestsAlarm"),
    *("ReconcileFailedAlarm", "ReconcileErrorsAlarm", "ReconcileGoneAlarm"),
    *("UnsafeCallbacksAlarm", "CallbackErrorsAlarm", "ChoreQueueAlarm"),
    *("ChoreWorkerErrorsAlarm", "ChoreWorkerThrottlesAlarm", "ChoreWorkerRecursionAlarm"),
}

# Alarms on the relay's own metrics.
OURS = {
    "NewDeadLettersAlarm": "dead_lettered",
    "UnsafeSharesAlarm": "share_unsafe",
    "UnsafeCallbacksAlarm": "callback_unsafe",
    "UnreadableJobsAlarm": "unreadable_job",
    "CredentialsAlarm": "credentials_refused",
    "StaleChannelAlarm": "stale_channel",
    "LedgerAlarm": "unguarded",
    "PageMissingAlarm": "page_missing",
    "FallbackAlarm": "fallback_notified",
    "FallbackFailedAlarm": "fallback_failed",
    "MissedSharesAlarm": "share_missed",
    "ReconcileFailedAlarm": "reconcile_failed",
    "UnauthorizedSharesAlarm": "unauthorized_share",
    "FailingSignalsAlarm": "signal_failed",
    "ForgedResolveAlarm": "resolve_refuted",
    "UnansweredResolveAlarm": "resolve_unreachable",
    "LookupsLimitedAlarm": "lookups_limited",
    "UndecidedRequestsAlarm": "undecided_request",
    "MarksUnreadAlarm": "marks_unread",
    "SweeperGoneAlarm": "sweeper_heartbeat",
    "OverdueDebtsAlarm": "debt_overdue_seconds",
    "OverloadedChannelsAlarm": "channels_overloaded",
}
# Alarms on gauges, the value at the time of a run; all others watch counters.
OF_GAUGES = {"OverdueDebtsAlarm", "OverloadedChannelsAlarm"}
# Alarms on several metrics of AWS.
OF_METRICS = {"LedgerThrottledAlarm", "DeadLettersAlarm"}
OF_ACCESS_LOG = {"RefusedRequestsAlarm": "bigpanda_4xx"}
AGES = {each.queue: each.oldest_seconds for each in WORKER_QUEUES}
# Alarms on the age of the oldest message.
OF_AGES = {"RetryQueueAlarm": "RetryQueue", "ChoreQueueAlarm": "ChoreQueue"}
OF_QUEUES = {*OF_AGES}
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
# Evaluated seconds and threshold of the alarms that differ from one minute and 0.
SLOW = {"MissedSharesAlarm": (300, 0), "ReconcileErrorsAlarm": (300, 0), "ReconcileFailedAlarm": (900, 1)}
SLOW |= {"ReconcileGoneAlarm": (1800, 1)}
SLOW |= {"SweeperGoneAlarm": (300, 1), "OverdueDebtsAlarm": (60, 600)}
SLOW |= {"LookupsLimitedAlarm": (300, 0), "UndecidedRequestsAlarm": (300, 0), "MarksUnreadAlarm": (300, 0)}
SLOW |= {"UnauthorizedSharesAlarm": (300, 0), "RefusedRequestsAlarm": (300, 0), "FailingSignalsAlarm": (300, 0)}


def _alarms(stack: Stack) -> dict[str, dict[str, Any]]:
    """Return the properties of all alarms by logical id; one on FILL(metric, 0) in the form of one on the metric."""
    return {name: _unfilled(alarm) for name, alarm in stack.of_type("AWS::CloudWatch::Alarm").items()}


def _unfilled(alarm: dict[str, Any]) -> dict[str, Any]:
    match alarm.get("Metrics"):
        case [{"Expression": text}, {"Id": name, "MetricStat": stat}] if text == f"FILL({name}, 0)":
            watched: dict[str, Any] = stat["Metric"] | {"Period": stat["Period"], "Statistic": stat["Stat"]}
            return alarm | watched
    return alarm


@pytest.fixture(scope="module")
def parameters() -> dict[str, dict[str, Any]]:
    """The template's parameters, as declared."""
    return dict(templates.read(TEMPLATE)["Parameters"])


KEY = "arn:aws:kms:us-east-1:123456789012:key/0a1b2c3d-0000-4000-8000-000000000000"
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
            "maxReceiveCount": 20,
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
        assert alarms.keys() == OURS.keys() | OF_FUNCTIONS.keys() | OF_QUEUES | OF_ACCESS_LOG.keys() | OF_METRICS
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

    def test_alarms_have_the_expected_periods_and_thresholds(self, on_aws: Stack) -> None:
        for name, alarm in _alarms(on_aws).items():
            if name not in OF_AGES.keys() | OF_METRICS:
                looks = (alarm["Period"] * alarm["EvaluationPeriods"], alarm["Threshold"])
                assert looks == SLOW.get(name, (60, 0)), name

    def test_alarms_ignore_missing_data_except_heartbeats_and_cite_a_runbook(self, on_aws: Stack) -> None:
        for name, alarm in _alarms(on_aws).items():
            is_of_silence = name in {"ReconcileGoneAlarm", "SweeperGoneAlarm"}
            assert alarm["ComparisonOperator"] == ("LessThan" if is_of_silence else "GreaterThan") + "Threshold", name
            assert alarm["TreatMissingData"] == ("breaching" if is_of_silence else "notBreaching"), name
            assert "docs/" in alarm["AlarmDescription"], name

    @pytest.mark.parametrize("name", ["SweeperGoneAlarm", "ReconcileGoneAlarm", "SilenceAlarm"])
    def test_alarms_on_silence_fill_gaps_and_are_not_set_off_by_one_late_figure(self, name: str) -> None:
        alarm = of_clone(SilenceAlarmHours="2").resources[name]["Properties"]
        whole, part = alarm["Metrics"]
        assert (whole["Expression"], whole["ReturnData"]) == (f"FILL({part['Id']}, 0)", True)
        assert part["ReturnData"] is False
        # Each of these periods must be silent, and FILL makes a late figure zero.
        assert alarm["DatapointsToAlarm"] == alarm["EvaluationPeriods"] > 1
        # The local cloud refuses a template with an alarm on an expression.
        assert name not in of_clone(SilenceAlarmHours="2", Profile="local").resources

    @pytest.mark.parametrize("minutes", ["2", "5", "10", "15", "30", "60"])
    def test_reconcile_alarms_span_at_least_three_runs(self, minutes: str) -> None:
        alarms = _alarms(of_clone(ReconcileMinutes=minutes))
        for name in ("ReconcileFailedAlarm", "ReconcileGoneAlarm"):
            period = int(alarms[name]["Period"])
            assert (period >= 3 * 60 * int(minutes), period % 60) == (True, 0), name

    @pytest.mark.parametrize(("name", "queue"), OF_AGES.items())
    def test_queue_age_alarms_watch_the_oldest_message_beyond_the_longest_delay(
        self, on_aws: Stack, name: str, queue: str
    ) -> None:
        alarm = _alarms(on_aws)[name]
        assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/SQS", "ApproximateAgeOfOldestMessage")
        assert alarm["Dimensions"] == [{"Name": "QueueName", "Value": f"${{{queue}.QueueName}}"}]
        assert alarm["Threshold"] == AGES[f"{queue}Url"], "doctor fails at the same age"
        assert alarm["Statistic"] == "Maximum"
        # A waiting job is sent again, as a new message, before this age.
        assert alarm["Threshold"] > MAX_DELAY_SECONDS

    def test_alarm_on_a_message_that_no_worker_receives_goes_off_within_half_an_hour(self, on_aws: Stack) -> None:
        """The event source is switched off, and the webhook died in a first attempt: no row, so no fallback message."""
        alarm = on_aws.of_type("AWS::CloudWatch::Alarm")["RetryQueueAlarm"]
        goes_off = alarm["Threshold"] + alarm["Period"] * alarm["EvaluationPeriods"]
        assert goes_off <= 30 * 60 < Policy().max_age_seconds

    def test_dead_letters_alarm_counts_visible_and_held_messages_of_the_dead_letter_queue(self, on_aws: Stack) -> None:
        alarm = on_aws.of_type("AWS::CloudWatch::Alarm")["DeadLettersAlarm"]
        total, *parts = alarm["Metrics"]
        assert (total["Expression"], alarm["Threshold"]) == (" + ".join(each["Id"] for each in parts), 0)
        metrics = [each["MetricStat"]["Metric"] for each in parts]
        assert [each["MetricName"].removeprefix("ApproximateNumberOfMessages") for each in metrics] == [
            "Visible",
            "NotVisible",
        ]
        assert {(each["Namespace"], each["Dimensions"][0]["Value"]) for each in metrics} == {
            ("AWS/SQS", "${DeadLetterQueue.QueueName}")
        }

    def test_function_alarms_watch_this_stacks_functions(self, on_aws: Stack) -> None:
        alarms = _alarms(on_aws)
        watched = {
            name: (alarm["Dimensions"][0]["Value"], alarm["MetricName"])
            for name, alarm in alarms.items()
            if alarm.get("Namespace") == "AWS/Lambda"
        }
        assert watched == OF_FUNCTIONS
        assert all([each["Name"] for each in alarms[name]["Dimensions"]] == ["FunctionName"] for name in watched)
        assert {alarms[name]["Statistic"] for name in watched} == {"Sum"}

    def test_alarms_on_the_relays_metrics_watch_metrics_that_exist(self, on_aws: Stack) -> None:
        ours = {
            name: alarm
            for name, alarm in _alarms(on_aws).items()
            if not alarm.get("Namespace", "AWS/").startswith("AWS/")
        }
        assert {name: alarm["MetricName"] for name, alarm in ours.items()} == OURS | OF_ACCESS_LOG
        for name in OURS:
            alarm = ours[name]
            assert alarm["MetricName"] in METRICS, name
            assert alarm["Namespace"] == "relay", name
            assert alarm["Dimensions"] == [{"Name": "service", "Value": "relay"}], name
            assert alarm["Statistic"] == ("Maximum" if name in OF_GAUGES else "Sum"), name

    def test_ledger_throttled_alarm_adds_writes_of_the_table_and_its_index(self, on_aws: Stack) -> None:
        alarm = on_aws.of_type("AWS::CloudWatch::Alarm")["LedgerThrottledAlarm"]
        whole, *parts = alarm["Metrics"]
        assert whole["Expression"] == "FILL(writes, 0) + FILL(indexed, 0)"
        # A figure that comes late must count once it is there.
        assert (alarm["EvaluationPeriods"], alarm["DatapointsToAlarm"]) == (5, 1)
        metrics = [part["MetricStat"]["Metric"] for part in parts]
        assert {(metric["Namespace"], metric["MetricName"]) for metric in metrics} == {
            ("AWS/DynamoDB", "WriteThrottleEvents")
        }
        dimensions = [{each["Name"]: each["Value"] for each in metric["Dimensions"]} for metric in metrics]
        table = {"TableName": "${LedgerTable}"}
        assert dimensions == [table, table | {"GlobalSecondaryIndexName": INDEX}]


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

    def test_refused_requests_filter_counts_4xx_of_the_webhook_without_relayctl(self, on_aws: Stack) -> None:
        terms = on_aws.only("AWS::Logs::MetricFilter")["FilterPattern"].strip("{ }").split(" && ")
        assert terms == [
            '($.path = "/v1/bigpanda/*")',
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
        assert [path for path in paths if fnmatchcase(f"/{stage['StageName']}{path}", wanted)] == [
            "/bigpanda/{channel}"
        ]

    def test_refused_requests_alarm_and_filter_are_absent_without_access_logs(self) -> None:
        chosen = of_clone(ApiGatewayLogging="off")
        assert chosen.of_type("AWS::Logs::MetricFilter") == {}
        assert "RefusedRequestsAlarm" not in chosen.resources


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
        # `share_unsafe` also counts requests of strangers, while a secret cannot be read.
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
                "ApiSecurityPolicy",
                ["", "SecurityPolicy_TLS13_1_2_2021_06", "SecurityPolicy_TLS13_1_2_PFS_PQ_2025_09"],
                ["TLS_1_0", "SecurityPolicy_", "SecurityPolicy_TLS13 ", "securitypolicy_tls13"],
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
        ["cfn-lint", str(TEMPLATE)],
    ],
    ids=["validate", "validate --lint", "cfn-lint"],
)
def test_sam_validate_and_cfn_lint_report_no_problems(command: list[str], tmp_path: Path) -> None:
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

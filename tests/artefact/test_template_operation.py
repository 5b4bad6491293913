"""Queues, ledger, fallback topic, alarms, parameters and outputs after SAM's transform; AWS's own template checks.

`${Name}` in an expected value is a reference that only a deployment can fill in.
"""

import json
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from cloudformation_validate import CelEngine, Severity, ValidateConfig

from relay.channels.policy import Policy
from relay.jobs.queue import MAX_MESSAGE_BYTES, MAX_RECEIVES
from relay.version import VERSION
from relayctl.stack.checks import WORKER_QUEUES
from tests.artefact import templates
from tests.artefact.builds import ROOT
from tests.artefact.templates import ALL_OPTIONS, ASKED, TEMPLATE, Stack, of_clone
from tests.ledger_table import LEDGER_TABLE
from tests.metrics import METRICS

TOPIC, NOTICE_TOPIC = ALL_OPTIONS["AlarmTopicArn"], ALL_OPTIONS["NoticeTopicArn"]
# Alarms that can wait until tomorrow: no page is late or lost by them alone, or the fallback topic is notified of it.
WAITS = {"RefusedRequestsAlarm", "StaleChannelAlarm", "OverloadedChannelsAlarm", "ReconcileAlarm", "ChoresAlarm"}

# The relay's metrics that alarms watch. `unsafe` also counts requests of strangers, while a secret cannot be read.
WATCHED = {
    *("dead_lettered", "unsafe", "credentials_refused", "stale_channel", "unguarded", "page_missing", "critical_waits"),
    *("share_missed", "unauthorized_share", "signal_failed", "doubtful_resolve", "channels_overloaded", "share"),
    "debt_overdue_seconds",
}
# Metrics that filters of the access log count.
OF_ACCESS_LOGS = {"api_4xx", "api_5xx"}
# Metrics with the value at the time of a run; all others are counters.
GAUGES = {"channels_overloaded", "debt_overdue_seconds"}
AWS_METRICS = {
    "QueueName": {
        *("ApproximateNumberOfMessagesVisible", "ApproximateNumberOfMessagesNotVisible"),
        "ApproximateAgeOfOldestMessage",
    },
    "FunctionName": {"Errors", "Throttles"},
}
AGES = {each.queue: each.oldest_seconds for each in WORKER_QUEUES}


def _alarms(stack: Stack) -> dict[str, dict[str, Any]]:
    return stack.of_type("AWS::CloudWatch::Alarm")


def _watched(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the metrics that an alarm watches, each with its period and statistic."""
    stats = [part["MetricStat"] for part in alarm.get("Metrics", []) if "MetricStat" in part]
    of_expression = [each["Metric"] | {"Period": each["Period"], "Statistic": each["Stat"]} for each in stats]
    return of_expression or [{name: each for name, each in alarm.items() if name != "Metrics"}]


def _period(alarm: dict[str, Any]) -> int:
    [period] = {int(each["Period"]) for each in _watched(alarm)}
    return period


KEY, SIGNING, WEB_ACL = (ALL_OPTIONS[name] for name in ("KmsKeyArn", "CodeSigningConfigArn", "WebAclArn"))
IDENTITY = "arn:aws:sms-voice:us-east-1:123456789012:"
PHONE = "+14255550100"
HOSTS = ["acme.xmatters.com", "*.xmatters.com,api.bigpanda.io"]
NO_HOSTS = ["", "*", "*.*", "https://a.xmatters.com", "A.xmatters.com", "a.com, b.com", "a.com,", "x.*.com"]
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
    def test_table_and_queues_have_no_other_encryption_beside_a_customer_kms_key(self) -> None:
        chosen = of_clone(KmsKeyArn=KEY)
        # SQS accepts only one of the two.
        assert all("SqsManagedSseEnabled" not in queue for queue in chosen.of_type("AWS::SQS::Queue").values())
        sse = {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY}
        assert chosen.only("AWS::DynamoDB::Table")["SSESpecification"] == sse

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

    def test_local_profile_on_aws_fails_on_a_queue_name_that_sqs_refuses(self, on_aws: Stack) -> None:
        name = of_clone(Profile="local").resources[self.REFUSED]["Properties"]["QueueName"]
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,80}", name) is None
        assert "Profile=aws" in name
        local = templates.stack(TEMPLATE, {"Profile": "local"}, templates.LOCAL_ACCOUNT)
        assert self.REFUSED not in {**local.resources, **on_aws.resources}


class TestQueues:
    @pytest.mark.parametrize("name", QUEUES)
    def test_queues_are_encrypted_and_keep_messages_for_fourteen_days(self, on_aws: Stack, name: str) -> None:
        queue = on_aws.of_type("AWS::SQS::Queue")[name]
        assert queue["SqsManagedSseEnabled"] is True
        assert queue["MessageRetentionPeriod"] == 14 * 24 * 60 * 60
        assert queue["MaximumMessageSize"] == MAX_MESSAGE_BYTES

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
        denied = {policy["Queues"][0]: policy["PolicyDocument"]["Statement"] for policy in policies.values()}
        assert denied.keys() == {f"${{{name}}}" for name in QUEUES}
        for name, [statement] in denied.items():
            assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "sqs:*")
            assert statement["Resource"] == name.replace("}", ".Arn}")
            assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        # It has no TLS.
        assert of_clone(Profile="local").of_type("AWS::SQS::QueuePolicy") == {}


def test_table_of_all_tests_is_that_of_the_template_with_an_end_of_items(on_aws: Stack) -> None:
    table = on_aws.only("AWS::DynamoDB::Table")
    assert {name: table[name] for name in LEDGER_TABLE} == LEDGER_TABLE
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires", "Enabled": True}


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
        for name, alarm in alarms.items():
            assert alarm["AlarmActions"] == alarm["OKActions"] == (waits if name in WAITS else wakes), name

    def test_operations_guide_says_which_alarms_can_wait(self) -> None:
        guide = (ROOT / "docs/operate.md").read_text()
        table = guide.partition("## An alarm went off\n")[2].partition("\n## ")[0]
        marked = re.findall(r"\[(\w+Alarm)\]\(#[a-z-]+\)°", table)
        assert sorted(marked) == sorted(WAITS)

    @pytest.mark.parametrize("minutes", ["2", "60"])
    def test_alarms_watch_metrics_that_exist_where_the_relay_and_aws_write_them(self, minutes: str) -> None:
        """CloudWatch takes an alarm on anything, and it never goes off."""
        chosen = of_clone(SilenceAlarmHours="4", ReconcileMinutes=minutes)
        ours = set[str]()
        for name, each in ((name, each) for name, alarm in _alarms(chosen).items() for each in _watched(alarm)):
            if each["Namespace"].startswith("AWS/"):
                [dimension] = each["Dimensions"]
                assert each["MetricName"] in AWS_METRICS[dimension["Name"]], name
                assert dimension["Value"].strip("${}").removesuffix(".QueueName") in chosen.resources, name
            elif each["MetricName"] in OF_ACCESS_LOGS:
                # A metric filter cannot set a constant dimension.
                assert (each["Namespace"], "Dimensions" in each, each["Statistic"]) == ("relay", False, "Sum"), name
            else:
                ours.add(each["MetricName"])
                assert each["Statistic"] == ("Maximum" if each["MetricName"] in GAUGES else "Sum"), name
                assert (each["Namespace"], each["Dimensions"]) == ("relay", [{"Name": "service", "Value": "relay"}]), (
                    name
                )
        assert ours == WATCHED <= METRICS

    def test_alarms_ignore_missing_data_except_heartbeats_and_cite_a_runbook(self) -> None:
        for name, alarm in _alarms(of_clone(SilenceAlarmHours="4")).items():
            is_of_silence = name in {"ReconcileAlarm", "SweeperGoneAlarm", "SilenceAlarm"}
            assert alarm["TreatMissingData"] == ("breaching" if is_of_silence else "notBreaching"), name
            sign = "LessThanThreshold" if name == "SilenceAlarm" else "GreaterThanThreshold"
            assert alarm["ComparisonOperator"] == sign, name
            assert "docs/" in alarm["AlarmDescription"], name

    def test_expression_names_each_metric_beside_it_and_is_left_out_of_the_local_cloud(self) -> None:
        of_expression = {name: each["Metrics"] for name, each in _alarms(of_clone()).items() if "Metrics" in each}
        assert len(of_expression) > 4
        for name, (whole, *parts) in of_expression.items():
            assert whole["ReturnData"] is True, name
            assert [part["Id"] for part in parts if part["ReturnData"]] == [], name
            assert [part["Id"] for part in parts if not re.search(rf"\b{part['Id']}\b", whole["Expression"])] == [], (
                name
            )
        assert not of_expression.keys() & of_clone(Profile="local").resources.keys()

    @pytest.mark.parametrize(("name", "filled"), [("SweeperGoneAlarm", 1), ("SilenceAlarm", 0)])
    def test_alarms_on_silence_fill_gaps_and_are_not_set_off_by_one_late_figure(self, name: str, filled: int) -> None:
        alarm = of_clone(SilenceAlarmHours="2").resources[name]["Properties"]
        whole, part = alarm["Metrics"]
        assert (whole["Expression"], whole["ReturnData"]) == (f"FILL({part['Id']}, {filled})", True)
        assert part["ReturnData"] is False
        # Each of these periods must be silent, and FILL makes a late figure count as silence.
        assert alarm["DatapointsToAlarm"] == alarm["EvaluationPeriods"] > 1

    @pytest.mark.parametrize("minutes", ["2", "5", "60"])
    def test_reconcile_alarm_needs_two_periods_of_three_runs_each(self, minutes: str) -> None:
        chosen = of_clone(ReconcileMinutes=minutes)
        [rule] = [each for name, each in chosen.of_type("AWS::Events::Rule").items() if "Reconcile" in name]
        assert rule["ScheduleExpression"] == f"rate({minutes} minutes)"
        alarm = _alarms(chosen)["ReconcileAlarm"]
        period = _period(alarm)
        assert (period >= 3 * 60 * int(minutes), period % 60) == (True, 0)
        # FILL makes a late value of the newest period an error.
        assert alarm["DatapointsToAlarm"] == alarm["EvaluationPeriods"] == 2
        # Two errors of three runs, or no run.
        [of_no_run] = re.findall(r"FILL\(errors, (\d)\)", alarm["Metrics"][0]["Expression"])
        assert 1 <= alarm["Threshold"] < 2 <= int(of_no_run)

    @pytest.mark.parametrize("logging", ["create-role", "off"])
    @pytest.mark.parametrize("name", ["LateSignalsAlarm", "FunctionsAlarm"])
    def test_alarms_on_several_metrics_see_each_one_while_the_others_have_no_value(
        self, name: str, logging: str
    ) -> None:
        """A sum by + has no value while one metric has none; the sweeper keeps both of DeadLettersAlarm alive."""
        alarm = _alarms(of_clone(ApiGatewayLogging=logging))[name]
        whole, *parts = alarm["Metrics"]
        assert re.fullmatch(r"(?:MAX|SUM)\(\[.+\]\)", whole["Expression"])
        assert re.findall(r"FILL\((\w+), 0\)", whole["Expression"]) == [part["Id"] for part in parts]
        # A value that comes late must count once it is there.
        assert (alarm["EvaluationPeriods"], alarm["DatapointsToAlarm"]) == (5, 1)

    @pytest.mark.parametrize("name", ["CredentialsAlarm", "FallbackAlarm"])
    def test_what_recurs_every_five_minutes_is_one_alarm(self, on_aws: Stack, name: str) -> None:
        alarm = _alarms(on_aws)[name]
        assert (alarm["Period"], alarm["DatapointsToAlarm"]) == (60, 1), "it goes off within a minute"
        assert alarm["Period"] * alarm["EvaluationPeriods"] > 300 + 2 * 60

    @pytest.mark.parametrize(("name", "queue"), [("LateSignalsAlarm", "RetryQueue"), ("ChoresAlarm", "ChoreQueue")])
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
        assert seconds > 900
        assert (alarm["EvaluationPeriods"], alarm["DatapointsToAlarm"]) == (5, 1)

    def test_alarm_on_a_message_that_no_worker_receives_goes_off_within_half_an_hour(self, on_aws: Stack) -> None:
        """The event source is switched off, and the webhook died in a first attempt: no row, so no fallback message."""
        alarm = _alarms(on_aws)["LateSignalsAlarm"]
        goes_off = AGES["RetryQueueUrl"] + _period(alarm) * alarm["EvaluationPeriods"]
        assert goes_off <= 30 * 60 < Policy().max_age_seconds


def _matches(pattern: str, line: dict[str, str]) -> bool:
    """Tell if a line matches a pattern of CloudWatch Logs that has all of its comparisons joined by `&&`."""
    terms = pattern.strip("{ }").split(" && ")
    compared = [re.fullmatch(r'\(\$\.(\w+) (=|!=) "([^"]*)"\)', term) for term in terms]
    assert all(compared), pattern
    return all(fnmatchcase(line[each[1]], each[3]) == (each[2] == "=") for each in compared if each)


class TestAccessLog:
    @pytest.mark.parametrize(
        ("status", "error_type", "is_counted"),
        [
            # No function ran, or none answered in time; and a function that failed, or for which Lambda had no room.
            *(("503", "THROTTLED", True), ("503", "INTEGRATION_FAILURE", True), ("503", "INTEGRATION_TIMEOUT", True)),
            ("503", "DEFAULT_5XX", True),
            # What a function answers has no type: an unsafe share, and an address whose budget is used up.
            *(("503", "-", False), ("200", "-", False)),
            *(("403", "ACCESS_DENIED", False), ("413", "REQUEST_TOO_LARGE", False)),
        ],
    )
    def test_what_api_gateway_itself_answers_5xx_sets_the_alarm_off(
        self, on_aws: Stack, status: str, error_type: str, is_counted: bool
    ) -> None:
        values = {"status": status, "error_type": error_type}
        assert self.counts(on_aws, "GatewayFailuresMetric", "FunctionsAlarm", values) is is_counted

    @pytest.mark.parametrize(
        ("values", "is_counted"),
        [
            *(({"status": status}, status[0] == "4") for status in ("400", "401", "429", "200", "302", "503")),
            ({"status": "401", "user_agent": "relayctl/1.0"}, False),
            ({"status": "404", "path": "/favicon.ico"}, False),
        ],
    )
    def test_refused_requests_filter_counts_4xx_of_both_endpoints_without_relayctl(
        self, on_aws: Stack, values: dict[str, str], is_counted: bool
    ) -> None:
        assert self.counts(on_aws, "RefusedRequestsMetric", "RefusedRequestsAlarm", values) is is_counted

    def counts(self, stack: Stack, name: str, alarm: str, values: dict[str, str]) -> bool:
        """Tell if a metric counts lines with these values of both endpoints; fail unless the alarm watches it."""
        counting, stage = stack.of_type("AWS::Logs::MetricFilter")[name], stack.only("AWS::ApiGateway::Stage")
        assert counting["LogGroupName"] == "${AccessLogGroup}"
        [counted] = counting["MetricTransformations"]
        metric = {"Namespace": counted["MetricNamespace"], "MetricName": counted["MetricName"]}
        [watched] = [each for each in _watched(_alarms(stack)[alarm]) if each.items() >= metric.items()]
        # A metric filter cannot set a constant dimension.
        assert "Dimensions" not in watched
        assert counted["MetricValue"] == "1"
        line = json.loads(stage["AccessLogSetting"]["Format"])
        assert values.keys() <= line.keys()
        # Not the resource's path, which a request that no route took may not have.
        assert (line["path"], line["error_type"]) == ("$context.path", "$context.error.responseType")
        paths = stack.only("AWS::ApiGateway::RestApi")["Body"]["paths"]
        lines = [line | {"path": f"/{stage['StageName']}{path}"} | values for path in paths]
        [is_counted] = {_matches(counting["FilterPattern"], each) for each in lines}
        return is_counted


@pytest.mark.parametrize("logging", ["create-role", "role-exists", "off"])
def test_errors_and_throttles_of_both_endpoints_and_the_job_worker_set_the_alarm_off(logging: str) -> None:
    watched = _watched(_alarms(of_clone(ApiGatewayLogging=logging))["FunctionsAlarm"])
    of_lambda = {
        (each["Dimensions"][0]["Value"], each["MetricName"]) for each in watched if each["Namespace"] == "AWS/Lambda"
    }
    # API Gateway answers 5xx itself if a function fails, or if there is no room for it.
    by_access_log = {"XMattersCallbackFunction"} if logging != "off" else set[str]()
    functions = {"BigPandaWebhookFunction", "XMattersCallbackFunction", "JobWorkerFunction"} - by_access_log
    assert of_lambda == {(f"${{{name}}}", metric) for name in functions for metric in ("Errors", "Throttles")}
    assert ("api_5xx" in {each["MetricName"] for each in watched}) is bool(by_access_log)


def test_without_access_logs_the_alarm_on_refused_requests_watches_what_the_functions_refuse() -> None:
    chosen = of_clone(ApiGatewayLogging="off")
    assert chosen.of_type("AWS::Logs::MetricFilter") == {}
    alarm = chosen.resources["RefusedRequestsAlarm"]["Properties"]
    assert (alarm["MetricName"], alarm["Namespace"]) == ("rejected_request", "relay")
    assert alarm["MetricName"] in METRICS
    assert alarm["Dimensions"] == [{"Name": "service", "Value": "relay"}]


@pytest.mark.parametrize("hours", ["2", "8", "24"])
def test_silence_alarm_spans_the_chosen_hours_within_cloudwatchs_limits(hours: str) -> None:
    alarm = _alarms(of_clone(SilenceAlarmHours=hours))["SilenceAlarm"]
    period = _period(alarm)
    assert alarm["Threshold"] == 1
    # The hour that has just begun is silent at its first minute.
    assert (alarm["EvaluationPeriods"] - 1) * period == int(hours) * 3600
    # Limits of PutMetricAlarm: seven days, and one day for periods below an hour.
    assert int(alarm["EvaluationPeriods"]) * period <= (604_800 if period >= 3600 else 86_400)


class TestParameters:
    def test_each_parameter_is_in_a_group_of_the_console(self) -> None:
        template = templates.read(TEMPLATE)
        groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
        assert sorted(name for group in groups for name in group["Parameters"]) == sorted(template["Parameters"])

    # What AWS or the library would refuse late, or would take for another value.
    @pytest.mark.parametrize(
        ("name", "good", "bad"),
        [
            ("SecretPrefix", ["", "ops/relay-1", "a_+=.@-z/b"], ["/relay", "relay/", "a//b", "*", "relay\n"]),
            ("XMattersHosts", HOSTS, NO_HOSTS),
            ("BigPandaHosts", HOSTS, NO_HOSTS),
            ("CodeSigningConfigArn", ["", SIGNING], [SIGNING.replace("lambda", "signer"), SIGNING + "0"]),
            ("KmsKeyArn", ["", KEY, KEY.replace("key/", "key/mrk-")], ["alias/relay", KEY + " ", TOPIC]),
            ("AllowedSourceCidrs", ["", "192.0.2.1/32,2001:db8::/32"], ["192.0.2.1", "192.0.2.0/24, 198.51.100.0/24"]),
            ("WebAclArn", ["", WEB_ACL], ["relay", WEB_ACL.replace("regional", "global")]),
            ("DomainName", ["", "relay.example.com"], ["relay", "https://relay.example.com", "*.example.com"]),
            ("CertificateArn", ["", "arn:aws:acm:eu-west-1:123456789012:certificate/0a1b-2c3d"], ["0a1b-2c3d", KEY]),
            ("PermissionsBoundaryArn", ["", "arn:aws-cn:iam::aws:policy/teams/Power_User+=,.@-"], ["boundary", KEY]),
            ("RolePath", ["/", "/a/b_+=,.@-/"], ["", "teams/", "/teams", "//", "/a b/"]),
            ("ApiSecurityPolicy", ["", "SecurityPolicy_TLS13_1_2_PFS_PQ_2025_09"], ["TLS_1_0", "SecurityPolicy_"]),
            ("FallbackPhones", ["", ",".join([PHONE] * 5)], [PHONE[1:], "+0123456789", ",".join([PHONE] * 6)]),
            ("FallbackVoiceIdentity", ["", IDENTITY + "pool/pool-1"], [PHONE, IDENTITY + "sender-id/RELAY/DE"]),
            (
                "FallbackTextIdentity",
                ["", IDENTITY + "sender-id/RELAY/DE"],
                ["RELAY", IDENTITY + "opt-out-list/Default"],
            ),
            (
                "HeartbeatUrl",
                ["", "https://a.b/c?key=d%20e&f=~g"],
                ["http://a.b/1", "https://a.b:8443/", "https://u@a.b/"],
            ),
            *(
                (f"{kind}TopicArn", ["", TOPIC], ["on-call", TOPIC + ":sub", TOPIC + ".fifo", TOPIC + " "])
                for kind in ("Alarm", "Notice", "Fallback")
            ),
        ],
    )
    def test_parameter_pattern_accepts_valid_and_refuses_invalid_values(
        self, name: str, good: list[str], bad: list[str]
    ) -> None:
        pattern = templates.read(TEMPLATE)["Parameters"][name]["AllowedPattern"]
        assert [value for value in good if not re.fullmatch(pattern, value)] == []
        assert [value for value in bad if re.fullmatch(pattern, value)] == []


def test_outputs_have_the_version_and_descriptions(on_aws: Stack) -> None:
    assert on_aws.outputs["Version"]["Value"] == VERSION
    assert all(each["Description"] for each in on_aws.outputs.values())


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

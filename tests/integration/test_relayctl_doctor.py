"""relayctl doctor with AWS in memory: the checks of a stack, and of faults in each of its parts."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from moto.cloudwatch.models import cloudwatch_backends
from moto.core.models import DEFAULT_ACCOUNT_ID

from relay.sweeper.fallback_notifier import carry_out
from tests.integration.relayctl_cloud import REGION, STACK, Operator, client
from tests.samples import job

CHECKS = (
    *("version", "retry queue", "chore queue", "dead-letter queue", "worker", "chore worker", "recursion"),
    *("concurrency", "XMattersHosts", "BigPandaHosts", "ledger", "sweeper", "missed shares", "logs"),
    *("fallback topic", "fallback phones", "fallback test", "alarms", "AlarmTopicArn", "channels"),
)
PHONES = ("+14255550100", "+14255550177")
CALLS = ("call to phone 1 (ends in 00)", "call to phone 2 (ends in 77)")
VOICE = f"arn:aws:sms-voice:{REGION}:123456789012:phone-number/phone-1"
ALARM = f"{STACK}-FallbackAlarm-A1B2C3"
FAR = "arn:aws:sms-voice:eu-west-1:123456789012:phone-number/phone-1"


class Patient:
    """A working stack, with methods that break or change one part of it."""

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self.sns, self.dynamodb, self.cloudwatch = client("sns"), operator.dynamodb, client("cloudwatch")
        self.topic = self.sns.create_topic(Name=f"{STACK}-FallbackTopic-1")["TopicArn"]
        self.table = operator.table
        operator.outputs |= {"FallbackTopicArn": self.topic, "ReconcileFunction": f"{STACK}-reconcile"}
        operator.parameters["ReconcileMinutes"] = "5"
        self.alarms = self.sns.create_topic(Name="alarms")["TopicArn"]
        operator.parameters["AlarmTopicArn"] = self.alarms
        self.map("Enabled")
        for topic in (self.topic, self.alarms):
            self.subscribe("sqs", f"arn:aws:sqs:{REGION}:123456789012:noc", topic)
        self.alarm("FallbackAlarm", "OK")
        self.sweeper_ran()
        self.confirmed("topic")
        operator.keep("payments", policy={"allowed_recipients": []})

    def map(self, state: str, *queues: str) -> None:
        """Replace the workers' event source mappings by one in `state` for each of `queues`, by default for both."""
        self.operator.mappings = [
            {"EventSourceArn": f"arn:aws:sqs:{REGION}:123456789012:{STACK}-{queue}-1", "State": state}
            for queue in queues or ("RetryQueue", "ChoreQueue")
        ]

    def set(self, **parameters: str) -> None:
        self.operator.parameters |= parameters

    def concurrency(self, quota: int, others: int = 0) -> None:
        """Set the account's quota, and what others reserved of it."""
        self.operator.concurrency, self.operator.reserved_by_others = quota, others
        self.operator.parameters["WorkerConcurrency"] = "5"

    def log_group_gone(self, function: str) -> None:
        client("logs").delete_log_group(logGroupName=f"/aws/lambda/{STACK}-{function}")

    def reserve(self, **functions: int) -> None:
        self.operator.parameters |= {f"{name}Reserved": str(count) for name, count in functions.items()}

    def recursion(self, setting: str) -> None:
        self.operator.recursive_loop = setting

    def subscribe(self, protocol: str, endpoint: str, topic: str = "") -> None:
        self.sns.subscribe(TopicArn=topic or self.topic, Protocol=protocol, Endpoint=endpoint)

    def unsubscribe(self, topic: str) -> None:
        for each in self.sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]:
            self.sns.unsubscribe(SubscriptionArn=each["SubscriptionArn"])

    def confirmed(self, *ways: str, days: float = 1) -> None:
        """Record that a person confirmed these ways of the last resort, `days` ago."""
        fallback: Any = None
        then = self.operator.clock() - days * 86_400
        carry_out({"confirmed": ways}, fallback, self.operator.ledger.table, lambda: then)

    def phones(self, tier: str = "PRODUCTION", *verified: str, **parameters: str) -> None:
        """Set two phones that are called, with all ways confirmed; `parameters` are more of the stack's."""
        self.operator.parameters |= {"FallbackPhones": ",".join(PHONES), "FallbackVoiceIdentity": VOICE} | parameters
        self.operator.tier, self.operator.verified = tier, [*verified]
        self.confirmed("topic", *CALLS)

    def alarm(self, name: str, state: str, stack: str = STACK) -> None:
        whole = f"{stack}-{name}-A1B2C3"
        self.cloudwatch.put_metric_alarm(
            AlarmName=whole,
            MetricName="m",
            Namespace="n",
            Period=60,
            EvaluationPeriods=1,
            Threshold=0,
            ComparisonOperator="GreaterThanThreshold",
            Statistic="Sum",
        )
        self.cloudwatch.set_alarm_state(AlarmName=whole, StateValue=state, StateReason="a test")

    def sweeper_ran(self, errors: float = 0, *, ago: float = 30) -> None:
        """Write Lambda's datapoint of a run of the sweeper to CloudWatch, `ago` seconds back."""
        sweeper = ("FunctionName", self.operator.outputs["SweeperFunction"])
        self._datapoint("AWS/Lambda", "Errors", sweeper, errors, ago)

    def cloudwatch_forgets(self) -> None:
        """Remove every datapoint from CloudWatch."""
        cloudwatch_backends[DEFAULT_ACCOUNT_ID][REGION].metric_data.clear()

    def age(self, seconds: float, *, ago: float = 60, queue: str = "RetryQueue") -> None:
        """Write a datapoint of the age of a queue's oldest message to CloudWatch, `ago` seconds back."""
        self._datapoint("AWS/SQS", "ApproximateAgeOfOldestMessage", ("QueueName", f"{STACK}-{queue}-1"), seconds, ago)

    def _datapoint(self, namespace: str, metric: str, of: tuple[str, str], value: float, ago: float) -> None:
        figure: dict[str, Any] = {"MetricName": metric, "Value": value}
        figure |= {"Dimensions": [{"Name": of[0], "Value": of[1]}]}
        figure |= {"Timestamp": datetime.now(UTC) - timedelta(seconds=ago)}
        self.cloudwatch.put_metric_data(Namespace=namespace, MetricData=[figure])

    def examined(self, code: int = 0) -> dict[str, tuple[str, str]]:
        document = self.operator.run_json("doctor", code=code)
        assert [each["check"] for each in document["checks"]] == [*CHECKS]
        return {each["check"]: (each["state"], each["detail"]) for each in document["checks"]}


@pytest.fixture
def patient(operator: Operator) -> Patient:
    return Patient(operator)


def test_all_checks_of_a_working_stack_are_ok(patient: Patient) -> None:
    assert {state for state, _ in patient.examined().values()} == {"ok"}
    done = patient.operator.run("doctor", code=0)
    lines = done.stdout.splitlines()
    assert (lines[0], lines[len(CHECKS) + 1]) == (f"stack {STACK}", "channel payments")
    assert [line.split(":")[0].split("  ")[-1].strip() for line in lines[1 : len(CHECKS) + 1]] == [*CHECKS]
    assert done.stderr.startswith(f"stack {STACK}: ")
    assert "\x1b" not in done.output


@pytest.mark.parametrize(
    ("ails", "check", "state", "words"),
    [
        (lambda it: it.operator.outputs.update(Version="0.9.0"), "version", "warning", "the stack's is 0.9.0"),
        (lambda it: it.age(1300), "retry queue", "failed", "the worker does not process it"),
        (lambda it: [it.age(1300, ago=300), it.age(40)], "retry queue", "ok", "the oldest is 40 s old"),
        (lambda it: it.operator.put(job(), job()), "dead-letter queue", "warning", "about 2 dead-lettered jobs"),
        (lambda it: it.map("Disabled"), "chore worker", "failed", "is Disabled: the chore queue is not processed"),
        (lambda it: it.map("Enabled", "ChoreQueue"), "worker", "failed", "no event source mapping of the retry queue"),
        (lambda it: it.age(1900, queue="ChoreQueue"), "chore queue", "failed", "the chore worker does not process it"),
        (lambda it: it.recursion("Terminate"), "recursion", "failed", "worker's RecursiveLoop is Terminate"),
        (lambda it: it.concurrency(10), "concurrency", "warning", "has 10 concurrent executions"),
        (lambda it: it.concurrency(50), "concurrency", "ok", "each worker may use 5"),
        (lambda it: it.concurrency(1000, 951), "concurrency", "warning", "ask for 1001 or more in Service Quotas"),
        (lambda it: it.set(XMattersHosts="*.xmatters.com"), "XMattersHosts", "warning", "set XMattersHosts"),
        (lambda it: it.reserve(JobWorker=14), "concurrency", "failed", "JobWorkerReserved is 14: the worker needs 15"),
        (lambda it: it.reserve(JobWorker=15), "concurrency", "ok", "has 1000 concurrent executions"),
        (lambda it: it.reserve(ChoreWorker=4), "concurrency", "failed", "is 4: the chore worker needs 5"),
        (lambda it: it.dynamodb.delete_table(TableName=it.table), "ledger", "failed", "ResourceNotFoundException"),
        (lambda it: it.cloudwatch_forgets(), "sweeper", "failed", "no run for minutes: the fallback topic"),
        (lambda it: [it.cloudwatch_forgets(), it.sweeper_ran(ago=330)], "sweeper", "failed", "no run for minutes"),
        (lambda it: it.log_group_gone("chore-worker"), "logs", "failed", f"/aws/lambda/{STACK}-chore-worker is gone"),
        (lambda it: it.sweeper_ran(errors=1), "sweeper", "failed", "its last run failed: the fallback topic"),
        (lambda it: it.operator.outputs.pop("ReconcileFunction"), "missed shares", "warning", "ReconcileMinutes is 0"),
        (lambda it: it.subscribe("sms", "+15550100"), "fallback topic", "warning", "1 of them by SMS: US numbers get"),
        (lambda it: it.unsubscribe(it.topic), "fallback topic", "warning", "no confirmed subscription, 0 to be"),
        (lambda it: it.unsubscribe(it.alarms), "AlarmTopicArn", "warning", "no confirmed subscription, 0 to be"),
        (lambda it: it.sns.delete_topic(TopicArn=it.alarms), "AlarmTopicArn", "failed", "NotFound"),
        (lambda it: it.sns.delete_topic(TopicArn=it.topic), "fallback topic", "failed", "NotFound"),
        (lambda it: it.phones(FallbackTextIdentity=VOICE), "fallback phones", "ok", "2 called, 2 texted, at"),
        (lambda it: it.phones("SANDBOX", *PHONES), "fallback phones", "warning", "AWS's sandbox: 20 calls a day"),
        (lambda it: it.phones("SANDBOX", PHONES[0]), "fallback phones", "failed", f"{CALLS[1]}: the number is not"),
        (lambda it: it.phones(FallbackVoiceIdentity=""), "fallback phones", "failed", "set FallbackVoiceIdentity or"),
        (lambda it: it.phones(FallbackVoiceIdentity=FAR), "fallback phones", "failed", f"not in {REGION}, so no"),
        (lambda it: it.confirmed("topic", days=89), "fallback test", "ok", "each way was confirmed 89d ago"),
        (lambda it: it.confirmed("topic", days=90), "fallback test", "warning", "was confirmed 90d ago"),
        (lambda it: [it.phones(), it.confirmed("topic", CALLS[0])], "fallback test", "warning", f"{CALLS[1]}: not"),
        (lambda it: it.alarm("DeadLettersAlarm", "ALARM"), "alarms", "failed", "DeadLettersAlarm in ALARM"),
        (lambda it: it.alarm("DeadLettersAlarm", "ALARM", f"{STACK}-2"), "alarms", "ok", "none of 1"),
        (lambda it: it.operator.parameters.pop("AlarmTopicArn"), "AlarmTopicArn", "warning", "it is not set"),
        (lambda it: it.cloudwatch.delete_alarms(AlarmNames=[ALARM]), "alarms", "warning", "there are none"),
        (lambda it: it.operator.run("channel", "remove", "payments", "--yes"), "channels", "warning", "no channels"),
    ],
)
def test_fault_of_one_part_changes_the_state_of_its_check(
    patient: Patient, ails: Callable[[Patient], object], check: str, state: str, words: str
) -> None:
    ails(patient)
    found = patient.examined(code=int(state == "failed"))
    assert found[check][0] == state
    assert words in found[check][1]
    others = {what for what, (its_state, _) in found.items() if its_state == "failed"} - {check}
    linked = {"ledger": {"fallback test"}, "worker": {"chore worker"}, "chore worker": {"worker"}}
    assert others <= linked.get(check, set())


@pytest.mark.parametrize(
    ("operation", "check", "state"),
    [
        ("GetQueueAttributes", "retry queue", "failed"),
        ("ListEventSourceMappings", "worker", "failed"),
        ("GetFunctionRecursionConfig", "recursion", "failed"),
        ("GetAccountSettings", "concurrency", "failed"),
        ("GetItem", "fallback test", "failed"),
        ("ListSubscriptionsByTopic", "fallback topic", "warning"),
        ("DescribeAlarms", "alarms", "failed"),
        ("ListSecrets", "channels", "failed"),
    ],
)
def test_check_without_permission_is_not_ok(patient: Patient, operation: str, check: str, state: str) -> None:
    patient.operator.refused = {operation: "AccessDenied"}
    found = patient.examined(code=int(state == "failed"))
    assert found[check][0] == state
    assert re.search(rf"not checked: (AWS refused {operation}|DynamoDB refused): AccessDenied", found[check][1])


def test_unreadable_secrets_are_a_warning_for_each_channel(patient: Patient) -> None:
    patient.operator.refused = {"GetSecretValue": "AccessDeniedException"}
    document = patient.operator.run_json("doctor")
    [channel] = document["channels"]
    assert channel["channel"] == "payments"
    health, check = channel["checks"]
    assert (health["check"], health["state"]) == ("health", "ok")
    assert (check["check"], check["state"]) == ("secret", "warning")
    assert check["detail"].startswith("not seen: AWS refused GetSecretValue: AccessDeniedException")
    assert check["detail"].endswith(
        "settings, hosts, credentials, recipients and missed shares of the channel are not checked"
    )
    assert {each["state"] for each in document["checks"]} == {"ok"}


def test_doctor_has_a_line_of_health_for_each_channel_and_fails_while_one_is_sick(patient: Patient) -> None:
    done = patient.operator.run("doctor")
    assert "ok       health: 0 shares, 0 signals in the last hour" in done.stdout
    patient.operator.give_up("payments", "i1")
    done = patient.operator.run("doctor")
    assert done.exit_code == 1
    assert "failed   health: sick: 1 critical was given up" in done.stdout

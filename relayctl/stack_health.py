"""Checks of a stack through AWS's APIs: queues, the worker and its event source, table, topic, alarms."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from relayctl import checks
from relayctl.checks import Check, failed, ok, warning
from relayctl.refusal import DENIED, refusal
from relayctl.stack import Stack

OUTPUTS = (
    *("BigPandaWebhookUrl", "XMattersCallbackUrl", "RetryQueueUrl", "DeadLetterQueueUrl", "LedgerTableName"),
    *("FallbackTopicArn", "SecretPrefix", "JobWorkerFunction"),
)
# A job that waits is a new message at least every 15 minutes; RetryQueueAlarm goes off at this age.
OLDEST_SECONDS = 1200
# What a local cloud does not do.
NOT_EVALUATED = "not evaluated here"
# SQS writes a figure a minute, and some late.
_FIGURES = timedelta(minutes=15)
_DEPTHS: tuple[Any, ...] = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
)


class StackHealth:
    """Looks at one stack. It changes nothing."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def of(self, now: datetime) -> Iterator[Check]:
        """What there is to say of it. Raises StackMissingError where there is no such stack."""
        yield self._outputs()
        yield checks.of_aws("retry queue", lambda: self._retries(now))
        yield checks.of_aws("dead-letter queue", self._dead_letters)
        yield checks.of_aws("worker", self._worker)
        yield checks.of_aws("recursion", self._recursion)
        yield checks.of_aws("ledger", self._ledger)
        yield self._missed_shares()
        yield checks.of_aws("fallback topic", self._fallback)
        yield checks.of_aws("alarms", self._alarms)

    def _outputs(self) -> Check:
        missing = [name for name in OUTPUTS if name not in self._stack.outputs]
        if missing:
            return failed("outputs", f"{', '.join(missing)}: not there; deploy the stack again")
        return ok("outputs", "all are there")

    def _retries(self, now: datetime) -> Check:
        url = self._stack.output("RetryQueueUrl")
        waiting, sleeping, hidden = self._depths(url)
        age = self._oldest(url, now)
        detail = f"{waiting} wait, {sleeping} sleep, {hidden} in work"
        if age is None:
            return ok("retry queue", detail)
        detail += f"; the oldest is {age:.0f} s old"
        if age > OLDEST_SECONDS:
            return failed("retry queue", f"{detail}: nobody works it off")
        return ok("retry queue", detail)

    def _dead_letters(self) -> Check:
        count = sum(self._depths(self._stack.output("DeadLetterQueueUrl")))
        if count:
            return warning("dead-letter queue", f"about {count} rest there: relayctl dlq list")
        return ok("dead-letter queue", "empty")

    def _depths(self, url: str) -> list[int]:
        found: dict[Any, str] = self._stack.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=_DEPTHS)["Attributes"]
        return [int(found[name]) for name in _DEPTHS]

    def _oldest(self, url: str, now: datetime) -> float | None:
        """The age of the oldest message in seconds; None where there is no figure, as of a queue that is idle."""
        figures = self._stack.cloudwatch.get_metric_statistics(
            Namespace="AWS/SQS",
            MetricName="ApproximateAgeOfOldestMessage",
            Dimensions=[{"Name": "QueueName", "Value": _queue_name(url)}],
            StartTime=now - _FIGURES,
            EndTime=now,
            Period=60,
            Statistics=["Maximum"],
        )["Datapoints"]
        latest = max(figures, key=lambda each: each["Timestamp"], default=None)
        return float(latest["Maximum"]) if latest else None

    def _worker(self) -> Check:
        function = self._stack.output("JobWorkerFunction")
        queue = _queue_name(self._stack.output("RetryQueueUrl"))
        pages = self._stack.functions.get_paginator("list_event_source_mappings").paginate(FunctionName=function)
        found = [each for page in pages for each in page["EventSourceMappings"]]
        mapping = next((each for each in found if each.get("EventSourceArn", "").endswith(f":{queue}")), None)
        if mapping is None:
            return failed("worker", "nothing wakes it for the retry queue; deploy the stack again")
        state = mapping.get("State", "?")
        if state == "Enabled":
            return ok("worker", "the retry queue wakes it")
        if state in {"Creating", "Enabling", "Updating"}:
            return warning("worker", f"its event source mapping is not ready: {state}")
        return failed("worker", f"its event source mapping is {state}: nobody works the retry queue off")

    def _recursion(self) -> Check:
        """Check the setting without which Lambda drops a job after about 16 waits.

        A local cloud may not know the call, nor set what the template says.
        """
        what, function = "recursion", self._stack.output("JobWorkerFunction")
        try:
            setting = self._stack.functions.get_function_recursion_config(FunctionName=function).get("RecursiveLoop")
        except ClientError as error:
            if not self._stack.is_local or error.response["Error"].get("Code") in DENIED:
                raise
            setting = None
        if setting == "Allow":
            return ok(what, "Lambda lets a job that waits wake the worker again")
        if self._stack.is_local:
            return warning(what, NOT_EVALUATED)
        return failed(
            what,
            f"the worker's RecursiveLoop is {setting}: Lambda drops a job after about 16 waits; deploy the stack again",
        )

    def _ledger(self) -> Check:
        table = self._stack.output("LedgerTableName")
        status = self._stack.dynamodb.describe_table(TableName=table)["Table"].get("TableStatus", "?")
        if status == "ACTIVE":
            return ok("ledger", "the table is active")
        return (warning if status == "UPDATING" else failed)("ledger", f"the table is {status}")

    def _missed_shares(self) -> Check:
        what = "missed shares"
        if "ReconcileFunction" not in self._stack.outputs:
            return warning(what, "off: ReconcileMinutes is 0, so a share that never comes is not missed")
        return ok(what, f"BigPanda is asked every {self._stack.parameters.get('ReconcileMinutes', '?')} minutes")

    def _fallback(self) -> Check:
        what, topic = "fallback topic", self._stack.output("FallbackTopicArn")
        try:
            pages = self._stack.sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
            arns = [each.get("SubscriptionArn", "") for page in pages for each in page["Subscriptions"]]
        except ClientError as error:
            if error.response["Error"].get("Code") not in DENIED:
                raise
            # It may be another account's, which shows its subscriptions to nobody else.
            return warning(what, f"not checked: {refusal(error)}")
        confirmed = sum(arn.startswith("arn:") for arn in arns)
        pending = len(arns) - confirmed
        if confirmed:
            return ok(what, f"{confirmed} confirmed subscription{'s' if confirmed > 1 else ''}")
        return warning(what, f"nobody hears of it: no confirmed subscription, {pending} to be confirmed")

    def _alarms(self) -> Check:
        """Check the stack's own alarms: the names of another stack's may begin with this one's."""
        ours = re.compile(rf"{re.escape(self._stack.name)}-([A-Za-z]+Alarm)-[A-Za-z0-9]+")
        pages = self._stack.cloudwatch.get_paginator("describe_alarms").paginate(
            AlarmNamePrefix=f"{self._stack.name}-", AlarmTypes=["MetricAlarm"]
        )
        found = [
            (match[1], each["StateValue"])
            for page in pages
            for each in page["MetricAlarms"]
            if (match := ours.fullmatch(each["AlarmName"]))
        ]
        ringing = [name for name, state in found if state == "ALARM"]
        if ringing:
            return failed("alarms", f"{', '.join(ringing)} in ALARM; docs/operate.md has a runbook for each")
        if not found:
            return warning("alarms", "there are none")
        if self._stack.is_local:
            return warning("alarms", f"{len(found)} alarms, {NOT_EVALUATED}")
        if not self._stack.parameters.get("AlarmTopicArn"):
            return warning("alarms", f"none of {len(found)} in ALARM, but they tell nobody: AlarmTopicArn is not set")
        return ok("alarms", f"none of {len(found)} in ALARM")


def _queue_name(url: str) -> str:
    return url.rpartition("/")[2]

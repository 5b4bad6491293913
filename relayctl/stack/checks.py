"""Checks of a stack through AWS's APIs: queues, workers, event sources, table, topic and alarms."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from relay.version import VERSION
from relayctl.check_results import Check, State, Verdict, warning
from relayctl.dlq.queue import QueueDepth
from relayctl.failed_calls import DENIED, refusal, tried
from relayctl.stack import last_resort
from relayctl.stack.deployed import Stack


class WorkerQueue(NamedTuple):
    """A queue, and the worker function that its messages invoke."""

    what: str  # Name of the queue's check
    queue: str  # Stack output with the queue's URL
    worker: str  # Name of the worker's check
    function: str  # Stack output with the worker's function name
    reserved: str  # Stack parameter that reserves concurrency for the worker
    invoked: int  # Concurrent executions that the worker needs for invocations by the sweeper, not by its queue
    oldest_seconds: int  # Age of a message at which the queue's alarm goes off; a job waits 15 minutes at most


# While SQS fails, the sweeper invokes the job worker with at most 200 jobs a minute. Lambda keeps the invocations that
# exceed the concurrency, so ten executions are enough for jobs of three seconds.
FOR_THE_SWEEPER = 10
WORKER_QUEUES = (
    WorkerQueue(
        "retry queue", "RetryQueueUrl", "worker", "JobWorkerFunction", "JobWorkerReserved", FOR_THE_SWEEPER, 1200
    ),
    WorkerQueue("chore queue", "ChoreQueueUrl", "chore worker", "ChoreWorkerFunction", "ChoreWorkerReserved", 0, 1800),
)
# New accounts have a quota of 10 concurrent executions; below 50 a storm of shares is throttled.
LEAST_CONCURRENCY = 50
# Executions that the workers must leave for the webhook, the callbacks, the sweeper and reconcile.
FOR_WEBHOOKS = 20
# An example for each list of hosts.
_EXAMPLES = {"XMattersHosts": "acme.xmatters.com", "BigPandaHosts": "api.bigpanda.io"}
# Parameters that reserve concurrency for functions without a queue.
_RESERVED = ("BigPandaWebhookReserved", "XMattersCallbackReserved", "SweeperReserved", "ReconcileReserved")
# Checks that a local cloud cannot answer, and their detail there.
_ONLY_ON_AWS = frozenset({"recursion", "concurrency", "sweeper", "alarms"})
# As SweeperGoneAlarm, the sweeper may be silent for so long.
_SWEEPER_GONE = timedelta(minutes=5)
# SQS writes one datapoint a minute, and some of them late.
_DATAPOINTS_SINCE = timedelta(minutes=15)


class StackChecks:
    """Checks of one stack, which change nothing."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def of(self, now: datetime) -> Iterator[Check]:
        """Check the stack, and yield the result of each check. Raises StackMissingError if there is no such stack."""
        for what, check in self._checks(now):
            found, problem = tried(check)
            state, detail = found or (State.FAILED, f"not checked: {problem}")
            is_denied = any(code in detail for code in DENIED)
            is_unknown = self._stack.is_local and what in _ONLY_ON_AWS and not is_denied
            yield warning(what, "not evaluated here") if is_unknown else Check(what, detail, state)

    def _checks(self, now: datetime) -> Iterator[tuple[str, Callable[[], Verdict]]]:
        yield "version", self._version
        for each in WORKER_QUEUES:
            yield each.what, partial(self._waiting, each, now)
        yield "dead-letter queue", self._dead_letters
        for each in WORKER_QUEUES:
            yield each.worker, partial(self._worker, each)
        yield "recursion", self._recursion
        yield "concurrency", self._concurrency
        for parameter in _EXAMPLES:
            yield parameter, partial(self._hosts, parameter)
        yield "ledger", self._ledger
        yield "sweeper", partial(self._sweeper, now)
        yield "missed shares", self._missed_shares
        yield "logs", self._logs
        yield "fallback topic", lambda: self._topic(self._stack.output("FallbackTopicArn"))
        yield "fallback phones", partial(last_resort.phones, self._stack)
        yield "fallback test", partial(last_resort.confirmed, self._stack)
        yield "alarms", self._alarms
        parameters = self._stack.parameters
        yield "AlarmTopicArn", partial(self._topic, parameters.get("AlarmTopicArn", ""))
        if notices := parameters.get("NoticeTopicArn"):
            yield "NoticeTopicArn", partial(self._topic, notices)

    def _version(self) -> Verdict:
        found = self._stack.outputs.get("Version", "an older one")
        if found == VERSION:
            return State.OK, f"{found}, as relayctl"
        return State.WARNING, f"the stack's is {found}, relayctl's {VERSION}: take both from the same release"

    def _waiting(self, pair: WorkerQueue, now: datetime) -> Verdict:
        depth = self._depth(pair.queue)
        name = _queue_name(self._stack.output(pair.queue))
        oldest = self._latest("AWS/SQS", "ApproximateAgeOfOldestMessage", ("QueueName", name), now)
        detail = f"{depth.visible} waiting, {depth.delayed} delayed, {depth.held} in flight"
        # An idle queue has no datapoint.
        if oldest is None:
            return State.OK, detail
        detail += f"; the oldest is {oldest['Maximum']:.0f} s old"
        if oldest["Maximum"] > pair.oldest_seconds:
            return State.FAILED, f"{detail}: the {pair.worker} does not process it"
        return State.OK, detail

    def _depth(self, output: str) -> QueueDepth:
        return QueueDepth.of(self._stack.session.client("sqs"), self._stack.output(output))

    def _dead_letters(self) -> Verdict:
        if count := self._depth("DeadLetterQueueUrl").about:
            return State.WARNING, f"about {count} dead-lettered jobs: relayctl dlq list"
        return State.OK, "empty"

    def _latest(self, namespace: str, metric: str, dimension: tuple[str, str], now: datetime) -> Any | None:
        datapoints = self._stack.session.client("cloudwatch").get_metric_statistics(
            Namespace=namespace,
            MetricName=metric,
            Dimensions=[{"Name": dimension[0], "Value": dimension[1]}],
            StartTime=now - _DATAPOINTS_SINCE,
            EndTime=now,
            Period=60,
            Statistics=["Maximum"],
        )["Datapoints"]
        return max(datapoints, key=lambda each: each["Timestamp"], default=None)

    def _worker(self, pair: WorkerQueue) -> Verdict:
        queue, function = _queue_name(self._stack.output(pair.queue)), self._stack.output(pair.function)
        pages = self._stack.session.client("lambda").get_paginator("list_event_source_mappings")
        found = pages.paginate(FunctionName=function).search("EventSourceMappings[]")
        mapping = next((each for each in found if each.get("EventSourceArn", "").endswith(f":{queue}")), None)
        if mapping is None:
            return State.FAILED, f"no event source mapping of the {pair.what}; deploy the stack again"
        state = mapping.get("State", "?")
        if state == "Enabled":
            return State.OK, f"the {pair.what} wakes it"
        return State.FAILED, f"its event source mapping is {state}: the {pair.what} is not processed"

    def _recursion(self) -> Verdict:
        """Check that Lambda's recursion detection is off; else Lambda drops a job that has waited about 16 times."""
        client = self._stack.session.client("lambda")
        if client.meta.partition in {"aws-us-gov", "aws-cn"}:
            return State.OK, "Lambda detects no loops in this partition"
        for pair in WORKER_QUEUES:
            found = client.get_function_recursion_config(FunctionName=self._stack.output(pair.function))
            if (setting := found.get("RecursiveLoop")) != "Allow":
                said = f"the {pair.worker}'s RecursiveLoop is {setting}"
                return State.FAILED, f"{said}: Lambda drops a job after about 16 waits; deploy the stack again"
        return State.OK, "Lambda lets a waiting job wake its worker again"

    def _concurrency(self) -> Verdict:
        limits = self._stack.session.client("lambda").get_account_settings()["AccountLimit"]
        quota, free = int(limits["ConcurrentExecutions"]), int(limits["UnreservedConcurrentExecutions"])
        each = int(self._stack.parameters.get("WorkerConcurrency", "5"))
        names = (*_RESERVED, *(pair.reserved for pair in WORKER_QUEUES))
        reserved = {name: int(self._stack.parameters.get(name, "0")) for name in names}
        small = [
            f"{pair.reserved} is {reserved[pair.reserved]}: the {pair.worker} needs {each + pair.invoked} or more"
            for pair in WORKER_QUEUES
            if 0 < reserved[pair.reserved] < each + pair.invoked
        ]
        if small:
            # Lambda receives messages of the queue, and then has no execution for them.
            return State.FAILED, f"{'; '.join(small)}, or redrive may dead-letter jobs that were never attempted"
        detail = f"the account has {quota} concurrent executions, {free} of them unreserved; each worker may use {each}"
        sharing = sum(not reserved[pair.reserved] for pair in WORKER_QUEUES)
        least = max(LEAST_CONCURRENCY, sharing * each + FOR_WEBHOOKS)
        if free < least:
            more = quota + least - free
            return State.WARNING, f"{detail}: ask for {more} or more in Service Quotas, or a storm is throttled"
        return State.OK, detail

    def _hosts(self, parameter: str) -> Verdict:
        hosts = self._stack.hosts
        patterns = next(each.patterns for each in hosts if each.parameter == parameter)
        if wild := [pattern for pattern in patterns if pattern.startswith("*.")]:
            said = f"{', '.join(wild)}: a channel's credentials may be sent to any host below it"
            return State.WARNING, f"{said}; set {parameter} to your own, such as {_EXAMPLES[parameter]}"
        if shared := sorted(set(hosts.xmatters.patterns) & set(hosts.bigpanda.patterns)):
            said = f"{', '.join(shared)} is in both lists: one vendor may receive the other's credentials"
            return State.WARNING, f"{said}; take it out of one"
        return State.OK, f"only {', '.join(patterns)} may be called"

    def _ledger(self) -> Verdict:
        table = self._stack.output("LedgerTableName")
        status = self._stack.session.client("dynamodb").describe_table(TableName=table)["Table"].get("TableStatus", "?")
        if status == "ACTIVE":
            return State.OK, "the table is active"
        return (State.WARNING if status == "UPDATING" else State.FAILED), f"the table is {status}"

    def _sweeper(self, now: datetime) -> Verdict:
        why = "the fallback topic is not notified of overdue criticals"
        run = self._latest("AWS/Lambda", "Errors", ("FunctionName", self._stack.output("SweeperFunction")), now)
        if run is None or now - run["Timestamp"] > _SWEEPER_GONE:
            return State.FAILED, f"no run for minutes: {why}"
        if run["Maximum"]:
            return State.FAILED, f"its last run failed: {why}"
        return State.OK, f"ran {max(0.0, (now - run['Timestamp']).total_seconds()):.0f} s ago"

    def _missed_shares(self) -> Verdict:
        if "ReconcileFunction" not in self._stack.outputs:
            return State.WARNING, "off: ReconcileMinutes is 0, so a share that never arrives is not noticed"
        minutes = self._stack.parameters.get("ReconcileMinutes", "?")
        return State.OK, f"BigPanda's incidents are compared every {minutes} minutes"

    def _logs(self) -> Verdict:
        """Check that the functions' log groups exist: the relay's metrics come from them, and so do its alarms."""
        start = f"/aws/lambda/{self._stack.name}-"
        pages = self._stack.session.client("logs").get_paginator("describe_log_groups")
        found = set(pages.paginate(logGroupNamePrefix=start).search("logGroups[].logGroupName"))
        if gone := [f"{start}{each}" for each in self._stack.functions if f"{start}{each}" not in found]:
            create = f"aws logs create-log-group --log-group-name {gone[0]}"
            return State.FAILED, f"{', '.join(gone)} is gone, and so are its metrics and alarms; type: {create}"
        return State.OK, "each function has its log group, from which the alarms' metrics come"

    def _topic(self, topic: str) -> Verdict:
        if not topic:
            return State.WARNING, "notifies nobody: it is not set"
        try:
            pages = self._stack.session.client("sns").get_paginator("list_subscriptions_by_topic")
            subscriptions = list(pages.paginate(TopicArn=topic).search("Subscriptions[]"))
        except ClientError as error:
            if error.response["Error"].get("Code") not in DENIED:
                raise
            # The topic may belong to another account, which alone may list its subscriptions.
            return State.WARNING, f"not checked: {refusal(error)}"
        protocols = [each["Protocol"] for each in subscriptions if each.get("SubscriptionArn", "").startswith("arn:")]
        confirmed, texted = len(protocols), protocols.count("sms")
        pending = len(subscriptions) - confirmed
        detail = f"{confirmed} confirmed subscription{'s' if confirmed > 1 else ''}"
        if texted:
            return State.WARNING, (
                f"{detail}, {texted} of them by SMS: US numbers get none without a registered origination identity, "
                "and AWS stops all at the account's spend limit"
            )
        if confirmed:
            return State.OK, detail
        return State.WARNING, f"notifies nobody: no confirmed subscription, {pending} to be confirmed"

    def _alarms(self) -> Verdict:
        """Check the alarms of this stack only: another stack's alarms may have names with the same beginning."""
        ours = re.compile(rf"{re.escape(self._stack.name)}-([A-Za-z]+Alarm)-[A-Za-z0-9]+")
        pages = self._stack.session.client("cloudwatch").get_paginator("describe_alarms")
        alarms = pages.paginate(AlarmNamePrefix=f"{self._stack.name}-", AlarmTypes=["MetricAlarm"])
        found = [
            (match[1], each["StateValue"])
            for each in alarms.search("MetricAlarms[]")
            if (match := ours.fullmatch(each["AlarmName"]))
        ]
        in_alarm = [name for name, state in found if state == "ALARM"]
        if in_alarm:
            return State.FAILED, f"{', '.join(in_alarm)} in ALARM; docs/operate.md has a runbook for each"
        if not found:
            return State.WARNING, "there are none"
        return State.OK, f"none of {len(found)} in ALARM"


def _queue_name(url: str) -> str:
    return url.rpartition("/")[2]

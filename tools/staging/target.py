"""The relay that is checked, with the stand-in of xMatters that it signals."""

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import boto3
import requests

from relayctl.stack.deployed import describe, outputs_in
from sandbox.cloud import relayctl

CHANNEL = "staging"
POLL_SECONDS = 1.0


class XMatters:
    """The stand-in of xmatters.yaml, whose table holds what it answers and what it got."""

    def __init__(self, table: Any, trigger_url: str) -> None:
        self._table, self.trigger_url = table, trigger_url

    def answer(self, status: int) -> None:
        """Answer each signal with this status from now on."""
        self._table.put_item(Item={"pk": "answer", "status": status})

    def accepted(self) -> list[bytes]:
        items = self._table.scan(ConsistentRead=True)["Items"]
        return [each["body"].value for each in items if each["pk"].startswith("signal/")]

    def runtime(self) -> str:
        """Return boto3's version, `sys.path` and the number of processors, as JSON."""
        return str(self._table.get_item(Key={"pk": "runtime"})["Item"]["said"])


@dataclass
class Target:
    """A deployed relay.

    Attributes:
        stack: Name of its stack.
        environment: Environment in which relayctl reaches it.
        session: Session of AWS's clients.
        xmatters: The stand-in that the channel signals.
        change: Deploys the stack with other parameters, or anew.
        sleep: Waits for some seconds.
        clock: The time in seconds; only differences count.
        token: The credential of the channel's webhook; "" before the channel is set.
        unreadable: Id of a message that is no job, sent early because SQS receives it for an hour; "" for none.
    """

    stack: str
    environment: Mapping[str, str]
    session: boto3.Session
    xmatters: XMatters
    change: Callable[..., None]
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    token: str = ""
    unreadable: str = ""

    @cached_property
    def outputs(self) -> dict[str, str]:
        return outputs_in(describe(self.client("cloudformation"), self.stack), None)

    def client(self, service: str) -> Any:
        return self.session.client(service)  # type: ignore[call-overload]

    def resource(self, logical_id: str) -> str:
        names = {"StackName": self.stack, "LogicalResourceId": logical_id}
        found = self.client("cloudformation").describe_stack_resource(**names)["StackResourceDetail"]
        return str(found["PhysicalResourceId"])

    def api(self) -> dict[str, Any]:
        return dict(self.client("apigateway").get_rest_api(restApiId=self.outputs["ApiId"]))

    def lines(self, log_group: str, text: str) -> int:
        """Count the lines of a log group that contain a text."""
        pages = self.client("logs").get_paginator("filter_log_events").paginate(logGroupName=log_group)
        return sum(text in event["message"] for page in pages for event in page["events"])

    def metric_sum(self, namespace: str, metric: str, **dimensions: str) -> float:
        """Return the sum of a metric of one of AWS's services in the last two hours."""
        now = datetime.now(UTC)
        found = self.client("cloudwatch").get_metric_statistics(
            Namespace=namespace,
            MetricName=metric,
            Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
            StartTime=now - timedelta(hours=2),
            EndTime=now,
            Period=7200,
            Statistics=["Sum"],
        )
        return float(sum(each["Sum"] for each in found["Datapoints"]))

    def seconds_until(self, holds: Callable[[], object], within: float) -> float | None:
        """Wait until a condition holds; return the seconds that it took, or None if it did not hold in time."""
        began = self.clock()
        while not holds():
            if self.clock() - began > within:
                return None
            self.sleep(POLL_SECONDS)
        return self.clock() - began

    @contextmanager
    def without_rights(self, role: str, actions: Sequence[str]) -> Iterator[None]:
        """Deny a role of the stack some actions for the time of the context."""
        iam, names = self.client("iam"), {"RoleName": self.resource(role), "PolicyName": "staging"}
        deny = {"Effect": "Deny", "Action": list(actions), "Resource": "*"}
        iam.put_role_policy(**names, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [deny]}))
        try:
            yield
        finally:
            iam.delete_role_policy(**names)

    @contextmanager
    def without_schedule(self, rule: str) -> Iterator[None]:
        """Disable a rule of the stack for the time of the context."""
        events, name = self.client("events"), self.resource(rule)
        events.disable_rule(Name=name)
        try:
            yield
        finally:
            events.enable_rule(Name=name)

    def deployed_again(self) -> None:
        """Delete the stack, and deploy it under the same name."""
        cloudformation = self.client("cloudformation")
        cloudformation.delete_stack(StackName=self.stack)
        cloudformation.get_waiter("stack_delete_complete").wait(StackName=self.stack)
        self.change()
        vars(self).pop("outputs", None)

    def relayctl(self, *arguments: str, codes: tuple[int, ...] = (0,), **environment: str) -> str:
        """Run relayctl and return its stdout. Raises SandboxError at an exit code that is not in `codes`.

        `environment` has variables that replace those of the target.
        """
        return relayctl.invoke({**self.environment, **environment}, self.stack, arguments, codes)

    def set_channel(self) -> dict[str, Any]:
        """Make the channel, or give it a new token; return relayctl's document."""
        token = uuid.uuid4().hex
        settings = (f"inbound.token={token}", "policy.min_seconds_between_signals=0")
        options = ("--recipient", "Operations", "--json")
        url = self.xmatters.trigger_url
        said = relayctl.set_channel(lambda given: self.relayctl(*given), CHANNEL, url, settings, *options)
        stored: dict[str, Any] = json.loads(said)
        self.token = token
        return stored

    def post(self, body: bytes, *, path: str = f"/bigpanda/{CHANNEL}", bearer: str | None = None) -> requests.Response:
        """Post a body to the API as BigPanda does, by default to the channel with its token."""
        headers = {"Authorization": f"Bearer {bearer or self.token}", "Content-Type": "application/json"}
        api = self.outputs["BigPandaWebhookUrl"].removesuffix("/bigpanda/{channel}")
        return requests.post(f"{api}{path}", data=body, headers=headers, timeout=60)

    def share(self, incident_id: str = "") -> tuple[str, requests.Response]:
        """Share a critical incident, by default a new one; return its id and the relay's answer."""
        incident_id = incident_id or f"staging-{uuid.uuid4().hex[:12]}"
        return incident_id, self.post(json.dumps({"incident": {"id": incident_id, "status": "critical"}}).encode())

    def send_unreadable(self) -> None:
        message = {"QueueUrl": self.outputs["RetryQueueUrl"], "MessageBody": "not a job"}
        self.unreadable = str(self.client("sqs").send_message(**message)["MessageId"])

    def rings(self, incident_id: str) -> int:
        return sum(incident_id.encode() in body for body in self.xmatters.accepted())

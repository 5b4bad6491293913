"""Cost of a million owed shares, from counted calls, measured CPU and log lines, and list prices. Pure arithmetic.

An owed share is one request to the API, one run of the webhook that signals xMatters, and one job. The job wakes the
worker after the delivery. With `xmatters.rest` each signal also makes a chore: a message and a run of the chore worker.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Self

from bench import prices
from bench.figures import Aim, Section, measured
from bench.functions import Spent
from bench.traffic import SHARES_A_MINUTE, Counted

MILLION = 1_000_000
GIGABYTE = 1_000_000_000

# Assumed, since loopback cannot show them: seconds of a signal, and of a call to AWS.
XMATTERS_SECONDS = 0.2
AWS_CALL_SECONDS = 0.005
MEMORY_GB = 0.5
# With this memory (MB), Lambda gives a function one whole CPU; with less, a part of one ("Configure Lambda function
# memory" in AWS's Lambda guide).
MEMORY_OF_ONE_CPU = 1769
PROCESSOR = 512 / MEMORY_OF_ONE_CPU
# START, END and REPORT of an invocation; a line of the access log; the bytes that CloudWatch adds to each line.
PLATFORM_LOG_BYTES = 330
ACCESS_LOG_BYTES = 299
LOG_EVENT_BYTES = 26
PLATFORM_LOG_LINES = 3


@dataclass(frozen=True)
class Invocation:
    """Resources of one run of a function.

    Attributes:
        cpu: seconds of CPU on a whole processor.
        aws_calls: calls to AWS.
        log_bytes: bytes that the function logs, without Lambda's own lines.
        log_lines: lines that the function logs.
    """

    cpu: float
    aws_calls: float
    log_bytes: float
    log_lines: float

    @classmethod
    def of(cls, spent: Sequence[Spent]) -> Self:
        """Return the medians of the measured invocations."""
        return cls(
            cpu=median(each.cpu for each in spent),
            aws_calls=median(each.calls.total() for each in spent),
            log_bytes=median(each.log_bytes for each in spent),
            log_lines=median(each.log_lines for each in spent),
        )

    def billed_seconds(self, waited: float = 0.0) -> float:
        """Return the seconds that Lambda bills for the run, with the functions' share of a processor (PROCESSOR).

        `waited`: seconds of waiting for a vendor.
        """
        return self.cpu / PROCESSOR + self.aws_calls * AWS_CALL_SECONDS + waited

    def all_log_bytes(self) -> float:
        """Return the bytes that the log group takes in, Lambda's own lines included."""
        return self.log_bytes + PLATFORM_LOG_BYTES + (self.log_lines + PLATFORM_LOG_LINES) * LOG_EVENT_BYTES


def per_million(
    counted: Counted,
    webhook: Invocation,
    worker: Invocation,
    *,
    waits: tuple[float, float] = (XMATTERS_SECONDS, 0.0),
) -> dict[str, float]:
    """Return the dollars for a million requests and their jobs, by item of the bill.

    A request is an owed share, or a person's answer from xMatters. `counted` has the average use of AWS by one request,
    `webhook` is a run of the function that takes it, and `worker` a run with one job. `waits` has the seconds for which
    a run of the webhook, and one of the worker, wait for a vendor.
    """
    wakes = counted.jobs
    webhook_seconds, worker_seconds = webhook.billed_seconds(waits[0]), worker.billed_seconds(waits[1])
    log_bytes = webhook.all_log_bytes() + wakes * worker.all_log_bytes() + ACCESS_LOG_BYTES + LOG_EVENT_BYTES
    return {
        "API Gateway requests": prices.API_REQUESTS,
        "Lambda, webhook requests": prices.LAMBDA_REQUESTS,
        "Lambda, webhook time": webhook_seconds * MEMORY_GB * prices.LAMBDA_GB_SECOND * MILLION,
        "Lambda, worker requests": wakes * prices.LAMBDA_REQUESTS,
        "Lambda, worker time": wakes * worker_seconds * MEMORY_GB * prices.LAMBDA_GB_SECOND * MILLION,
        "DynamoDB writes": counted.write_units * prices.DYNAMODB_WRITE_UNITS,
        "DynamoDB reads": counted.read_units * prices.DYNAMODB_READ_UNITS,
        # Each job is sent, received and deleted.
        "SQS requests": (counted.send_requests + 2 * wakes) * prices.SQS_REQUESTS,
        "Secrets Manager reads": counted.secret_reads * prices.SECRET_READS,
        "CloudWatch Logs": log_bytes * MILLION / GIGABYTE * prices.LOG_GB,
    }


def alarm_metrics_by_default(template: str) -> int:
    """Count the metrics that alarms watch in a deployment with default parameters: AWS charges for each of them.

    SilenceAlarm is off by default.
    """
    alarms = re.findall(r"\n    Type: AWS::CloudWatch::Alarm\n.*?(?=\n\n)", template, re.DOTALL)
    return sum(max(1, each.count("MetricStat:")) for each in alarms if "Condition: WatchesSilence" not in each)


def section(counted: Counted, webhook: Invocation, worker: Invocation) -> Section:
    """Return the table of costs."""
    bill = per_million(counted, webhook, worker)
    figures = [measured(name, "$", dollars) for name, dollars in bill.items()]
    figures.append(measured("a million owed shares", "$", sum(bill.values()), aim=Aim(10.0)))
    return Section(
        "cost",
        "Cost of a million owed shares",
        figures,
        (
            f"List prices, {prices.NOTED}.",
            f"Counted, an owed share: {counted.writes:.2f} writes of {counted.write_units:.2f} units, "
            f"{counted.reads:.2f} reads of {counted.read_units:.2f} units, {counted.sends:.2f} messages, "
            f"{counted.jobs:.2f} wake-ups, {counted.secret_reads:.3f} reads of a secret; at {SHARES_A_MINUTE} shares a "
            "minute.",
            f"Measured: {webhook.cpu * 1e3:.1f} ms of CPU and {webhook.log_bytes:.0f} bytes of log a share, "
            f"{worker.cpu * 1e3:.1f} ms and {worker.log_bytes:.0f} bytes a wake-up.",
            f"Assumed: xMatters takes {XMATTERS_SECONDS * 1e3:.0f} ms, a call to AWS {AWS_CALL_SECONDS * 1e3:.0f} ms; "
            f"512 MB, arm64, as fast as this machine; {PLATFORM_LOG_BYTES} bytes of Lambda's own log lines an "
            f"invocation, {ACCESS_LOG_BYTES} of the API's access log.",
            "Not included: cold starts, data that leaves AWS, storage, and a month without traffic (`month`).",
        ),
    )

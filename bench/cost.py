"""Cost of a million owed shares, and of a typical month, at list prices and without free tiers.

An owed share is one request to the API, one run of the webhook that signals xMatters, and one job. The job wakes the
worker after the delivery. Calls, units and log lines are counted with the library itself (`usage`); CPU and the
duration of calls are assumed, since only AWS could show them.
"""

import json
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from bench.figures import Figure, Section
from bench.usage import MeteredRelay, Usage
from relay.sweeper.canary import EVERY_SECONDS
from relay.telemetry import CHANNEL_METRICS
from tests import samples
from tests.artefact.templates import of_clone
from tests.fakes import FakeSecrets

# List prices of AWS in us-east-1, without any free tier; prices change. Dollars for a million of each, unless the name
# says otherwise.
NOTED = "us-east-1, noted on 2026-11-25; check them"
API_REQUESTS = 3.50  # REST API, the first 333 million of a month
LAMBDA_REQUESTS = 0.20
LAMBDA_GB_SECOND = 0.0000133334  # arm64; dollars for one
SQS_REQUESTS = 0.40  # standard queues, after the first million of a month
WRITE_UNITS, READ_UNITS = 0.625, 0.125  # DynamoDB, on demand
SECRET_READS = 5.00  # 0.05 for 10,000
LOG_GB = 0.50  # dollars for one, taken in
ALARM, METRIC, SECRET = 0.10, 0.30, 0.40  # dollars a month for one

MILLION, GIGABYTE = 1_000_000, 1_000_000_000
MEMORY_GB = 0.5
# With 1,769 MB, Lambda gives a function one whole processor; with less, a part of one ("Configure Lambda function
# memory" in AWS's Lambda guide).
PROCESSOR = 512 / 1769
# Assumed: seconds of a signal and of a call to AWS; seconds of a whole processor for a share, for a job with nothing to
# send, and for an idle run of a scheduled function.
XMATTERS_SECONDS, AWS_CALL_SECONDS = 0.2, 0.005
SHARE_CPU, WAKE_CPU, IDLE_CPU = 0.008, 0.002, 0.006
# A line of the access log, and the bytes that CloudWatch adds to each line. Lambda itself logs no line of a run that
# succeeds (`SystemLogLevel` in the template).
ACCESS_LOG_BYTES = 299
LOG_EVENT_BYTES = 26

# About a million a month: each of these incidents opens, worsens and resolves, ten minutes apart.
SHARES_A_MINUTE, INCIDENTS = 23, 100
STATES, STATE_SECONDS = ("warning", "critical", "ok"), 600
SAMPLE = Path(__file__).resolve().parents[1] / "events" / "bigpanda_2_more_alerts.json"

SHARES, CHANNELS = 20_000, 5
HOURS = 24 * 30
SWEEPS, RECONCILE_RUNS = 60 * HOURS, 12 * HOURS
# Reconcile runs that use one copy of the secrets: the template's half an hour.
RUNS_OF_A_COPY = 6
# Written in each hour: the shares.
HOURLY_METRICS = 1
# Of each channel, with ChannelMetrics: shares and accepted signals are written in each hour of a busy channel; failed
# signals and debts only when there are some.
CHANNEL_HOURLY_METRICS = 2
# Of a canary's channel: the times of its steps. Each incident is a share and its resolve.
CANARY_METRICS, CANARY_SHARES = 3, round(2 * HOURS * 3600 / EVERY_SECONDS)
# Assumed: failures write ten metrics in this many hours of a month.
FAILURE_METRICS, FAILURE_HOURS = 10, 24


def run_bill(usage: Usage, cpu: float, waited: float = 0.0) -> Counter[str]:
    """Return the dollars for a million runs of a function, by item of the bill.

    A run takes `cpu` seconds of a whole processor, and waits for a vendor for `waited` seconds.
    """
    billed_seconds = cpu / PROCESSOR + usage.aws_calls * AWS_CALL_SECONDS + waited
    log_bytes = usage.log_bytes + usage.log_lines * LOG_EVENT_BYTES
    return Counter(
        {
            "Lambda requests": LAMBDA_REQUESTS,
            "Lambda time": billed_seconds * MEMORY_GB * LAMBDA_GB_SECOND * MILLION,
            "DynamoDB writes": usage.write_units * WRITE_UNITS,
            "DynamoDB reads": (usage.read_units + usage.half_read_units / 2) * READ_UNITS,
            "SQS requests": usage.sqs_requests * SQS_REQUESTS,
            "Secrets Manager reads": usage.secret_reads * SECRET_READS,
            "CloudWatch Logs": log_bytes * MILLION / GIGABYTE * LOG_GB,
        }
    )


@cache
def owed_share(incidents: int = INCIDENTS) -> tuple[Usage, Usage]:
    """Count the use of AWS by an owed share, and by its job that wakes after the delivery."""
    metered, seconds = MeteredRelay(), 60 / SHARES_A_MINUTE
    shares, wakes = list[Counter[str]](), list[Counter[str]]()
    coming = sorted(
        (metered.clock.now + number * len(STATES) * seconds + place * (STATE_SECONDS + seconds), place, number)
        for number in range(incidents)
        for place in range(len(STATES))
    )
    for moment, place, number in coming:
        while metered.queue.next_at <= moment:
            wakes.append(metered.wake())
        metered.clock.now = max(metered.clock.now, moment)
        shares.append(metered.serve(samples.request(_body(f"i-{number}", place))))
    while metered.queue.waiting:
        wakes.append(metered.wake())
    assert len(wakes) == len(shares) == len(metered.relay.session.calls)
    return Usage.mean(shares), Usage.mean(wakes)


def _body(incident_id: str, place: int) -> bytes:
    """Return the body of the sample with three alerts, for an incident in the state at this place of STATES."""
    document: dict[str, Any] = json.loads(json.loads(SAMPLE.read_text())["body"])
    changed = document["incident"]["startedOn"] + place * STATE_SECONDS
    is_open = STATES[place] != "ok"
    members = {"id": incident_id, "status": STATES[place], "active": is_open, "resolved": not is_open}
    document["incident"] |= members | {"changedOn": changed, "updatedOn": changed}
    return json.dumps(document).encode()


def million_bill(share: Usage, wake: Usage) -> Counter[str]:
    """Return the dollars for a million owed shares, by item of the bill."""
    access_log = (ACCESS_LOG_BYTES + LOG_EVENT_BYTES) * MILLION / GIGABYTE * LOG_GB
    gateway = Counter({"API Gateway requests": API_REQUESTS, "CloudWatch Logs": access_log})
    return gateway + run_bill(share, SHARE_CPU, XMATTERS_SECONDS) + run_bill(wake, WAKE_CPU)


def section() -> Section:
    share, wake = owed_share()
    bill = million_bill(share, wake)
    notes = (
        f"List prices, {NOTED}.",
        f"Counted, at {SHARES_A_MINUTE} shares a minute: a share writes {share.write_units:.2f} units and reads "
        f"{share.read_units:.2f}, and a secret {share.secret_reads:.3f} times; it logs {share.log_bytes:.0f} bytes. "
        f"Its wake-up reads {wake.read_units:.2f} units.",
        f"Assumed: {SHARE_CPU * 1e3:.0f} ms of a processor a share, {WAKE_CPU * 1e3:.0f} ms a wake-up; xMatters takes "
        f"{XMATTERS_SECONDS * 1e3:.0f} ms, a call to AWS {AWS_CALL_SECONDS * 1e3:.0f} ms; 512 MB, arm64.",
        "Not included: cold starts, data that leaves AWS, storage, and a month without traffic (`month`).",
    )
    return Section("Cost of a million owed shares", _figures(bill, "a million owed shares", 9.95), notes)


def idle_sweep() -> Usage:
    """Count a run of the sweeper that finds no debt."""
    metered = MeteredRelay()
    return Usage.mean([metered.run(metered.relay.sweeper.sweep)])


def idle_reconcile_run() -> Usage:
    """Count a run of the reconcile function for channels without a key of BigPanda's.

    It reads the secrets in one of RUNS_OF_A_COPY runs, and lists them in each.
    """
    secrets = FakeSecrets(**{f"channel{number}": json.dumps(samples.secret()) for number in range(CHANNELS)})
    metered = MeteredRelay(secrets=secrets)
    used = metered.run(metered.relay.reconcile)
    used.update(aws_calls=used["secret_reads"])
    listing = Counter({"aws_calls": 1, "secret_reads": 1})
    return Usage.mean([used + listing, *[listing] * (RUNS_OF_A_COPY - 1)])


def alarm_metrics_by_default() -> int:
    """Count the metrics that alarms watch in a deployment with default parameters: AWS charges for each of them."""
    alarms = of_clone().of_type("AWS::CloudWatch::Alarm").values()
    return sum(max(1, sum("MetricStat" in part for part in each.get("Metrics", ()))) for each in alarms)


def month_bill(million: float, alarm_metrics: int, sweep: Usage, reconcile_run: Usage) -> Mapping[str, float]:
    """Return the dollars of the month by item. `million`: dollars for a million owed shares."""
    polls = 2 * 15 * 60 * HOURS
    return {
        f"{SHARES:,} shares": million * SHARES / MILLION,
        f"{alarm_metrics} metrics of alarms": alarm_metrics * ALARM,
        f"{CHANNELS} secrets": CHANNELS * SECRET,
        f"{HOURLY_METRICS} custom metric in every hour": HOURLY_METRICS * METRIC,
        f"{FAILURE_METRICS} metrics of failures in {FAILURE_HOURS} hours": (
            FAILURE_METRICS * METRIC * FAILURE_HOURS / HOURS
        ),
        "polls of the workers' two queues": polls * SQS_REQUESTS / MILLION,
        "sweeper, every minute": run_bill(sweep, IDLE_CPU).total() * SWEEPS / MILLION,
        "reconcile function, every five minutes": run_bill(reconcile_run, IDLE_CPU).total() * RECONCILE_RUNS / MILLION,
    }


def canary_bill(million: float) -> float:
    """Return the dollars of a canary's month. `million`: dollars for a million owed shares."""
    return SECRET + CANARY_METRICS * METRIC + million * CANARY_SHARES / MILLION


def month_section() -> Section:
    """Return the table of a typical month: a few channels, with traffic that costs next to nothing."""
    million = million_bill(*owed_share()).total()
    bill = month_bill(million, alarm_metrics_by_default(), idle_sweep(), idle_reconcile_run())
    busy, most = (CHANNELS * metrics * METRIC for metrics in (CHANNEL_HOURLY_METRICS, len(CHANNEL_METRICS)))
    notes = (
        f"List prices, {NOTED}; no free tiers. Every share is owed, which most are not.",
        f"Assumed: {IDLE_CPU * 1e3:.0f} ms of a processor for an idle run of the sweeper or the reconcile function.",
        f"Off by default and not included: with ChannelMetrics, {CHANNELS} channels with traffic in every hour add "
        f"${busy:.2f} ({CHANNEL_HOURLY_METRICS} metrics each), and ${most:.2f} at most, if signals fail in every hour.",
        f"A canary, off by default and not included, adds ${canary_bill(million):.2f}: a secret, {CANARY_METRICS} "
        f"metrics in every hour, and {CANARY_SHARES:,} shares; the jobs that follow its pages are not counted.",
        "Not included: storage, data that leaves AWS, log queries of the dashboard, reconcile runs of channels with a "
        "key of BigPanda's.",
    )
    # The README says: about 6 dollars.
    return Section("Cost of a typical month", _figures(bill, "the month", 5.9), notes)


def _figures(bill: Mapping[str, float], total: str, aim: float) -> list[Figure]:
    rows = [Figure(name, "$", [dollars]) for name, dollars in bill.items()]
    return [*rows, Figure(total, "$", [sum(bill.values())], aim=aim)]

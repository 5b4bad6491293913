"""Cost of a month for a typical tenant: a few channels, with traffic that costs next to nothing.

The calls of an idle minute are counted in the real library with the tests' fakes as adapters. Prices are list prices,
without free tiers.
"""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from bench import prices
from bench.cost import AWS_CALL_SECONDS, MEMORY_GB, MILLION, PLATFORM_LOG_BYTES
from bench.figures import Aim, Section, measured
from bench.functions import Log
from bench.traffic import MeteredDynamoDb
from relay.telemetry.metrics import CHANNEL_METRICS
from tests import samples
from tests.fakes import Clock, FakeSecrets, new_relay

SHARES, CHANNELS = 20_000, 5
AIM = 8.0
HOURS = 24 * 30
SWEEPS = 60 * HOURS
PLANS = 12 * HOURS
# Written in each hour: the sweeper's heartbeat, and the shares.
HOURLY_METRICS = 2
# Of each channel, with ChannelMetrics: shares and accepted signals are written in each hour of a busy channel; failed
# signals and debts only when there are some.
CHANNEL_HOURLY_METRICS = 2
# Assumed: failures write ten metrics in this many hours of a month.
FAILURE_METRICS, FAILURE_HOURS = 10, 24
# Assumed: CPU of an idle run on its part of a processor, and the bytes of its log line.
IDLE_SECONDS = 0.02
IDLE_LOG_BYTES = 400


@dataclass(frozen=True)
class Idle:
    """Calls of one idle run of a function.

    Attributes:
        calls: calls to AWS.
        read_units: DynamoDB's read units.
        write_units: DynamoDB's write units.
        secret_reads: reads and lists of secrets.
        queue_requests: requests to SQS.
    """

    calls: int
    read_units: float
    write_units: float
    secret_reads: int
    queue_requests: int

    def dollars(self, runs: int) -> float:
        """Return the cost of `runs` idle runs of the function, in dollars."""
        seconds = IDLE_SECONDS + self.calls * AWS_CALL_SECONDS
        return runs * (
            prices.LAMBDA_REQUESTS / MILLION
            + seconds * MEMORY_GB * prices.LAMBDA_GB_SECOND
            + self.read_units * prices.DYNAMODB_READ_UNITS / MILLION
            + self.write_units * prices.DYNAMODB_WRITE_UNITS / MILLION
            + self.secret_reads * prices.SECRET_READS / MILLION
            + self.queue_requests * prices.SQS_REQUESTS / MILLION
            + (IDLE_LOG_BYTES + PLATFORM_LOG_BYTES) * prices.LOG_GB / 1e9
        )


def idle_sweep() -> Idle:
    """Count a run of the sweeper that finds no debt."""
    with contextlib.redirect_stdout(Log()):
        dynamodb = MeteredDynamoDb()
        relay = new_relay(clock=Clock(), dynamodb=dynamodb)
        relay.sweeper.sweep()
    queries, asked = dynamodb.calls.count("query"), relay.retries.asked + relay.dead_letters.asked
    # A query that finds nothing takes half a unit, since it need not be consistent.
    reads, writes = dynamodb.units["read_units"] + queries / 2, dynamodb.units["write_units"]
    return Idle(len(dynamodb.calls) + asked, reads, writes, secret_reads=0, queue_requests=asked)


def idle_plan() -> Idle:
    """Count a run of the reconcile function for channels without a key of BigPanda's."""
    with contextlib.redirect_stdout(Log()):
        secrets = FakeSecrets(**{f"channel{number}": json.dumps(samples.secret()) for number in range(CHANNELS)})
        dynamodb = MeteredDynamoDb()
        new_relay(clock=Clock(), secrets=secrets, dynamodb=dynamodb).reconciler.run()
    # One more call lists the secrets.
    lookups = len(secrets.reads) + 1
    reads, writes = dynamodb.units["read_units"], dynamodb.units["write_units"]
    return Idle(len(dynamodb.calls) + lookups, reads, writes, secret_reads=lookups, queue_requests=0)


def bill(million: float, alarm_metrics: int, sweep: Idle, plan: Idle) -> Mapping[str, float]:
    """Return the dollars of the month by item. `million`: dollars for a million owed shares."""
    polls = 2 * 15 * 60 * HOURS
    return {
        f"{SHARES:,} shares": million * SHARES / MILLION,
        f"{alarm_metrics} metrics of alarms": alarm_metrics * prices.ALARM,
        f"{CHANNELS} secrets": CHANNELS * prices.SECRET,
        f"{HOURLY_METRICS} custom metrics in every hour": HOURLY_METRICS * prices.METRIC,
        f"{FAILURE_METRICS} metrics of failures in {FAILURE_HOURS} hours": (
            FAILURE_METRICS * prices.METRIC * FAILURE_HOURS / HOURS
        ),
        "polls of the workers' two queues": polls * prices.SQS_REQUESTS / MILLION,
        "sweeper, every minute": sweep.dollars(SWEEPS),
        "reconcile function, every five minutes": plan.dollars(PLANS),
    }


def section(million: float, alarm_metrics: int) -> Section:
    """Return the table of the month."""
    sweep, plan = idle_sweep(), idle_plan()
    items = bill(million, alarm_metrics, sweep, plan)
    rows = [measured(name, "$", dollars) for name, dollars in items.items()]
    rows.append(measured("the month", "$", sum(items.values()), aim=Aim(AIM)))
    busy, most = (CHANNELS * metrics * prices.METRIC for metrics in (CHANNEL_HOURLY_METRICS, len(CHANNEL_METRICS)))
    notes = (
        f"List prices, {prices.NOTED}; no free tiers. Every share is owed, which most are not.",
        f"Counted, an idle run of the sweeper: {sweep.calls} calls, {sweep.read_units:.1f} read and "
        f"{sweep.write_units:.1f} write units; of the reconcile function: {plan.calls} calls, {plan.secret_reads} of "
        f"them to Secrets Manager. Assumed: {IDLE_SECONDS * 1e3:.0f} ms of CPU a run.",
        f"Off by default and not included: with ChannelMetrics, {CHANNELS} channels with traffic in every hour add "
        f"${busy:.2f} ({CHANNEL_HOURLY_METRICS} metrics each), and ${most:.2f} at most, if signals fail in every hour.",
        "Not included: storage, data that leaves AWS, log queries of the dashboard, reconcile runs of channels with a "
        "key of BigPanda's.",
    )
    return Section("month", "Cost of a typical month", rows, notes)

"""Puts the real parts together: one function for each handler, called when Lambda loads it.

Clients, session and TLS context are made here, once, while Lambda gives a function a full core.
"""

import gc

# While a function loads hardly anything becomes garbage, and to look for it takes a twentieth of a cold start.
gc.disable()

# ruff: noqa: E402
import json
import os
import random
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config as ClientConfig
from botocore.exceptions import BotoCoreError, ClientError

from relay.channels.cache import JOBS_UNKNOWN_SECONDS, UNKNOWN_SECONDS, ChannelCache
from relay.channels.secrets_manager import Secrets
from relay.config import Config
from relay.deadline import Deadline
from relay.delivery.delivery import Delivery
from relay.delivery.retries import Sender
from relay.errors import ConfigError
from relay.http.client import Outward
from relay.http.session import AllowList, Session, VendorHosts
from relay.jobs.outbox import Keeper
from relay.jobs.queue import Queue
from relay.ledger.ledger import Ledger
from relay.ledger.pace import Pace
from relay.ledger.table import Table
from relay.telemetry import Telemetry
from relay.xmatters.trigger import XMatters

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

    from relay.bigpanda.writeback import Writeback
    from relay.channels.epoch import Epoch
    from relay.channels.gate import Gate
    from relay.channels.token import Door
    from relay.delivery.confirmation import Confirmation
    from relay.delivery.fallback import Fallback
    from relay.entrypoints.sweeper import Sweeper
    from relay.entrypoints.webhook import Webhook
    from relay.entrypoints.worker import Worker
    from relay.reconcile.reconciler import Reconciler
    from relay.reconcile.schedule import Schedule

# BigPanda waits, so AWS gets a second chance but not a long one: two tries of either fit into the time there is. AWS
# checks what it is asked itself; to check it here first takes a tenth of a share's CPU.
_TWICE = ClientConfig(
    retries={"mode": "standard", "total_max_attempts": 2}, tcp_keepalive=True, parameter_validation=False
)
_PATIENCE = _TWICE.merge(ClientConfig(connect_timeout=1, read_timeout=1.5))
_HASTE = _TWICE.merge(ClientConfig(connect_timeout=0.5, read_timeout=0.7))
# A page of a hundred incidents, or one with all of its alerts.
_MOST_BYTES = 6 * 1024 * 1024
# Once in ten seconds a request waits for it.
_EPOCH_SECONDS = 0.7
_DEADLINES = partial(Deadline, clock=time.monotonic)


# What not all functions use is imported where it is put together: the others would pay for it at each cold start.
# ruff: noqa: PLC0415


def webhook(environment: Mapping[str, str] = os.environ) -> "Webhook":
    """Return the handler of POST /bigpanda/{channel}. Raises ConfigError."""
    from relay.entrypoints.bigpanda_webhook import Shares
    from relay.entrypoints.webhook import Webhook
    from relay.ledger.credentials import Uses
    from relay.ledger.sources import Sources

    config = Config.from_environment(environment)
    telemetry = Telemetry.from_environment()
    table = _table(config)
    channels = _channels(config, telemetry, epoch=_epoch(table, telemetry))
    delivery = _delivery(channels, _keeper(config), table, _outward(_hosts(config).xmatters))
    take = Shares(delivery, Sources(table, time.time)).take
    uses = Uses(table, time.time, "inbound")
    return _loaded(Webhook(_gate(channels, "inbound"), take, telemetry, _DEADLINES, uses))


def xmatters_callback(environment: Mapping[str, str] = os.environ) -> "Webhook":
    """Return the handler of POST /xmatters/{channel}. Raises ConfigError."""
    from relay.entrypoints.webhook import Webhook
    from relay.entrypoints.xmatters_callback import Callbacks
    from relay.ledger.credentials import Uses

    config = Config.from_environment(environment)
    telemetry = Telemetry.from_environment()
    take = Callbacks(_keeper(config), time.time).take
    table = _table(config)
    gate = _gate(_channels(config, telemetry, epoch=_epoch(table, telemetry)), "callback")
    return _loaded(Webhook(gate, take, telemetry, _DEADLINES, Uses(table, time.time, "callback")))


def job_worker(environment: Mapping[str, str] = os.environ) -> "Worker":
    """Return the worker of the retry queue, which sends signals. Raises ConfigError."""
    return _loaded(_worker(environment))


def chore_worker(environment: Mapping[str, str] = os.environ) -> "Worker":
    """Return the worker of the chore queue: all kinds of jobs but signals. Raises ConfigError."""
    worker = _worker(environment)
    # Loaded now, while Lambda gives the function a full core; the worker of signals hardly ever needs them.
    worker.writeback()
    worker.reconciler()
    return _loaded(worker)


def _worker(environment: Mapping[str, str]) -> "Worker":
    from relay.delivery.fallback import Fallback
    from relay.delivery.followup import Followup
    from relay.entrypoints.worker import Worker
    from relay.xmatters.pages import Pages

    config = Config.from_environment(environment)
    if config.fallback_topic_arn is None:
        raise ConfigError("RELAY_FALLBACK_TOPIC_ARN: must be set")
    telemetry = Telemetry.from_environment()
    channels = _channels(config, telemetry, unknown_seconds=JOBS_UNKNOWN_SECONDS)
    keeper, table = _keeper(config), _table(config)
    hosts = _hosts(config)
    outward = _outward(hosts.xmatters)
    delivery = _delivery(channels, keeper, table, outward)
    fallback = Fallback(_sns, config.fallback_topic_arn)
    confirmation = cache(partial(_confirmation, hosts, table, keeper))
    followup = Followup(Pages(outward), delivery.ledger, confirmation, time.time)
    return Worker(
        delivery,
        followup,
        cache(partial(_writeback, hosts, table)),
        cache(partial(_reconciler, config, channels, table, keeper, fallback, telemetry)),
        channels,
        keeper,
        fallback,
        telemetry,
        time.time,
        random.random,
        _DEADLINES,
    )


def sweeper(environment: Mapping[str, str] = os.environ) -> "Sweeper":
    """Return the sweeper, which runs every minute. Raises ConfigError."""
    from relay.delivery.fallback import Fallback
    from relay.entrypoints.sweeper import Sweeper

    config = Config.from_environment(environment)
    if config.fallback_topic_arn is None or config.job_worker is None:
        raise ConfigError("RELAY_FALLBACK_TOPIC_ARN, RELAY_JOB_WORKER: must be set")
    telemetry = Telemetry.from_environment()
    keeper, table = _keeper(config), _table(config)
    return _loaded(
        Sweeper(
            Ledger(table),
            table,
            _channels(config, telemetry, unknown_seconds=JOBS_UNKNOWN_SECONDS),
            keeper,
            Fallback(_sns, config.fallback_topic_arn),
            telemetry,
            keeper.retries.backlog,
            partial(_invoke, config.job_worker),
            _at_once,
            time.time,
            _DEADLINES,
        )
    )


def reconcile(environment: Mapping[str, str] = os.environ) -> "Schedule":
    """Return the schedule of reconcile runs. Raises ConfigError."""
    from relay.ledger.sources import Sources
    from relay.reconcile.schedule import Schedule

    config = Config.from_environment(environment)
    telemetry = Telemetry.from_environment()
    secrets = _secrets(config)
    channels, sources = _channels(config, telemetry, secrets), Sources(_table(config), time.time)
    keeper = _keeper(config)
    return _loaded(Schedule(secrets.names, channels, sources, keeper, telemetry, time.time, random.random, _DEADLINES))


def _loaded[T](parts: T) -> T:
    """The parts, from now on with a look for garbage among what is made after them: all that is there now stays."""
    gc.freeze()
    gc.enable()
    return parts


def _gate(channels: ChannelCache, door: "Door") -> "Gate":
    from relay.channels.budget import Budgets
    from relay.channels.gate import Gate

    return Gate(channels, Budgets(time.time), time.time, door)


def _epoch(table: Table, telemetry: Telemetry) -> "Epoch":
    from relay.channels.epoch import Epoch
    from relay.ledger.credentials import read_marks

    def read() -> Mapping[str, str]:
        return read_marks(table.within(_DEADLINES(_EPOCH_SECONDS), "epoch", at_most=_EPOCH_SECONDS))

    return Epoch(read, time.time, telemetry.notice)


def _delivery(channels: ChannelCache, keeper: Keeper, table: Table, outward: Outward) -> Delivery:
    return Delivery(
        sender=Sender(channels, XMatters(outward), time.sleep, random.random),
        ledger=Ledger(table),
        pace=Pace(table, time.time, random.random),
        keeper=keeper,
        clock=time.time,
        owner=lambda: uuid.uuid4().hex,
    )


def _writeback(hosts: VendorHosts, table: Table) -> "Writeback":
    """Made when an answer comes: signals need not wait for it."""
    from relay.bigpanda.client import BigPanda
    from relay.bigpanda.rate_limit import Turns
    from relay.bigpanda.verification import Verifier
    from relay.bigpanda.writeback import Writeback
    from relay.ledger.sources import Sources
    from relay.xmatters.directory import Directory
    from relay.xmatters.pages import Pages

    turns = Turns(table, time.time, time.sleep)
    xmatters = _outward(hosts.xmatters)
    verifier = Verifier(Pages(xmatters).names_of_request, Directory(xmatters).is_person, time.time)
    bigpanda = BigPanda(_outward(hosts.bigpanda))
    return Writeback(bigpanda, turns, Sources(table, time.time), table, Ledger(table), verifier, time.time)


def _confirmation(hosts: VendorHosts, table: Table, keeper: Keeper) -> "Confirmation":
    """Made when an incident is resolved: signals need not wait for it."""
    from relay.bigpanda.client import BigPanda
    from relay.bigpanda.listing import Lister
    from relay.bigpanda.rate_limit import Turns
    from relay.delivery.confirmation import Confirmation

    turns = Turns(table, time.time, time.sleep)
    lister = Lister(BigPanda(_outward(hosts.bigpanda)), turns, time.time, _DEADLINES)
    return Confirmation(lister, keeper, time.time)


def _reconciler(
    config: Config,
    channels: ChannelCache,
    table: Table,
    keeper: Keeper,
    fallback: "Fallback",
    telemetry: Telemetry,
) -> "Reconciler":
    """Return the worker of reconcile runs: signals need not wait for it."""
    from relay.bigpanda.client import BigPanda
    from relay.bigpanda.listing import Lister
    from relay.bigpanda.rate_limit import Turns
    from relay.ledger.sources import Sources
    from relay.reconcile.comparison import Comparison
    from relay.reconcile.reconciler import Reconciler
    from relay.reconcile.report import Reporter

    bigpanda = BigPanda(Outward(Session(_hosts(config).bigpanda, most=_MOST_BYTES)))
    lister = Lister(bigpanda, Turns(table, time.time, time.sleep), time.time, _DEADLINES)
    comparison = Comparison(channels, Sources(table, time.time), Ledger(table), time.time)
    reporter = Reporter(fallback, telemetry, time.time)
    return Reconciler(channels, lister, comparison, table, keeper, reporter, telemetry, time.time)


def _keeper(config: Config) -> Keeper:
    sqs: SQSClient = boto3.client("sqs", config=_HASTE)
    retries, chores = Queue(sqs, config.retry_queue_url), Queue(sqs, config.chore_queue_url)
    return Keeper(retries, chores, Queue(sqs, config.dead_letter_queue_url), time.time)


def _table(config: Config) -> Table:
    dynamodb: DynamoDBClient = boto3.client("dynamodb", config=_HASTE)
    return Table(dynamodb, config.ledger_table, time.time)


@cache
def _sns() -> "SNSClient":
    return boto3.client("sns", config=_PATIENCE)


def _at_once[T](calls: Sequence[Callable[[], T]]) -> list[T]:
    """Make calls in threads, as many at the same time as an AWS client has connections."""
    from concurrent.futures import ThreadPoolExecutor

    from relay.entrypoints.sweeper import AT_ONCE

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda call: call(), calls))


@cache
def _lambda() -> "LambdaClient":
    return boto3.client("lambda", config=_PATIENCE)


def _invoke(function: str, envelope: str) -> bool:
    """Invoke the job worker with an envelope, as SQS would, and do not wait for it; return False if that fails."""
    event = {"Records": [{"messageId": "from-the-sweeper", "body": envelope}]}
    try:
        _lambda().invoke(FunctionName=function, InvocationType="Event", Payload=json.dumps(event).encode())
    except (ClientError, BotoCoreError):
        return False
    return True


def _outward(hosts: AllowList) -> Outward:
    """Return an HTTP client that calls one vendor's hosts alone."""
    return Outward(Session(hosts))


def _hosts(config: Config) -> VendorHosts:
    return VendorHosts.of(config.xmatters_hosts, config.bigpanda_hosts, loopback=config.loopback_allowed)


def _secrets(config: Config) -> Secrets:
    client: SecretsManagerClient = boto3.client("secretsmanager", config=_PATIENCE)
    return Secrets(client, config.secret_prefix, ticks=time.monotonic)


def _channels(
    config: Config,
    telemetry: Telemetry,
    secrets: Secrets | None = None,
    *,
    unknown_seconds: float = UNKNOWN_SECONDS,
    epoch: "Epoch | None" = None,
) -> ChannelCache:
    return ChannelCache(
        (secrets or _secrets(config)).read,
        _hosts(config),
        seconds=config.secret_cache_seconds,
        # Lambda freezes a function between requests, and clocks that never go back may stop with it.
        clock=time.time,
        notice=telemetry.notice,
        unknown_seconds=unknown_seconds,
        epoch=epoch,
    )

"""Puts the real parts together: one function for each handler, called when Lambda loads it.

Clients, session and TLS context are made here, once, while Lambda gives a function a full core.
"""

import os
import random
import time
import uuid
from collections.abc import Mapping
from functools import cache, partial
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config as ClientConfig

from relay.channel_cache import ChannelCache
from relay.config import Config
from relay.deadline import Deadline
from relay.delivery import Delivery
from relay.errors import ConfigError
from relay.fallback import Fallback
from relay.guard import Guard
from relay.http import AllowedHosts, Session
from relay.keeping import Keeper
from relay.ledger import Ledger
from relay.pace import Pace
from relay.queues import Queue
from relay.secrets_manager import Secrets
from relay.sending import Sender
from relay.table import Table
from relay.telemetry import Telemetry
from relay.webhook import Webhook
from relay.worker import Worker
from relay.xmatters import XMatters

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

# BigPanda waits, so AWS gets a second chance but not a long one: two tries of either fit into the time there is.
_TWICE = ClientConfig(retries={"mode": "standard", "total_max_attempts": 2}, tcp_keepalive=True)
_PATIENCE = _TWICE.merge(ClientConfig(connect_timeout=1, read_timeout=1.5))
_HASTE = _TWICE.merge(ClientConfig(connect_timeout=0.5, read_timeout=0.7))
_DEADLINES = partial(Deadline, clock=time.monotonic)


def webhook(environment: Mapping[str, str] = os.environ) -> Webhook:
    """What the function behind POST /bigpanda/{channel} needs. Raises ConfigError."""
    config = Config.from_environment(environment)
    telemetry = Telemetry.from_environment()
    channels = _channels(config, telemetry)
    delivery = _delivery(config, channels, _keeper(config), _table(config))
    return Webhook(channels, delivery, telemetry, time.time, _DEADLINES)


def job_worker(environment: Mapping[str, str] = os.environ) -> Worker:
    """What the job worker needs. Raises ConfigError."""
    config = Config.from_environment(environment)
    if config.fallback_topic_arn is None:
        raise ConfigError("RELAY_FALLBACK_TOPIC_ARN: must be set")
    telemetry = Telemetry.from_environment()
    channels, keeper, table = _channels(config, telemetry), _keeper(config), _table(config)
    delivery = _delivery(config, channels, keeper, table)
    fallback = Fallback(_sns, config.fallback_topic_arn, table, time.time)
    return Worker(delivery, channels, keeper, fallback, telemetry, time.time, random.random, _DEADLINES)


def _delivery(config: Config, channels: ChannelCache, keeper: Keeper, table: Table) -> Delivery:
    return Delivery(
        sender=Sender(channels, XMatters(Session(_hosts(config))), time.sleep, random.random),
        guard=Guard(Ledger(table), Pace(table, time.time, random.random)),
        keeper=keeper,
        clock=time.time,
        sleep=time.sleep,
        owner=lambda: uuid.uuid4().hex,
    )


def _keeper(config: Config) -> Keeper:
    sqs: SQSClient = boto3.client("sqs", config=_HASTE)
    return Keeper(Queue(sqs, config.retry_queue_url), Queue(sqs, config.dead_letter_queue_url), time.time)


def _table(config: Config) -> Table:
    dynamodb: DynamoDBClient = boto3.client("dynamodb", config=_HASTE)
    return Table(dynamodb, config.ledger_table, time.time)


@cache
def _sns() -> "SNSClient":
    return boto3.client("sns", config=_PATIENCE)


def _hosts(config: Config) -> AllowedHosts:
    return AllowedHosts(config.allowed_hosts, loopback=config.loopback_allowed)


def _channels(config: Config, telemetry: Telemetry) -> ChannelCache:
    client: SecretsManagerClient = boto3.client("secretsmanager", config=_PATIENCE)
    return ChannelCache(
        Secrets(client, config.secret_prefix, ticks=time.monotonic).read,
        _hosts(config),
        seconds=config.secret_cache_seconds,
        # Lambda freezes a function between requests, and clocks that never go back may stop with it.
        clock=time.time,
        notice=telemetry.notice,
    )

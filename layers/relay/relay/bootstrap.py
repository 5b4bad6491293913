"""Puts the real parts together: one function for each handler, called when Lambda loads it.

Clients, session and TLS context are made here, once, while Lambda gives a function a full core.
"""

import os
import random
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config as ClientConfig

from relay.channel_cache import ChannelCache
from relay.config import Config
from relay.delivery import Delivery, Redelivery
from relay.errors import ConfigError
from relay.http import AllowedHosts, Session
from relay.queues import Queue
from relay.secrets_manager import Secrets
from relay.sending import Sender
from relay.telemetry import Telemetry
from relay.webhook import Webhook
from relay.worker import Worker
from relay.xmatters import XMatters

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient

# BigPanda waits, so AWS gets a second chance but not a long one: two tries of either fit into the time there is.
_TWICE = ClientConfig(retries={"mode": "standard", "total_max_attempts": 2}, tcp_keepalive=True)
_PATIENCE = _TWICE.merge(ClientConfig(connect_timeout=1, read_timeout=1.5))
_HASTE = _TWICE.merge(ClientConfig(connect_timeout=0.5, read_timeout=0.7))


def webhook(environment: Mapping[str, str] = os.environ) -> Webhook:
    """What the function behind POST /bigpanda/{channel} needs. Raises ConfigError."""
    config = Config.from_environment(environment)
    if config.dead_letter_queue_url is None:
        raise ConfigError("RELAY_DEAD_LETTER_QUEUE_URL: must be set")
    telemetry = Telemetry.from_environment()
    channels = _channels(config, telemetry)
    sqs: SQSClient = boto3.client("sqs", config=_HASTE)
    delivery = Delivery(_sender(config, channels), Queue(sqs, config.dead_letter_queue_url), time.time)
    return Webhook(channels, delivery, telemetry)


def job_worker(environment: Mapping[str, str] = os.environ) -> Worker:
    """What the job worker needs. Raises ConfigError."""
    config = Config.from_environment(environment)
    telemetry = Telemetry.from_environment()
    channels = _channels(config, telemetry)
    return Worker(Redelivery(_sender(config, channels), channels), telemetry)


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


def _sender(config: Config, channels: ChannelCache) -> Sender:
    return Sender(channels, XMatters(Session(_hosts(config))), time.sleep, random.random)

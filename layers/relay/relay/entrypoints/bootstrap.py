"""Construction of each Lambda function's object, with its adapters to AWS and the vendors.

Each handler module calls its function of this module once, at cold start. Clients, sessions and TLS contexts are made
then, while Lambda gives a function a full core.
"""

import gc

# While a function loads, hardly any object becomes garbage, and collections would take a twentieth of a cold start.
gc.disable()

# ruff: noqa: E402
import json
import os
import random
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config as ClientConfig
from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnectionError

from relay.channels.cache import JOBS_UNKNOWN_SECONDS, UNKNOWN_SECONDS, Secrets
from relay.config import Config
from relay.deadline import Deadline, Watchdog, seconds_left
from relay.entrypoints.wiring import Adapters, Effects, Resources, Vendors, Wiring
from relay.http.client import HttpClient, beat, post_share
from relay.http.session import USER_AGENT, AllowList, Session, VendorHosts
from relay.jobs.queue import Queue
from relay.ledger.table import Table
from relay.telemetry import Telemetry

if TYPE_CHECKING:
    from relay.delivery.phones import Phones
    from relay.entrypoints.authenticated_endpoint import Endpoint
    from relay.entrypoints.worker import Worker
    from relay.reconcile.reconciler import Reconciler
    from relay.sweeper.canary import Post
    from relay.sweeper.sweeper import Sweeper

# BigPanda waits for the reply, so the time-outs are short, and the SDK repeats nothing, since it first waits for up
# to a second (docs/decisions.md, D-one-repeat). AWS validates the parameters of a call itself; botocore's validation
# would take a tenth of a share's CPU. The user agent is a fixed text: botocore would put its own together anew for each
# call, which takes another tenth.
_ONCE = ClientConfig(
    retries={"mode": "standard", "total_max_attempts": 1},
    tcp_keepalive=True,
    parameter_validation=False,
    user_agent=f"{USER_AGENT} Boto3/{boto3.__version__}",
)
_PATIENCE = _ONCE.merge(ClientConfig(connect_timeout=1, read_timeout=1.5))
_HASTE = _ONCE.merge(ClientConfig(connect_timeout=0.5, read_timeout=0.7))
# Nobody waits for a call to a phone, and a call that is given up too early rings all the same.
_PHONES = _ONCE.merge(ClientConfig(connect_timeout=1, read_timeout=5))
# A page of a hundred incidents, or one with all of its alerts.
MOST_BIGPANDA_BYTES = 6 * 1024 * 1024


def webhook(environment: Mapping[str, str] = os.environ) -> "Endpoint":
    """Return the handler of POST /bigpanda/{channel}. Raises ConfigError."""
    return _loaded(Wiring(_adapters(environment)).webhook)


def xmatters_callback(environment: Mapping[str, str] = os.environ) -> "Endpoint":
    """Return the handler of POST /xmatters/{channel}. Raises ConfigError."""
    return _loaded(Wiring(_adapters(environment)).callbacks)


def job_worker(environment: Mapping[str, str] = os.environ) -> "Worker":
    """Return the worker of the retry queue, which sends signals. Raises ConfigError."""
    adapters = _adapters(environment, "RELAY_FALLBACK_TOPIC_ARN", unknown_seconds=JOBS_UNKNOWN_SECONDS)
    return _loaded(Wiring(adapters).worker)


def chore_worker(environment: Mapping[str, str] = os.environ) -> "Worker":
    """Return the worker of the chore queue: all kinds of jobs but signals. Raises ConfigError."""
    adapters = _adapters(environment, "RELAY_FALLBACK_TOPIC_ARN", unknown_seconds=JOBS_UNKNOWN_SECONDS)
    worker = Wiring(adapters).worker
    # Loaded now, while Lambda gives the function a full core; the worker of signals hardly ever needs them.
    worker.chores.questions()
    worker.chores.writeback()
    return _loaded(worker)


def sweeper(environment: Mapping[str, str] = os.environ) -> "Sweeper":
    """Return the sweeper, which runs every minute. Raises ConfigError."""
    needs = ("RELAY_FALLBACK_TOPIC_ARN", "RELAY_JOB_WORKER")
    adapters = _adapters(environment, *needs, unknown_seconds=JOBS_UNKNOWN_SECONDS)
    return _loaded(Wiring(adapters).sweeper)


def reconcile(environment: Mapping[str, str] = os.environ) -> "Reconciler":
    """Return the maker of reconcile runs. Raises ConfigError."""
    adapters = _adapters(environment, "RELAY_FALLBACK_TOPIC_ARN", unknown_seconds=JOBS_UNKNOWN_SECONDS)
    return _loaded(Wiring(adapters).reconciler)


def _loaded[T](part: T) -> T:
    """Turn on the garbage collector at the end of a cold start; return `part`, the function's object.

    From now on the collector checks new objects only: the existing ones live as long as the function.
    """
    gc.freeze()
    gc.enable()
    return part


def _adapters(
    environment: Mapping[str, str],
    *needs: str,
    unknown_seconds: float = UNKNOWN_SECONDS,
) -> Adapters:
    """Return the adapters of a function. `needs` are further environment variables that it must have.

    Raises ConfigError.
    """
    config = Config.from_environment(environment, *needs)
    hosts = VendorHosts.of(config.xmatters_hosts, config.bigpanda_hosts, loopback=config.loopback_allowed)
    xmatters = cache(partial(Session, hosts.xmatters))
    bigpanda = partial(Session, hosts.bigpanda, most=MOST_BIGPANDA_BYTES)
    # Lambda freezes a function between requests, and a monotonic clock may stop meanwhile. So it is used for deadlines
    # only, which end with the request.
    deadlines = partial(Deadline, clock=time.monotonic)
    return Adapters(
        resources=_resources(config),
        vendors=Vendors(
            hosts,
            triggers=xmatters,
            rest=xmatters,
            bigpanda=bigpanda,
            heartbeat=_heartbeat(config.heartbeat_url) if config.heartbeat_url else None,
            webhook=_webhook(config) if config.webhook_url else None,
        ),
        effects=Effects(
            clock=time.time,
            random=random.random,
            sleep=time.sleep,
            deadlines=deadlines,
            owner=lambda: uuid.uuid4().hex,
            at_once=_at_once,
            watch=Watchdog().run,
        ),
        telemetry=Telemetry.from_environment(
            has_channel_metrics=config.has_channel_metrics, is_traced=config.is_traced
        ),
        cache_seconds=config.secret_cache_seconds,
        unknown_seconds=unknown_seconds,
        reads_change_marks=True,
    )


def _resources(config: Config) -> Resources:
    sqs = _client("sqs", _HASTE)
    table = Table(_client("dynamodb", _HASTE), config.ledger_table, time.time)
    secrets = Secrets(_client("secretsmanager", _PATIENCE), config.secret_prefix, ticks=time.monotonic)
    return Resources(
        table=table,
        credentials=table,
        retries=Queue(sqs, config.retry_queue_url),
        chores=Queue(sqs, config.chore_queue_url),
        dead_letters=Queue(sqs, config.dead_letter_queue_url),
        read_secret=secrets.read,
        secret_names=secrets.names,
        sns=cache(partial(_client, "sns", _PATIENCE)),
        topic_arn=config.fallback_topic_arn,
        alarm_topic_arn=config.alarm_topic_arn,
        notice_topic_arn=config.notice_topic_arn,
        invoke=partial(_invoke, cache(partial(_client, "lambda", _PATIENCE)), config.job_worker),
        phones=_phones(config),
    )


def _client(service: Any, config: ClientConfig) -> Any:
    return _timely(boto3.client(service, config=config))


def _timely(client: Any) -> Any:
    """Make an AWS client keep to the time limit of the thread that calls it (`deadline.time_limit`); return the client.

    No request is begun after the limit. A request that got no answer, or that AWS failed, is repeated once, at once.
    """
    client.meta.events.register("before-send", _refuse_late)
    client.meta.events.register("needs-retry", _seconds_before_repeat)
    return client


def _refuse_late(*, request: Any, **_: Any) -> None:
    if seconds_left() <= 0:
        raise ConnectTimeoutError(endpoint_url=request.url)


def _seconds_before_repeat(*, attempts: int, response: Any, caught_exception: Exception | None, **_: Any) -> int | None:
    """Return 0 for a call to be repeated, else None: the seconds that botocore sleeps before it repeats.

    `response` is its pair of an HTTP response and a parsed one.
    """
    no_answer = isinstance(caught_exception, (NoConnectionError, HTTPClientError))
    has_failed = no_answer or (response is not None and response[0].status_code >= HTTPStatus.INTERNAL_SERVER_ERROR)
    return 0 if has_failed and attempts == 1 and seconds_left() > 0 else None


def _client_of(url: str, parameter: str, *, loopback: bool = False) -> HttpClient:
    """Return a client that may call the host of `url` only; `parameter` is the name of the URL in error messages."""
    return HttpClient(Session(AllowList(parameter, ((urlsplit(url).hostname or "").lower(),), loopback)))


def _heartbeat(url: str) -> Callable[[float], str]:
    client = _client_of(url, "HeartbeatUrl")
    return lambda seconds: beat(client, url, Deadline(seconds, time.monotonic))


def _webhook(config: Config) -> "Post":
    client = _client_of(config.webhook_url, "own API", loopback=config.loopback_allowed)
    return partial(post_share, client, config.webhook_url)


def _phones(config: Config) -> "Phones | None":
    if not config.fallback_phones:
        return None
    from relay.delivery.phones import Phones, ways_to  # noqa: PLC0415

    ways = ways_to(config.fallback_phones, config.fallback_voice_identity, config.fallback_text_identity)
    return Phones(cache(partial(_client, "pinpoint-sms-voice-v2", _PHONES)), ways, _at_once) if ways else None


def _invoke(client: Callable[[], Any], function: str, envelope: str) -> bool:
    """Invoke the job worker with an envelope (a job as message text) as an SQS event, and do not wait for its end.

    Returns False if Lambda does not accept the invocation.
    """
    event = {"Records": [{"messageId": "from-the-sweeper", "body": envelope}]}
    payload = json.dumps(event).encode()
    try:
        client().invoke(FunctionName=function, InvocationType="Event", Payload=payload)
    except (ClientError, BotoCoreError):
        return False
    return True


def _at_once[T](calls: Sequence[Callable[[], T]]) -> list[T]:
    """Make calls in parallel threads, and return their results in order.

    As many calls run at the same time as an AWS client has connections.
    """
    # Only the sweeper has that many calls, and the others would pay for the imports at each cold start.
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    from relay.sweeper.run import AT_ONCE  # noqa: PLC0415

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda call: call(), calls))

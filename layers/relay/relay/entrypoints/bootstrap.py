"""Construction of each Lambda function's object, with its adapters to AWS and the vendors.

Each handler module calls its function of this module once, at cold start. The settings are environment variables. A
call raises KeyError if a setting is missing, and ConfigError for the local profile on AWS.
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
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import boto3
from botocore.config import Config as ClientConfig
from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnectionError

from relay.channels.cache import JOBS_UNKNOWN_SECONDS, UNKNOWN_SECONDS, Secrets
from relay.deadline import Deadline, seconds_left, time_limit
from relay.entrypoints.wiring import Effects, Resources, Vendors, Wiring
from relay.failures import ConfigError
from relay.http.client import HttpClient
from relay.http.session import USER_AGENT, AllowList, Session, VendorHosts, is_loopback
from relay.jobs.queue import Queue
from relay.ledger.table import Table
from relay.telemetry import Telemetry

if TYPE_CHECKING:
    from relay.delivery.fallback_phones import Phones
    from relay.entrypoints.http_endpoints import Endpoint
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
# A hundred audits of a page.
MOST_XMATTERS_BYTES = 512 * 1024


def webhook(environment: Mapping[str, str] = os.environ) -> "Endpoint":
    """Return the handler of POST /bigpanda/{channel}."""
    return _loaded(_wiring(environment).webhook)


def xmatters_callback(environment: Mapping[str, str] = os.environ) -> "Endpoint":
    """Return the handler of POST /xmatters/{channel}."""
    return _loaded(_wiring(environment).callbacks)


def job_worker(environment: Mapping[str, str] = os.environ) -> "Worker":
    """Return the worker of the retry queue, which sends signals."""
    return _loaded(_wiring(environment, unknown_seconds=JOBS_UNKNOWN_SECONDS).worker)


def chore_worker(environment: Mapping[str, str] = os.environ) -> "Worker":
    """Return the worker of the chore queue, which does the jobs that ring nobody."""
    worker = _wiring(environment, unknown_seconds=JOBS_UNKNOWN_SECONDS).worker
    # Loaded now, while Lambda gives the function a full core; the worker of signals hardly ever needs them.
    worker.chores.questions()
    worker.chores.writeback()
    return _loaded(worker)


def sweeper(environment: Mapping[str, str] = os.environ) -> "Sweeper":
    """Return the sweeper, which runs every minute, and looks after owed states and channels."""
    return _loaded(_wiring(environment, unknown_seconds=JOBS_UNKNOWN_SECONDS).sweeper)


def reconcile(environment: Mapping[str, str] = os.environ) -> "Reconciler":
    """Return the object that makes a reconcile run: it compares BigPanda's incidents with the ledger."""
    return _loaded(_wiring(environment, unknown_seconds=JOBS_UNKNOWN_SECONDS).reconciler)


def _loaded[T](part: T) -> T:
    """Turn on the garbage collector, for new objects only, at the end of a cold start; return `part`."""
    gc.freeze()
    gc.enable()
    return part


def _wiring(environment: Mapping[str, str], *, unknown_seconds: float = UNKNOWN_SECONDS) -> Wiring:
    is_local = _is_local(environment)
    lists = (environment[f"RELAY_{vendor}_HOSTS"].split(",") for vendor in ("XMATTERS", "BIGPANDA"))
    hosts = VendorHosts.of(*lists, loopback=is_local)
    xmatters = cache(partial(Session, hosts.xmatters, most=MOST_XMATTERS_BYTES))
    bigpanda = partial(Session, hosts.bigpanda, most=MOST_BIGPANDA_BYTES)
    # Lambda freezes a function between requests, and a monotonic clock may stop meanwhile. So it is used for deadlines
    # only, which end with the request.
    deadlines = partial(Deadline, clock=time.monotonic)
    return Wiring(
        resources=_resources(environment),
        vendors=Vendors(
            hosts,
            triggers=xmatters,
            rest=xmatters,
            bigpanda=bigpanda,
            heartbeat=_heartbeat(environment.get("RELAY_HEARTBEAT_URL", "")),
            webhook=_webhook(environment, loopback=is_local),
        ),
        effects=Effects(
            clock=time.time,
            random=random.random,
            sleep=time.sleep,
            deadlines=deadlines,
            owner=lambda: uuid.uuid4().hex,
            at_once=_at_once,
            watch=Watchdog(),
        ),
        telemetry=Telemetry.from_environment(
            has_channel_metrics=environment.get("RELAY_CHANNEL_METRICS") == "on",
            is_traced=environment.get("RELAY_TRACING") == "Active",
        ),
        cache_seconds=float(environment.get("RELAY_SECRET_CACHE_SECONDS", "300")),
        unknown_seconds=unknown_seconds,
    )


def _is_local(environment: Mapping[str, str]) -> bool:
    """True in the local cloud, where http to loopback addresses is allowed.

    Raises ConfigError for the local profile if AWS_ENDPOINT_URL is not an http URL of a loopback address.
    """
    if environment.get("RELAY_PROFILE") != "local":
        return False
    try:
        url = urlsplit(environment.get("AWS_ENDPOINT_URL", ""))
        is_here = url.scheme == "http" and is_loopback(url.hostname or "")
    except ValueError:
        is_here = False
    if not is_here:
        raise ConfigError(
            "RELAY_PROFILE: local is for the local cloud alone: AWS_ENDPOINT_URL is no http URL of this machine; "
            "deploy with Profile=aws"
        )
    return True


def _resources(environment: Mapping[str, str]) -> Resources:
    sqs = _client("sqs", _HASTE)
    table = Table(_client("dynamodb", _HASTE), environment["RELAY_LEDGER_TABLE"], time.time)
    prefix = environment["RELAY_SECRET_PREFIX"]
    secrets = Secrets(_client("secretsmanager", _PATIENCE), prefix, ticks=time.monotonic)
    return Resources(
        table=table,
        credentials=table,
        retries=Queue(sqs, environment["RELAY_RETRY_QUEUE_URL"]),
        chores=Queue(sqs, environment["RELAY_CHORE_QUEUE_URL"]),
        dead_letters=Queue(sqs, environment["RELAY_DEAD_LETTER_QUEUE_URL"]),
        read_secret=secrets.read,
        secret_names=secrets.names,
        sns=cache(partial(_client, "sns", _PATIENCE)),
        topic_arn=environment.get("RELAY_FALLBACK_TOPIC_ARN", ""),
        alarm_topic_arn=environment.get("RELAY_ALARM_TOPIC_ARN", ""),
        notice_topic_arn=environment.get("RELAY_NOTICE_TOPIC_ARN", ""),
        invoke=partial(_invoke, cache(partial(_client, "lambda", _PATIENCE)), environment.get("RELAY_JOB_WORKER", "")),
        phones=_phones(environment),
    )


def _client(service: Any, config: ClientConfig) -> Any:
    return _timely(boto3.client(service, config=config))


def _timely(client: Any) -> Any:
    """Return the AWS client, which now begins no request after its thread's time limit (`deadline.time_limit`).

    A request that got no answer, or that AWS failed, is repeated once, at once.
    """
    client.meta.events.register("before-send", _refuse_late)
    client.meta.events.register("needs-retry", _seconds_before_repeat)
    return client


def _refuse_late(*, request: Any, **_: Any) -> None:
    if seconds_left() <= 0:
        raise ConnectTimeoutError(endpoint_url=request.url)


def _seconds_before_repeat(*, attempts: int, response: Any, caught_exception: Exception | None, **_: Any) -> int | None:
    """Return the seconds that botocore sleeps before it repeats a call: 0; None if the call is not to be repeated."""
    # `response` is botocore's pair of the HTTP response and the parsed one.
    no_answer = isinstance(caught_exception, (NoConnectionError, HTTPClientError))
    has_failed = no_answer or (response is not None and response[0].status_code >= HTTPStatus.INTERNAL_SERVER_ERROR)
    return 0 if has_failed and attempts == 1 and seconds_left() > 0 else None


def _client_of(url: str, parameter: str, *, loopback: bool = False) -> HttpClient:
    """Return a client that may call the host of `url` only; `parameter` is the name of the URL in error messages."""
    return HttpClient(Session(AllowList(parameter, ((urlsplit(url).hostname or "").lower(),), loopback)))


def _heartbeat(url: str) -> Callable[[float], str] | None:
    if not url:
        return None
    client = _client_of(url, "HeartbeatUrl")
    return lambda seconds: client.failure("GET", url, None, {}, Deadline(seconds, time.monotonic))


def _webhook(environment: Mapping[str, str], *, loopback: bool) -> "Post | None":
    if not (url := environment.get("RELAY_WEBHOOK_URL", "")):
        return None
    # In the local cloud it is a path of the cloud's URL.
    url = f"{environment.get('AWS_ENDPOINT_URL', '')}{url}" if url.startswith("/") else url
    return partial(_post, _client_of(url, "own API", loopback=loopback), url)


def _post(
    client: HttpClient, url: str, channel: str, headers: Mapping[str, str], body: bytes, deadline: Deadline
) -> str:
    return client.failure("POST", url.replace("{channel}", channel), body, headers, deadline)


def _phones(environment: Mapping[str, str]) -> "Phones | None":
    numbers = environment.get("RELAY_FALLBACK_PHONES", "")
    if not numbers:
        return None
    from relay.delivery.fallback_phones import Phones, ways_to  # noqa: PLC0415

    # ARNs of a phone number or pool that calls them, and of a phone number, pool or sender id that texts them.
    identities = (environment.get(f"RELAY_FALLBACK_{kind}_IDENTITY", "") for kind in ("VOICE", "TEXT"))
    ways = ways_to(numbers.split(","), *identities)
    return Phones(cache(partial(_client, "pinpoint-sms-voice-v2", _PHONES)), ways, _at_once) if ways else None


def _invoke(client: Callable[[], Any], function: str, envelope: str) -> bool:
    """Invoke the job worker with an envelope (a job as message text) as an SQS event, and do not wait for its end.

    Returns False if Lambda does not accept the invocation, or `function` is empty.
    """
    if not function:
        return False
    event = {"Records": [{"messageId": "from-the-sweeper", "body": envelope}]}
    payload = json.dumps(event).encode()
    try:
        client().invoke(FunctionName=function, InvocationType="Event", Payload=payload)
    except (ClientError, BotoCoreError):
        return False
    return True


def _at_once[T](calls: Sequence[Callable[[], T]]) -> list[T]:
    """Make calls in parallel threads, and return their results in order."""
    # Only the sweeper has that many calls, and the others would pay for the imports at each cold start.
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    from relay.sweeper.run import AT_ONCE  # noqa: PLC0415

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda call: call(), calls))


class Watchdog:
    """Calls a function in another thread, and waits for it until a time limit."""

    def __init__(self) -> None:
        # Queue of the thread's next work; None if there is no thread, or if it is busy.
        self._works: SimpleQueue[_Work | None] | None = None

    def __call__(self, work: Callable[[], None], seconds: float) -> None:
        """Do the work for a request, and raise its exception if it raises one.

        Raises TimeoutError after `seconds`, even if a call never ends. Its thread is then abandoned, and may go on
        hours later, when Lambda runs the function again. A call that hung may end then, but no further call is begun:
        the time limit has passed (`deadline.time_limit`).
        """
        # One thread serves all works, until a work hangs.
        works, self._works = self._works or _thread_for_works(), None
        # It counts from before the thread's start, so that it has passed when the work is abandoned.
        asked = _Work(work, time.time() + seconds, SimpleQueue())
        works.put(asked)
        try:
            failure = asked.ends.get(timeout=seconds)
        except Empty:
            works.put(None)
            raise TimeoutError("the work for the request hangs") from None
        self._works = works
        if failure:
            raise failure


class _Work(NamedTuple):
    """Work for a request, its time limit `until` (epoch seconds), and the queue that gets its exception or None."""

    do: Callable[[], None]
    until: float
    ends: "SimpleQueue[BaseException | None]"


def _thread_for_works() -> "SimpleQueue[_Work | None]":
    """Start a thread, and return the queue of its works. The thread ends when it gets None."""
    works = SimpleQueue[_Work | None]()

    def run() -> None:
        while work := works.get():
            work.ends.put(_failure_of(work))

    Thread(target=run, daemon=True).start()
    return works


def _failure_of(work: _Work) -> BaseException | None:
    try:
        with time_limit(work.until - time.time()):
            work.do()
    except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
        return error
    return None

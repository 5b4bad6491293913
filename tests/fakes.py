"""Fakes of the library's adapters: clock, sleep, random, session, queues, secrets, and telemetry that can be read."""

import contextlib
import io
import json
import logging
import math
import re
import uuid
import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from copy import replace
from dataclasses import KW_ONLY, dataclass, field
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError

from relay.channels.authentication import Reply
from relay.deadline import Deadline
from relay.delivery.fallback_phones import Phones, ways_to
from relay.entrypoints.http_endpoints import INLINE_SECONDS
from relay.entrypoints.wiring import Effects, Resources, Vendors, Wiring
from relay.failures import LedgerError, SendError, UnknownChannel
from relay.http.session import HttpAnswer, Session, VendorHosts
from relay.incidents.share import State, parse_share
from relay.jobs.job import Job
from relay.jobs.queue import Queue, envelope_of, read_envelope
from relay.jobs.result import Result
from relay.ledger.accepted_signal import AcceptedSignal
from relay.ledger.credentials import change_mark
from relay.ledger.entry import Entry, entry_key
from relay.sweeper.canary import Post
from relay.telemetry import Telemetry
from tests import samples
from tests.fake_dynamodb import FakeDynamoDb

_OWNERS = count(1)
# A callback among the words of `Relay.play`.
CALLBACK = re.compile(
    r"(?P<kind>response|delivery|failure|status|escalation)(:(?P<text>[^@=]+))?(@(?P<page>[^=]+))?(=(?P<person>.+))?"
)
HOSTS = VendorHosts.of(("*.xmatters.com",), ("*.bigpanda.io",))


class Clock:
    """A clock that stands still until `sleep` is called or `now` is set (epoch seconds)."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request to a session.

    Attributes:
        url: URL with its query.
        headers: Headers by the names that the caller gave them.
        seconds: Time that the caller gave for the answer.
    """

    url: str
    body: bytes
    headers: Mapping[str, str]
    seconds: float
    method: str = "POST"


type Step = HttpAnswer | Exception | Callable[[Call], HttpAnswer]


class FakeSession(Session):
    """A session that meets each request with the next of its steps, and repeats the last step for ever.

    A step is an answer, an exception to raise, or a function from the request to the answer.
    """

    def __init__(self, *steps: Step) -> None:
        self.calls: list[Call] = []
        self.steps = list(steps)

    def call(
        self, method: str, url: str, *, body: bytes | None, headers: Mapping[str, str], seconds: float
    ) -> HttpAnswer:
        call = Call(url=url, body=body or b"", headers=dict(headers), seconds=seconds, method=method)
        self.calls.append(call)
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        if isinstance(step, Exception):
            raise step
        return step if isinstance(step, HttpAnswer) else step(call)


def slow(clock: Clock, seconds: float, answer: Callable[[Call], Any]) -> Callable[[Call], Any]:
    """Return a step that takes so many seconds for each answer, or times out."""

    def answered(call: Call) -> Any:
        clock.now += min(seconds, call.seconds)
        if call.seconds < seconds:
            raise requests.ReadTimeout
        return answer(call)

    return answered


# Time for which SQS hides a message that a function got (template.yaml, VisibilityTimeout).
HIDDEN_WHILE_WORKED = 180


class FakeSqs:
    """An SQS client that keeps the messages it is sent, or raises `failure`."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.failure: Exception | None = None
        # Called before each message is sent; it may let time pass, or raise.
        self.before: Callable[[dict[str, Any]], object] = lambda _: None
        # Number of messages that can be received now, as the queue's attributes tell it.
        self.visible = 0
        # Number of times that the queue was asked for its attributes.
        self.asked = 0
        self.clock = Clock()

    def send_message(self, **message: Any) -> dict[str, str]:
        self.before(message)
        if self.failure:
            raise self.failure
        self.put(message, message.get("DelaySeconds", 0))
        return {"MessageId": f"m{len(self.messages)}"}

    def put(self, message: dict[str, Any], seconds: float) -> None:
        """Put a message on the queue, which no function gets for so many seconds."""
        self.messages.append(message | {"visible_at": self.clock.now + seconds})

    def get_queue_attributes(self, **_: Any) -> dict[str, dict[str, str]]:
        self.asked += 1
        return {"Attributes": {"ApproximateNumberOfMessages": str(self.visible)}}

    def queue(self) -> Queue:
        """Return the library's adapter of a queue, with all its checks, which calls this fake client."""
        client: Any = self
        return Queue(client, "https://sqs.eu-central-1.amazonaws.com/000000000000/jobs")

    def next_visible_at(self) -> float:
        """Return the time at which a function can get the next message; infinite if there is none."""
        return min((message["visible_at"] for message in self.messages), default=math.inf)

    def delays(self) -> list[int]:
        return [message["DelaySeconds"] for message in self.messages]

    def records(self) -> list[dict[str, Any]]:
        """Take all messages off the queue, in the form that an event source passes to a function."""
        taken, self.messages = self.messages, []
        return [
            {"messageId": f"m{number}", "body": message["MessageBody"]} for number, message in enumerate(taken, start=1)
        ]

    def jobs(self) -> list[Job]:
        return [read_envelope(message["MessageBody"]) for message in self.messages]


class HookedDynamoDb(FakeDynamoDb):
    """A DynamoDB client with hooks: each hook in `before` is called once, before one operation.

    The key of a hook has the operation's name and the number of earlier calls of that operation. If the hook raises,
    the operation fails.
    """

    def __init__(self) -> None:
        super().__init__()
        self.before: dict[tuple[str, int], Callable[[], object]] = {}

    def before_next(self, hook: Callable[[], object], *, after: int = 0) -> None:
        """Call a hook before the next update, or before the one that follows `after` more updates."""
        self.before["update_item", self.calls.count("update_item") + after] = hook

    def _called(self, name: str) -> None:
        hook = self.before.pop((name, self.calls.count(name)), None)
        super()._called(name)
        if hook:
            hook()


TABLE_DOWN = ClientError({"Error": {"Code": "InternalServerError", "Message": "come again"}}, "PutItem")


def table_down(*_: object, **__: object) -> Any:
    """Raise the error that a call of AWS raises while DynamoDB, or another service, is down."""
    raise TABLE_DOWN.with_traceback(None)


def dies(*_: object) -> Any:
    """Stop the function at this point, as a crash does."""
    raise SystemExit


def interrupted(*_: object, **__: object) -> Any:
    """Stop the command at this point, as Ctrl-C does."""
    raise KeyboardInterrupt


def once(act: Callable[..., Any], *, at: int = 1) -> Callable[..., Any]:
    """Return a function that does `act` the first time, or at a later call of it, and does nothing at the others."""
    calls = count(1)
    return lambda *args, **named: act(*args, **named) if next(calls) == at else None


class FakeSns:
    """An SNS client that keeps the messages it publishes, or raises `failure`."""

    def __init__(self) -> None:
        self.published: list[dict[str, Any]] = []
        self.failure: Exception | None = None
        # Called before each message is published; it may let time pass, or raise.
        self.before: Callable[[dict[str, Any]], object] = lambda _: None

    def publish(self, **message: Any) -> dict[str, str]:
        self.before(message)
        if self.failure:
            raise self.failure
        self.published.append(message)
        return {"MessageId": f"n{len(self.published)}"}

    def message(self) -> dict[str, Any]:
        """Return the only message, with its text for each protocol."""
        [message] = self.published
        return message | {"Message": json.loads(message["Message"])}

    def told(self) -> list[tuple[str, str]]:
        """Return the last part of the topic's name, and the subject, of each message."""
        return [(each["TopicArn"].rpartition(":")[2], each["Subject"]) for each in self.published]


class FakeMessaging:
    """A client of AWS End User Messaging that keeps each call and text: its kind, number, identity and words."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, str, str]] = []
        # Called with kind and number before each call or text; it may let time pass, or raise.
        self.before: Callable[[str, str], object] = lambda *_: None

    def send_voice_message(self, **request: str) -> dict[str, str]:
        return self._send("call", request)

    def send_text_message(self, **request: str) -> dict[str, str]:
        assert request["MessageType"] == "TRANSACTIONAL"
        return self._send("text", request)

    def _send(self, kind: str, request: dict[str, str]) -> dict[str, str]:
        number = request["DestinationPhoneNumber"]
        self.before(kind, number)
        self.sent.append((kind, number, request["OriginationIdentity"], request["MessageBody"]))
        return {"MessageId": f"m{len(self.sent)}"}


def phones(client: FakeMessaging, *numbers: str) -> Phones | None:
    """Return phones that are called and texted one after the other; None without a number."""
    return Phones(lambda: client, ways_to(numbers, "arn:voice", "arn:text"), one_by_one) if numbers else None


class FakeSecrets:
    """The texts of secrets by channel. An exception in place of a text is raised; other channels are unknown."""

    def __init__(self, **texts: str | Exception) -> None:
        self.texts = texts
        self.reads: list[str] = []

    def __call__(self, name: str) -> str:
        self.reads.append(name)
        text = self.texts.get(name, UnknownChannel(name))
        if isinstance(text, Exception):
            raise text
        return text


def secrets_of(
    *names: str,
    policy: Mapping[str, Any] | None = None,
    xmatters: Mapping[str, Any] | None = None,
    **members: Any,
) -> FakeSecrets:
    """Return fake secrets that have only these channels, or the channel `noc`.

    The members of `policy` and `xmatters` join those of the sample; `members` are further ones of the secret. By
    default the policy has no minimum time between signals.
    """
    document = samples.secret(policy={"min_seconds_between_signals": 0, **(policy or {})}, **members)
    document["xmatters"] |= xmatters or {}
    return FakeSecrets(**dict.fromkeys(names or ("noc",), json.dumps(document)))


# Context of an invocation, with the attributes that Powertools reads.
LAMBDA_CONTEXT = SimpleNamespace(
    function_name="relay",
    memory_limit_in_mb=512,
    invoked_function_arn="arn:aws:lambda:eu-central-1:000000000000:function:relay",
    aws_request_id="00000000-0000-4000-8000-000000000000",
)


class Recorder:
    """The library's own telemetry, set up as in Lambda; its output can be read."""

    def __init__(self, *, has_channel_metrics: bool = False) -> None:
        self.out = io.StringIO()
        with pytest.MonkeyPatch.context() as environment, contextlib.redirect_stdout(self.out):
            # Powertools keeps one logger a service for the life of the process.
            service = f"relay-{uuid.uuid4().hex}"
            environment.setenv("POWERTOOLS_SERVICE_NAME", service)
            environment.setenv("POWERTOOLS_METRICS_NAMESPACE", "relay")
            self.telemetry = Telemetry.from_environment(has_channel_metrics=has_channel_metrics, is_traced=False)
        logging.getLogger(service).propagate = False
        # The module `logging` keeps every logger, and so this one's output, for the life of the process.
        weakref.finalize(self, logging.Logger.manager.loggerDict.pop, service, None)
        self._metrics = self.telemetry._metrics
        self._metrics.clear_metrics()

    def written(self) -> str:
        """Return the whole output, metrics included, as Lambda would log it."""
        with contextlib.redirect_stdout(self.out):
            self.telemetry.flush()
        return self.out.getvalue()

    def lines(self, message: str = "") -> list[dict[str, Any]]:
        """Return the log lines; with a message, only those that have it."""
        return [line for line in self._documents() if "_aws" not in line and message in {"", line["message"]}]

    def metrics(self) -> dict[str, float]:
        """Return the sums of the metrics without a channel, by name; metrics with the sum 0 are left out."""
        return {name: value for (channel, name), value in self._sums().items() if not channel and value}

    def channel_metrics(self) -> dict[tuple[str, str], float]:
        """Return the sums of the channels' metrics, by channel and name."""
        return {key: value for key, value in self._sums().items() if key[0]}

    def _sums(self) -> Counter[tuple[str, str]]:
        total: Counter[tuple[str, str]] = Counter()
        for document in self._documents():
            for group in document.get("_aws", {}).get("CloudWatchMetrics", []):
                channel = document["channel"] if group["Dimensions"] == [["service", "channel"]] else ""
                for metric in group["Metrics"]:
                    total[channel, metric["Name"]] += sum(document[metric["Name"]])
        return total

    def outcomes(self, message: str = "job") -> list[str]:
        """Return the outcomes in the log lines with this message, in order."""
        return [line["outcome"] for line in self.lines(message)]

    def _documents(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.written().splitlines()]


def one_by_one[T](calls: Sequence[Callable[[], T]]) -> list[T]:
    return [call() for call in calls]


def unwatched(work: Callable[[], None], _: float) -> None:
    """Do the work for a request in the caller's thread, without a time limit."""
    work()


@dataclass
class Relay:
    """All functions of the relay, wired to fakes.

    Attributes:
        session: xMatters' triggers.
        secrets: Secrets of the channels; one channel `noc` by default.
        credentials: Separate table for change marks and uses of credentials, so that tests count its calls separately.
        rest: xMatters' REST API; by default it has no page.
        bigpanda: BigPanda's API; by default it accepts every call.
        alarm_topic_arn: Topic that wakes people; none by default, so that channels' health is not judged.
        heartbeat: The dead man's switch; none by default.
        own_webhook: The stack's webhook, as the sweeper calls it; none by default, so that no canary runs.
        chance: Result of the random numbers, from 0 to 1.
        at_once: Function that makes the sweeper's parallel calls; one after the other by default.
        invoked: Jobs for which the sweeper invoked the worker.
    """

    session: FakeSession
    _: KW_ONLY
    secrets: FakeSecrets = field(default_factory=lambda: FakeSecrets(noc=json.dumps(samples.secret())))
    retries: FakeSqs = field(default_factory=FakeSqs)
    chores: FakeSqs = field(default_factory=FakeSqs)
    dead_letters: FakeSqs = field(default_factory=FakeSqs)
    dynamodb: FakeDynamoDb = field(default_factory=FakeDynamoDb)
    credentials: FakeDynamoDb = field(default_factory=FakeDynamoDb)
    sns: FakeSns = field(default_factory=FakeSns)
    messaging: FakeMessaging = field(default_factory=FakeMessaging)
    numbers: tuple[str, ...] = ()
    rest: FakeSession = field(default_factory=lambda: FakeSession(HttpAnswer(200, {}, b'{"data": []}')))
    bigpanda: FakeSession = field(default_factory=lambda: FakeSession(HttpAnswer(204, {}, b"")))
    clock: Clock = field(default_factory=Clock)
    recorder: Recorder = field(default_factory=Recorder)
    alarm_topic_arn: str = ""
    notice_topic_arn: str = ""
    heartbeat: Callable[[float], str] | None = None
    own_webhook: Post | None = None
    hosts: VendorHosts = HOSTS
    chance: float = 1.0
    at_once: Any = one_by_one
    invoked: list[Job] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.retries.clock = self.chores.clock = self.clock
        self.table = self.dynamodb.table(self.clock)
        wiring = self._wiring()
        self.channels, self.ledger, self.sources = wiring.channels, wiring.ledger, wiring.sources
        self.delivery, self.rate_limit, self.reconciler = wiring.delivery, wiring.rate_limit, wiring.reconciler
        self.xmatters = self.delivery.services.xmatters
        self.webhook, self.callbacks, self.worker = wiring.webhook, wiring.callbacks, wiring.worker
        self.sweeper = wiring.sweeper
        # Status of the last share that `play` sent.
        self.status = "critical"

    def _wiring(self) -> Wiring:
        sns: Any = self.sns
        resources = Resources(
            table=self.table,
            credentials=self.credentials.table(self.clock),
            retries=self.retries.queue(),
            chores=self.chores.queue(),
            dead_letters=self.dead_letters.queue(),
            read_secret=self.secrets,
            secret_names=lambda: list(self.secrets.texts),
            sns=lambda: sns,
            topic_arn="arn:aws:sns:eu-central-1:000000000000:fallback",
            alarm_topic_arn=self.alarm_topic_arn,
            notice_topic_arn=self.notice_topic_arn,
            invoke=self._invoke,
            phones=phones(self.messaging, *self.numbers),
        )
        effects = Effects(
            clock=self.clock,
            random=lambda: self.chance,
            sleep=self.clock.sleep,
            deadlines=self.deadline,
            owner=lambda: f"owner-{next(_OWNERS)}",
            at_once=self.at_once,
            watch=unwatched,
        )
        vendors = Vendors(
            hosts=self.hosts,
            triggers=lambda: self.session,
            rest=lambda: self.rest,
            bigpanda=lambda: self.bigpanda,
            heartbeat=self.heartbeat,
            webhook=self.own_webhook,
        )
        return Wiring(resources, vendors, effects, self.recorder.telemetry, cache_seconds=300)

    def _invoke(self, envelope: str) -> bool:
        self.invoked.append(read_envelope(envelope))
        return True

    def close_circuits(self) -> None:
        """Forget all signals and failures that the rate limiter and the circuit breaker counted."""
        for name in [name for name in self.dynamodb.items if name.startswith("gate/")]:
            del self.dynamodb.items[name]

    def sweep(self, seconds: float = 60.0) -> dict[str, Any]:
        """Let time pass, and let the sweeper run once; return the result of the run, which is empty if it failed."""
        self.clock.now += seconds
        try:
            return self.sweeper.sweep()
        except LedgerError:
            return {}

    def deadline(self, seconds: float) -> Deadline:
        return Deadline(seconds, self.clock)

    def share(
        self,
        body: bytes | None = None,
        *,
        recipients: tuple[str, ...] = (),
        seconds: float = INLINE_SECONDS,
        **said: Any,
    ) -> Result:
        """Relay a share of the channel `noc`, with this body or with these members of the incident `i1`."""
        content = samples.body(**said) if body is None else body
        return self.delivery.relay(
            self.channels.get("noc"),
            parse_share(content),
            content,
            recipients=recipients,
            correlation_id="c1",
            deadline=self.deadline(seconds),
        )

    def post(self, channel: str = "noc", recipients: tuple[str, ...] = (), **said: Any) -> Reply:
        """Let BigPanda post a share to a channel's URL, with these members of the incident `i1`."""
        request = samples.request(samples.body(**said), channel=channel, recipients=recipients)
        return self.webhook.serve(request)

    def play(self, events: str, **said: Any) -> list[str]:
        """Let things happen to the incident `i1`, one after the other; return what becomes of each share.

        `events` are words. A status is a share with that status, which comes a second after the event before it.
        `comment` is a share that differs from the one before it in a comment alone. A number lets so many seconds pass,
        and workers work; with an `m`, so many minutes pass, and the sweeper runs every 30 seconds, too. `sweep` is a
        run of the sweeper. With `drain`, time passes until workers have worked all jobs. A word such as
        `response:Acknowledge@page-2=jdoe` is a callback of that kind, with its text, page and person (`call_back` has
        their defaults). What becomes of a share is its outcome, with the reason, or else the transition. `said` are
        further members of all shares.
        """
        became = []
        for event in events.split():
            if callback := CALLBACK.fullmatch(event):
                self.call_back(**{name: text for name, text in callback.groupdict().items() if text})
            elif event.replace(".", "").isdecimal():
                self.wake(float(event))
            elif event.removesuffix("m").isdecimal():
                self.sweep_for(60 * float(event.removesuffix("m")), step=30)
            elif event == "sweep":
                self.sweep(0)
            elif event == "drain":
                self.drain()
            else:
                became.append(self._play_share(event, said))
        return became

    def _play_share(self, event: str, said: Mapping[str, Any]) -> str:
        self.clock.now += 1
        is_comment = event == "comment"
        self.status = self.status if is_comment else event
        comments = {"comments": [str(self.clock.now)]} if is_comment else {}
        content = {"status": self.status, "changedOn": int(self.clock.now), **comments, **said}
        result = self.share(samples.body(**content))
        return " ".join(filter(None, (result.outcome, result.reason or result.subject.transition)))

    def call_back(
        self, kind: str, text: str = "", page: str = "page-1", person: Any = "jdoe", **members: Any
    ) -> dict[str, Any]:
        """Let xMatters call back about the incident `i1`, with further members; return the document of the answer.

        `person` is a name, or the whole member.
        """
        name = {"response": "response", "status": "status"}.get(kind, "deliverystatus")
        said = {"relay": 1, "kind": kind, "incident_id": "i1", "event": {"id": page}, name: text}
        said["person"] = person if isinstance(person, dict) else {"target": person}
        content = json.dumps(said | members).encode()
        reply = self.callbacks.serve(samples.request(content, headers={"x-api-key": samples.CALLBACK_TOKEN}))
        assert reply.status == 200
        return dict(reply.document)

    def statuses(self) -> str:
        """Return the statuses of all signals as words, in the order in which they were sent."""
        return " ".join(json.loads(call.body)["incident"]["status"] for call in self.session.calls)

    def rung(self) -> list[str]:
        """Return the recipients in the URL of each signal."""
        return [call.url.partition("recipients=")[2] for call in self.session.calls]

    def sweep_for(self, seconds: float, step: float = 60.0) -> None:
        """Let time pass, and workers work. The sweeper runs at the end of each step."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.wake(min(step, end - self.clock.now))
            self.sweep(0)
        self.wake(0)

    def edit_secret(self, edit: Callable[[dict[str, Any]], object], channel: str = "noc") -> None:
        """Change a channel's secret, which functions notice when they read it next."""
        document = json.loads(str(self.secrets.texts[channel]))
        edit(document)
        self.secrets.texts[channel] = json.dumps(document)

    def change_policy(self, **policy: Any) -> None:
        """Give the channel another policy, as relayctl does, and let all functions notice it."""
        self.edit_secret(lambda document: document.update(policy={"min_seconds_between_signals": 0, **policy}))
        table, now = self.credentials.table(self.clock), self.clock.now
        change_mark(table, "noc", f"changed {now}", now, revokes=False)
        self.clock.now += 15
        # `share` uses the cached channel.
        self.channels.for_work("noc")

    def wake(self, seconds: float = 30.0) -> None:
        """Let time pass, and let the worker process each message of both queues when its delay is over.

        A message that its worker does not finish is on its queue again after SQS's visibility time-out.
        """
        end = self.clock.now + seconds
        while (queue := min((self.retries, self.chores), key=FakeSqs.next_visible_at)).next_visible_at() <= end:
            message = min(queue.messages, key=lambda each: each["visible_at"])
            queue.messages.remove(message)
            self.clock.now = max(self.clock.now, message["visible_at"])
            if self.worker.work([{"messageId": "m1", "body": message["MessageBody"]}]):
                queue.put(message, HIDDEN_WHILE_WORKED)
        self.clock.now = max(self.clock.now, end)

    def reconcile(self) -> dict[str, dict[str, Any]]:
        """Make a reconcile run; return the sums of its log lines, by the first channel of each listing.

        Time passes only by the library's own sleeps.
        """
        before, found = len(self.recorder.lines("reconciled")), dict[str, dict[str, Any]]()
        self.reconciler.run()
        for line in self.recorder.lines("reconciled")[before:]:
            first, *_ = line["channel"].split(", ")
            sums = found.setdefault(first, {})
            for name in ("compared", "missed", "snooze_over", "unknown"):
                sums[name] = sums.get(name, 0) + line[name]
            for name in {"failure", "reason"} & line.keys():
                sums.setdefault(name, line[name])
        return found

    def drain(self) -> None:
        """Let time pass and the worker process jobs until none is left on either queue."""
        while self.delays():
            until = min(self.retries.next_visible_at(), self.chores.next_visible_at())
            self.wake(max(1, until - self.clock.now))

    def delays(self) -> list[int]:
        return [*self.retries.delays(), *self.chores.delays()]

    def other(self, *steps: Step) -> "Relay":
        """Return a relay on the same queues, table, topic and clock, with other answers of xMatters' triggers."""
        return replace(self, session=FakeSession(*steps), recorder=Recorder())

    def announce(self, incident_id: str, *signals: AcceptedSignal) -> None:
        """Record a critical as announced, with these signals, unless the ledger has an entry of the incident."""
        state = State.of(samples.share(id=incident_id), self.clock.now)
        entry = Entry(newest=state, announced=state, accepted_signals=signals)
        self.ledger.write(entry_key("noc", (), incident_id), Entry(), entry)

    def entry(self, incident_id: str = "i1") -> Entry:
        return self.ledger.read(entry_key("noc", (), incident_id))


def worked(relay: Relay, *jobs: Job) -> list[str]:
    """Let the worker process these jobs of the retry queue; return the ids of the messages that stay on it."""
    return relay.worker.work([{"messageId": f"m{n}", "body": envelope_of(job)} for n, job in enumerate(jobs, 1)])


def new_relay(
    *steps: Step,
    policy: Mapping[str, Any] | None = None,
    xmatters: Mapping[str, Any] | None = None,
    access: Mapping[str, Any] | None = None,
    channels: Sequence[str] = (),
    **changes: Any,
) -> Relay:
    """Return a relay whose channel has this policy, these members of `xmatters`, and this access to BigPanda.

    `channels` are the names of such channels, if it is not only `noc`.
    By default its signals need no minimum time between them. `steps` are the answers of xMatters' triggers, as in
    FakeSession. Without steps the triggers accept every signal.
    """
    bigpanda = {"bigpanda": dict(access)} if access else {}
    parts = {"secrets": secrets_of(*channels, policy=policy, xmatters=xmatters, **bigpanda)} | changes
    return Relay(FakeSession(*steps or (samples.accepted("r7"),)), **parts)


def hooked(*steps: Step, **changes: Any) -> tuple[Relay, HookedDynamoDb]:
    """Return a relay as `new_relay` does, and its table, whose calls a test can interrupt."""
    table = HookedDynamoDb()
    return new_relay(*steps, dynamodb=table, **changes), table


class Trigger:
    """A client of xMatters' triggers over scripted answers, and a channel to send to."""

    def __init__(self, *steps: Step, auth: dict[str, str] | None = None) -> None:
        self.session = FakeSession(*steps)
        secret = samples.secret(auth=auth)
        relay = Relay(self.session, secrets=FakeSecrets(noc=json.dumps(secret)))
        self.clock, self.xmatters, self.channel = relay.clock, relay.xmatters, samples.parsed(secret)

    def send(self, seconds: float = 8, reserve: float = 2, **changes: Any) -> str | None:
        signal = replace(samples.SIGNAL, **changes)
        return self.xmatters.attempt(self.channel, signal, Deadline(seconds, self.clock), reserve=reserve)

    def failure(self, **changes: Any) -> SendError:
        try:
            self.send(**changes)
        except SendError as error:
            return error
        raise AssertionError("it was accepted")

    def urls(self) -> list[str]:
        return [call.url for call in self.session.calls]

    def authorizations(self) -> list[str | None]:
        return [call.headers.get("Authorization") for call in self.session.calls]

"""Stand-ins for what the library is handed: clock, sleep, random, session, queue, secrets, and a telemetry to read."""

import contextlib
import io
import json
import logging
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from relay.channel_cache import ChannelCache
from relay.deadline import Deadline
from relay.delivery import Delivery, Redelivery
from relay.errors import SendError, UnknownChannel
from relay.http import AllowedHosts, Answer, Session
from relay.message import Job
from relay.queues import Queue
from relay.sending import Sender
from relay.telemetry import Telemetry
from relay.webhook import Webhook
from relay.worker import Worker
from relay.xmatters import Signal, XMatters
from tests import samples

HOSTS = AllowedHosts(("*.xmatters.com", "*.bigpanda.io"))


class Clock:
    """Seconds that pass when somebody sleeps, or says so."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@dataclass(frozen=True)
class Call:
    """What a session was asked to post."""

    url: str
    body: bytes
    headers: Mapping[str, str]
    seconds: float


type Step = Answer | Exception | Callable[[Call], Answer]


class FakeSession(Session):
    """Answers with one step after the other; the last one goes on for ever."""

    def __init__(self, *steps: Step) -> None:
        self.calls: list[Call] = []
        self._steps = list(steps)

    def post(
        self,
        url: str,
        *,
        body: bytes,
        headers: Mapping[str, str],
        seconds: float,
        heard: Callable[[Answer], object] = lambda _: None,
    ) -> Answer:
        call = Call(url, body, dict(headers), seconds)
        self.calls.append(call)
        step = self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]
        if isinstance(step, Exception):
            raise step
        return step if isinstance(step, Answer) else step(call)


class FakeSqs:
    """An SQS client that keeps what it is sent, or raises `failure`."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.failure: Exception | None = None

    def send_message(self, **message: Any) -> dict[str, str]:
        if self.failure:
            raise self.failure
        self.messages.append(message)
        return {"MessageId": f"m{len(self.messages)}"}

    def queue(self) -> Queue:
        """The library's queue over this client, with all the checks it makes itself."""
        client: Any = self
        return Queue(client, "https://sqs.eu-central-1.amazonaws.com/000000000000/dead-letters")

    def jobs(self) -> list[Job]:
        """What was kept, unpacked."""
        return [Job.from_json(message["MessageBody"]) for message in self.messages]


class FakeSecrets:
    """The texts of secrets by channel; an exception in place of a text is raised. Other channels are unknown."""

    def __init__(self, **texts: str | Exception) -> None:
        self.texts = texts
        self.reads: list[str] = []

    def __call__(self, name: str) -> str:
        self.reads.append(name)
        text = self.texts.get(name, UnknownChannel(name))
        if isinstance(text, Exception):
            raise text
        return text


class Recorder:
    """The library's own telemetry, set up as in Lambda; all that it writes can be read."""

    def __init__(self) -> None:
        self.out = io.StringIO()
        with pytest.MonkeyPatch.context() as environment, contextlib.redirect_stdout(self.out):
            # Powertools keeps one logger a service for the life of the process.
            service = f"relay-{uuid.uuid4().hex}"
            environment.setenv("POWERTOOLS_SERVICE_NAME", service)
            environment.setenv("POWERTOOLS_METRICS_NAMESPACE", "relay")
            self.telemetry = Telemetry.from_environment()
        logging.getLogger(service).propagate = False
        self._metrics = self.telemetry._metrics
        self._metrics.clear_metrics()

    def written(self) -> str:
        """Everything, metrics too, as it would stand in the log."""
        with contextlib.redirect_stdout(self.out):
            if self._metrics.metric_set:
                self._metrics.flush_metrics()
        return self.out.getvalue()

    def lines(self) -> list[dict[str, Any]]:
        """The log lines, without metrics."""
        return [line for line in self._documents() if "_aws" not in line]

    def metrics(self) -> dict[str, float]:
        """The sum of each metric that is not zero."""
        total: Counter[str] = Counter()
        for document in self._documents():
            for group in document.get("_aws", {}).get("CloudWatchMetrics", []):
                for metric in group["Metrics"]:
                    total[metric["Name"]] += sum(document[metric["Name"]])
        return {name: value for name, value in total.items() if value}

    def _documents(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.written().splitlines()]


@dataclass
class Relay:
    """The whole path on fakes: one channel named `noc`, unless `secrets` says otherwise."""

    session: FakeSession
    secrets: FakeSecrets = field(default_factory=lambda: FakeSecrets(noc=json.dumps(samples.secret())))
    sqs: FakeSqs = field(default_factory=FakeSqs)
    clock: Clock = field(default_factory=Clock)
    recorder: Recorder = field(default_factory=Recorder)
    chance: float = 1.0

    def __post_init__(self) -> None:
        self.channels = ChannelCache(
            self.secrets, HOSTS, seconds=300, clock=self.clock, notice=self.recorder.telemetry.notice
        )
        self.xmatters = XMatters(self.session, clock=self.clock)
        self.sender = Sender(self.channels, self.xmatters, self.clock.sleep, lambda: self.chance)
        self.delivery = Delivery(self.sender, self.sqs.queue(), self.clock)
        self.webhook = Webhook(self.channels, self.delivery, self.recorder.telemetry, self.clock, self.clock)
        self.worker = Worker(Redelivery(self.sender, self.channels), self.recorder.telemetry, self.clock)


class Line:
    """A client over scripted answers, and a channel to send to."""

    def __init__(self, *steps: Step, auth: dict[str, str] | None = None) -> None:
        self.clock = Clock()
        self.session = FakeSession(*steps)
        self.xmatters = XMatters(self.session, clock=self.clock)
        self.channel = samples.parsed(samples.secret(auth=auth))

    def send(self, seconds: float = 8, reserve: float = 2, **changes: Any) -> str | None:
        signal = replace(Signal(samples.ODD_BODY, (), "d1", "c1"), **changes)
        return self.xmatters.send(self.channel, signal, Deadline(seconds, self.clock), reserve=reserve)

    def failure(self, **changes: Any) -> SendError:
        """Send what is not accepted."""
        try:
            self.send(**changes)
        except SendError as error:
            return error
        raise AssertionError("it was accepted")

    def urls(self) -> list[str]:
        return [call.url for call in self.session.calls]

    def shown(self) -> list[str | None]:
        return [call.headers.get("Authorization") for call in self.session.calls]

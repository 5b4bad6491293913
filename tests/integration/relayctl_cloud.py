"""An AWS account in memory with a relay's stack, and an operator who runs relayctl there.

SQS, DynamoDB and Secrets Manager are moto's. Botocore's events supply the stack's description, so no code of the relay
is replaced. A function of the test is the stack's worker, and runs whenever relayctl sleeps.
"""

import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.session
import pytest
from botocore.loaders import create_loader
from click.testing import CliRunner, Result
from moto import mock_aws
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.logs.models import logs_backends

from relay.delivery.fallback_messages import Fallback
from relay.delivery.task import entry_key_of, recorded_state
from relay.http.client import HttpClient
from relay.http.session import AllowList, HttpAnswer, Session
from relay.incidents.share import State, parse_share
from relay.jobs.job import Job, seconds_of, timestamp
from relay.jobs.queue import Queue, read_envelope
from relay.ledger.credentials import read_marks
from relay.ledger.debt import Debt, Row
from relay.ledger.entry import About, Entry, entry_key
from relay.ledger.table import Ledger, Table
from relay.sweeper.fallback_notifier import carry_out
from relay.version import VERSION
from relayctl.__main__ import main
from relayctl.dlq.queue import QueueDepth
from relayctl.log_lines import FUNCTIONS
from relayctl.stack.deployed import Effects
from tests import samples
from tests.fakes import Clock
from tests.ledger_table import LEDGER_TABLE

STACK = "bigpanda-xmatters-relay"
REGION = "us-east-1"
STACK_ARN = f"arn:aws:cloudformation:{REGION}:123456789012:stack/{STACK}/5a6b7c8d"
_LOADER = create_loader()
PARAMETERS = {
    "XMattersHosts": "acme.xmatters.com",
    "BigPandaHosts": "api.bigpanda.io,eu-api.bigpanda.io",
    "Profile": "aws",
    "SecretCacheSeconds": "300",
}

API_HOST = "a1b2c3d4e5.execute-api.us-east-1.amazonaws.com"

# Answer of a function that accepts the credential, to an empty body.
TAKEN = HttpAnswer(400, {}, b"{}")

# Answer of a service, as botocore has it: the HTTP answer and the parsed document.
type Answer = tuple[SimpleNamespace, Any]


def _answer(document: Any, status: int = 200) -> Answer:
    return SimpleNamespace(status_code=status), document


# Changes the entry of a job's incident, as a worker would after it received the job's state.
type Work = Callable[[Entry, State, Job, float], Entry]


def refusal(code: str, message: str = "") -> Answer:
    """Return AWS's answer to a call that it refuses."""
    return _answer({"Error": {"Code": code, "Message": message}}, 400)


def _revived(entry: Entry, state: State, job: Job, now: float) -> Entry:
    return entry.reviving(state, max(now, (job.dead_lettered_seconds or 0.0) + 0.001))


def delivered(entry: Entry, state: State, job: Job, now: float) -> Entry:
    """Return the ledger entry after a worker delivered the job."""
    revived = _revived(entry, state, job, now)
    return revived.announcing(state, f"request-{job.incident_id}", revived.debt.revived_at)


def failing(entry: Entry, state: State, job: Job, now: float) -> Entry:
    """Return the ledger entry after xMatters refused the job's signal."""
    revived = _revived(entry, state, job, now)
    return revived.dead_lettering(state, revived.debt.revived_at + 1, "refused", plan=1)


class _CloudHttpClient(HttpClient):
    """An HTTP client whose requests to the stack's API the test answers; other requests use real sockets."""

    def __init__(self, hosts: AllowList, operator: "Operator") -> None:
        super().__init__(Session(hosts))
        self._operator = operator

    def ask(self, method: str, url: str, *arguments: Any, **options: Any) -> HttpAnswer:
        if urlsplit(url).hostname != API_HOST:
            return super().ask(method, url, *arguments, **options)
        self._operator.requested.append(url)
        answers = self._operator.endpoint
        said = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(said, BaseException):
            raise said
        return said


@dataclass
class Operator:
    """An operator who runs relayctl against the account."""

    # Returns the change that the worker makes for a job on the retry queue
    worker: Callable[[Job], Work] = lambda _: delivered
    asked: list[Job] = field(default_factory=list)  # The jobs that the worker received
    refused: dict[str, str] = field(default_factory=dict)  # Error code by AWS operation; these operations fail
    on_send: Callable[[], object] = lambda: None  # Called after SQS accepted a batch
    on_pause: Callable[[], object] = lambda: None  # Called when relayctl sleeps
    on_put: Callable[[], object] = lambda: None  # Called before a new version of a secret is stored
    # By botocore's event, a function that is called at the event before all others
    hooks: dict[str, Callable[..., object]] = field(default_factory=dict)
    listing: Any = None  # Answer of ListSecrets; None for the secrets as they are. AWS's may be five minutes old
    # Answers of the stack's API in turn, or what is raised; the last one is repeated
    endpoint: list[HttpAnswer | BaseException] = field(default_factory=lambda: [TAKEN])
    requested: list[str] = field(default_factory=list)  # URLs of the requests to the stack's API
    clock: Clock = field(default_factory=Clock)  # The clock; sleeping only moves it forward
    parameters: dict[str, str] = field(default_factory=PARAMETERS.copy)  # The stack's parameters
    tags: dict[str, str] = field(default_factory=dict)  # The stack's tags
    mappings: list[dict[str, str]] = field(default_factory=list)  # Event source mappings of the workers
    recursive_loop: str = "Allow"  # The workers' recursion setting
    # What an invoked sweeper tests; None for a sweeper of an older version, which makes a run
    last_resort: Fallback | None = None
    tier: str = "PRODUCTION"  # The account's tier at AWS End User Messaging
    verified: list[str] = field(default_factory=list)  # The numbers that are verified there
    concurrency: int = 1000  # The account's quota of concurrent executions
    reserved_by_others: int = 0  # What functions of other stacks reserve of it

    def __post_init__(self) -> None:
        self.sqs = client("sqs")
        self.secrets = client("secretsmanager")
        self.dynamodb = client("dynamodb")
        for function in FUNCTIONS:
            # Not by a call, of which each test would make six.
            logs_backends[DEFAULT_ACCOUNT_ID][REGION].create_log_group(f"/aws/lambda/{STACK}-{function}", tags={})
        self.table = f"{STACK}-LedgerTable-1"
        self.dynamodb.create_table(TableName=self.table, **LEDGER_TABLE)
        self.ledger = Ledger(Table(self.dynamodb, self.table, self.clock))
        self.queue_url, self.retry_queue_url, self.chore_queue_url = (
            self.sqs.create_queue(QueueName=f"{STACK}-{name}Queue-1")["QueueUrl"]
            for name in ("DeadLetter", "Retry", "Chore")
        )
        self.outputs = {
            "Version": VERSION,
            "ApiId": "a1b2c3d4e5",
            "BigPandaWebhookUrl": f"https://{API_HOST}/v1/bigpanda/{{channel}}",
            "XMattersCallbackUrl": f"https://{API_HOST}/v1/xmatters/{{channel}}",
            "DeadLetterQueueUrl": self.queue_url,
            "RetryQueueUrl": self.retry_queue_url,
            "ChoreQueueUrl": self.chore_queue_url,
            "LedgerTableName": self.table,
            "SecretPrefix": "team/relay",
            "JobWorkerFunction": f"{STACK}-JobWorkerFunction-1",
            "ChoreWorkerFunction": f"{STACK}-ChoreWorkerFunction-1",
            "SweeperFunction": f"{STACK}-SweeperFunction-1",
        }

    @property
    def unreserved(self) -> int:
        """Concurrent executions of the account that no function reserves."""
        ours = (int(each) for name, each in self.parameters.items() if name.endswith("Reserved"))
        return self.concurrency - self.reserved_by_others - sum(ours)

    def run(self, *arguments: str, typed: str | None = None, code: int | None = None) -> Result:
        """Run relayctl with these arguments; an exception, or an exit code other than `code`, fails the test."""
        done = CliRunner().invoke(main, arguments, input=typed, obj=self.effects(), catch_exceptions=False)
        assert code in {None, done.exit_code}, done.output
        return done

    def typed(self, *arguments: str, answers: Iterable[Callable[[], str]] | None = ()) -> Any:
        """Run relayctl at a terminal, answer its questions in turn, and return the exit code.

        If `answers` is None, standard input is closed.
        """
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(sys, "stdin", None if answers is None else Typist(*answers))
            with pytest.raises(SystemExit) as done:
                main(arguments, prog_name="relayctl", obj=self.effects())
        return done.value.code

    def run_json(self, *arguments: str, code: int = 0) -> Any:
        """Run relayctl with --json and return the one document on stdout."""
        return json.loads(self.run(*arguments, "--json", code=code).stdout)

    def effects(self) -> Effects:
        """Return relayctl's effects: AWS sessions, clock and sleep of the test, and real sockets to the vendors."""
        return Effects(self.session, lambda hosts: _CloudHttpClient(hosts, self), self.clock, self.clock, self._sleep)

    def session(self, *, profile_name: str | None, region_name: str | None) -> boto3.Session:
        """Return a session with short polls, in which the operations in `refused` fail."""
        _Sessions.operator = self
        if not self.hooks:
            settings = tuple(sorted(each for each in os.environ.items() if each[0].startswith("AWS_")))
            return _Sessions.kept(profile_name, region_name, settings)
        session = _Sessions.new(profile_name, region_name)
        events: Any = session.events
        for event, hook in self.hooks.items():
            events.register_first(event, hook)
        return session

    def put(self, *jobs: Job) -> None:
        """Put jobs on the dead-letter queue."""
        queue = Queue(self.sqs, self.queue_url)
        for job in jobs:
            queue.send(job)

    def keep(self, *channels: str, xmatters: Mapping[str, Any] | None = None, **members: Any) -> None:
        """Store the secrets of channels past relayctl.

        The members of `xmatters` join those of the sample; `members` replace whole ones.
        """
        document = samples.secret(**members)
        document["xmatters"] |= xmatters or {}
        for name in channels:
            self.store(name, document)

    def store(self, channel: str, *documents: Any) -> None:
        """Store the versions of a channel's secret past relayctl; the last one is the current one."""
        first, *later = map(json.dumps, documents)
        self.secrets.create_secret(Name=f"team/relay/{channel}", SecretString=first)
        for text in later:
            self.secrets.put_secret_value(SecretId=f"team/relay/{channel}", SecretString=text)

    def marks(self) -> dict[str, str]:
        """Return the marks of revoked credentials and changed settings, by channel."""
        return dict(read_marks(self.ledger.table))

    def record(self, channel: str, incident_id: str, entry: Entry, named: tuple[str, ...] = ()) -> Entry:
        """Write the ledger's first entry of an incident, and return it as written."""
        written = self.ledger.write(entry_key(channel, named, incident_id), Entry(), entry)
        assert written
        return written

    def owe(
        self,
        channel: str,
        incident_id: str,
        ago: float,
        *,
        is_critical: bool = True,
        title: str = "",
        **members: Any,
    ) -> None:
        """Write an entry that has been owed for `ago` seconds; `members` are those of its debt."""
        now = self.clock.now
        status = "critical" if is_critical else "warning"
        state = State.of(samples.share(id=incident_id, status=status), now - ago)
        row = Row(now + 210, job="d/1")
        debt = Debt(since=now - ago, row=row, reason="upstream")._replace(**members)
        self.record(channel, incident_id, Entry(newest=state, debt=debt, about=About(title)))

    def settle(self, incident_id: str) -> None:
        """Settle what the channel `noc` owes for an incident, as the worker does."""
        name = entry_key("noc", (), incident_id)
        self.ledger.write(name, self.ledger.read(name), Entry())

    def give_up(self, channel: str, incident_id: str, **said: Any) -> None:
        """Write the entry of an incident whose state was dead-lettered; `said` are members of the incident."""
        state = State.of(samples.share(id=incident_id, **said), self.clock.now - 60)
        entry = Entry().owing(state).dead_lettering(state, self.clock.now, "refused", plan=1)
        self.record(channel, incident_id, entry)

    def used(self, channel: str, ago: float) -> None:
        """Record in the ledger that BigPanda used its credential for a channel `ago` seconds ago."""
        [(_, _, fingerprint)] = samples.parsed().fingerprints("inbound")
        name = f"used/inbound/{channel}/{fingerprint}"
        self.ledger.table.store(name, str(self.clock.now - ago), lasts=3600)

    def visible(self) -> int:
        """Return the number of visible messages on the dead-letter queue."""
        return QueueDepth.of(self.sqs, self.queue_url).visible

    def hidden(self) -> int:
        """Return the number of held messages on the dead-letter queue."""
        return QueueDepth.of(self.sqs, self.queue_url).held

    def secret(self, channel: str) -> Any:
        return json.loads(self.secret_text(channel))

    def secret_text(self, channel: str) -> str:
        # moto's default is the version that was written last; AWS's default is the current one.
        found = self.secrets.get_secret_value(SecretId=f"team/relay/{channel}", VersionStage="AWSCURRENT")
        return str(found["SecretString"])

    def _describe(self, params: Mapping[str, Any], **_: Any) -> Answer:
        name = params["body"]["StackName"]
        if name not in {STACK, STACK_ARN}:
            return refusal("ValidationError", f"Stack with id {name} does not exist")
        stack = {
            "StackName": STACK,
            "StackId": STACK_ARN,
            "Outputs": [{"OutputKey": key, "OutputValue": value} for key, value in self.outputs.items()],
            "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in self.parameters.items()],
            "Tags": [{"Key": key, "Value": value} for key, value in self.tags.items()],
        }
        return _answer({"Stacks": [stack]})

    def _put_secret(self, params: Mapping[str, Any], **_: Any) -> Answer | None:
        """Refuse a new version of a secret that is marked for deletion, as AWS does; moto accepts it."""
        self.on_put()
        if "DeletedDate" not in self.secrets.describe_secret(SecretId=json.loads(params["body"])["SecretId"]):
            return None
        return refusal("InvalidRequestException", "the secret is marked for deletion")

    def _sleep(self, seconds: float) -> None:
        self.clock.sleep(seconds)
        self.on_pause()
        self.work()

    def work(self) -> None:
        """Work all jobs on the retry queue."""
        while messages := self.sqs.receive_message(QueueUrl=self.retry_queue_url, MaxNumberOfMessages=10).get(
            "Messages"
        ):
            for message in messages:
                self._work_off(read_envelope(message["Body"]))
                self.sqs.delete_message(QueueUrl=self.retry_queue_url, ReceiptHandle=message["ReceiptHandle"])

    def _work_off(self, job: Job) -> None:
        self.asked.append(job)
        if job.kind != "signal":
            return
        name, state = entry_key_of(job), State.of(parse_share(job.body), seconds_of(job.received_at))
        state = recorded_state(job, state)
        entry = self.ledger.read(name)
        self.ledger.write(name, entry, self.worker(job)(entry, state, job, self.clock.now))

    def _invoke(self, params: Mapping[str, Any], **_: Any) -> Answer:
        event = json.loads(params["body"])
        answer: Any = {"owed": 0}
        if self.last_resort:
            answer = carry_out(event["fallback_test"], self.last_resort, self.ledger.table, self.clock)
        return _answer({"Payload": io.BytesIO(json.dumps(answer).encode())})

    def _messaging(self, model: Any, **_: Any) -> Answer:
        limits = {"VOICE_MESSAGE_MONTHLY_SPEND_LIMIT": 50, "TEXT_MESSAGE_MONTHLY_SPEND_LIMIT": 1}
        numbers = {"+14255550199": "PENDING"} | dict.fromkeys(self.verified, "VERIFIED")
        verified = [{"DestinationPhoneNumber": number, "Status": status} for number, status in numbers.items()]
        answers: dict[str, dict[str, Any]] = {
            "DescribeAccountAttributes": {"AccountAttributes": [{"Name": "ACCOUNT_TIER", "Value": self.tier}]},
            "DescribeSpendLimits": {"SpendLimits": [{"Name": name, "EnforcedLimit": limits[name]} for name in limits]},
            "DescribeVerifiedDestinationNumbers": {"VerifiedDestinationNumbers": verified},
        }
        return _answer(answers[model.name])

    def _refuse(self, model: Any, **_: Any) -> Answer | None:
        if model.name not in self.refused:
            return None
        return refusal(self.refused[model.name], f"jdoe may not {model.name}")


class Typist(io.StringIO):
    """Standard input of a terminal, with the answers that a person gives to the questions in turn."""

    def __init__(self, *answers: Callable[[], str]) -> None:
        super().__init__()
        self._answers = list(answers)

    def isatty(self) -> bool:
        return True

    def readline(self, *_: Any) -> str:  # type: ignore[override]
        return f"{self._answers.pop(0)()}\n"


# What an operator does at a call of AWS, by botocore's event.
_HOOKS: dict[str, Callable[..., object]] = {
    "after-call.sqs.SendMessageBatch": lambda operator, **_: operator.on_send(),
    "before-call.secretsmanager.PutSecretValue": Operator._put_secret,
    "before-call.secretsmanager.ListSecrets": lambda it, **_: _answer(it.listing) if it.listing else None,
    "before-call.lambda.ListEventSourceMappings": lambda it, **_: _answer({"EventSourceMappings": it.mappings}),
    "before-call.lambda.GetFunctionRecursionConfig": lambda it, **_: _answer({"RecursiveLoop": it.recursive_loop}),
    "before-call.lambda.GetAccountSettings": lambda it, **_: _answer(
        {"AccountLimit": {"ConcurrentExecutions": it.concurrency, "UnreservedConcurrentExecutions": it.unreserved}}
    ),
    "before-call.lambda.Invoke": Operator._invoke,
    "before-call.pinpoint-sms-voice-v2.*": Operator._messaging,
    "before-call.cloudformation.DescribeStacks": Operator._describe,
}


class _Sessions:
    """AWS sessions, whose clients outlive a test: making a client takes longer than most of its calls.

    Attributes:
        operator: the operator of the running test, who hears of the calls.
    """

    operator: Operator

    @staticmethod
    def new(profile: str | None, region: str | None) -> boto3.Session:
        """Return a new session, of whose calls the operator hears."""
        session = new_session(profile_name=profile, region_name=region)
        events: Any = session.events
        # moto's queues never need a long poll.
        events.register("provide-client-params.sqs.ReceiveMessage", lambda params, **_: params | {"WaitTimeSeconds": 0})
        for event, hook in _HOOKS.items():
            events.register(event, partial(_Sessions._heard, hook))
        events.register_first("before-call.*.*", partial(_Sessions._heard, Operator._refuse))
        return session

    @staticmethod
    @cache
    def kept(profile: str | None, region: str | None, settings: tuple[tuple[str, str], ...]) -> boto3.Session:
        """Return the session with these settings of the environment, which makes each client once."""
        session: Any = _Sessions.new(profile, region)
        make = session.client
        made = cache(make)
        session.client = lambda service, **options: make(service, **options) if options else made(service)
        its_session: boto3.Session = session
        return its_session

    @classmethod
    def _heard(cls, hook: Callable[..., object], **said: Any) -> object:
        return hook(cls.operator, **said)


@cache
def client(service: str) -> Any:
    """Return the one client of a service that tests use past relayctl."""
    session: Any = new_session(region_name=REGION)
    return session.client(service)


def new_session(**names: str | None) -> boto3.Session:
    """Return a new session; all sessions share one loader, so that boto's large files are read once."""
    core = botocore.session.get_session()
    core.register_component("data_loader", _LOADER)
    return boto3.Session(botocore_session=core, **names)


@contextmanager
def operating(monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    """Open an account in memory with an operator."""
    monkeypatch.delenv("RELAY_STACK", raising=False)
    # Without this, relayctl would turn an unexpected exception into a message.
    monkeypatch.setenv("RELAYCTL_TRACEBACK", "1")
    with mock_aws():
        yield Operator()


class Logs:
    """Writer of log lines.

    moto refuses log lines whose time is far from the real time. So the operator's clock is set to the real time.
    """

    def __init__(self, operator: Operator) -> None:
        operator.clock.now = float(int(time.time()))
        self.now = operator.clock.now
        self._client = client("logs")
        self._streams: set[str] = set()

    def write(self, function: str, ago: float, message: str, **fields: Any) -> None:
        """Write a line of a function, as if it was logged `ago` seconds before the operator's time."""
        at = self.now - ago
        line = {"level": "INFO", "message": message, "timestamp": timestamp(at), **fields}
        group = f"/aws/lambda/{STACK}-{function}"
        if group not in self._streams:
            self._client.create_log_stream(logGroupName=group, logStreamName="s")
            self._streams.add(group)
        event = {"timestamp": round(at * 1000), "message": json.dumps(line)}
        self._client.put_log_events(logGroupName=group, logStreamName="s", logEvents=[event])

    def share(
        self, channel: str, ago: float, outcome: str = "delivered", incident_id: str = "i1", **fields: Any
    ) -> None:
        """Write the webhook's line of a share, with further fields."""
        plain = {"incident_id": incident_id, "outcome": outcome, "delivery_id": f"{channel}-{ago}"}
        self.write("bigpanda-webhook", ago, "share", channel=channel, **plain | fields)

"""Wiring: puts the objects of a Lambda function together from its adapters to AWS, the vendors, time and the log.

Tests, the simulation and the benchmarks build the library here, too, with adapters of their own.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple

from relay.channels.cache import UNKNOWN_SECONDS, ChangeMarks, ChannelCache
from relay.channels.channel import Channel
from relay.channels.parsing import parse_channel
from relay.deadline import Clock, Deadlines, Watch, limited
from relay.delivery.delivery import Delivery
from relay.delivery.task import Services
from relay.http.client import HttpClient
from relay.http.session import Session, VendorHosts
from relay.jobs.queue import QUEUE_SECONDS, Outbox, Queue
from relay.ledger.rate_limit_and_circuit import LIMITER_SECONDS, RateLimiter
from relay.ledger.table import LEDGER_SECONDS, Ledger, Table
from relay.telemetry import Telemetry
from relay.xmatters.trigger import XMatters

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

    from relay.bigpanda.callback_writeback import Writeback
    from relay.bigpanda.client import BigPanda, RateLimit
    from relay.bigpanda.listing import Lister
    from relay.channels.channel import BigPandaAccess
    from relay.channels.token import EndpointName
    from relay.delivery.fallback_messages import Fallback
    from relay.delivery.fallback_phones import Phones
    from relay.delivery.resolve_questions import ResolveQuestions
    from relay.entrypoints.http_endpoints import Endpoint, Take
    from relay.entrypoints.worker import Worker
    from relay.ledger.credentials import Uses
    from relay.ledger.receipt import Answer
    from relay.ledger.receipt_prover import ReceiptProver
    from relay.ledger.sources import Sources
    from relay.reconcile.reconciler import Reconciler
    from relay.sweeper.canary import Post
    from relay.sweeper.health_watch import HealthWatch
    from relay.sweeper.run import AtOnce, Tools
    from relay.sweeper.sweeper import Sweeper
    from relay.xmatters.directory import Directory, Pages


class Effects(NamedTuple):
    """Time, random numbers and threads, as functions that tests replace.

    Attributes:
        random: Gives a number from 0 to 1.
        owner: Returns a unique name for a sender, as the owner of a lease.
        at_once: Makes calls in parallel, and returns their results in order.
    """

    clock: Clock
    random: Callable[[], float]
    sleep: Callable[[float], object]
    deadlines: Deadlines
    owner: Callable[[], str]
    at_once: "AtOnce"
    watch: Watch


class Resources(NamedTuple):
    """The stack's AWS resources, as the library uses them. An ARN is empty in a function without that topic.

    Attributes:
        credentials: The table with the last uses of credentials and the channels' change marks; in a stack, `table`.
        read_secret: Returns the text of a channel's secret, by the channel's name.
        topic_arn: The fallback topic, notified of criticals that are overdue, or that nobody is known to have heard.
        alarm_topic_arn: The topic of sick channels and alarms that wake people.
        notice_topic_arn: The topic of sick channels and alarms that can wait for a working day.
        invoke: Invokes the job worker directly with a message's text; returns False if that fails.
        phones: The phones of the last resort; None in a function without them.
    """

    table: Table
    credentials: Table
    retries: Queue
    chores: Queue
    dead_letters: Queue
    read_secret: Callable[[str], str]
    secret_names: Callable[[], Iterable[str]]
    sns: "Callable[[], SNSClient]"
    topic_arn: str
    alarm_topic_arn: str
    notice_topic_arn: str
    invoke: Callable[[str], bool]
    phones: "Phones | None" = None


class Vendors(NamedTuple):
    """The HTTP sessions with both vendors.

    Attributes:
        hosts: The hosts that URLs in secrets may name.
        triggers: Returns the session for signals.
        rest: Returns the session for xMatters' REST API; in a Lambda function, that of `triggers`.
        heartbeat: Calls an external dead man's switch within a number of seconds; returns the cause of a failure, else
            an empty text. None without a switch.
        webhook: Posts a share to the stack's own webhook; None for a function that posts none.
    """

    hosts: VendorHosts
    triggers: Callable[[], Session]
    rest: Callable[[], Session]
    bigpanda: Callable[[], Session]
    heartbeat: Callable[[float], str] | None = None
    webhook: "Post | None" = None


# A request waits for this read of the table once in ten seconds.
MARKS_READ_SECONDS = 0.7

# Parts that not all functions use are imported where they are made: the others would pay for them at each cold start.
# ruff: noqa: PLC0415


@dataclass(eq=False)
class Wiring:
    """The objects of a Lambda function, each made at its first use. `cache_seconds` is ChannelCache's `seconds`."""

    resources: Resources
    vendors: Vendors
    effects: Effects
    telemetry: Telemetry
    cache_seconds: float
    unknown_seconds: float = UNKNOWN_SECONDS

    def __post_init__(self) -> None:
        self._clock, self._random, self._sleep, self._deadlines, self._owner, self._at_once, self._watch = self.effects

    # ---- Functions -------------------------------------------------------------------------------------------------

    @cached_property
    def webhook(self) -> "Endpoint":
        from relay.entrypoints.http_endpoints import take_share

        return self._endpoint("inbound", partial(take_share, self.delivery, self.sources))

    @cached_property
    def callbacks(self) -> "Endpoint":
        from relay.entrypoints.http_endpoints import take_callback

        return self._endpoint("callback", partial(take_callback, self.outbox, self._clock))

    def _endpoint(self, name: "EndpointName", take: "Take") -> "Endpoint":
        from relay.channels.authentication import Authenticator, RefusalBudgets
        from relay.entrypoints.http_endpoints import Endpoint

        return Endpoint(
            authenticator=Authenticator(self.channels, RefusalBudgets(self._clock), self._clock, name),
            take=take,
            telemetry=self.telemetry,
            deadlines=self._deadlines,
            uses=self.uses,
            watch=self._watch,
        )

    @cached_property
    def worker(self) -> "Worker":
        """The worker for jobs, of the retry queue or of the chore queue: both functions run the same code."""
        from relay.delivery.page_followup import Followup
        from relay.entrypoints.worker import Chores, Worker

        chores = Chores(
            followup=Followup(self.pages, self.ledger, self.prover, self._clock),
            questions=lambda: self.questions,
            writeback=lambda: self.writeback,
            outbox=self.outbox,
            clock=self._clock,
            deadlines=self._deadlines,
        )
        return Worker(
            delivery=self.delivery,
            chores=chores,
            sweeper=lambda: self.sweeper,
            channels=self.channels,
            sources=self.sources,
            outbox=self.outbox,
            fallback=self.fallback,
            telemetry=self.telemetry,
            clock=self._clock,
            random=self._random,
            deadlines=self._deadlines,
        )

    @cached_property
    def sweeper(self) -> "Sweeper":
        from relay.sweeper.bells import Bells
        from relay.sweeper.fallback_notifier import FallbackNotifier
        from relay.sweeper.run import DueRows, SweepPolicies
        from relay.sweeper.sweeper import Sweeper

        tools = self._sweeper_tools
        rows, policies = DueRows(self._unhurried_ledger, tools.telemetry), SweepPolicies(tools)
        bells = Bells(tools, rows, policies, self.outbox, self.resources.invoke)
        notifier = FallbackNotifier(tools, rows, policies, self.fallback)
        return Sweeper(tools, rows, policies, notifier, bells, self.health_watch, self.vendors.heartbeat)

    @cached_property
    def _sweeper_tools(self) -> "Tools":
        from relay.sweeper.run import Tools

        return Tools(
            names=self.resources.secret_names,
            channels=self.channels,
            table=self.resources.table,
            telemetry=self.telemetry,
            at_once=self._at_once,
            clock=self._clock,
            deadlines=self._deadlines,
        )

    @cached_property
    def health_watch(self) -> "HealthWatch | None":
        """The watch over channels' health; None if the stack has no topic for messages about it."""
        from relay.health.judgement import HealthTopics
        from relay.sweeper.canary import CanaryWatch
        from relay.sweeper.credential_probe import CredentialProbe
        from relay.sweeper.health_watch import HealthWatch, RecipientWatch, ShareSurvey

        resources, tools, post = self.resources, self._sweeper_tools, self.vendors.webhook
        if not resources.alarm_topic_arn and not resources.notice_topic_arn:
            return None
        topics = HealthTopics(resources.sns, resources.alarm_topic_arn, resources.notice_topic_arn)
        return HealthWatch(
            tools,
            survey=ShareSurvey(tools, resources.credentials),
            probe=CredentialProbe(tools, lambda: self.directory, lambda: self.lister),
            recipients=RecipientWatch(tools, lambda: self.directory, topics),
            canaries=CanaryWatch(tools, self._unhurried_ledger, post) if post else None,
            topics=topics,
        )

    # ---- Channels and endpoints ------------------------------------------------------------------------------------

    @cached_property
    def channels(self) -> ChannelCache:
        return ChannelCache(
            self._channel,
            seconds=self.cache_seconds,
            clock=self._clock,
            notice=self.telemetry.notice,
            unknown_seconds=self.unknown_seconds,
            change_marks=self._change_marks,
        )

    def _channel(self, name: str) -> Channel:
        return parse_channel(name, self.resources.read_secret(name), self.vendors.hosts)

    @property
    def _change_marks(self) -> ChangeMarks:
        from relay.ledger.credentials import read_marks

        table = self.resources.credentials.limited(limited(self._deadlines, MARKS_READ_SECONDS, "change_marks"))
        return ChangeMarks(lambda: read_marks(table), self._clock, self.telemetry.notice)

    @property
    def uses(self) -> "Uses":
        from relay.ledger.credentials import Uses

        return Uses(self.resources.credentials, self._clock)

    # ---- Ledger, queues and topic ----------------------------------------------------------------------------------

    @cached_property
    def outbox(self) -> Outbox:
        run, resources = limited(self._deadlines, QUEUE_SECONDS, "enqueue"), self.resources
        return Outbox(
            retries=resources.retries.limited(run),
            chores=resources.chores.limited(run),
            dead_letters=resources.dead_letters.limited(run),
            clock=self._clock,
        )

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger(self.resources.table.limited(limited(self._deadlines, LEDGER_SECONDS, "ledger")))

    @property
    def _unhurried_ledger(self) -> Ledger:
        """The ledger for work that nobody waits for: its calls have the client's own time limits."""
        return Ledger(self.resources.table)

    @cached_property
    def sources(self) -> "Sources":
        from relay.ledger.sources import Sources

        return Sources(self.resources.table, self._clock)

    @cached_property
    def fallback(self) -> "Fallback":
        from relay.delivery.fallback_messages import Fallback

        return Fallback(self.resources.sns, self.resources.topic_arn, self.resources.phones)

    # ---- xMatters --------------------------------------------------------------------------------------------------

    @cached_property
    def rate_limiter(self) -> RateLimiter:
        table = self.resources.table.limited(limited(self._deadlines, LIMITER_SECONDS, "rate_limit"))
        return RateLimiter(table, self._clock, self._random)

    @cached_property
    def delivery(self) -> Delivery:
        """The object that announces states to xMatters, with its own HTTP client and rate limiter."""
        client = HttpClient(self.vendors.triggers(), clock=self._clock)
        xmatters = XMatters(client, self.channels, self._sleep, self._random)
        return Delivery(
            Services(xmatters, self.ledger, self.rate_limiter, self.outbox, self._clock, self._random, self._owner)
        )

    @cached_property
    def _rest(self) -> HttpClient:
        return HttpClient(self.vendors.rest(), clock=self._clock)

    @cached_property
    def pages(self) -> "Pages":
        from relay.xmatters.directory import Pages

        return Pages(self._rest)

    @cached_property
    def directory(self) -> "Directory":
        from relay.xmatters.directory import Directory

        return Directory(self._rest)

    @cached_property
    def prover(self) -> "ReceiptProver":
        from relay.ledger.receipt_prover import ReceiptProver

        def answered(access: "BigPandaAccess", incident_id: str, since: float) -> "Answer | None":
            # Made at the first question, since most channels await no answer.
            return self.lister.first_answer(access, incident_id, since)

        return ReceiptProver(self.pages.heard_of, answered, self.ledger, self._clock)

    # ---- BigPanda --------------------------------------------------------------------------------------------------

    @cached_property
    def bigpanda(self) -> "BigPanda":
        from relay.bigpanda.client import BigPanda

        return BigPanda(HttpClient(self.vendors.bigpanda(), clock=self._clock))

    @cached_property
    def rate_limit(self) -> "RateLimit":
        from relay.bigpanda.client import RateLimit

        return RateLimit(self.resources.table, self._clock, self._sleep)

    @cached_property
    def lister(self) -> "Lister":
        from relay.bigpanda.listing import Lister

        return Lister(self.bigpanda, self.rate_limit, self._clock, self._deadlines)

    @cached_property
    def questions(self) -> "ResolveQuestions":
        from relay.delivery.resolve_questions import ResolveQuestions

        return ResolveQuestions(self.lister, self.ledger, self.outbox, self._clock)

    @cached_property
    def writeback(self) -> "Writeback":
        from relay.bigpanda.callback_verification import Verifier
        from relay.bigpanda.callback_writeback import Writeback
        from relay.bigpanda.incident_writer import IncidentWriter

        return Writeback(
            writer=IncidentWriter(self.bigpanda, self.rate_limit, self._clock),
            sources=self.sources,
            table=self.resources.table,
            ledger=self._unhurried_ledger,
            verifier=Verifier(self.pages.names_of_request, self.directory.is_person, self._clock),
            prover=self.prover,
            clock=self._clock,
        )

    @cached_property
    def reconciler(self) -> "Reconciler":
        from relay.reconcile.comparison import Comparison
        from relay.reconcile.history import Planner
        from relay.reconcile.ownership import Ownership
        from relay.reconcile.reconciler import Queueing, Reconciler, Reporter

        telemetry = self.telemetry
        return Reconciler(
            planner=Planner(self.resources.secret_names, self.channels, self.sources, telemetry),
            lister=self.lister,
            comparison=Comparison(self.sources, self._unhurried_ledger, self._clock),
            ownership=Ownership(self.lister, self.resources.table, self._clock),
            queueing=Queueing(self.lister, self.channels, self.outbox, telemetry, self._clock),
            reporter=Reporter(self.channels, self.fallback, telemetry, self._clock),
            table=self.resources.table,
            telemetry=telemetry,
            clock=self._clock,
            deadlines=self._deadlines,
        )

"""Adapters of the library to the outside: AWS, the vendors, time and the log.

Tests, simulation and benchmarks make their own adapters.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from relay.channels.cache import UNKNOWN_SECONDS
from relay.deadline import Deadline
from relay.entrypoints.watchdog import Watch
from relay.http.session import Session, VendorHosts
from relay.jobs.queue import Queue
from relay.ledger.table import Table
from relay.telemetry.telemetry import Telemetry

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

    from relay.sweeper.run import AtOnce


class Effects(NamedTuple):
    """Time, random numbers and threads, as functions that tests replace.

    Attributes:
        clock: Gives epoch seconds.
        random: Gives a number from 0 to 1.
        sleep: Waits for a number of seconds.
        deadlines: Returns a deadline of a number of seconds.
        owner: Returns a unique name for a sender, as the owner of a lease.
        at_once: Makes calls in parallel, and returns their results in order.
        watch: Does the work for a request, and stops waiting for it after a number of seconds.
    """

    clock: Callable[[], float]
    random: Callable[[], float]
    sleep: Callable[[float], object]
    deadlines: Callable[[float], Deadline]
    owner: Callable[[], str]
    at_once: "AtOnce"
    watch: Watch


class Resources(NamedTuple):
    """The stack's AWS resources, as the library uses them.

    Attributes:
        table: The ledger's table.
        credentials: The table with the last uses of credentials, and with the change marks, which end cached copies of
            channels: in a stack, the ledger's table.
        retries: The retry queue.
        chores: The chore queue.
        dead_letters: The dead-letter queue.
        read_secret: Returns the text of a channel's secret, by the channel's name.
        secret_names: Returns the names of the channels that have a secret.
        sns: Returns the client of the fallback topic.
        topic_arn: The fallback topic; empty for a function that never notifies it.
        alarm_topic_arn: The topic that wakes people; empty for none.
        notice_topic_arn: The topic that people read later; empty for none.
        invoke: Invokes the job worker with an envelope (a job as message text), without SQS; returns False if that
            fails.
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


class Vendors(NamedTuple):
    """The HTTP sessions with both vendors.

    Attributes:
        hosts: The allow-lists, which a channel's URLs are checked against.
        triggers: Returns the session for signals to xMatters.
        rest: Returns the session for xMatters' REST API; in a Lambda function, this is the session for signals, too.
        bigpanda: Returns the session for BigPanda's API.
        heartbeat: Calls the dead man's switch within a number of seconds. Returns the reason of a failure, or an empty
            text. None without a switch.
    """

    hosts: VendorHosts
    triggers: Callable[[], Session]
    rest: Callable[[], Session]
    bigpanda: Callable[[], Session]
    heartbeat: Callable[[float], str] | None = None


@dataclass(frozen=True)
class Adapters:
    """The library's adapters to the outside: AWS, the vendors, time, and the log.

    Attributes:
        resources: The stack's resources.
        vendors: The HTTP sessions with both vendors.
        effects: Time, random numbers and threads.
        telemetry: Logs and metrics.
        cache_seconds: Seconds for which a copy of a channel is used before its secret is read again.
        unknown_seconds: Seconds for which the absence of a channel is remembered.
        reads_change_marks: True if the function reads the channels' change marks. Then a revoked credential, and a
            changed mode or pause, have effect before `cache_seconds` are over.
    """

    resources: Resources
    vendors: Vendors
    effects: Effects
    telemetry: Telemetry
    cache_seconds: float
    unknown_seconds: float = UNKNOWN_SECONDS
    reads_change_marks: bool = False

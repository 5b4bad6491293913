"""Dead-letter queue as the verbs of `relayctl dlq` read it: held messages, the filters, and texts about the result.

Held messages are invisible to other readers. If relayctl dies, SQS shows them again within five minutes.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import wraps
from itertools import batched, takewhile
from threading import Event
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Self

import click
from botocore.exceptions import BotoCoreError, ClientError

from relay.delivery.task import recorded_state
from relay.failures import BadRequest, Reason
from relay.incidents.share import State, parse_share
from relay.jobs.job import Job, JobKind, seconds_of
from relay.jobs.queue import MAX_BATCH, MAX_MESSAGE_BYTES, Message, UnreadableMessage, attributes_of, read_envelope
from relayctl import moments, terminal
from relayctl.failed_calls import tried
from relayctl.stack.deployed import Stack

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import DeleteMessageBatchRequestEntryTypeDef, MessageTypeDef

# Visibility timeout of a held message. What is not moved by then is left to other readers.
HOLD_SECONDS = 300
# Time for the scan: the rest of the first message's hold is for what is done with the messages.
SCAN_SECONDS = HOLD_SECONDS // 2
# With less than this left, a batch may still be in progress when another reader receives the message.
MOVE_SECONDS = 30
# A long poll asks all of SQS's servers. A short poll may miss messages.
RECEIVE_SECONDS = 1

_COUNTS: tuple[Any, ...] = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
)


def batches[T](items: Iterable[T], size_of: Callable[[T], int]) -> Iterator[list[T]]:
    """Split items into batches that fit into one call to SQS; `size_of` returns the size of an item's message."""
    batch: list[T] = []
    size = 0
    for item in items:
        if batch and (len(batch) == MAX_BATCH or size + size_of(item) > MAX_MESSAGE_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += size_of(item)
    if batch:
        yield batch


@dataclass(eq=False)
class HeldMessage:
    """A message of the dead-letter queue that a reader received and keeps invisible to other readers."""

    message_id: str
    receipt: str  # Receipt handle of the last receive
    until: float  # End of the visibility timeout, by the reader's clock (seconds)
    envelope: str  # The message's text: a job as JSON, with its body compressed
    job: Job | None = None  # The job without its body; None if the message's text is not a job of the relay
    problem: str | None = None  # The error if the message's text is not a job of the relay, else None

    @property
    def message(self) -> Message:
        """The message to send to another queue, with the same text."""
        return Message(self.envelope, attributes_of(self.job) if self.job else {})

    @property
    def title(self) -> str:
        """Title of the incident in a signal's job; empty if there is none."""
        try:
            return parse_share(read_envelope(self.envelope).body).title
        except (BadRequest, UnreadableMessage):
            return ""

    @property
    def state(self) -> State | None:
        """State that a signal's job announces, without alerts; None for other jobs, or if its body is no share."""
        if self.job is None or self.job.kind != JobKind.SIGNAL:
            return None
        try:
            state = State.of(parse_share(read_envelope(self.envelope).body), seconds_of(self.job.received_at))
        except BadRequest:
            return None
        return recorded_state(self.job, state).without_alerts()


class QueueDepth(NamedTuple):
    """Approximate numbers of messages on one queue: SQS counts each message as visible, delayed or held."""

    visible: int  # Messages that can be received now
    delayed: int  # Messages that become visible later
    held: int  # Messages that a reader or a worker has received, and that are invisible for now

    @classmethod
    def of(cls, client: "SQSClient", url: str) -> Self:
        found: dict[Any, str] = client.get_queue_attributes(QueueUrl=url, AttributeNames=_COUNTS)["Attributes"]
        return cls(*(int(found[name]) for name in _COUNTS))

    @property
    def about(self) -> int:
        return sum(self)


class DeadLetters:
    """Reader of the dead-letter queue. Its methods raise botocore's exceptions, unless they say otherwise."""

    def __init__(self, client: "SQSClient", url: str, clock: Callable[[], float]) -> None:
        self._client = client
        self._url = url
        self._clock = clock
        self._held: dict[str, HeldMessage] = {}
        self.is_scan_cut = False  # True if the last scan had no time for all visible messages
        self.tried = 0  # Number of messages that `still_held` yielded as held

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Context in which messages may be received and kept invisible. At its end, those not deleted are visible."""
        try:
            yield
        except BaseException:
            # A failed release is ignored in favour of the block's exception; the messages become visible soon.
            with suppress(ClientError, BotoCoreError):
                self.let_go(self._held.values())
            raise
        self.let_go(self._held.values())

    def scan(self) -> Iterator[HeldMessage]:
        """Receive and hold every visible message once, until a poll is empty. Valid only inside `holding`.

        It ends after SCAN_SECONDS at the latest, and then sets `is_scan_cut`. Else a storm of new messages could keep
        it going for ever: the first messages would come anew once their hold is over.
        """
        ends = self._clock() + SCAN_SECONDS
        while not (is_cut := self._clock() >= ends):
            until = self._clock() + HOLD_SECONDS
            messages = self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=MAX_BATCH,
                WaitTimeSeconds=RECEIVE_SECONDS,
                VisibilityTimeout=HOLD_SECONDS,
            ).get("Messages", [])
            if not messages:
                break
            # Hold all messages before the first one is yielded: the caller may stop the iteration.
            new = [self._hold(message, until) for message in messages]
            yield from (held for held in new if held)
        self.is_scan_cut = is_cut

    def still_held(
        self, chosen: Sequence[HeldMessage], stopping: Callable[[], bool]
    ) -> Iterator[tuple[list[HeldMessage], list[HeldMessage]]]:
        """Yield for each batch two lists: messages still held, and those another reader may have. End at `stopping`."""
        for batch in batches(chosen, lambda each: each.message.size):
            if stopping():
                return
            # The others may become visible to another reader while the batch is in progress.
            until = self._clock() + MOVE_SECONDS
            held = [each for each in batch if self._held.get(each.message_id) is each and until < each.until]
            self.tried += len(held)
            yield held, [each for each in batch if each not in held]

    def delete_batch(self, held_messages: Sequence[HeldMessage]) -> list[str]:
        """Delete up to ten received messages. Return a text for each: its error, or an empty one if it is deleted."""
        if not held_messages:
            return []
        entries: list[DeleteMessageBatchRequestEntryTypeDef] = [
            {"Id": str(number), "ReceiptHandle": held.receipt} for number, held in enumerate(held_messages)
        ]
        answer, problem = tried(lambda: self._client.delete_message_batch(QueueUrl=self._url, Entries=entries))
        if answer is None:
            return [str(problem)] * len(held_messages)
        deleted = {each["Id"] for each in answer.get("Successful", ())}
        failed = {each["Id"]: each["Code"] for each in answer.get("Failed", ())}
        problems = ["" if str(n) in deleted else str(failed.get(str(n))) for n in range(len(held_messages))]
        for held, problem in zip(held_messages, problems, strict=True):
            if not problem:
                self._held.pop(held.message_id, None)
        return problems

    def let_go(self, held_messages: Iterable[HeldMessage]) -> None:
        """Make messages visible again. If SQS refuses that for a message, it becomes visible at the end of its hold."""
        for batch in batched(list(held_messages), MAX_BATCH, strict=False):
            self._client.change_message_visibility_batch(
                QueueUrl=self._url,
                Entries=[
                    {"Id": str(index), "ReceiptHandle": held.receipt, "VisibilityTimeout": 0}
                    for index, held in enumerate(batch)
                ],
            )
            for held in batch:
                self._held.pop(held.message_id, None)

    def _hold(self, message: "MessageTypeDef", until: float) -> HeldMessage | None:
        if known := self._held.get(message["MessageId"]):
            known.receipt, known.until = message["ReceiptHandle"], until
            return None
        held = HeldMessage(message["MessageId"], message["ReceiptHandle"], until, message["Body"])
        try:
            held.job = read_envelope(message["Body"])._replace(body=b"")
        except UnreadableMessage as error:
            held.problem = str(error)
        self._held[held.message_id] = held
        return held


# Stands for the status of a job without one, in filters and in lists.
NO_STATUS = "-"


@dataclass(frozen=True)
class Filter:
    """Filter of dead-lettered jobs. A job matches if all attributes match; None in an attribute matches any job."""

    channel: str | None = None
    incident: str | None = None
    status: str | None = None  # Status of the incident in the share, in lower case; `-` for a job without a status
    reason: str | None = None  # Reason for which the job was dead-lettered
    since: float | None = None  # Earliest arrival of the share (epoch seconds)
    until: float | None = None  # Latest arrival of the share (epoch seconds)

    @property
    def takes_all(self) -> bool:
        """True if the filter is empty, so that every job matches. Then messages that are no jobs are chosen, too."""
        return Filter() == self

    def _matches(self, job: Job) -> bool:
        wanted = (self.channel, self.incident, self.status, self.reason)
        found = (job.channel, job.incident_id, job.stamps.status or NO_STATUS, job.stamps.reason)
        if any(want is not None and want != have for want, have in zip(wanted, found, strict=True)):
            return False
        came = seconds_of(job.received_at)
        return (self.since is None or came >= self.since) and (self.until is None or came <= self.until)

    def choose(self, found: list[HeldMessage]) -> list[HeldMessage]:
        """Return the messages whose jobs match, the oldest share first. A replay moves them in this order."""
        matching = [(seconds_of(held.job.received_at), held) for held in found if held.job and self._matches(held.job)]
        return [held for _, held in sorted(matching, key=lambda pair: pair[0])]

    def document(self) -> dict[str, Any]:
        """Return the filters that the operator gave as a JSON object; times are ISO 8601 in UTC."""
        times = {"since": moments.iso_or_none(self.since), "until": moments.iso_or_none(self.until)}
        return {name: value for name, value in (vars(self) | times).items() if value is not None}


def filtered(reason_option: str = "--reason") -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the filter options to a verb, which gets a Filter as `wanted`. `reason_option` is the one for the reason."""
    options = (
        click.option("--channel", metavar="NAME", help="Only jobs of this channel."),
        click.option("--incident", metavar="ID", help="Only jobs of this incident."),
        click.option(
            "--status",
            type=lambda text: text.strip().lower(),
            metavar="STATUS",
            help=f"Only jobs of shares with this status of the incident, such as critical; {NO_STATUS} for none.",
        ),
        click.option(
            reason_option,
            "wanted_reason",
            type=click.Choice(list(map(str, Reason))),
            metavar="REASON",
            help=f"Only jobs with this reason: {', '.join(Reason)}.",
        ),
        click.option(
            *("--since", "--newer-than"),
            type=moments.since,
            metavar="AGE|TIME",
            help="Only jobs of shares since: 90m, 12h, 7d or a time.",
        ),
        click.option(
            *("--older-than", "until"),
            type=moments.since,
            metavar="DURATION",
            help="Only jobs of shares that came before: 7d.",
        ),
    )

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        @wraps(verb)
        def wrapped(**arguments: Any) -> None:
            names = ("channel", "incident", "status", "since", "until")
            took = {name: arguments.pop(name) for name in names}
            verb(wanted=Filter(**took, reason=arguments.pop("wanted_reason")), **arguments)

        for option in reversed(options):
            wrapped = option(wrapped)
        return wrapped

    return decorate


class Choice(NamedTuple):
    """Dead-lettered messages that a verb works with. Other readers do not see them meanwhile (`choosing`)."""

    queue: DeadLetters
    depth: QueueDepth  # Numbers of messages on the queue
    unread: int  # Approximate number of visible messages for which the time was too short
    stop: Event  # The event that the first Ctrl-C sets
    jobs: list[HeldMessage]  # The messages whose jobs match the filter, the oldest share first
    unreadable: list[HeldMessage]  # Messages that are no jobs of the relay; none with a filter

    @property
    def unseen(self) -> str:
        """Text about messages not read in time, and messages that another reader holds; empty if there are none."""
        count, held = self.unread, self.depth.held
        late = f"about {count} messages were not read in {SCAN_SECONDS} seconds; replay or drop some, and try again"
        elsewhere = f"about {held} messages are held by another reader and cannot be read; try again in five minutes"
        return "; ".join([late] * bool(count) + [elsewhere] * bool(held))

    def say_unseen(self) -> None:
        if self.unseen:
            click.echo(self.unseen, err=True)

    def summary(self) -> dict[str, Any]:
        """Return the counts of the matching jobs (in all, by kind) and of messages not read, as a JSON object."""
        jobs = [held.job for held in self.jobs if held.job]
        return {
            "matched": len(jobs),
            "about": self.depth.about,
            "held": self.depth.held,
            "unread": self.unread,
            "unreadable": len(self.unreadable),
            "by_channel": Counter(job.channel for job in jobs),
            "by_kind": Counter(job.kind for job in jobs),
            "by_reason": Counter(job.stamps.reason for job in jobs),
            "by_status": Counter(job.stamps.status or NO_STATUS for job in jobs),
            "incidents": len({(job.channel, job.incident_id) for job in jobs}),
            "oldest": min((job.received_at for job in jobs), default=None),
            "newest": max((job.received_at for job in jobs), default=None),
        }


@contextmanager
def choosing(stack: Stack, wanted: Filter) -> Iterator[Choice]:
    """Hold the visible messages that match while the block runs. A Ctrl-C before the block raises KeyboardInterrupt."""
    clock = stack.effects.clock
    with terminal.stop_on_interrupt() as stop:
        client, url = stack.session.client("sqs"), stack.output("DeadLetterQueueUrl")
        queue, depth, found = DeadLetters(client, url, clock), QueueDepth.of(client, url), list[HeldMessage]()
        with queue.holding():
            with terminal.progress("reading the queue", f"of about {depth.about}", clock) as show:
                for held in takewhile(lambda _: not stop.is_set(), queue.scan()):
                    found.append(held)
                    show(len(found), "")
            terminal.end_if_interrupted()
            jobs = wanted.choose(found)
            unreadable = [held for held in found if held.job is None] if wanted.takes_all else []
            queue.let_go(set(found) - {*jobs, *unreadable})
            unread = max(1, depth.visible - len(found)) if queue.is_scan_cut else 0
            yield Choice(queue, depth, unread, stop, jobs, unreadable)


def nothing_matched(choice: Choice) -> NoReturn:
    """Exit with code 3 and a message. Raises ClickException if a message that was not read in time may match."""
    if choice.unread:
        raise click.ClickException(f"none of those that were read matched; {choice.unseen}")
    none = f"none of about {choice.depth.visible} messages matched" if choice.depth.visible else ""
    terminal.nothing("; ".join(filter(None, (none, choice.unseen))) or "the dead-letter queue is empty")

"""Reading of the dead-letter queue for the verbs of `relayctl dlq`: their filters, and texts about the result."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from threading import Event
from typing import Any, NamedTuple, NoReturn

import click

from relay.delivery.channel_health import age as duration
from relay.failures import BadRequest, Reason
from relay.incidents.share import parse_share
from relay.jobs.job import Job, seconds_of
from relay.jobs.queue import MAX_BATCH, UnreadableMessage, read_envelope
from relayctl import moments, terminal
from relayctl.dlq.queue import DeadLetters, HeldMessage, QueueDepth
from relayctl.stack.deployed import Stack
from relayctl.terminal import progress

# Stands for the status of a job without one, in filters and in lists.
NO_STATUS = "-"


@dataclass(frozen=True)
class Filter:
    """A choice of dead-lettered jobs: those that match all of its attributes; None in an attribute means any."""

    channel: str | None = None
    incident: str | None = None
    status: str | None = None  # Status of the incident in the share, in lower case; `-` for a job without a status
    reason: str | None = None  # Reason for which the job was dead-lettered
    since: float | None = None  # Earliest arrival of the share (epoch seconds)
    until: float | None = None  # Latest arrival of the share (epoch seconds)

    @property
    def takes_all(self) -> bool:
        """True if every job matches, so that messages that are no jobs are of interest, too."""
        return Filter() == self

    def _matches(self, job: Job) -> bool:
        wanted = (self.channel, self.incident, self.status, self.reason)
        found = (job.channel, job.incident_id, job.stamps.status or NO_STATUS, job.stamps.reason)
        if any(want is not None and want != have for want, have in zip(wanted, found, strict=True)):
            return False
        came = seconds_of(job.received_at)
        return (self.since is None or came >= self.since) and (self.until is None or came <= self.until)

    def choose(self, found: list[HeldMessage]) -> list[HeldMessage]:
        """Return the messages whose jobs match, the oldest share first, as a replay takes them."""
        matching = [(seconds_of(held.job.received_at), held) for held in found if held.job and self._matches(held.job)]
        return [held for _, held in sorted(matching, key=lambda pair: pair[0])]

    def document(self) -> dict[str, Any]:
        """Return the filters that the operator gave as a JSON object; times are ISO 8601 in UTC."""
        times = {"since": moments.iso_or_none(self.since), "until": moments.iso_or_none(self.until)}
        return {name: value for name, value in (vars(self) | times).items() if value is not None}


def filtered(reason_option: str = "--reason") -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the filter options to a verb, which gets the filter as `wanted`."""
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
    """Messages that a verb works with, while other readers do not see them."""

    queue: DeadLetters
    depth: QueueDepth  # Numbers of messages on the queue
    stop: Event  # The event that the first Ctrl-C sets
    jobs: list[HeldMessage]  # The messages whose jobs match the filter, the oldest share first
    unreadable: list[HeldMessage]  # Messages that are no jobs of the relay; none with a filter


@contextmanager
def choosing(stack: Stack, wanted: Filter) -> Iterator[Choice]:
    """Hold all visible messages that match while the block runs. Raises KeyboardInterrupt on a Ctrl-C before it."""
    clock = stack.effects.clock
    with terminal.stop_on_interrupt() as stop:
        client, url = stack.session.client("sqs"), stack.output("DeadLetterQueueUrl")
        queue, depth, found = DeadLetters(client, url, clock), QueueDepth.of(client, url), list[HeldMessage]()
        with queue.holding():
            with progress("reading the queue", f"of about {depth.about}", clock) as show:
                for held in queue.scan(2 * depth.about + MAX_BATCH):
                    found.append(held)
                    show(len(found), "")
                    if stop.is_set():
                        break
            if stop.is_set():
                raise KeyboardInterrupt
            jobs = wanted.choose(found)
            unreadable = [held for held in found if held.job is None] if wanted.takes_all else []
            queue.let_go(set(found) - {*jobs, *unreadable})
            yield Choice(queue, depth, stop, jobs, unreadable)


def nothing_matched(depth: QueueDepth) -> NoReturn:
    unseen = [f"none of about {depth.visible} messages matched"] if depth.visible else []
    unseen += [held_elsewhere(depth.held)] if depth.held else []
    terminal.nothing("; ".join(unseen) or "the dead-letter queue is empty")


def say_held(depth: QueueDepth) -> None:
    if depth.held:
        click.echo(held_elsewhere(depth.held), err=True)


def held_elsewhere(count: int) -> str:
    return f"about {count} messages are held by another reader and cannot be read; try again in five minutes"


def title(envelope: str) -> str:
    """Return the title of the incident in a signal's job, from the job as message text; empty if there is none."""
    try:
        return parse_share(read_envelope(envelope).body).title
    except (BadRequest, UnreadableMessage):
        return ""


def summary(jobs: Sequence[Job], depth: QueueDepth) -> dict[str, Any]:
    """Return the counts of the matching jobs by channel, kind, reason and status, as a JSON object."""
    return {
        "matched": len(jobs),
        "about": depth.about,
        "held": depth.held,
        "by_channel": dict(Counter(job.channel for job in jobs)),
        "by_kind": dict(Counter(job.kind for job in jobs)),
        "by_reason": dict(Counter(job.stamps.reason for job in jobs)),
        "by_status": dict(Counter(job.stamps.status or NO_STATUS for job in jobs)),
        "incidents": len({(job.channel, job.incident_id) for job in jobs}),
        "oldest": min((job.received_at for job in jobs), default=None),
        "newest": max((job.received_at for job in jobs), default=None),
    }


def age(received_at: str, now: float) -> str:
    return duration(now - seconds_of(received_at))

"""relayctl dlq export and import: dead-lettered jobs as a file of JSON Lines, one message a line.

A line has the message's envelope as it was on the queue; its body may hold texts of an incident.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import IO

import click

from relay.failures import QueueError
from relay.foreign_text import printable
from relay.jobs.job import Job
from relay.jobs.queue import Message, Queue, UnreadableMessage, attributes_of, check_message, envelope_of, read_envelope
from relayctl import audit, terminal
from relayctl.dlq.queue import Choice, Filter, batches, choosing, filtered, nothing_matched
from relayctl.stack.deployed import Stack, on_stack

STDOUT = "-"


def line_of(message_id: str, job: Job, envelope: str) -> str:
    """Return a message as a line of an export: a JSON object of its id, attributes and envelope."""
    members = {"message_id": message_id, "attributes": attributes_of(job), "envelope": envelope}
    return json.dumps(members, separators=(",", ":")) + "\n"


def refuse_existing(place: str) -> None:
    """Raise UsageError if there is a file at `place`, the path for a new one. `-`, for stdout, is always accepted."""
    if place != STDOUT and os.path.lexists(place):
        raise click.UsageError(f"{place} exists, and is not replaced")


def write_jobs(stack: Stack, place: str, wanted: Filter) -> Choice:
    """Write the jobs that match `wanted` to a new file, or to stdout (`-`), oldest first. Return them, no longer held.

    Without such jobs no file is made. Raises ClickException if the file cannot be written.
    """
    with choosing(stack, wanted) as choice:
        lines = [line_of(held.message_id, held.job, held.envelope) for held in choice.jobs if held.job]
    if lines:
        try:
            with nullcontext(sys.stdout) if place == STDOUT else terminal.private_file(Path(place)) as file:
                file.writelines(lines)
        except OSError as error:
            raise click.ClickException(f"{place}: cannot write: {error.strerror or 'failed'}") from error
    return choice


@click.command()
@click.argument("place", metavar="FILE")
@filtered()
@on_stack
def export(stack: Stack, place: str, wanted: Filter, as_json: bool) -> None:
    """Write dead-lettered jobs to a new FILE, or to stdout (-), oldest first. The queue keeps them.

    The file is JSON Lines: one message a line, with its envelope and its attributes, for relayctl dlq import. The
    bodies may hold texts of incidents, so only you may read the file (mode 0600). It has no credential of
    the relay.

    Messages that are no jobs of the relay are not exported; without a filter, they make the exit code 1, as do messages
    that could not be read in time. What another reader holds is not exported either, and is counted on stderr.

    \b
    Example:
      relayctl dlq export dead.jsonl
      relayctl dlq export - --channel payments --older-than 7d > dead.jsonl
    """
    if place == STDOUT and as_json:
        raise click.UsageError("--json prints a document of its own on stdout; give a FILE")
    refuse_existing(place)
    done = write_jobs(stack, place, wanted)
    if as_json:
        counts = {"exported": len(done.jobs), "unreadable": len(done.unreadable)}
        counts |= {"about": done.depth.about, "held": done.depth.held, "unread": done.unread}
        terminal.document({"file": place if done.jobs else None, **counts})
    if not done.jobs and not done.unreadable:
        nothing_matched(done)
    if done.jobs:
        where = f" to {place}; only you may read it" if place != STDOUT else ""
        terminal.say(f"{len(done.jobs)} exported{where}. The bodies may hold texts of incidents.")
    done.say_unseen()
    if done.unreadable:
        terminal.say(f"{len(done.unreadable)} not exported: no jobs of the relay; relayctl dlq list shows them")
    terminal.fail_if(done.unreadable or done.unread)


# Characters of the problem of an invalid line.
MAX_PROBLEM = 200


def read_line(text: bytes, now: float) -> Message:
    """Return the message of an export's line. Raises UnreadableMessage, or QueueError if SQS would refuse the message.

    It counts as dead-lettered `now` (epoch seconds): by its old time, the worker could take it for an older copy.
    """
    try:
        envelope = json.loads(text)["envelope"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UnreadableMessage("it is no line of an export; the file may be cut off") from error
    job = read_envelope(envelope)
    message = Message(envelope, attributes_of(job))
    check_message(message.envelope, message.attributes)
    # This computer's clock may be behind.
    return message._replace(envelope=envelope_of(job.dead_lettered(max(now, job.dead_lettered_seconds or 0.0))))


def send(queue: Queue, messages: Sequence[Message], stopping: Callable[[], bool]) -> Iterator[tuple[int, str | None]]:
    """Send messages in batches until `stopping` returns True or the queue refuses a message.

    Yield after each batch: how many messages in all are known to be on the queue, and the error that ends the import,
    or None. Messages of a batch that failed may be there all the same: to send them again does no harm.
    """
    sent = 0
    for batch in batches(messages, lambda message: message.size):
        if stopping():
            return
        problem = next(filter(None, queue.send_batch(batch)), None)
        sent += 0 if problem else len(batch)
        yield sent, problem
        if problem:
            return


@click.command("import")
@click.argument("file", metavar="FILE", type=click.File("rb"))
@on_stack
def import_(stack: Stack, file: IO[bytes], as_json: bool) -> None:
    """Put the jobs of an exported FILE back on the dead-letter queue. Nothing is replayed.

    All lines are checked before the first job is sent. A file may be imported twice: each job is then on the queue
    twice, and a replay rings once for it. So after a failure or Ctrl-C, import the file again.

    \b
    Example:
      relayctl dlq import dead.jsonl
    """
    messages = list[Message]()
    for number, text in enumerate(file.read().splitlines(), start=1):
        try:
            messages.append(read_line(text, stack.effects.clock()))
        except (UnreadableMessage, QueueError) as error:
            raise click.UsageError(f"nothing was sent: line {number}: {printable(str(error), MAX_PROBLEM)}") from error
    if not messages:
        terminal.nothing("nothing to import: the file has no line")
    queue = Queue(stack.session.client("sqs"), stack.output("DeadLetterQueueUrl"))
    changed = audit.begin(stack, "dlq import", file=Path(file.name).name)
    lines, sent = len(messages), 0
    problem: str | None = None
    with terminal.stop_on_interrupt() as stop:
        try:
            with terminal.progress("importing", f"of {lines}", stack.effects.clock) as show:
                for sent, problem in send(queue, messages, stop.is_set):  # noqa: B007 - both are reported
                    show(sent, "")
        finally:
            counts = {"lines": lines, "sent": sent}
            changed |= {"counts": {**counts, "left": lines - sent}}
            if as_json:
                terminal.document({"file": file.name, **counts, "problem": problem, "audit": changed})
            else:
                audit.say(changed)
                if problem:
                    terminal.say(problem)
                again = "; import the file again" if sent < lines else ""
                terminal.show_line(f"{sent} of {lines} lines are in the dead-letter queue{again}")
    terminal.fail_if(sent < lines)

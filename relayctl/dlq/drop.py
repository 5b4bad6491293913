"""relayctl dlq drop: delete dead-lettered messages for good."""

import json
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import click

from relay.failures.reasons import Reason
from relay.foreign_text import identifier, printable, quoted
from relay.incidents.json_fields import MAX_ID_LENGTH
from relay.ledger.ledger import Ledger
from relayctl import audit, terminal
from relayctl.audit import Audit
from relayctl.dlq import deletion, listing
from relayctl.dlq.deletion import CriticalJob, Drop
from relayctl.dlq.mover import PARALLEL_BATCHES, Filter
from relayctl.dlq.queue import DeadLetters, Depth, HeldMessage
from relayctl.dlq.reading import (
    dead_letters,
    described,
    filtered,
    matching,
    nothing_matched,
    say_held,
    scan,
    show_summary,
)
from relayctl.progress import progress
from relayctl.stack.deployed import Stack, on_stack

# Criticals and failures that are printed one by one; --json has all.
MAX_LINES = 20
# Criticals that the question names.
MAX_NAMES = 10
MAX_TITLE = 62
REASON_OF_JOBS = "--failure-reason"


def _reason(_: click.Context, __: click.Parameter, value: str) -> str:
    """Check and return the text of --reason, in which the operator says why the jobs are dropped.

    Raises BadParameter for a text that is empty, too long or not printable. It is also raised for the name of a failure
    reason such as `upstream`: in the other verbs, --reason is a filter, so the operator probably means one.
    """
    text = audit.reason(value, "why the jobs are dropped")
    if text in set(Reason):
        # The other verbs filter by --reason.
        raise click.BadParameter(f"say why you drop the jobs; to drop the jobs with reason {text}: {REASON_OF_JOBS}")
    return text


@dataclass(frozen=True)
class _Choice:
    """The messages to drop, and the facts about them that the operator sees before the deletion.

    Attributes:
        held_messages: The messages, oldest first; those that are no jobs of the relay come last.
        depth: Numbers of messages on the queue.
        criticals: The jobs among them that announce open critical incidents.
        problem: Error of the ledger; None if it could be read.
    """

    held_messages: Sequence[HeldMessage]
    depth: Depth
    criticals: Sequence[CriticalJob]
    problem: str | None

    @property
    def owed(self) -> list[CriticalJob]:
        return [each for each in self.criticals if each.may_be_owed]

    def summary(self) -> dict[str, Any]:
        jobs = [held.job for held in self.held_messages if held.job]
        return {
            **listing.summary(jobs, self.depth),
            "matched": len(self.held_messages),
            "unreadable": len(self.held_messages) - len(jobs),
            "criticals": [each.document() for each in self.criticals],
        }


@click.command()
@click.option(
    "--reason", required=True, callback=_reason, metavar="TEXT", help="Why the jobs are dropped, for the audit line."
)
@filtered(REASON_OF_JOBS)
@click.option("--all", "is_all", is_flag=True, help="Drop all messages, also those that are no jobs of the relay.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@on_stack
def drop(stack: Stack, reason: str, wanted: Filter, limit: int | None, is_all: bool, yes: bool, as_json: bool) -> None:
    """Delete dead-lettered messages for good, after showing what would go.

    A dropped job cannot be replayed: export it before. Its state rings no more, and no longer makes its channel sick.
    Without --yes, relayctl asks before it deletes, and names the criticals that are still owed.

    At least one filter is needed, or --all. A job has to match all filters. A drop prints an audit line on stderr: one
    line of JSON. Ctrl-C stops after the current batch.

    Exit codes: 0 all dropped, 1 some not dropped, 2 usage, 3 nothing matched, 130 interrupted.

    \b
    Example:
      relayctl dlq drop --channel old --older-than 7d --reason "moved to team B"
      relayctl dlq drop --failure-reason refused --reason "INC-7: bad URL" --yes
    """
    if is_all == (wanted != Filter()):
        raise click.UsageError("give at least one filter, such as --channel, or --all without a filter")
    if not yes and (as_json or not sys.stdin.isatty()):
        raise click.UsageError("not a terminal, or --json: give --yes to drop without being asked")
    asked = {"filters": described(wanted, limit) | ({"all": True} if is_all else {}), "reason": reason}
    with ThreadPoolExecutor(PARALLEL_BATCHES) as pool:
        queue = dead_letters(stack, pool.map)
        dropping = _Dropping(stack, queue, queue.depth(), pool, asked)
        with _finally_reported(dropping, as_json=as_json), terminal.stop_on_interrupt() as stop, queue.holding():
            choice = dropping.choose(wanted, limit, stop)
            if choice.held_messages and not as_json:
                _show(choice)
            if choice.held_messages and yes:
                dropping.delete(choice.held_messages, stop)
        if choice.held_messages and not yes:
            # The messages are not held during the question: the operator may take longer than the visibility timeout.
            _ask(choice)
            with _finally_reported(dropping, as_json=as_json), terminal.stop_on_interrupt() as stop, queue.holding():
                dropping.delete(dropping.find_again(choice, stop), stop)
    if not choice.held_messages:
        nothing_matched(choice.depth)
    dropping.exit(is_interrupted=stop.is_set())


@dataclass
class _Dropping:
    """One run of `relayctl dlq drop`.

    Attributes:
        stack: The stack.
        queue: The dead-letter queue.
        depth: Numbers of messages on the queue.
        pool: Threads for parallel batches.
        asked: Filters and reason for the audit.
        choice: The messages to drop; None until they were read.
        doing: Progress of the deletion.
        changed: The audit; None until the deletion began.
    """

    stack: Stack
    queue: DeadLetters
    depth: Depth
    pool: ThreadPoolExecutor
    asked: dict[str, Any]
    choice: _Choice | None = None
    doing: Drop = field(default_factory=Drop)
    changed: Audit | None = None

    def choose(self, wanted: Filter, limit: int | None, stop: threading.Event) -> _Choice:
        """Read the dead-letter queue, and return the messages to drop with facts about them.

        These messages stay invisible to other readers. All other messages become visible again.
        """
        found = scan(self.queue, self.depth, stop, self.stack.effects.clock)
        unreadable = [held for held in found if held.job is None] if wanted == Filter() else []
        held_messages = [*matching(found, wanted, limit), *unreadable][:limit]
        self.queue.let_go(set(found) - set(held_messages))
        found_criticals = deletion.criticals(self.queue, held_messages, Ledger(self.stack.table()))
        self.choice = _Choice(held_messages, self.depth, *found_criticals)
        return self.choice

    def find_again(self, choice: _Choice, stop: threading.Event) -> list[HeldMessage]:
        """Read the dead-letter queue again after the operator agreed, and return the messages to drop.

        They are the messages that the operator was shown and that are still on the queue. All other messages become
        visible to other readers again.
        """
        shown = {held.message_id: place for place, held in enumerate(choice.held_messages)}
        found = scan(self.queue, self.depth, stop, self.stack.effects.clock)
        held_messages = [held for held in found if held.message_id in shown]
        self.queue.let_go(set(found) - set(held_messages))
        self.doing.gone = len(shown) - len(held_messages)
        return sorted(held_messages, key=lambda held: shown[held.message_id])

    def delete(self, held_messages: Sequence[HeldMessage], stop: threading.Event) -> None:
        """Delete messages that relayctl keeps invisible to other readers, and begin the audit."""
        self.doing.chosen = held_messages
        self.changed = Audit.begin(self.stack, "dlq drop", **self.asked)
        with progress("dropping", len(held_messages), self.stack.effects.clock) as show:
            for _ in self.doing.delete(self.queue, self.pool.map, stop.is_set):
                show(self.doing.dropped, f"{len(self.doing.problems)} not dropped" if self.doing.problems else "")
        if problem := self.doing.record(Ledger(self.stack.table()), self.pool.map):
            terminal.say(
                f"the ledger could not be written, so channels may count as sick for what was dropped: {problem}"
            )

    def audit(self) -> dict[str, Any] | None:
        """Return the audit record with the counts, as a JSON object; None if the deletion did not begin."""
        if self.changed is None or self.choice is None:
            return None
        counts = {"matched": len(self.choice.held_messages), **self.doing.counts()}
        counts |= {"criticals": len(self.choice.criticals), "criticals_maybe_owed": len(self.choice.owed)}
        return self.changed.document(counts)

    def exit(self, *, is_interrupted: bool) -> None:
        """Exit with a code other than 0 if not all was dropped."""
        if is_interrupted and self.doing.left:
            click.get_current_context().exit(terminal.INTERRUPTED)
        if self.doing.problems or self.doing.gone or self.doing.left:
            click.get_current_context().exit(1)


@contextmanager
def _finally_reported(dropping: _Dropping, *, as_json: bool) -> Iterator[None]:
    """Print the result and the audit line at the end of the block, also after an error or a second Ctrl-C."""
    try:
        yield
    finally:
        document = dropping.audit()
        if as_json and dropping.choice:
            _print_json(dropping, dropping.choice, document)
        elif document:
            _print_text(dropping.doing)
            audit.say(document)


def _print_json(dropping: _Dropping, choice: _Choice, document: dict[str, Any] | None) -> None:
    problems = [{"message_id": held.message_id, "problem": problem} for held, problem in dropping.doing.problems]
    counts = dropping.doing.counts()
    click.echo(json.dumps({**choice.summary(), **counts, "problems": problems, "audit": document}))


def _print_text(doing: Drop) -> None:
    for held, problem in doing.problems[:MAX_LINES]:
        terminal.show_line(f"{held.message_id[:8]}  {printable(problem)}", indent=2)
    if len(doing.problems) > MAX_LINES:
        click.echo(f"and {len(doing.problems) - MAX_LINES} more like these; --json lists all")
    words = {"failed": "not dropped", "gone": "gone meanwhile", "left": "left"}
    more = "".join(f", {doing.counts()[name]} {word}" for name, word in words.items() if doing.counts()[name])
    click.echo(f"{doing.dropped} dropped{more}")


def _show(choice: _Choice) -> None:
    """Print the counts of the messages that would be deleted, and each job of an open critical incident among them."""
    sums = choice.summary()
    show_summary(sums)
    if sums["unreadable"]:
        click.echo(f"  unreadable  {sums['unreadable']}: no jobs of the relay")
    now = datetime.now(UTC)
    for each in choice.criticals[:MAX_LINES]:
        owed = {True: "still owed", False: "no longer owed", None: "maybe still owed"}[each.is_owed]
        line = f"  critical    {_name(each)}  {listing.age(each.job, now)}  {owed}"
        terminal.show_line(line, indent=listing.SUMMARY_INDENT)
    if len(choice.criticals) > MAX_LINES:
        click.echo(f"  and {len(choice.criticals) - MAX_LINES} more criticals; dlq list --status critical has all")
    if choice.problem:
        terminal.say(f"which criticals are still owed is not known, the ledger cannot be read: {choice.problem}")
    say_held(choice.depth)


def _ask(choice: _Choice) -> None:
    """Ask the operator to confirm the deletion. Raises Abort if the answer is not yes."""
    if choice.owed:
        names = "; ".join(map(_name, choice.owed[:MAX_NAMES]))
        more = f" and {len(choice.owed) - MAX_NAMES} more" if len(choice.owed) > MAX_NAMES else ""
        owed = "may still be owed" if choice.problem else "are still owed"
        terminal.say(f"criticals that {owed}, and that no replay can bring back then: {names}{more}")
    count = len(choice.held_messages)
    click.confirm(f"Delete {count} message{'s' if count > 1 else ''} for good?", abort=True, err=True)


def _name(critical: CriticalJob) -> str:
    title = f" {quoted(critical.title, MAX_TITLE)}" if critical.title else ""
    return f"{printable(critical.job.channel)} {identifier(critical.job.incident_id, MAX_ID_LENGTH)}{title}"

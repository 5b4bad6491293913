"""relayctl dlq drop: delete dead-lettered messages for good."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import click

from relay.delivery.task import entry_key_of
from relay.failures import LedgerError, Reason
from relay.foreign_text import identifier, printable, quoted
from relay.incidents.share import MAX_ID_LENGTH, State
from relay.jobs.job import Job, JobKind
from relay.ledger.entry import Entry
from relay.ledger.table import Ledger
from relayctl import audit, terminal
from relayctl.dlq import reading
from relayctl.dlq.mover import Became, fate, state_of
from relayctl.dlq.queue import PARALLEL_BATCHES, DeadLetters, HeldMessage, QueueDepth, Run
from relayctl.dlq.reading import Choice, Filter, choosing, filtered, nothing_matched, say_held
from relayctl.failed_calls import tried
from relayctl.stack.deployed import Stack, on_stack
from relayctl.terminal import counted, progress

MAX_TITLE = 62
REASON_OF_JOBS = "--failure-reason"
_NOT_HELD = "not deleted: another reader may have it now; start the command again"


# A job that announces a critical that is owed, as a JSON object.
type Critical = Mapping[str, Any]


def criticals(held_messages: Sequence[HeldMessage], ledger: Ledger) -> tuple[list[Critical], str | None]:
    """Return the jobs that announce open criticals, unless the ledger says that they are not owed; and its error.

    Without an entry in the ledger a state is owed: a replay would announce it.
    """
    signals = ((held.job, state_of(held.job, held.envelope), held.envelope) for held in held_messages if held.job)
    some = [(job, state, text) for job, state, text in signals if state and state.is_critical]
    entries, problem = tried(lambda: ledger.read_many({entry_key_of(job) for job, _, _ in some}))
    over, found = {Became.DELIVERED, Became.NOT_OWED}, list[Critical]()
    for job, state, text in some:
        entry = (entries or {}).get(entry_key_of(job))
        if not entry or fate(job, state, entry).became not in over:
            members = {"channel": job.channel, "incident_id": job.incident_id, "title": reading.title(text) or None}
            found.append(members | {"delivery_id": job.delivery_id, "received_at": job.received_at})
    return found, problem


@dataclass
class Drop:
    """Progress of a deletion."""

    chosen: Sequence[HeldMessage] = ()  # The messages to delete, oldest first, then those that are no jobs
    criticals: Sequence[Critical] = ()  # The jobs among them that announce criticals that are owed, or may be
    problem: str | None = None  # Error of the ledger: which criticals are owed is not known
    deleted: list[HeldMessage] = field(default_factory=list)  # The deleted messages
    problems: list[tuple[HeldMessage, str]] = field(default_factory=list)  # Those that could not be deleted
    changed: dict[str, Any] | None = None  # The audit's begin; None if nothing was tried
    gone: int = 0  # Number of messages that the operator was shown, and that left the queue before the operator agreed

    def counts(self) -> dict[str, int]:
        """Return the number of messages by outcome; `left` are those that relayctl has not tried to delete."""
        dropped, failed = len(self.deleted), len(self.problems)
        return {"dropped": dropped, "failed": failed, "gone": self.gone, "left": len(self.chosen) - dropped - failed}

    def delete(self, queue: DeadLetters, stopping: Callable[[], bool]) -> Iterator[None]:
        """Delete the chosen messages until `stopping` returns True; yield after each message."""
        for held, problem in queue.work_off(self.chosen, queue.delete_batch, stopping):
            if problem == "":
                self.deleted.append(held)
            else:
                self.problems.append((held, problem or _NOT_HELD))
            yield

    def record(self, ledger: Ledger, map_jobs: Run, now: float) -> str | None:
        """Record in the ledger that nothing is owed of the dropped states; return its error if it failed."""

        def record(dropped: tuple[Job, str]) -> str | None:
            job, text = dropped
            try:
                ledger.change(entry_key_of(job), lambda entry: _without(entry, job, state_of(job, text), now))
            except LedgerError as error:
                return str(error)
            return None

        jobs = [(each.job, each.envelope) for each in self.deleted if each.job and each.job.kind == JobKind.SIGNAL]
        return next(filter(None, list(map_jobs(record, jobs))), None)


def _without(entry: Entry, job: Job, state: State | None, now: float) -> Entry:
    """Return the entry after the message of a job was dropped: its state is not owed any more.

    SQS moves a message of which workers died without a mark, and the ledger does not know of that.
    """
    at = job.dead_lettered_seconds
    if at is None and state and entry.debt.since is not None and state.is_of_same_share(entry.newest):
        at, entry = now, entry.dead_lettering(state, now, entry.debt.reason, plan=job.plan)
    return entry.dropped(at or 0.0)


def _reason(_: click.Context, __: click.Parameter, value: str) -> str:
    """Return the text of --reason. The name of a failure reason is refused: in the other verbs, --reason filters."""
    text = audit.reason(value, "why the jobs are dropped")
    if text in set(Reason):
        raise click.BadParameter(f"say why you drop the jobs; to drop the jobs with reason {text}: {REASON_OF_JOBS}")
    return text


@click.command()
@click.option(
    "--reason", required=True, callback=_reason, metavar="TEXT", help="Why the jobs are dropped, for the audit line."
)
@filtered(REASON_OF_JOBS)
@click.option("--all", "is_all", is_flag=True, help="Drop all messages, also those that are no jobs of the relay.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@on_stack
def drop(stack: Stack, reason: str, wanted: Filter, is_all: bool, yes: bool, as_json: bool) -> None:
    """Delete dead-lettered messages for good, after showing what would go.

    A dropped job cannot be replayed: export it before. Its state rings no more, and no longer makes its channel sick.
    Without --yes, relayctl asks before it deletes, and names the criticals that are still owed.

    At least one filter is needed, or --all.

    \b
    Example:
      relayctl dlq drop --channel old --older-than 7d --reason "moved to team B"
      relayctl dlq drop --failure-reason refused --reason "INC-7: bad URL" --yes
    """
    if is_all != wanted.takes_all:
        raise click.UsageError("give at least one filter, such as --channel, or --all without a filter")
    terminal.refuse_unasked("drop", yes=yes, as_json=as_json)
    asked = {"filters": wanted.document() | ({"all": True} if is_all else {}), "reason": reason}
    doing, sums = Drop(), dict[str, Any]()
    try:
        with choosing(stack, wanted) as choice:
            doing.chosen = [*choice.jobs, *choice.unreadable]
            doing.criticals, doing.problem = criticals(doing.chosen, Ledger(stack.table()))
            sums = _summary(doing, choice.depth)
            if doing.chosen and not as_json:
                _show(doing, sums, stack.effects.clock())
                say_held(choice.depth)
            if yes and doing.chosen:
                _delete(stack, doing, choice, asked)
        if doing.chosen and not yes:
            # The messages are not held during the question: the operator may take longer than the visibility timeout.
            owed = "may still be owed" if doing.problem else "are still owed"
            lost = f", with {counted(len(doing.criticals), 'critical')} that {owed}" if doing.criticals else ""
            terminal.confirm(f"Delete {counted(len(doing.chosen), 'message')} for good{lost}?")
            with choosing(stack, wanted) as choice:
                _delete(stack, doing, choice, asked)
    finally:
        if doing.changed or (as_json and sums):
            _report(doing, sums, as_json=as_json)
    if not sums["matched"]:
        nothing_matched(choice.depth)
    counts = doing.counts()
    is_stopped = choice.stop.is_set() and counts["left"]
    terminal.fail_if(counts["failed"] or counts["gone"] or counts["left"], is_stopped=is_stopped)


def _delete(stack: Stack, doing: Drop, choice: Choice, asked: Mapping[str, Any]) -> None:
    doing.changed = audit.begin(stack, "dlq drop", **asked)
    again = {held.message_id: held for held in (*choice.jobs, *choice.unreadable)}
    found = [again[each.message_id] for each in doing.chosen if each.message_id in again]
    doing.gone, doing.chosen = len(doing.chosen) - len(found), found
    with progress("dropping", f"of {len(found)}", stack.effects.clock) as show:
        for _ in doing.delete(choice.queue, choice.stop.is_set):
            failed = len(doing.problems)
            show(len(doing.deleted), f"{failed} not dropped" if failed else "")
    with ThreadPoolExecutor(PARALLEL_BATCHES) as pool:
        problem = doing.record(Ledger(stack.table()), pool.map, stack.effects.clock())
    if problem:
        terminal.say(f"the ledger could not be written, so channels may count as sick for what was dropped: {problem}")


def _summary(doing: Drop, depth: QueueDepth) -> dict[str, Any]:
    jobs = [held.job for held in doing.chosen if held.job]
    return {
        **reading.summary(jobs, depth),
        "matched": len(doing.chosen),
        "unreadable": len(doing.chosen) - len(jobs),
        "criticals": list(doing.criticals),
    }


def _show(doing: Drop, sums: dict[str, Any], now: float) -> None:
    reading.show_summary(sums)
    if sums["unreadable"]:
        click.echo(f"  unreadable  {sums['unreadable']}: no jobs of the relay")
    for each in doing.criticals[: reading.MAX_LINES]:
        name = printable(f"{each['channel']} {identifier(each['incident_id'], MAX_ID_LENGTH)}")
        title = f" {quoted(each['title'], MAX_TITLE)}" if each["title"] else ""
        line = f"  critical    {name}{title}  {reading.age(each['received_at'], now)}"
        terminal.show_line(line, indent=reading.SUMMARY_INDENT)
    if (more := len(doing.criticals) - reading.MAX_LINES) > 0:
        click.echo(f"  and {more} more criticals; --json has all")
    if doing.problem:
        terminal.say(f"which criticals are still owed is not known, the ledger cannot be read: {doing.problem}")


def _report(doing: Drop, sums: dict[str, Any], *, as_json: bool) -> None:
    counts, document = doing.counts(), None
    if doing.changed:
        found = {"matched": sums["matched"], **counts, "criticals_owed": len(doing.criticals)}
        document = doing.changed | {"counts": found}
    if as_json:
        problems = [{"message_id": held.message_id, "problem": why} for held, why in doing.problems]
        terminal.document({**sums, **counts, "problems": problems, "audit": document})
        return
    reading.show_some([f"{held.message_id[:8]}  {printable(why)}" for held, why in doing.problems])
    words = {"failed": "not dropped", "gone": "gone meanwhile", "left": "left"}
    more = "".join(f", {counts[name]} {word}" for name, word in words.items() if counts[name])
    click.echo(f"{counts['dropped']} dropped{more}")
    audit.say(document or {})

"""relayctl dlq drop: delete dead-lettered messages for good."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from relay.delivery.task import entry_key_of
from relay.failures import LedgerError, Reason
from relay.incidents.share import State
from relay.jobs.job import Job, JobKind
from relay.ledger.entry import Entry
from relay.ledger.table import Ledger
from relayctl import audit, terminal
from relayctl.dlq.mover import Became, fate
from relayctl.dlq.queue import Choice, DeadLetters, Filter, HeldMessage, choosing, filtered, nothing_matched, say_held
from relayctl.failed_calls import tried
from relayctl.stack.deployed import Stack, on_stack
from relayctl.terminal import counted, progress

REASON_OF_JOBS = "--failure-reason"
_NOT_HELD = "not deleted: another reader may have it now; start the command again"


# A job that announces a critical that is owed, as a JSON object.
type Critical = Mapping[str, Any]


def criticals(held_messages: Sequence[HeldMessage], ledger: Ledger) -> tuple[list[Critical], str | None]:
    """Return the jobs that announce open criticals, unless the ledger says that they are not owed; and its error.

    Without an entry in the ledger a state is owed: a replay would announce it.
    """
    some = [
        (held, held.job, state) for held in held_messages if held.job and (state := held.state) and state.is_critical
    ]
    entries, problem = tried(lambda: ledger.read_many({entry_key_of(job) for _, job, _ in some}))
    over, found = {Became.DELIVERED, Became.NOT_OWED}, list[Critical]()
    for held, job, state in some:
        entry = (entries or {}).get(entry_key_of(job))
        if not entry or fate(job, state, entry).became not in over:
            members = {"channel": job.channel, "incident_id": job.incident_id, "title": held.title or None}
            found.append(members | {"delivery_id": job.delivery_id, "received_at": job.received_at})
    return found, problem


@dataclass
class Drop:
    """Deletion of messages, and what it made of each."""

    chosen: Sequence[HeldMessage]  # The messages to delete, oldest first, then those that are no jobs
    deleted: list[HeldMessage] = field(default_factory=list)  # The deleted messages
    problems: list[tuple[HeldMessage, str]] = field(default_factory=list)  # Those that could not be deleted
    unrecorded: str = ""  # Error of the ledger, after which no more is recorded there

    def counts(self) -> dict[str, int]:
        """Return the number of messages by outcome; `left` are those that relayctl has not tried to delete."""
        dropped, failed = len(self.deleted), len(self.problems)
        return {"dropped": dropped, "failed": failed, "left": len(self.chosen) - dropped - failed}

    def delete(self, queue: DeadLetters, ledger: Ledger, now: float, stopping: Callable[[], bool]) -> Iterator[None]:
        """Delete the chosen messages until `stopping` returns True; yield after each message.

        The ledger records that nothing is owed of their states.
        """
        for held, problem in queue.work_off(self.chosen, queue.delete_batch, stopping):
            if problem == "":
                self.deleted.append(held)
                if held.job and held.job.kind == JobKind.SIGNAL and not self.unrecorded:
                    self._record(ledger, held.job, held.state, now)
            else:
                self.problems.append((held, problem or _NOT_HELD))
            yield

    def _record(self, ledger: Ledger, job: Job, state: State | None, now: float) -> None:
        try:
            ledger.change(entry_key_of(job), lambda entry: _without(entry, job, state, now))
        except LedgerError as error:
            self.unrecorded = str(error)


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
    asked = {"filters": wanted.document() | ({"all": True} if is_all else {}), "reason": reason}
    with choosing(stack, wanted) as choice:
        doing = Drop([*choice.jobs, *choice.unreadable])
        owed, problem = criticals(doing.chosen, Ledger(stack.table()))
        sums = {
            **choice.summary(),
            "matched": len(doing.chosen),
            "unreadable": len(choice.unreadable),
            "criticals": owed,
        }
        if doing.chosen and not as_json:
            terminal.counts(sums)
            say_held(choice.depth)
        if problem:
            terminal.say(f"which criticals are still owed is not known, the ledger cannot be read: {problem}")
        changed = None
        if doing.chosen:
            # If the operator takes longer than the messages are held, those that another reader may have are kept.
            sure = "may still be owed" if problem else "are still owed"
            lost = f", with {counted(len(owed), 'critical')} that {sure}" if owed else ""
            terminal.confirm(
                f"Delete {counted(len(doing.chosen), 'message')} for good{lost}?", yes=yes, as_json=as_json
            )
            changed = audit.begin(stack, "dlq drop", **asked)
        try:
            _delete(stack, doing, choice)
        finally:
            counts = {"matched": sums["matched"], **doing.counts(), "criticals_owed": len(owed)}
            _report(doing, sums, changed and changed | {"counts": counts}, as_json=as_json)
    if not doing.chosen:
        nothing_matched(choice.depth)
    terminal.fail_if(counts["failed"] or counts["left"], is_stopped=choice.stop.is_set() and counts["left"])


def _delete(stack: Stack, doing: Drop, choice: Choice) -> None:
    with progress("dropping", f"of {len(doing.chosen)}", stack.effects.clock) as show:
        for _ in doing.delete(choice.queue, Ledger(stack.table()), stack.effects.clock(), choice.stop.is_set):
            show(len(doing.deleted), "")
    if why := doing.unrecorded:
        terminal.say(f"the ledger could not be written, so channels may count as sick for what was dropped: {why}")


def _report(doing: Drop, sums: dict[str, Any], changed: dict[str, Any] | None, *, as_json: bool) -> None:
    problems = [{"message_id": held.message_id, "problem": why} for held, why in doing.problems]
    found = {**doing.counts(), "problems": problems}
    if as_json:
        terminal.document({**sums, **found, "audit": changed})
    elif changed:
        terminal.counts(found)
        audit.say(changed)

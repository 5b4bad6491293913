"""relayctl dlq replay and drop: move dead-lettered jobs to the retry queue and follow them, or delete them for good.

A moved message is on the retry queue before it is deleted, so after a crash both queues may have it: the ledger lets
only one copy page, and the worker decides if it is still needed.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any, NamedTuple

import click

from relay.delivery.task import entry_key_of
from relay.failures import LedgerError, Reason
from relay.incidents.share import State
from relay.jobs.job import Job, JobKind
from relay.jobs.queue import Queue
from relay.ledger.entry import Entry
from relay.ledger.table import Ledger
from relayctl import audit, terminal
from relayctl.dlq.queue import DeadLetters, Filter, HeldMessage, choosing, filtered, nothing_matched
from relayctl.failed_calls import tried
from relayctl.stack.deployed import Stack, on_stack
from relayctl.terminal import progress


class Became(StrEnum):
    """Outcome of a dead-lettered job that an operator chose for a replay."""

    DELIVERED = "delivered"  # xMatters accepted its signal
    NOT_OWED = "not_owed"  # The worker found that its state need not be announced any more
    MOVED = "moved"  # On the retry queue, and no signal or share: only the worker's log has its outcome
    WAITING = "waiting"  # It waits for its next attempt
    DEAD_LETTERED = "dead_lettered"  # It came back to the dead-letter queue
    FAILED = "failed"  # It could not be moved
    LEFT = "left"  # The replay ended before it was tried
    UNKNOWN = "unknown"  # The replay was broken off while it was tried: it may be on both queues


class Fate(NamedTuple):
    """Outcome of a replayed job, and the reason."""

    became: Became
    reason: str | None = None  # Why the job waits, or was dead-lettered again; None if unknown
    request_id: str | None = None  # xMatters' id of the delivered signal; None if unknown


@dataclass
class Moved:
    """A dead-lettered job that a replay moved to the retry queue, or could not move."""

    job: Job  # The job, without its body
    state: State | None  # The state that it announces; None if it is not a signal, or its body is not a share
    fate: Fate  # Its outcome so far
    note: str | None = None  # Error of the move, or of the deletion from the dead-letter queue; None if there was none


def move(
    dead_letters: DeadLetters,
    retry_queue: Queue,
    held_messages: Sequence[HeldMessage],
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[list[Moved]]:
    """Move held messages that are jobs to the retry queue, in the given order. Yield the results of each batch.

    A message that is no longer held is skipped, since another reader may have it. A batch that is in progress when
    `stopping` returns True is completed.
    """
    left = "moved, but not deleted from the dead-letter queue: {}; the ledger keeps it from paging twice"
    for held, _ in dead_letters.still_held(held_messages, stopping):
        found = {each: each.job for each in held if each.job}
        sent = retry_queue.send_batch([each.message for each in found]) if found else ()
        problems = dict(zip(found, sent, strict=True))
        taken = [each for each, problem in problems.items() if problem is None]
        kept = dict(zip(taken, dead_letters.delete_batch(taken), strict=True))
        moved = []
        for each, job in found.items():
            state, problem, why = each.state, problems[each], kept.get(each)
            went = Fate(Became.MOVED if state is None else Became.WAITING)
            fate = Fate(Became.FAILED, job.stamps.reason) if problem else went
            moved.append(Moved(job, state, fate, problem or (left.format(why) if why else None)))
        yield moved


def fate(job: Job, state: State, entry: Entry) -> Fate:
    """Return the outcome of a replayed job that announces a state, as far as its incident's ledger entry shows it."""
    dead_lettered_at = job.dead_lettered_seconds
    is_received = dead_lettered_at is None or entry.debt.revived_at > dead_lettered_at
    # A state that was announced may be owed to further recipients.
    is_owed = entry.debt.is_owed and state.is_of_same_share(entry.newest)
    if state.is_of_same_share(entry.announced) and not is_owed:
        return Fate(Became.DELIVERED, request_id=_request_id(entry)) if is_received else Fate(Became.NOT_OWED)
    is_known = state.precedes(entry.announced) or state.is_same(entry.announced)
    if state.precedes(entry.newest) or (is_known and not is_owed):
        return Fate(Became.NOT_OWED)
    if entry.debt.is_given_up and state.is_of_same_share(entry.newest):
        # An equal time is that of the moved message: no worker has received it yet.
        is_again = dead_lettered_at is None or entry.debt.dead_lettered_at > dead_lettered_at
        return Fate(Became.DEAD_LETTERED, entry.debt.reason or None) if is_again else Fate(Became.WAITING)
    if state.is_of_same_share(entry.newest):
        if not entry.debt.is_owed:
            return Fate(Became.NOT_OWED)
        if is_received:
            return Fate(Became.WAITING, Reason.IN_FLIGHT if entry.lease else entry.debt.reason or None)
    return Fate(Became.WAITING)


def _request_id(entry: Entry) -> str | None:
    last = entry.accepted_signals[-1] if entry.accepted_signals else None
    return last.request_id if last and last.at >= entry.debt.revived_at else None


# Time between two reads of the entries.
POLL_SECONDS = 2.0
# Following stops when no entry changed for this time.
STILL_SECONDS = 60.0


def follow(
    ledger: Ledger,
    jobs: Iterable[Moved],
    clock: Callable[[], float],
    sleep: Callable[[float], object],
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[str | None]:
    """Read the ledger repeatedly, and set the `fate` of each waiting job. Yield at each read its error, or None.

    The iteration ends when no job waits, nothing changed for STILL_SECONDS, or `stopping` returns True.
    """
    changed_at = clock()
    while (waiting := [each for each in jobs if each.fate.became == Became.WAITING]) and not stopping():
        before = [each.fate for each in waiting]
        entries, problem = tried(partial(ledger.read_many, {entry_key_of(each.job) for each in waiting}))
        for each in waiting:
            entry = (entries or {}).get(entry_key_of(each.job))
            if entry is not None and each.state is not None:
                each.fate = fate(each.job, each.state, entry)
        changed_at = clock() if before != [each.fate for each in waiting] else changed_at
        yield problem
        if clock() - changed_at >= STILL_SECONDS:
            return
        if any(each.fate.became == Became.WAITING for each in waiting):
            sleep(POLL_SECONDS)


def _counts(moved: Sequence[Moved], tried: int, matched: int) -> dict[str, int]:
    counts = Counter({Became.UNKNOWN: tried - len(moved), Became.LEFT: matched - tried})
    counts.update(each.fate.became for each in moved)
    return {str(name): counts[name] for name in Became}


def _result(moved: Moved) -> dict[str, Any]:
    job = moved.job
    members = {"delivery_id": job.delivery_id, "channel": job.channel, "incident_id": job.incident_id, "kind": job.kind}
    return members | moved.fate._asdict() | {"note": moved.note}


@click.command()
@filtered()
@click.option("--yes", is_flag=True, help="Replay. Without --yes, only show which jobs match.")
@click.option("--wait/--no-wait", default=True, help="Wait for the outcome of each job, or exit once all are moved.")
@on_stack
def replay(stack: Stack, wanted: Filter, yes: bool, wait: bool, as_json: bool) -> None:
    """Move dead-lettered jobs to the retry queue, oldest first.

    The worker attempts each job as soon as the channel's rate limit allows it, unless its state was announced or
    superseded meanwhile. The command reports the outcome of each job. It ends once all outcomes are final, or nothing
    changed for a minute.

    \b
    Example:
      relayctl dlq replay --reason upstream
      relayctl dlq replay --reason upstream --newer-than 2d --yes
    """
    moved, sums, effects = list[Moved](), dict[str, Any](), stack.effects
    changed, problem = dict[str, Any](), None
    try:
        with choosing(stack, wanted) as choice:
            sums = choice.summary()
            if choice.jobs and not as_json:
                terminal.counts(sums)
                choice.say_unseen()
            if choice.jobs and yes:
                retries = Queue(stack.session.client("sqs"), stack.output("RetryQueueUrl"))
                changed = audit.begin(stack, "dlq replay", filters=wanted.document())
                with progress("moving", f"of {sums['matched']}", effects.clock) as show:
                    for batch in move(choice.queue, retries, choice.jobs, choice.stop.is_set):
                        moved += batch
                        show(len(moved), "")
        if wait and not choice.stop.is_set():
            problem = _follow(stack, moved)
    finally:
        counts = _counts(moved, choice.queue.tried, sums["matched"] if yes else 0) if sums else {}
        if changed:
            changed |= {"counts": {"matched": sums["matched"], **counts}}
        if as_json and sums:
            results = list(map(_result, moved))
            terminal.document({"dry_run": not yes, **sums, **counts, "results": results, "audit": changed or None})
        elif changed:
            # What could not be moved has a note.
            bad = (each for each in moved if each.note or each.fate.reason or each.fate.became == Became.DEAD_LETTERED)
            # Before the results: stdout may be a closed pipe.
            audit.say(changed)
            terminal.counts({**counts, "results": list(map(_result, bad))})
    if not sums["matched"]:
        nothing_matched(choice)
    if not yes and not as_json:
        click.echo("nothing was moved; add --yes to replay them")
    # A job that is, or may be, still dead-lettered.
    is_partial = choice.unread or problem or any(each.note for each in moved)
    terminal.fail_if(is_partial or counts["left"] + counts["dead_lettered"])


def _follow(stack: Stack, moved: Sequence[Moved]) -> str | None:
    """Follow the moved jobs to their outcomes; return the ledger's error if the outcomes are not known."""
    effects, last = stack.effects, None
    with terminal.stop_on_interrupt() as stop, progress("following", f"of {len(moved)}", effects.clock) as show:
        for problem in follow(Ledger(stack.table()), moved, effects.clock, effects.sleep, stop.is_set):
            last = problem
            show(sum(each.fate.became != Became.WAITING for each in moved), "")
    if last:
        terminal.say(f"the outcome of the jobs is not known, the ledger cannot be read: {last}")
    return last


REASON_OF_JOBS = "--failure-reason"
_NOT_HELD = "not deleted: another reader may have it now; start the command again"


def criticals(held_messages: Sequence[HeldMessage], ledger: Ledger) -> tuple[list[dict[str, Any]], str | None]:
    """Return the jobs that announce open criticals still owed, as JSON objects; and the ledger's error, or None.

    A state counts as owed unless its ledger entry says that it is not: a replay would announce it.
    """
    some = [
        (held, held.job, state) for held in held_messages if held.job and (state := held.state) and state.is_critical
    ]
    entries, problem = tried(lambda: ledger.read_many({entry_key_of(job) for _, job, _ in some}))
    over, found = {Became.DELIVERED, Became.NOT_OWED}, list[dict[str, Any]]()
    for held, job, state in some:
        entry = (entries or {}).get(entry_key_of(job))
        if not entry or fate(job, state, entry).became not in over:
            members = {"channel": job.channel, "incident_id": job.incident_id, "title": held.title or None}
            found.append(members | {"delivery_id": job.delivery_id, "received_at": job.received_at})
    return found, problem


@dataclass
class Drop:
    """Deletion of dead-lettered messages, and its result for each of them."""

    chosen: Sequence[HeldMessage]  # The messages to delete, oldest first, then those that are no jobs
    # The error of each message that was tried; empty if it is deleted, and None until that is known
    results: dict[HeldMessage, str | None] = field(default_factory=dict)
    unrecorded: str = ""  # Error of the ledger, after which no more is recorded there

    def counts(self) -> dict[str, int]:
        """Return the number of messages by outcome; `left` are those that relayctl has not tried to delete."""
        found = list(self.results.values())
        dropped, unknown, left = found.count(""), found.count(None), len(self.chosen) - len(found)
        return {"dropped": dropped, "failed": len(found) - dropped - unknown, "unknown": unknown, "left": left}

    def delete(self, queue: DeadLetters, ledger: Ledger, now: float, stopping: Callable[[], bool]) -> Iterator[None]:
        """Delete the chosen messages until `stopping` returns True; yield after each message.

        For each deleted signal, the ledger records that its state is not owed any more.
        """
        for held, others in queue.still_held(self.chosen, stopping):
            # A Ctrl-C leaves the results of a whole batch, or none.
            self.results |= dict.fromkeys(others, _NOT_HELD) | dict.fromkeys(held)
            self.results |= zip(held, queue.delete_batch(held), strict=True)
            for each in held:
                is_to_record = self.results[each] == "" and not self.unrecorded
                if is_to_record and each.job and each.job.kind == JobKind.SIGNAL:
                    self._record(ledger, each.job, each.state, now)
                yield

    def _record(self, ledger: Ledger, job: Job, state: State | None, now: float) -> None:
        try:
            ledger.change(entry_key_of(job), lambda entry: _without(entry, job, state, now))
        except LedgerError as error:
            self.unrecorded = str(error)


def _without(entry: Entry, job: Job, state: State | None, now: float) -> Entry:
    """Return the entry after the message of a job was dropped: its state is not owed any more.

    SQS moves a message of which workers died without a mark, and the ledger does not know of that. An old copy of the
    job ends no debt: a later message has its state.
    """
    at, is_last = job.dead_lettered_seconds, job.plan >= entry.debt.plan
    if at is None and state and entry.debt.is_owed and is_last and state.is_of_same_share(entry.newest):
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
        sums = choice.summary() | {"matched": len(doing.chosen), "criticals": owed}
        if doing.chosen and not as_json:
            terminal.counts(sums)
            choice.say_unseen()
        if problem:
            terminal.say(f"which criticals are still owed is not known, the ledger cannot be read: {problem}")
        changed = dict[str, Any]()
        if doing.chosen:
            # If the operator takes longer than the messages are held, those that another reader may have are kept.
            sure = "may still be owed" if problem else "are still owed"
            lost = f", with {terminal.counted(len(owed), 'critical')} that {sure}" if owed else ""
            terminal.confirm(
                f"Delete {terminal.counted(len(doing.chosen), 'message')} for good{lost}?", yes=yes, as_json=as_json
            )
            changed = audit.begin(stack, "dlq drop", **asked)
        try:
            with progress("dropping", f"of {len(doing.chosen)}", stack.effects.clock) as show:
                for _ in doing.delete(choice.queue, Ledger(stack.table()), stack.effects.clock(), choice.stop.is_set):
                    show(len(doing.results), "")
            if doing.unrecorded:
                said = "the ledger could not be written, so channels may count as sick for what was dropped"
                terminal.say(f"{said}: {doing.unrecorded}")
        finally:
            counts, problems = doing.counts(), [(held, why) for held, why in doing.results.items() if why]
            found = {**counts, "problems": [{"message_id": held.message_id, "problem": why} for held, why in problems]}
            of_all = {"matched": sums["matched"], **counts, "criticals_owed": len(owed)}
            changed |= {"counts": of_all} if changed else {}
            if as_json:
                terminal.document({**sums, **found, "audit": changed or None})
            elif changed:
                audit.say(changed)
                terminal.counts(found)
    if not doing.chosen:
        nothing_matched(choice)
    terminal.fail_if(choice.unread or counts["failed"] or counts["left"])

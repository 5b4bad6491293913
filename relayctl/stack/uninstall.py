"""relayctl uninstall: prepare a stack for its deletion, and print the reasons against it or the commands for it."""

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import click
from rich.table import Table

from relay.delivery.channel_health import Debts
from relay.foreign_text import printable
from relayctl import moments, terminal
from relayctl.channel.revocation import put_in_force
from relayctl.channel.store import ChannelStore
from relayctl.dlq import export, reading
from relayctl.dlq.export import STDOUT
from relayctl.dlq.mover import Filter
from relayctl.progress import counting
from relayctl.stack import draining
from relayctl.stack.channel_status import ChannelStatus
from relayctl.stack.deployed import Stack, on_stack
from relayctl.stack.draining import PAUSE_SECONDS, Drain
from relayctl.stack.queue_depths import UndeliveredJobs
from relayctl.stack.status_reading import StatusReader
from relayctl.stack.uninstallation import ChannelRemainder, Readiness, StackNames


@click.command(short_help="Prepare the deletion of the stack, and print the commands for it.")
@click.option("--yes", is_flag=True, help="Drain and remove the channels, and export what was not delivered.")
@click.option(
    "--export",
    "place",
    metavar="FILE",
    help="With --yes: the new file for dead-lettered jobs. Named after stack and time if left out.",
)
@draining.options
@click.option(
    "--days", type=click.IntRange(7, 30), default=7, show_default=True, help="Days in which channels can be restored."
)
@on_stack
def uninstall(stack: Stack, yes: bool, place: str | None, as_json: bool, **options: Any) -> None:
    """Prepare the deletion of the stack, and print the commands for it. The stack itself is never deleted.

    Without --yes nothing is changed: relayctl counts channels, owed states, waiting and dead-lettered jobs.

    With --yes, relayctl waits for each channel as relayctl channel remove --drain does, and removes it. Then it waits
    until the queues are empty, and exports the dead-lettered jobs into a new file, as relayctl dlq export does. Disable
    AutoShare in BigPanda first. After Ctrl-C, run the command again: removed channels stay removed.

    Exit codes: 0 the stack can be deleted, 1 not yet, with the reasons, 2 usage, 130 interrupted.

    \b
    Example:
      relayctl uninstall
      relayctl uninstall --yes
    """
    if place is not None and not yes:
        raise click.UsageError("--export is only for --yes")
    if place == STDOUT:
        raise click.UsageError("--export: give a file; relayctl dlq export - writes to stdout")
    file = (
        place or f"dead-letters-{stack.name}-{datetime.fromtimestamp(stack.effects.clock(), UTC):%Y%m%dT%H%M%SZ}.jsonl"
    )
    export.refuse_existing(file)
    run = _Uninstallation(stack, ChannelStore(stack), options["quiet"], options["timeout"], options["days"])
    kept = run.work(file) if yes else None
    found = run.readiness()
    reasons = found.reasons()
    if as_json:
        click.echo(json.dumps(_document(found, reasons, kept, run.stack_names)))
    else:
        _show(found, kept)
        if reasons:
            _show_reasons(reasons, is_tried=yes)
        else:
            _show_commands(run.stack_names)
    if reasons:
        click.get_current_context().exit(1)


@dataclass
class _Uninstallation:
    """One run of `relayctl uninstall`.

    Attributes:
        stack: The stack.
        store: The channels' secrets.
        quiet: Minimum seconds since the last share or signal for a channel to count as drained.
        timeout: Maximum seconds to wait for the channels, and the same again for the queues.
        days: Days in which a removed channel can be restored.
        exported: Number of dead-lettered messages that do not block the deletion: those that this run exported into a
            file, and those that are no jobs of the relay.
    """

    stack: Stack
    store: ChannelStore
    quiet: float
    timeout: float
    days: int
    exported: int = field(default=0, init=False)

    @property
    def stack_names(self) -> StackNames:
        """Names of the stack and of its table, secrets, queues and topic, for the commands that delete them."""
        session, output = self.stack.session, self.stack.output
        profile = None if session.profile_name == "default" else session.profile_name
        urls = [output(name) for name in ("RetryQueueUrl", "ChoreQueueUrl", "DeadLetterQueueUrl")]
        prefix, table = output("SecretPrefix"), output("LedgerTableName")
        topic = None if self.stack.parameters.get("FallbackTopicArn") else self.stack.outputs.get("FallbackTopicArn")
        return StackNames(self.stack.name, session.region_name or "", profile, prefix, table, urls, topic)

    def work(self, file: str) -> str | None:
        """Drain and remove all channels, and export dead-lettered jobs; return the file, or None without such jobs."""
        drain = Drain(self.stack, StatusReader(self.stack), self.quiet, self.timeout)
        names = [name for name, _ in self.store.names()]
        if names:
            drain.check(names)
        while names:
            for name in drain.wait(names):
                if self.store.exists(name):
                    self.store.remove(name, self.days)
                put_in_force(self.stack, name)
                terminal.say(f"channel {name}: removed")
                names.remove(name)
        self._wait_for_queues()
        done = export.write_jobs(self.stack, file, Filter(), None)
        self.exported = done.jobs + done.unreadable
        if done.unreadable:
            terminal.say(
                f"note: {done.unreadable} dead-lettered messages are no jobs of the relay, and not in the file"
            )
        return file if done.jobs else None

    def _wait_for_queues(self) -> None:
        """Wait until the retry and chore queues are empty, or the time is over.

        They get empty, since the workers dead-letter each job of a removed channel.
        """
        deadline = self.stack.deadline(self.timeout)
        with counting("waiting for the queues", "jobs left", self.stack.effects.clock) as show:
            while (left := UndeliveredJobs.of(self.stack).waiting) and deadline.remaining() >= PAUSE_SECONDS:
                show(left)
                self.stack.effects.sleep(PAUSE_SECONDS)

    def readiness(self) -> Readiness:
        """Return the facts that decide if the stack can be deleted, as they are now."""
        with terminal.status("reading the ledger, the queues and the logs …"):
            status = StatusReader(self.stack).read()
        undelivered = UndeliveredJobs.of(self.stack)
        dead, held = Counter[str](), 0
        if undelivered.dead_lettered:
            dead, held = reading.count_by_channel(self.stack)
        present = {name for name, _ in self.store.names()}
        # The logs only tell the last share, which is shown.
        problems = [each for each in status.problems if not each.startswith("log")]
        problems += [reading.held_elsewhere(held)] if held else []
        known = {each.name: each for each in status.channels}
        channels = [_channel(name, known.get(name), dead[name], name in present) for name in sorted({*known, *dead})]
        return Readiness(
            [each for each in channels if each.exists or each.owed or each.dead_lettered],
            undelivered.waiting,
            undelivered.dead_lettered,
            self.exported,
            problems,
        )


def _channel(name: str, status: ChannelStatus | None, dead_lettered: int, exists: bool) -> ChannelRemainder:
    debts, traffic = (status.debts, status.traffic) if status else (Debts(), None)
    owed = None if debts is None else debts.owed
    last = traffic.last_share if traffic else None
    return ChannelRemainder(name, exists, owed, dead_lettered, moments.iso_or_none(last))


def _document(found: Readiness, reasons: list[str], file: str | None, names: StackNames) -> dict[str, Any]:
    return {
        "stack": names.stack,
        "can_be_deleted": not reasons,
        "reasons": reasons,
        "channels": [each.document() for each in found.channels],
        "waiting": found.waiting,
        "dead_lettered": found.dead_lettered,
        "file": file,
        "stays": names.stays(),
        "commands": [] if reasons else [line for lines in names.commands().values() for line in lines],
    }


def _show(found: Readiness, file: str | None) -> None:
    if found.channels:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("channel", "owed", "dead-lettered", "last share"):
            table.add_column(heading, justify="right" if heading in {"owed", "dead-lettered"} else "left")
        for each in found.channels:
            name = each.name or "(no job of the relay)"
            removed = "" if each.exists or not each.name else " (removed)"
            owed = "?" if each.owed is None else str(each.owed)
            table.add_row(f"{printable(name)}{removed}", owed, str(each.dead_lettered), each.last_share_at or "")
        terminal.output().print(table)
    if file:
        terminal.show_line(
            f"What was dead-lettered is in {file}, which only you may read. The queue keeps it, too, for 14 days at "
            "most."
        )


def _show_reasons(reasons: list[str], *, is_tried: bool) -> None:
    terminal.show_line("The stack must not be deleted yet:")
    for each in reasons:
        terminal.show_line(f"- {printable(each)}", indent=2)
    if not is_tried:
        terminal.show_line("To prepare it: disable AutoShare in BigPanda, then relayctl uninstall --yes")


def _show_commands(names: StackNames) -> None:
    terminal.show_line("Nothing is owed: the stack can be deleted. Type this; relayctl deletes nothing of it.")
    for what, lines in names.commands().items():
        terminal.show_line("")
        terminal.show_line(f"{what}:")
        for line in lines:
            # Not wrapped: a command must be copied whole.
            click.echo(f"  {line}")
    terminal.show_line("")
    terminal.show_line("What stays, and what does not:")
    for each in names.stays():
        terminal.show_line(f"- {each}", indent=2)

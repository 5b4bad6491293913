"""relayctl uninstall: prepare a stack for its deletion, and print the reasons against it or the commands for it."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import click
from rich.table import Table

from relay.foreign_text import printable
from relayctl import terminal
from relayctl.channel.revocation import put_in_force
from relayctl.channel.store import ChannelStore
from relayctl.dlq import file as dead_letter_file
from relayctl.dlq.file import STDOUT
from relayctl.dlq.reading import Filter
from relayctl.progress import progress
from relayctl.stack import draining
from relayctl.stack.deployed import Stack, on_stack
from relayctl.stack.draining import PAUSE_SECONDS, Drain
from relayctl.stack.owed import Account, OwedStates, UndeliveredJobs
from relayctl.stack.status_reading import StatusReader


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
    dead_letter_file.refuse_existing(file)
    run = _Uninstallation(stack, ChannelStore(stack), options["quiet"], options["timeout"], options["days"])
    kept = run.work(file) if yes else None
    with terminal.status("reading the ledger and the queues …"):
        account, present = Account.of(stack), {name for name, _ in run.store.names()}
    reasons, names = reasons_against(account, present, run.exported), StackNames.of(stack)
    if as_json:
        click.echo(json.dumps(_document(account, present, reasons, kept, names)))
    else:
        _show(account, present, kept)
        if reasons:
            _show_reasons(reasons, is_tried=yes)
        else:
            _show_commands(names)
    if reasons:
        click.get_current_context().exit(1)


def reasons_against(account: Account, present: set[str], exported: int) -> list[str]:
    """Return the reasons why the stack must not be deleted yet; an empty list if it can be deleted.

    Args:
        account: What the stack owes.
        present: Names of the channels whose secrets exist.
        exported: Number of dead-lettered messages that do not block the deletion: those that this run exported into a
            file, and those that are no jobs of the relay.
    """
    owed = sum(each.owed for each in account.channels.values())
    waiting, left = account.undelivered.waiting, max(account.undelivered.dead_lettered - exported, 0)
    found = [f"not known: {each}" for each in account.problems]
    found += [f"{len(present)} {'channel takes' if len(present) == 1 else 'channels take'} shares"] if present else []
    found += [f"{owed} {'state is' if owed == 1 else 'states are'} owed"] if owed else []
    jobs = "job waits" if waiting == 1 else "jobs wait"
    found += [f"{waiting} {jobs} on the retry and chore queues"] if waiting else []
    return found + ([f"{left} dead-lettered, and not exported by this call"] if left else [])


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
        done = dead_letter_file.write_jobs(self.stack, file, Filter())
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
        with progress("waiting for the queues", "jobs left", self.stack.effects.clock) as show:
            while (left := UndeliveredJobs.of(self.stack).waiting) and deadline.remaining() >= PAUSE_SECONDS:
                show(left, "")
                self.stack.effects.sleep(PAUSE_SECONDS)


class StackNames(NamedTuple):
    """Names of a stack and its parts.

    Attributes:
        stack: Name of the stack.
        region: Its region.
        profile: AWS profile of the operator; None for the default.
        prefix: Prefix of the channels' secrets.
        table: Name of the ledger's table.
        queues: URLs of the queues.
        topic: ARN of the stack's own fallback topic; None if it has a given one.
    """

    stack: str
    region: str
    profile: str | None
    prefix: str
    table: str
    queues: Sequence[str]
    topic: str | None

    @classmethod
    def of(cls, stack: Stack) -> "StackNames":
        """Return the names of a stack, and of what it leaves behind. Raises StackMissingError."""
        session, output = stack.session, stack.output
        profile = None if session.profile_name == "default" else session.profile_name
        urls = [output(name) for name in ("RetryQueueUrl", "ChoreQueueUrl", "DeadLetterQueueUrl")]
        topic = None if stack.parameters.get("FallbackTopicArn") else stack.outputs.get("FallbackTopicArn")
        names = (stack.name, session.region_name or "", profile, output("SecretPrefix"), output("LedgerTableName"))
        return cls(*names, urls, topic)

    def commands(self) -> dict[str, list[str]]:
        """Return the shell commands that delete the stack, in groups and in order.

        The key of a group describes the resources that its commands delete or list.
        """
        profile = ["--profile", self.profile] if self.profile else []
        options = ["--region", self.region, *profile]
        table = ["--table-name", self.table, *options]
        left = [
            ["aws", "dynamodb", "update-table", "--no-deletion-protection-enabled", *table],
            ["aws", "dynamodb", "delete-table", *table],
            *(["aws", "sqs", "delete-queue", "--queue-url", url, *options] for url in self.queues),
            *([["aws", "sns", "delete-topic", "--topic-arn", self.topic, *options]] if self.topic else []),
        ]
        look = ["aws", "secretsmanager", "list-secrets", "--include-planned-deletion"]
        look += ["--filters", f"Key=name,Values={self.prefix}/", *options]
        groups = {
            "the stack": [["sam", "delete", "--stack-name", self.stack, *options]],
            "what the stack leaves behind": left,
            "a look at the removed secrets, which AWS deletes after their recovery window": [look],
        }
        return {what: list(map(shlex.join, lines)) for what, lines in groups.items()}

    def stays(self) -> list[str]:
        """Return sentences about the resources that remain after the stack's deletion, and about those that do not."""
        window = f"aws secretsmanager restore-secret --secret-id {self.prefix}/NAME"
        return [
            f"The table {self.table}, protected against deletion: what was announced of each incident.",
            "The retry, chore and dead-letter queue: their messages are gone after 14 days.",
            *(["The fallback topic, with its subscriptions."] if self.topic else []),
            f"The secrets of removed channels, until their recovery window ends; until then: {window}",
            "SAM's bucket, of the stack aws-sam-cli-managed-default: other applications may use it.",
            "The role with which API Gateway writes logs, if this stack made it: other APIs may use it.",
            f"Not the logs: the log groups below /aws/lambda/{self.stack} and /aws/apigateway/{self.stack} go with the "
            "stack. Export what you need first.",
            "BigPanda's webhook integration and API key, and the workflow and the user in xMatters: delete them there.",
        ]


def _document(
    account: Account, present: set[str], reasons: list[str], file: str | None, names: StackNames
) -> dict[str, Any]:
    channels = [
        {
            "channel": name or None,
            "exists": name in present,
            "owed": each.owed if account.has_ledger else None,
            "dead_lettered": each.dead_lettered,
        }
        for name, each in _remainders(account, present)
    ]
    return {
        "stack": names.stack,
        "can_be_deleted": not reasons,
        "reasons": reasons,
        "channels": channels,
        "waiting": account.undelivered.waiting,
        "dead_lettered": account.undelivered.dead_lettered,
        "file": file,
        "stays": names.stays(),
        "commands": [] if reasons else [line for lines in names.commands().values() for line in lines],
    }


def _remainders(account: Account, present: set[str]) -> list[tuple[str, OwedStates]]:
    """Return each channel that exists, has owed states, or has dead-lettered jobs."""
    found = {name: account.channels.get(name, OwedStates()) for name in sorted({*account.channels, *present})}
    return [(name, each) for name, each in found.items() if name in present or any(each)]


def _show(account: Account, present: set[str], file: str | None) -> None:
    if channels := _remainders(account, present):
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("channel")
        for heading in ("owed", "dead-lettered"):
            table.add_column(heading, justify="right")
        for name, each in channels:
            removed = "" if name in present or not name else " (removed)"
            what = printable(name or "(no job of the relay)")
            owed = str(each.owed) if account.has_ledger else "?"
            table.add_row(f"{what}{removed}", owed, str(each.dead_lettered))
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

"""relayctl uninstall: prepare a stack for its deletion, and print the reasons against it or the commands for it."""

import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from relay.foreign_text import printable
from relayctl import terminal
from relayctl.channel.propagation import put_in_force
from relayctl.channel.store import ChannelStore
from relayctl.dlq import file as dead_letter_file
from relayctl.dlq.file import STDOUT
from relayctl.dlq.reading import Choice, Filter
from relayctl.stack import draining
from relayctl.stack.deployed import Stack, on_stack
from relayctl.stack.draining import PAUSE_SECONDS
from relayctl.stack.status_reading import Owed, StatusReader, UndeliveredJobs
from relayctl.terminal import progress


@click.command()
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
    store = ChannelStore(stack)
    done = _prepare(store, options, file) if yes else None
    terminal.begin("reading the ledger and the queues …")
    owed, present = Owed.of(stack, None), list(store.names())
    reasons = reasons_against(owed, present, len(done.jobs) + len(done.unreadable) if done else 0)
    found = {
        "stack": stack.name,
        "can_be_deleted": not reasons,
        "reasons": reasons,
        "channels": present,
        "owed": owed.owed if owed.debts else None,
        "waiting": owed.undelivered.waiting,
        "dead_lettered": owed.undelivered.dead_lettered,
        "file": file if done and done.jobs else None,
        "commands": [] if reasons else commands(stack),
    }
    if as_json:
        terminal.document(found)
    else:
        _show(found, is_tried=yes)
    terminal.fail_if(reasons)


def reasons_against(owed: Owed, present: Sequence[str], exported: int) -> list[str]:
    """Return the reasons why the stack must not be deleted yet; `exported` dead-lettered messages are none."""
    waiting, left = owed.undelivered.waiting, max(owed.undelivered.dead_lettered - exported, 0)
    found = [f"not known: {each}" for each in owed.problems]
    takes = "1 channel takes" if len(present) == 1 else f"{len(present)} channels take"
    found += [f"{takes} shares: {', '.join(present)}"] if present else []
    found += owed.owed_words
    jobs = "job waits" if waiting == 1 else "jobs wait"
    found += [f"{waiting} {jobs} on the retry and chore queues"] if waiting else []
    return found + ([f"{left} dead-lettered, and not exported by this call"] if left else [])


def _prepare(store: ChannelStore, options: Mapping[str, Any], file: str) -> Choice:
    stack = store.stack
    names, reader = list(store.names()), StatusReader(stack)
    for name in draining.drained(reader, names, options["quiet"], options["timeout"]):
        if store.exists(name):
            store.remove(name, options["days"])
        put_in_force(stack, name)
        terminal.say(f"channel {name}: removed")
    # The queues get empty, since the workers dead-letter each job of a removed channel.
    deadline = stack.deadline(options["timeout"])
    show = progress("waiting for the queues", "jobs left", stack.effects.clock)
    while (left := UndeliveredJobs.of(stack).waiting) and deadline.remaining() >= PAUSE_SECONDS:
        show(left, "")
        stack.effects.sleep(PAUSE_SECONDS)
    done = dead_letter_file.write_jobs(stack, file, Filter())
    if count := len(done.unreadable):
        terminal.say(f"note: {count} dead-lettered messages are no jobs of the relay, and not in the file")
    return done


def commands(stack: Stack) -> list[str]:
    """Return the shell commands that delete the stack and what it leaves behind, and that list removed secrets."""
    session, output = stack.session, stack.output
    profile = [] if session.profile_name == "default" else ["--profile", session.profile_name]
    options = ["--region", session.region_name or "", *profile]
    table = ["--table-name", output("LedgerTableName"), *options]
    urls = [output(name) for name in ("RetryQueueUrl", "ChoreQueueUrl", "DeadLetterQueueUrl")]
    # A topic that was given to the stack is not its own.
    topic = None if stack.parameters.get("FallbackTopicArn") else stack.outputs.get("FallbackTopicArn")
    secrets = ["secretsmanager", "list-secrets", "--include-planned-deletion", "--filters"]
    lines = [
        ["sam", "delete", "--stack-name", stack.name, *options],
        ["aws", "dynamodb", "update-table", "--no-deletion-protection-enabled", *table],
        ["aws", "dynamodb", "delete-table", *table],
        *(["aws", "sqs", "delete-queue", "--queue-url", url, *options] for url in urls),
        *([["aws", "sns", "delete-topic", "--topic-arn", topic, *options]] if topic else []),
        ["aws", *secrets, f"Key=name,Values={output('SecretPrefix')}/", *options],
    ]
    return list(map(shlex.join, lines))


def _show(found: dict[str, Any], *, is_tried: bool) -> None:
    if found["file"]:
        terminal.show_line(
            f"What was dead-lettered is in {found['file']}, which only you may read. The queue keeps it, too, for 14 "
            "days at most."
        )
    if found["reasons"]:
        terminal.show_line("The stack must not be deleted yet:")
        for each in found["reasons"]:
            terminal.show_line(f"- {printable(each)}", indent=2)
        if not is_tried:
            terminal.show_line("To prepare it: disable AutoShare in BigPanda, then relayctl uninstall --yes")
        return
    terminal.show_line("Nothing is owed: the stack can be deleted. Type this; relayctl deletes nothing of it.")
    for line in found["commands"]:
        # Not wrapped: a command must be copied whole.
        click.echo(f"  {line}")
    terminal.show_line("What stays, and what goes with the stack, such as the logs: docs/install.md, Uninstall.")

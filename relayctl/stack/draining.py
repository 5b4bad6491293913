"""Draining of channels until nothing is owed and no more shares come, and relayctl uninstall, which ends a stack so."""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from relay.channels.policy import Mode
from relay.failures import Reason
from relay.foreign_text import printable
from relay.health.judgement import age
from relayctl import moments, terminal
from relayctl.channel.endpoints import put_in_force
from relayctl.channel.store import ChannelStore
from relayctl.dlq import file as dead_letter_file
from relayctl.dlq.queue import Choice, Filter
from relayctl.stack.deployed import Stack, on_stack
from relayctl.stack.status import ChannelStatus, Owed, owed_words, read_status, undelivered_jobs

# Pause between two readings of the ledger and the logs.
PAUSE_SECONDS = 15.0
# A share that came so shortly before the drain began shows that shares still come.
STILL_COME_SECONDS = 60.0


def options(verb: Callable[..., None]) -> Callable[..., None]:
    """Add `--quiet` and `--timeout` to a verb that drains channels."""
    # The logs are read for an hour, so a longer quiet time could not be seen. A resolve that BigPanda leaves without an
    # answer is believed within 13 minutes, and follow-ups end the pages after that.
    quiet = click.option(
        "--quiet",
        type=moments.span("1m", "55m"),
        default="20m",
        show_default=True,
        metavar="DURATION",
        help="Drained is a channel without a share or a signal for so long, 1m to 55m. Less than 5m (15m with a "
        "BigPanda key) only without xmatters.rest.",
    )
    timeout = click.option(
        "--timeout",
        type=moments.span("1m", "1d"),
        default="1h",
        show_default=True,
        metavar="DURATION",
        help="Give up the wait after this time, 1m to 1d.",
    )
    return quiet(timeout(verb))


def waits_for(status: ChannelStatus, now: float, quiet: float) -> list[str]:
    """Return in words why a channel is not drained: it owes, or had traffic in the last `quiet` seconds; else empty."""
    debts, traffic = status.debts, status.traffic
    if debts is None or traffic is None:
        return ["the ledger and the logs to be readable"]
    found, resume = [], f": relayctl channel resume {status.name}"
    if debts.owed:
        since = f", the oldest for {age(now - debts.oldest)}" if debts.oldest is not None else ""
        paused = debts.reasons[Reason.PAUSED]
        found.append(f"{owed_words(debts)}{since}" + (f", {paused} paused{resume}" if paused else ""))
    # While the channel sends nothing, the sweeper notifies of nothing. A pause can be resumed, shadow mode lasts.
    is_silent = status.policy is not None and status.policy.stops_all(now)
    if not is_silent and debts.unnotified:
        found.append(f"{debts.unnotified} to be notified of")
    if debts.awaited and not (status.policy and status.policy.mode is Mode.SHADOW):
        found.append(f"{debts.awaited} of which nobody is known to have heard{resume if is_silent else ''}")
    last = max((at for at in (traffic.last_share, traffic.last_signal) if at is not None), default=None)
    if last is not None and last + quiet > now:
        found.append(f"quiet until {moments.clock_in_zone(last + quiet)}")
    return found


def drained(stack: Stack, names: Sequence[str], quiet: float, timeout: float) -> Iterator[str]:
    """Wait until each channel owes nothing, and had no share or signal for `quiet` seconds. Yield its name then.

    A removed channel that owes nothing counts as drained. Raises ClickException if a share comes, if a source cannot be
    read, or after `timeout` seconds.
    """
    left, began, deadline, said = list(names), stack.effects.clock(), stack.deadline(timeout), list[str]()
    while left:
        found = read_status(stack, left[0] if len(left) == 1 else None)
        wanted = [each for each in found.channels if each.name in left]
        is_known = len(wanted) == len(left) and all(each.debts and each.traffic for each in wanted)
        if found.readings.problems and not is_known:
            raise click.ClickException(f"cannot tell what is owed: {printable('; '.join(found.readings.problems))}")
        waiting = {each.name: waits_for(each, found.at, quiet) for each in wanted}
        for each in wanted:
            _refuse_late_share(each, began)
        ready = [name for name in left if not waiting.get(name)]
        yield from ready
        left = [name for name in left if name not in ready]
        why = [f"channel {name} waits: {', '.join(waiting[name])}" for name in left]
        if why and deadline.remaining() < PAUSE_SECONDS:
            raise click.ClickException(
                f"not drained after {timeout / 60:.0f} minutes; the rest is unchanged:\n"
                + "\n".join(why)
                + "\nrelayctl status tells why; run the command again, with a longer --timeout"
            )
        if why:
            terminal.say("\n".join(line for line in why if line not in said))
            said = why
            stack.effects.sleep(PAUSE_SECONDS)


def _refuse_late_share(each: ChannelStatus, began: float) -> None:
    came = each.traffic.last_share if each.traffic else None
    if came is not None and came > began - STILL_COME_SECONDS:
        raise click.ClickException(
            f"channel {each.name}: shares still come, the last one at {moments.iso(came)}; it was not removed. "
            "Disable AutoShare in BigPanda first. Updates of incidents that were shared before still come, "
            "until these are closed or the webhook integration is deleted there. Then run the command again"
        )


@click.command()
@click.option("--yes", is_flag=True, help="Drain and remove the channels, and export what was not delivered.")
@click.option(
    "--export",
    "place",
    metavar="FILE",
    help="With --yes: the new file for dead-lettered jobs. Named after stack and time if left out.",
)
@options
@click.option(
    "--days", type=click.IntRange(7, 30), default=7, show_default=True, help="Days in which channels can be restored."
)
@on_stack
def uninstall(stack: Stack, yes: bool, place: str | None, as_json: bool, **drain: Any) -> None:
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
    file = (
        place or f"dead-letters-{stack.name}-{datetime.fromtimestamp(stack.effects.clock(), UTC):%Y%m%dT%H%M%SZ}.jsonl"
    )
    dead_letter_file.refuse_existing(file)
    store = ChannelStore(stack)
    done = _prepare(store, drain, file) if yes else None
    owed, present = Owed.of(stack, None), list(store.names())
    reasons = reasons_against(owed, present, len(done.jobs) if done else 0)
    found: dict[str, Any] = {
        "stack": stack.name,
        "can_be_deleted": not reasons,
        "reasons": reasons,
        "channels": present,
        "owed": owed.debts.owed if owed.debts else None,
        "waiting": owed.undelivered["waiting"],
        "dead_lettered": owed.undelivered["dead_lettered"],
        "file": file if done and done.jobs else None,
        "commands": [] if reasons else commands(stack),
    }
    terminal.result(found if as_json else {**found, "commands": None}, as_json=as_json)
    if reasons and not yes:
        terminal.say("To prepare the deletion: disable AutoShare in BigPanda, then relayctl uninstall --yes")
    elif not reasons:
        terminal.say("Type this; relayctl deletes nothing of it. What stays: docs/install.md, Uninstall.")
    for line in () if as_json else found["commands"]:
        click.echo(f"  {line}")
    terminal.fail_if(reasons)


def reasons_against(owed: Owed, present: Sequence[str], exported: int) -> list[str]:
    """Return the reasons why the stack must not be deleted yet. `exported` dead-lettered messages are in a file."""
    waiting, left = owed.undelivered["waiting"], max(owed.undelivered["dead_lettered"] - exported, 0)
    found = [f"not known: {each}" for each in owed.problems]
    found += [f"channels that take shares: {', '.join(present)}"] if present else []
    found += [owed_words(owed.debts)] if owed.debts and owed.debts.owed else []
    found += [f"{waiting} on the retry and chore queues"] if waiting else []
    return found + ([f"{left} dead-lettered, and not exported by this call"] if left else [])


def _prepare(store: ChannelStore, drain: Mapping[str, Any], file: str) -> Choice:
    stack, names = store.stack, list(store.names())
    try:
        for name in drained(stack, tuple(names), drain["quiet"], drain["timeout"]):
            if store.exists(name):
                store.remove(name, drain["days"])
            names.remove(name)
            in_force = put_in_force(stack, name, command=f"relayctl channel remove {name}")
            terminal.say(f"channel {name}: removed")
            terminal.end_if_interrupted()
            terminal.fail_if(in_force is None)
    finally:
        if names:
            terminal.say(f"not removed: {', '.join(names)}")
    # The queues get empty, since the workers dead-letter each job of a removed channel.
    deadline = stack.deadline(drain["timeout"])
    with terminal.progress("waiting for the queues", "jobs left", stack.effects.clock) as show:
        while (left := undelivered_jobs(stack)["waiting"]) and deadline.remaining() >= PAUSE_SECONDS:
            show(left, "")
            stack.effects.sleep(PAUSE_SECONDS)
    done = dead_letter_file.write_jobs(stack, file, Filter())
    if count := len(done.unreadable):
        unread = f"{count} dead-lettered messages can't be read by this version, and are not in the file"
        terminal.say(f"note: {unread}; relayctl dlq drop --all deletes them")
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
        ["aws", "cloudformation", "delete-stack", "--stack-name", stack.name, *options],
        ["aws", "cloudformation", "wait", "stack-delete-complete", "--stack-name", stack.name, *options],
        ["aws", "dynamodb", "update-table", "--no-deletion-protection-enabled", *table],
        ["aws", "dynamodb", "delete-table", *table],
        *(["aws", "sqs", "delete-queue", "--queue-url", url, *options] for url in urls),
        *([["aws", "sns", "delete-topic", "--topic-arn", topic, *options]] if topic else []),
        ["aws", *secrets, f"Key=name,Values={output('SecretPrefix')}/", *options],
    ]
    return list(map(shlex.join, lines))

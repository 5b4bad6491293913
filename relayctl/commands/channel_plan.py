"""relayctl channel plan and apply: make channels equal to their settings files."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click

from relay.failures.errors import InvalidChannel
from relayctl import channel_change, settings_plan, terminal
from relayctl.aws_errors import aws_failure
from relayctl.channel_change import ChannelChange, Done
from relayctl.channel_store import ChannelChangedError, ChannelStore
from relayctl.commands.channel import CHANNELS
from relayctl.endpoints import ENDPOINTS
from relayctl.settings_plan import Plan
from relayctl.stack import Stack, on_stack

# Exit code of `channel plan` if channels differ from their files. 2 is a usage error of every verb.
PENDING = 4

DIR = click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))


class Applied(NamedTuple):
    """Result of one change of `channel apply`.

    Attributes:
        change: The change.
        done: The result of the write; None if the change was not written.
        problem: The reason why the change was not written; None if it was.
    """

    change: ChannelChange
    done: Done | None
    problem: str | None

    def document(self) -> dict[str, Any]:
        """Return the result as a JSON object, without credentials."""
        if self.done is None:
            return {"stored": False, "problem": self.problem}
        return {"stored": True, **({"verified": self.done.is_verified} if self.done.fresh else {})}


@click.command()
@DIR
@CHANNELS
@on_stack
def plan(stack: Stack, folder: Path, names: tuple[str, ...], as_json: bool) -> None:
    """Show how the channels differ from their settings files. Changes nothing.

    DIR has a file for each channel, such as payments.yaml; relayctl channel export writes them. A file holds no
    credential: it has a reference, such as {secret: stored}, to the value in the channel's secret. The plan shows each
    credential as ***. It also lists the channels of the stack that have no file.

    Exit codes: 0 no change, 4 changes pending, 1 failed, 2 usage or an invalid file, 3 no file in DIR.

    \b
    Example:
      relayctl channel plan channels
      relayctl channel plan channels --channel payments --json
    """
    made = _plan(stack, ChannelStore(stack), folder, names, as_json=as_json)
    if as_json:
        click.echo(json.dumps(made.document()))
    if not made.changes:
        terminal.nothing(f"no file in {folder}: relayctl channel export {folder} writes them")
    if made.pending:
        click.get_current_context().exit(PENDING)


@click.command()
@DIR
@CHANNELS
@click.option("--yes", is_flag=True, help="Do not ask.")
@on_stack
def apply(stack: Stack, folder: Path, names: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Change the channels that differ from their settings files, after showing the plan.

    Each channel is written as channel set does, and only if nobody changed it after the plan was made. The first
    failure ends the run; a second run does what is left. The first Ctrl-C ends a run after the current channel. A
    channel has its old settings or its new ones, never a part. No channel is removed.

    A new token is not printed: relayctl channel set NAME --reveal prints it.

    Exit codes: 0 done or no change, 1 not all stored or verified, 2 usage or an invalid file, 3 no file in DIR, 130
    interrupted.

    \b
    Example:
      relayctl channel apply channels
      relayctl channel apply channels --channel payments --yes
    """
    if not yes and (as_json or not sys.stdin.isatty()):
        raise click.UsageError("not a terminal, or --json: give --yes to apply without being asked")
    store = ChannelStore(stack)
    made = _plan(stack, store, folder, names, as_json=as_json)
    if not made.changes and not as_json:
        terminal.nothing(f"no file in {folder}: relayctl channel export {folder} writes them")
    if made.pending and not yes:
        count = len(made.pending)
        click.confirm(f"Apply to {count} channel{'s' if count > 1 else ''}?", abort=True, err=True)
    with terminal.stop_on_interrupt() as stop:
        results = _applied(stack, store, made.pending, stop.is_set)
    if as_json:
        by_name = {each.change.name: each.document() for each in results}
        document = made.document()
        document["channels"] = [each | by_name.get(each["channel"], {}) for each in document["channels"]]
        click.echo(json.dumps(document))
    elif results:
        _show(results)
    if not all(each.done and each.done.is_verified for each in results):
        click.get_current_context().exit(terminal.INTERRUPTED if stop.is_set() else 1)
    if not made.changes:
        click.get_current_context().exit(3)


def _plan(stack: Stack, store: ChannelStore, folder: Path, names: tuple[str, ...], *, as_json: bool) -> Plan:
    made = settings_plan.make(stack, store, folder, names)
    if not as_json:
        settings_plan.show(made)
    return made


def _applied(
    stack: Stack, store: ChannelStore, changes: list[ChannelChange], stopped: Callable[[], bool]
) -> list[Applied]:
    """Apply the changes in order, until one fails or the operator stops the run."""
    results, reason = list[Applied](), ""
    for change in changes:
        reason = reason or ("interrupted" if stopped() else "")
        if reason:
            results.append(Applied(change, None, reason))
            continue
        result = _apply(stack, store, change)
        results.append(result)
        reason = f"not tried after the failure of {change.name}" if result.problem else ""
    return results


def _apply(stack: Stack, store: ChannelStore, change: ChannelChange) -> Applied:
    try:
        done = channel_change.put(stack, store, change)
    except KeyboardInterrupt:
        return Applied(change, None, "interrupted: it has its old settings or its new ones, run plan to see which")
    except (ChannelChangedError, InvalidChannel) as error:
        return Applied(change, None, str(error).removeprefix(f"channel {change.name}: "))
    except Exception as error:
        if message := aws_failure(error):
            return Applied(change, None, message)
        raise
    for key in done.fresh:
        terminal.say(
            f"channel {change.name}: {ENDPOINTS[key].vendor}'s credential is new; to print it: relayctl channel set "
            f"{change.name} --reveal"
        )
    return Applied(change, done, None)


def _show(results: list[Applied]) -> None:
    for each in results:
        if each.problem:
            terminal.show_line(f"{each.change.name}: not changed: {each.problem}", indent=2)
    stored = sum(each.done is not None for each in results)
    terminal.show_line(f"{stored} of {len(results)} applied")

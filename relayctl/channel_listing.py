"""Output of `channel list`: mode, health and last share of each channel. Also the mode for `channel show`."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import click
from rich.table import Table

from relay.channels.parsing import parse_channel
from relay.channels.policy import Policy
from relay.delivery.channel_health import age
from relay.failures.errors import InvalidChannel
from relay.foreign_text import printable
from relayctl import channel_status, modes, moments, terminal
from relayctl.channel_status import ChannelStatus, Judgement
from relayctl.secret_document import SecretDocument
from relayctl.stack import Stack
from relayctl.status_reading import StackStatus, StatusReader


def show(stack: Stack, changed_at: Mapping[str, str | None], *, as_json: bool) -> None:
    """Read the status of the channels and print it, as a table or as JSON.

    `changed_at` has the time of the last change of each channel's secret by the channel's name (ISO 8601, or None).
    """
    with terminal.status("reading the channels and the ledger …"):
        found = StatusReader(stack).read_without_logs(changed_at)
    judged = [(each, channel_status.judge(each, found.at)) for each in found.channels]
    if as_json:
        channels = [_document(each, judgement, changed_at, found) for each, judgement in judged]
        click.echo(json.dumps({"channels": channels, "problems": found.problems}))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("channel", "mode", "health", "last share", "changed"):
        table.add_column(heading, overflow="fold")
    for each, judgement in judged:
        mode = modes.brief(each.policy, found.at) if each.policy else "?"
        table.add_row(each.name, mode, judgement.health, _within(each.shared_at, found), _ago(each.changed_at, found))
    terminal.output().print(table)
    for problem in found.problems:
        terminal.say(f"not known: {printable(problem)}")


def policy_of(stack: Stack, name: str, document: SecretDocument) -> Policy | None:
    """Return the policy in a secret; None if the secret is not valid."""
    try:
        return parse_channel(name, document.text(), stack.hosts).policy
    except InvalidChannel:
        return None


def mode_lines(policy: Policy | None, now: float) -> Iterator[str]:
    """Yield the mode in words at `now` (epoch seconds): `live`, or a line for shadow mode and each unfinished pause."""
    if policy is None:
        yield "not known: the secret is not valid"
        return
    found = [printable(each) for each in modes.words(policy, now)]
    yield from found or [modes.LIVE]


def mode_members(policy: Policy | None, now: float) -> dict[str, Any]:
    """Return the members `mode` and `pauses` (those that are not over) of a JSON object; null without a policy."""
    return modes.document(policy, now) if policy else {"mode": None, "pauses": None}


def _document(
    each: ChannelStatus, judgement: Judgement, changed_at: Mapping[str, str | None], found: StackStatus
) -> dict[str, Any]:
    return {
        "channel": each.name,
        "changed_at": changed_at[each.name],
        **mode_members(each.policy, found.at),
        "health": judgement.health,
        "why": list(judgement.why),
        "last_share_at": moments.iso_or_none(each.shared_at),
    }


def _within(at: float | None, found: StackStatus) -> str:
    """Return the longest time since the last share: the ledger's record of it may be an hour too old."""
    return "not known" if at is None else f"within {age(found.at - at)}"


def _ago(at: float | None, found: StackStatus) -> str:
    return "not known" if at is None else f"{age(found.at - at)} ago"

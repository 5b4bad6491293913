"""relayctl shadow: what a channel in shadow mode would have done."""

import json

import click

from relayctl import moments, terminal
from relayctl.channel_names import NAME
from relayctl.moments import SINCE
from relayctl.report import shadow_views
from relayctl.report.shadow_reading import MissingChannelError, Report, ShadowReader
from relayctl.stack.deployed import Stack, on_stack

# The report begins this long ago, unless --since says otherwise.
DEFAULT_SECONDS = 7 * 24 * 3600.0
# Signals that are listed, unless --limit says otherwise.
DEFAULT_LIMIT = 50
MAX_LIMIT = 10_000
# Name of a text property in the forms of xMatters' own examples and of this relay's workflow.
DEFAULT_PROPERTY = "incident_id"


@click.group(short_help="Report what a channel in shadow mode would have sent.")
def shadow() -> None:
    """Shadow mode: a channel decides and records, and sends nothing."""


def _property(_: click.Context, __: click.Parameter, value: str) -> str:
    if not value.strip() or not value.isprintable() or set(value) & set(",#"):
        raise click.BadParameter("use the name of one text property, without a comma and a language")
    return value.strip()


@shadow.command()
@NAME
@click.option(
    "--since", type=SINCE, metavar="AGE|TIME", help="Shares since: 90m, 12h, 7d or a time. 7 days if left out."
)
@click.option(
    "--limit",
    type=click.IntRange(0, MAX_LIMIT),
    default=DEFAULT_LIMIT,
    show_default=True,
    help="List so many signals, the newest.",
)
@click.option(
    "--property",
    "key",
    metavar="NAME",
    default=DEFAULT_PROPERTY,
    show_default=True,
    callback=_property,
    help="Text property with BigPanda's incident id in the form that pages now.",
)
@on_stack
def report(stack: Stack, name: str, since: float | None, limit: int, key: str, as_json: bool) -> None:
    """Report what a channel in shadow mode would have sent, and what not.

    From the webhook's log, the report has each signal that would have been sent: time, incident, transition, status,
    recipients. It has totals, the shares that would not have rung and why, and the minute with the most signals.

    With xmatters.rest, the pages that xMatters made of the same incidents in that time are counted, whoever sent
    them. relayctl finds the pages of an incident by a text property of xMatters' form; --property is its name. For
    BigPanda's own integration, that name is not documented.

    Waits for rate limits are not reproduced. Times are local. A source that is missing or fails is named on stderr.

    Exit codes: 0 shown, 1 a source failed, 2 usage, 3 no such channel or no share, 130 interrupted.

    \b
    Example:
      relayctl shadow report payments
      relayctl shadow report payments --since 24h --limit 500
      relayctl shadow report payments --property bigpanda_id --json
    """
    start = stack.effects.clock() - DEFAULT_SECONDS if since is None else since
    try:
        found = ShadowReader(stack, name, start, limit, key).read()
    except MissingChannelError as error:
        terminal.nothing(str(error))
    if as_json:
        click.echo(json.dumps(shadow_views.document(found)))
    else:
        if found.counts.shares:
            shadow_views.show(found)
        for note in shadow_views.notes(found):
            terminal.say(note)
    _end(found)


def _end(found: Report) -> None:
    """Exit with code 3 if there was no share, or with code 1 if a source failed; else return."""
    if not found.counts.shares:
        if found.has_failures:
            raise click.ClickException("no share was found, but not all sources could be read")
        terminal.nothing(f"no share of channel {found.name} came since {moments.moment(found.since)}")
    if found.has_failures:
        click.get_current_context().exit(1)

"""relayctl dlq export: dead-lettered jobs as a file."""

import json

import click

from relayctl import dead_letter_export, terminal
from relayctl.dead_letter_export import STDOUT
from relayctl.dead_letter_filter import filtered
from relayctl.dead_letter_mover import Filter
from relayctl.dead_letter_reading import nothing_matched, say_held
from relayctl.stack import Stack, on_stack


@click.command()
@click.argument("place", metavar="FILE")
@filtered()
@on_stack
def export(stack: Stack, place: str, wanted: Filter, limit: int | None, as_json: bool) -> None:
    """Write dead-lettered jobs to a new FILE, or to stdout (-), oldest first. The queue keeps them.

    The file is JSON Lines: one message a line, with its envelope and its attributes, for relayctl dlq import. The
    bodies may hold texts of incidents, so only you may read the file (mode 0600). It has no credential of
    the relay.

    A job has to match all filters. Messages that are no jobs of the relay are not exported; without a filter, they make
    the exit code 1. What another reader holds is not exported either, and is counted on stderr.

    Exit codes: 0 every job that was read and matched is exported, 1 a message is no job of the relay, or FILE can't be
    written, 2 usage, 3 nothing matched, 130 interrupted. After 130, and after an error, there is no file.

    \b
    Example:
      relayctl dlq export dead.jsonl
      relayctl dlq export - --channel payments --older-than 7d > dead.jsonl
    """
    if place == STDOUT and as_json:
        raise click.UsageError("--json prints a document of its own on stdout; give a FILE")
    dead_letter_export.refuse_existing(place)
    done = dead_letter_export.export(stack, place, wanted, limit)
    if as_json:
        counts = {"exported": done.jobs, "unreadable": done.unreadable}
        counts |= {"about": done.depth.about, "held": done.depth.held}
        click.echo(json.dumps({"file": place if done.jobs else None, **counts}))
    if not done.jobs and not done.unreadable:
        nothing_matched(done.depth)
    if done.jobs:
        where = f" to {place}; only you may read it" if place != STDOUT else ""
        terminal.say(f"{done.jobs} exported{where}. The bodies may hold texts of incidents.")
    say_held(done.depth)
    if done.unreadable:
        terminal.say(f"{done.unreadable} not exported: no jobs of the relay; relayctl dlq list shows them")
        click.get_current_context().exit(1)

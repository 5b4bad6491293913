"""relayctl dlq: the group with all of its verbs, and the verbs list and show."""

import click

from relayctl import terminal
from relayctl.dlq import listing
from relayctl.dlq.drop import drop
from relayctl.dlq.file import export, import_
from relayctl.dlq.reading import Filter, choosing, filtered, nothing_matched, say_held
from relayctl.dlq.replay import replay
from relayctl.stack.deployed import Stack, on_stack


@click.group()
def dlq() -> None:
    """The dead-letter queue: jobs whose attempts are over, for 14 days.

    xMatters or BigPanda refused them, or did not accept them in time. Or their channel is removed or in shadow mode,
    their queue refused them, or their worker crashed again and again.
    """


for _verb in (replay, drop, export, import_):
    dlq.add_command(_verb)


@dlq.command("list")
@filtered()
@on_stack
def list_(stack: Stack, wanted: Filter, as_json: bool) -> None:
    """List dead-lettered jobs, oldest first: age, id, channel, incident, status, reason, attempts, title.

    Other readers cannot receive the messages while relayctl reads them. An incident id that is not a single word is
    quoted; --json has the id unchanged. A job has to match all filters.

    \b
    Example:
      relayctl dlq list --channel payments --since 12h
      relayctl dlq list --kind signal --status critical --older-than 7d
    """
    with choosing(stack, wanted) as choice:
        found = [*choice.jobs, *choice.unreadable]
        documents = [listing.document(held) for held in found]
    depth = choice.depth
    if as_json:
        counts = {"shown": len(documents), "about": depth.about, "held": depth.held}
        terminal.document({"messages": documents, **counts})
    if not documents:
        nothing_matched(depth)
    if not as_json:
        for each in documents:
            listing.show(each, stack.effects.clock())
        click.echo(f"{len(documents)} of about {depth.about}", err=True)
        say_held(depth)


@dlq.command()
@click.argument("identity", metavar="ID")
@on_stack
def show(stack: Stack, identity: str, as_json: bool) -> None:
    """Show one message with its body.

    ID is a delivery id or a message id, or the beginning of one.

    \b
    Example:
      relayctl dlq show 9f2c41d0
    """
    if not identity.strip():
        message = "the id is empty; give a delivery id or a message id, or the beginning of one"
        raise click.BadParameter(message, param_hint="'ID'")
    with choosing(stack, Filter()) as choice:
        documents = [
            listing.document(held, with_body=True)
            for held in (*choice.jobs, *choice.unreadable)
            if held.message_id.startswith(identity) or (held.job and held.job.delivery_id.startswith(identity))
        ]
    if as_json:
        terminal.document({"messages": documents})
    if not documents:
        nothing_matched(choice.depth)
    if not as_json:
        click.echo("\n\n".join(map(listing.text, documents)))

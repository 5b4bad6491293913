"""relayctl dlq: the group with all of its verbs, and the verbs list and show."""

from collections.abc import Mapping
from typing import Any

import click

from relay.foreign_text import identifier, printable, quoted
from relay.health.judgement import age
from relay.incidents.share import MAX_ID_LENGTH
from relay.jobs.job import Flag, seconds_of
from relay.jobs.queue import read_envelope
from relayctl import terminal
from relayctl.dlq.file import MAX_PROBLEM, export, import_
from relayctl.dlq.queue import NO_STATUS, Filter, HeldMessage, choosing, filtered, nothing_matched
from relayctl.dlq.replay_and_drop import drop, replay
from relayctl.stack.deployed import Stack, on_stack

_AGE_COLUMNS = 5
_MAX_TITLE = 82


@click.group()
def dlq() -> None:
    """The dead-letter queue: jobs whose attempts are over, for 14 days.

    xMatters or BigPanda refused them, or did not accept them in time. Or their channel is removed or in shadow mode,
    their queue refused them, or their worker crashed again and again.

    A job has to match all filters. A replay, a drop and an import print an audit line on stderr: one line of JSON.
    Ctrl-C stops them after the current batch.
    """


for _verb in (replay, drop, export, import_):
    dlq.add_command(_verb)


@dlq.command("list")
@filtered()
@on_stack
def list_(stack: Stack, wanted: Filter, as_json: bool) -> None:
    """List dead-lettered jobs, oldest first: age, id, channel, incident, status, reason, attempts, title.

    Other readers cannot receive the messages while relayctl reads them. An incident id that is not a single word is
    quoted; --json has the id unchanged.

    \b
    Example:
      relayctl dlq list --channel payments --since 12h
      relayctl dlq list --status critical --older-than 7d
    """
    with choosing(stack, wanted) as choice:
        documents = [document(held) for held in (*choice.jobs, *choice.unreadable)]
    depth = choice.depth
    if as_json:
        counts = {"shown": len(documents), "about": depth.about, "held": depth.held, "unread": choice.unread}
        terminal.document({"messages": documents, **counts})
    if not documents:
        nothing_matched(choice)
    if not as_json:
        for each in documents:
            show(each, stack.effects.clock())
        click.echo(f"{len(documents)} of about {depth.about}", err=True)
        choice.say_unseen()
    terminal.fail_if(choice.unread)


@dlq.command("show")
@click.argument("identity", metavar="ID")
@on_stack
def show_(stack: Stack, identity: str, as_json: bool) -> None:
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
            document(held, with_body=True)
            for held in (*choice.jobs, *choice.unreadable)
            if held.message_id.startswith(identity) or (held.job and held.job.delivery_id.startswith(identity))
        ]
    if as_json:
        terminal.document({"messages": documents})
    if not documents:
        nothing_matched(choice)
    for each in () if as_json else documents:
        terminal.members(each, body=each.pop("body", ""))


def document(held: HeldMessage, *, with_body: bool = False) -> dict[str, Any]:
    """Return a message as a JSON object; `with_body` adds the job's body. Bytes that are not UTF-8 are replaced."""
    if held.job is None:
        return {"message_id": held.message_id, "unreadable": held.problem}
    job = held.job
    body = {"body": read_envelope(held.envelope).body.decode("utf-8", "replace")} if with_body else {}
    return {
        "message_id": held.message_id,
        "kind": job.kind,
        "delivery_id": job.delivery_id,
        "channel": job.channel,
        "incident_id": job.incident_id,
        "title": held.title or None,
        **job.stamps._asdict(),
        "recipients": list(job.stamps.recipients),
        "may_have_paged": Flag.MAY_HAVE_PAGED in job.flags,
        "received_at": job.received_at,
        "dead_lettered_at": job.dead_lettered_at,
        "body_reduced": Flag.BODY_REDUCED in job.flags,
    } | body


def show(document: Mapping[str, Any], now: float) -> None:
    """Print a line for a message, from its JSON object: age, id, channel, incident, status, reason and title."""
    if "unreadable" in document:
        problem = printable(document["unreadable"] or "", MAX_PROBLEM)
        terminal.show_line(f"{document['message_id'][:8]} unreadable: {problem}", indent=2)
        return
    # Incident ids come from BigPanda, and a message may be a stranger's. In quotes a text with spaces is one word.
    status = identifier(document["status"]) if document["status"] else NO_STATUS
    http = f" {document['http_status']}" if document["http_status"] else ""
    attempts = f"{document['attempts']} attempt{'' if document['attempts'] == 1 else 's'}"
    said = [status, f"{identifier(document['reason'])}{http} after {attempts}"]
    said += [quoted(document["title"], _MAX_TITLE)] if document["title"] else []
    incident = identifier(document["incident_id"], MAX_ID_LENGTH)
    name = printable(f"{document['delivery_id'][:8]}  {document['channel']} {incident}")
    lead = f"{age(now - seconds_of(document['received_at'])):>{_AGE_COLUMNS}}  "
    terminal.show_line(f"{name}: {', '.join(said)}", lead=lead)

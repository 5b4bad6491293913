"""relayctl explain: explain a share without sending anything."""

import json
from copy import replace
from typing import IO, Any

import click

from relay.channels.authentication import MAX_BODY_BYTES
from relay.channels.channel import Channel
from relay.channels.parsing import decode_secret, parse_channel
from relay.failures import BadRequest, InvalidChannel
from relay.incidents.share import parse_share
from relay.ledger.channel_rate_limiter import Gate, rules_of
from relay.ledger.table import Ledger
from relayctl import terminal
from relayctl.channel.secret_document import ANY_HOSTS
from relayctl.channel.store import ChannelStore, checked_name
from relayctl.failed_calls import tried
from relayctl.report.explanation import Case, explanation
from relayctl.settings.settings_file import channel_of_policy
from relayctl.stack.deployed import Stack, on_stack

_WHOLE = {"inbound", "xmatters"}


@click.command()
@click.argument("file", metavar="FILE", type=click.File("rb"))
@click.option("--channel", type=checked_name, required=True, metavar="NAME", help="The channel that gets the share.")
@click.option("--recipients", default="", metavar="A,B", help="The ?recipients= of BigPanda's URL.")
@click.option(
    "--policy",
    "policy_file",
    metavar="FILE",
    type=click.File("rb"),
    help="A policy, or a whole secret, in place of the stored one.",
)
@click.option("--offline", is_flag=True, help="Ask no AWS service; needs --policy.")
@on_stack
def explain(stack: Stack, as_json: bool, **options: Any) -> None:
    """Explain what a share would do, and why. Nothing is sent, and nothing is written.

    FILE is the body of BigPanda's webhook; - is standard input.

    Without a stack that can be reached, the share is compared with nothing, as if the incident were new; then --policy
    names a file: the JSON of a policy, or of a whole channel.

    \b
    Example:
      relayctl explain share.json --channel payments
      jq -r .body event.json | relayctl explain - --channel payments
      relayctl explain share.json --channel new --policy policy.json --offline
    """
    name, file = options["channel"], options["policy_file"]
    if options["offline"] and not file:
        raise click.UsageError("--offline needs --policy FILE: without AWS the channel's policy is not known")
    policy = _policy_file(file) if file else None
    body = options["file"].read(MAX_BODY_BYTES + 1)
    if len(body) > MAX_BODY_BYTES:
        raise click.ClickException(f"the relay would answer 413: body: has more than {MAX_BODY_BYTES} bytes")
    try:
        share = parse_share(body)
    except BadRequest as error:
        raise click.ClickException(f"the relay would answer {error.status}: {error}") from error
    channel, origin, notes = _source(stack, name, policy, offline=options["offline"])
    named = tuple(dict.fromkeys(filter(None, map(str.strip, options["recipients"].split(",")))))
    case = Case(channel, share, body, named, stack.effects.clock())
    case = case._replace(missing="--offline") if options["offline"] else _with_ledger(stack, case)
    found = explanation(case) | {"notes": notes}
    document = {"channel": name, "source": origin, "incident_id": share.incident_id, **found}
    if as_json:
        terminal.document(document)
        return
    request = document["request"]
    terminal.members(document | {"request": request | {"body": None}}, body=request["body"])


def _policy_file(file: IO[bytes]) -> dict[str, Any]:
    try:
        document = decode_secret(file.read().decode("utf-8"))
    except (UnicodeDecodeError, InvalidChannel):
        raise click.UsageError("the policy file is not JSON") from None
    if not isinstance(document, dict):
        raise click.UsageError("the policy file must be a JSON object: a channel's secret, or its policy")
    return document


def _source(stack: Stack, name: str, file: dict[str, Any] | None, *, offline: bool) -> tuple[Channel, str, list[str]]:
    """Return the channel from the stack, from a file with a whole secret, or from both if the file is a policy alone.

    With `offline`, or if the stack's channel cannot be read, only the file's policy is known. Return also the origin of
    the channel in words, and remarks for the operator.
    """
    if file is None:
        stored = ChannelStore(stack).channel(name)
        if stored is None:
            terminal.nothing(f"there is no channel {name}")
        return stored, "from the stack", []
    if _WHOLE & file.keys():
        return parse_channel(name, json.dumps(file), ANY_HOSTS), "from the file", []
    alone = channel_of_policy(name, file["policy"] if file.keys() == {"policy"} else file)
    stored, problem = (None, "--offline") if offline else tried(lambda: ChannelStore(stack).channel(name))
    if stored is not None:
        return replace(stored, policy=alone.policy), "from the stack, with the file's policy", []
    return alone, "policy from the file", [f"only the policy is known: {problem or f'there is no channel {name}'}"]


def _with_ledger(stack: Stack, case: Case) -> Case:
    task = case.task

    def ask() -> Case:
        table = stack.table()
        gates = {rule.gate: Gate.of(table.numbers(rule.gate)) for rule in rules_of(task.channel, task.recipients)}
        return case._replace(entry=Ledger(table).read(case.entry_name), gates=gates)

    known, problem = tried(ask)
    return known or case._replace(missing=f"the ledger was not read: {problem}")

"""relayctl explain: what the library's `step`, routes and content would make of a share, and why; nothing is sent."""

import json
from collections.abc import Mapping
from copy import replace
from typing import IO, Any, NamedTuple

import click

from relay.channels.channel import Channel
from relay.channels.parsing import decode_secret, parse_channel
from relay.channels.policy import Mode
from relay.channels.routes import Route, chosen, values_of
from relay.deadline import Deadline
from relay.delivery.rules import Action, Send, Settle, step
from relay.delivery.task import Task, content, decision_of
from relay.failures import BadRequest, InvalidChannel, Reason
from relay.incidents.share import MAX_BODY_BYTES, Share, State, Transition, is_open, parse_share
from relay.jobs.job import new_job, timestamp
from relay.jobs.result import Outcome
from relay.ledger.debt import Wait
from relay.ledger.entry import Entry, shadow_key
from relay.ledger.rate_limit_and_circuit import Gate, limits_of
from relay.ledger.table import Ledger
from relayctl import terminal
from relayctl.channel.secret_document import ANY_HOSTS
from relayctl.channel.store import ChannelStore, checked_name
from relayctl.failed_calls import tried
from relayctl.incident.timeline import words
from relayctl.settings.settings_file import channel_of, settings_of
from relayctl.stack.deployed import Stack, on_stack

# Nothing is sent, so no time is needed.
_NO_DEADLINE = Deadline(0.0, lambda: 0.0)
_SETTLED = {
    Outcome.DUPLICATE: "the ledger has this very state already",
    Outcome.SUPERSEDED: "the ledger has a newer state of the incident",
    Outcome.QUEUED: "the state is on the dead-letter queue",
}
_ALONE = {
    Transition.REROUTED: "a late tag chose them, and the others know of it",
    Transition.UNANSWERED: "nobody is known to have heard the others' page",
}
_ACKNOWLEDGED = "they acknowledged, and nothing worsened or reopened since"


def task_of(channel: Channel, share: Share, body: bytes, named: tuple[str, ...], now: float) -> Task:
    """Return the task that the webhook makes of a share at `now` (epoch seconds). The URL has recipients `named`."""
    state = State.of(share, now)
    job = new_job(channel, share, state, body, named, "relayctl")
    return Task.of(channel, share, job, state, _NO_DEADLINE, is_from_webhook=True)


class Case(NamedTuple):
    """All that the webhook's function would decide from: a share, its channel, its time of arrival, and the ledger."""

    channel: Channel
    share: Share
    body: bytes
    named: tuple[str, ...]  # Recipients in the query of the channel's URL that BigPanda calls
    now: float  # The time of arrival (epoch seconds)
    entry: Entry = Entry()  # The incident's entry in the ledger; an empty one if there is none
    gates: Mapping[str, Gate] = {}  # Of the rate limits of the channel and of the recipients, by name
    missing: str | None = None  # The reason why the ledger was not read; None if it was read

    @property
    def task(self) -> Task:
        """The share as a Task object, from which `step` decides. It has no facts from the ledger yet."""
        permitted = tuple(filter(self.channel.permits, self.named))
        return task_of(self.channel, self.share, self.body, permitted, self.now)


def explanation(case: Case) -> dict[str, Any]:
    task, _, action = step(case.task, case.entry, case.now)
    only = action.only if isinstance(action, Send) else ()
    body, decision = content(task, only or task.recipients), decision_of(task)
    return {
        "verdict": _verdict(case, task, action),
        "transition": task.change.transition if task.change else None,
        "ledger_missing": case.missing,
        "compared_with": list(words(case.entry, case.now)) if case.entry.sequence else [],
        "routes": _routes(case),
        "recipients": {
            "names": list(only or task.recipients),
            "why_alone": _ALONE.get(task.change.transition, _ACKNOWLEDGED) if only and task.change else None,
            "refused_in_url": [name for name in case.named if name not in task.recipients],
            "named_elsewhere": case.channel.recipients_in,
        },
        "request": {
            "is_sent": not isinstance(action, Settle) and case.channel.policy.mode is not Mode.SHADOW,
            "is_bigpandas_body": decision.body == "bigpanda",
            "priority": decision.priority,
            "bytes": len(body),
            "body": body.decode("utf-8"),
        },
    }


def _verdict(case: Case, task: Task, action: Action) -> dict[str, Any]:
    why, is_shadowed = task.change.why if task.change else "", task.channel.policy.mode is Mode.SHADOW
    if is_shadowed and isinstance(action, Wait) and action.reason == Reason.FLAPPING:
        return {"action": "nothing", "outcome": Outcome.UNCHANGED, "why": f"{why}; not announced until it is calm"}
    if is_shadowed and not isinstance(action, Settle):
        return {"action": "shadow", "outcome": Outcome.SHADOWED, "why": why}
    wait = _limited(case, task) if isinstance(action, Send) else action
    match wait:
        case None:
            return {"action": "signal", "outcome": Outcome.DELIVERED, "why": why}
        case Wait():
            at = {"reason": wait.reason, "until": timestamp(wait.until)}
            return {"action": "wait", "outcome": Outcome.QUEUED, "why": why, **at}
        case Settle():
            return {"action": "nothing", "outcome": wait.outcome, "why": _unsent(task, wait.outcome)}
    raise AssertionError(f"{type(action).__name__} is no action for a share that just came")


def _limited(case: Case, task: Task) -> Wait | None:
    """Return the wait of a signal for the circuit or for a full rate limit; None if it need not wait."""
    now, is_critical = case.now, task.state.is_critical
    for limit in limits_of(task.channel, task.recipients):
        if gate := case.gates.get(limit.gate):
            free = gate.free(now, limit.most)
            if gate.circuit.is_open(now):
                return Wait(Reason.CIRCUIT_OPEN, gate.circuit.open_until or free)
            if free > now or gate.must_step_back(limit, now, is_critical=is_critical, is_due=False):
                return Wait(Reason.PACED, free)
    return None


def _unsent(task: Task, outcome: Outcome) -> str:
    if task.change is None or outcome != Outcome.UNCHANGED:
        return _SETTLED[outcome]
    change = task.change.transition
    if change in task.channel.policy.notify_on:
        # `step` says in `why` that a pause leaves the state out.
        return task.change.why
    rule = "is never signalled" if change == Transition.TOUCHED else "is not in policy.notify_on"
    return f"{task.change.why}; {change} {rule}"


def _routes(case: Case) -> list[dict[str, Any]]:
    routes, opened = case.channel.policy.routes, is_open(case.share)
    found = chosen(routes, case.share, is_open=opened)
    place = next((number for number, each in enumerate(routes) if each is found), len(routes))

    def result(number: int, route: Route) -> str:
        """Return whether a route matched, with the conditions that hold, or those that do not, in words."""
        if number > place:
            return "not reached, an earlier route matched"
        hold = number == place
        said = "matched" if hold else "did not match"
        for fact, patterns in route.when:
            if (chosen((Route(((fact, patterns),), ()),), case.share, is_open=opened) is not None) is hold:
                values = ", ".join(values_of(fact, case.share, is_open=opened)) or "not in the body"
                said += f", {fact} is {values}{'' if hold else f', not {", ".join(patterns)}'}"
        return said

    return [
        {
            "key": f"policy.routes.{number}",
            "result": result(number, route),
            "recipients": list(route.recipients),
            "priority": route.priority,
        }
        for number, route in enumerate(routes)
    ]


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
        secret = ChannelStore(stack).existing(name)
        return parse_channel(name, secret.text(), stack.hosts), "from the stack", []
    if {"inbound", "xmatters"} & file.keys():
        return parse_channel(name, json.dumps(file), ANY_HOSTS), "from the file", []
    alone = channel_of(name, settings_of(file["policy"] if file.keys() == {"policy"} else file))
    stored, problem = (None, "--offline") if offline else tried(lambda: ChannelStore(stack).channel(name))
    if stored is not None:
        return replace(stored, policy=alone.policy), "from the stack, with the file's policy", []
    return alone, "policy from the file", [f"only the policy is known: {problem or f'there is no channel {name}'}"]


def _with_ledger(stack: Stack, case: Case) -> Case:
    task = case.task

    def ask() -> Case:
        table = stack.table()
        # A channel in shadow mode has entries of its own.
        name = shadow_key(task.entry_key) if task.channel.policy.mode is Mode.SHADOW else task.entry_key
        gates = {
            limit.gate: Gate.of(table.attributes(limit.gate)) for limit in limits_of(task.channel, task.recipients)
        }
        return case._replace(entry=Ledger(table).read(name), gates=gates)

    known, problem = tried(ask)
    return known or case._replace(missing=f"the ledger was not read: {problem}")

"""Explanation of a share as a JSON object: what the library's `step`, routes and content would make of it, and why."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from relay.channels.channel import Channel
from relay.channels.policy import Mode
from relay.channels.routes import Route, chosen, values_of
from relay.deadline import Deadline
from relay.delivery.step import Action, Send, Settle, step
from relay.delivery.task import Task, content, decision_of
from relay.failures import Reason
from relay.incidents.share import Share, State, Transition, is_open
from relay.jobs.job import new_job, timestamp
from relay.jobs.outcome import Outcome
from relay.ledger.channel_rate_limiter import Gate, rules_of
from relay.ledger.debt import Wait
from relay.ledger.entry import Entry
from relay.ledger.entry_key import shadow_of
from relayctl.incident.timeline import words

_OWNER = "relayctl"
# Nothing is sent, so no time is needed.
_NO_DEADLINE = Deadline(0.0, lambda: 0.0)
_SETTLED = {
    Outcome.DUPLICATE: "the ledger has this very state already",
    Outcome.SUPERSEDED: "the ledger has a newer state of the incident",
    Outcome.QUEUED: "the state is on the dead-letter queue",
}


def task_of(channel: Channel, share: Share, body: bytes, named: tuple[str, ...], now: float) -> Task:
    """Return the task of a share that comes now (epoch seconds), as the webhook's function makes it."""
    state = State.of(share, now)
    job = new_job(channel, share, state, body, named, _OWNER)
    return Task.of(channel, share, job, state, _OWNER, _NO_DEADLINE, is_from_webhook=True)


class Case(NamedTuple):
    """A share, its channel, its time of arrival, and the ledger: what the webhook's function would work with."""

    channel: Channel
    share: Share
    body: bytes
    named: tuple[str, ...]  # Recipients in the query of the channel's URL that BigPanda calls
    now: float  # The time of arrival (epoch seconds)
    entry: Entry = Entry()  # The incident's entry in the ledger; an empty one if there is none
    gates: Mapping[str, Gate] = {}  # Of the rate limits of the channel and of the recipients, by name
    missing: str | None = None  # The reason why the ledger was not read; None if it was read

    @property
    def permitted(self) -> tuple[str, ...]:
        """Recipients in the query of the channel's inbound URL, without those that the channel does not permit."""
        return tuple(filter(self.channel.permits, self.named))

    @property
    def entry_name(self) -> str:
        """Key of the incident's entry in the ledger. A channel in shadow mode has entries of its own."""
        return shadow_of(self.task.entry_key) if _is_shadowed(self.channel) else self.task.entry_key

    @property
    def task(self) -> Task:
        """The share as a Task object, from which `step` decides. It has no facts from the ledger yet."""
        return task_of(self.channel, self.share, self.body, self.permitted, self.now)


def explanation(case: Case) -> dict[str, Any]:
    task, _, action = step(case.task, case.entry, case.now)
    only = action.only if isinstance(action, Send) else ()
    is_sent = not isinstance(action, Settle) and not _is_shadowed(case.channel)
    return {
        "verdict": _verdict(case, task, action),
        "transition": task.change.transition if task.change else None,
        "ledger_missing": case.missing,
        "compared_with": list(words(case.entry, case.now)) if case.entry.sequence else [],
        "routes": _routes(case),
        "recipients": _recipients(case, task, only),
        "request": _request(task, only, is_sent=is_sent),
    }


def _is_shadowed(channel: Channel) -> bool:
    return channel.policy.mode is Mode.SHADOW


def _verdict(case: Case, task: Task, action: Action) -> dict[str, Any]:
    why = task.change.why if task.change else ""
    if _is_shadowed(task.channel) and isinstance(action, Wait) and action.reason == Reason.FLAPPING:
        return {"action": "nothing", "outcome": Outcome.UNCHANGED, "why": f"{why}; not announced until it is calm"}
    if _is_shadowed(task.channel) and not isinstance(action, Settle):
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
    for rule in rules_of(task.channel, task.recipients):
        if gate := case.gates.get(rule.gate):
            free = gate.free(case.now, rule.limit)
            if gate.circuit.is_open(case.now):
                return Wait(Reason.CIRCUIT_OPEN, gate.circuit.open_until or free)
            if free > case.now or gate.must_step_back(rule, case.now, is_critical=task.state.is_critical, is_due=False):
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

    def conditions(route: Route, *, hold: bool) -> str:
        """Return the conditions of a route that hold, or those that do not, in words."""
        said = ""
        for fact, patterns in route.when:
            if (chosen((Route(((fact, patterns),), ()),), case.share, is_open=opened) is not None) is hold:
                values = ", ".join(values_of(fact, case.share, is_open=opened)) or "not in the body"
                said += f", {fact} is {values}{'' if hold else f', not {", ".join(patterns)}'}"
        return said

    def result(number: int, route: Route) -> str:
        if number > place:
            return "not reached, an earlier route matched"
        hold = number == place
        return f"{'matched' if hold else 'did not match'}{conditions(route, hold=hold)}"

    return [
        {
            "key": f"policy.routes.{number}",
            "result": result(number, route),
            "recipients": list(route.recipients),
            "priority": route.priority,
        }
        for number, route in enumerate(routes)
    ]


_ALONE = {
    Transition.REROUTED: "a late tag chose them, and the others know of it",
    Transition.UNANSWERED: "nobody is known to have heard the others' page",
}
_ACKNOWLEDGED = "they acknowledged, and nothing worsened or reopened since"


def _recipients(case: Case, task: Task, only: tuple[str, ...]) -> dict[str, Any]:
    return {
        "names": list(only or task.recipients),
        "why_alone": _ALONE.get(task.change.transition, _ACKNOWLEDGED) if only and task.change else None,
        "refused_in_url": [name for name in case.named if name not in task.recipients],
        "named_elsewhere": case.channel.recipients_in,
    }


def _request(task: Task, only: tuple[str, ...], *, is_sent: bool) -> dict[str, Any]:
    body = content(task, only or task.recipients)
    decision = decision_of(task)
    return {
        "is_sent": is_sent,
        "is_bigpandas_body": decision.body == "bigpanda",
        "priority": decision.priority,
        "bytes": len(body),
        "body": body.decode("utf-8"),
    }

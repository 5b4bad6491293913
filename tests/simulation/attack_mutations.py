"""Faults that remove a protection from attacks. Each is put into the library, and an attack's schedule must find it."""

from functools import partial

from tests.simulation.mutations import Mutation

_mutation = partial(Mutation, simulation="attacks")

ATTACK_MUTATIONS = (
    _mutation(
        "a reconcile run looks into environments that shares name",
        "reconcile.history:Planner.listings",
        "access.environments",
        "(*access.environments, *self.sources.suggested(channel))",
    ),
    _mutation(
        "a reconcile run rings recipients that only a forged share named",
        "reconcile.comparison:Comparison._read",
        "found[name].sequence and is_known",
        "found[name].sequence",
        seed=258,
    ),
    _mutation(
        "a webhook's URL may name anybody",
        "channels.channel:Channel.permits",
        "allowed is None or name in allowed",
        "allowed is None or name in allowed or name",
    ),
    _mutation(
        "a pattern of allowed recipients fits any part of a name",
        "channels.channel:_fits",
        "fnmatchcase(name, pattern)",
        'fnmatchcase(name, f"*{pattern}*")',
        seed=78,
    ),
    _mutation(
        "BigPanda is not asked if a resolve is true",
        "channels.channel:Channel.asks_about_ends",
        "can_ask and self.policy.confirm_resolve and self.policy.mode is not Mode.SHADOW",
        "False",
    ),
    _mutation(
        "BigPanda's first answer that an incident is open counts at once",
        "ledger.entry:End.answered_open",
        "self.is_claimed and asked_at - self.last_claimed_at >= CLAIM_SECONDS",
        "self.is_claimed",
        seed=4,
    ),
    _mutation(
        "a resolve is believed as soon as BigPanda leaves a question without an answer",
        "delivery.resolve_questions:ResolveQuestions._unanswered",
        "asked_at - end.silent_since >= UNREACHABLE_SECONDS",
        "asked_at >= end.silent_since",
        seed=2,
    ),
    _mutation(
        "a question that a rate limit delays counts as one without an answer",
        "delivery.resolve_questions:ResolveQuestions.ask",
        "self._unanswered(question, is_paced=answer.is_paced)",
        "self._unanswered(question, is_paced=False)",
        seed=42,
    ),
    _mutation(
        "a callback of an unknown incident is written",
        "bigpanda.callback_verification:Verifier._judged",
        "any(entry.sequence for entry in entries)",
        "True",
        seed=1,
    ),
    _mutation(
        "a callback need not name a page of the incident",
        "bigpanda.callback_verification:Verifier._of_page",
        'CallbackVerdict(Verdict.UNVERIFIED, "it names no page of the incident")',
        "CallbackVerdict(Verdict.VERIFIED)",
        seed=1,
    ),
    _mutation(
        "whoever acknowledges is believed",
        "bigpanda.callback_verification:Verifier._of_page",
        "received.is_acknowledgement or received.counts",
        "received.counts",
        seed=1,
    ),
    _mutation(
        "whoever resolves or snoozes is believed",
        "bigpanda.callback_verification:Verifier._of_page",
        "received.is_acknowledgement or received.counts",
        "received.is_acknowledgement",
        seed=1,
    ),
    _mutation(
        "an unverified answer acts",
        "bigpanda.incident_writer:IncidentWriter.write",
        "action is not None and action.changes_incident and to_write.is_verified",
        "action is not None and action.changes_incident",
        seed=1,
    ),
    _mutation(
        "the person of an unverified acknowledgement is assigned",
        "bigpanda.incident_writer:_is_to_assign",
        "to_write.is_verified and to_write.access.assign",
        "to_write.access.assign",
        seed=1,
    ),
    _mutation(
        "an unverified acknowledgement is noted",
        "bigpanda.callback_writeback:Writeback._written",
        "is_verified and received.is_acknowledgement and callback.target",
        "received.is_acknowledgement and callback.target",
        seed=1,
    ),
    _mutation(
        "a callback chooses its incident's environment",
        "bigpanda.callback_writeback:_incident",
        "(*known, access.allowed_environment(callback.environment_id), *access.environments)",
        "(callback.environment_id, *known, *access.environments)",
        seed=1,
    ),
    _mutation(
        "a member of the body ends an incident's pages",
        "delivery.task:decision_of",
        "not state.is_open",
        'not state.is_open or task.share.document.get("is_over") is True',
    ),
    _mutation(
        "a member of the body names recipients",
        "delivery.task:send_signal",
        "only or task.recipients",
        '(*(only or task.recipients), *task.share.document.get("recipients", ()))',
    ),
    _mutation(
        "all channels have one limit",
        "ledger.rate_limit_and_circuit:gate_of",
        'f"gate/{channel}"',
        '"gate/all"',
        seed=14,
    ),
)

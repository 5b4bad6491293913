"""Faults that remove a protection from attacks. Each is put into the library, and an attack's schedule must find it."""

from tests.simulation.mutations import faults

_FAULTS = """
a reconcile run looks into environments that shares name
    reconcile.history:Planner.listings
    - access.environments
    + (*access.environments, *self.sources.suggested(channel))
a reconcile run rings recipients that only a forged share named
    reconcile.comparison:Comparison._read, seed 258
    - found[name].sequence and is_known
    + found[name].sequence
a webhook's URL may name anybody
    channels.channel:Channel.permits
    - allowed is None or name in allowed
    + allowed is None or name in allowed or name
a pattern of allowed recipients fits any part of a name
    channels.channel:_fits, seed 78
    - fnmatchcase(name, pattern)
    + fnmatchcase(name, f"*{pattern}*")
BigPanda is not asked if a resolve is true
    channels.channel:Channel.asks_about_ends
    - can_ask and self.policy.confirm_resolve and self.policy.mode is not Mode.SHADOW
    + False
BigPanda's first answer that an incident is open counts at once
    ledger.entry:End.answered_open, seed 4
    - self.is_claimed and asked_at - self.last_claimed_at >= CLAIM_SECONDS
    + self.is_claimed
a resolve is believed as soon as BigPanda leaves a question without an answer
    delivery.resolve_questions:ResolveQuestions._unanswered, seed 2
    - asked_at - end.silent_since >= UNREACHABLE_SECONDS
    + asked_at >= end.silent_since
a question that a rate limit delays counts as one without an answer
    delivery.resolve_questions:ResolveQuestions.ask, seed 42
    - self._unanswered(question, is_paced=answer.is_paced)
    + self._unanswered(question, is_paced=False)
a callback of an unknown incident is written
    bigpanda.callback_verification:Verifier._judged, seed 1
    - any(entry.sequence for entry in entries)
    + True
a callback need not name a page of the incident
    bigpanda.callback_verification:Verifier._of_page, seed 1
    - CallbackVerdict(Verdict.UNVERIFIED, "it names no page of the incident")
    + CallbackVerdict(Verdict.VERIFIED)
whoever acknowledges is believed
    bigpanda.callback_verification:Verifier._of_page, seed 1
    - received.is_acknowledgement or received.counts
    + received.counts
whoever resolves or snoozes is believed
    bigpanda.callback_verification:Verifier._of_page, seed 1
    - received.is_acknowledgement or received.counts
    + received.is_acknowledgement
an unverified answer acts
    bigpanda.incident_writer:IncidentWriter.write, seed 1
    - action is not None and action.changes_incident and to_write.is_verified
    + action is not None and action.changes_incident
the person of an unverified acknowledgement is assigned
    bigpanda.incident_writer:_is_to_assign, seed 1
    - to_write.is_verified and to_write.access.assign
    + to_write.access.assign
an unverified acknowledgement is noted
    bigpanda.callback_writeback:Writeback._written, seed 1
    - is_verified and received.is_acknowledgement and callback.target
    + received.is_acknowledgement and callback.target
a callback chooses its incident's environment
    bigpanda.callback_writeback:_incident, seed 1
    - (*known, access.allowed_environment(callback.environment_id), *access.environments)
    + (callback.environment_id, *known, *access.environments)
a member of the body ends an incident's pages
    delivery.task:decision_of
    - not state.is_open
    + not state.is_open or task.share.document.get("is_over") is True
a member of the body names recipients
    delivery.task:send_signal
    - only or task.recipients
    + (*(only or task.recipients), *task.share.document.get("recipients", ()))
all channels have one limit
    ledger.rate_limit_and_circuit:gate_of, seed 14
    - f"gate/{channel}"
    + "gate/all"
"""
ATTACK_MUTATIONS = faults(_FAULTS, simulation="attacks")

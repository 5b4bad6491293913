"""Faults that remove a protection from attacks. Each is put into the library, and an attack's schedule must find it."""

from functools import partial

from tests.simulation.mutations import Mutation

_mutation = partial(Mutation, simulation="attacks")

ATTACK_MUTATIONS = (
    _mutation(
        "a reconcile run looks into environments that shares name",
        "reconcile.schedule",
        "for environment_id in channel.bigpanda.environments if channel.bigpanda else ():",
        "for environment_id in (*channel.bigpanda.environments, *self.sources.suggested(channel)):",
    ),
    _mutation(
        "a reconcile run rings recipients that only a forged share named",
        "reconcile.comparison",
        "if found[name].sequence and is_known:",
        "if found[name].sequence:",
        seed=258,
    ),
    _mutation(
        "a reconcile run believes a forged resolve",
        "reconcile.comparison",
        "if channel is None or not channel.confirms_ends:",
        "if channel is not None:",
        seed=660,
    ),
    _mutation(
        "a webhook's URL may name anybody",
        "channels.channel",
        "if allowed is None or name in allowed:",
        "if allowed is None or name in allowed or name:",
    ),
    _mutation(
        "a pattern of allowed recipients fits any part of a name",
        "channels.channel",
        "return fnmatchcase(name, pattern)",
        'return fnmatchcase(name, f"*{pattern}*")',
        seed=78,
    ),
    _mutation(
        "the end of an incident is not confirmed with BigPanda",
        "channels.channel",
        "return self.policy.confirm_resolve and self.bigpanda is not None and bool(self.bigpanda.environments)",
        "return False",
    ),
    _mutation(
        "a resolve is believed although BigPanda contradicted one just now",
        "ledger.incident_end",
        "return now - self.contradicted_at < DISTRUST_SECONDS",
        "return False",
        seed=2,
    ),
    _mutation(
        "pages end before BigPanda confirms the resolve",
        "delivery.page_followup",
        "is_end_certain = not channel.confirms_ends or entry.end.is_confirmed",
        "is_end_certain = True",
        seed=4,
    ),
    _mutation(
        "a callback of an unknown incident is written",
        "bigpanda.verification",
        "is_known = any(entry.sequence for entry in entries)",
        "is_known = True",
        seed=1,
    ),
    _mutation(
        "a callback need not name a page of the incident",
        "bigpanda.verification",
        'return CallbackVerdict(Verdict.UNVERIFIED, "it names no page of the incident")',
        "return CallbackVerdict(Verdict.VERIFIED)",
        seed=1,
    ),
    _mutation(
        "whoever acknowledges is believed",
        "bigpanda.verification",
        "needs_person = received.is_acknowledgement or received.changes_incident",
        "needs_person = received.changes_incident",
        seed=1,
    ),
    _mutation(
        "whoever resolves or snoozes is believed",
        "bigpanda.verification",
        "needs_person = received.is_acknowledgement or received.changes_incident",
        "needs_person = received.is_acknowledgement",
        seed=1,
    ),
    _mutation(
        "an unverified answer acts",
        "bigpanda.incident_writer",
        "changes = action is not None and action.changes_incident and to_write.is_verified",
        "changes = action is not None and action.changes_incident",
        seed=1,
    ),
    _mutation(
        "the person of an unverified acknowledgement is assigned",
        "bigpanda.incident_writer",
        "is_wanted = to_write.is_verified and to_write.access.assign",
        "is_wanted = to_write.access.assign",
        seed=1,
    ),
    _mutation(
        "an unverified acknowledgement is noted",
        "bigpanda.writeback",
        "if is_verified and channel.signals_acknowledger_only and",
        "if channel.signals_acknowledger_only and",
        seed=1,
    ),
    _mutation(
        "a callback chooses its incident's environment",
        "bigpanda.writeback",
        "(*known, access.allowed_environment(callback.environment_id), *access.environments)",
        "(callback.environment_id, *known, *access.environments)",
        seed=1,
    ),
    _mutation(
        "the fallback topic is not notified of what the limit holds",
        "sweeper.fallback_notifier",
        "if not entry.debt.is_critical or entry.debt.is_notified or entry.debt.since is None:",
        'if not entry.debt.is_critical or entry.debt.is_notified or entry.debt.reason in {"", "paced"}:',
        seed=18,
    ),
    _mutation(
        "the fallback topic is notified of ten incidents, and the others count as notified",
        "sweeper.fallback_notifier",
        "others=len(rows) - len(debts) + unchecked)",
        "others=0)",
        seed=18,
    ),
    _mutation(
        "a member of the body ends an incident's pages",
        "delivery.trigger_retries",
        "is_over=not state.is_open,",
        'is_over=not state.is_open or parse_share(task.job.payload.body).document.get("is_over") is True,',
    ),
    _mutation(
        "a member of the body names recipients",
        "delivery.trigger_retries",
        "            recipients,\n            job.delivery_id",
        '            (*recipients, *parse_share(job.payload.body).document.get("recipients", ())),\n'
        "            job.delivery_id",
    ),
    _mutation(
        "all channels have one limit",
        "ledger.channel_rate_limiter",
        'return f"gate/{channel}"',
        'return "gate/all"',
        seed=14,
    ),
)

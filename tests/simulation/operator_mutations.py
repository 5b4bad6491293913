"""Deliberate faults that only operators' stories find: conditions of pauses and routes, drops, reports."""

from tests.simulation.mutations import Mutation

OPERATOR_MUTATIONS = (
    Mutation(
        "a pause holds all incidents, whatever its conditions",
        "channels.routes:pauses_for",
        "not each.when or meets(each.when, share, is_open=is_open)",
        "True",
        seed=742,
    ),
    Mutation(
        "a pause with conditions holds nothing",
        "channels.routes:pauses_for",
        "not each.when or meets(each.when, share, is_open=is_open)",
        "not each.when",
        seed=137,
    ),
    Mutation(
        "one condition of a route is enough",
        "channels.routes:chosen",
        "all(facts.fits(fact, patterns) for fact, patterns in route.when)",
        "any(facts.fits(fact, patterns) for fact, patterns in route.when)",
        seed=106,
    ),
    Mutation(
        "paused_until of the ledger's entry outlives its signal",
        "ledger.debt:Debt.settled",
        "Debt(plan=self.plan, attempts=self.attempts, reason=self.reason, revived_at=self.revived_at)",
        "replace(self, row=None, since=None, is_notified=False, slot=None, claim_hold_until=0.0, dead_lettered_at=0.0)",
        seed=8274,
    ),
    Mutation(
        "what the ledger keeps of the last share's facts is not given to what a run found",
        "reconcile.reconciler:Queueing._put",
        "with_facts(whole, entry.about.facts)",
        "with_facts(whole, {})",
        seed=46,
    ),
    Mutation(
        "a reconcile run's snapshot is stamped after its details were asked",
        "reconcile.reconciler:Queueing._whole",
        "as_seen(found, now)",
        "as_seen(found, self.clock())",
        seed=3891,
    ),
    Mutation(
        "a reconcile run works beside another one",
        "reconcile.findings:Lease.take",
        '("until", now)',
        '("until", now + LEASE_SECONDS + 60)',
        seed=1091,
    ),
    Mutation(
        "an incident without a share is reported by each run",
        "reconcile.reconciler:Reporter.report",
        "not known.queued",
        "True",
        seed=854,
    ),
    Mutation(
        "a dropped state still makes its channel sick",
        "ledger.entry:Entry.dropped",
        "replace(self, debt=replace(self.debt, since=None, row=None)) if is_dropped else self",
        "self",
        seed=472,
    ),
)

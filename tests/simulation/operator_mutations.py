"""Deliberate faults that only operators' stories find: conditions of pauses and routes, drops, reports."""

from tests.simulation.mutations import faults

OPERATOR_MUTATIONS = faults("""
a pause holds all incidents, whatever its conditions
    channels.routes:pauses_for, seed 742
    - not each.when or meets(each.when, share, is_open=is_open)
    + True
a pause with conditions holds nothing
    channels.routes:pauses_for, seed 137
    - not each.when or meets(each.when, share, is_open=is_open)
    + not each.when
one condition of a route is enough
    channels.routes:chosen, seed 106
    - all(facts.fits(fact, patterns) for fact, patterns in route.when)
    + any(facts.fits(fact, patterns) for fact, patterns in route.when)
paused_until of the ledger's entry outlives its signal
    ledger.debt:Debt.settled, seed 8274
    - Debt(plan=self.plan, attempts=self.attempts, reason=self.reason, revived_at=self.revived_at)
    + replace(self, row=None, since=None, is_notified=False, slot=None, claim_hold_until=0.0, dead_lettered_at=0.0)
what the ledger keeps of the last share's facts is not given to what a run found
    reconcile.reconciler:Queueing._put, seed 46
    - with_facts(whole, entry.about.facts)
    + with_facts(whole, {})
a reconcile run's snapshot is stamped after its details were asked
    reconcile.reconciler:Queueing._whole, seed 3891
    - as_seen(found, now)
    + as_seen(found, self.clock())
a reconcile run works beside another one
    reconcile.findings:Lease.take, seed 1091
    - ("until", now)
    + ("until", now + LEASE_SECONDS + 60)
an incident without a share is reported by each run
    reconcile.reconciler:Reporter.report, seed 854
    - not known.queued
    + True
a dropped state still makes its channel sick
    ledger.entry:Entry.dropped, seed 472
    - replace(self, debt=replace(self.debt, since=None, row=None)) if is_dropped else self
    + self
""")

"""Calls and cents of one critical: its share, its page and the proof of it, its end. Counted with the library itself.

Without callbacks, so that all proof comes from xMatters' REST API: that takes the most calls.
"""

import json
from collections import Counter
from functools import partial

from bench import cost
from bench.bodies import body
from bench.figures import Figure, Section, measured
from bench.usage import MeteredRelay, Usage
from tests import samples
from tests.fakes import FakeSecrets, FakeSession
from tests.unit.paging_tenant import REST, Tenant

# A surge of requests once took xMatters' log-ins down: docs/vendors.md, "The REST API".
MOST_REST_CALLS = 3
LASTS_SECONDS = 1800


def section() -> Section:
    """Return the calls and the price of a critical that is paged, heard of, answered and over."""
    tenant = Tenant()
    tenant.audits["page-1"] = ["DELIVERED", "Acknowledge"]
    document = samples.secret(policy={"notified_within_seconds": 300, "answered_within_seconds": 600})
    document["xmatters"]["rest"] = REST
    secrets = FakeSecrets(noc=json.dumps(document))
    metered = MeteredRelay(tenant.accept, secrets=secrets, rest=FakeSession(tenant.rest))
    tenant.now = metered.relay.clock
    shares, others, reads = list[Counter[str]](), list[Counter[str]](), [0]
    for age, status in ((0, "critical"), (LASTS_SECONDS, "ok")):
        shares.append(metered.serve(samples.request(body("i1", cost.USUAL_ALERTS, age=age, status=status))))
        others += _settled(metered, LASTS_SECONDS)
        reads.append(len(tenant.asked) + len(tenant.audited) + tenant.looked_for_suppressed)
    paid = cost.request_bill(Usage.mean(shares), cost.SHARE_CPU, cost.XMATTERS_SECONDS).total() * len(shares)
    paid += cost.run_bill(Usage.mean(others), cost.WAKE_CPU, cost.XMATTERS_SECONDS).total() * len(others)
    used = sum((*shares, *others), Counter[str]())
    figures: list[Figure] = [
        measured("runs of functions", "", len(shares) + len(others)),
        measured("calls to AWS", "", used["aws_calls"]),
        measured("signals", "", len(tenant.signals)),
        measured("reads of xMatters' REST API for the proof", "", reads[1], aim=MOST_REST_CALLS),
        measured("reads of it to end the page", "", reads[2] - reads[1]),
        measured("pages ended by it", "", len(tenant.ended)),
        measured("a thousand such criticals", "$", paid / 1000),
    ]
    notes = (
        f"List prices, {cost.NOTED}; no free tiers. Each run that waits for xMatters waits {cost.XMATTERS_SECONDS} s.",
        "With callbacks of deliveries and responses xMatters is asked less, and each callback is a request to the API.",
    )
    return Section("Calls and cents of a critical", figures, notes)


def _settled(metered: MeteredRelay, seconds: float) -> list[Counter[str]]:
    """Let time pass until no job waits, for some seconds at most; return what each run used."""
    relay, runs, end = metered.relay, list[Counter[str]](), metered.clock.now + seconds
    while metered.clock.now < end:
        while metered.queue.waiting and metered.queue.next_at <= metered.clock.now:
            runs.append(metered.wake())
        chores, relay.chores.messages = relay.chores.messages, []
        for chore in chores:
            if chore["DelaySeconds"] > 0:
                relay.chores.messages.append(chore | {"DelaySeconds": chore["DelaySeconds"] - 1})
                continue
            record = {"messageId": "m1", "body": chore["MessageBody"]}
            runs.append(metered.run(partial(relay.worker.work, [record])))
        metered.clock.now += 1
    return runs

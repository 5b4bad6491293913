"""Benchmark of the warm webhook: a share, compared with a bare POST of the same body and the calls to AWS.

The handler runs in this process as Lambda calls it, with real clients and a real session over loopback. Telemetry is
included, Lambda's own decoding of the event is not.
"""

import json
import time
import uuid
from collections import Counter

import requests

from bench import bodies
from bench.edges import TOKEN
from bench.figures import Section, measured
from bench.webhook import Spent, Webhook, loaded_webhook
from sandbox.errors import SandboxError

# Below the 60 signals a minute that a channel's rate limit allows.
SHARES_A_CHANNEL = 40
WARM_UP_ROUNDS = 20
ALERTS = 3


def section(rounds: int) -> Section:
    """Measure so many new shares, each beside a bare POST, and return the table."""
    # The seconds and the CPU seconds of the bare POST of the same body, beside each share.
    spent, bares = list[Spent](), list[tuple[float, float]]()
    with loaded_webhook() as webhook, requests.Session() as session:
        # Bare: without a search for proxies or passwords.
        session.trust_env = False
        channel = ""
        for number in range(rounds + WARM_UP_ROUNDS):
            if number % SHARES_A_CHANNEL == 0:
                channel = uuid.uuid4().hex
                # The webhook then has the channel's secret in its cache.
                webhook.invoke(bodies.event(channel, TOKEN, b'{"warm": "up"}'))
            content = bodies.body(uuid.uuid4().hex, ALERTS)
            # The bare POST alternates between first and last, since the second of two finds warmer caches.
            before = _post(session, webhook.url, content) if number % 2 else None
            each = _share(webhook, channel, content)
            bare = before or _post(session, webhook.url, content)
            if number >= WARM_UP_ROUNDS:
                spent.append(each)
                bares.append(bare)
    pairs = list(zip(spent, bares, strict=True))
    bases = [1e3 * (each.aws_seconds + seconds) for each, (seconds, _) in pairs]
    ratios = [1e3 * each.seconds / base for (each, _), base in zip(pairs, bases, strict=True)]
    own = [1e3 * (each.cpu - each.aws_cpu - cpu) for each, (_, cpu) in pairs]
    rows = [
        measured("POST + AWS calls", "ms", *bases),
        measured("delivered", "ms", *(1e3 * each.seconds for each in spent)),
        measured("  times POST + AWS calls", "", *ratios, aim=1.2),
        measured("  own CPU", "ms", *own, aim=2.0),
    ]
    [(calls, _)] = Counter(tuple(sorted(each.calls.items())) for each in spent).most_common(1)
    note = (
        f"A new incident with {ALERTS} alerts. Calls to AWS: {', '.join(f'{count} {name}' for name, count in calls)}. "
        "AWS and xMatters answer on loopback within a fraction of a millisecond, so that the relay's own time shows; "
        "real services take 3 to 300 ms a call."
    )
    return Section("Warm webhook: one share, handler and telemetry included", rows, (note,))


def _share(webhook: Webhook, channel: str, content: bytes) -> Spent:
    """Post a share to the webhook, and return the resources of the invocation.

    Raises SandboxError unless it is delivered.
    """
    answer, spent = webhook.invoke(bodies.event(channel, TOKEN, content))
    if json.loads(answer["body"]).get("outcome") != "delivered":
        raise SandboxError(f"a share should be delivered; the webhook answers {answer['body']}")
    return spent


def _post(session: requests.Session, url: str, content: bytes) -> tuple[float, float]:
    """Post a body directly to xMatters; return the seconds and the CPU seconds."""
    began, cpu = time.perf_counter(), time.process_time()
    session.post(url, data=content, headers={"Content-Type": "application/json"}).raise_for_status()
    return time.perf_counter() - began, time.process_time() - cpu

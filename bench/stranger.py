"""Cost of a day in which a stranger sends as many requests a second as the API's throttle admits.

Calls, units and bytes are counted in the real library (`usage`). CPU seconds are assumed, since only AWS could show
them. docs/install.md has the result as a table, "What a stranger can cost".
"""

import json
import random
import string
from collections import Counter
from collections.abc import Callable, Mapping
from copy import replace
from dataclasses import dataclass
from typing import Any

from bench import bodies
from bench.cost import (
    MILLION,
    NOTED,
    SHARE_CPU,
    access_log,
    billed_seconds,
    request_bill,
    run_bill,
)
from bench.figures import Section, measured
from bench.usage import MeteredRelay, Usage
from relay.channels.authentication import OPAQUE_PER_SECOND, Request
from relay.ledger.channel_rate_limiter import HORIZON_SECONDS, gate_of
from tests import samples

# The template's throttle of each method, and the duration in seconds.
REQUESTS_A_SECOND, DAY = 1000, 86_400
# Assumed: seconds of a whole processor; not measured on AWS.
REFUSED_CPU, LARGE_CPU, JOB_CPU = 0.002, 0.030, 0.006
# The template's default concurrency, and DynamoDB's default quota for an on-demand table.
WORKERS, TABLE_UNITS_A_SECOND = 5, 40_000
# Dollars for a million requests, from pages that quote aws.amazon.com/waf/pricing; not checked on AWS's own page.
WAF_REQUESTS = 0.60
LINE_IS_FULL, REFUSALS = 400, 100
# The largest body that the relay stores whole, whatever its content.
LARGE_BYTES = 256 * 1024


def _small(number: int) -> bytes:
    return bodies.body(f"forged-{number}", 3)


def _large(number: int) -> bytes:
    """Return a body of random words, which zlib cannot make smaller."""
    document: dict[str, Any] = json.loads(_small(number))
    length = LARGE_BYTES - len(json.dumps(document)) - 2
    words = random.Random(number).choices(string.ascii_letters + string.digits + "+/", k=length)
    document["incident"]["alerts"][0]["description"] += "".join(words)
    return json.dumps(document).encode()


@dataclass(frozen=True)
class Body:
    """A forged body of an incident with some number; assumed CPU seconds; and over how many the average is taken."""

    of: Callable[[int], bytes]
    cpu: float
    count: int


SMALL, LARGE = Body(_small, SHARE_CPU, 100), Body(_large, LARGE_CPU, 10)


def bills() -> dict[str, float]:
    """Return the cost of a day of requests from a stranger, in dollars, for each kind of stranger."""
    million = DAY * REQUESTS_A_SECOND / MILLION
    return {
        "a wrong credential, a new name each time": _requests(refused(), REFUSED_CPU),
        "a channel's token, small bodies": _with_token(SMALL),
        "a channel's token, bodies of 256 KiB": _with_token(LARGE),
        "an address that AllowedSourceCidrs denies": million * access_log(),
        "a request that WebAclArn blocks": million * (access_log() + WAF_REQUESTS),
    }


def refused() -> Usage:
    """Count requests with a wrong credential, each for another channel that does not exist."""
    metered = MeteredRelay()
    seconds = billed_seconds(Usage(), REFUSED_CPU)
    usage = Usage.mean(
        _served(metered, samples.request(channel=f"guess-{number}"), seconds) for number in range(REFUSALS)
    )
    # Each running function may look up one name a second; its initial burst is too small to count.
    return replace(usage, secret_reads=min(1.0, OPAQUE_PER_SECOND * billed_seconds(usage, REFUSED_CPU)))


def forged(body: Body) -> tuple[Usage, Usage]:
    """Count forged criticals with a valid token, once the channel's rate limit has no free slot.

    Returns the usage of a share, and that of its job, which wakes, finds no free slot either, and waits again.
    """
    metered = MeteredRelay()
    for number in range(LINE_IS_FULL):
        _served(metered, samples.request(_small(number)))
    metered.queue.waiting.clear()
    seconds = billed_seconds(Usage(aws_calls=4), body.cpu)
    numbers = range(LINE_IS_FULL, LINE_IS_FULL + body.count)
    shares = Usage.mean([_served(metered, samples.request(body.of(number)), seconds) for number in numbers])
    metered.clock.now += HORIZON_SECONDS
    # Newer jobs have taken the slots meanwhile.
    metered.relay.table.update(gate_of("noc"), put={"critical": metered.clock.now + HORIZON_SECONDS + 1})
    return shares, Usage.mean([metered.wake() for _ in range(body.count)])


def section() -> Section:
    title = f"Cost of a day of {REQUESTS_A_SECOND:,} requests a second from a stranger"
    rows = [measured(name, "$", dollars) for name, dollars in bills().items()]
    note = (
        f"List prices, {NOTED}. Assumed: {REFUSED_CPU * 1e3:.0f} ms of a processor for a refusal, "
        f"{SHARE_CPU * 1e3:.0f} ms for a share, {LARGE_CPU * 1e3:.0f} ms for a large one, {JOB_CPU * 1e3:.0f} ms for a "
        f"job; {WORKERS} workers."
    )
    return Section(title, rows, (note,))


def table(found: Mapping[str, float]) -> list[str]:
    """Return the rows of the table in docs/install.md, with two significant digits: as precise as the assumptions."""
    return [f"| {name} | ${float(f'{dollars:.2g}'):,.0f} |" for name, dollars in found.items()]


def _with_token(body: Body) -> float:
    share, woken = forged(body)
    return _requests(share, body.cpu) + _workers(woken)


def _requests(usage: Usage, cpu: float) -> float:
    """Return the dollars for a day of requests. Writes beyond the table's quota are throttled and cost nothing."""
    paid = replace(usage, write_units=min(usage.write_units, TABLE_UNITS_A_SECOND / REQUESTS_A_SECOND))
    return request_bill(paid, cpu).total() * DAY * REQUESTS_A_SECOND / MILLION


def _workers(usage: Usage) -> float:
    """Return the dollars for a day in which all job workers are busy."""
    return run_bill(usage, JOB_CPU).total() * WORKERS * DAY / billed_seconds(usage, JOB_CPU) / MILLION


def _served(metered: MeteredRelay, request: Request, seconds: float = 0.0) -> Counter[str]:
    used = metered.serve(request)
    metered.clock.now += seconds
    return used

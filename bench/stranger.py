"""Cost of a day in which a stranger sends as many requests a second as the API's throttle admits.

Calls, units and bytes are counted in the real library with the tests' fakes as adapters. CPU seconds are assumed, since
only AWS could show them. Prices are list prices.
"""

import contextlib
import json
import random
import string
from collections.abc import Callable, Iterable, Mapping
from copy import replace
from dataclasses import dataclass
from typing import Any

from bench import bodies, prices
from bench.capacity import item_bytes, write_units
from bench.cost import GIGABYTE, MEMORY_GB, MILLION, Invocation, per_million
from bench.figures import Section, measured
from bench.functions import Context
from bench.traffic import Counted, MeteredDynamoDb, MeteredSqs
from relay.channels.api_gateway import Request
from relay.channels.refusal_budget import OPAQUE_PER_SECOND
from relay.ledger.channel_rate_limiter import HORIZON_SECONDS
from relay.ledger.wait import gate_of
from tests import samples
from tests.fakes import Clock, FakeSecrets, Relay, new_relay

# The template's throttle of each method, and the duration in seconds.
REQUESTS_A_SECOND = 1000
DAY = 86_400
# Assumed: seconds of a whole processor; not measured on AWS.
REFUSED_CPU, SHARE_CPU, LARGE_CPU, JOB_CPU = 0.002, 0.008, 0.030, 0.006
# The template's default concurrency, and DynamoDB's default quota for an on-demand table.
WORKERS = 5
TABLE_UNITS_A_SECOND = 40_000
LINE_IS_FULL, ROUNDS = 400, 100
SMALL_ALERTS = 3
# The largest body that the relay stores whole, whatever its content.
LARGE_BYTES = 256 * 1024


@dataclass(frozen=True)
class Metered:
    """Average use of AWS by one run of a function.

    Attributes:
        counted: calls and capacity units.
        invocation: CPU, calls to AWS and log output.
    """

    counted: Counted
    invocation: Invocation


class IndexedDynamoDb(MeteredDynamoDb):
    """A table that also counts the writes of its index: a row that moves costs a delete and a put."""

    def update_item(self, **request: Any) -> Any:
        before = dict(self.items.get(request["Key"]["pk"]["S"], {}))
        answer = super().update_item(**request)
        after = self.items[request["Key"]["pk"]["S"]]
        was, is_now = (tuple(str(item.get(name)) for name in ("due", "due_at")) for item in (before, after))
        rows = [item_bytes(item) for item in (before, after) if "due" in item]
        if rows:
            moves = len(rows) if was != is_now else 1
            self.units["write_units"] += moves * write_units(0, max(rows))
        return answer


def _small(number: int) -> bytes:
    return bodies.body(f"forged-{number}", SMALL_ALERTS)


def _large(number: int) -> bytes:
    """Return a body of random words, which zlib cannot make smaller."""
    document: dict[str, Any] = json.loads(_small(number))
    chance = random.Random(number)
    length = LARGE_BYTES - len(json.dumps(document)) - 2
    words = "".join(chance.choices(string.ascii_letters + string.digits + "+/", k=length))
    document["incident"]["alerts"][0]["description"] += words
    return json.dumps(document).encode()


@dataclass(frozen=True)
class Body:
    """A forged body.

    Attributes:
        of: function from an incident's number to its body.
        cpu: seconds of a whole processor that the webhook needs for the body; assumed.
        rounds: number of bodies that the average is taken over.
    """

    of: Callable[[int], bytes]
    cpu: float
    rounds: int


SMALL, LARGE = Body(_small, SHARE_CPU, 100), Body(_large, LARGE_CPU, 10)


def bills() -> dict[str, float]:
    """Return the cost of a day of requests from a stranger, in dollars, for each kind of stranger.

    The kinds have the names of the table in docs/install.md, "What a stranger can cost".
    """
    unknown, small, large = refused(), share(SMALL), share(LARGE)
    return {
        "a wrong credential, a new name each time": _daily(unknown),
        "a channel's token, small bodies": _daily(small) + _workers(woken(SMALL)),
        "a channel's token, bodies of 256 KiB": _daily(large) + _workers(woken(LARGE)),
        "an address that AllowedSourceCidrs denies": DAY * REQUESTS_A_SECOND * access_log() / MILLION,
        "a request that WebAclArn blocks": DAY * REQUESTS_A_SECOND * (access_log() + prices.WAF_REQUESTS) / MILLION,
    }


def access_log() -> float:
    """Return the dollars for a million lines of the API's access log."""
    nothing = Counted(0, 0, 0, 0, 0, 0, 0, 0)
    idle = Invocation(0, 0, 0, 0)
    with_it = per_million(nothing, idle, idle, waits=(0, 0))["CloudWatch Logs"]
    return with_it - idle.all_log_bytes() * MILLION / GIGABYTE * prices.LOG_GB


def refused() -> Metered:
    """Meter requests with a wrong credential, each for another channel that does not exist."""
    relay, dynamodb, sqs = _relay()
    requests = (samples.request(channel=f"guess-{number}") for number in range(ROUNDS))
    seconds = Invocation(REFUSED_CPU, 0, 0, 0).billed_seconds()
    found = _metered(relay, dynamodb, sqs, [_served(relay, each) for each in requests], REFUSED_CPU, seconds)
    # Each running function may look up one name a second; its initial burst is too small to count.
    reads = min(1.0, OPAQUE_PER_SECOND * found.invocation.billed_seconds())
    return replace(found, counted=replace(found.counted, secret_reads=reads))


def share(body: Body) -> Metered:
    """Meter forged criticals with a valid token, once the channel's rate limit has no free slot."""
    relay, dynamodb, sqs = _flooded()
    requests = [_request(body.of(LINE_IS_FULL + number)) for number in range(body.rounds)]
    seconds = Invocation(body.cpu, 4, 0, 0).billed_seconds()
    return _metered(relay, dynamodb, sqs, [_served(relay, each) for each in requests], body.cpu, seconds)


def woken(body: Body) -> Metered:
    """Meter jobs of forged shares that wake, find no free slot of the rate limit, and wait again."""
    relay, dynamodb, sqs = _flooded()
    with contextlib.redirect_stdout(relay.recorder.out):
        for number in range(body.rounds):
            relay.webhook.serve(_request(body.of(LINE_IS_FULL + number)))
    jobs = [text for *_, text in sorted(sqs.waiting)[-body.rounds :]]
    relay.clock.now += HORIZON_SECONDS
    # Newer jobs have taken the slots meanwhile.
    relay.table.update(gate_of("noc"), put={"critical": relay.clock.now + HORIZON_SECONDS + 1})
    return _metered(relay, dynamodb, sqs, [_worked(relay, each) for each in jobs], JOB_CPU, 0.0)


def section() -> Section:
    """Return the table of a stranger's costs."""
    return Section(
        "stranger",
        f"Cost of a day of {REQUESTS_A_SECOND:,} requests a second from a stranger",
        [measured(name, "$", dollars) for name, dollars in bills().items()],
        (f"List prices, {prices.NOTED}. docs/install.md lists the assumptions.",),
    )


def rounded(dollars: float) -> str:
    """Return dollars with two significant digits, as precise as the assumptions are."""
    return f"${float(f'{dollars:.2g}'):,.0f}"


def _daily(metered: Metered) -> float:
    """Return the dollars for a day of requests. Writes beyond the table's quota are throttled and cost nothing."""
    idle = Invocation(0, 0, 0, 0)
    bill = per_million(metered.counted, metered.invocation, idle, waits=(0, 0))
    units = min(metered.counted.write_units, TABLE_UNITS_A_SECOND / REQUESTS_A_SECOND)
    bill["DynamoDB writes"] = units * prices.DYNAMODB_WRITE_UNITS
    return sum(bill.values()) * DAY * REQUESTS_A_SECOND / MILLION


def _workers(metered: Metered) -> float:
    """Return the dollars for a day in which all job workers are busy."""
    seconds = metered.invocation.billed_seconds()
    counted = metered.counted
    a_job = {
        "requests": prices.LAMBDA_REQUESTS,
        "time": seconds * MEMORY_GB * prices.LAMBDA_GB_SECOND * MILLION,
        "writes": counted.write_units * prices.DYNAMODB_WRITE_UNITS,
        "reads": counted.read_units * prices.DYNAMODB_READ_UNITS,
        "queue": (counted.send_requests * 2 + 1) * prices.SQS_REQUESTS,
        "logs": metered.invocation.all_log_bytes() * MILLION / GIGABYTE * prices.LOG_GB,
    }
    return sum(a_job.values()) * WORKERS * DAY / seconds / MILLION


def _relay() -> tuple[Relay, IndexedDynamoDb, MeteredSqs]:
    clock, dynamodb = Clock(), IndexedDynamoDb()
    sqs = MeteredSqs(clock)
    secrets = FakeSecrets(noc=json.dumps(samples.secret()))
    return new_relay(clock=clock, dynamodb=dynamodb, retries=sqs, secrets=secrets), dynamodb, sqs


def _flooded() -> tuple[Relay, IndexedDynamoDb, MeteredSqs]:
    relay, dynamodb, sqs = _relay()
    with contextlib.redirect_stdout(relay.recorder.out):
        for number in range(LINE_IS_FULL):
            relay.webhook.serve(_request(_small(number)))
    return relay, dynamodb, sqs


def _served(relay: Relay, request: Request) -> Callable[[], Any]:
    return lambda: relay.webhook.serve(request)


def _worked(relay: Relay, envelope: str) -> Callable[[], Any]:
    return lambda: relay.worker.work([{"messageId": "m", "body": envelope}])


def _metered(
    relay: Relay,
    dynamodb: IndexedDynamoDb,
    sqs: MeteredSqs,
    runs: Iterable[Callable[[], Any]],
    cpu: float,
    seconds: float,
) -> Metered:
    """Invoke a function once for each callable in `runs`; return its average use of AWS and its average log output.

    The simulated clock advances by `seconds` after each invocation.
    """
    out = relay.recorder.out
    with contextlib.redirect_stdout(out):
        handler = relay.recorder.telemetry.instrument(lambda event, _: {"answer": event["run"]()})
        dynamodb.units.clear()
        calls, sends, requests, written = len(dynamodb.calls), sqs.sends, sqs.requests, len(out.getvalue())
        count = 0
        for run in runs:
            handler({"run": run}, Context())
            relay.clock.now += seconds
            count += 1
    text, units = out.getvalue()[written:], dynamodb.units
    sent = sqs.sends - sends
    counted = Counted(
        reads=units["reads"] / count,
        read_units=units["read_units"] / count,
        writes=units["writes"] / count,
        write_units=units["write_units"] / count,
        sends=sent / count,
        send_requests=(sqs.requests - requests) / count,
        jobs=0,
        secret_reads=0,
    )
    aws_calls = (len(dynamodb.calls) - calls + sent) / count
    return Metered(counted, Invocation(cpu, aws_calls, len(text) / count, text.count("\n") / count))


def _request(content: bytes) -> Request:
    return samples.request(content)


def table(found: Mapping[str, float]) -> list[str]:
    """Return the rows of the table in docs/install.md, "What a stranger can cost"."""
    return [f"| {name} | {rounded(dollars)} |" for name, dollars in found.items()]

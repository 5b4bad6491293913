"""Benchmark of people's answers: time to queue a callback and to write its comment, and the cost of a million."""

import json
import time
import uuid
from collections.abc import Sequence
from typing import Any

from bench import bodies, cost
from bench.edges import CALLBACK_TOKEN
from bench.figures import Figure, Section, compared, measured
from bench.functions import Functions, Spent
from bench.traffic import Counted
from bench.warm import USUAL_ALERTS, Client, in_words, most_common
from relay.incidents.callback import FLOW_VERSION
from relay.jobs.envelope import envelope_of
from relay.jobs.job import Job, Stamps, timestamp
from sandbox.errors import SandboxError

# BigPanda takes 5 comments a second from one account. Each channel here has an account of its own, so 4 stay below it.
ANSWERS_A_CHANNEL = 4
WARM_UP_ROUNDS = 8
BIGPANDA_SECONDS = 0.2


def section(functions: Functions, rounds: int) -> Section:
    """Measure callbacks with people's answers, and their write-backs; return the table of results."""
    client, callbacks, writes, bares = Client(functions), list[Spent](), list[Spent](), list[float]()
    for channel in client.channels("up", rounds + WARM_UP_ROUNDS, shares=40 // ANSWERS_A_CHANNEL):
        incident_id = uuid.uuid4().hex
        # The relay writes no answer about an incident that it did not announce.
        client.share(channel, bodies.body(incident_id, USUAL_ALERTS), "delivered")
        content = _answer(incident_id)
        bares.append(client.bare(content)[0])
        callbacks.append(_called_back(functions, channel, content))
        writes.append(_written(functions, channel, content))
    callbacks, writes, bares = callbacks[WARM_UP_ROUNDS:], writes[WARM_UP_ROUNDS:], bares[WARM_UP_ROUNDS:]
    counted = _counted(writes)
    bill = cost.per_million(
        counted, cost.Invocation.of(callbacks), cost.Invocation.of(writes), waits=(0.0, BIGPANDA_SECONDS)
    )
    return Section(
        "answers",
        "People's answers: a callback, and its comment in BigPanda",
        [
            *_figures("callback, queued", callbacks, [0.0] * rounds),
            *_figures("write-back, a comment", writes, bares),
            measured("a million answers", "$", sum(bill.values())),
        ],
        (
            f"Calls to AWS: callback: {in_words(most_common(callbacks))}; write-back: {in_words(most_common(writes))}.",
            "Cost as in the table of costs, without reads of secrets. "
            f"Assumed: {BIGPANDA_SECONDS * 1e3:.0f} ms a call of BigPanda.",
        ),
    )


def _figures(name: str, spent: Sequence[Spent], bares: Sequence[float]) -> list[Figure]:
    bases = [(each.aws_seconds + bare) * 1e3 for each, bare in zip(spent, bares, strict=True)]
    against = "POST + AWS calls" if any(bares) else "AWS calls"
    return [
        compared(name, "ms", [each.seconds * 1e3 for each in spent], bases, against),
        measured("  CPU, calls included", "ms", *(each.cpu * 1e3 for each in spent)),
    ]


def _answer(incident_id: str) -> bytes:
    said: dict[str, Any] = {
        "relay": FLOW_VERSION,
        "kind": "response",
        "incident_id": incident_id,
        "environment_id": "5f3c1a2b9d8e7f6a5b4c3d2e",
        "event": {"id": str(uuid.uuid4()), "number": "408005"},
        "person": {"target": "jdoe", "first_name": "Jane", "last_name": "Doe"},
        "device": "Work Phone",
        "response": "Acknowledge",
        "note": "on it",
    }
    return json.dumps(said).encode()


def _called_back(functions: Functions, channel: str, content: bytes) -> Spent:
    answer, spent = functions.invoke(functions.callback, bodies.event(channel, CALLBACK_TOKEN, content))
    if json.loads(answer["body"]).get("outcome") != "queued":
        raise SandboxError(f"a callback should be queued; the function answers {answer['body']}")
    return spent


def _written(functions: Functions, channel: str, content: bytes) -> Spent:
    stamps = Stamps(correlation_id="bench", transition="response")
    incident_id, now = json.loads(content)["incident_id"], timestamp(time.time())
    job = Job("writeback", channel, (), incident_id, now, content, digest=uuid.uuid4().hex, stamps=stamps)
    records = [{"messageId": "m1", "body": envelope_of(job)}]
    answer, spent = functions.invoke(functions.chore_worker, {"Records": records})
    if answer != {"batchItemFailures": []} or spent.calls["SendMessage"]:
        raise SandboxError(
            f"the chore worker should write the comment; it answers {answer}, after {in_words(spent.calls)}"
        )
    return spent


def _counted(writes: Sequence[Spent]) -> Counted:
    calls = most_common(list(writes))
    reads, written = calls["GetItem"], calls["PutItem"] + calls["UpdateItem"]
    return Counted(
        reads=reads,
        read_units=reads,
        writes=written,
        write_units=written,
        sends=1,
        send_requests=1,
        jobs=1,
        secret_reads=0,
    )

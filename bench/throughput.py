"""Benchmark of the job worker: jobs a second of one Lambda environment, one invocation each."""

import time
import uuid
from collections.abc import Sequence
from copy import replace
from dataclasses import dataclass

from bench import bodies
from bench.edges import RECIPIENT
from bench.figures import Figure, Section, compared, measured
from bench.functions import Functions, Spent
from bench.warm import USUAL_ALERTS, Client, in_words, most_common
from relay.delivery.task import new_job
from relay.incidents.share import parse_share
from relay.jobs.envelope import envelope_of
from sandbox.errors import SandboxError
from tests import samples


@dataclass(frozen=True)
class Work:
    """Measurements of one kind of job, one invocation each.

    Attributes:
        name: label of the row.
        spent: resources of each invocation.
        bare: seconds of a bare POST of the same body, one for each invocation; 0 for a job that sends nothing.
    """

    name: str
    spent: Sequence[Spent]
    bare: Sequence[float]

    def figures(self) -> list[Figure]:
        """Return the rows: jobs a second, milliseconds a job compared with its unavoidable calls, and CPU."""
        milliseconds = [each.seconds * 1e3 for each in self.spent]
        bases = [(each.aws_seconds + bare) * 1e3 for each, bare in zip(self.spent, self.bare, strict=True)]
        against = "POST + AWS calls" if any(self.bare) else "AWS calls"
        return [
            measured(self.name, "jobs/s", *(1e3 / each for each in milliseconds)),
            compared("  a job", "ms", milliseconds, bases, against),
            measured("  CPU of a job, calls included", "ms", *(each.cpu * 1e3 for each in self.spent)),
        ]


def measure(functions: Functions, rounds: int) -> tuple[Work, Work]:
    """Measure the job worker with `rounds` pairs of jobs.

    The first job of a pair has a signal to send. The second job is the same, so its share is already delivered.
    """
    client = Client(functions)
    sends, bares, doubles = list[Spent](), list[float](), list[Spent]()
    for channel in client.channels("up", rounds):
        content = bodies.body(uuid.uuid4().hex, USUAL_ALERTS)
        job = _job(channel, content)
        bares.append(client.bare(content)[0])
        sends.append(_worked(functions, job))
        # The same job again stands for the safety job that wakes after a delivery.
        doubles.append(_worked(functions, job))
    return Work("sends", sends, bares), Work("wake-ups of delivered shares", doubles, [0.0] * rounds)


def section(sends: Work, doubles: Work) -> Section:
    """Return the table with the job worker's throughput."""
    calls = "; ".join(f"{work.name}: {in_words(most_common(list(work.spent)))}" for work in (sends, doubles))
    note = f"Sequential invocations in one environment. Calls to AWS a job: {calls}."
    return Section("worker", "Job worker: throughput", [*doubles.figures(), *sends.figures()], (note,))


def _worked(functions: Functions, envelope: str) -> Spent:
    answer, spent = functions.invoke(functions.worker, {"Records": [{"messageId": "m1", "body": envelope}]})
    if answer != {"batchItemFailures": []} or spent.calls["SendMessage"]:
        raise SandboxError(f"the worker should let the job go; it answers {answer}, after {in_words(spent.calls)}")
    return spent


def _job(channel: str, content: bytes) -> str:
    its_channel = replace(samples.parsed(), name=channel, recipients=(RECIPIENT,))
    return envelope_of(new_job(its_channel, parse_share(content), content, (), "bench", time.time()))

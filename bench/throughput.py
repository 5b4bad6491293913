"""The job worker: how many jobs one environment works off in a second."""

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
from relay import incident
from relay.keeping import new_job
from sandbox.cloud import SandboxError
from tests import samples

# As in template.yaml.
BATCH = 5


@dataclass(frozen=True)
class Work:
    """What was measured of batches of one kind of job; `bare` has the seconds of as many bare POSTs."""

    name: str
    batch: int
    spent: Sequence[Spent]
    bare: Sequence[float]

    def figures(self) -> list[Figure]:
        """Its rows: jobs a second, milliseconds a job against what nobody could do without, and CPU."""
        milliseconds = [each.seconds / self.batch * 1e3 for each in self.spent]
        bases = [(each.aws_seconds + bare) / self.batch * 1e3 for each, bare in zip(self.spent, self.bare, strict=True)]
        against = "POST + AWS calls" if any(self.bare) else "AWS calls"
        return [
            measured(self.name, "jobs/s", *(1e3 / each for each in milliseconds)),
            compared("  a job", "ms", milliseconds, bases, against),
            measured("  CPU of a job, calls included", "ms", *(each.cpu / self.batch * 1e3 for each in self.spent)),
        ]


def measure(functions: Functions, rounds: int, batch: int = BATCH) -> tuple[Work, Work]:
    """Work off so many batches of jobs that have to be sent, and of jobs whose share is delivered already."""
    client = Client(functions)
    sends, bares, doubles = list[Spent](), list[float](), list[Spent]()
    for channel in client.channels("up", rounds, shares=batch):
        contents = [bodies.body(uuid.uuid4().hex, USUAL_ALERTS) for _ in range(batch)]
        jobs = [_job(channel, content) for content in contents]
        bares.append(sum(client.bare(content)[0] for content in contents))
        sends.append(_worked(functions, jobs))
        # The same once more: that is what wakes after a share was delivered.
        doubles.append(_worked(functions, jobs))
    return Work("sends", batch, sends, bares), Work("wake-ups of delivered shares", batch, doubles, [0.0] * rounds)


def section(sends: Work, doubles: Work) -> Section:
    """The table of the worker."""
    calls = "; ".join(f"{work.name}: {in_words(most_common(list(work.spent)))}" for work in (sends, doubles))
    note = f"Batches of {BATCH}, one after the other, in one environment. Calls to AWS a batch: {calls}."
    return Section("worker", "Job worker: throughput", [*doubles.figures(), *sends.figures()], (note,))


def _worked(functions: Functions, envelopes: Sequence[str]) -> Spent:
    records = [{"messageId": str(number), "body": body} for number, body in enumerate(envelopes)]
    answer, spent = functions.invoke(functions.worker, {"Records": records})
    if answer != {"batchItemFailures": []} or spent.calls["SendMessage"]:
        raise SandboxError(f"the worker should let all jobs go; it answers {answer}, after {in_words(spent.calls)}")
    return spent


def _job(channel: str, content: bytes) -> str:
    its_channel = replace(samples.parsed(), name=channel, recipients=(RECIPIENT,))
    return new_job(its_channel, incident.parse(content), content, (), "bench", time.time()).to_json()

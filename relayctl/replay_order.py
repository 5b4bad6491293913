"""Order of dead-lettered jobs in a replay, and the batches in which they are moved. Pure code."""

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator

from relay.jobs.envelope import attributes_of
from relay.jobs.job import Job, seconds_of
from relay.jobs.queue import MAX_BATCH, MAX_MESSAGE_BYTES
from relayctl.dead_letter_queue import HeldMessage

# Batches that are moved in parallel. botocore keeps ten connections.
PARALLEL_BATCHES = 8


def in_order(held_messages: Iterable[HeldMessage]) -> list[tuple[HeldMessage, Job]]:
    """Return received messages with their jobs in the order of a replay. Messages without a job are left out.

    Jobs are sorted by the arrival of their shares, oldest first. Shares can arrive out of order, so the jobs of one
    incident are sorted by BigPanda's timestamps: its newest state must be replayed last.
    """
    jobs = [(held, held.job) for held in held_messages if held.job is not None]
    jobs.sort(key=lambda pair: seconds_of(pair[1].received_at))
    states: dict[tuple[str, str], deque[tuple[HeldMessage, Job]]] = defaultdict(deque)
    for pair in sorted(jobs, key=lambda pair: _version(pair[1])):
        states[_incident(pair[1])].append(pair)
    return [states[_incident(job)].popleft() for _, job in jobs]


def _version(job: Job) -> tuple[float, float]:
    came = seconds_of(job.received_at)
    return job.version or (came, came)


def _incident(job: Job) -> tuple[str, str]:
    return job.channel, job.incident_id


def waves(pairs: Iterable[tuple[HeldMessage, Job]], most: int) -> Iterator[list[list[tuple[HeldMessage, Job]]]]:
    """Split jobs into waves of at most `most` messages. A wave is a list of batches that can be moved in parallel.

    A batch fits into one call to SQS. To keep their order, messages of one incident are in one batch of a wave, or in
    different waves.
    """
    wave: list[list[tuple[HeldMessage, Job]]] = [[]]
    batch_indexes: dict[tuple[str, str], int] = {}
    count = size = 0
    for held, job in pairs:
        bytes_of = held.spool_span[1] + sum(len(name + value) + 8 for name, value in attributes_of(job).items()) * 4
        is_full = bool(wave[-1]) and (len(wave[-1]) == MAX_BATCH or size + bytes_of > MAX_MESSAGE_BYTES)
        batch_index = len(wave) - 1 + is_full
        if (
            count == most
            or batch_index == PARALLEL_BATCHES
            or batch_indexes.get(_incident(job), batch_index) != batch_index
        ):
            yield wave
            wave, batch_indexes, count, size, batch_index = [[]], {}, 0, 0, 0
        elif is_full:
            wave.append([])
            size = 0
        wave[batch_index].append((held, job))
        batch_indexes[_incident(job)] = batch_index
        count, size = count + 1, size + bytes_of
    if count:
        yield wave

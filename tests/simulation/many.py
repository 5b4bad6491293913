"""Runs of many schedules on all cores."""

import gc
import multiprocessing
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from typing import NamedTuple

from tests.simulation.verdict import Verdict

CHUNK = 10
# More failures add no information.
MOST_SHOWN = 5


class Plays(NamedTuple):
    """Results of many schedules.

    Attributes:
        failed: the verdicts with the lowest seeds that broke an invariant; only the first has the schedule's words.
        digests: the digest of each schedule that was played to its end (`Verdict.digest`), by seed.
    """

    failed: list[Verdict]
    digests: dict[int, str]


def play_all(
    judge: Callable[[int], Verdict],
    seeds: Sequence[int],
    *,
    progress: Callable[[int, int, Sequence[Verdict]], object] | None = None,
) -> Plays:
    """Run the schedules of these seeds; stop after a few failures.

    `judge` runs the schedule of a seed; it is a function of a module. `progress` is called with the number of finished
    schedules, the number of all, and the failures since the last call.
    """
    chunks = [seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)]
    # "spawn", since greenlets do not work in a fork of a process with threads.
    context = multiprocessing.get_context("spawn")
    failed: list[Verdict] = []
    digests: dict[int, str] = {}
    processes = min(len(chunks), os.cpu_count() or 1)
    with ProcessPoolExecutor(processes, context, initializer=collect_rarely, initargs=(judge,)) as pool:
        for future in as_completed(pool.submit(_play, judge, chunk) for chunk in chunks):
            found = future.result()
            failed.extend(found.failed)
            digests |= found.digests
            if progress:
                progress(len(digests), len(seeds), found.failed)
            if len(failed) >= MOST_SHOWN:
                pool.shutdown(cancel_futures=True)
                break
    return Plays(sorted(failed, key=lambda verdict: verdict.seed)[:MOST_SHOWN], digests)


def collect_rarely(_judge: Callable[[int], Verdict]) -> None:
    """Let the garbage collector leave out what is loaded, with the judge, and look for cycles less often."""
    gc.freeze()
    gc.set_threshold(50_000)


def _play(judge: Callable[[int], Verdict], seeds: Iterable[int]) -> Plays:
    verdicts = [judge(seed) for seed in seeds]
    failed = [verdict for verdict in verdicts if verdict.problems]
    shown = [verdict if place == 0 else replace(verdict, words=[]) for place, verdict in enumerate(failed)]
    return Plays(shown, {verdict.seed: verdict.digest for verdict in verdicts})

"""Interleaved rounds of measurements: each round does everything once, in random order."""

import time
from collections.abc import Callable, Mapping
from random import Random


def interleaved[T](deeds: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Run each callable once a round; return its results by name. Other load on the machine affects all alike."""
    chance, found = Random(4711), {name: list[T]() for name in deeds}
    for _ in range(rounds):
        for name in chance.sample(list(deeds), len(deeds)):
            found[name].append(deeds[name]())
    return found


def seconds(work: Callable[[], object], times: int) -> float:
    """Return the mean seconds of `work` over so many consecutive calls."""
    began = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - began) / times

"""Rounds: in each of them everything is done once, in an order of its own."""

import time
from collections.abc import Callable, Mapping
from random import Random


def interleaved[T](deeds: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """What each deed gave, round by round; so whatever else the machine does falls on all of them alike."""
    chance, found = Random(4711), {name: list[T]() for name in deeds}
    for _ in range(rounds):
        for name in chance.sample(list(deeds), len(deeds)):
            found[name].append(deeds[name]())
    return found


def seconds(work: Callable[[], object], times: int) -> float:
    """Seconds that `work` takes, as the mean of so many in a row."""
    began = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - began) / times

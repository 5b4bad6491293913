"""Mutations change the library that the schedules drive, and leave no trace afterwards."""

from copy import replace

import pytest

from tests.simulation.mutants import seeds_that_find
from tests.simulation.mutations import Mutation

NOTHING_IS_SENT = Mutation(
    "the worker sends nothing",
    "entrypoints.worker",
    "own_wait = self._own_wait(job, channel.policy)",
    "own_wait = Wait(Reason.PACED, self.clock() + 600)",
    seed=1,
)
HARMLESS = Mutation(
    "a number with one more digit", "entrypoints.worker", "JOB_SECONDS = 15.0", "JOB_SECONDS = 15.00", seed=1
)


def test_recorded_seed_finds_the_fault_and_later_mutations_run_without_it() -> None:
    # More mutations than most machines have cores, so that a process runs several.
    again = [
        replace(HARMLESS, name=f"{HARMLESS.name}, {simulation} {place}", simulation=simulation)
        for place in range(4)
        for simulation in ("simulation", "attacks")
    ]
    in_attacks = replace(NOTHING_IS_SENT, name=f"{NOTHING_IS_SENT.name}, in attacks", simulation="attacks")
    found = seeds_that_find([NOTHING_IS_SENT, in_attacks, *again], 0)
    expected = {NOTHING_IS_SENT.name: 1, in_attacks.name: 1}
    assert found == expected | {mutation.name: None for mutation in again}


def test_mutation_of_text_that_is_not_there_is_refused() -> None:
    stale = Mutation("stale", "entrypoints.worker", "this text is not there", "")
    with pytest.raises(ValueError, match=r"worker\.py holds 0 times"):
        seeds_that_find([stale], 0)

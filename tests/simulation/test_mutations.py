"""The schedules are strict: one of them finds each typical fault."""

from collections.abc import Mapping

import pytest

from tests.simulation.attack_mutations import ATTACK_MUTATIONS
from tests.simulation.mutants import seeds_that_find
from tests.simulation.mutations import MUTATIONS, Mutation
from tests.simulation.operator_mutations import OPERATOR_MUTATIONS

# Played for a fault that its recorded seed does not find.
SCHEDULES = 1000
EVERY = (*MUTATIONS, *ATTACK_MUTATIONS, *OPERATOR_MUTATIONS)


@pytest.fixture(scope="module")
def found() -> Mapping[str, int | None]:
    """Seeds that find the faults, by the fault's name."""
    return seeds_that_find(EVERY, SCHEDULES)


@pytest.mark.parametrize("mutation", EVERY, ids=lambda mutation: mutation.name)
def test_a_fault_is_found(mutation: Mutation, found: Mapping[str, int | None]) -> None:
    assert found[mutation.name] is not None

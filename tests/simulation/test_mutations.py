"""The schedules bite: each fault that people make in such code is found by one of them."""

from collections.abc import Mapping

import pytest

from tests.simulation.mutations import MUTATIONS, Mutation, seeds_that_find
from tests.simulation.test_simulation import SCHEDULES


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, int | None]:
    """The seeds that find the faults, by name."""
    return seeds_that_find(MUTATIONS, tmp_path_factory.mktemp("mutants"), SCHEDULES)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_fault_is_found(mutation: Mutation, found: Mapping[str, int | None]) -> None:
    assert found[mutation.name] is not None

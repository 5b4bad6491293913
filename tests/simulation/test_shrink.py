"""A failing schedule is reduced to few events, and printed as a test that can be pasted."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from typing import NamedTuple

import pytest

from tests.simulation.mutants import installed
from tests.simulation.mutations import MUTATIONS

FOUND = next(each for each in MUTATIONS if each.name == "versions are compared by updatedOn alone")


class Reduction(NamedTuple):
    """The reduction of a schedule that finds a fault.

    Attributes:
        before: number of events of the schedule.
        after: number of events of the smallest schedule.
        fails_with_fault: True if the printed test fails with the fault.
        fails_without_fault: True if the printed test fails without it.
        source: the printed test.
    """

    before: int
    after: int
    fails_with_fault: bool
    fails_without_fault: bool
    source: str


def _reduction() -> tuple[int, int, bool, bool, str]:
    """Reduce the recorded schedule of a fault, and run the printed test with and without the fault.

    Returns the members of a `Reduction`, since this module is imported anew with the fault.
    """
    with installed(FOUND):
        shrink, story = (
            import_module("tests.simulation.shrink"),
            import_module("tests.simulation.story").tell(FOUND.seed),
        )
        case = shrink.shrunk(FOUND.seed, story)
        before, source = shrink.Case(FOUND.seed, story, case.verdict).events, shrink.as_test(case)
        fails_with_fault = _fails(source)
    return (before, case.events, fails_with_fault, _fails(source), source)


def _fails(source: str) -> bool:
    """Run the only test of a test module's source, and return True if it fails."""
    members: dict[str, object] = {}
    exec(compile(source, "test_printed.py", "exec"), members)
    [test] = [member for name, member in members.items() if name.startswith("test_") and callable(member)]
    try:
        test()
    except AssertionError:
        return True
    return False


@pytest.fixture(scope="module")
def reduction() -> Reduction:
    """The reduction, made in a process of its own, since it imports the library anew."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return Reduction(*pool.submit(_reduction).result())


def test_reduced_schedule_has_few_events_and_still_fails(reduction: Reduction) -> None:
    assert reduction.after < reduction.before
    assert reduction.after <= 4, reduction.source


def test_printed_test_fails_with_the_fault_and_passes_without_it(reduction: Reduction) -> None:
    assert reduction.fails_with_fault, reduction.source
    assert not reduction.fails_without_fault, reduction.source

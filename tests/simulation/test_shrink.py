"""A failing schedule is reduced to few events, and printed as a test that can be pasted."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from types import SimpleNamespace

import pytest

from tests.simulation.mutants import installed
from tests.simulation.mutations import MUTATIONS

FOUND = next(each for each in MUTATIONS if each.name == "versions are compared by updatedOn alone")


def _reduction() -> SimpleNamespace:
    """Reduce the recorded schedule of a fault, and run the printed test with and without the fault.

    Returns the numbers of events before and after, and the printed test with its results.
    """
    with installed(FOUND):
        shrink, story = (
            import_module("tests.simulation.shrink"),
            import_module("tests.simulation.story").tell(FOUND.seed),
        )
        case = shrink.shrunk(FOUND.seed, story)
        before, source = shrink.Case(FOUND.seed, story, case.verdict).events, shrink.as_test(case)
        found = SimpleNamespace(before=before, after=case.events, source=source, fails_with_fault=_fails(source))
    found.fails_without_fault = _fails(source)
    return found


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
def reduction() -> SimpleNamespace:
    """The reduction, made in a process of its own, since it imports the library anew."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_reduction).result()


def test_reduced_schedule_has_few_events_and_still_fails(reduction: SimpleNamespace) -> None:
    assert reduction.after < reduction.before
    assert reduction.after <= 4, reduction.source


def test_printed_test_fails_with_the_fault_and_passes_without_it(reduction: SimpleNamespace) -> None:
    assert reduction.fails_with_fault, reduction.source
    assert not reduction.fails_without_fault, reduction.source

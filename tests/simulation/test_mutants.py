"""Mutations change the library that the schedules drive, and leave no trace afterwards."""

import ast
from copy import replace

import pytest

from tests.simulation.mutants import mutated, seeds_that_find
from tests.simulation.mutations import Mutation

NOTHING_IS_SENT = Mutation(
    "the worker sends nothing",
    "entrypoints.worker:Worker._attempted",
    "result = self.delivery.resume(job, share, channel, deadline)",
    "result = Result.unsafe(job, Reason.INTERNAL, 'not sent')",
    seed=1,
)
HARMLESS = Mutation(
    "a number with one more digit", "entrypoints.worker:", "JOB_SECONDS = 15.0", "JOB_SECONDS = 15.00", seed=1
)
SPACED = Mutation(
    "no time in between",
    "delivery.rules:earliest_send_time",
    "entry.signal_times[-1] + min_seconds if entry.signal_times and transition not in _UNSPACED else 0.0",
    "entry.signal_times[-1]",
)
ELSEWHERE = "ledger.no_such_module:nowhere"


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


@pytest.mark.parametrize(
    "right",
    [
        "this_code_is_not_there()",
        pytest.param("job", id="code that the function has more than once"),
        pytest.param("result = self.delivery.resume(job, share, channel)", id="another shape"),
    ],
)
def test_mutation_whose_right_code_the_function_does_not_have_once_is_refused(right: str) -> None:
    with pytest.raises(ValueError, match=r"entrypoints\.worker:Worker\._attempted holds \d+ times"):
        seeds_that_find([replace(NOTHING_IS_SENT, right=right)], 0)


@pytest.mark.parametrize(
    "earlier",
    [
        pytest.param(
            replace(
                SPACED,
                right="item.times[-1] + pause if item.times and kind not in _FREE else 0.0",
                wrong="item.times[-1]",
            ),
            id="names in the function",
        ),
        pytest.param(replace(SPACED, place="delivery.rules:next_time"), id="the function's name"),
        pytest.param(replace(SPACED, place=ELSEWHERE), id="the module's name"),
    ],
)
def test_fault_is_put_into_code_whose_names_changed_since(earlier: Mutation) -> None:
    name, _, now = mutated(SPACED)
    assert "since_last = entry.signal_times[-1]\n" in ast.unparse(now)
    found, _, then = mutated(earlier)
    assert (found, ast.dump(then)) == (name, ast.dump(now))


def test_shape_is_searched_for_in_the_named_function_only() -> None:
    with pytest.raises(ValueError, match=r"holds 0 times"):
        mutated(replace(SPACED, place=ELSEWHERE, right=SPACED.right.replace("entry", "item")))

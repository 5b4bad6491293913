"""Run many random schedules, repeat the schedule of one seed, or check that schedules find the deliberate faults.

`make simulate N=100000`, `make simulate SEED=4711`, `make simulate ATTACKS=1`, `make mutations`.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence

from tests.simulation import attacks, simulation
from tests.simulation.attack_mutations import ATTACK_MUTATIONS
from tests.simulation.many import CHUNK, Plays, play_all
from tests.simulation.mutants import seeds_that_find
from tests.simulation.mutations import MUTATIONS
from tests.simulation.operator_mutations import OPERATOR_MUTATIONS
from tests.simulation.operators import tell
from tests.simulation.recorded import RECORDED, changed, record
from tests.simulation.shrink import as_test, shrunk
from tests.simulation.verdict import Verdict


def main() -> int:
    """Run the requested schedules or mutations. Exit codes: 0 all invariants held, or all faults were found; else 1."""
    parser = argparse.ArgumentParser(prog="simulate", description="Drive the library through random schedules.")
    parser.add_argument("--schedules", type=int, default=2000, help="number of schedules (default: 2000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--seed", type=int, help="run this schedule alone, and print it in words")
    parser.add_argument(
        "--mutations", nargs="*", metavar="WORD", help="find the faults whose names hold one of these words, or all"
    )
    parser.add_argument("--record", action="store_true", help="record how the schedules play now")
    parser.add_argument("--attacks", action="store_true", help="schedules in which an attacker holds a token")
    options = parser.parse_args()
    if options.mutations is not None:
        return _find(options.mutations, options.schedules)
    if options.record:
        return _record()
    judge = attacks.judge if options.attacks else simulation.judge
    if options.seed is not None:
        verdict = judge(options.seed)
        print("\n".join(verdict.words))
        print("\n".join(verdict.problems) or "nothing is wrong with it")
        if verdict.problems and not options.attacks:
            _print_shrunk(options.seed)
        return 1 if verdict.problems else 0
    began = time.monotonic()
    seeds = range(options.first, options.first + options.schedules)
    failed, digests = _play_all(judge, seeds)
    if failed:
        print(f"to see a schedule: make simulate {'ATTACKS=1 ' if options.attacks else ''}SEED={failed[0].seed}")
        return 1
    if others := [] if options.attacks else changed(digests):
        print(f"{len(others)} schedules play in another way than recorded, such as {', '.join(map(str, others[:5]))}")
        return 1
    seconds = time.monotonic() - began
    print(f"{options.schedules} schedules, from seed {options.first}: every invariant held ({seconds:.0f} s)")
    return 0


def _print_shrunk(seed: int) -> None:
    """Print the smallest schedule that fails as that of the seed does, in words and as a test."""
    print("simulate: looking for a smaller schedule that fails in the same way …", file=sys.stderr, flush=True)
    case = shrunk(seed, tell(seed))
    print(f"\nThe smallest schedule found that fails in the same way has {case.events} events:\n")
    print("\n".join([*case.verdict.words, *case.verdict.problems]))
    print(f"\nThe same as a test:\n\n{as_test(case)}")


def _play_all(judge: Callable[[int], Verdict], seeds: Sequence[int]) -> Plays:
    """Run schedules, and show how far the run is."""
    plays = play_all(judge, seeds, progress=_progress)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    return plays


def _record() -> int:
    """Record how the schedules play; return 1 if one broke an invariant: then nothing is recorded."""
    failed, digests = _play_all(simulation.judge, RECORDED)
    if failed:
        print(f"nothing is recorded: see make simulate SEED={failed[0].seed}")
        return 1
    others = changed(digests)
    record(digests)
    print(f"recorded: {len(others)} of {len(digests)} schedules play in another way than before")
    return 0


def _find(words: list[str], schedules: int) -> int:
    """Print the seed that finds each fault whose name has one of the words; return 0 if each is found, else 1."""
    every = (*MUTATIONS, *ATTACK_MUTATIONS, *OPERATOR_MUTATIONS)
    wanted = [each for each in every if not words or any(word in each.name for word in words)]
    seeds = {each.name: each.seed for each in wanted}

    def tell(name: str, seed: int | None) -> None:
        note = "" if seed == seeds[name] else f"  (recorded: {seeds[name]})"
        print(f"{'not found' if seed is None else seed:>9}  {name}{note}", flush=True)

    found = seeds_that_find(wanted, schedules, progress=tell)
    missed = sum(seed is None for seed in found.values())
    print(f"{len(found) - missed} of {len(found)} mutations found")
    return 1 if missed else 0


def _progress(done: int, of: int, failed: Sequence[Verdict]) -> None:
    """Print the failures at once, and how far the run is: off a terminal, a line for each tenth of it."""
    is_terminal = sys.stderr.isatty()
    if failed and is_terminal:
        print(file=sys.stderr)
    for verdict in failed:
        print(f"seed {verdict.seed}: " + "; ".join(verdict.problems), flush=True)
    if is_terminal:
        print(f"\rsimulate: {done} of {of} schedules", end="", file=sys.stderr, flush=True)
    elif done * 10 // of > (done - CHUNK) * 10 // of:
        print(f"simulate: {done} of {of} schedules", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

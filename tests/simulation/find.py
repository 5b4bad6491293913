"""Print the seed that finds each mutation: `python -m tests.simulation.find`."""

import argparse
import sys

from tests.simulation.mutants import seeds_that_find
from tests.simulation.mutations import MUTATIONS


def main() -> int:
    """Look for every mutation whose name holds the words; 0 if each is found, else 1."""
    parser = argparse.ArgumentParser(prog="find", description="Put faults into the library and find them.")
    parser.add_argument("words", nargs="*", help="mutations whose names hold one of these words (default: all)")
    parser.add_argument("--schedules", type=int, default=2000, help="how many are tried for each (default: 2000)")
    options = parser.parse_args()
    wanted = [each for each in MUTATIONS if not options.words or any(word in each.name for word in options.words)]
    seeds = {each.name: each.seed for each in wanted}

    def tell(name: str, seed: int | None) -> None:
        note = "" if seed == seeds[name] else f"  (recorded: {seeds[name]})"
        print(f"{'not found' if seed is None else seed:>9}  {name}{note}", flush=True)

    found = seeds_that_find(wanted, options.schedules, progress=tell)
    missed = sum(seed is None for seed in found.values())
    print(f"{len(found) - missed} of {len(found)} mutations found")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Run many schedules, or one again: `make simulate N=100000`, `make simulate SEED=4711`."""

import argparse
import sys
import time

from tests.simulation.many import first_failures
from tests.simulation.simulation import judge


def main() -> int:
    """Run what was asked for; 0 when every schedule held, else 1."""
    parser = argparse.ArgumentParser(prog="simulate", description="Drive the library through random schedules.")
    parser.add_argument("--schedules", type=int, default=2000, help="how many (default: 2000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--seed", type=int, help="run this schedule alone, and print it in words")
    options = parser.parse_args()
    if options.seed is not None:
        verdict = judge(options.seed)
        print("\n".join(verdict.words))
        print("\n".join(verdict.problems) or "nothing is wrong with it")
        return 1 if verdict.problems else 0
    began = time.monotonic()
    failed = first_failures(options.first, options.schedules, progress=_progress if sys.stderr.isatty() else None)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    for verdict in failed:
        print(f"seed {verdict.seed}: " + "; ".join(verdict.problems))
    if failed:
        print(f"to see a schedule: make simulate SEED={failed[0].seed}")
        return 1
    seconds = time.monotonic() - began
    print(f"{options.schedules} schedules, from seed {options.first}: every invariant held ({seconds:.0f} s)")
    return 0


def _progress(done: int, of: int) -> None:
    print(f"\rsimulate: {done} of {of} schedules", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

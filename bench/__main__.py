"""Measure cold starts, reconcile runs, and cost. `make bench` runs all; a missed aim is not a failure."""

import argparse
import contextlib
import io
import logging
import os
import sys
from collections.abc import Callable, Mapping

from rich.console import Console
from rich.text import Text

from bench import cold, cost, reconcile
from bench.figures import Section, render
from sandbox.environment import leave_aws
from sandbox.errors import SandboxError
from sandbox.steps import Steps

WIDTH = 112
# Fresh processes of each function; with `--quick`, too few to quote the figures.
COLD_STARTS, QUICK_STARTS = 25, 5

# All but `cold` are in simulated time, or counted: each run finds the same figures.
BENCHMARKS: Mapping[str, Callable[[int], Section]] = {
    "cold": cold.section,
    "reconcile": lambda _: reconcile.section(),
    "cost": lambda _: cost.section(),
    "month": lambda _: cost.month_section(),
}


def main() -> int:
    """Run the requested benchmarks. Exit codes: 0 done (also with missed aims), 1 failed, 2 usage, 130 Ctrl-C."""
    options = _parser().parse_args()
    leave_aws(os.environ)
    # The SAM translator logs warnings about its own feature toggles.
    logging.getLogger("samtranslator").setLevel(logging.CRITICAL)
    errors = Console(stderr=True)
    steps, sections = Steps("bench", errors), list[Section]()
    try:
        for name in options.only or BENCHMARKS:
            # The functions' log lines are dropped.
            with steps.step(f"measuring: {name}"), contextlib.redirect_stdout(io.StringIO()):
                sections.append(BENCHMARKS[name](QUICK_STARTS if options.quick else COLD_STARTS))
    except SandboxError as error:
        errors.print(Text(f"bench: {error}"), soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        errors.print("bench: stopped; every process that it started has ended")
        return 130
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    for section in sections:
        console.print(*render(section))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    names = ", ".join(BENCHMARKS)
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, metavar="NAME", help=f"any of {names}")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: do not quote the figures")
    return parser


if __name__ == "__main__":
    sys.exit(main())

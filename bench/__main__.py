"""Measure the relay: latency, recovery and cost. `make bench` runs all benchmarks; a missed aim is not a failure."""

import argparse
import contextlib
import io
import logging
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console
from rich.text import Text

from bench import cold, cost, fallback, outage, page, reconcile, stranger, warm
from bench.figures import Section, render
from sandbox.environment import leave_aws
from sandbox.errors import SandboxError
from sandbox.steps import Steps

WIDTH = 112
TEMPLATE = Path(__file__).resolve().parents[1] / "template.yaml"

# Measured in rounds, by the clock and the CPU of this machine.
TIMED: Mapping[str, tuple[Callable[[int], Section], int]] = {"warm": (warm.section, 300), "cold": (cold.section, 25)}
# In simulated time, or counted: each run finds the same figures.
SIMULATED: Mapping[str, Callable[[], Section]] = {
    "outage": outage.section,
    "fallback": fallback.section,
    "reconcile": reconcile.section,
    "cost": cost.section,
    "month": lambda: cost.month_section(TEMPLATE.read_text()),
    "page": page.section,
    "stranger": stranger.section,
}
NAMES = (*TIMED, *SIMULATED)


def main() -> int:
    """Run the requested benchmarks. Exit codes: 0 done (also with missed aims), 1 failed, 2 usage, 130 Ctrl-C."""
    options = _parser().parse_args()
    leave_aws(os.environ)
    # The SAM translator logs warnings about its own feature toggles.
    logging.getLogger("samtranslator").setLevel(logging.CRITICAL)
    errors = Console(stderr=True)
    steps, sections = Steps("bench", errors), list[Section]()
    if os.getloadavg()[0] > (os.cpu_count() or 1):
        steps.say("this machine is busy with other processes; figures will be slower than on an idle machine")
    try:
        for name in options.only or NAMES:
            with steps.step(f"measuring: {name}"):
                sections.append(_measured(name, quick=options.quick))
    except SandboxError as error:
        errors.print(Text(f"bench: {error}"), soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        errors.print("bench: stopped; every process that it started has ended")
        return 130
    _show(sections)
    return 0


def _measured(name: str, *, quick: bool) -> Section:
    if name in TIMED:
        measure, rounds = TIMED[name]
        return measure(max(5, rounds // 10) if quick else rounds)
    # The functions' log lines.
    with contextlib.redirect_stdout(io.StringIO()):
        return SIMULATED[name]()


def _show(sections: list[Section]) -> None:
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    for section in sections:
        console.print(*render(section))
    judged = [figure for section in sections for figure in section.figures if figure.is_met is not None]
    missed = sum(not figure.is_met for figure in judged)
    if judged:
        text = f"\n{len(judged) - missed} of {len(judged)} aims are met."
        console.print(Text(text, style="red" if missed else "green"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=NAMES, metavar="NAME", help=f"any of {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="a tenth of the rounds: do not quote the figures")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""Measure the relay: latency, size and cost. `make bench` runs all benchmarks; a missed aim is not a failure.

Each ratio compares two figures of the same run, measured in alternation. A cold start is compared with the usual
stack: boto3, requests, and Powertools with its event handler, parser, tracer and idempotency. Except for boto3,
these packages are pinned in bench/requirements-usual.txt and installed into .cache/bench. Without the package index,
the rows of the usual stack are left out.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from bench import (
    answers,
    artefact,
    cold,
    cost,
    drain,
    fallback,
    machine,
    month,
    outage,
    parsing,
    reconcile,
    reconcile_run,
    replay,
    sandbox,
    stranger,
    tables,
    throughput,
    warm,
)
from bench.figures import Figure, Section
from bench.functions import ROOT
from bench.workplace import Workplace, opened
from sandbox.environment import leave_aws
from sandbox.errors import SandboxError
from sandbox.steps import Steps

WIDTH = 112


def main() -> int:
    """Run the requested benchmarks. Exit codes: 0 done (also with missed aims), 1 failed, 2 usage, 130 Ctrl-C."""
    options = _parser().parse_args()
    leave_aws(os.environ)
    # The SAM translator logs warnings about its own feature toggles.
    logging.getLogger("samtranslator").setLevel(logging.CRITICAL)
    errors = Console(stderr=True)
    try:
        document = _run(options, Steps("bench", errors))
    except SandboxError as error:
        errors.print(Text(f"bench: {error}"), soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        errors.print("bench: stopped; every process that it started has ended")
        return 130
    text = json.dumps(document, indent=2) + "\n"
    if options.json == "-":
        sys.stdout.write(text)
    elif options.json:
        Path(options.json).write_text(text)
    return 0


def _run(options: argparse.Namespace, steps: Steps) -> dict[str, Any]:
    about, sections = machine.described(), list[Section]()
    if machine.is_busy():
        steps.say("this machine is busy with other processes; figures will be slower than on an idle machine")
    with opened(quick=options.quick) as workplace:
        for name in options.only or BENCHMARKS:
            with steps.step(f"measuring: {name}"):
                sections.append(BENCHMARKS[name](workplace))
    if options.json != "-":
        _show(about, sections)
    return {"machine": about, "quick": options.quick, "benchmarks": [plain(section) for section in sections]}


def _show(about: Mapping[str, str], sections: list[Section]) -> None:
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    for name, value in about.items():
        console.print(Text(f"{name:<10} {value}"))
    for section in sections:
        console.print(*tables.of(section))
    judged = [figure for section in sections for figure in section.figures if figure.is_met is not None]
    missed = sum(not figure.is_met for figure in judged)
    if judged:
        text = f"\n{len(judged) - missed} of {len(judged)} aims are met."
        console.print(Text(text, style="red" if missed else "green"))


def plain(section: Section) -> dict[str, Any]:
    """Return a benchmark's result as plain data, for JSON."""
    figures = [_plain_figure(figure) for figure in section.figures]
    return {"name": section.name, "title": section.title, "figures": figures, "notes": list(section.notes)}


def _plain_figure(figure: Figure) -> dict[str, Any]:
    members = {**asdict(figure), "name": figure.name.strip(), "is_met": figure.is_met}
    return {name: value for name, value in members.items() if value is not None}


def _warm(workplace: Workplace) -> Section:
    large = warm.measure(workplace.functions, workplace.rounds(100), 30)
    return warm.section(workplace.warm, large, *warm.measure_outage(workplace.functions, workplace.rounds(100)))


def _cold(workplace: Workplace) -> Section:
    return cold.section(workplace.build, workplace.usual, workplace.rounds(25))


def _parse(workplace: Workplace) -> Section:
    return parsing.section(workplace.rounds(25))


def _worker(workplace: Workplace) -> Section:
    return throughput.section(*throughput.measure(workplace.functions, workplace.rounds(100)))


def _drain(_: Workplace) -> Section:
    return drain.section()


def _outage(_: Workplace) -> Section:
    return outage.section()


def _fallback(_: Workplace) -> Section:
    return fallback.section()


def _replay(_: Workplace) -> Section:
    return replay.section()


def _reconcile(_: Workplace) -> Section:
    return reconcile.section()


def _answers(workplace: Workplace) -> Section:
    return answers.section(workplace.functions, workplace.rounds(100))


def _reconcile_run(workplace: Workplace) -> Section:
    return reconcile_run.section(workplace.functions, workplace.rounds(20))


def _artefact(workplace: Workplace) -> Section:
    return artefact.section(workplace.build, workplace.functions.edges, workplace.folder)


def _cost(workplace: Workplace) -> Section:
    return cost.section(*workplace.owed_share)


def _month(workplace: Workplace) -> Section:
    million = sum(cost.per_million(*workplace.owed_share).values())
    return month.section(million, cost.alarm_metrics_by_default((ROOT / "template.yaml").read_text()))


def _stranger(_: Workplace) -> Section:
    return stranger.section()


def _sandbox(workplace: Workplace) -> Section:
    return sandbox.section(workplace.folder / "sandbox", workplace.rounds(20))


BENCHMARKS: dict[str, Callable[[Workplace], Section]] = {
    "warm": _warm,
    "cold": _cold,
    "parse": _parse,
    "worker": _worker,
    "drain": _drain,
    "outage": _outage,
    "fallback": _fallback,
    "replay": _replay,
    "answers": _answers,
    "reconcile": _reconcile,
    "reconcile-run": _reconcile_run,
    "artefact": _artefact,
    "cost": _cost,
    "month": _month,
    "stranger": _stranger,
    "sandbox": _sandbox,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, metavar="NAME", help=f"any of {', '.join(BENCHMARKS)}")
    parser.add_argument("--quick", action="store_true", help="a tenth of the rounds: do not quote the figures")
    parser.add_argument("--json", metavar="FILE", help="also write one JSON document; -: only JSON, on standard output")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""Benchmark of one channel's reconcile run: its duration, and the cost of a month of runs."""

import json
import uuid
from copy import replace
from typing import Any

from bench import cost, prices
from bench.figures import Figure, Section, measured
from bench.functions import Functions, Spent
from bench.warm import in_words, most_common
from sandbox.errors import SandboxError

# Numbers of open incidents in the channel's environment.
SIZES = (0, 100, 400)
MINUTES = 5
RUNS_A_MONTH = 30 * 24 * 60 / MINUTES
BIGPANDA_SECONDS = 0.3
USUAL = 100
BIGPANDA_CALLS = 3


def section(functions: Functions, rounds: int) -> Section:
    """Measure runs and return their table."""
    spent = {size: [_run(functions, size) for _ in range(rounds)] for size in SIZES}
    usual = spent[USUAL]
    return Section(
        "reconcile-run",
        "A reconcile run of one channel",
        [
            *(figure for size in SIZES for figure in _figures(size, spent[size])),
            measured(f"a month of runs, every {MINUTES} minutes, {USUAL} open", "$", _month(usual)),
        ],
        (
            f"Calls to AWS with {USUAL} open incidents: {in_words(most_common(usual))}.",
            f"Cost as in the table of costs; BigPanda takes {BIGPANDA_SECONDS * 1e3:.0f} ms a call, three calls a "
            "run. Each channel pays it, independent of its traffic.",
        ),
    )


def _run(functions: Functions, size: int) -> Spent:
    # A new channel has an account of its own, so that BigPanda's limit of 5 calls a second does not slow the run.
    name = f"run-{size}-{uuid.uuid4().hex[:12]}"
    planner = replace(functions.reconciler.planner, names=lambda: [name])
    reconciler = replace(functions.reconciler, planner=planner)

    def run(_: dict[str, Any], __: Any) -> dict[str, Any]:
        [ran] = reconciler.run()
        return ran.found._asdict()

    answer, spent = functions.invoke(run, {})
    if answer.get("compared") != size:
        raise SandboxError(f"a run should compare {size} incidents; it says {json.dumps(answer)}")
    return spent


def _figures(size: int, spent: list[Spent]) -> list[Figure]:
    name = f"{size} open incidents"
    return [
        measured(name, "ms", *(each.seconds * 1e3 for each in spent)),
        measured("  CPU, calls included", "ms", *(each.cpu * 1e3 for each in spent)),
    ]


def _month(spent: list[Spent]) -> float:
    run, calls = cost.Invocation.of(spent), most_common(spent)
    seconds = run.billed_seconds(BIGPANDA_CALLS * BIGPANDA_SECONDS)
    each = prices.LAMBDA_REQUESTS / cost.MILLION
    each += seconds * cost.MEMORY_GB * prices.LAMBDA_GB_SECOND
    each += (calls["PutItem"] + calls["UpdateItem"]) * prices.DYNAMODB_WRITE_UNITS / cost.MILLION
    # BatchGetItem costs a unit for each incident.
    each += (calls["GetItem"] + calls["BatchGetItem"] + USUAL) * prices.DYNAMODB_READ_UNITS / cost.MILLION
    # The cache's lifetime equals the interval of runs, so each run reads the secret.
    each += calls["GetSecretValue"] * prices.SECRET_READS / cost.MILLION
    each += run.all_log_bytes() * prices.LOG_GB / cost.GIGABYTE
    return each * RUNS_A_MONTH

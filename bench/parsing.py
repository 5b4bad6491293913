"""Benchmark of parsing a share, compared with `json.loads` alone."""

import json
from collections.abc import Callable
from functools import partial

from bench import bodies
from bench.figures import Figure, Section, compared
from bench.rounds import interleaved, seconds
from relay.incidents.share import parse_share
from relay.incidents.transition import State

ALERTS = (1, 30, 300)
# Duration of one measurement: a repeated call, since the clock is not precise for single microseconds.
SECONDS = 0.01


def section(rounds: int) -> Section:
    """Measure parsing and return its table."""
    incident_id = "66b0f1c2a94d3e0012ab34cd"
    contents = {_alerts(number): bodies.body(incident_id, number) for number in ALERTS}
    largest = bodies.largest(incident_id)
    contents[_alerts(len(json.loads(largest)["incident"]["alerts"]))] = largest
    figures = [_figure(f"{name}, {_size(content)}", content, rounds) for name, content in contents.items()]
    note = "Timed: parse_share, and State.of with its digest. The webhook calls both once for each share."
    return Section("parse", "Parsing a body", figures, (note,))


def _figure(name: str, content: bytes, rounds: int) -> Figure:
    ours, theirs = _timed(partial(_read, content)), _timed(partial(json.loads, content))
    found = interleaved({"ours": ours, "json": theirs}, rounds)
    return compared(
        name, "ms", [value * 1e3 for value in found["ours"]], [value * 1e3 for value in found["json"]], "json.loads"
    )


def _read(content: bytes) -> State:
    return State.of(parse_share(content), 0.0)


def _timed(work: Callable[[], object]) -> Callable[[], float]:
    times = max(1, int(SECONDS / max(seconds(work, 3), 1e-9)))
    return partial(seconds, work, times)


def _size(content: bytes) -> str:
    return f"{len(content) / 1024:.1f} KiB" if len(content) < 1024 * 1024 else f"{len(content) / 1024 / 1024:.1f} MiB"


def _alerts(number: int) -> str:
    return f"{number:,} alert{'s' if number > 1 else ''}"

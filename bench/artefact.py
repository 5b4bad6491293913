"""Benchmark of the built artefact: zipped and unzipped size, and the peak memory of a loaded function."""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench import bodies, cold
from bench.edges import TOKEN
from bench.figures import Figure, Section, measured
from bench.functions import Edges
from sandbox.environment import aws_environment
from tests.artefact.builds import Build
from tests.artefact.runtime_api import Deployed

MEMORY_MIB = 512
SHARES = 50
RESIDENT = """
import awslambdaric.bootstrap, json, resource, sys
from types import SimpleNamespace
import app

def resident():
    try:
        with open("/proc/self/status") as status:
            return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / (1024 if sys.platform == "darwin" else 1)

context = SimpleNamespace(function_name="f", memory_limit_in_mb=512, invoked_function_arn="a", aws_request_id="r")
loaded = resident()
with open({path!r}) as lines:
    answers = [app.handler(json.loads(line), context) for line in lines]
assert all(answer["statusCode"] == 200 for answer in answers), answers
print(json.dumps([loaded, resident()]))
"""


def section(build: Build, edges: Edges, folder: Path) -> Section:
    """Measure the size of the built artefact and the memory of its functions; return the table of results.

    A temporary file is written into `folder`.
    """
    figures = [figure for name in build.places() for figure in _sizes(name, build.files(name))]
    note = f"Memory is the peak resident size, the runtime client included; a function has {MEMORY_MIB} MiB."
    title = "Artefact: size, and memory of a loaded function"
    return Section("artefact", title, [*figures, *_memory(build, edges, folder)], (note,))


def _sizes(name: str, files: Mapping[str, Path]) -> list[Figure]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, file in files.items():
            archive.write(file, path)
    unzipped = sum(file.stat().st_size for file in files.values())
    return [
        measured(f"{name}, zipped", "kB", len(buffer.getvalue()) / 1000),
        measured(f"{name}, unzipped", "kB", unzipped / 1000),
    ]


def _memory(build: Build, edges: Edges, folder: Path) -> list[Figure]:
    webhook, worker = (_near(cold.deployed(build, name), edges) for name in ("webhook", "worker"))
    small = [bodies.event("up", TOKEN, bodies.body(f"small-{number}", 30)) for number in range(SHARES)]
    large = bodies.event("up", TOKEN, bodies.largest("large"))
    [loaded, warm], [_, largest], [idle, _] = (
        _resident(function, events, folder) for function, events in ((webhook, small), (webhook, [large]), (worker, []))
    )
    return [
        measured("memory of the worker, loaded", "MiB", idle),
        measured("memory of the webhook, loaded", "MiB", loaded),
        measured(f"  after {SHARES} shares of 30 alerts", "MiB", warm),
        measured("  after a share of 3.9 MiB", "MiB", largest),
    ]


def _near(function: Deployed, edges: Edges) -> Deployed:
    return replace(function, variables={**function.variables, **aws_environment(edges.aws_url)})


def _resident(function: Deployed, events: Sequence[dict[str, Any]], folder: Path) -> tuple[float, float]:
    """Return a function's peak resident memory in MiB: after the function is loaded, and after it handled `events`."""
    with TemporaryDirectory(dir=folder) as name:
        path = Path(name) / "events"
        path.write_text("".join(json.dumps(event) + "\n" for event in events))
        said = function.run(RESIDENT.format(path=str(path))).splitlines()[-1]
    loaded, after = json.loads(said)
    return loaded, after

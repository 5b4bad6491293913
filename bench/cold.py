"""Benchmark of cold starts: CPU time to import a function, in a fresh process with the Lambda environment's packages.

The runtime client is imported before the clock starts: in Lambda, the runtime client imports the function.
"""

import json
from dataclasses import replace
from random import Random

from bench.figures import Figure, Section
from tests.artefact.builds import Build
from tests.artefact.runtime_api import Deployed
from tests.kept_build import kept_build

FUNCTIONS = {
    "webhook": "BigPandaWebhookFunction",
    "worker": "JobWorkerFunction",
    "chore worker": "ChoreWorkerFunction",
    "callback": "XMattersCallbackFunction",
}

FLOOR = """
import boto3, requests
from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.metrics import Metrics
clients = [boto3.client(name) for name in ("dynamodb", "sqs", "secretsmanager")]
session, logger, metrics = requests.Session(), Logger(), Metrics()
"""
TIMED = """
import awslambdaric.bootstrap, json, time
began = time.process_time()
{script}
print(json.dumps(time.process_time() - began))
"""


def section(rounds: int) -> Section:
    """Measure so many cold starts of each function, and return their table."""
    build = Build(kept_build().template.parent)
    functions = {name: build.isolated(resource) for name, resource in FUNCTIONS.items()}
    webhook = functions["webhook"]
    dependencies = next(layer for layer in webhook.layers if layer.name == "DependenciesLayer")
    scripts = {
        "floor": (replace(webhook, layers=(dependencies,)), FLOOR),
        **{name: (function, "import app") for name, function in functions.items()},
    }
    found: dict[str, list[float]] = {name: [] for name in scripts}
    chance = Random(4711)
    for _ in range(rounds):
        # In random order: other load on the machine affects all alike.
        for name in chance.sample(list(scripts), len(scripts)):
            found[name].append(_milliseconds(*scripts[name]))
    floor = found.pop("floor")
    figures = [Figure("floor", "ms", floor)]
    for name, each in found.items():
        # Round by round, so that a slow phase of the machine affects both alike.
        ratios = (own / base for own, base in zip(each, floor, strict=True))
        figures += [Figure(name, "ms", each), Figure("  times the floor", "", list(ratios), aim=1.15)]
    note = (
        f"{rounds} fresh processes each, alternating; the artefact with its bytecode, as it is deployed. Floor: boto3 "
        "with three clients, a requests session, Logger and Metrics."
    )
    return Section("Cold start: CPU of the import", figures, (note,))


def _milliseconds(function: Deployed, script: str) -> float:
    # The lines before the last are metrics.
    seconds: float = json.loads(function.run(TIMED.format(script=script)).splitlines()[-1])
    return 1e3 * seconds

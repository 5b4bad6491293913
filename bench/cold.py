"""Benchmark of cold starts: CPU time to import a function, in a fresh process with the Lambda environment's packages.

The runtime client is imported before the clock starts: in Lambda, the runtime client imports the function.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench.figures import Aim, Figure, Section, compared, measured
from bench.rounds import interleaved
from bench.workplace import Usual
from tests.artefact.builds import Build
from tests.artefact.runtime_api import Deployed

NOWHERE = "http://127.0.0.1:1"
KNOWN = {
    "RetryQueue": f"{NOWHERE}/123456789012/retries",
    "ChoreQueue": f"{NOWHERE}/123456789012/chores",
    "DeadLetterQueue": f"{NOWHERE}/123456789012/dead-letters",
    "LedgerTable": "ledger",
    "FallbackTopic": "arn:aws:sns:us-east-1:123456789012:fallback",
}
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
USUAL = """
import boto3, requests
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.event_handler import APIGatewayRestResolver
from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig, idempotent
from aws_lambda_powertools.utilities.parser import BaseModel, parse

class Incident(BaseModel):
    id: str
    status: str
    changedOn: int

class Share(BaseModel):
    incident: Incident

dynamodb, *clients = [boto3.client(name) for name in ("dynamodb", "sqs", "secretsmanager")]
session, logger, metrics, tracer = requests.Session(), Logger(), Metrics(), Tracer()
layer = DynamoDBPersistenceLayer(table_name="t", boto3_client=dynamodb)
app = APIGatewayRestResolver()

@app.post("/bigpanda/<channel>")
def share(channel):
    return parse(event=app.current_event.body, model=Share).incident.id

@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics
@idempotent(persistence_store=layer, config=IdempotencyConfig(event_key_jmespath="body"))
def handler(event, context):
    return app.resolve(event, context)
"""
TIMED = """
import awslambdaric.bootstrap, json, time
began = time.process_time()
{script}
print(json.dumps(time.process_time() - began))
"""


def section(build: Build, usual: Usual | None, rounds: int) -> Section:
    """Measure cold starts and return their table."""
    scripts = _scripts(build, usual)
    found = interleaved({name: partial(_cpu, *each) for name, each in scripts.items()}, rounds)
    milliseconds = {name: [seconds * 1e3 for seconds in values] for name, values in found.items()}
    notes = [
        f"{rounds} fresh processes each, alternating; the artefact with its bytecode, as it is deployed. Floor: boto3 "
        "with three clients, a requests session, Logger and Metrics. Usual: the same with APIGatewayRestResolver, "
        "parser, Tracer and idempotency, as `sam build` ships it, without bytecode; compiled: with bytecode made here.",
    ]
    if usual is None:
        notes.append(
            "The usual stack was left out: its packages could not be installed. Is the package index reachable?"
        )
    return Section("cold", "Cold start: CPU of the import", _figures(milliseconds), notes)


def deployed(build: Build, name: str) -> Deployed:
    """Return a function as deployed, with an AWS endpoint at which no server listens: an import calls no service."""
    return build.deployed(FUNCTIONS[name], NOWHERE, KNOWN)


def _scripts(build: Build, usual: Usual | None) -> dict[str, tuple[Deployed, str]]:
    webhook = deployed(build, "webhook")
    dependencies = next(layer for layer in webhook.layers if layer.name == "DependenciesLayer")
    scripts = {
        "floor": (_with(webhook, dependencies), FLOOR),
        **{name: (deployed(build, name), "import app") for name in FUNCTIONS},
    }
    if usual:
        scripts |= {
            "usual": (_with(webhook, usual.sources), USUAL),
            "usual, compiled": (_with(webhook, usual.compiled), USUAL),
        }
    return scripts


def _with(function: Deployed, layer: Path) -> Deployed:
    return replace(function, layers=(layer,))


def _cpu(function: Deployed, script: str) -> float:
    # The lines before the last are metrics.
    seconds: float = json.loads(function.run(TIMED.format(script=script)).splitlines()[-1])
    return seconds


def _figures(found: Mapping[str, list[float]]) -> list[Figure]:
    figures = [measured(name, "ms", *found[name]) for name in found if name not in FUNCTIONS]
    for name in FUNCTIONS:
        figures.append(compared(name, "ms", found[name], found["floor"], "floor", Aim(1.15, "ratio")))
        if "usual" in found:
            figures.append(compared(name, "ms", found[name], found["usual"], "usual", Aim(0.5, "ratio")))
            figures.append(compared(name, "ms", found[name], found["usual, compiled"], "usual, compiled"))
    return figures

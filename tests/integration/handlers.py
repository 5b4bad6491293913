"""Loading and invoking of the functions' handlers, from their files as Lambda does."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import LAMBDA_CONTEXT
from tests.integration.account import Aws
from tests.unit.entrypoints.test_bootstrap import ENVIRONMENT

ROOT = Path(__file__).parents[2]

type Handler = Callable[[dict[str, Any], object], dict[str, Any]]


def load(function: str, environment: pytest.MonkeyPatch, account: Aws, **changes: str) -> Handler:
    """Return the handler of `functions/<function>/app.py`, whose module runs anew with the template's variables."""
    settings = {
        "POWERTOOLS_SERVICE_NAME": f"relay-{account.table}-{function}",
        "POWERTOOLS_METRICS_NAMESPACE": "relay",
        "RELAY_BIGPANDA_HOSTS": "*.bigpanda.io",
        "RELAY_PROFILE": "local",
        # The local profile requires an endpoint URL. moto answers for AWS's own names, so boto3 has to ignore the URL.
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
        "RELAY_DEAD_LETTER_QUEUE_URL": account.dead_letters.url,
        "RELAY_RETRY_QUEUE_URL": account.retries.url,
        "RELAY_CHORE_QUEUE_URL": account.chores.url,
        "RELAY_LEDGER_TABLE": account.table,
        "RELAY_FALLBACK_TOPIC_ARN": account.topic_arn,
    }
    for name, value in (ENVIRONMENT | settings | changes).items():
        environment.setenv(name, value)
    spec = importlib.util.spec_from_file_location(f"{function}_app", ROOT / "functions" / function / "app.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    handler: Handler = module.handler
    return handler


def invoke(handler: Handler, event: dict[str, Any]) -> dict[str, Any]:
    """Invoke a handler and return its answer; event and answer pass through JSON, as in Lambda."""
    answer: dict[str, Any] = json.loads(json.dumps(handler(json.loads(json.dumps(event)), LAMBDA_CONTEXT)))
    return answer


def event(body: str, *, channel: str = "noc", recipients: str | None = None, **headers: str) -> dict[str, Any]:
    """Return a proxy event; underscores in header names stand for hyphens."""
    return {
        "pathParameters": {"channel": channel},
        "headers": {"Content-Type": "application/json"}
        | {name.replace("_", "-"): value for name, value in headers.items()},
        "multiValueQueryStringParameters": {"recipients": [recipients]} if recipients else None,
        "requestContext": {"requestId": "gateway-request-1"},
        "body": body,
        "isBase64Encoded": False,
    }

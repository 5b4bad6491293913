import gc
import json
import time
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from relay.bigpanda.client import Incident
from relay.channels.channel import OutboundCredentials, Rest
from relay.deadline import Deadline
from relay.entrypoints import bootstrap
from relay.entrypoints.worker import Worker
from relay.failures import ConfigError, SendError
from tests import samples
from tests.samples import access

ENVIRONMENT = {
    "RELAY_SECRET_PREFIX": "relay",
    "RELAY_XMATTERS_HOSTS": "*.xmatters.com",
    "RELAY_BIGPANDA_HOSTS": "api.bigpanda.io",
    "RELAY_DEAD_LETTER_QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/000000000000/dead-letters",
    "RELAY_RETRY_QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/000000000000/retries",
    "RELAY_CHORE_QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/000000000000/chores",
    "RELAY_LEDGER_TABLE": "ledger",
    "RELAY_FALLBACK_TOPIC_ARN": "arn:aws:sns:eu-central-1:000000000000:fallback",
    "RELAY_JOB_WORKER": "stack-job-worker",
}


@pytest.fixture(autouse=True)
def _lambda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the environment variables that Lambda sets for every function."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "relay")


ACCESS = access("https://acme.xmatters.com", "BPU-key")
REST = Rest("https://api.bigpanda.io", OutboundCredentials("basic", {"username": "u", "password": "p"}))
TO_BIGPANDA = replace(samples.parsed(), trigger_url="https://api.bigpanda.io/api/integration/1/functions/f/triggers")


def deadline() -> Deadline:
    return Deadline(5, time.monotonic)


@pytest.mark.parametrize("build", [bootstrap.job_worker, bootstrap.chore_worker])
@pytest.mark.parametrize(
    ("call", "parameter"),
    [
        (
            lambda it: it.delivery.services.xmatters.attempt(TO_BIGPANDA, samples.SIGNAL, deadline(), reserve=0),
            "XMattersHosts",
        ),
        (lambda it: it.chores.followup.pages.of_request(REST, "r1", deadline()), "XMattersHosts"),
        (
            lambda it: it.chores.writeback().writer.bigpanda.comment(ACCESS, Incident("e1", "i1"), "words", deadline()),
            "BigPandaHosts",
        ),
        (lambda it: it.chores.questions().lister.bigpanda.release(ACCESS, "i1", "e", deadline()), "BigPandaHosts"),
    ],
    ids=["signal", "page", "comment", "listing"],
)
def test_client_of_one_vendor_calls_no_host_of_the_other(
    build: Callable[[dict[str, str]], Worker], call: Callable[[Worker], object], parameter: str
) -> None:
    worker = build(ENVIRONMENT)
    with pytest.raises(SendError, match=f"must not be called: its host is not among the stack's {parameter}") as caught:
        call(worker)
    assert not caught.value.may_have_acted


def test_canary_posts_over_https_alone_and_not_without_a_url() -> None:
    environment = ENVIRONMENT | {"RELAY_NOTICE_TOPIC_ARN": "arn:tomorrow"}
    health = bootstrap.sweeper(environment).health
    assert health
    assert health.canaries is None
    health = bootstrap.sweeper(environment | {"RELAY_WEBHOOK_URL": "http://api.example.com/{channel}"}).health
    assert health
    assert health.canaries
    failure = health.canaries.post("noc", {}, b"{}", Deadline(5, time.monotonic))
    assert failure == "refused: the URL must not be called: it is not https"


def test_heartbeat_calls_the_url_of_the_settings_over_https_alone() -> None:
    assert bootstrap._wiring(ENVIRONMENT).vendors.heartbeat is None
    beat = bootstrap._wiring(ENVIRONMENT | {"RELAY_HEARTBEAT_URL": "http://switch.example.com"}).vendors.heartbeat
    assert beat
    assert beat(1.0) == "refused: the URL must not be called: it is not https"


def test_garbage_collector_works_once_a_cold_start_is_over() -> None:
    gc.disable()
    bootstrap.sweeper(ENVIRONMENT)
    assert gc.isenabled()


PHONES = {"RELAY_FALLBACK_PHONES": "+14255550100,+14255550177", "RELAY_FALLBACK_TEXT_IDENTITY": "arn:text"}


def test_sweeper_calls_and_texts_the_phones_of_its_settings() -> None:
    sweeper = bootstrap.sweeper(ENVIRONMENT | PHONES | {"RELAY_FALLBACK_VOICE_IDENTITY": "arn:voice"})
    phones = sweeper.notifier.fallback.phones
    assert phones
    assert [(each.is_call, each.number[-2:], each.identity) for each in phones.ways] == [
        (True, "00", "arn:voice"),
        (False, "00", "arn:text"),
        (True, "77", "arn:voice"),
        (False, "77", "arn:text"),
    ]
    assert phones.client().meta.config.read_timeout == 5


class FakeLambda:
    """A client of Lambda that keeps its requests, or raises `failure`."""

    meta = SimpleNamespace(events=SimpleNamespace(register=lambda *_: None))

    def __init__(self) -> None:
        self.invoked: list[dict[str, Any]] = []
        self.failure: Exception | None = None

    def invoke(self, **request: Any) -> dict[str, int]:
        if self.failure:
            raise self.failure
        self.invoked.append(request)
        return {"StatusCode": 202}


@pytest.fixture
def awslambda(monkeypatch: pytest.MonkeyPatch) -> FakeLambda:
    client = FakeLambda()
    made = boto3.client
    monkeypatch.setattr(boto3, "client", lambda name, **rest: client if name == "lambda" else made(name, **rest))
    return client


def test_sweeper_invokes_the_worker_with_an_event_like_that_of_sqs(awslambda: FakeLambda) -> None:
    assert bootstrap.sweeper(ENVIRONMENT).bells.invoke('{"schema":1}')
    [request] = awslambda.invoked
    assert (request["FunctionName"], request["InvocationType"]) == ("stack-job-worker", "Event")
    [record] = json.loads(request["Payload"])["Records"]
    assert record == {"messageId": "from-the-sweeper", "body": '{"schema":1}'}


LOCAL = {"RELAY_PROFILE": "local", "AWS_ENDPOINT_URL": "http://localhost:4566"}


def allows_loopback(environment: dict[str, str]) -> bool:
    return bootstrap._wiring(ENVIRONMENT | environment).vendors.hosts.xmatters.loopback


def test_profile_and_not_the_endpoint_decides_if_loopback_is_allowed() -> None:
    assert not allows_loopback({})
    assert not allows_loopback(LOCAL | {"RELAY_PROFILE": "aws"})
    for url in ("http://127.0.0.1:4566", "http://localhost:4566", "http://[::1]:4566", "http://127.9.9.9"):
        assert allows_loopback(LOCAL | {"AWS_ENDPOINT_URL": url}), url


@pytest.mark.parametrize(
    "url",
    ["", "https://127.0.0.1:4566", "http://localhost.example.org", "http://user@10.0.0.1"],
)
def test_local_profile_refuses_to_start_on_aws(url: str) -> None:
    with pytest.raises(ConfigError, match="local is for the local cloud alone"):
        allows_loopback(LOCAL | {"AWS_ENDPOINT_URL": url})


def test_webhook_url_in_the_local_cloud_is_a_path_of_the_clouds_url() -> None:
    post = bootstrap._wiring(ENVIRONMENT | LOCAL | {"RELAY_WEBHOOK_URL": "/_aws/x/{channel}"}).vendors.webhook
    assert post
    assert post.args[1] == "http://localhost:4566/_aws/x/{channel}"  # type: ignore[attr-defined]


def test_lists_of_hosts_and_seconds_are_read() -> None:
    hosts = {"RELAY_XMATTERS_HOSTS": "*.xmatters.com,acme.hosted.xmatters.com", "RELAY_SECRET_CACHE_SECONDS": "10"}
    wiring = bootstrap._wiring(ENVIRONMENT | hosts)
    assert wiring.vendors.hosts.xmatters.patterns == ("*.xmatters.com", "acme.hosted.xmatters.com")
    assert wiring.cache_seconds == 10

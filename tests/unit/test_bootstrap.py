from collections.abc import Callable

import pytest

from relay import bootstrap
from relay.errors import ConfigError
from relay.worker import Worker

ENVIRONMENT = {
    "RELAY_SECRET_PREFIX": "relay",
    "RELAY_ALLOWED_HOSTS": "*.xmatters.com",
    "RELAY_DEAD_LETTER_QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/000000000000/dead-letters",
    "RELAY_RETRY_QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/000000000000/retries",
    "RELAY_CHORE_QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/000000000000/chores",
    "RELAY_LEDGER_TABLE": "ledger",
    "RELAY_FALLBACK_TOPIC_ARN": "arn:aws:sns:eu-central-1:000000000000:fallback",
    "RELAY_JOB_WORKER": "stack-job-worker",
}

BUILDS = [bootstrap.webhook, bootstrap.job_worker, bootstrap.chore_worker, bootstrap.sweeper]


@pytest.fixture(autouse=True)
def _lambda(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Lambda sets for every function."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "relay")


def test_the_parts_of_the_webhook_fit_together_without_a_call_to_anybody() -> None:
    webhook = bootstrap.webhook(ENVIRONMENT)
    assert webhook.door == "inbound"


@pytest.mark.parametrize("build", [bootstrap.job_worker, bootstrap.chore_worker])
def test_so_do_those_of_the_workers(build: Callable[[dict[str, str]], Worker]) -> None:
    worker = build(ENVIRONMENT)
    assert worker.channels is worker.delivery.sender.channels
    assert worker.keeper is worker.delivery.keeper
    assert worker.delivery.guard.ledger.table is worker.delivery.guard.pace.table


def test_parts_of_the_sweeper_fit_together_without_a_call_to_aws() -> None:
    sweeper = bootstrap.sweeper(ENVIRONMENT)
    assert sweeper.table is sweeper.ledger.table
    assert sweeper.backlog == sweeper.keeper.retries.backlog


def test_no_two_senders_have_the_same_name() -> None:
    delivery = bootstrap.job_worker(ENVIRONMENT).delivery
    assert len({delivery.owner() for _ in range(100)}) == 100


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize(
    "name", ["RELAY_DEAD_LETTER_QUEUE_URL", "RELAY_RETRY_QUEUE_URL", "RELAY_CHORE_QUEUE_URL", "RELAY_LEDGER_TABLE"]
)
def test_each_function_needs_its_queues_and_the_ledger(build: Callable[[dict[str, str]], object], name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}: must be set"):
        build(ENVIRONMENT | {name: ""})


def test_only_the_workers_and_the_sweeper_need_the_fallback_topic() -> None:
    environment = ENVIRONMENT | {"RELAY_FALLBACK_TOPIC_ARN": ""}
    bootstrap.webhook(environment)
    for build in (bootstrap.job_worker, bootstrap.chore_worker, bootstrap.sweeper):
        with pytest.raises(ConfigError, match=r"RELAY_FALLBACK_TOPIC_ARN.*: must be set"):
            build(environment)


def test_only_the_sweeper_needs_the_name_of_the_job_worker() -> None:
    environment = ENVIRONMENT | {"RELAY_JOB_WORKER": ""}
    for build in (bootstrap.webhook, bootstrap.job_worker, bootstrap.chore_worker):
        build(environment)
    with pytest.raises(ConfigError, match=r"RELAY_JOB_WORKER.*: must be set"):
        bootstrap.sweeper(environment)


@pytest.mark.parametrize("build", BUILDS)
def test_a_wrong_environment_is_refused_with_all_that_is_wrong(build: Callable[[dict[str, str]], object]) -> None:
    with pytest.raises(ConfigError) as caught:
        build({})
    assert len(str(caught.value).splitlines()) == 6

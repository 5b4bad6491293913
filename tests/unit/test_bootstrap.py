import pytest

from relay import bootstrap
from relay.errors import ConfigError

ENVIRONMENT = {
    "RELAY_SECRET_PREFIX": "relay",
    "RELAY_ALLOWED_HOSTS": "*.xmatters.com",
    "RELAY_DEAD_LETTER_QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/000000000000/q",
}


@pytest.fixture(autouse=True)
def _lambda(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Lambda sets for every function."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "relay")


def test_the_parts_of_the_webhook_fit_together_without_a_call_to_anybody() -> None:
    webhook = bootstrap.webhook(ENVIRONMENT)
    assert webhook.channels is webhook.delivery.sender.channels


def test_so_do_those_of_the_worker_which_needs_no_queue() -> None:
    worker = bootstrap.job_worker({k: v for k, v in ENVIRONMENT.items() if k != "RELAY_DEAD_LETTER_QUEUE_URL"})
    assert worker.redelivery.channels is worker.redelivery.sender.channels


def test_the_webhook_needs_a_queue() -> None:
    with pytest.raises(ConfigError, match="RELAY_DEAD_LETTER_QUEUE_URL: must be set"):
        bootstrap.webhook(ENVIRONMENT | {"RELAY_DEAD_LETTER_QUEUE_URL": ""})


@pytest.mark.parametrize("build", [bootstrap.webhook, bootstrap.job_worker])
def test_a_wrong_environment_is_refused_with_all_that_is_wrong(build: object) -> None:
    assert callable(build)
    with pytest.raises(ConfigError) as caught:
        build({})
    assert len(str(caught.value).splitlines()) == 2

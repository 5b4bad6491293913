import pytest

from relay.config import Config
from relay.failures import ConfigError

GOOD = {
    "RELAY_SECRET_PREFIX": "relay",
    "RELAY_XMATTERS_HOSTS": "*.xmatters.com",
    "RELAY_BIGPANDA_HOSTS": "api.bigpanda.io",
    "RELAY_DEAD_LETTER_QUEUE_URL": "https://sqs/dead-letters",
    "RELAY_RETRY_QUEUE_URL": "https://sqs/retries",
    "RELAY_CHORE_QUEUE_URL": "https://sqs/chores",
    "RELAY_LEDGER_TABLE": "ledger",
}


TEXTS = (
    *("secret_prefix", "dead_letter_queue_url", "retry_queue_url", "chore_queue_url", "ledger_table", "job_worker"),
    *("fallback_topic_arn", "alarm_topic_arn", "notice_topic_arn", "fallback_voice_identity", "fallback_text_identity"),
    *("webhook_url", "heartbeat_url"),
)


def test_every_setting_is_read_and_trimmed() -> None:
    texts = {f"RELAY_{name.upper()}": f"https://{name}" for name in TEXTS}
    others = {
        "RELAY_SECRET_PREFIX": " https://secret_prefix/ ",
        "RELAY_SECRET_CACHE_SECONDS": "0.5",
        "RELAY_XMATTERS_HOSTS": " *.XMatters.com , acme.hosted.xmatters.com,, ",
        "RELAY_CHANNEL_METRICS": "on",
        "RELAY_TRACING": "Active",
        "RELAY_FALLBACK_PHONES": "+14255550100,+14255550101",
    }
    config = Config.from_environment(GOOD | texts | others)
    assert {name: getattr(config, name) for name in TEXTS} == {name: f"https://{name}" for name in TEXTS}
    assert config.xmatters_hosts == ("*.xmatters.com", "acme.hosted.xmatters.com")
    assert config.bigpanda_hosts == ("api.bigpanda.io",)
    assert config.fallback_phones == ("+14255550100", "+14255550101")
    assert (config.secret_cache_seconds, config.has_channel_metrics, config.is_traced) == (0.5, True, True)


def test_all_invalid_settings_are_reported_at_once() -> None:
    wrong = {
        "RELAY_SECRET_CACHE_SECONDS": "soon",
        "RELAY_XMATTERS_HOSTS": "acme.*.com,fine.com",
        "RELAY_BIGPANDA_HOSTS": " , ",
        "RELAY_PROFILE": "prod",
        "RELAY_CHANNEL_METRICS": "yes",
        "RELAY_TRACING": "on",
    }
    with pytest.raises(ConfigError) as caught:
        Config.from_environment(wrong)
    assert str(caught.value).splitlines() == [
        "RELAY_SECRET_PREFIX: must be set",
        "RELAY_SECRET_CACHE_SECONDS: must be a number of seconds between 0 and 86400, not 'soon'",
        "RELAY_XMATTERS_HOSTS: 'acme.*.com' may have a star only in front, as *.example.com",
        "RELAY_BIGPANDA_HOSTS: must name at least one host",
        "RELAY_PROFILE: must be aws or local, not 'prod'",
        "RELAY_DEAD_LETTER_QUEUE_URL: must be set",
        "RELAY_RETRY_QUEUE_URL: must be set",
        "RELAY_CHORE_QUEUE_URL: must be set",
        "RELAY_LEDGER_TABLE: must be set",
        "RELAY_CHANNEL_METRICS: must be off or on, not 'yes'",
        "RELAY_TRACING: must be PassThrough or Active, not 'on'",
    ]


@pytest.mark.parametrize("name", ["RELAY_XMATTERS_HOSTS", "RELAY_BIGPANDA_HOSTS"])
@pytest.mark.parametrize("hosts", ["", " , ", "*", "*.*.com", "a*.xmatters.com"])
def test_host_lists_that_allow_none_or_too_many_are_refused(name: str, hosts: str) -> None:
    with pytest.raises(ConfigError, match=name):
        Config.from_environment(GOOD | {name: hosts})


def test_empty_topic_or_worker_is_refused_only_if_the_function_needs_it() -> None:
    environment = GOOD | {"RELAY_FALLBACK_TOPIC_ARN": "", "RELAY_JOB_WORKER": ""}
    Config.from_environment(environment)
    with pytest.raises(ConfigError) as caught:
        Config.from_environment(environment, "RELAY_FALLBACK_TOPIC_ARN", "RELAY_JOB_WORKER")
    assert str(caught.value) == "RELAY_FALLBACK_TOPIC_ARN: must be set\nRELAY_JOB_WORKER: must be set"


@pytest.mark.parametrize("url", ["http://switch.example.com/canary", "canary", "HTTPS:/canary"])
def test_heartbeat_url_must_be_https_and_is_not_quoted(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_environment(GOOD | {"RELAY_HEARTBEAT_URL": url})
    assert str(caught.value) == "RELAY_HEARTBEAT_URL: must begin with https://"
    assert "canary" not in repr(Config.from_environment(GOOD | {"RELAY_HEARTBEAT_URL": "https://a.b/canary"}))


def test_webhook_url_in_the_local_cloud_is_a_path_of_the_clouds_url() -> None:
    local = {"RELAY_WEBHOOK_URL": "/_aws/x/{channel}", "AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}
    assert Config.from_environment(GOOD | local).webhook_url == "http://127.0.0.1:4566/_aws/x/{channel}"


def test_only_the_local_profile_allows_loopback() -> None:
    assert not Config.from_environment(GOOD | {"RELAY_PROFILE": "aws"}).loopback_allowed
    local = {"RELAY_PROFILE": "local", "AWS_ENDPOINT_URL": "http://localhost:4566"}
    assert Config.from_environment(GOOD | local).loopback_allowed
    # The profile decides, and not the endpoint.
    assert not Config.from_environment(GOOD | local | {"RELAY_PROFILE": "aws"}).loopback_allowed


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:4566", "http://localhost:4566", "http://[::1]:4566", "http://127.9.9.9"]
)
def test_local_profile_is_accepted_if_aws_is_a_local_cloud(url: str) -> None:
    assert Config.from_environment(GOOD | {"RELAY_PROFILE": "local", "AWS_ENDPOINT_URL": url}).loopback_allowed


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "https://127.0.0.1:4566",
        "http://10.0.0.1:4566",
        "http://127.0.0.1.example.org",
        "http://localhost.example.org",
        "http://user@10.0.0.1",
        "http://[::1",
        "127.0.0.1:4566",
    ],
)
def test_local_profile_refuses_to_start_on_aws(url: str | None) -> None:
    environment = GOOD | {"RELAY_PROFILE": "local"} | ({} if url is None else {"AWS_ENDPOINT_URL": url})
    with pytest.raises(ConfigError) as caught:
        Config.from_environment(environment)
    assert str(caught.value) == (
        "RELAY_PROFILE: local is for the local cloud alone: AWS_ENDPOINT_URL is no http URL of this machine; "
        "deploy with Profile=aws"
    )

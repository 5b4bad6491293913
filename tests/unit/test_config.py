import pytest

from relay.config import Config
from relay.errors import ConfigError

GOOD = {"RELAY_SECRET_PREFIX": "relay", "RELAY_ALLOWED_HOSTS": "*.xmatters.com"}


def test_what_is_not_set_has_its_default() -> None:
    assert Config.from_environment(GOOD) == Config(
        secret_prefix="relay",
        secret_cache_seconds=300,
        allowed_hosts=("*.xmatters.com",),
        loopback_allowed=False,
        dead_letter_queue_url=None,
    )


def test_every_setting_is_read_and_tidied() -> None:
    environment = {
        "RELAY_SECRET_PREFIX": " team/relay/ ",
        "RELAY_SECRET_CACHE_SECONDS": "0.5",
        "RELAY_ALLOWED_HOSTS": " *.XMatters.com , acme.bigpanda.io,, ",
        "RELAY_PROFILE": "local",
        "RELAY_DEAD_LETTER_QUEUE_URL": "https://sqs/q",
    }
    assert Config.from_environment(environment) == Config(
        secret_prefix="team/relay",
        secret_cache_seconds=0.5,
        allowed_hosts=("*.xmatters.com", "acme.bigpanda.io"),
        loopback_allowed=True,
        dead_letter_queue_url="https://sqs/q",
    )


def test_all_problems_are_reported_at_once() -> None:
    wrong = {
        "RELAY_SECRET_CACHE_SECONDS": "soon",
        "RELAY_ALLOWED_HOSTS": "acme.*.com,fine.com",
        "RELAY_PROFILE": "prod",
    }
    with pytest.raises(ConfigError) as caught:
        Config.from_environment(wrong)
    assert str(caught.value).splitlines() == [
        "RELAY_SECRET_PREFIX: must be set",
        "RELAY_SECRET_CACHE_SECONDS: must be a number of seconds between 0 and 86400, not 'soon'",
        "RELAY_ALLOWED_HOSTS: 'acme.*.com' has a star elsewhere than in front",
        "RELAY_PROFILE: must be aws or local, not 'prod'",
    ]


@pytest.mark.parametrize("seconds", ["0", "-1", "86401", "nan", "inf", "", "5 minutes"])
def test_a_time_that_is_no_time_is_refused(seconds: str) -> None:
    with pytest.raises(ConfigError, match="RELAY_SECRET_CACHE_SECONDS"):
        Config.from_environment(GOOD | {"RELAY_SECRET_CACHE_SECONDS": seconds})


@pytest.mark.parametrize("hosts", ["", " , ", "*", "*.*.com", "a*.xmatters.com"])
def test_hosts_that_would_allow_none_or_too_many_are_refused(hosts: str) -> None:
    with pytest.raises(ConfigError, match="RELAY_ALLOWED_HOSTS"):
        Config.from_environment(GOOD | {"RELAY_ALLOWED_HOSTS": hosts})


def test_an_empty_queue_is_no_queue() -> None:
    assert Config.from_environment(GOOD | {"RELAY_DEAD_LETTER_QUEUE_URL": ""}).dead_letter_queue_url is None


def test_only_the_local_profile_allows_loopback() -> None:
    assert not Config.from_environment(GOOD | {"RELAY_PROFILE": "aws"}).loopback_allowed
    assert Config.from_environment(GOOD | {"RELAY_PROFILE": "local"}).loopback_allowed

"""Settings of a function from environment variables, read once at cold start."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from relay.failures import ConfigError


@dataclass(frozen=True)
class Config:
    """Settings of a Lambda function, from its environment variables. Texts are empty in functions without the setting.

    Attributes:
        secret_prefix: Prefix of the secrets' names, without a trailing slash.
        secret_cache_seconds: Time for which a function uses its copy of a channel's secret (seconds).
        xmatters_hosts: Allowed hosts of xMatters: names in lower case, some with `*.` in front.
        bigpanda_hosts: Allowed hosts of BigPanda, in the same form.
        loopback_allowed: True to allow plain http to loopback addresses; in the local cloud only.
        job_worker: Name of the job worker's function, for the sweeper.
        alarm_topic_arn: ARN of the topic that wakes people, for the sweeper.
        notice_topic_arn: ARN of the topic that people read later, for the sweeper.
        has_channel_metrics: True to write some metrics for each channel.
        is_traced: True if X-Ray traces the function.
        fallback_phones: Numbers of the phones of the last resort (E.164), for the sweeper.
        fallback_voice_identity: ARN of the phone number or pool that calls these phones; empty for no calls.
        fallback_text_identity: ARN of the phone number, pool or sender id that texts them; empty for no texts.
        webhook_url: URL of the stack's own webhook with `{channel}`, for the sweeper.
        heartbeat_url: URL of an external dead man's switch, for the sweeper. It is a credential.
    """

    secret_prefix: str
    secret_cache_seconds: float
    xmatters_hosts: tuple[str, ...]
    bigpanda_hosts: tuple[str, ...]
    loopback_allowed: bool
    dead_letter_queue_url: str
    retry_queue_url: str
    chore_queue_url: str
    ledger_table: str
    fallback_topic_arn: str
    job_worker: str
    alarm_topic_arn: str
    notice_topic_arn: str
    has_channel_metrics: bool
    is_traced: bool
    fallback_phones: tuple[str, ...] = field(repr=False)
    fallback_voice_identity: str
    fallback_text_identity: str
    webhook_url: str
    heartbeat_url: str = field(repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], *needs: str) -> "Config":
        """Read the settings of a function. `needs` are names of further variables that it must have.

        Raises ConfigError that lists every problem.
        """
        problems: list[str] = []
        config = cls(
            secret_prefix=_text(environment, "RELAY_SECRET_PREFIX", problems),
            secret_cache_seconds=_seconds(environment, "RELAY_SECRET_CACHE_SECONDS", 300, problems),
            xmatters_hosts=_hosts(environment, "RELAY_XMATTERS_HOSTS", problems),
            bigpanda_hosts=_hosts(environment, "RELAY_BIGPANDA_HOSTS", problems),
            loopback_allowed=_profile(environment, "RELAY_PROFILE", problems) == "local",
            dead_letter_queue_url=_text(environment, "RELAY_DEAD_LETTER_QUEUE_URL", problems),
            retry_queue_url=_text(environment, "RELAY_RETRY_QUEUE_URL", problems),
            chore_queue_url=_text(environment, "RELAY_CHORE_QUEUE_URL", problems),
            ledger_table=_text(environment, "RELAY_LEDGER_TABLE", problems),
            fallback_topic_arn=environment.get("RELAY_FALLBACK_TOPIC_ARN", ""),
            job_worker=environment.get("RELAY_JOB_WORKER", ""),
            alarm_topic_arn=environment.get("RELAY_ALARM_TOPIC_ARN", ""),
            notice_topic_arn=environment.get("RELAY_NOTICE_TOPIC_ARN", ""),
            has_channel_metrics=_chosen(environment, "RELAY_CHANNEL_METRICS", ("off", "on"), problems) == "on",
            is_traced=_chosen(environment, "RELAY_TRACING", ("PassThrough", "Active"), problems) == "Active",
            fallback_phones=tuple(filter(None, environment.get("RELAY_FALLBACK_PHONES", "").split(","))),
            fallback_voice_identity=environment.get("RELAY_FALLBACK_VOICE_IDENTITY", ""),
            fallback_text_identity=environment.get("RELAY_FALLBACK_TEXT_IDENTITY", ""),
            webhook_url=_webhook_url(environment, "RELAY_WEBHOOK_URL"),
            heartbeat_url=_https_url(environment, "RELAY_HEARTBEAT_URL", problems),
        )
        problems += [f"{name}: must be set" for name in needs if not environment.get(name)]
        if problems:
            raise ConfigError("\n".join(problems))
        return config


def _text(environment: Mapping[str, str], name: str, problems: list[str]) -> str:
    value = environment.get(name, "").strip().rstrip("/")
    if not value:
        problems.append(f"{name}: must be set")
    return value


def _seconds(environment: Mapping[str, str], name: str, default: float, problems: list[str]) -> float:
    text = environment.get(name, str(default))
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value <= 86_400:
        problems.append(f"{name}: must be a number of seconds between 0 and 86400, not {text!r}")
    return value


def _hosts(environment: Mapping[str, str], name: str, problems: list[str]) -> tuple[str, ...]:
    hosts = tuple(host.strip().lower() for host in environment.get(name, "").split(",") if host.strip())
    if not hosts:
        problems.append(f"{name}: must name at least one host")
    problems.extend(
        f"{name}: {host!r} may have a star only in front, as *.example.com"
        for host in hosts
        if "*" in host.removeprefix("*.")
    )
    return hosts


def _chosen(environment: Mapping[str, str], name: str, values: tuple[str, ...], problems: list[str]) -> str:
    """Return a setting whose allowed values are `values`; the first of them is the default."""
    value = environment.get(name, values[0])
    if value not in values:
        problems.append(f"{name}: must be {' or '.join(values)}, not {value!r}")
    return value


def _https_url(environment: Mapping[str, str], name: str, problems: list[str]) -> str:
    """Return a URL, which must have https; empty if the variable is not set.

    The text in `problems` does not quote the URL, since it may be a credential.
    """
    url = environment.get(name, "")
    if url and not url.startswith("https://"):
        problems.append(f"{name}: must begin with https://")
    return url


def _webhook_url(environment: Mapping[str, str], name: str) -> str:
    """Return the URL in an environment variable. In the local cloud the variable has a path of the cloud's URL."""
    url = environment.get(name, "")
    return f"{environment.get('AWS_ENDPOINT_URL', '')}{url}" if url.startswith("/") else url


def _profile(environment: Mapping[str, str], name: str, problems: list[str]) -> str:
    value = _chosen(environment, name, ("aws", "local"), problems)
    if value == "local" and not _is_on_this_machine(environment.get("AWS_ENDPOINT_URL", "")):
        # AWS sets no such URL; the local cloud sets a loopback URL for each function.
        problems.append(
            f"{name}: local is for the local cloud alone: AWS_ENDPOINT_URL is no http URL of this machine; "
            "deploy with Profile=aws"
        )
    return value


def _is_on_this_machine(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        return parts.scheme == "http" and (host == "localhost" or ipaddress.ip_address(host).is_loopback)
    except ValueError:
        return False

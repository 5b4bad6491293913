"""Channels' secrets: their reads from Secrets Manager, and how old a copy in the cache may be for each reader."""

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ConnectTimeoutError, NoCredentialsError
from botocore.stub import Stubber

from relay.channels.cache import ChangeMarks, ChannelCache, Secrets
from relay.channels.parsing import parse_channel
from relay.failures import ChannelForbidden, ChannelMalformed, ChannelUnreadable, UnknownChannel
from tests import samples
from tests.fakes import HOSTS, Clock, FakeSecrets

OLD = json.dumps(samples.secret())
NEW = json.dumps(samples.secret(inbound={"token": "new-token"}))
MALFORMED = json.dumps({"inbound": {}})
DOWN = ChannelUnreadable("Secrets Manager could not be reached")
GONE = UnknownChannel("noc")


class CachedChannels:
    """A cache that keeps channels for five minutes, and reads their secrets from a fake.

    `notices` has the name and the detail of each notice of the cache.
    """

    def __init__(self, unknown_seconds: float = 60, **texts: str | Exception) -> None:
        self.clock = Clock()
        self.secrets = FakeSecrets(**texts)
        self.notices: list[tuple[str, str]] = []
        self.cache = ChannelCache(
            lambda name: parse_channel(name, self.secrets(name), HOSTS),
            seconds=300,
            clock=self.clock,
            notice=lambda name, detail: self.notices.append((name, detail)),
            change_marks=ChangeMarks(dict, self.clock, lambda *_: None),
            unknown_seconds=unknown_seconds,
        )

    def token(self) -> Any:
        return self.cache.get("noc").inbound[0].members["token"]

    def refreshed(self) -> Any:
        return self.cache.refresh("noc").inbound[0].members["token"]

    def for_refusal(self) -> Any:
        return self.cache.for_refusal("noc").inbound[0].members["token"]

    def changes(self, text: str | Exception, seconds: float) -> None:
        self.secrets.texts["noc"] = text
        self.clock.now += seconds


type Read = Callable[[CachedChannels], str | None]
GET, REFRESH, FOR_REFUSAL = CachedChannels.token, CachedChannels.refreshed, CachedChannels.for_refusal


@pytest.mark.parametrize(
    ("text", "seconds", "read", "result"),
    [
        (NEW, 299.9, GET, samples.TOKEN),
        (NEW, 300, GET, "new-token"),
        (NEW, 9.9, REFRESH, samples.TOKEN),
        (NEW, 10, REFRESH, "new-token"),
        (NEW, 1.9, FOR_REFUSAL, samples.TOKEN),
        (NEW, 2, FOR_REFUSAL, "new-token"),
        (NEW, -3600, FOR_REFUSAL, "new-token"),
        (GONE, 300, GET, UnknownChannel),
        (GONE, 10, REFRESH, UnknownChannel),
        (GONE, 2, FOR_REFUSAL, UnknownChannel),
        (DOWN, 300, GET, samples.TOKEN),
        (MALFORMED, 300, GET, samples.TOKEN),
        ("not json", 300, GET, samples.TOKEN),
        (DOWN, 10, REFRESH, samples.TOKEN),
        (DOWN, 2, FOR_REFUSAL, ChannelUnreadable),
        (MALFORMED, 2, FOR_REFUSAL, ChannelUnreadable),
    ],
)
def test_change_of_a_secret_is_seen_by_each_reader_in_its_time(
    text: str | Exception, seconds: float, read: Read, result: Any
) -> None:
    scene = CachedChannels(noc=OLD)
    scene.token()
    scene.changes(text, seconds)
    if isinstance(result, str):
        assert read(scene) == result
        reads = len(scene.secrets.reads)
        scene.token()
        assert len(scene.secrets.reads) == reads, "also a read that failed is not repeated at once"
    else:
        with pytest.raises(result):
            read(scene)
    is_stale = text in {DOWN, MALFORMED, "not json"}
    assert [name for name, _ in scene.notices] == ["stale_channel"] * is_stale


@pytest.mark.parametrize(
    ("trouble", "reads"),
    [(DOWN, 50), (MALFORMED, 1), (ChannelForbidden("AccessDeniedException"), 1)],
    ids=["down", "malformed", "forbidden"],
)
def test_unreadable_secret_without_a_copy_is_an_error_that_is_remembered_unless_aws_is_down(
    trouble: str | Exception, reads: int
) -> None:
    scene = CachedChannels(noc=trouble)
    for _ in range(50):
        with pytest.raises(ChannelUnreadable):
            scene.token()
    assert len(scene.secrets.reads) == reads
    scene.changes(OLD, 10)
    assert scene.token() == samples.TOKEN
    assert scene.notices == []


@pytest.mark.parametrize("read", [GET, REFRESH, FOR_REFUSAL], ids=["get", "refresh", "for refusal"])
@pytest.mark.parametrize("seconds", [60, 2])
def test_unknown_channel_is_remembered_for_its_time(read: Read, seconds: float) -> None:
    scene = CachedChannels(unknown_seconds=seconds)
    for _ in range(50):
        with pytest.raises(UnknownChannel):
            read(scene)
    assert scene.secrets.reads == ["noc"]
    scene.changes(OLD, seconds - 0.1)
    with pytest.raises(UnknownChannel):
        read(scene)
    scene.clock.now += 0.1
    assert read(scene) == samples.TOKEN


def test_names_that_were_not_found_are_bounded_and_the_oldest_is_forgotten() -> None:
    scene = CachedChannels()
    for name in [*map(str, range(1024)), "0", "new", "1", "0"]:
        with pytest.raises(UnknownChannel):
            scene.cache.get(name)
    assert scene.secrets.reads[1024:] == ["new", "0"]


CLIENT = boto3.client(
    "secretsmanager", region_name="eu-central-1", aws_access_key_id="test", aws_secret_access_key="test"
)


@pytest.fixture
def aws() -> Iterator[Stubber]:
    with Stubber(CLIENT) as stub:
        yield stub
        stub.assert_no_pending_responses()


def secrets() -> Secrets:
    return Secrets(CLIENT, "team/relay", ticks=time.monotonic)


def test_secret_is_read_by_prefix_and_channel(aws: Stubber) -> None:
    aws.add_response("get_secret_value", {"SecretString": "{}"}, {"SecretId": "team/relay/noc"})
    assert secrets().read("noc") == "{}"


def test_channels_are_named_by_the_secrets_below_the_prefix(aws: Stubber) -> None:
    listed: list[dict[str, Any]] = [{"Name": f"team/relay/{name}"} for name in ("noc", "dba", "NOC", "noc/old")]
    aws.add_response("list_secrets", {"SecretList": listed})
    assert sorted(secrets().names()) == ["dba", "noc"]


def test_binary_secret_makes_the_channel_malformed(aws: Stubber) -> None:
    aws.add_response("get_secret_value", {"SecretBinary": b"{}"})
    with pytest.raises(ChannelMalformed, match="channel noc is binary"):
        secrets().read("noc")


@pytest.mark.parametrize("code", ["ResourceNotFoundException", "InvalidRequestException"])
def test_deleted_secret_is_an_unknown_channel(aws: Stubber, code: str) -> None:
    aws.add_client_error("get_secret_value", code)
    with pytest.raises(UnknownChannel):
        secrets().read("noc")


@pytest.mark.parametrize("code", ["AccessDeniedException", "ThrottlingException", "DecryptionFailure", "InternalError"])
def test_other_refusals_of_secrets_manager_make_the_channel_unreadable(aws: Stubber, code: str) -> None:
    aws.add_client_error("get_secret_value", code, "words that may quote something")
    with pytest.raises(ChannelUnreadable, match=f"channel noc: {code}$"):
        secrets().read("noc")


class _Client:
    def __init__(self, call: Any) -> None:
        self.get_secret_value = call


@pytest.mark.parametrize(
    "error", [ConnectTimeoutError(endpoint_url="https://secretsmanager.test"), NoCredentialsError()], ids=type
)
def test_connection_failure_makes_the_channel_unreadable(error: Exception) -> None:
    def fail(**_: str) -> None:
        raise error

    client: Any = _Client(fail)
    with pytest.raises(ChannelUnreadable, match=type(error).__name__):
        Secrets(client, "relay", ticks=time.monotonic).read("noc")


def test_read_of_a_secret_that_hangs_times_out() -> None:
    let_go = threading.Event()
    client: Any = _Client(lambda **_: {"SecretString": str(let_go.wait(20))})
    # On this clock more time passes between two calls than a read may take.
    ticks = itertools.count(0.0, 3 + 1)
    with pytest.raises(ChannelUnreadable, match="TimeoutError"):
        Secrets(client, "relay", ticks=lambda: next(ticks)).read("noc")
    let_go.set()

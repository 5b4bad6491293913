"""Tries of a new credential at the deployed endpoints."""

from collections.abc import Mapping
from typing import Any, cast

from relay.failures import NoAnswer, Reason
from relay.http.session import HttpAnswer
from relayctl.channel.propagation import SETTLE_SECONDS, TOTAL_SECONDS, unaccepted
from relayctl.stack.deployed import Effects, Stack
from tests.fakes import Clock

URLS = {"inbound": "https://api/bigpanda/noc", "callback": "https://api/xmatters/noc"}
INBOUND = {"name": "Authorization", "value": "Bearer new"}
CALLBACK = {"name": "x-api-key", "value": "newer"}
UNREACHABLE = NoAnswer(Reason.UNREACHABLE, "NameResolutionError")


class Api:
    """Fake API: it answers the requests of each endpoint in the given order, and repeats the last answer."""

    def __init__(self, **scripts: list[int | NoAnswer]) -> None:
        self.scripts = scripts
        self.asked: list[tuple[str, bytes | None, Mapping[str, str]]] = []

    def ask(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], _: Any) -> HttpAnswer:
        assert method == "POST"
        self.asked.append((url, body, headers))
        script = self.scripts[url.split("/")[3]]
        said = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(said, NoAnswer):
            raise said
        return HttpAnswer(said, {}, b"")


def probed(api: Any, clock: Clock, **headers: Mapping[str, str]) -> dict[str, str]:
    effects = Effects(cast("Any", None), lambda _: api, clock, clock, clock.sleep)
    stack = Stack("relay", cast("Any", None), None, effects)
    vars(stack)["parameters"] = {"Profile": "aws"}
    return unaccepted(stack, URLS, headers or {"inbound": INBOUND})


def test_probe_repeats_until_the_credential_is_accepted() -> None:
    clock = Clock()
    assert probed(Api(bigpanda=[401, 503, 404, 400]), clock) == {}
    assert clock.slept == [SETTLE_SECONDS] * 4


def test_probe_ends_early_if_the_api_is_unreachable() -> None:
    clock = Clock()
    said = probed(Api(bigpanda=[UNREACHABLE]), clock)
    assert said == {"inbound": "no answer: unreachable: NameResolutionError"}
    assert sum(clock.slept) < 30


def test_endpoints_share_the_90_seconds_and_an_accepting_endpoint_is_not_called_again() -> None:
    # 200 is no answer of the relay to an empty body.
    clock, api = Clock(), Api(bigpanda=[400], xmatters=[401, 200])
    assert probed(api, clock, inbound=INBOUND, callback=CALLBACK) == {"callback": "HTTP 200"}
    assert sum(clock.slept) == TOTAL_SECONDS
    assert [url for url, _, _ in api.asked].count(URLS["inbound"]) == 1

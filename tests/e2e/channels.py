"""A channel for each test, so that tests share no rate limit, circuit or ledger entries."""

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import requests

from relay.ledger.table import Table
from sandbox import local
from sandbox.cloud.relayctl import run, set_channel
from sandbox.server.client import StandIn
from tests.stand_in import session

HEADERS = {"x-api-key": local.INBOUND_TOKEN, "content-type": "application/json"}
# Only xMatters' flood control delays a signal.
UNPACED = ("policy.max_per_minute=1000", "policy.min_seconds_between_signals=0")


@dataclass(frozen=True)
class Channel:
    """A channel bound to a trigger of its own.

    Attributes:
        function: id of its trigger at the stand-in.
    """

    name: str
    function: str
    cloud: local.Local
    xmatters: StandIn

    def post(self, body: bytes, headers: Mapping[str, str] = HEADERS, *, query: str = "") -> requests.Response:
        with session() as http:
            url = f"{self.cloud.api_url}/bigpanda/{self.name}{query}"
            return http.post(url, data=body, headers=headers, timeout=60)

    def signals(self) -> list[dict[str, Any]]:
        """Return the signals that xMatters accepted from this channel, oldest first."""
        return [each for each in self.xmatters.signals() if each["accepted"] and each["function"] == self.function]

    def ledger(self) -> Table:
        """Return the deployed table, which all channels share."""
        return Table(self.cloud.client("dynamodb"), self.cloud.outputs["LedgerTableName"], time.time)


def made(cloud: local.Local, xmatters: StandIn, settings: Sequence[str] = UNPACED) -> Channel:
    function = str(uuid.uuid4())
    channel = Channel(f"e2e-{function[:8]}", function, cloud, xmatters)
    trigger_url = xmatters.add_function(function, "a-key")
    wanted = [f"inbound.token={local.INBOUND_TOKEN}", "xmatters.recipients_in=workflow", *settings]
    set_channel(partial(run, cloud.aws_endpoint_url), channel.name, trigger_url, wanted)
    return channel

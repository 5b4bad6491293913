"""Health of a channel as status and channel list show it, what its drain waits for, and the stack's URLs."""

from collections import Counter
from typing import Any

import pytest

from relay.health.judgement import Debts
from relay.incidents.share import State
from relay.ledger.debt import Debt, Row
from relay.ledger.entry import Entry
from relayctl import moments
from relayctl.channel.endpoints import Use
from relayctl.stack import status as channel_status
from relayctl.stack.deployed import usable_from_here
from relayctl.stack.draining import waits_for
from relayctl.stack.status import ChannelStatus, Health, Traffic
from tests import samples

NOW = 1_800_000_000.0


def owed(ago: float, paused_until: float) -> Entry:
    """Return the entry of a critical that is owed for `ago` seconds."""
    state = State.of(samples.share(), NOW - ago)
    row = Row(NOW + 180, job="d/1", is_critical=True)
    return Entry(newest=state, debt=Debt(since=NOW - ago, row=row, reason="paused", paused_until=paused_until))


def test_channel_is_not_sick_for_debts_that_wait_for_the_end_of_a_pause() -> None:
    status = ChannelStatus("noc", debts=Debts.of([owed(7200, NOW + 600), owed(9000, NOW + 900)]))
    health, why = channel_status.judge(status, NOW)
    assert health == Health.OWES
    assert why == [f"2 critical owed, held until {moments.moment(NOW + 600)} by a pause, flap or distance"]


def test_refused_requests_are_judged_for_an_hour_only_if_the_uses_of_credentials_are_not_known() -> None:
    for ago, is_sick in ((1800, True), (7200, False)):
        status = ChannelStatus("noc", debts=Debts(), traffic=Traffic(refused=1, refused_at=NOW - ago))
        assert (channel_status.only_refused(status, NOW) is not None) is is_sick
        unused = status._replace(uses=(Use("inbound", "current", "token", None),))
        assert channel_status.only_refused(unused, NOW), "no use of a credential is recorded"


@pytest.mark.parametrize(
    ("debts", "traffic", "words"),
    [
        (Debts(critical=1, other=2, oldest=NOW - 300), Traffic(), "1 critical, 2 other owed, the oldest for 5m"),
        (Debts(other=2, reasons=Counter(paused=1)), Traffic(), "2 other owed, 1 paused: relayctl channel resume noc"),
        (Debts(unnotified=1), Traffic(), "1 to be notified of"),
        (Debts(awaited=2), Traffic(), "2 of which nobody is known to have heard"),
        (Debts(), Traffic(last_share=NOW - 900, last_signal=NOW - 60), "quiet until 08:09:00 (UTC)"),
    ],
)
def test_channel_is_not_drained_until_nothing_is_owed_and_nothing_came_for_the_quiet_time(
    debts: Debts, traffic: Traffic, words: str
) -> None:
    assert waits_for(ChannelStatus("noc", debts=debts, traffic=traffic), NOW, 600.0) == [words]


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ({"mode": "shadow"}, []),
        (
            {"pauses": [samples.pause("keep", since=-60, until=3600)]},
            ["1 of which nobody is known to have heard: relayctl channel resume noc"],
        ),
    ],
)
def test_paused_channel_is_not_drained_while_a_critical_waits_to_be_heard_of(
    policy: dict[str, Any], words: list[str]
) -> None:
    channel = samples.parsed(samples.secret() | {"policy": policy})
    status = ChannelStatus("noc", debts=Debts(awaited=1), traffic=Traffic(), channel=channel)
    assert waits_for(status, NOW, 600.0) == words


LOCAL = "http://127.0.0.1:45661"
CHINA = "https://x1.execute-api.cn-north-1.amazonaws.com.cn/v1/{channel}?recipients=a%2Cb"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (CHINA, f"{LOCAL}/_aws/execute-api/x1/v1/{{channel}}?recipients=a%2Cb"),
        ("https://sqs.eu-central-1.amazonaws.com/000000000000/dead", f"{LOCAL}/000000000000/dead"),
        ("http://localhost:4566/000000000000/dead", f"{LOCAL}/000000000000/dead"),
        *(
            (other, other)
            for other in (
                "arn:aws:lambda:us-east-1:000000000000:function:relay",
                "https://console.aws.amazon.com/cloudwatch/home?region=us-east-1",
                "https://acme.xmatters.com/000000000000/name",
                "https://a1.execute-api.us-east-1.amazonaws.com.example.org/v1",
            )
        ),
    ],
)
def test_urls_of_apis_and_queues_alone_are_rewritten_to_the_local_cloud(value: str, expected: str) -> None:
    assert usable_from_here(value, LOCAL) == usable_from_here(value, f"{LOCAL}/") == expected
    assert usable_from_here(value, None) == value, "on AWS it is as it was"

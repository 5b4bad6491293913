"""Conditions under which a channel counts as drained."""

from collections import Counter

import pytest

from relay.channels.policy import Mode, Policy
from relay.delivery.channel_health import Debts
from relayctl.stack.channel_status import ChannelStatus
from relayctl.stack.draining import waits_for
from relayctl.stack.hour_traffic import Traffic

NOW, QUIET = 1_800_000_000.0, 600.0


def status(debts: Debts | None = None, traffic: Traffic | None = None) -> ChannelStatus:
    return ChannelStatus("noc", debts=debts or Debts(), traffic=traffic or Traffic())


@pytest.mark.parametrize(
    "traffic", [Traffic(), Traffic(last_share=NOW - QUIET), Traffic(last_share=NOW - 900, last_signal=NOW - QUIET)]
)
def test_channel_without_debts_and_with_quiet_is_drained(traffic: Traffic) -> None:
    assert waits_for(status(traffic=traffic), NOW, QUIET) == []


@pytest.mark.parametrize(
    ("debts", "words"),
    [
        (Debts(critical=1, other=2, oldest=NOW - 300), "3 owed, the oldest for 5m"),
        (Debts(other=1), "1 owed"),
        (Debts(other=2, reasons=Counter(paused=1)), "2 owed, 1 paused: relayctl channel resume noc"),
        (Debts(unnotified=1, pages_missing=1), "2 to be notified of"),
    ],
)
def test_channel_with_debts_is_not_drained(debts: Debts, words: str) -> None:
    assert waits_for(status(debts), NOW, QUIET) == [words]


def test_channel_in_shadow_mode_is_drained_though_a_notice_waits_for_the_end_of_the_mode() -> None:
    waiting = status(Debts(unnotified=1))._replace(policy=Policy(mode=Mode.SHADOW))
    assert waits_for(waiting, NOW, QUIET) == []


@pytest.mark.parametrize("traffic", [Traffic(last_share=NOW - QUIET + 1), Traffic(last_signal=NOW - QUIET + 1)])
def test_channel_with_a_share_or_signal_within_the_quiet_time_is_not_drained(traffic: Traffic) -> None:
    [words] = waits_for(status(traffic=traffic), NOW, QUIET)
    assert words.startswith("quiet until ")


@pytest.mark.parametrize("unknown", [ChannelStatus("noc", debts=Debts()), ChannelStatus("noc", traffic=Traffic())])
def test_channel_of_which_a_part_is_not_known_is_not_drained(unknown: ChannelStatus) -> None:
    assert waits_for(unknown, NOW, QUIET) == ["the ledger and the logs to be readable"]

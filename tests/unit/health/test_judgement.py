"""Health of a channel: the limits that make it sick, its debts, and the messages about it."""

import json
from typing import Any

import pytest

from relay.channels.policy import Policy
from relay.channels.routes import Pause
from relay.health.judgement import (
    ChannelNotice,
    Debts,
    Health,
    HealthTopics,
    ShareWatch,
    age,
    next_attempt,
    refusals,
    sick_reasons,
    with_holds,
)
from relay.ledger.debt import Debt, Row, Slot
from relay.ledger.entry import Entry
from relay.ledger.rate_limit_and_circuit import Circuit
from relay.ledger.receipt import Receipt
from tests.fakes import FakeSns
from tests.unit.states import announced, state

NOW = 1_800_000_000.0


def owed(ago: float = 1.0, reason: str = "", *, is_critical: bool = True, paused_until: float = 0.0) -> Entry:
    """Return an entry that has been owed for `ago` seconds."""
    row = Row(NOW + 180, job="d/1", is_critical=is_critical)
    return Entry(debt=Debt(since=NOW - ago, reason=reason, row=row, paused_until=paused_until))


def dead_lettered(*, is_critical: bool = True) -> Entry:
    return Entry(debt=Debt(since=NOW - 1, row=Row(NOW, is_critical=is_critical), dead_lettered_at=NOW))


MISSING = Entry().page_missing(NOW)
REFUSED = owed(reason="refused")


@pytest.mark.parametrize(
    ("entries", "reasons"),
    [
        ([owed(120)], []),
        ([owed(121, "upstream")], ["a critical is owed for 2m (upstream 1)"]),
        ([owed(901, "timeout", is_critical=False)], ["owed for 15m (timeout 1)"]),
        ([owed(901, is_critical=False)], ["owed for 15m"]),
        ([owed(9000, paused_until=NOW - 60)], []),
        ([owed(reason="credentials")], ["xMatters refuses the credentials"]),
        ([REFUSED, owed(reason="credentials")], ["xMatters refuses the credentials"]),
        ([REFUSED, owed(121, "refused")], ["a critical is owed for 2m (refused 2)"]),
        *(([owed(reason=reason)], []) for reason in ("", "upstream", "paced", "circuit_open")),
        ([REFUSED], ["xMatters refuses the signals"]),
        ([dead_lettered()], ["1 critical was given up"]),
        (
            [dead_lettered(), dead_lettered(), REFUSED],
            ["2 criticals were given up", "xMatters refuses the signals"],
        ),
        ([MISSING], []),
    ],
)
def test_debts_make_the_channel_sick_for_these_reasons(entries: list[Entry], reasons: list[str]) -> None:
    assert sick_reasons(Debts.of(entries), None, None, NOW) == reasons


@pytest.mark.parametrize(
    ("circuit", "silent_for", "refused", "reasons"),
    [
        (Circuit(NOW + 1, 5), 0, [], ["its circuit is open after 5 failures in a row"]),
        (Circuit(NOW + 1), 0, [], ["its circuit is open"]),
        (Circuit(NOW, 5), 7200, [], []),
        (None, 10_800, [], ["no share came for 3h, and one is expected every 2h"]),
        (
            None,
            0,
            refusals("noc", ("rest", "bigpanda")),
            [
                "xMatters refuses xmatters.rest (type: relayctl channel rotate noc rest)",
                "BigPanda refuses bigpanda.api_key (type: relayctl channel rotate noc bigpanda)",
            ],
        ),
    ],
)
def test_circuit_silence_and_refused_credentials_make_the_channel_sick(
    circuit: Circuit | None, silent_for: float, refused: list[str], reasons: list[str]
) -> None:
    assert sick_reasons(Debts(), circuit, ShareWatch(7200, NOW - silent_for), NOW, refused=refused) == reasons


def test_debts_are_counted_by_kind() -> None:
    notified = dead_lettered()._replace(debt=dead_lettered().debt._replace(is_notified=True))
    given_up = [dead_lettered(), dead_lettered(), notified, *[dead_lettered(is_critical=False)] * 2]
    debts = Debts.of([owed(5), owed(50, is_critical=False), owed(9, is_critical=False), *given_up, MISSING])
    assert (debts.critical, debts.other, debts.owed, debts.unpaged_criticals) == (1, 2, 3, 4)
    assert (debts.given_up, debts.given_up_other, debts.unnotified) == (3, 2, 2)
    rang = Entry(receipt=Receipt.begun(NOW, ("Ops",)))
    eased = rang.unchanged(state(status="warning"))
    assert (debts.awaited, Debts.of([rang]).awaited, Debts.of([eased]).awaited) == (1, 1, 0)
    assert (debts.oldest, debts.oldest_critical) == (NOW - 50, NOW - 5)


def test_next_attempt_is_the_reserved_slot_or_before_the_sweeper_acts_and_not_before_a_pauses_end() -> None:
    row = Row(NOW + 180, job="d/1")
    assert next_attempt(Entry(debt=Debt(row=row)), NOW) == NOW
    assert next_attempt(Entry(debt=Debt(row=row, slot=Slot(NOW + 5, is_critical=True))), NOW) == NOW + 5
    assert next_attempt(Entry(debt=Debt(row=row, slot=Slot(NOW - 5, is_critical=True))), NOW) == NOW - 5
    assert next_attempt(Entry(debt=Debt(row=row, paused_until=NOW + 9)), NOW) == NOW + 9
    assert next_attempt(Entry(debt=Debt(row=Row(NOW))), NOW) is None


def test_next_attempt_of_a_state_that_no_message_wakes_is_the_sweepers() -> None:
    # An open circuit ends in a minute, and the sweeper wakes the state then.
    row = Row(NOW + 60, job="d/1")
    assert next_attempt(Entry(debt=Debt(row=row)), NOW) == NOW + 60


PAUSE = Pause(NOW - 60, NOW + 600, keeps_states=True, when=(("status", ("critical",)),))
RANG = announced(state())
SPACED = Policy(min_seconds_between_signals=60)


@pytest.mark.parametrize(
    ("entry", "policy", "ends"),
    [
        (owed(paused_until=NOW - 60), Policy(), NOW - 60),
        (owed(paused_until=NOW + 60), Policy(), 0.0),
        (Entry(debt=Debt(since=NOW, paused_until=NOW + 60, paused_by=PAUSE.id)), Policy(pauses=(PAUSE,)), NOW + 600),
        (RANG, SPACED, NOW + 60),
        (RANG.unchanged(state(status="warning")), SPACED, 0.0),
        (announced(state(status="warning")), SPACED, 0.0),
    ],
    ids=["past pause", "pause ended early", "pause prolonged", "critical rang", "eased since", "only a warning rang"],
)
def test_delay_of_a_debt_counts_from_the_end_of_its_last_hold(entry: Entry, policy: Policy, ends: float) -> None:
    assert with_holds(entry, policy, NOW).debt.paused_until == ends


def test_recorded_end_of_a_pause_counts_if_the_policy_cannot_be_read() -> None:
    held = with_holds(owed(paused_until=NOW + 60), Policy(), NOW, is_policy_known=False)
    assert held.debt.paused_until == NOW + 60


@pytest.mark.parametrize(("seconds", "text"), [(-1, "0s"), (59.9, "59s"), (60, "1m"), (7199, "1h"), (86_400, "1d")])
def test_age_has_one_unit_and_is_rounded_down(seconds: float, text: str) -> None:
    assert age(seconds) == text


ALARM = "arn:aws:sns:eu-central-1:000000000000:wake"
NOTICE = "arn:aws:sns:eu-central-1:000000000000:tomorrow"
WHY = "a critical is owed for 2m (credentials 3)"
SICK = ChannelNotice("payments", NOW - 120, WHY, Debts(critical=3, other=4), is_urgent=True)
GIVEN_UP = Debts(critical=3, other=4, given_up=20, given_up_other=60)


def published(*notices: ChannelNotice, health: Health = "sick") -> dict[str, Any]:
    """Publish a message, and return it as SNS got it, with its texts by protocol."""
    sns: Any = FakeSns()
    topics = HealthTopics(lambda: sns, ALARM, NOTICE)
    assert topics.tell(health, notices, NOW)
    return dict(sns.message())


@pytest.mark.parametrize(
    ("health", "words"),
    [
        (
            "sick",
            ("is sick since 2027-01-15T07:58:00.000Z (2m)", "3 critical, 4 other wait", "status --channel payments"),
        ),
        (
            "well",
            ("was sick since 2027-01-15T07:58:00.000Z (2m)", "20 critical, 60 other given up", "relayctl dlq list"),
        ),
    ],
)
def test_message_about_one_channel_says_since_when_why_what_waits_and_what_to_type(
    health: Health, words: tuple[str, ...]
) -> None:
    message = published(SICK._replace(debts=SICK.debts if health == "sick" else GIVEN_UP), health=health)
    text = message["Message"]["email"]
    assert [each for each in (*words, WHY) if each not in text] == []
    assert (message["Message"]["default"], f"Channel payments is {health}" in message["Subject"]) == (text, True)
    assert message["TopicArn"] == (ALARM if health == "sick" else NOTICE)
    assert message["Message"]["sms"].startswith(f"payments is {health}")
    assert message["Message"]["sms"].endswith(f": {WHY}") == (health == "sick")
    attributes = {name: each["StringValue"] for name, each in message["MessageAttributes"].items()}
    assert attributes == {"channel": "payments", "health": health}


def test_message_counts_incidents_that_were_given_up_although_none_is_critical() -> None:
    subject = published(SICK._replace(debts=Debts(given_up_other=6)))["Subject"]
    assert subject.endswith("0 critical, 0 other incidents wait; 0 critical, 6 other given up")


@pytest.mark.parametrize("topics", [(ALARM, ""), ("", ALARM)])
@pytest.mark.parametrize("is_urgent", [True, False])
def test_only_topic_gets_every_message(topics: tuple[str, str], is_urgent: bool) -> None:
    client: Any = FakeSns
    assert HealthTopics(client, *topics).arn(is_urgent=is_urgent) == ALARM


@pytest.mark.parametrize("health", ["sick", "well"])
@pytest.mark.parametrize("count", [1, 50, 200])
def test_longest_messages_fit_into_what_sns_takes(count: int, health: Health) -> None:
    longest = ChannelNotice("c" * 48, NOW, "x" * 5000, Debts(1_000_000, 1_000_000, 1_000_000, 1_000_000))
    message = published(*[longest] * count, health=health)
    assert len(message["Subject"]) < 100
    assert len(message["Message"]["sms"]) <= 140
    assert "cccc" in message["Message"]["sms"]
    assert ("channel" in message["MessageAttributes"]) == (count == 1)
    assert ("And 150 more channels." in message["Message"]["email"]) == (count == 200)
    assert ("more channels" in message["Message"]["email"]) == (count == 200)
    assert ("for one of them: relayctl status --channel cccc" in message["Message"]["email"]) == (count > 1)
    assert len(json.dumps(message)) < 256 * 1024

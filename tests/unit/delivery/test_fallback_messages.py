"""The last resort: messages to the fallback topic, calls and texts; their limits, and incidents that forge lines."""

import math
from copy import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from relay.deadline import seconds_left
from relay.delivery.fallback_messages import Fallback, OverdueDebt
from relay.incidents.share import parse_share
from tests import samples
from tests.fakes import FakeMessaging, FakeSns, phones

TOPIC = "arn:aws:sns:eu-central-1:000000000000:fallback"
NOW = 1_800_000_000.0
LINK = "https://a.bigpanda.io/#/app/overview/all/active/incidents/"
# SNS's limit for a message, in bytes.
MAX_MESSAGE_BYTES = 256 * 1024
HOSTILE = ["x" * 512, "ü\n\x00\ud800✓", "\U0001f600" * 512, " ", "", 'a"b\\c{}', "%s{0}$(id)"]


def fallback(sns: FakeSns) -> Fallback:
    client: Any = sns
    return Fallback(lambda: client, TOPIC)


def published(*debts: OverdueDebt, others: int = 0, channel: str = "noc") -> dict[str, Any]:
    sns = FakeSns()
    assert fallback(sns).notify(channel, debts, others)
    return sns.message()


def owed(incident_id: str = "i1", **changes: Any) -> OverdueDebt:
    return replace(OverdueDebt(incident_id, NOW), **changes)


def of(**changes: Any) -> OverdueDebt:
    return OverdueDebt.of_job(samples.job(**changes))


def test_message_of_one_debt_is_complete() -> None:
    message = published(of(body=samples.body(alerts=[{"id": "a1", "description": "disk full"}])))
    text = message["Message"]["email"]
    said = ['- Incident i1: "disk full"\n', "owed since 2027-01-15T08:00:00.000Z; last reason: upstream\n"]
    said += ['recipients: "Network Operations"\n', f"{LINK}i1\n", "The relay goes on trying", "docs/operate.md"]
    assert [each for each in said if each not in text] == []
    assert (message["TopicArn"], message["MessageStructure"], message["Message"]["default"]) == (TOPIC, "json", text)
    assert message["Subject"] == "CRITICAL, xMatters did not notify: incident i1 of channel noc"
    assert message["Message"]["sms"].startswith("CRITICAL noc: 1 critical incident ")
    assert message["Message"]["sms"].endswith('Worst: i1: "disk full"')
    assert message["MessageAttributes"] == {"channel": {"DataType": "String", "StringValue": "noc"}}


def test_message_of_several_debts_has_what_is_known_of_each() -> None:
    given_up = owed("i2", reason="refused", is_dead_lettered=True, recipients=("A", "B"))
    no_page = owed(
        "i3", since=NOW + 60, missed="page_missing", request_ids=("r1", "r2"), link="https://eu.bigpanda.io/3"
    )
    message = published(given_up, no_page, owed("i1", since=NOW + 90))
    entries = message["Message"]["email"].split("- Incident ")[1:]
    for entry, said in zip(
        entries,
        (
            ("i2\n", "last reason: refused", "the relay has given up: relayctl dlq list", '"A", "B"', f"{LINK}i2\n"),
            ("i3\n", "08:01:00.000Z", "(request id r1, r2) and made no page of it", "https://eu.bigpanda.io/3\n"),
            ("i1\n", "owed since 2027-01-15T08:01:30.000Z\n", f"{LINK}i1\n"),
        ),
        strict=True,
    ):
        assert [each for each in said if each not in entry] == []
    assert message["Subject"] == "CRITICAL, xMatters did not notify: 3 incidents of channel noc"
    assert ["recipients" in entry for entry in entries] == [True, False, False]


def test_message_of_pages_that_nobody_answered_does_not_say_that_nobody_was_notified() -> None:
    message = published(owed(missed="nobody_answered"))
    assert message["Subject"] == "CRITICAL, nobody answered: incident i1 of channel noc"
    assert message["Message"]["email"].startswith("Nobody answered the pages of 1 critical incident of channel noc.")


@pytest.mark.parametrize(
    ("page", "missed", "said"),
    [
        ("", "nobody_answered", "xMatters accepted its signal, and nobody answered"),
        ("4711", "nobody_answered", "xMatters made page 4711, and nobody answered"),
        ("", "nobody_notified", "xMatters accepted its signal, and no device is known to have got it"),
    ],
)
def test_message_says_no_more_than_is_known_of_a_page(page: str, missed: str, said: str) -> None:
    assert said in published(owed(page=page, missed=missed))["Message"]["email"]


@pytest.mark.parametrize(("debts", "others", "more"), [(10, 0, 0), (10, 32, 32), (12, 1, 3)])
def test_message_names_ten_debts_and_counts_the_others(debts: int, others: int, more: int) -> None:
    message = published(*(owed(f"i{number}") for number in range(debts)), others=others)
    text, count = message["Message"]["email"], debts + others
    assert text.startswith(f"xMatters did not notify people of {count} critical incidents of channel noc.")
    assert f"{count} incidents of channel noc" in message["Subject"]
    assert message["Message"]["sms"].endswith(f"{count} critical incidents not notified by xMatters. Worst: i0")
    assert text.count("- Incident i") == 10
    assert (f"And {more} more critical incidents." in text, "more critical" in text) == (more > 0, more > 0)


# ---- What SNS takes --------------------------------------------------------------------------------------------------


@given(st.text() | st.sampled_from(HOSTILE), st.integers(1, 2))
def test_subject_is_printable_ascii_and_a_short_message_fits(hostile: str, count: int) -> None:
    channel = "c" * 48
    message = published(*[owed(hostile, description=hostile)] * count, channel=channel)
    subject, sms = message["Subject"], message["Message"]["sms"]
    assert (0 < len(subject) < 100, 0 < len(sms) <= 140) == (True, True)
    assert (subject.isascii(), (subject + sms).isprintable()) == (True, True)
    assert (subject[:8], sms[:59]) == ("CRITICAL", f"CRITICAL {channel}: ")


@pytest.mark.parametrize("character", ["x", "é", "漢", "\U0001f600", '"', "\x00", "\ud800"], ids=ascii)
def test_largest_message_is_no_larger_than_sns_takes(character: str) -> None:
    sns = FakeSns()
    debt = owed(
        character * 512,
        description=character * 9999,
        recipients=(character * 200,) * 100,
        link="https://" + character * 9999,
        reason="channel_removed",
        is_dead_lettered=True,
    )
    assert fallback(sns).notify("c" * 48, [debt] * 20, others=100_000)
    assert len(sns.published[0]["Message"].encode()) <= MAX_MESSAGE_BYTES


# ---- Forgery ---------------------------------------------------------------------------------------------------------

# A text that ends our quotation, begins lines of its own, and offers a link.
FORGED = """i9" is resolved.

- Incident i2: "all well"
  owed since never; call +1 555 0100
  https://phish.example/login
What to do: https://phish.example. \u202e\x1b[2J phish.example/login mailto:a@phish.example tel:+15550100"""


def check_forgery(message: dict[str, Any], like: dict[str, Any]) -> None:
    """Check that forged text stays inside quotes, and adds no line in comparison with the harmless message `like`."""
    whole, plain = message["Message"]["email"].splitlines(), like["Message"]["email"].splitlines()
    assert len(whole) == len(plain)
    assert all(line.isprintable() for line in whole)
    texts = [line for line in whole if not line.startswith(f"  {LINK}")]
    assert [line for line in texts if "://" in line] == []
    for text in (*texts, message["Message"]["sms"], message["Subject"]):
        outside = "".join(text.split('"')[::2])
        assert not any(word in outside for word in ("555", "all well", "resolved", "phish"))
        assert not any(each in text for each in ("https://phish", "phish.example", "mailto:", "tel:"))


@pytest.mark.parametrize("place", ["incident_id", "description", "link", "reason", "request_ids", "recipients"])
def test_no_text_of_a_share_forges_a_line_or_a_link(place: str) -> None:
    forged: Any = (FORGED,) if place in {"request_ids", "recipients"} else FORGED
    debt = owed(
        "i1",
        description="d",
        missed="page_missing" if place == "request_ids" else "",
        request_ids=("r1",),
        recipients=("Ops",),
    )
    check_forgery(published(replace(debt, **{place: forged})), like=published(debt))


def test_id_of_an_incident_that_a_mail_program_takes_for_a_link_is_in_quotes() -> None:
    assert '- Incident "phish(.)example"\n' in published(owed("phish.example"))["Message"]["email"]


def missed(incident_id: str, description: str, link: str) -> dict[str, Any]:
    """Notify the fallback topic of a critical without a webhook; return the message."""
    sns, body = FakeSns(), samples.body(id=incident_id, description=description, links=[{"href": link}])
    assert fallback(sns).notify_of_unknown(["c0"], [parse_share(body)])
    return sns.message()


def test_no_text_of_an_incident_that_was_missed_forges_a_line_or_a_link() -> None:
    check_forgery(missed(FORGED, FORGED, FORGED), like=missed("i1", "d", f"{LINK}i1"))


@pytest.mark.parametrize(("channels", "has_others"), [(10, False), (11, True)])
def test_message_about_a_missed_critical_says_if_it_may_be_of_more_than_ten_channels(
    channels: int, has_others: bool
) -> None:
    sns = FakeSns()
    assert fallback(sns).notify_of_unknown([f"c{number}" for number in range(channels)], [samples.share()])
    assert ("c9 or others" in sns.message()["Message"]["email"], "c10" in str(sns.message())) == (has_others, False)


# ---- The debt of a job -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (
            {"body": samples.body(links=[7, {"href": 7}, {"href": "http://a"}, {"href": "https://b.bigpanda.io/1"}])},
            "https://b.bigpanda.io/1",
        ),
        ({"body": b"no JSON", "incident_id": "a/b\ud800"}, f"{LINK}a%2Fb%3F"),
    ],
    ids=["BigPanda's", "unreadable body"],
)
def test_link_of_a_debt_leads_to_the_incident_in_bigpanda(members: dict[str, Any], expected: str) -> None:
    assert f"  {expected}" in published(of(**members))["Message"]["email"].splitlines()


# ---- Phones ----------------------------------------------------------------------------------------------------------

NUMBERS = ("+14255550100", "+4915112345678")


def calling(client: FakeMessaging) -> Fallback:
    return Fallback(FakeSns, "arn:topic", phones(client, NUMBERS[0]))  # type: ignore[arg-type]


def test_call_is_repeated_only_if_the_service_failed_it_within_seconds() -> None:
    client, left = FakeMessaging(), list[float]()
    client.before = lambda *_: left.append(seconds_left())
    to_all = phones(client, *NUMBERS)
    assert to_all
    to_all.send(lambda _: "words")
    # The SDK repeats nothing once this time is over, and a call without an answer takes longer.
    assert [each for each in left if each > 5] == []
    assert seconds_left() == math.inf


def test_call_or_text_that_the_service_refuses_without_a_code_has_failed() -> None:
    client = FakeMessaging()

    def refuse(*_: str) -> None:
        raise ClientError({}, "SendVoiceMessage")

    client.before = refuse
    assert set(calling(client).call(["noc"], [owed()], 0).values()) == {"ClientError"}


@given(st.text() | st.sampled_from(["x" * 5000, "\n\x00", "\U0001f600" * 500]))
def test_words_of_an_incident_neither_lengthen_a_call_nor_break_a_text(hostile: str) -> None:
    client = FakeMessaging()
    calling(client).call(["c" * 48], [owed(hostile, description=hostile)], 100_000)
    (*_, spoken), (*_, written) = client.sent
    assert (len(spoken) < 500, spoken.isprintable()) == (True, True)
    assert (len(written) <= 140, written.isprintable()) == (True, True)

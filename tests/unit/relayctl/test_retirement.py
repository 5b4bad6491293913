"""Rules for the end of an endpoint's previous credential."""

import pytest

from relayctl.channel.credential_uses import LastUses, Use, described, obstacle

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("current", "previous", "words"),
    [
        (NOW, None, None),
        (NOW, NOW - 7200, None),
        (NOW, NOW - 7199, "or up to an hour later: paste the new one there, and try again after 2027-01-15T08:00:01Z"),
        (None, NOW - 7199, "BigPanda used the old credential at"),
        (None, NOW - 7200, "BigPanda has not used the new credential yet"),
        (None, None, "BigPanda has not used the new credential yet"),
    ],
)
def test_previous_credential_may_end_two_hours_after_its_last_recorded_use_if_the_new_one_is_in_use(
    current: float | None, previous: float | None, words: str | None
) -> None:
    found = obstacle(LastUses(current, previous), "inbound", NOW)
    assert (found is None) == (words is None)
    assert words is None or words in (found or "")


def test_last_uses_are_the_newest_of_each_age_at_the_endpoint() -> None:
    uses = [
        Use("inbound", "current", "token", "2027-01-15T08:00:00+00:00"),
        Use("inbound", "current", "basic", "2027-01-15T07:00:00+00:00"),
        Use("inbound", "previous", "token", None),
        Use("callback", "previous", "token", "2027-01-15T08:00:00+00:00"),
    ]
    assert LastUses.of(uses, "inbound") == LastUses(NOW, None)
    assert LastUses.of(uses, "xmatters.callback") == LastUses(None, NOW)


def test_unknown_use_is_described_as_none_known() -> None:
    assert described(None) == "none known"
    assert described(NOW) == "2027-01-15T08:00:00Z, or up to an hour later"

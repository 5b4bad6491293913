from typing import Any

import click
import pytest

from relayctl.channel.endpoints import Use, obstacle, renew
from relayctl.channel.secret_document import SecretDocument
from relayctl.channel.write_path import keep_previous

NOW = 1_800_000_000.0
TOMORROW = "2027-01-16T08:00:00+00:00"
LOGIN = {"username": "bp", "password": "old"}
EXPIRED = {"token": "older", "expires_at": "2027-01-15T07:00:00Z"}


def rotated(before: Any, after: Any) -> Any:
    """Return the members of BigPanda's endpoint after a rotation from `before` to `after`."""
    old, new = SecretDocument(), SecretDocument()
    old.set("inbound", before)
    new.set("inbound", after)
    keep_previous(old, new, "noc", NOW)
    return new.get("inbound")


@pytest.mark.parametrize(
    ("before", "after", "previous"),
    [
        ({"token": "t", "basic": LOGIN}, {"token": "new", "basic": LOGIN}, {"token": "t"}),
        ({"token": "t", "basic": LOGIN}, {"token": "t"}, {"basic": LOGIN}),
        ({"basic": LOGIN}, {"token": "t"}, {"basic": LOGIN}),
        ({"token": "t", "basic": LOGIN}, {"token": "new"}, {"token": "t", "basic": LOGIN}),
        ({"token": "t", "previous": EXPIRED}, {"token": "new", "previous": EXPIRED}, {"token": "t"}),
        ({"token": "t"}, {"token": "t", "basic": LOGIN}, None),
        ([], {"token": "t"}, None),
    ],
)
def test_only_replaced_credentials_are_kept_as_previous(before: Any, after: Any, previous: Any) -> None:
    assert rotated(before, after).get("previous") == (previous and {**previous, "expires_at": TOMORROW})


def test_second_rotation_is_refused_while_the_previous_credential_is_valid() -> None:
    older = {"token": "older", "expires_at": "2027-01-15T09:00:00+00:00"}
    with pytest.raises(click.UsageError, match=r"works until 2027-01-15T09:00.*relayctl channel rotate noc"):
        rotated({"token": "old", "previous": older}, {"token": "new", "previous": older})


@pytest.mark.parametrize(
    ("members", "kinds"),
    [
        ({"token": "t"}, {"token"}),
        ({"basic": LOGIN}, {"basic"}),
        ({"token": "t", "basic": LOGIN}, {"token", "basic"}),
        ({"basic": {"password": "no user name"}}, {"token"}),
    ],
)
def test_renewed_endpoint_has_new_credentials_of_the_same_kinds(members: Any, kinds: set[str]) -> None:
    document = SecretDocument({"inbound": members})
    renew(document, "inbound", "noc")
    renewed = document.get("inbound")
    assert renewed.keys() == kinds
    assert all(renewed[kind] != members.get(kind) for kind in kinds)
    assert "basic" not in kinds or renewed["basic"]["username"] == "bp"


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
    uses = [Use("inbound", "current", "token", current), Use("inbound", "previous", "token", previous)]
    found = obstacle(uses, "inbound", NOW)
    assert (found is None) == (words is None)
    assert words is None or words in (found or "")

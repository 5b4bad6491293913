import re
import secrets
from typing import Literal

import pytest

from relay.channels import token
from relay.channels.token import PATTERN


def made(channel: str = "noc", endpoint: Literal["inbound", "callback"] = "inbound") -> str:
    return token.make(channel, endpoint, secrets.choice)


def test_token_fits_its_own_channel_and_endpoint_alone() -> None:
    text = made()
    assert token.fits(text, "noc", "inbound")
    assert not token.fits(text, "noc", "callback")
    assert not token.fits(text, "noc2", "inbound")


def test_secret_scanners_find_a_token_by_its_pattern() -> None:
    text = made()
    assert re.fullmatch(PATTERN, text)
    assert re.findall(rf"\b{PATTERN}\b", f'header: "Bearer {text}", x') == [text]


@pytest.mark.parametrize(
    "broken", [lambda it: it[:-1], lambda it: it + "a", lambda it: it[:-1] + "-", lambda it: "bpr_"]
)
def test_truncated_or_extended_token_fits_no_channel(broken: object) -> None:
    assert callable(broken)
    assert not token.fits(broken(made()), "noc", "inbound")


def test_token_with_one_wrong_character_fits_no_channel() -> None:
    text = made()
    for place in range(len(token.PREFIX), len(text)):
        other = "b" if text[place] == "a" else "a"
        assert not token.fits(text[:place] + other + text[place + 1 :], "noc", "inbound")


def test_checksum_of_a_token_is_the_same_in_every_version() -> None:
    # Stored tokens must stay valid.
    assert token.make("noc", "inbound", lambda _: "a") == EXPECTED


EXPECTED = "bpr_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaZDQc4H"

"""Tokens that check themselves: a prefix, random characters, and a checksum bound to one channel and one door.

The checksum is no secret and proves nothing: it tells garbage from a token that may be good, without a look-up. A token
of another channel, or of the other door, is told from a good one as well. Pure code.
"""

import hashlib
import re
from collections.abc import Callable
from typing import Literal

type Door = Literal["inbound", "callback"]

PREFIX = "bpr_"
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# 32 characters of 62 have 190 bits.
RANDOM_LENGTH = 32
# Of 56 thousand million garbage tokens one passes (docs/decisions.md, D-token-checksum).
CHECKSUM_LENGTH = 6
# For secret scanners (docs/install.md, "Tokens").
PATTERN = rf"{PREFIX}[0-9A-Za-z]{{{RANDOM_LENGTH + CHECKSUM_LENGTH}}}"
_SHAPE = re.compile(rf"{PATTERN}\Z")
# A token that an operator types has at least so many characters.
LEAST_TYPED_LENGTH = 24


def make(channel: str, door: Door, choose: Callable[[str], str]) -> str:
    """Return a new token; `choose` picks one of the characters, unpredictably."""
    start = PREFIX + "".join(choose(ALPHABET) for _ in range(RANDOM_LENGTH))
    return start + _checksum(start, channel, door)


def claims_to_check(token: str) -> bool:
    """True if the token begins as those do that check themselves."""
    return token.startswith(PREFIX)


def fits(token: str, channel: str, door: Door) -> bool:
    """True if the token is whole and was made for that channel and door."""
    start, checksum = token[:-CHECKSUM_LENGTH], token[-CHECKSUM_LENGTH:]
    return _SHAPE.match(token) is not None and checksum == _checksum(start, channel, door)


def _checksum(start: str, channel: str, door: Door) -> str:
    number = int.from_bytes(hashlib.sha256(f"{start} {channel} {door}".encode()).digest())
    digits = []
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(digits)

"""Tokens with a checksum: a prefix, random characters, and a checksum bound to one channel and one endpoint. Pure code.

The checksum is no secret and proves nothing. It lets the relay refuse garbage without a look-up of the channel.
"""

import hashlib
import re
from collections.abc import Callable
from typing import Literal

# One of the two endpoints that check credentials, BigPanda's webhook (`inbound`) and xMatters' callback.
type EndpointName = Literal["inbound", "callback"]

PREFIX = "bpr_"
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# 32 characters of 62 have 190 bits.
RANDOM_LENGTH = 32
# 62 ** 6: one of 56,000 million garbage tokens passes (docs/decisions.md, D-token-checksum).
CHECKSUM_LENGTH = 6
# Published for secret scanners (docs/install.md, "Tokens").
PATTERN = rf"{PREFIX}[0-9A-Za-z]{{{RANDOM_LENGTH + CHECKSUM_LENGTH}}}"
_SHAPE = re.compile(rf"{PATTERN}\Z")
# Shortest token that an operator may choose, in characters.
LEAST_TYPED_LENGTH = 24


def make(channel: str, endpoint: EndpointName, choose: Callable[[str], str]) -> str:
    """Return a new token for a channel's endpoint. `choose` returns one of some characters, at random."""
    start = PREFIX + "".join(choose(ALPHABET) for _ in range(RANDOM_LENGTH))
    return start + _checksum(start, channel, endpoint)


def fits(token: str, channel: str, endpoint: EndpointName) -> bool | None:
    """True if the token has the relay's form and length, and the right checksum for this channel and endpoint.

    False for any other token with the relay's prefix. None without the prefix: such a token has no checksum.
    """
    if not token.startswith(PREFIX):
        return None
    start, checksum = token[:-CHECKSUM_LENGTH], token[-CHECKSUM_LENGTH:]
    return _SHAPE.match(token) is not None and checksum == _checksum(start, channel, endpoint)


def _checksum(start: str, channel: str, endpoint: EndpointName) -> str:
    number = int.from_bytes(hashlib.sha256(f"{start} {channel} {endpoint}".encode()).digest())
    digits = []
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(digits)

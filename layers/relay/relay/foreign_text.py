"""Escaping of untrusted text for messages, comments, terminals, log lines and URLs. Pure code.

A text of a share or a callback must not break a line, control a terminal, become a link, or pass for the relay's own.
"""

import re
from collections.abc import Sequence
from urllib.parse import quote

ELLIPSIS = "…"
# Longest id that is shown unquoted. Operators search for ids by their text, so it must not be altered.
MAX_IDENTIFIER = 64
MAX_LINK = 500
# Characters that are read for each character that is kept. Bounds the work on a hostile text of 4 MiB, most of it
# invisible.
_READ_FACTOR = 16
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:-]*")
# What mail clients and phones turn into a link: a scheme and a host; a dot in a bare host; a scheme without a host.
_LINK = re.compile(r"(?:[a-z][a-z0-9+.-]{0,20}://|\bwww\.)[^\s/]*", re.IGNORECASE)
_DOT_OF_HOST = re.compile(r"(?<=\w)\.(?=[^\W\d_]{2})")
_SCHEME = re.compile(
    r"\b(mailto|tel|sms|smsto|mms|callto|facetime|skype|sips?|xmpp|geo|maps|intent|javascript|data|file):(?=\S)",
    re.IGNORECASE,
)
_BIGPANDA_LINK = re.compile(
    r"https://(?:[a-z0-9-]+\.)*bigpanda\.io(?::443)?(?:[/?#][a-z0-9\-._~!$&'()*+,;=:@/?#%]*)?",
    re.ASCII | re.IGNORECASE,
)
# A double quote would end a quotation early. Square brackets enclose the tag at the end of the relay's comments.
_QUOTES = '"\u201c\u201d\u201e\u201f\u2033\u301d\u301e\uff02'
_LOOK_ALIKES = str.maketrans({**dict.fromkeys(_QUOTES, "'"), "[": "(", "]": ")", "\uff3b": "(", "\uff3d": ")"})


def printable(text: str, most: int | None = None) -> str:
    """Return the text, `cut` to `most` characters (None: not), with U+FFFD for each that is not printable."""
    shown = text if most is None else cut(text, most)
    return shown if shown.isprintable() else "".join(each if each.isprintable() else "\ufffd" for each in shown)


def one_line(text: str, most: int) -> str:
    """Return the text on one line of at most `most` characters, without control, format and bidi characters."""
    return cut(_cleaned(text, most), most)


def quoted(text: str, most: int) -> str:
    """Return the text in double quotes, for a sentence of the relay; at most `most` characters with the quotes.

    The text inside has no double quote, square bracket or link: a host's dot becomes `(.)`, a scheme's colon `(:)`.
    """
    plain = _SCHEME.sub(r"\1(:)", _LINK.sub(_without_link, _cleaned(text, most)))
    return f'"{cut(_DOT_OF_HOST.sub("(.)", plain).translate(_LOOK_ALIKES), most - 2)}"'


def identifier(text: str, most: int = MAX_IDENTIFIER) -> str:
    """Return an id unchanged if it is one plain ASCII word of at most `most` characters, and no link; else quoted."""
    is_word = len(text) <= most and _IDENTIFIER.fullmatch(text) and not _LINK.match(text)
    return text if is_word else quoted(text, most)


def is_bigpanda_link(url: str) -> bool:
    """True for a URL that is safe in a message: https, at bigpanda.io or a host below it."""
    return len(url) <= MAX_LINK and _BIGPANDA_LINK.fullmatch(url) is not None


def url_part(text: str) -> str:
    """Return the text escaped for a segment of a URL's path, or a value of its query."""
    return quote(text, safe="", errors="replace")


def cut(text: str, most: int) -> str:
    """Return the text; of a text longer than `most` characters, the first `most` - 1 and an ellipsis."""
    return text if len(text) <= most else text[: most - 1] + ELLIPSIS


def first_of(names: Sequence[str], most: int) -> str:
    """Return a text with the first `most` names, and the number of the others: `a, b and 3 more`."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _cleaned(text: str, most: int) -> str:
    read = text[: _READ_FACTOR * most]
    kept = read if read.isprintable() else "".join(each for each in read if each.isprintable() or each.isspace())
    line = " ".join(kept.split())
    return line if len(read) == len(text) else line + ELLIPSIS


def _without_link(found: re.Match[str]) -> str:
    return found[0].replace("://", "(:)//").replace(".", "(.)")

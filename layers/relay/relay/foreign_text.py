"""Foreign text: escaping for messages, comments, terminals and log lines. Pure code.

Strangers write the texts of a share's body and of a callback. Such a text must not break a line, steer a terminal,
become a link, or look like words of the relay.
"""

import re

ELLIPSIS = "…"
# An id is looked for by its letters, so this many are kept.
MAX_IDENTIFIER = 64
MAX_LINK = 500
# Characters that are read for each one that is kept: most of a hostile text may be invisible, and it may be 4 MiB.
_READ_FACTOR = 16
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:-]*")
# A scheme and its host, or what mail clients take for one.
_LINK = re.compile(r"(?:[a-z][a-z0-9+.-]{0,20}://|\bwww\.)[^\s/]*", re.IGNORECASE)
_BIGPANDA_LINK = re.compile(
    r"https://(?:[a-z0-9-]+\.)*bigpanda\.io(?::443)?(?:[/?#][a-z0-9\-._~!$&'()*+,;=:@/?#%]*)?",
    re.ASCII | re.IGNORECASE,
)
# Double quotes would end ours early. Square brackets are those of the mark that ends a comment of the relay.
_QUOTES = '"\u201c\u201d\u201e\u201f\u2033\u301d\u301e\uff02'
_LOOK_ALIKES = str.maketrans({**dict.fromkeys(_QUOTES, "'"), "[": "(", "]": ")", "\uff3b": "(", "\uff3d": ")"})


def printable(text: str, most: int | None = None) -> str:
    """Return the text with U+FFFD in place of each control, format and bidi character, cut to `most` characters.

    Spaces stay, so the result keeps its columns. A line break is a control character, too.
    """
    shown = text if most is None else cut(text, most)
    return shown if shown.isprintable() else "".join(each if each.isprintable() else "\ufffd" for each in shown)


def one_line(text: str, most: int) -> str:
    """Return the text without control, format and bidi characters, on one line, cut to `most` characters.

    Each run of white space becomes a single space.
    """
    return cut(_cleaned(text, most), most)


def quoted(text: str, most: int) -> str:
    """Return the text as a quotation for a sentence of the relay; with its quotes it has `most` characters at most.

    The quotation has no double quote, no square bracket and no link: dots of a host are written as `(.)`.
    """
    return f'"{cut(_LINK.sub(_without_link, _cleaned(text, most)).translate(_LOOK_ALIKES), most - 2)}"'


def identifier(text: str, most: int = MAX_IDENTIFIER) -> str:
    """Return an id as it is if it is a single word of ASCII letters and digits; else as a quotation."""
    is_word = len(text) <= most and _IDENTIFIER.fullmatch(text) and not _LINK.match(text)
    return text if is_word else quoted(text, most)


def is_bigpanda_link(url: str) -> bool:
    """True for an https URL of bigpanda.io, or of a host below it, that can stand in a message."""
    return len(url) <= MAX_LINK and _BIGPANDA_LINK.fullmatch(url) is not None


def cut(text: str, most: int) -> str:
    """Return the text, or as much of it as leaves room for an ellipsis."""
    return text if len(text) <= most else text[: most - 1] + ELLIPSIS


def _cleaned(text: str, most: int) -> str:
    read = text[: _READ_FACTOR * most]
    line = " ".join("".join(each for each in read if each.isprintable() or each.isspace()).split())
    return line if len(read) == len(text) else line + ELLIPSIS


def _without_link(found: re.Match[str]) -> str:
    return found[0].replace("://", "(:)//").replace(".", "(.)")

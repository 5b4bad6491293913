"""Foreign text in messages, comments, terminals and log lines: hostile text stays harmless."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.foreign_text import identifier, is_bigpanda_link, one_line, printable, quoted
from tests import samples

ANY = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("disk full", "disk full"),
        ("one\r\n  two\tthree\u2028four\u00a0five", "one two three four five"),
        ("\x1b[31mred\u202e\u200b\x00\ud800", "[31mred"),
        ("Überlast 過負荷 🙂", "Überlast 過負荷 🙂"),
        ("disk" + " " * 900 + "full", "disk full"),
        ("", ""),
    ],
)
def test_one_line_has_no_control_format_or_bidi_character(text: str, line: str) -> None:
    assert one_line(text, 100) == line


def test_long_text_ends_in_an_ellipsis() -> None:
    assert one_line("x" * 11, 10) == "x" * 9 + "…"
    assert one_line("x" * 10, 10) == identifier("x" * 10, 10) == "x" * 10


@given(ANY, st.integers(4, 50))
def test_any_text_becomes_a_printable_line_of_limited_length(text: str, most: int) -> None:
    for line in (one_line(text, most), quoted(text, most), identifier(text, most), printable(text, most)):
        assert line.isprintable()
        assert len(line) <= most
        line.encode()


@given(ANY)
def test_quotation_holds_no_quote_or_bracket_of_its_text(text: str) -> None:
    line = quoted(text, 200)
    assert line[0] == line[-1] == '"'
    assert not set(line[1:-1]) & set('"[]“”')


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see https://phish.example/a.b now", '"see https(:)//phish(.)example/a.b now"'),
        ("ht\u200btps://phish.example", '"https(:)//phish(.)example"'),
        ("WWW.phish.example", '"WWW(.)phish(.)example"'),
        ("javascript://x", '"javascript(:)//x"'),
        ("https://a.bigpanda.io/", '"https(:)//a(.)bigpanda(.)io/"'),
        ("db-1.prod.example is down", '"db-1(.)prod(.)example is down"'),
        ("log in at evil.example/x, or 10.0.0.1", '"log in at evil(.)example/x, or 10.0.0.1"'),
        ("MailTo:a@evil.example tel:+15550100", '"MailTo(:)a@evil(.)example tel(:)+15550100"'),
        ("at 12:30: lag is 3.5 s, e.g. slow. Data: none", '"at 12:30: lag is 3.5 s, e.g. slow. Data: none"'),
    ],
)
def test_links_in_foreign_text_are_shown_and_cannot_be_followed(text: str, shown: str) -> None:
    assert quoted(text, 200) == shown


def test_id_that_begins_like_a_link_is_in_quotes() -> None:
    assert identifier("www.phish.example") == '"www(.)phish(.)example"'


def test_characters_that_steer_a_terminal_are_marked_and_columns_stay() -> None:
    assert printable("  a\x1b[2J\tb\u202e \n") == "  a\ufffd[2J\ufffdb\ufffd \ufffd"
    assert printable("a\nbcd", 3) == "a\ufffd…"


@pytest.mark.parametrize(("url", "is_bigpandas"), samples.LINKS.items())
def test_only_links_to_bigpandas_hosts_are_recognised(url: str, is_bigpandas: bool) -> None:
    assert is_bigpanda_link(url) is is_bigpandas

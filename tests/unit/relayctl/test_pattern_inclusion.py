"""Inclusion of patterns: does one pattern match all texts of another? Results are compared with fnmatch's."""

import itertools
from fnmatch import fnmatchcase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayctl.report.route_lint import includes

TEXTS = ["".join(letters) for length in range(6) for letters in itertools.product("abz", repeat=length)]
patterns = st.text("ab*?", max_size=4) | st.sampled_from(["[ab]", "[!a]*", "a[", "[]a]", "[a-b]?"])


@pytest.mark.parametrize(
    ("wide", "narrow", "expected"),
    [
        ("*", "", True),
        ("*", "pay*", True),
        ("pay*", "payments", True),
        ("pay*", "pay-*", True),
        ("pay-*", "pay*", False),
        ("?*", "*", False),
        ("*db*", "*pay-db-?", True),
        ("a?c", "a*c", False),
        ("[a-c]x", "bx", True),
        ("[ac]x", "[a-c]x", False),
        ("a[", "a[", True),
        ("[é-ü]", "[ö]", None),
    ],
)
def test_inclusion_of_known_pairs(wide: str, narrow: str, expected: bool | None) -> None:
    assert includes(wide, narrow) is expected


def test_pair_that_needs_a_long_search_is_undecided() -> None:
    assert includes("*a" + "?" * 14, "*[a]" + "?" * 14) is None


@given(patterns, patterns)
@settings(max_examples=300, deadline=None)
def test_inclusion_agrees_with_fnmatch_on_short_texts(wide: str, narrow: str) -> None:
    missed = [text for text in TEXTS if fnmatchcase(text, narrow) and not fnmatchcase(text, wide)]
    found = includes(wide, narrow)
    if found:
        assert missed == []
    if "[" not in wide + narrow and len(wide) <= 3 and len(narrow) <= 3:
        assert found is (not missed)

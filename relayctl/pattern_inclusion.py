"""Inclusion of patterns of routes' conditions: does one pattern match all texts that another one matches?

Patterns are those of fnmatch: `*`, `?`, `[...]` and plain characters. Both patterns become nondeterministic
automata. A search looks for a text that the narrower pattern matches and the wider one does not. No side effects.
"""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

# Pairs of states that are searched at most. Usual patterns need some tens.
MAX_PAIRS = 4000
# A bracket expression with its end, as fnmatch finds it: a `]` may be its first character.
_TOKEN = re.compile(r"\[!?.[^\]]*\]|.", re.DOTALL)
_STAR = "*"
_ASCII = frozenset(map(chr, range(0x20, 0x7F)))
# Stands for every character that neither pattern names.
_OTHER = "\0"

type _States = frozenset[int]


def includes(wide: str, narrow: str) -> bool | None:
    """Return True if `wide` matches every text that `narrow` matches; None if the search gives up.

    It gives up for patterns whose automata reach more than MAX_PAIRS pairs of state sets, and for brackets with
    characters other than ASCII.
    """
    if wide in {narrow, _STAR}:
        return True
    tokens = _TOKEN.findall(wide), _TOKEN.findall(narrow)
    brackets = [each for side in tokens for each in side if len(each) > 1]
    if not all(each.isascii() for each in brackets):
        return None
    letters = {each for side in tokens for each in side if len(each) == 1} - {_STAR, "?"}
    return _search(*tokens, letters | {_OTHER} | (_ASCII if brackets else frozenset()))


def _search(wide: list[str], narrow: list[str], alphabet: Iterable[str]) -> bool | None:
    start = _closed(narrow, {0}), _closed(wide, {0})
    seen, todo = {start}, [start]
    while todo:
        inner, outer = todo.pop()
        if len(narrow) in inner and len(wide) not in outer:
            return False
        for letter in alphabet:
            after = _step(narrow, inner, letter), _step(wide, outer, letter)
            if after[0] and after not in seen:
                seen.add(after)
                todo.append(after)
        if len(seen) > MAX_PAIRS:
            return None
    return True


def _step(tokens: list[str], states: _States, letter: str) -> _States:
    """Return the automaton's states after one more character; a state is the number of tokens that are matched."""
    after = set[int]()
    for state in states:
        if state < len(tokens) and tokens[state] == _STAR:
            after.add(state)
        elif state < len(tokens) and fnmatchcase(letter, tokens[state]):
            after.add(state + 1)
    return _closed(tokens, after)


def _closed(tokens: list[str], states: Iterable[int]) -> _States:
    """Return these states of the automaton, and those that it also reaches if a `*` matches no character."""
    reached = set(states)
    for state in states:
        after = state
        while after < len(tokens) and tokens[after] == _STAR:
            after += 1
            reached.add(after)
    return frozenset(reached)

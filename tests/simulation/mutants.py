"""Runs schedules against the library with a fault in it.

Each worker process imports what the library needs once; for each fault it imports the library and the simulation anew.
So a fault that its recorded seed finds costs little more than that schedule.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType
from typing import Any

from tests.simulation.mutations import Mutation

ROOT = Path(__file__).parents[2]
# The modules that hold the mutations themselves, and those of other tests, stay as they are.
_STAYS = {"tests.simulation", "tests.simulation.mutations", "tests.simulation.mutants"}


def seeds_that_find(
    mutations: Sequence[Mutation], schedules: int, *, progress: Callable[[str, int | None], object] = lambda *_: None
) -> dict[str, int | None]:
    """Return for each fault, by name, the first seed whose schedule breaks with it; None if none of so many does.

    A fault's recorded seed is tried before all others. Raises ValueError where the library does not read as a mutation
    thinks.
    """
    for mutation in mutations:
        mutated(mutation)
    found: dict[str, int | None] = {}
    # Started afresh: greenlets and a fork of a process with threads do not go together.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(len(mutations), os.cpu_count() or 1), mp_context=context) as pool:
        seeds = pool.map(partial(seed_that_finds, schedules=schedules), mutations)
        for mutation, seed in zip(mutations, seeds, strict=True):
            found[mutation.name] = seed
            progress(mutation.name, seed)
    return found


def seed_that_finds(mutation: Mutation, schedules: int) -> int | None:
    """Return the first seed whose schedule breaks with the fault, of the recorded one and the first `schedules`."""
    with _installed(mutation):
        judge = import_module("tests.simulation.simulation").judge
        return next((seed for seed in (mutation.seed, *range(schedules)) if judge(seed).problems), None)


def mutated(mutation: Mutation) -> tuple[Path, str]:
    """Return the path of the mutation's module, and its text with the fault."""
    path = ROOT / mutation.path
    text = path.read_text()
    if text.count(mutation.right) != 1:
        raise ValueError(f"{mutation.name}: {path.name} holds {text.count(mutation.right)} times: {mutation.right}")
    return path, text.replace(mutation.right, mutation.wrong)


@contextmanager
def _installed(mutation: Mutation) -> Iterator[None]:
    """Let the library and the simulation be imported with the fault, and without it afterwards."""
    finder = _Finder(mutation)
    _forget()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        _forget()


def _forget() -> None:
    for name in list(sys.modules):
        is_ours = name.partition(".")[0] == "relay" or name.startswith(("tests.simulation", "tests.fake"))
        if is_ours and name not in _STAYS:
            del sys.modules[name]


class _Finder(MetaPathFinder):
    """Finds one module, with its fault."""

    def __init__(self, mutation: Mutation) -> None:
        self._name = mutation.full_name
        self._path, self._text = mutated(mutation)

    def find_spec(self, fullname: str, path: Any, target: Any = None, /) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        loader = _Loader(fullname, str(self._path), self._text)
        return spec_from_file_location(fullname, self._path, loader=loader)


class _Loader(SourceFileLoader):
    """Loads a text in place of what the file holds; the bytecode beside the file is not used."""

    def __init__(self, fullname: str, path: str, text: str) -> None:
        super().__init__(fullname, path)
        self._text = text

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._text, self.path, "exec", dont_inherit=True)

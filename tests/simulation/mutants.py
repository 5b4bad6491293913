"""Runs of schedules against the library with a fault.

Each worker process imports the library's dependencies once, and the library and the simulation for each fault. So a
fault that its recorded seed finds costs little more than that schedule.
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
# The modules of the mutations, and those of other tests, are not imported again.
_STAYS = {"tests", "tests.simulation", "tests.simulation.mutations", "tests.simulation.mutants"}


def seeds_that_find(
    mutations: Sequence[Mutation], schedules: int, *, progress: Callable[[str, int | None], object] = lambda *_: None
) -> dict[str, int | None]:
    """Return the first seed that finds each fault, by the fault's name; None if no schedule finds the fault.

    A fault's recorded seed is tried first. Raises ValueError if a mutation's text is not exactly once
    in its module.
    """
    for mutation in mutations:
        mutated(mutation)
    found: dict[str, int | None] = {}
    # "spawn", since greenlets do not work in a fork of a process with threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(len(mutations), os.cpu_count() or 1), mp_context=context) as pool:
        seeds = pool.map(partial(seed_that_finds, schedules=schedules), mutations)
        for mutation, seed in zip(mutations, seeds, strict=True):
            found[mutation.name] = seed
            progress(mutation.name, seed)
    return found


def seed_that_finds(mutation: Mutation, schedules: int) -> int | None:
    """Return the first seed that finds the fault: the recorded one, or one of the first `schedules`; else None."""
    with _installed(mutation):
        judge = import_module(f"tests.simulation.{mutation.simulation}").judge
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
    """Import the library and the simulation with the fault inside a `with` block, and without it afterwards."""
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
        package, _, child = name.rpartition(".")
        if name.partition(".")[0] in {"relay", "tests"} and name not in _STAYS:
            del sys.modules[name]
            if package in sys.modules:
                # `from tests import samples` would take the old module from its package.
                vars(sys.modules[package]).pop(child, None)


class _Finder(MetaPathFinder):
    """Import finder for one module, with its fault."""

    def __init__(self, mutation: Mutation) -> None:
        self._name = mutation.full_name
        self._path, self._text = mutated(mutation)

    def find_spec(self, fullname: str, path: Any, target: Any = None, /) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        loader = _Loader(fullname, str(self._path), self._text)
        return spec_from_file_location(fullname, self._path, loader=loader)


class _Loader(SourceFileLoader):
    """Import loader that compiles a given text instead of the file's content, and ignores the file's bytecode."""

    def __init__(self, fullname: str, path: str, text: str) -> None:
        super().__init__(fullname, path)
        self._text = text

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._text, self.path, "exec", dont_inherit=True)

"""Runs of schedules against the library with a fault.

A fault inside a function takes the place of the function's code; for another one, the library and the simulation are
imported again. So a fault that its recorded seed finds costs little more than that schedule.
"""

import ast
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from inspect import getattr_static
from pathlib import Path
from textwrap import dedent
from types import CodeType, FunctionType
from typing import Any

from tests.simulation.mutations import ROOT, Mutation

LIBRARY = ROOT / "layers/relay/relay"
# Fields of syntax nodes that hold a name. `attr` of a module counts, too.
_NAMES = {"id", "attr", "arg", "name"}
_OURS = {"relay", "relayctl", "tests"}
# The modules of the mutations, and those of other tests, are not imported again.
_STAYS = {"tests", "tests.simulation", "tests.simulation.mutations", "tests.simulation.mutants"}


def seeds_that_find(
    mutations: Sequence[Mutation], schedules: int, *, progress: Callable[[str, int | None], object] = lambda *_: None
) -> dict[str, int | None]:
    """Return the first seed that finds each fault, by the fault's name; None if no schedule finds the fault.

    A fault's recorded seed is tried first. Raises ValueError if a mutation's right code is not
    exactly once in its function.
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
    with installed(mutation):
        judge = import_module(f"tests.simulation.{mutation.simulation}").judge
        return next((seed for seed in (mutation.seed, *range(schedules)) if judge(seed).problems), None)


def mutated(mutation: Mutation) -> tuple[str, Path, ast.Module]:
    """Return the name and the path of the mutation's module, and its syntax tree with the fault.

    The right code is found by its syntax tree inside the mutation's function. If that function has no such code, code
    of the same shape counts, whose names are others: names were changed, and the fault gets the same new names. If
    the function is gone, the code is looked for in all modules. Raises ValueError unless it is found exactly once.
    """
    right, wrong = _codes(mutation.right, mutation.wrong)
    own = _trees(mutation.path)
    scopes = [(path, tree, node) for path, tree in own for node in _functions(tree, mutation.function)]
    if not (is_in_place := bool(scopes)):
        scopes = [(path, tree, tree) for path, tree in _trees(LIBRARY)]
    places = [(path, tree, place) for path, tree, node in scopes for place in _places(node, right)]
    exact = [found for found in places if all(name == new for name, new in found[2].names.items())]
    if len(chosen := exact or (places if is_in_place else [])) != 1:
        raise ValueError(f"{mutation.name}: {mutation.place} holds {len(chosen)} times: {mutation.right}")
    path, tree, place = chosen[0]
    place.replace_by(wrong)
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removeprefix("layers.relay."), path, tree


def _trees(path: Path) -> list[tuple[Path, ast.Module]]:
    """Return the syntax trees of a file, or of all files of a folder, with their paths."""
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path] if path.exists() else []
    return [(each, ast.parse(each.read_text())) for each in files]


def _functions(tree: ast.Module, name: str) -> Iterator[ast.AST]:
    """Yield the functions and classes of this qualified name; the module itself if the name is empty."""
    found: list[ast.AST] = [tree]
    for part in filter(None, name.split(".")):
        children = [child for node in found for child in ast.iter_child_nodes(node)]
        found = [child for child in children if getattr(child, "name", None) == part]
    yield from found


def _codes(*texts: str) -> list[ast.expr] | list[list[ast.stmt]]:
    """Return the syntax trees of texts: expressions if all of them are, else statements."""
    bodies = [ast.parse(dedent(text)).body for text in texts]
    values = [each.value for body in bodies for each in body if isinstance(each, ast.Expr)]
    return values if all(len(body) == 1 for body in bodies) and len(values) == len(texts) else bodies


@dataclass
class _Place:
    """A place in a syntax tree that has the right code.

    Attributes:
        parent: the node, or the list of nodes, that holds the code.
        key: the name of the parent's field, or the place in the list.
        length: the number of statements; None for an expression.
        names: the names in the right code, each with the name at this place.
    """

    parent: Any
    key: Any
    length: int | None
    names: dict[str, str]

    def replace_by(self, code: ast.expr | list[ast.stmt]) -> None:
        """Put the fault here, with the names of this place."""
        for node in ast.walk(ast.Module(code, []) if isinstance(code, list) else code):
            for field, value in ast.iter_fields(node):
                if field in _NAMES and value in self.names:
                    setattr(node, field, self.names[value])
        if self.length is not None:
            self.parent[self.key : self.key + self.length] = code
        elif isinstance(self.parent, list):
            self.parent[self.key] = code
        else:
            setattr(self.parent, self.key, code)


def _places(scope: ast.AST, right: ast.expr | list[ast.stmt]) -> Iterator[_Place]:
    """Yield the places of the right code below a node."""
    slots: list[tuple[Any, Any, Any, int | None]] = []
    for node in ast.walk(scope):
        for field, value in ast.iter_fields(node):
            if not isinstance(value, list):
                slots.append((node, field, value, None))
            elif isinstance(right, list):
                slots += [(value, at, value[at : at + len(right)], len(right)) for at in range(len(value))]
            else:
                slots += [(value, at, child, None) for at, child in enumerate(value)]
    for parent, key, code, length in slots:
        names: dict[str, str] = {}
        if _fits(right, code, names):
            yield _Place(parent, key, length, names)


def _fits(right: object, code: object, names: dict[str, str], field: str = "") -> bool:
    """True if the code has the right code's shape. `names` gets the names of both, one to one."""
    if field in _NAMES and isinstance(right, str) and isinstance(code, str):
        return names.setdefault(right, code) == code and len(set(names.values())) == len(names)
    if isinstance(right, list):
        pairs = zip(right, code, strict=True) if isinstance(code, list) and len(right) == len(code) else None
        return pairs is not None and all(_fits(one, other, names, field) for one, other in pairs)
    if not isinstance(right, ast.AST):
        return type(right) is type(code) and right == code
    return type(right) is type(code) and all(
        _fits(value, getattr(code, name), names, name) for name, value in ast.iter_fields(right) if name != "ctx"
    )


@contextmanager
def installed(mutation: Mutation) -> Iterator[None]:
    """Put the fault into the library inside a `with` block. Modules may be other ones afterwards."""
    name, path, tree = mutated(mutation)
    faulty = compile(ast.fix_missing_locations(tree), str(path), "exec", dont_inherit=True)
    function, code = _function(name, mutation.function), _code_of(faulty, mutation.function)
    # The defaults of arguments are not in a function's code.
    if function and code and code != function.__code__ and code.co_freevars == function.__code__.co_freevars:
        with _swapped(function, code):
            yield
    else:
        with _imported_again(name, path, faulty):
            yield


def _function(module: str, name: str) -> FunctionType | None:
    """Return the function of this qualified name, without what wraps it; None if it is none."""
    found: Any = import_module(module)
    for part in filter(None, name.split(".")):
        found = getattr_static(found, part, None)
    for wrapper in ("fget", "func", "__func__", "__wrapped__"):
        found = getattr(found, wrapper, found)
    return found if isinstance(found, FunctionType) else None


def _code_of(code: CodeType, name: str) -> CodeType | None:
    """Return the code of the function of this qualified name in a module's code; None if there is none."""
    inner = [each for each in code.co_consts if isinstance(each, CodeType)]
    return next((each for each in inner if each.co_qualname == name), None) or next(
        (found for each in inner if (found := _code_of(each, name))), None
    )


@contextmanager
def _swapped(function: FunctionType, code: CodeType) -> Iterator[None]:
    right, function.__code__ = function.__code__, code
    try:
        _clear_caches()
        yield
    finally:
        function.__code__ = right
        _clear_caches()


def _clear_caches() -> None:
    """Forget what functions of the library and the simulation returned before."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in _OURS:
            for each in vars(module).values():
                getattr(each, "cache_clear", int)()


@contextmanager
def _imported_again(name: str, path: Path, code: CodeType) -> Iterator[None]:
    finder = _Finder(name, path, code)
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
        if name.partition(".")[0] in _OURS and name not in _STAYS:
            del sys.modules[name]
            if package in sys.modules:
                # `from tests import samples` would take the old module from its package.
                vars(sys.modules[package]).pop(child, None)


class _Finder(MetaPathFinder):
    """Import finder for one module, with its fault."""

    def __init__(self, name: str, path: Path, code: CodeType) -> None:
        self._name, self._path, self._code = name, path, code

    def find_spec(self, fullname: str, path: Any, target: Any = None, /) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        loader = _Loader(fullname, str(self._path), self._code)
        return spec_from_file_location(fullname, self._path, loader=loader)


class _Loader(SourceFileLoader):
    """Import loader that runs this code instead of the module's file, and ignores its bytecode."""

    def __init__(self, fullname: str, path: str, code: CodeType) -> None:
        super().__init__(fullname, path)
        self._code = code

    def get_code(self, fullname: str) -> CodeType:
        return self._code

"""Hostile bodies and hostile answers of vendors: only declared exceptions, and bounded work and results."""

import json
import signal
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.bigpanda import comment
from relay.channels.routes import Route, chosen
from relay.failures import BadRequest
from relay.incidents.callback import Callback, ResponseMeanings, parse_callback
from relay.incidents.details import details_of
from relay.incidents.own_body import BodyRule, build_body
from relay.incidents.share import State, parse_share
from tests import samples
from tests.unit.channels.test_schema import places

EVENTS = Path(__file__).parents[3] / "events"
# BigPanda waits 8 seconds. Processor time, not wall time: other processes on the machine do not use it up.
MOST_SECONDS = 8.0
TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**300, 10**310)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
    | st.sampled_from(["NaN", "-Infinity", "critical", "OK", "null", "https://a.example/x", "\ud800", "\x00\x1b\n"])
)
JSON: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=10
)


def hostile(samples_: str) -> st.SearchStrategy[Any]:
    """Return a strategy for bodies of sample events, with other values in some places, or without these places."""
    bodies = [json.loads(json.loads(path.read_text())["body"]) for path in sorted(EVENTS.glob(samples_))]

    def changed(body: Any, changes: list[tuple[tuple[Any, ...], Any]]) -> Any:
        root = {"root": deepcopy(body)}
        for path, value in changes:
            holder: Any = root
            *way, key = ("root", *path)
            with suppress(KeyError, IndexError, TypeError):
                for step in way:
                    holder = holder[step]
                if value is ...:
                    del holder[key]
                else:
                    holder[key] = value
        return root.get("root")

    def changes(body: Any) -> st.SearchStrategy[Any]:
        change = st.tuples(st.sampled_from([*places(body)][1:]), JSON | st.just(...))
        return st.lists(change, min_size=1, max_size=9)

    return st.sampled_from(bodies).flatmap(lambda body: st.builds(changed, st.just(body), changes(body)))


RULES = st.builds(
    BodyRule,
    max_length=st.sampled_from([30, 2000, 20_000]),
    properties=st.lists(st.tuples(TEXT, TEXT), max_size=2).map(tuple),
)
FACTS = st.sampled_from(["status", "severity", "environment", "source_system", "tag.team", "tag.\ud800"])
PATTERNS = st.text(st.sampled_from("*?[]!-^a\\{(|&~\ud800İ") | st.characters(), min_size=1, max_size=30)
ROUTES = st.lists(
    st.builds(
        lambda when, names: Route.of({"when": when, "recipients": names}),
        st.dictionaries(FACTS, PATTERNS | st.lists(PATTERNS, max_size=3), max_size=3),
        st.lists(TEXT, max_size=2),
    ),
    max_size=3,
)


def check_work(work: Callable[[], object]) -> None:
    """Do some work; raise AssertionError if it takes more than MOST_SECONDS of processor time, or does not end."""

    def give_up(number: int, frame: FrameType | None) -> NoReturn:
        raise AssertionError(f"it did not end within {MOST_SECONDS} s of processor time")

    before = signal.signal(signal.SIGVTALRM, give_up)
    signal.setitimer(signal.ITIMER_VIRTUAL, MOST_SECONDS)
    try:
        work()
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def check_share(content: bytes, rule: BodyRule, routes: list[Route]) -> None:
    share = parse_share(content)
    state = State.of(share, 1.0)
    found = details_of(share)
    assert len(found.alerts) <= 1000
    assert found.link.startswith("https://")
    route = chosen(routes, share, is_open=state.is_open)
    assert route is None or route.is_undecided or route in routes
    built = json.loads(build_body(share, state, ("a", "\ud800"), "HIGH", rule))
    for value in built["properties"].values():
        assert isinstance(value, str)
        assert len(value) <= rule.max_length


@given(hostile("bigpanda_*.json"), RULES, ROUTES)
@example({"id": 1, "alerts": [], "tags": [], "environments": [], "links": []}, BodyRule(30), [])
@example({"id": 1, "alerts": [{"status": None, "tags": [None, {}, {"name": []}]}]}, BodyRule(30), [])
def test_any_share_is_routed_and_has_a_body_that_fits(
    document: dict[str, Any], rule: BodyRule, routes: list[Route]
) -> None:
    with suppress(BadRequest):
        check_share(json.dumps(document).encode(), rule, routes)


# Bodies of the largest size, in many shapes.
LARGE: dict[str, Callable[[], dict[str, Any]]] = {
    "ten thousand alerts": lambda: {
        "alerts": [{"id": n, "status": "critical", "tags": {"team": f"{n:0200}"}} for n in range(10_000)]
    },
    "alerts that say nothing": lambda: {"alerts": [{}] * 1_000_000},
    "tags without end": lambda: {"tags": [{"name": "team", "value": "x"}] * 100_000},
    "a tag with values without end": lambda: {"tags": {"team": list(range(500_000))}},
    "a tag of an alert with values without end": lambda: {"alerts": [{"tags": {"team": list(range(500_000))}}]},
    "a tag with other values in each alert": lambda: {
        "alerts": [{"tags": {"team": [f"{n} {value}" for value in range(100)]}} for n in range(1000)]
    },
    "a value without end": lambda: {"tags": {"team": "a" * 4_000_000}},
    "a description without end": lambda: {
        "description": "a " * 2_000_000,
        "alerts": [{"description": " " * 1_000_000}],
    },
    "environments without end": lambda: {"environments": list(range(500_000))},
    "links without end": lambda: {"links": [{"href": "x"}] * 200_000},
    "names without end": lambda: {str(n): n for n in range(250_000)},
}
COSTLY = ["*a*a*a*a*b", "*" + "a" * 190 + "b", "a*" * 95 + "b", "*?" * 95 + "b", "*[!b]" * 45 + "b"]
MANY = [f"*{n}x" for n in range(45)]


@pytest.mark.parametrize("large", LARGE.values(), ids=LARGE)
def test_work_for_a_large_share_is_bounded(large: Callable[[], dict[str, Any]]) -> None:
    facts = ("tag.team", "environment", "source_system", "status")
    routes = [Route.of({"when": {fact: COSTLY + MANY}, "recipients": ["a"]}) for fact in facts for _ in range(5)]
    content = json.dumps({"id": 1, "environment": "a" * 10_000} | large()).encode()
    check_work(lambda: check_share(content, BodyRule(20_000), routes))


@pytest.mark.parametrize("name", ["..", ".", "a/b", "a?b", "a b", "a%2fb", "-x", "ä", ["env-1"], 5, "e" * 513])
def test_environment_id_that_would_change_a_path_is_ignored(name: object) -> None:
    document = {"id": "i1", "metadata": {"environment_id": name}, "environment_id": "env-2"}
    assert parse_share(json.dumps(document).encode()).environment_id == "env-2"


LONG = "\ud800\x00x" * 20_000


def parsed(content: bytes) -> Callback | BadRequest:
    try:
        return parse_callback(content)
    except BadRequest as error:
        return error


def check_callback(content: bytes) -> None:
    said = parsed(content)
    if isinstance(said, BadRequest):
        assert (said.status, len(str(said)) < 1000) == (400, True)
        return
    assert 0 < len(said.incident_id) <= 512
    assert len(said.environment_id or "") <= 512
    names = (said.page_id, said.page_number, said.target, said.email, said.device, said.text, said.group, said.at)
    assert all(0 < len(name) <= 200 for name in names if name is not None)
    assert max(len(said.note or ""), len(said.reason or ""), len(said.name or "")) <= 2000
    assert len(said.digest) == 32
    whole = comment.comment_of(said, ResponseMeanings(), comment.tag_of("0" * 32), is_verified=False)
    words = whole.text("a" * 100)
    assert len(words) <= 1000
    assert words.endswith(" [relay 00000000]")
    assert words.count("[") == words.count("]") == 1
    assert words.isprintable()
    assert whole.is_contained_in(words)
    words.encode()


@given(
    hostile("xmatters_callback_*.json").map(lambda document: json.dumps(document).encode())
    | JSON.map(lambda document: json.dumps(document).encode())
    | st.binary(max_size=100)
)
@example(b"[" * 100_000)
@example(b'{"kind": "response", "incident_id": ' + b"9" * 5000 + b"}")
@example(b'{"kind": "response", "incident_id": NaN, "relay": Infinity}')
@example(json.dumps({"kind": LONG, "incident_id": "i1"}).encode())
@example(json.dumps({"relay": LONG, "kind": "response", "incident_id": "i1"}).encode())
@example(json.dumps({"kind": "response", "incident_id": "i1", "environment_id": LONG, "response": LONG}).encode())
@example(json.dumps({"kind": "response", "incident_id": "i1", "person": {"first_name": LONG}, "note": LONG}).encode())
def test_any_callback_is_refused_or_bounded(content: bytes) -> None:
    check_callback(content)


@pytest.mark.parametrize("dots", [".", "..", " .. "])
def test_relative_path_as_id_is_refused_and_as_environment_ignored(dots: str) -> None:
    with pytest.raises(BadRequest, match=r"incident\.id"):
        parse_share(samples.body(id=dots))
    said = {"kind": "response", "incident_id": dots, "environment_id": dots}
    with pytest.raises(BadRequest, match="incident_id"):
        parse_callback(json.dumps(said).encode())
    assert parse_callback(json.dumps(said | {"incident_id": "i1"}).encode()).environment_id is None

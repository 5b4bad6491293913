"""Tests of the storm's accounts: the accounts have to report every kind of fault that a relay could have."""

import base64
from dataclasses import replace
from typing import Any

import pytest

from tests.e2e.verify import LOST_ANSWER_SECONDS, Accounts, Posted
from tests.simulation.story import SharedState

STATUSES = ("warning", "critical", "critical", "ok")


def state(number: int) -> SharedState:
    return SharedState("i1", number, 0.0, STATUSES[number] != "ok", STATUSES[number], frozenset(), 1, 10 + number)


def posted(number: int, outcome: str, *, at: float, **answer: Any) -> Posted:
    said = {"outcome": outcome, "delivery_id": f"d{number}", **answer}
    return Posted(state(number), at, at + 0.5, 202 if outcome == "queued" else 200, said)


def signal(number: int, *, at: float) -> dict[str, Any]:
    return {
        "body_base64": base64.b64encode(state(number).body()).decode(),
        "body": {},
        "received_at": f"2027-01-15T08:00:{at:04.1f}+00:00",
        "request_id": f"r{number}",
        "headers": {"x-relay-delivery-id": f"d{number}"},
    }


START = 1_800_000_000.0
POSTS = [
    posted(0, "delivered", at=START, request_id="r0"),
    posted(1, "queued", at=START + 10, queue="retry"),
    posted(2, "queued", at=START + 11, queue="retry"),
    posted(1, "superseded", at=START + 12),
    posted(2, "duplicate", at=START + 13),
]
SIGNALS = [signal(0, at=0.2), signal(2, at=50)]


def test_accounts_of_a_correct_storm_have_no_problems() -> None:
    accounts = Accounts(POSTS, SIGNALS)
    assert accounts.problems() == []
    assert accounts.sums() == {
        "rang at once": 1,
        "overtaken while it waited": 1,
        "rang later": 1,
        "overtaken on its way": 1,
        "a copy": 1,
    }
    assert accounts.lives() == {"i1": ["warning", "critical"]}


@pytest.mark.parametrize(("place", "outcome"), [(1, "overtaken"), (2, "signalled later")])
def test_share_may_be_answered_duplicate_after_a_write_with_a_lost_answer(place: int, outcome: str) -> None:
    posts = [*POSTS]
    said = {"outcome": "duplicate", "delivery_id": f"d{place}"}
    slow = replace(posts[place], status=200, answer=said, answered_at=posts[place].posted_at + LOST_ANSWER_SECONDS)
    posts[place] = slow
    accounts = Accounts(posts, SIGNALS)
    assert accounts.problems() == [], outcome
    assert accounts.sums()["recorded, with a lost answer"] == 1


@pytest.mark.parametrize(
    ("posts", "signals", "says"),
    [
        pytest.param(POSTS, SIGNALS[:1], "ends unannounced", id="lost"),
        pytest.param(POSTS, SIGNALS[1:], "answered 200", id="said to be delivered"),
        pytest.param(POSTS, [*SIGNALS, signal(2, at=51)], "not owed", id="twice"),
        pytest.param(POSTS, [SIGNALS[0], signal(1, at=49), SIGNALS[1]], "was known", id="stale"),
        pytest.param(POSTS, [SIGNALS[0], SIGNALS[1], signal(1, at=52)], "was known", id="in the wrong order"),
        pytest.param(POSTS, [*SIGNALS, signal(3, at=52)], "never posted", id="made up"),
        pytest.param([*POSTS[:3], posted(1, "unsafe", at=START + 12)], SIGNALS, "unsafe", id="not safe"),
        pytest.param([posted(0, "duplicate", at=START), *POSTS[1:]], SIGNALS[1:], "duplicate", id="no copy"),
        pytest.param([posted(0, "unchanged", at=START), *POSTS[1:]], SIGNALS[1:], "unchanged", id="it was owed"),
        pytest.param(
            [*POSTS, posted(3, "superseded", at=START + 14)], SIGNALS, "superseded", id="the newest of all is overtaken"
        ),
        pytest.param(
            [*POSTS, posted(3, "queued", at=START + 14, queue="retry")], SIGNALS, "ends unannounced", id="no end"
        ),
        pytest.param(
            [*POSTS[:2], posted(2, "queued", at=START + 11, queue="dead_letter"), *POSTS[3:]],
            SIGNALS,
            "dead_letter",
            id="given up",
        ),
    ],
)
def test_accounts_report_each_fault_of_a_relay(posts: list[Posted], signals: list[dict[str, Any]], says: str) -> None:
    assert says in "\n".join(Accounts(posts, signals).problems())

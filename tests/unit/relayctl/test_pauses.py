"""Pauses: words for them, the time for which an ended one is kept in a secret, and their conditions."""

from typing import Any

import pytest

from relay.channels.policy import Mode, Policy
from relay.channels.routes import Pause, age_start
from relay.channels.schema import MOST_PAUSES
from relayctl.channel import pauses
from relayctl.channel.secret_document import SecretDocument
from relayctl.moments import iso

NOW = 1_800_000_000.0
HOUR = 3600.0
STAGING = (("environment", ("staging", "test*")), ("tag.team", ("web",)))
ACTIVE = Pause(NOW - HOUR, NOW + HOUR, keeps_states=True)
PARTIAL = Pause(NOW - HOUR, NOW + 2 * HOUR, keeps_states=False, when=STAGING)
LATER = Pause(NOW + 3 * HOUR, NOW + 4 * HOUR, keeps_states=True)
OVER = Pause(NOW - 2 * HOUR, NOW - HOUR, keeps_states=True)


def policy(*pauses: Pause, **members: Any) -> Policy:
    return Policy(pauses=pauses, **members)


@pytest.mark.parametrize(
    ("found", "mode", "words"),
    [
        (policy(), "live", "live"),
        (policy(mode=Mode.SHADOW), "shadow", "shadow: it sends nothing"),
        (policy(ACTIVE, LATER), "paused", f"{pauses.pause_words(ACTIVE, NOW)}; {pauses.pause_words(LATER, NOW)}"),
        (policy(PARTIAL, OVER), "live", f"live; {pauses.pause_words(PARTIAL, NOW)}"),
    ],
)
def test_mode_is_paused_only_by_an_active_pause_of_all_incidents(found: Policy, mode: str, words: str) -> None:
    assert (pauses.current(found, NOW), "; ".join(pauses.words(found, NOW))) == (mode, words)


def pause(since: float, until: float) -> dict[str, Any]:
    """Return a pause between two times, in hours from NOW."""
    return {"since": iso(NOW + since * HOUR), "until": iso(NOW + until * HOUR), "then": "keep"}


def document(*pauses: dict[str, Any]) -> SecretDocument:
    return SecretDocument({"policy": {"pauses": list(pauses)}})


def test_state_that_waited_for_an_extended_pause_does_not_expire_at_its_resume() -> None:
    found = document(pause(-20, -10), pause(-11, 5))
    pauses.end(found, {}, NOW)
    kept = [Pause.of(each) for each in pauses.pauses_of(found)]
    assert age_start(kept, NOW - 19 * HOUR, 6 * HOUR) == NOW


def test_ended_pause_that_no_owed_state_waited_for_is_dropped() -> None:
    found = document(pause(-40, -30), pause(-11, 5))
    new = pause(0, 1) | {"then": "drop"}
    pauses.add(found, new, NOW)
    assert pauses.pauses_of(found) == [pause(-11, 5), new]


def test_ended_pauses_leave_room_for_a_new_one() -> None:
    found = document(*(pause(-2 * number - 2, -2 * number - 1) for number in range(MOST_PAUSES)))
    pauses.add(found, pause(0, 1), NOW)
    kept = pauses.pauses_of(found)
    assert (len(kept), kept[0], kept[-1]) == (MOST_PAUSES, pause(-2, -1), pause(0, 1))


def test_pause_is_ended_by_its_conditions_in_any_order() -> None:
    staging = pause(-1, 5) | {"when": {"environment": ["staging", "test*"], "tag.team": ["web"]}}
    assert pauses.end(document(staging), {"tag.team": ["web"], "environment": ["test*", "staging"]}, NOW) == [staging]


def test_single_pattern_that_was_written_by_hand_is_found_and_shown_as_one() -> None:
    by_hand = pause(-1, 5) | {"when": {"status": "warning"}}
    found = document(by_hand)
    assert pauses.end(found, {"status": ["warning"]}, NOW) == [by_hand]
    assert pauses.pause_words(Pause.of(by_hand), NOW).endswith("for incidents with status warning")

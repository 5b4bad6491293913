"""Pauses in a channel's secret: the time for which an ended pause is kept, and the conditions of a pause."""

from datetime import datetime
from typing import Any

from relay.channels.routes import Pause, age_start
from relay.channels.schema import MOST_PAUSES
from relayctl.channel import pauses
from relayctl.channel.secret_document import SecretDocument
from relayctl.moments import iso

NOW = datetime.fromisoformat("2030-01-31T12:00:00Z").timestamp()
HOUR = 3600.0


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


def test_single_pattern_that_was_written_by_hand_is_found_and_shown_as_one() -> None:
    by_hand = pause(-1, 5) | {"when": {"status": "warning"}}
    found = document(by_hand)
    assert pauses.end(found, {"status": ["warning"]}, NOW) == [by_hand]
    assert pauses.pause_words(Pause.of(by_hand), NOW).endswith("for incidents with status warning")

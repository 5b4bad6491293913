"""Jobs whose channel was removed are dead-lettered at once, and replayed once the channel is made again."""

import json
from copy import replace

import pytest

from tests import samples
from tests.fakes import FakeSecrets, Relay, new_relay, worked

DOWN = samples.refused(503)


def owing(*kinds: str) -> Relay:
    """Return a relay whose channel was removed while jobs of these kinds were on the retry queue."""
    relay = new_relay(samples.accepted())
    for kind in kinds:
        body = samples.body(status="warning")
        relay.retries.queue().send(samples.job(kind=kind, recipients=(), status="warning", body=body))
    relay.secrets.texts.pop("noc")
    return relay


def removed_from(relay: Relay) -> Relay:
    """Return the relay with new functions, which have no cached copy of the removed channel."""
    return replace(relay, secrets=FakeSecrets())


@pytest.mark.parametrize("kind", ["signal", "writeback", "release"])
def test_job_of_a_removed_channel_is_dead_lettered_at_its_first_attempt(kind: str) -> None:
    relay = owing(kind)
    relay.wake(0)
    [dead] = relay.dead_letters.jobs()
    assert (dead.kind, dead.stamps.reason, relay.retries.messages) == (kind, "channel_removed", [])
    assert relay.recorder.metrics()["dead_lettered"] == 1


def test_delivered_signal_of_a_removed_channel_leaves_no_dead_letter() -> None:
    relay = new_relay(samples.accepted())
    relay.share()
    gone = removed_from(relay)
    gone.wake(36)
    assert (gone.dead_letters.messages, gone.retries.messages) == ([], [])


def test_followup_of_a_removed_channel_leaves_no_dead_letter() -> None:
    relay = owing("followup")
    relay.wake(0)
    assert (relay.dead_letters.messages, relay.retries.messages) == ([], [])


def test_fallback_is_notified_once_of_a_critical_of_a_removed_channel() -> None:
    relay = new_relay(DOWN)
    relay.share()
    gone = removed_from(relay)
    for _ in range(10):
        gone.wake(60)
        gone.sweep(0)
    [message] = gone.sns.published
    assert "the relay has given up" in message["Message"]
    assert "last reason: channel_removed" in message["Message"]
    assert (len(gone.dead_letters.messages), gone.retries.messages) == (1, [])


def test_dead_letters_of_a_removed_channel_can_be_replayed_after_it_is_made_again() -> None:
    relay = owing("signal")
    secret = json.dumps(samples.secret(policy={"min_seconds_between_signals": 0}))
    relay.wake(0)
    relay.secrets.texts["noc"] = secret
    relay.clock.now += 60
    [dead] = relay.dead_letters.jobs()
    relay.retries.messages.clear()
    worked(relay, dead)
    assert len(relay.session.calls) == 1
    assert relay.entry().announced

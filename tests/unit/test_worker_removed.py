"""Jobs whose channel was removed are dead-lettered at once, and replayed once the channel is made again."""

import json

import pytest
from botocore.exceptions import EndpointConnectionError

from relay.channel_cache import UNKNOWN_SECONDS
from relay.fallback import MINUTE
from tests import samples
from tests.fakes import Relay, room

DOWN = samples.refused(503)


def owing(*kinds: str) -> Relay:
    """A relay whose channel was removed while jobs of these kinds were on the retry queue."""
    relay = room(samples.accepted())
    for kind in kinds:
        relay.retries.queue().send(samples.job(kind=kind, recipients=()))
    relay.secrets.texts.pop("noc")
    return relay


@pytest.mark.parametrize("kind", ["signal", "followup", "writeback", "release"])
def test_job_of_a_removed_channel_is_dead_lettered_at_its_first_attempt(kind: str) -> None:
    relay = owing(kind)
    relay.wake(0)
    [dead] = relay.dead_letters.jobs()
    assert (dead.kind, dead.reason, relay.retries.messages) == (kind, "channel_removed", [])
    assert relay.recorder.metrics()["dead_lettered"] == 1


def test_fallback_topic_is_not_notified_of_a_removed_channels_critical() -> None:
    relay = owing("signal")
    for _ in range(10):
        relay.wake(MINUTE)
    assert (relay.sns.published, len(relay.dead_letters.messages)) == ([], 1)


def test_job_waits_while_the_dead_letter_queue_does_not_take_it() -> None:
    relay = owing("signal")
    relay.dead_letters.failure = EndpointConnectionError(endpoint_url="https://sqs")
    relay.wake(0)
    assert [job.reason for job in relay.retries.jobs()] == ["channel_removed"]
    relay.dead_letters.failure = None
    relay.wake(MINUTE)
    assert (len(relay.dead_letters.messages), relay.retries.messages) == (1, [])


def test_channel_made_again_can_have_its_jobs_replayed() -> None:
    relay = owing("signal")
    secret = json.dumps(samples.secret(policy={"min_seconds_between_signals": 0}))
    relay.wake(0)
    relay.secrets.texts["noc"] = secret
    relay.clock.now += UNKNOWN_SECONDS
    [dead] = relay.dead_letters.jobs()
    assert relay.worker.replay(dead.to_json())["outcome"] == "delivered"

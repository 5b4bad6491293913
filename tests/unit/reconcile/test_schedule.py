"""The schedule of reconcile runs: one chore for all channels with the same listing of BigPanda."""

import json
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from relay.failures.errors import UnknownChannel
from relay.jobs.envelope import attributes_of, envelope_of
from relay.reconcile.piece import Piece
from tests import samples
from tests.unit.reconcile_scene import Scene, chores, incident, listings, make_scene, with_channels


def planned(scene: Scene) -> list[list[str]]:
    """Plan runs; return the channels of each."""
    scene.relay.schedule.start()
    return sorted([member.name for member in Piece.of(job).members] for job in chores(scene))


def environments(scene: Scene) -> list[str]:
    """Plan runs; return their environments."""
    scene.relay.schedule.start()
    return sorted(Piece.of(job).environment_id for job in chores(scene))


def share(scene: Scene, environment_id: str, recipients: tuple[str, ...] = ()) -> None:
    """Let BigPanda post a share of that environment to a URL that names these recipients."""
    content = samples.enveloped(environment_id, id=f"of {environment_id}", status="warning")
    scene.relay.webhook.serve(samples.request(content, recipients=recipients))


def test_channels_that_ask_bigpanda_the_same_share_a_run() -> None:
    scene = make_scene()
    with_channels(scene, dba={}, net={"reconcile": "report"})
    assert planned(scene) == [["noc", "dba", "net"]]


@pytest.mark.parametrize(
    "other",
    [
        {"api_key": "BPU-other"},
        {"base_url": "https://eu-api.bigpanda.io"},
        {"reconcile_query": "a = 1"},
        {"environment_id": "e2"},
    ],
    ids=str,
)
def test_channel_that_asks_bigpanda_something_else_has_its_own_run(other: dict[str, Any]) -> None:
    scene = make_scene()
    with_channels(scene, dba=other)
    assert planned(scene) == [["dba"], ["noc"]]


@pytest.mark.parametrize("off", [False, None])
def test_channel_that_is_not_reconciled_is_in_no_run(off: bool | None) -> None:
    scene = make_scene()
    with_channels(scene, dba={"reconcile": False} if off is False else {"environment_id": "e1"})
    if off is None:
        secret = json.loads(str(scene.relay.secrets.texts["dba"]))
        del secret["bigpanda"]
        scene.relay.secrets.texts["dba"] = json.dumps(secret)
    assert planned(scene) == [["noc"]]


def test_channel_with_two_environments_is_in_a_run_for_each() -> None:
    scene = make_scene(environments=["e2", "e1"])
    assert environments(scene) == ["e1", "e2"]


def test_channel_without_an_environment_is_in_no_run_although_shares_name_one() -> None:
    scene = make_scene(environment_id=None)
    share(scene, "e1")
    assert scene.relay.schedule.start() == {"runs": 0, "channels": 0}


def test_environment_that_only_a_share_names_is_not_reconciled() -> None:
    scene = make_scene()
    share(scene, "e-of-a-stranger", recipients=("mallory",))
    assert environments(scene) == ["e1"]


@pytest.mark.parametrize("recipients", [(), ("dba",)])
def test_run_is_told_if_the_url_of_a_webhook_named_recipients(recipients: tuple[str, ...]) -> None:
    scene = make_scene()
    share(scene, "e1", recipients=recipients)
    scene.relay.schedule.start()
    [chore] = [Piece.of(job) for job in chores(scene)]
    assert chore.members[0].names_recipients == bool(recipients)


@pytest.mark.parametrize(("own", "rings"), [({"recipients": []}, False), ({"recipients": ["noc"]}, True)])
def test_channel_relays_missed_incidents_only_if_its_secret_names_recipients(own: dict[str, Any], rings: bool) -> None:
    scene = make_scene()
    secret = json.loads(str(scene.relay.secrets.texts["noc"]))
    secret["xmatters"] |= {"recipients_in": "url"} | own
    scene.relay.secrets.texts["noc"] = json.dumps(secret)
    scene.relay.clock.now += 301
    scene.relay.schedule.start()
    [chore] = [Piece.of(job) for job in chores(scene)]
    assert chore.members[0].signals == rings


def test_bigpanda_is_asked_once_for_all_channels_of_a_run() -> None:
    scene = make_scene()
    with_channels(scene, dba={}, net={})
    scene.has(*(incident(scene.relay.clock, f"i{number}") for number in range(3)))
    scene.run()
    assert listings(scene) == 3


def test_chore_of_a_run_holds_no_credential() -> None:
    scene = make_scene()
    scene.relay.schedule.start()
    [job] = chores(scene)
    assert (job.kind, job.channel) == ("reconcile", "noc")
    for secret in scene.relay.channels.get("noc").secrets():
        assert secret not in envelope_of(job) + job.body.decode() + json.dumps(attributes_of(job))


def test_runs_are_spaced_by_the_rate_limit_of_bigpanda() -> None:
    scene = make_scene()
    with_channels(scene, **{f"c{number}": {"reconcile_query": f"a = {number}"} for number in range(9)})
    scene.relay.schedule.start()
    assert scene.relay.chores.delays() == [0, 1, 2, 2, 3, 3, 4, 5, 5, 6]


def test_run_that_no_queue_takes_is_counted_as_failed() -> None:
    scene = make_scene()
    scene.relay.chores.failure = EndpointConnectionError(endpoint_url="x")
    assert scene.relay.schedule.start() == {"runs": 0, "channels": 1}
    assert scene.relay.recorder.metrics()["reconcile_failed"] == 1


def test_removed_channel_that_secrets_manager_still_lists_is_left_out_and_no_failure() -> None:
    scene = make_scene()
    scene.relay.secrets.texts["removed"] = UnknownChannel("removed")
    assert planned(scene) == [["noc"]]
    assert "reconcile_failed" not in scene.relay.recorder.metrics()


def test_channel_that_dynamodb_leaves_unprocessed_is_compared_with_all_recipients() -> None:
    scene = make_scene()
    scene.relay.dynamodb.batch_size = 0
    scene.relay.schedule.start()
    [chore] = [Piece.of(job) for job in chores(scene)]
    assert chore.members[0].names_recipients

"""The plan of a reconcile run: which channels are compared with which listings of BigPanda."""

import json
from typing import Any

import pytest

from relay.failures.errors import UnknownChannel
from relay.reconcile.plan import Listing
from tests import samples
from tests.unit.reconcile_scene import Scene, make_scene, with_channels


def planned(scene: Scene) -> list[Listing]:
    return scene.relay.reconciler.planner.listings(scene.relay.deadline(60))


def groups(scene: Scene) -> list[list[str]]:
    """Return the channels of each planned group."""
    return sorted([member.name for member in group.members] for each in planned(scene) for group in each.groups)


def share(scene: Scene, environment_id: str, recipients: tuple[str, ...] = ()) -> None:
    """Let BigPanda post a share of that environment to a URL that names these recipients."""
    content = samples.enveloped(environment_id, id=f"of {environment_id}", status="warning")
    scene.relay.webhook.serve(samples.request(content, recipients=recipients))


def test_channels_that_ask_bigpanda_the_same_are_compared_together() -> None:
    scene = make_scene()
    with_channels(scene, dba={}, net={"reconcile": "report"})
    assert groups(scene) == [["noc", "dba", "net"]]


@pytest.mark.parametrize(
    "other",
    [{"base_url": "https://eu-api.bigpanda.io"}, {"reconcile_query": "a = 1"}, {"environment_id": "e2"}],
    ids=str,
)
def test_channel_that_asks_bigpanda_something_else_has_its_own_listing(other: dict[str, Any]) -> None:
    scene = make_scene()
    with_channels(scene, dba=other)
    assert groups(scene) == [["dba"], ["noc"]]
    assert len(planned(scene)) == 2


def test_channel_with_another_key_has_its_own_group_in_the_listing() -> None:
    scene = make_scene()
    with_channels(scene, dba={"api_key": "BPU-other"})
    assert groups(scene) == [["dba"], ["noc"]]
    [listing] = planned(scene)
    assert [group.access.api_key for group in listing.groups] == ["BPU-canary", "BPU-other"]


@pytest.mark.parametrize("off", [False, None])
def test_channel_that_is_not_reconciled_is_not_compared(off: bool | None) -> None:
    scene = make_scene()
    with_channels(scene, dba={"reconcile": False} if off is False else {"environment_id": "e1"})
    if off is None:
        secret = json.loads(str(scene.relay.secrets.texts["dba"]))
        del secret["bigpanda"]
        scene.relay.secrets.texts["dba"] = json.dumps(secret)
    assert groups(scene) == [["noc"]]


def test_channel_without_an_environment_is_not_compared_although_shares_name_one() -> None:
    scene = make_scene(environment_id=None)
    share(scene, "e1")
    assert scene.relay.reconciler.run() == []


def test_environment_that_only_a_share_names_is_not_reconciled() -> None:
    scene = make_scene()
    share(scene, "e-of-a-stranger", recipients=("mallory",))
    assert [each.environment_id for each in planned(scene)] == ["e1"]


@pytest.mark.parametrize("recipients", [(), ("dba",)])
def test_recipients_of_urls_are_looked_for_only_if_a_webhook_named_any(recipients: tuple[str, ...]) -> None:
    scene = make_scene()
    share(scene, "e1", recipients=recipients)
    [member] = planned(scene)[0].groups[0].members
    assert member.names_recipients == bool(recipients)


@pytest.mark.parametrize(("own", "rings"), [({"recipients": []}, False), ({"recipients": ["noc"]}, True)])
def test_channel_relays_missed_incidents_only_if_its_secret_names_recipients(own: dict[str, Any], rings: bool) -> None:
    scene = make_scene()
    secret = json.loads(str(scene.relay.secrets.texts["noc"]))
    secret["xmatters"] |= {"recipients_in": "url"} | own
    scene.relay.secrets.texts["noc"] = json.dumps(secret)
    scene.relay.clock.now += 301
    [member] = planned(scene)[0].groups[0].members
    assert member.signals == rings


def test_removed_channel_that_secrets_manager_still_lists_is_left_out_and_no_failure() -> None:
    scene = make_scene()
    scene.relay.secrets.texts["removed"] = UnknownChannel("removed")
    assert groups(scene) == [["noc"]]
    assert "reconcile_failed" not in scene.relay.recorder.metrics()


def test_run_that_has_no_time_to_read_all_channels_is_counted_as_failed() -> None:
    scene = make_scene()

    def slow() -> list[str]:
        scene.relay.clock.now += 900
        return ["noc"]

    object.__setattr__(scene.relay.reconciler.planner, "names", slow)
    assert scene.run() == {}
    assert scene.relay.recorder.metrics()["reconcile_failed"] == 1

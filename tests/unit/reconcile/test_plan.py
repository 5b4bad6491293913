"""The plan of a reconcile run: which channels are compared with which listings of BigPanda."""

from collections.abc import Callable
from copy import replace
from typing import Any

import pytest

from relay.failures import LedgerError, UnknownChannel
from relay.ledger.table import Table
from relay.reconcile.history import ChannelHistory, Difference, History, Listing, listing_name, short_name
from tests import samples
from tests.fake_dynamodb import MAX_ITEM_BYTES, FakeDynamoDb
from tests.samples import access
from tests.unit.reconcile_scene import Scene, make_scene, with_channels


def planned(scene: Scene) -> list[Listing]:
    return scene.relay.reconciler.planner.listings(scene.relay.deadline(60))


def groups(scene: Scene) -> list[list[str]]:
    return sorted([member.name for member in each.members] for each in planned(scene))


def share(scene: Scene, environment_id: str, recipients: tuple[str, ...] = ()) -> None:
    content = samples.enveloped(environment_id, id=f"of {environment_id}", status="warning")
    scene.relay.webhook.serve(samples.request(content, recipients=recipients))


def test_channels_with_different_keys_have_one_listing(scene: Scene) -> None:
    with_channels(scene, dba={"api_key": "BPU-other"}, net={})
    assert groups(scene) == [["noc", "dba", "net"]]
    [listing] = planned(scene)
    assert [access.api_key for access in listing.accesses] == ["BPU-canary", "BPU-other"]


@pytest.mark.parametrize(
    "off",
    [
        lambda secret: secret["bigpanda"].update(reconcile=False),
        lambda secret: secret.pop("bigpanda"),
        lambda secret: secret["policy"].update(mode="shadow"),
    ],
    ids=["setting", "no key", "shadow mode"],
)
def test_channel_that_is_not_reconciled_is_not_compared(scene: Scene, off: Callable[[dict[str, Any]], object]) -> None:
    with_channels(scene, dba={})
    scene.relay.edit_secret(off, "dba")
    assert groups(scene) == [["noc"]]


def test_environment_that_only_a_share_names_is_not_reconciled(scene: Scene) -> None:
    share(scene, "e-of-a-stranger", recipients=("mallory",))
    assert [each.environment_id for each in planned(scene)] == ["e1"]


@pytest.mark.parametrize("recipients", [(), ("dba",)])
def test_recipients_of_urls_are_looked_for_only_if_a_webhook_named_any(recipients: tuple[str, ...]) -> None:
    scene = make_scene()
    share(scene, "e1", recipients=recipients)
    [member] = planned(scene)[0].members
    assert member.names_recipients == bool(recipients)


@pytest.mark.parametrize(
    ("own", "routes", "rings"),
    [
        ({"recipients": []}, [], False),
        ({"recipients": ["noc"]}, [], True),
        ({"recipients": []}, [{"when": {"status": "critical"}, "recipients": ["noc"]}], True),
    ],
)
def test_channel_relays_missed_incidents_only_if_its_secret_names_recipients(
    own: dict[str, Any], routes: list[Any], rings: bool
) -> None:
    scene = make_scene(policy={"routes": routes})
    scene.relay.edit_secret(lambda document: document["xmatters"].update({"recipients_in": "url"} | own))
    scene.relay.clock.now += 301
    [member] = planned(scene)[0].members
    assert member.signals == rings


def test_removed_channel_that_secrets_manager_still_lists_is_left_out_and_no_failure(scene: Scene) -> None:
    scene.relay.secrets.texts["removed"] = UnknownChannel("removed")
    assert groups(scene) == [["noc"]]
    assert "reconcile_failed" not in scene.relay.recorder.metrics()


NOW = 1_800_000_000.123456
ACCESS = access("https://api.bigpanda.io", "BPU-1")


@pytest.fixture
def dynamodb() -> FakeDynamoDb:
    return FakeDynamoDb()


@pytest.fixture
def table(dynamodb: FakeDynamoDb) -> Table:
    return dynamodb.table(lambda: NOW)


def test_history_that_another_run_changed_is_not_overwritten(table: Table) -> None:
    one, other = History.read(table, "g"), History.read(table, "g")
    one.write(table, "g")
    with pytest.raises(LedgerError, match="another run"):
        other.write(table, "g")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        '{"channels": {}, "snoozed_at": {}, "unknown": {}, "days": {"1": [1]}}',
        '{"channels": {}, "snoozed_at": {"i": "x"}, "unknown": {}, "days": {}}',
        '{"channels": {"noc": [1, 2]}, "snoozed_at": {}, "unknown": {}, "days": {}}',
    ],
)
def test_unreadable_history_is_begun_anew(table: Table, text: str) -> None:
    table.write("reconcile/g", 0, text)
    assert History.read(table, "g") == History(sequence=1)


@pytest.mark.parametrize("names", [["noc"], [f"channel-{number}" for number in range(5)]], ids=len)
@pytest.mark.parametrize("length", [24, 48])
def test_history_fits_into_an_item_however_many_incidents_there_are(
    table: Table, dynamodb: FakeDynamoDb, names: list[str], length: int
) -> None:
    incidents = [f"{number:0{length}}" for number in range(2000 + 500)]
    differing = {each: Difference("13", NOW + number, NOW) for number, each in enumerate(incidents)}
    history = History(
        {name: ChannelHistory(NOW, NOW, differing) for name in names},
        {each: NOW + number for number, each in enumerate(incidents)},
        differing,
    )
    history.write(table, "g")
    read = History.read(table, "g")
    kept = len(read.unknown)
    latest = incidents[: -kept - 1 : -1]
    assert list(read.unknown) == list(read.snoozed_at) == latest, "the latest stay"
    assert all(list(each.differing) == latest for each in read.channels.values())
    assert kept >= 2000 / (2 if len(names) == 1 else 4)
    assert all(len(item["text"]["S"]) < MAX_ITEM_BYTES * 0.95 for item in dynamodb.items.values())


def test_full_history_keeps_an_open_critical_that_is_older_than_all_others(table: Table) -> None:
    others = {f"w{number}": Difference("12", NOW) for number in range(2000)}
    History(unknown=others | {"c": Difference("13", NOW - 9000)}).write(table, "g")
    kept = History.read(table, "g").unknown
    assert (len(kept), "c" in kept) == (2000, True)


def test_what_no_run_saw_for_a_day_is_forgotten() -> None:
    old, new = Difference("13", NOW - 86_400), Difference("13", NOW - 60)
    history = History(
        {
            "noc": ChannelHistory(NOW - 99_999, NOW - 60, {"i1": old, "i2": new}),
            "dba": ChannelHistory(NOW - 99_999, NOW - 86_400, {"i2": new}),
        },
        unknown={"i3": old, "i4": new},
    )
    history.begin(["noc", "dba"], NOW)
    assert history.channels == {
        "noc": ChannelHistory(NOW - 99_999, NOW - 60, {"i2": new}),
        "dba": ChannelHistory(NOW, NOW),
    }
    assert history.unknown == {"i4": new}


def test_name_of_a_listing_does_not_differ_by_api_key() -> None:
    assert listing_name(ACCESS, "e1") == listing_name(replace(ACCESS, api_key="BPU-2"), "e1")
    for other in (replace(ACCESS, base_url="https://eu-api.bigpanda.io"), replace(ACCESS, reconcile_query="a = 1")):
        assert listing_name(ACCESS, "e1") != listing_name(other, "e1")
    assert listing_name(ACCESS, "e1") != listing_name(ACCESS, "e2")


@pytest.mark.parametrize("name", ["x" * (48 + 1), "a b", "\ud800", "\u00e9", '"'])
def test_long_or_odd_incident_id_has_a_hash_as_short_name(name: str) -> None:
    assert len(short_name(name)) == 48
    assert short_name(name) == short_name(name) != name


def test_run_that_has_no_time_to_read_all_channels_is_counted_as_failed(scene: Scene) -> None:
    def slow() -> list[str]:
        scene.relay.clock.now += 900
        return ["noc"]

    object.__setattr__(scene.relay.reconciler.planner, "names", slow)
    assert scene.run() == {}
    assert scene.relay.recorder.metrics()["reconcile_failed"] == 1

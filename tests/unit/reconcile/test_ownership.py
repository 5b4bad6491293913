"""Unknown incidents: `ring` rings only those that BigPanda shared with the channel's own webhook."""

import math
from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError

from relay.failures import LedgerError
from relay.http.session import HttpAnswer
from relay.ledger.table import Text
from relay.reconcile import ownership
from relay.reconcile.ownership import Learnt
from tests.fakes import Call, dies, slow
from tests.unit.reconcile_scene import OWN, Scene, answer, incident, make_scene

OTHER = "webhook.dba"


def unlearnt(scene: Scene, *channels: str) -> Scene:
    for name in channels or ("noc",):
        Learnt().store(scene.relay.table, name)
    return scene


def learnt(scene: Scene) -> tuple[str, ...]:
    return Learnt.read(scene.relay.table, "noc").names


def asked(scene: Scene) -> list[str]:
    return [call.url.split("/")[-2] for call in scene.relay.bigpanda.calls if "/activities?" in call.url]


def lists(scene: Scene, **targets: list[str]) -> None:
    scene.has(*(incident(scene.relay.clock, name) for name in targets))
    scene.tenant.targets = dict(targets)


def reported(scene: Scene) -> int:
    return len(scene.relay.sns.published)


def test_own_criticals_are_not_reported_as_heard_by_nobody_if_the_table_fails_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.has(incident(scene.relay.clock, "i2"))
    scene.run()
    scene.relay.clock.now += 300
    read, fails = scene.relay.table.read, iter([True])

    def failing(key: str) -> Text | None:
        if key == "reconcile/own/noc" and next(fails, False):
            raise LedgerError("the table did not answer in time")
        return read(key)

    with monkeypatch.context() as patch:
        patch.setattr(type(scene.relay.table), "read", lambda _, key: failing(key))
        scene.run()
    assert (reported(scene), scene.relay.retries.jobs()) == (0, [])
    scene.relay.clock.now += 300
    scene.run()
    assert (reported(scene), [job.incident_id for job in scene.relay.retries.jobs()]) == (0, ["i2"])


@pytest.mark.parametrize(
    ("targets", "rings", "is_reported"),
    [
        ([OWN], True, False),
        ([OTHER, OWN], True, False),
        ([OTHER], False, False),
        (["email", "slack.ops"], False, False),
        ([], False, True),
    ],
)
def test_unknown_critical_rings_only_if_it_was_shared_with_the_channels_webhook(
    scene: Scene, targets: list[str], rings: bool, is_reported: bool
) -> None:
    lists(scene, i2=targets)
    found = scene.run_twice()
    assert (found["missed"], found.get("unknown", 0)) == (int(rings), int(is_reported))
    assert ([job.incident_id for job in scene.relay.retries.jobs()], reported(scene)) == (
        ["i2"] * rings,
        int(is_reported),
    )
    assert scene.relay.chores.messages == [], "BigPanda withholds nothing from a channel without callbacks"
    scene.run_twice()
    assert reported(scene) == int(is_reported), "also while the queued job was not worked yet"


def test_webhook_is_learnt_from_an_incident_whose_share_came() -> None:
    scene = make_scene()
    Learnt((OTHER, OWN), scene.relay.clock.now - 60).store(scene.relay.table, "noc")
    scene.shared(ago=300)
    scene.relay.retries.messages.clear()
    lists(scene, i1=[OWN], own=[OWN, OTHER], foreign=[OTHER])
    assert scene.run_twice()["missed"] == 1
    assert ([job.incident_id for job in scene.relay.retries.jobs()], reported(scene)) == (["own"], 0)
    assert asked(scene) == ["i1", "own", "foreign"]


def test_webhook_is_the_one_with_which_all_known_incidents_were_shared() -> None:
    scene = unlearnt(make_scene())
    scene.shared(ago=300)
    scene.shared(ago=400, id="i0")
    lists(scene, i1=[OWN, OTHER], i0=[OWN, "webhook.net"])
    scene.run()
    assert learnt(scene) == (OWN,)


def test_webhook_is_learnt_from_the_known_incident_that_changed_last() -> None:
    scene = unlearnt(make_scene())
    scene.shared(ago=4000, id="i0")
    scene.shared(ago=300)
    scene.has(incident(scene.relay.clock, "i0", ago=4000), incident(scene.relay.clock))
    # The webhook was replaced in between.
    scene.tenant.targets = {"i0": [OTHER], "i1": [OWN]}
    scene.run()
    assert learnt(scene) == (OWN,)


def test_webhook_that_was_replaced_is_learnt_although_bigpanda_says_nothing_of_the_latest_incident() -> None:
    scene = make_scene()
    Learnt((OTHER,), scene.relay.clock.now - 3601).store(scene.relay.table, "noc")
    scene.shared(ago=300)
    scene.shared(ago=400, id="i0")
    lists(scene, i1=[OWN], i0=[OWN])
    scene.tenant.faults["/i1/activities?"] = lambda _: HttpAnswer(503, {}, b"")
    scene.run()
    assert learnt(scene) == (OWN,)


def test_incident_rings_only_if_it_was_shared_with_each_webhook_that_may_be_the_channels_own() -> None:
    scene = unlearnt(make_scene())
    scene.shared(ago=300)
    scene.relay.retries.messages.clear()
    lists(scene, i1=[OWN, OTHER], foreign=[OTHER], both=[OTHER, OWN])
    scene.run_twice()
    assert [job.incident_id for job in scene.relay.retries.jobs()] == ["both"]


def test_unknown_critical_is_reported_and_does_not_ring_while_no_webhook_is_learnt() -> None:
    scene = unlearnt(make_scene())
    lists(scene, i2=[OTHER])
    assert (scene.run_twice()["missed"], reported(scene)) == (0, 1)


@pytest.mark.parametrize(
    "fault",
    [
        lambda _: HttpAnswer(503, {}, b""),
        lambda _: HttpAnswer(404, {}, b"{}"),
        lambda _: answer([{"type": "odd"}]),
        lambda _: answer([{"type": "incident_shared"}]),
        lambda _: answer([{"type": "incident_shared", "params": {"share_target": "x" * 101}}]),
    ],
)
def test_critical_is_reported_if_bigpanda_does_not_say_with_whom_it_was_shared(
    scene: Scene,
    fault: Callable[[Call], HttpAnswer],
) -> None:
    lists(scene, i2=[OWN])
    scene.tenant.faults["/activities?"] = fault
    assert scene.run_twice()["missed"] == 0
    assert (reported(scene), scene.relay.retries.messages) == (1, [])
    scene.tenant.faults.clear()
    scene.relay.clock.now += 300
    assert scene.run()["missed"] == 1, "it rings as soon as BigPanda says so"


def test_incident_of_others_is_asked_about_once_an_hour_and_rings_once_it_is_shared_with_the_channel() -> None:
    scene = make_scene()
    lists(scene, i2=[OTHER])
    for _ in range(6):
        scene.run()
        scene.relay.clock.now += 300
    assert asked(scene) == ["i2"]
    scene.tenant.targets = {"i2": [OTHER, OWN]}
    scene.relay.clock.now += 3600
    assert scene.run_twice()["missed"] == 1
    assert (asked(scene), reported(scene)) == (["i2", "i2"], 0)


def test_what_one_run_cannot_ask_about_is_judged_by_the_next_one_and_not_reported(scene: Scene) -> None:
    lists(scene, **{f"i{number}": [OWN] for number in range(ownership.MAX_JUDGED + 5)})
    assert scene.run_twice()["missed"] == ownership.MAX_JUDGED
    scene.relay.clock.now += 300
    assert scene.run()["missed"] == 5
    assert reported(scene) == 0


def test_incident_is_left_to_the_next_run_if_the_last_half_minute_of_a_run_has_begun(scene: Scene) -> None:
    lists(scene, i2=[OWN])
    scene.run()
    pages = len(scene.relay.bigpanda.calls)
    scene.delay(785 / pages)
    assert "failure" not in scene.run()
    assert (asked(scene), reported(scene)) == ([], 0)
    scene.tenant.before_answer = lambda: None
    assert scene.run()["missed"] == 1


def test_name_is_stored_with_the_only_right_to_write_that_the_function_has(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = unlearnt(make_scene())
    scene.shared(ago=300)
    lists(scene, i1=[OWN])

    def denied(**_: object) -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "PutItem")

    # The role of the reconcile function may update items, and put none.
    monkeypatch.setattr(scene.relay.dynamodb, "put_item", denied)
    assert "failure" not in scene.run()
    assert learnt(scene) == (OWN,)


def test_incidents_that_were_not_asked_about_after_a_call_that_hung_wait_for_the_next_run(scene: Scene) -> None:
    names = [f"i{number}" for number in range(2, 12)]
    lists(scene, **{name: [OTHER] for name in names})
    scene.run()
    scene.relay.clock.now += 90

    scene.tenant.faults["/activities?"] = slow(scene.relay.clock, math.inf, dies)
    scene.run()
    scene.tenant.faults.clear()
    scene.relay.clock.now += 300
    scene.run()
    assert [message["Subject"] for message in scene.relay.sns.published] == ["CRITICAL, not paged: incident i2"]

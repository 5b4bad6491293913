"""Questions about ends: BigPanda is asked before a resolve is believed, so a forged one silences no critical."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests

from relay.http.session import HttpAnswer
from relay.jobs.outcome import Result
from relay.ledger.entry import End
from tests import samples
from tests.fakes import Call, FakeSession, new_relay
from tests.unit.xmatters_tenant import REST, Tenant

OPENED = 1_800_000_000
ACCESS: dict[str, Any] = {"api_key": "BPU-1", "environment_id": "e1"}
# Ten minutes without an answer, the resolve is believed.
BELIEVED = 600


def incident(status: str, at: int = OPENED) -> HttpAnswer:
    """Return BigPanda's answer; its timestamps say that the incident did not change since `at`, its opening."""
    stamps = {"changed_at": at, "updated_at": at}
    return HttpAnswer(200, {}, json.dumps({"id": "i1", "status": status, "active": status != "ok", **stamps}).encode())


# BigPanda's answers, by the words of `Scene.play`.
SAYS: dict[str, HttpAnswer | Exception] = {
    "=open": incident("critical"),
    "=over": incident("ok"),
    "=silent": requests.ConnectTimeout(),
    "=odd": HttpAnswer(200, {}, b"[]"),
    **{f"={status}": samples.refused(status) for status in (401, 404, 429, 503)},
}


class Scene:
    """A channel, the pages that xMatters made for it, and BigPanda's answer about its incident."""

    def __init__(self, *, rest: bool = True, policy: dict[str, Any] | None = None, **access: Any) -> None:
        known = {name: value for name, value in (ACCESS | access).items() if value is not None}
        self.says = SAYS["=open"]
        self.asked: list[str] = []
        self.tenant = Tenant()
        xmatters = {"recipients": ["Ops"], **({"rest": REST} if rest else {})}
        parts: dict[str, Any] = {"rest": FakeSession(self.tenant.rest), "bigpanda": FakeSession(self._bigpanda)}
        self.relay = new_relay(self.tenant.accept, policy=policy, xmatters=xmatters, access=known, **parts)

    @property
    def ended(self) -> list[str]:
        return self.tenant.ended

    def _bigpanda(self, call: Call) -> HttpAnswer:
        self.asked.append(call.url.partition("/v2.0")[2])
        if isinstance(self.says, Exception):
            raise self.says
        return self.says

    def share(self, status: str, ahead: int = 0, **said: Any) -> Result:
        now = int(self.relay.clock.now) + ahead
        return self.relay.share(
            samples.enveloped("e1", status=status, active=status != "ok", changedOn=now, updatedOn=now, **said)
        )

    def play(self, events: str) -> "Scene":
        """Let things happen, one after the other.

        `events` are words. A status is a share with that status. A number lets so many seconds pass, and workers work.
        A word with `=` is what BigPanda answers from now on (`SAYS`). A word such as `forged*60` stands for so many
        seconds in which somebody forges a resolve each second, with timestamps 4 s ahead.
        """
        for event in events.split():
            if event.isdecimal():
                step = 12 if int(event) >= 120 else 3
                for _ in range(int(event) // step):
                    self.relay.wake(step)
            elif event in SAYS:
                self.says = SAYS[event]
            elif event.startswith("forged*"):
                for second in range(int(event.partition("*")[2])):
                    self.share("ok", ahead=4)
                    self.relay.wake(1)
                    if second % 60 == 59:
                        self.relay.sweep(0)
            else:
                self.share(event)
        return self

    def end(self) -> End:
        return self.relay.entry().end

    def doubtful(self) -> float:
        """Return the number of ends that were refuted, or believed without an answer."""
        return self.relay.recorder.metrics().get("doubtful_resolve", 0)


RESOLVED = "critical 120 ok"


def test_bigpanda_is_asked_after_3_15_and_60_seconds() -> None:
    scene = Scene().play(RESOLVED)
    came, asked = scene.relay.clock.now, []
    for _ in range(80):
        before = len(scene.asked)
        scene.relay.wake(1)
        asked += [scene.relay.clock.now - came] * (len(scene.asked) - before)
    assert [round(each) for each in asked] == pytest.approx([3, 15, 60], abs=1.1)
    assert scene.asked[0] == "/environments/e1/incidents/i1?expand=alerts"


# ---- A signal that is owed -------------------------------------------------------------------------------------------


def owed_critical(seconds: int = 0) -> Scene:
    """Return a scene in which xMatters has refused a critical with 503 for `seconds`."""
    scene = Scene()
    scene.relay.session.steps[:] = [samples.refused(503)]
    return scene.play(f"critical {seconds}")


def test_owed_critical_waits_for_the_answer_once_and_for_a_minute_at_most() -> None:
    scene = owed_critical()
    sent = []
    for events in ("ok 0", "54", "=503 24", "forged*90"):
        scene.play(events)
        sent.append(len(scene.relay.session.calls))
    assert sent[0] == sent[1], "the critical waits"
    assert sent[1] < sent[2], "BigPanda has not answered, so the critical is sent"
    assert sent[2] < sent[3], "further resolves do not make it wait again"


# ---- No answer, or not yet -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("says", ["=silent", "=503", "=401", "=404", "=odd"])
def test_resolve_is_believed_and_counted_if_bigpanda_does_not_answer_for_ten_minutes(says: str) -> None:
    scene = Scene().play(f"{RESOLVED} {says} {BELIEVED - 12}")
    assert (scene.relay.statuses(), scene.ended) == ("critical", [])
    scene.play("240")
    assert (scene.relay.statuses(), scene.ended, scene.doubtful()) == ("critical ok", ["page-1"], 1)


# ---- Settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("off", [{"policy": {"confirm_resolve": False}}, {"environment_id": None}])
def test_resolve_is_believed_at_once_if_bigpanda_can_not_be_asked(off: dict[str, Any]) -> None:
    scene = Scene(**off).play(RESOLVED)
    assert scene.relay.statuses() == "critical ok"
    scene.play("60")
    assert (scene.asked, scene.ended) == ([], ["page-1"])


def remove_key(document: dict[str, Any]) -> None:
    document["policy"]["confirm_resolve"] = False
    del document["bigpanda"]


# A change of the channel's secret after the resolve, if the channel has credentials for xMatters' REST API, and the
# statuses of the signals.
SWITCHED: dict[str, tuple[Callable[[dict[str, Any]], None], bool, str]] = {
    "no question": (lambda document: document["policy"].update(confirm_resolve=False), True, "critical ok"),
    "no key": (remove_key, True, "critical ok"),
    "shadow mode": (lambda document: document["policy"].update(mode="shadow"), True, "critical"),
}


@pytest.mark.parametrize("name", SWITCHED)
def test_claimed_resolve_ends_if_the_channel_no_longer_asks(name: str) -> None:
    change, rest, statuses = SWITCHED[name]
    scene = Scene(rest=rest).play(RESOLVED)
    scene.relay.edit_secret(change)
    scene.relay.clock.now += 301
    scene.play("120")
    assert (scene.relay.statuses(), scene.relay.entry().is_over) == (statuses, True)
    assert scene.relay.dead_letters.messages == []
    assert scene.ended == (["page-1"] if rest and statuses == "critical ok" else [])


def test_questions_keep_the_bigpanda_key_out_of_jobs_and_logs() -> None:
    scene = Scene().play(RESOLVED)
    scene.says = samples.refused(403, b"key BPU-1 is odd")
    scene.play("700")
    kept = [each["MessageBody"] for each in (*scene.relay.chores.messages, *scene.relay.dead_letters.messages)]
    assert "BPU-1" not in "".join(kept) + scene.relay.recorder.written()


def test_later_questions_about_invented_incidents_take_no_room_of_one_about_a_true_end() -> None:
    scene = Scene().play("critical 36")
    for number in range(20):
        scene.share("ok", id=f"invented-{number}")
    # BigPanda's API lags behind its webhook at the first question.
    scene.play("ok 6 =over 12")
    assert scene.ended == ["page-1"]


def test_end_is_asked_about_again_if_an_open_state_came_later_by_the_clock_of_another_function() -> None:
    scene = Scene()
    unstamped = {"changedOn": None, "updatedOn": None}
    began = scene.relay.clock.now
    for status, at in (("warning", 0.0), ("ok", 60.0), ("critical", 66.0), ("ok", 66.1)):
        scene.relay.clock.now = began + at
        said = samples.enveloped("e1", status=status, active=status != "ok", **unstamped)
        scene.relay.share(said)
    scene.relay.clock.now = began + 61
    scene.says = HttpAnswer(200, {}, json.dumps({"id": "i1", "status": "ok", "active": False}).encode())
    scene.play("3 24")
    newest = scene.relay.entry().newest
    assert newest is not None
    assert not newest.is_open

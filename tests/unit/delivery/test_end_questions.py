"""Questions about ends: BigPanda is asked before a resolve is believed, so a forged one silences no critical."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests

from relay.failures import QueueError
from relay.http.session import HttpAnswer
from relay.jobs.outcome import Result
from relay.ledger.entry import End
from tests import samples
from tests.fakes import TABLE_DOWN, Call, FakeSession, new_relay
from tests.unit.xmatters_tenant import REST, Tenant

OPENED = 1_800_000_000
ACCESS: dict[str, Any] = {"api_key": "BPU-1", "environment_id": "e1"}
# A minute after the resolve, "open" refutes it. Ten minutes without an answer, the resolve is believed.
REFUTED, BELIEVED = 66, 600
UNREPLACED: dict[str, Any] = {"replace": False}


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
AGAIN = f"{RESOLVED} =over 12 60 critical 3 ok"
# Events (see `Scene.play`), the statuses of the signals, and the pages that ended. Newer pages replace none.
STORIES: dict[str, tuple[str, str, list[str]]] = {
    "over": (f"{RESOLVED} =over 9", "critical ok", ["page-1"]),
    "API lags": (f"{RESOLVED} 30 =over 60", "critical ok", ["page-1"]),
    "API lags, second resolve": (f"{RESOLVED} 48 ok 24 =over 90", "critical ok", ["page-1"]),
    "API lags, third resolve": (f"{RESOLVED} 39 ok 60 ok 24 =over 63", "critical ok", ["page-1"]),
    "over, and open again": (f"{RESOLVED} =over 12 critical", "critical ok critical", ["page-1"]),
    "API shows the first end": (f"{AGAIN} 30", "critical ok critical", ["page-1"]),
    "API shows it for a minute": (f"{AGAIN} 78", "critical ok critical ok", ["page-1", "page-3"]),
    "open": (f"{RESOLVED} {REFUTED} 1200", "critical", []),
    "critical after the resolve": ("warning ok 3 critical", "warning critical", []),
    "critical after the resolve, no answer": ("warning ok 12 critical =503 900", "warning critical", []),
    "no answer, open, no answer": (f"{RESOLVED} =503 30 =open 40 =503 ok 570", "critical", []),
    "no answer, with a rate limit in between": (f"{RESOLVED} =503 30 =429 720 =503 30", "critical", []),
    "rate limit of BigPanda, then no answer": (f"{RESOLVED} =429 1200 =503 300", "critical", []),
}


@pytest.mark.parametrize("name", STORIES)
def test_resolve_changes_nothing_until_bigpanda_says_that_the_incident_is_over(name: str) -> None:
    events, statuses, ended = STORIES[name]
    scene = Scene(policy=UNREPLACED).play(events)
    assert (scene.relay.statuses(), scene.ended) == (statuses, ended)


@pytest.mark.parametrize(("seconds", "statuses"), [(42, "warning critical"), (90, "warning critical ok")])
def test_open_state_that_came_in_the_second_of_the_resolve_after_it_outlives_an_api_that_lags(
    seconds: int, statuses: str
) -> None:
    scene = Scene(policy=UNREPLACED).play("warning 120 ok")
    scene.relay.clock.now += 0.3
    scene.says = incident("ok", int(scene.relay.clock.now))
    scene.play(f"critical {seconds} =open 42")
    assert scene.relay.statuses() == statuses


@pytest.mark.parametrize(
    ("events", "asked"),
    [("12", 1), ("=over 9 600", 1), (f"{REFUTED} 1200", 3), ("=silent 588", 6)],
    ids=["at first", "over", "refuted", "no answer"],
)
def test_bigpanda_is_asked_until_the_resolve_is_settled(events: str, asked: int) -> None:
    assert len(Scene().play(f"{RESOLVED} {events}").asked) == asked


def test_bigpanda_is_asked_after_3_15_and_60_seconds() -> None:
    scene = Scene().play(RESOLVED)
    came, asked = scene.relay.clock.now, []
    for _ in range(80):
        before = len(scene.asked)
        scene.relay.wake(1)
        asked += [scene.relay.clock.now - came] * (len(scene.asked) - before)
    assert [round(each) for each in asked] == pytest.approx([3, 15, 60], abs=1.1)
    assert scene.asked[0] == "/environments/e1/incidents/i1?expand=alerts"


@pytest.mark.parametrize("gets_queued", [True, False])
@pytest.mark.parametrize("reads_work", [True, False])
def test_resolve_is_not_announced_without_the_ledger_which_could_claim_it(gets_queued: bool, reads_work: bool) -> None:
    scene = Scene().play("critical 1")
    # The message of the announced critical: after two minutes it would be sent without the ledger.
    scene.relay.retries.messages.clear()
    scene.relay.dynamodb.refuses_writes = True
    if not reads_work:
        scene.relay.dynamodb.failure = TABLE_DOWN
    if not gets_queued:
        scene.relay.retries.failure = QueueError("down")
    assert scene.share("ok").outcome == ("queued" if gets_queued else "unsafe")
    scene.play("400")
    assert scene.relay.statuses() == "critical"
    scene.relay.dynamodb.refuses_writes, scene.relay.dynamodb.failure = False, None
    scene.play("=over 120 120 120")
    assert scene.relay.statuses() == ("critical ok" if gets_queued else "critical")


def test_resolve_is_answered_503_if_no_queue_takes_its_question() -> None:
    scene = Scene().play("critical")
    scene.relay.chores.failure = scene.relay.dead_letters.failure = QueueError("down")
    assert (scene.share("ok").outcome, scene.end().is_claimed) == ("unsafe", False)


# ---- A forged resolve ------------------------------------------------------------------------------------------------


def test_forged_resolve_is_refuted_after_a_minute_and_nobody_hears_of_it() -> None:
    scene = Scene().play(f"{RESOLVED} 57")
    assert scene.end().is_claimed
    scene.play("9")
    assert (scene.end().is_claimed, scene.doubtful()) == (False, 1)
    assert (scene.relay.statuses(), scene.ended) == ("critical", [])


def test_resolves_that_are_forged_each_second_silence_no_critical() -> None:
    scene = Scene(policy=UNREPLACED).play("forged*100 critical forged*70")
    assert scene.relay.statuses() == "critical"
    scene.play("forged*1200")
    assert (scene.relay.statuses(), scene.ended) == ("critical", []), "nothing ends, and nobody is rung again"
    assert scene.doubtful() >= 1


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


def test_forged_resolve_of_an_owed_critical_does_not_delay_its_fallback() -> None:
    scene = owed_critical(276)
    scene.play("ok")
    begin = scene.relay.clock.now
    while not scene.relay.sns.published and scene.relay.clock.now < begin + 900:
        scene.play("12")
        scene.relay.sweep(0)
    assert scene.relay.clock.now - begin <= 36


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
    "no question, no rest": (lambda document: document["policy"].update(confirm_resolve=False), False, "critical ok"),
    "no key": (remove_key, True, "critical ok"),
    "no key, no rest": (remove_key, False, "critical ok"),
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


def test_end_that_bigpanda_confirms_is_told_to_those_whom_the_last_shares_tags_chose() -> None:
    scene = Scene(policy={"routes": [{"when": {"tag.team": "db"}, "recipients": ["Dba"]}]})
    tags = [{"name": "team", "value": "db"}]
    scene.share("critical", tags=tags)
    scene.relay.wake(15)
    scene.share("ok", tags=tags)
    scene.play("=over 30")
    urls = [call.url.partition("recipients=")[2] for call in scene.relay.session.calls]
    assert urls == ["Dba", "Dba"]

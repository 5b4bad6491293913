"""Questions about ends: BigPanda is asked before a resolve is believed, so a forged one silences no critical."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests

from relay.bigpanda.client import MAX_WAITS
from relay.delivery.end_questions import UNREACHABLE_SECONDS
from relay.failures.errors import QueueError
from relay.http.session import HttpAnswer
from relay.jobs.outcome import Result
from relay.ledger.entry_key import key
from relay.ledger.incident_end import CLAIM_AGAIN_SECONDS, CLAIM_SECONDS, End
from tests import samples
from tests.fakes import Call, FakeSecrets, FakeSession, Relay, table_down

OPENED = 1_800_000_000
ACCESS: dict[str, Any] = {"api_key": "BPU-1", "environment_id": "e1"}
BASIC = {"type": "basic", "username": "u", "password": "p"}


class Scene:
    """A channel, the pages that xMatters made for it, and BigPanda's answer about its incident."""

    def __init__(self, *, rest: bool = True, policy: dict[str, Any] | None = None, **access: Any) -> None:
        known = {name: value for name, value in (ACCESS | access).items() if value is not None}
        document = samples.secret(policy={"min_seconds_between_signals": 0, **(policy or {})}, bigpanda=known)
        document["xmatters"] |= {"recipients": ["Ops"]}
        if rest:
            document["xmatters"]["rest"] = {"base_url": "https://acme.xmatters.com", "auth": BASIC}
        self.says: HttpAnswer | Exception = self.incident("critical", active=True)
        self.ended: list[str] = []
        self.asked: list[str] = []
        self.relay = Relay(
            FakeSession(self.accept),
            secrets=FakeSecrets(noc=json.dumps(document)),
            bigpanda=FakeSession(self._bigpanda),
            rest=FakeSession(self._rest),
        )
        self._signals = 0

    def incident(self, status: str, *, active: bool) -> HttpAnswer:
        """Return BigPanda's answer; its timestamps say that the incident did not change since it opened."""
        said = {
            "id": "i1",
            "status": status,
            "active": active,
            "changed_at": OPENED,
            "updated_at": OPENED,
        }
        return HttpAnswer(200, {}, json.dumps(said).encode())

    def accept(self, _: Call) -> HttpAnswer:
        """Answer a signal as xMatters does when it accepts it."""
        self._signals += 1
        return samples.accepted(f"r{self._signals}")

    def _bigpanda(self, call: Call) -> HttpAnswer:
        self.asked.append(call.url.partition("/v2.0")[2])
        if isinstance(self.says, Exception):
            raise self.says
        return self.says

    def _rest(self, call: Call) -> HttpAnswer:
        if call.method == "POST":
            self.ended.append(json.loads(call.body)["id"])
            return HttpAnswer(200, {}, b"{}")
        name = call.url.partition("requestId=")[2].partition("&")[0]
        return HttpAnswer(200, {}, json.dumps({"data": [{"id": f"page-{name}", "status": "ACTIVE"}]}).encode())

    def signalled(self) -> list[str]:
        """Return the status of each signal."""
        return [json.loads(call.body)["incident"]["status"] for call in self.relay.session.calls]

    def resolve(self, ahead: int = 0) -> Result:
        """Share a resolve with timestamps `ahead` seconds in the future.

        BigPanda's answer in `says` decides if the resolve is true or forged.
        """
        now = int(self.relay.clock.now) + ahead
        return self.relay.share(
            samples.enveloped("e1", status="ok", active=False, resolved=True, changedOn=now, updatedOn=now)
        )

    def open(self, status: str = "critical", ahead: int = 0) -> Result:
        """Share the incident as open, with timestamps `ahead` seconds in the future."""
        now = int(self.relay.clock.now) + ahead
        return self.relay.share(samples.enveloped("e1", status=status, active=True, changedOn=now, updatedOn=now))

    def over(self) -> None:
        """Let BigPanda answer from now on that the incident is over."""
        self.says = self.incident("ok", active=False)

    def opened_and_resolved(self) -> "Scene":
        """Share a critical, let it be announced and followed, and then share a resolve."""
        self.relay.share(samples.enveloped("e1", active=True))
        self.wait(120, step=12)
        self.resolve()
        return self

    def wait(self, seconds: float, step: float = 3.0) -> None:
        """Let time pass in steps, and let workers have the jobs that wake."""
        for _ in range(int(seconds // step)):
            self.relay.wake(step)

    def end(self) -> End:
        """Return the end of the incident, as the ledger has it."""
        return self.relay.entry().end


# ---- A true resolve ----------------------------------------------------------------------------------------------


def test_resolve_is_answered_202_and_changes_nothing_until_bigpanda_answers() -> None:
    scene = Scene()
    scene.open()
    result = scene.resolve()
    assert (result.outcome, result.reason, result.queue) == ("queued", "claimed", "ledger")
    scene.wait(12)
    assert (scene.signalled(), scene.ended, len(scene.asked)) == (["critical"], [], 1)


def test_end_is_announced_and_pages_end_once_bigpanda_says_that_the_incident_is_over() -> None:
    scene = Scene().opened_and_resolved()
    scene.over()
    scene.wait(9)
    assert (scene.signalled(), scene.ended) == (["critical", "ok"], ["page-r1"])
    assert scene.asked == ["/environments/e1/incidents/i1?expand=alerts"]
    assert not scene.end().is_claimed
    scene.wait(600)
    assert (len(scene.asked), scene.signalled()) == (1, ["critical", "ok"])


def test_bigpanda_is_asked_after_3_15_and_60_seconds() -> None:
    scene = Scene().opened_and_resolved()
    came, asked = scene.relay.clock.now, []
    for _ in range(80):
        before = len(scene.asked)
        scene.relay.wake(1)
        asked += [scene.relay.clock.now - came] * (len(scene.asked) - before)
    assert [round(each) for each in asked] == pytest.approx([3, 15, 60], abs=1.1)


def test_end_is_announced_although_bigpandas_api_lags_behind_its_webhook() -> None:
    scene = Scene().opened_and_resolved()
    scene.wait(30)
    scene.over()
    scene.wait(60)
    assert (scene.signalled(), scene.ended) == (["critical", "ok"], ["page-r1"])
    assert "doubtful_resolve" not in scene.relay.recorder.metrics()


def test_end_from_before_the_incident_reopened_does_not_count_while_bigpandas_api_may_lag() -> None:
    scene = Scene(policy={"replace": False}).opened_and_resolved()
    scene.over()
    scene.wait(12)
    ended = scene.signalled()
    scene.relay.clock.now += 60
    scene.open()
    scene.relay.clock.now += 2
    scene.resolve()
    scene.wait(30)
    assert scene.signalled() == [*ended, "critical"], "BigPanda's API shows the first end"
    scene.wait(48)
    assert scene.signalled() == [*ended, "critical", "ok"], "an answer of a minute later counts in any case"


def test_later_resolve_is_not_lost_if_an_earlier_one_is_refuted_while_bigpandas_api_lags() -> None:
    scene = Scene().opened_and_resolved()
    scene.wait(48)
    scene.resolve()
    scene.wait(24)
    assert scene.end().is_claimed
    scene.over()
    scene.wait(90)
    assert scene.signalled() == ["critical", "ok"]


def test_end_is_announced_although_the_message_of_its_signal_vanishes() -> None:
    scene = Scene().opened_and_resolved()
    scene.over()
    [question] = [each for each in scene.relay.chores.jobs() if each.kind == "question"]
    scene.relay.clock.now += 4
    scene.relay.worker.work(scene.relay.chores.records())
    assert question.kind == "question"
    scene.relay.retries.messages.clear()
    for _ in range(6):
        scene.relay.sweep(60)
        scene.wait(12)
    assert scene.signalled() == ["critical", "ok"]


def test_older_share_that_comes_late_does_not_ring_after_the_end() -> None:
    scene = Scene().opened_and_resolved()
    between = int(scene.relay.clock.now) - 5
    scene.over()
    scene.wait(12)
    late = samples.enveloped("e1", active=True, changedOn=between, updatedOn=between)
    assert scene.relay.share(late).outcome == "superseded"
    assert scene.signalled() == ["critical", "ok"]


def test_open_share_during_the_question_makes_bigpanda_be_asked_again() -> None:
    scene = Scene(policy={"replace": False}).opened_and_resolved()

    def reopened_meanwhile(_: Call) -> HttpAnswer:
        scene.relay.bigpanda.steps[:] = [scene.incident("critical", active=True)]
        scene.open("warning", ahead=2)
        return scene.incident("ok", active=False)

    scene.relay.bigpanda.steps[:] = [reopened_meanwhile]
    scene.wait(120)
    assert "ok" not in scene.signalled()
    assert scene.ended == []


def test_reopened_incident_rings_at_once_after_its_end() -> None:
    scene = Scene().opened_and_resolved()
    scene.over()
    scene.wait(12)
    scene.open(ahead=1)
    assert scene.signalled() == ["critical", "ok", "critical"]


def test_resolve_that_was_queued_since_the_ledger_failed_is_asked_about_too() -> None:
    scene = Scene()
    scene.open()
    write = scene.relay.dynamodb.update_item

    def fails(**_: Any) -> Any:
        table_down()

    scene.relay.dynamodb.update_item = fails  # type: ignore[method-assign]
    scene.resolve()
    scene.relay.dynamodb.update_item = write  # type: ignore[method-assign]
    assert "signal" in [job.kind for job in scene.relay.retries.jobs()]
    scene.wait(300)
    assert scene.signalled() == ["critical"]


def test_title_in_a_forged_resolve_is_not_kept() -> None:
    scene = Scene()
    scene.open()
    title, now = scene.relay.entry().about.title, int(scene.relay.clock.now) + 1
    forged = {"status": "ok", "active": False, "alerts": [{"id": "a1", "description": "Call 555"}]}
    scene.relay.share(samples.enveloped("e1", changedOn=now, updatedOn=now, **forged))
    assert scene.end().is_claimed
    assert scene.relay.entry().about.title == title


# ---- A forged resolve --------------------------------------------------------------------------------------------


def test_forged_resolve_is_refuted_after_a_minute_and_nobody_hears_of_it() -> None:
    scene = Scene(policy={"replace": False}).opened_and_resolved()
    scene.wait(CLAIM_SECONDS + 6)
    assert not scene.end().is_claimed
    assert scene.relay.recorder.metrics()["doubtful_resolve"] == 1
    scene.wait(1200)
    assert (scene.signalled(), scene.ended, len(scene.asked)) == (["critical"], [], 3)


def test_copy_of_a_refuted_resolve_is_superseded_and_asks_nothing() -> None:
    scene = Scene().opened_and_resolved()
    stamp = int(scene.relay.clock.now)
    scene.wait(CLAIM_SECONDS + 6)
    copy = samples.enveloped("e1", status="ok", active=False, resolved=True, changedOn=stamp, updatedOn=stamp)
    assert scene.relay.share(copy).outcome == "superseded"
    scene.wait(60)
    assert len(scene.asked) == 3


def forged_each_second(scene: Scene, seconds: int) -> None:
    """Share a resolve each second, with timestamps 4 s ahead, as an attacker with the webhook's token can."""
    for second in range(seconds):
        scene.resolve(ahead=4)
        scene.relay.wake(1)
        if second % 60 == 59:
            scene.relay.sweep(0)


def test_resolves_that_are_forged_each_second_silence_no_critical() -> None:
    scene = Scene(policy={"replace": False})
    forged_each_second(scene, 100)
    scene.open()
    forged_each_second(scene, 70)
    assert scene.signalled() == ["critical"]
    forged_each_second(scene, 1200)
    assert (scene.signalled(), scene.ended) == (["critical"], []), "nothing ends, and nobody is rung again"
    assert scene.relay.recorder.metrics()["doubtful_resolve"] >= 1


def test_true_end_is_announced_while_resolves_are_forged_each_second() -> None:
    scene = Scene()
    scene.open()
    forged_each_second(scene, 100)
    scene.over()
    forged_each_second(scene, 70)
    assert scene.signalled() == ["critical", "ok"]


def test_resolve_forged_ahead_of_the_first_share_does_not_silence_its_critical() -> None:
    scene = Scene()
    scene.resolve(ahead=4)
    scene.open()
    scene.wait(CLAIM_SECONDS + 6)
    assert scene.signalled() == ["critical"]


def test_claimed_resolves_do_not_make_an_incident_flap() -> None:
    scene = Scene(policy={"flap": {"transitions": 3, "minutes": 10}})
    scene.open()
    changes = scene.relay.entry().flap.changes
    forged_each_second(scene, 5)
    assert scene.relay.entry().flap.changes == changes


# ---- A signal that is owed ---------------------------------------------------------------------------------------


def owed_critical(seconds: float = 0.0) -> Scene:
    """Return a scene in which xMatters has refused a critical with 503 for `seconds`."""
    scene = Scene()
    scene.relay.session.steps[:] = [samples.refused(503)]
    scene.open()
    scene.wait(seconds, step=12)
    return scene


def test_owed_critical_waits_for_the_answer_once_and_for_a_minute_at_most() -> None:
    scene = owed_critical()
    scene.resolve()
    sent = len(scene.signalled())
    scene.wait(CLAIM_SECONDS - 6)
    assert len(scene.signalled()) == sent, "the critical waits"
    scene.says = samples.refused(503)
    scene.wait(24)
    assert len(scene.signalled()) > sent, "BigPanda has not answered, so the critical is sent"
    sent = len(scene.signalled())
    forged_each_second(scene, 90)
    assert len(scene.signalled()) > sent, "further resolves do not make it wait again"


def test_owed_critical_of_an_incident_that_is_over_never_rings() -> None:
    scene = owed_critical()
    scene.relay.session.steps[:] = [scene.accept]
    scene.resolve()
    sent = len(scene.signalled())
    scene.over()
    scene.wait(120)
    assert scene.signalled()[sent:] == []
    assert scene.relay.entry().debt.since is None


def test_critical_that_is_newer_than_the_resolve_rings_at_once() -> None:
    scene = Scene()
    scene.open("warning")
    scene.resolve()
    scene.relay.clock.now += 2
    scene.open("critical")
    assert scene.signalled() == ["warning", "critical"]


def test_forged_resolve_of_an_owed_critical_does_not_delay_its_fallback() -> None:
    scene = owed_critical(276)
    scene.resolve()
    begin = scene.relay.clock.now
    while not scene.relay.sns.published and scene.relay.clock.now < begin + 900:
        scene.wait(12)
        scene.relay.sweep(0)
    assert scene.relay.clock.now - begin <= 36


# ---- No answer, or not yet ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "says",
    [
        requests.ConnectTimeout(),
        samples.refused(503),
        samples.refused(401),
        samples.refused(404),
        HttpAnswer(200, {}, b"[]"),
    ],
)
def test_resolve_is_believed_and_counted_if_bigpanda_does_not_answer_for_ten_minutes(
    says: HttpAnswer | Exception,
) -> None:
    scene = Scene().opened_and_resolved()
    scene.says = says
    scene.wait(UNREACHABLE_SECONDS - 12)
    assert (scene.signalled(), scene.ended) == (["critical"], [])
    scene.wait(420)
    assert (scene.signalled(), scene.ended) == (["critical", "ok"], ["page-r1"])
    assert scene.relay.recorder.metrics()["doubtful_resolve"] == 1


def test_ten_minutes_of_silence_begin_anew_after_an_answer() -> None:
    scene = Scene().opened_and_resolved()
    scene.says = samples.refused(503)
    scene.wait(30)
    scene.says = scene.incident("critical", active=True)
    scene.wait(40)
    scene.says = samples.refused(503)
    scene.resolve()
    scene.wait(UNREACHABLE_SECONDS - 30)
    assert scene.signalled() == ["critical"]


def test_resolve_that_nobody_confirms_does_not_end_a_critical_that_came_after_it() -> None:
    scene = Scene(policy={"replace": False})
    scene.open("warning")
    scene.resolve()
    scene.relay.clock.now += 12
    scene.open("critical")
    scene.says = samples.refused(503)
    scene.wait(900, step=12)
    assert (scene.signalled(), scene.ended, scene.end().is_claimed) == (["warning", "critical"], [], False)


def test_critical_without_timestamps_that_comes_after_the_resolve_rings_although_bigpandas_api_lags() -> None:
    scene = Scene(policy={"replace": False})
    scene.open("warning")
    scene.relay.clock.now += 12
    scene.resolve()
    scene.says = scene.incident("ok", active=False)
    scene.relay.clock.now += 1
    scene.relay.share(samples.enveloped("e1", status="critical", active=True, changedOn=None, updatedOn=None))
    assert scene.signalled() == ["warning", "critical"]
    scene.wait(30)
    scene.says = scene.incident("critical", active=True)
    scene.wait(120)
    assert (scene.signalled(), scene.ended) == (["warning", "critical"], [])


def test_ten_minutes_of_silence_do_not_count_what_a_rate_limit_delayed_in_between() -> None:
    scene = Scene().opened_and_resolved()
    for says in (503, 429, 503):
        scene.says = samples.refused(says)
        scene.wait(720 if says == 429 else 30, step=6)
    assert scene.signalled() == ["critical"]


@pytest.mark.parametrize("takes", [True, False])
def test_resolve_is_not_announced_without_the_ledger_which_could_claim_it(takes: bool) -> None:
    scene = Scene()
    scene.open()
    # The message of the announced critical: after two minutes it would be sent without the ledger.
    scene.relay.retries.messages.clear()
    read, write = scene.relay.dynamodb.get_item, scene.relay.dynamodb.update_item
    scene.relay.dynamodb.get_item = scene.relay.dynamodb.update_item = lambda **_: table_down()  # type: ignore[method-assign,assignment]
    if not takes:
        scene.relay.retries.failure = QueueError("down")
    assert scene.resolve().outcome == ("queued" if takes else "unsafe")
    scene.wait(400, step=12)
    assert scene.signalled() == ["critical"]
    scene.relay.dynamodb.get_item, scene.relay.dynamodb.update_item = read, write  # type: ignore[method-assign]
    scene.over()
    scene.wait(120)
    assert scene.signalled() == (["critical", "ok"] if takes else ["critical"])


def test_question_in_many_environments_ends_within_its_deadline() -> None:
    scene = Scene(environments=[f"e{number}" for number in range(2, 12)]).opened_and_resolved()
    access = scene.relay.channels.get("noc").bigpanda
    assert access
    wait, slept = scene.relay.rate_limit.wait, scene.relay.clock.slept
    scene.relay.clock.now += 3
    for second in range(60):
        scene.relay.clock.now += second
        wait(access, "incident", calls=5)
        scene.relay.clock.now -= second
    slept.clear()
    [question] = [each for each in scene.relay.chores.messages if '"question"' in each["MessageBody"]]
    scene.relay.worker.work([{"messageId": "m1", "body": question["MessageBody"]}])
    assert sum(slept) <= MAX_WAITS


def without_room(scene: Scene) -> None:
    """Let twenty minutes pass in which other workers use up BigPanda's rate limit in each second."""
    access = scene.relay.channels.get("noc").bigpanda
    assert access
    clock = scene.relay.clock
    for _ in range(100):
        clock.now += 12
        for _ in range(MAX_WAITS + 1):
            clock.now += 1
            scene.relay.rate_limit.wait(access, "incident", calls=5)
        clock.now -= MAX_WAITS + 1
        scene.relay.wake(1)


def limited_by_bigpanda(scene: Scene) -> None:
    """Let twenty minutes pass in which BigPanda answers 429."""
    scene.says = samples.refused(429)
    scene.wait(1200, step=12)


@pytest.mark.parametrize("delayed", [without_room, limited_by_bigpanda])
@pytest.mark.parametrize("fails_first", [False, True])
def test_resolve_is_not_believed_while_a_rate_limit_delays_the_question(
    delayed: Callable[[Scene], None], fails_first: bool
) -> None:
    scene = Scene().opened_and_resolved()
    delayed(scene)
    if fails_first:
        scene.says = samples.refused(503)
        scene.wait(300, step=12)
    assert scene.ended == []
    assert "doubtful_resolve" not in scene.relay.recorder.metrics()


def test_one_question_asks_about_the_resolves_of_two_minutes() -> None:
    scene = Scene()
    scene.open()
    scene.relay.chores.messages.clear()
    for _ in range(int(CLAIM_AGAIN_SECONDS)):
        scene.resolve()
        scene.relay.clock.now += 1
    assert [job.kind for job in scene.relay.chores.jobs()] == ["question"]


def test_resolve_asks_anew_if_the_question_is_lost() -> None:
    scene = Scene().opened_and_resolved()
    scene.relay.chores.messages.clear()
    scene.over()
    scene.wait(CLAIM_AGAIN_SECONDS)
    assert scene.signalled() == ["critical"]
    scene.resolve()
    scene.wait(12)
    assert scene.signalled() == ["critical", "ok"]


def test_question_waits_for_its_claim_to_be_written() -> None:
    scene = Scene().opened_and_resolved()
    [question] = [each for each in scene.relay.chores.messages if '"question"' in each["MessageBody"]]
    entry = scene.relay.entry()
    scene.relay.ledger.change(key("noc", (), "i1"), lambda each: each._replace(end=End()))
    scene.relay.clock.now += 3
    scene.relay.chores.messages.clear()
    scene.relay.worker.work([{"messageId": "m1", "body": question["MessageBody"]}])
    assert scene.asked == []
    scene.relay.ledger.change(key("noc", (), "i1"), lambda each: each._replace(end=entry.end))
    scene.over()
    scene.wait(30)
    assert scene.signalled() == ["critical", "ok"]


def test_resolve_is_answered_503_if_no_queue_takes_its_question() -> None:
    scene = Scene()
    scene.open()
    scene.relay.chores.failure = scene.relay.dead_letters.failure = QueueError("down")
    assert scene.resolve().outcome == "unsafe"
    assert not scene.end().is_claimed


# ---- Settings ----------------------------------------------------------------------------------------------------


def test_end_of_a_test_incident_of_relayctl_is_believed_at_once() -> None:
    scene = Scene()
    now = int(scene.relay.clock.now)
    for status, stamp in (("warning", now), ("ok", now + 1)):
        content = samples.enveloped("e1", id="relayctl-test-1", status=status, active=status != "ok", changedOn=stamp)
        scene.relay.share(content)
    assert scene.signalled() == ["warning", "ok"]


@pytest.mark.parametrize("off", [{"policy": {"confirm_resolve": False}}, {"environment_id": None}])
def test_resolve_is_believed_at_once_if_bigpanda_can_not_be_asked(off: dict[str, Any]) -> None:
    scene = Scene(**off).opened_and_resolved()
    assert scene.signalled() == ["critical", "ok"]
    scene.wait(60)
    assert (scene.asked, scene.ended) == ([], ["page-r1"])


@pytest.mark.parametrize("rest", [True, False])
@pytest.mark.parametrize("removes_key", [True, False])
def test_claimed_resolve_is_believed_if_the_question_is_switched_off(rest: bool, removes_key: bool) -> None:
    scene = Scene(rest=rest).opened_and_resolved()
    document = json.loads(str(scene.relay.secrets.texts["noc"]))
    document["policy"]["confirm_resolve"] = False
    if removes_key:
        del document["bigpanda"]
    scene.relay.secrets.texts["noc"] = json.dumps(document)
    scene.relay.clock.now += 301
    scene.wait(120)
    assert scene.signalled() == ["critical", "ok"]


def test_claimed_resolve_ends_without_a_signal_once_the_channel_is_in_shadow_mode() -> None:
    scene = Scene().opened_and_resolved()
    document = json.loads(str(scene.relay.secrets.texts["noc"]))
    document["policy"]["mode"] = "shadow"
    scene.relay.secrets.texts["noc"] = json.dumps(document)
    scene.relay.clock.now += 301
    scene.wait(120)
    assert (scene.signalled(), scene.ended, scene.relay.entry().is_over) == (["critical"], [], True)


def test_incident_is_asked_about_in_another_environment_if_the_first_does_not_know_it() -> None:
    scene = Scene(environments=["e2"]).opened_and_resolved()
    answers = {"e1": samples.refused(404), "e2": scene.incident("ok", active=False)}
    scene.relay.bigpanda.steps[:] = [lambda call: answers[call.url.partition("/environments/")[2][:2]]]
    scene.wait(12)
    assert scene.ended == ["page-r1"]


def test_questions_keep_the_bigpanda_key_out_of_jobs_and_logs() -> None:
    scene = Scene().opened_and_resolved()
    scene.says = samples.refused(403, b"key BPU-1 is odd")
    scene.wait(700, step=12)
    kept = [each["MessageBody"] for each in (*scene.relay.chores.messages, *scene.relay.dead_letters.messages)]
    assert "BPU-1" not in "".join(kept) + scene.relay.recorder.written()

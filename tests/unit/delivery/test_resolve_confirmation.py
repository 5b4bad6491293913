"""ResolveConfirmation: pages end when BigPanda confirms the resolve, and a forged resolve silences no critical."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests

from relay.bigpanda.api_rate_limit import MAX_WAITS
from relay.delivery.resolve_confirmation import APART_SECONDS, UNREACHABLE_SECONDS
from relay.failures.errors import QueueError
from relay.http.session import HttpAnswer
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
            "changed_at": 1_800_000_000,
            "updated_at": 1_800_000_000,
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

    def resolve(self, ahead: int = 0) -> None:
        """Share a resolve with timestamps `ahead` seconds in the future.

        BigPanda's answer in `says` decides if the resolve is true or forged.
        """
        now = int(self.relay.clock.now) + ahead
        self.relay.share(
            samples.enveloped("e1", status="ok", active=False, resolved=True, changedOn=now, updatedOn=now)
        )

    def opened_and_resolved(self) -> "Scene":
        """Share a critical, let it be announced and followed, and then share a resolve."""
        self.relay.share(samples.enveloped("e1", active=True))
        self.wait(120)
        self.resolve()
        return self

    def wait(self, seconds: float) -> None:
        """Let time pass in steps of 12 seconds, and let workers have the jobs that wake."""
        for _ in range(int(seconds // 12)):
            self.relay.wake(12)


def test_pages_end_when_bigpanda_confirms_the_resolve() -> None:
    scene = Scene().opened_and_resolved()
    scene.says = scene.incident("ok", active=False)
    scene.wait(60)
    assert scene.ended == ["page-r1"]
    assert scene.asked == ["/environments/e1/incidents/i1?expand=alerts"]
    assert scene.signalled() == ["critical", "ok"]


def test_pages_go_on_while_bigpanda_reports_the_incident_open() -> None:
    scene = Scene().opened_and_resolved()
    scene.wait(60)
    assert (len(scene.asked), scene.ended) == (1, [])


def test_forged_resolve_is_refuted_and_the_critical_is_signalled_again() -> None:
    scene = Scene().opened_and_resolved()
    scene.wait(36 + APART_SECONDS + 36)
    assert scene.signalled() == ["critical", "ok", "critical"]
    ids = [call.headers["X-Relay-Delivery-Id"] for call in scene.relay.session.calls]
    assert len(set(ids)) == 3, "a workflow takes a known delivery id for a repeated signal"
    assert scene.relay.recorder.metrics()["resolve_refuted"] == 1
    scene.wait(1200)
    assert scene.signalled() == ["critical", "ok", "critical"]


@pytest.mark.parametrize("resolves_again", [False, True])
def test_follow_ups_that_ask_at_the_same_time_queue_one_signal_for_a_refuted_resolve(resolves_again: bool) -> None:
    scene = Scene().opened_and_resolved()
    while not scene.relay.entry().end.refuted_since:
        scene.wait(12)
    relay, [followup] = scene.relay, scene.relay.chores.messages
    relay.clock.now += APART_SECONDS

    def asked_by_both(_: Call) -> HttpAnswer:
        relay.bigpanda.steps[:] = [scene.says]
        relay.worker.work([{"messageId": "m2", "body": followup["MessageBody"]}])
        if resolves_again:
            scene.wait(12)
            scene.resolve()
        assert isinstance(scene.says, HttpAnswer)
        return scene.says

    relay.bigpanda.steps[:] = [asked_by_both]
    relay.retries.messages.clear()
    relay.worker.work([{"messageId": "m1", "body": followup["MessageBody"]}])
    queued = [job for job in relay.retries.jobs() if job.correlation_id.startswith("refuted")]
    assert len(queued) + scene.signalled().count("critical") == 2


def test_late_copy_of_an_older_resolve_is_superseded_after_a_refutation() -> None:
    scene = Scene().opened_and_resolved()
    scene.wait(36 + APART_SECONDS + 36)
    old = OPENED + 1
    late = samples.enveloped("e1", status="ok", active=False, resolved=True, changedOn=old, updatedOn=old)
    assert scene.relay.share(late).outcome == "superseded"
    assert scene.signalled() == ["critical", "ok", "critical"]


def test_refuted_resolve_ends_no_page() -> None:
    scene = Scene(policy={"replace": False}).opened_and_resolved()
    scene.wait(600)
    assert scene.ended == []


def test_page_before_an_unconfirmed_resolve_ends_once_the_reopened_incident_has_a_page() -> None:
    scene = Scene(policy={"replace": False}).opened_and_resolved()
    now = int(scene.relay.clock.now) + 1
    scene.relay.share(samples.enveloped("e1", active=True, changedOn=now, updatedOn=now))
    assert scene.signalled() == ["critical", "ok", "critical"]
    scene.wait(200)
    assert scene.ended == ["page-r1"]


def test_only_a_true_resolve_is_signalled_after_a_refuted_one() -> None:
    scene = Scene().opened_and_resolved()
    scene.wait(200)
    scene.resolve()
    scene.says = scene.incident("ok", active=False)
    scene.wait(200)
    assert scene.signalled() == ["critical", "ok", "critical", "ok"]
    assert "page-r3" in scene.ended


def test_resolves_that_are_forged_repeatedly_are_refuted() -> None:
    scene = Scene().opened_and_resolved()
    for _ in range(20):
        scene.wait(12)
        scene.resolve()
    assert "critical" in scene.signalled()[2:]


def forged_each_second(scene: Scene, seconds: int) -> None:
    """Share a resolve each second, with timestamps 4 s ahead, as an attacker with the webhook's token can."""
    for second in range(seconds):
        scene.resolve(ahead=4)
        scene.relay.wake(1)
        if second % 60 == 59:
            scene.relay.sweep(0)


def test_resolves_that_are_forged_each_second_silence_no_critical_for_longer_than_a_few_minutes() -> None:
    scene = Scene()
    forged_each_second(scene, 100)
    opened = int(scene.relay.clock.now)
    scene.relay.share(samples.enveloped("e1", active=True, changedOn=opened, updatedOn=opened))
    forged_each_second(scene, 180)
    assert scene.signalled() == ["critical"]
    forged_each_second(scene, 1200)
    assert scene.signalled() == ["critical"], "the attack ends nothing, and rings nobody again"
    assert scene.ended == []


def test_critical_after_a_warning_rings_although_resolves_are_forged_each_second() -> None:
    scene = Scene()
    scene.says = scene.incident("warning", active=True)
    scene.relay.share(samples.enveloped("e1", active=True, status="warning"))
    forged_each_second(scene, 400)
    scene.says = scene.incident("critical", active=True)
    now = int(scene.relay.clock.now)
    scene.relay.share(samples.enveloped("e1", active=True, changedOn=now, updatedOn=now))
    assert scene.signalled()[-1] == "critical"


def job_status(message: dict[str, Any]) -> str:
    """Return the incident's status in the job of a queue message."""
    return str(json.loads(message["MessageBody"])["status"])


def distrusted() -> Scene:
    """Return a scene in which BigPanda refuted a resolve a short time ago, so that the next ones are suspected."""
    scene = Scene(policy={"replace": False}).opened_and_resolved()
    scene.wait(36 + APART_SECONDS + 36)
    assert scene.signalled() == ["critical", "ok", "critical"]
    return scene


def test_suspected_resolve_is_signalled_and_ends_pages_once_bigpanda_confirms_it() -> None:
    scene = distrusted()
    scene.resolve()
    assert (scene.signalled()[3:], scene.relay.entry().end.is_suspected) == ([], True)
    scene.says = scene.incident("ok", active=False)
    scene.wait(120)
    assert scene.signalled() == ["critical", "ok", "critical", "ok"]
    assert scene.ended == ["page-r1", "page-r3"]
    assert not scene.relay.entry().end.is_suspected


def test_suspected_resolve_is_not_lost_if_bigpandas_api_lags_behind_its_webhook() -> None:
    scene = distrusted()
    scene.resolve()
    scene.wait(48)
    scene.resolve()
    scene.wait(APART_SECONDS)
    scene.says = scene.incident("ok", active=False)
    scene.wait(120)
    assert scene.signalled()[3:] == ["ok"]


def test_suspected_resolve_is_believed_if_bigpanda_does_not_answer_for_ten_minutes() -> None:
    scene = distrusted()
    scene.says = samples.refused(503)
    scene.resolve()
    scene.wait(UNREACHABLE_SECONDS - 60)
    assert scene.signalled()[3:] == []
    scene.wait(180)
    assert scene.signalled()[3:] == ["ok"]
    assert scene.relay.recorder.metrics()["resolve_unreachable"] >= 1


def test_one_follow_up_asks_about_all_suspected_resolves() -> None:
    scene = distrusted()
    for _ in range(30):
        scene.resolve()
        scene.relay.clock.now += 1
    assert len(scene.relay.chores.messages) == 1


def test_suspected_resolve_is_answered_503_if_no_queue_takes_its_follow_up() -> None:
    scene = distrusted()
    scene.relay.chores.failure = scene.relay.dead_letters.failure = QueueError("down")
    now = int(scene.relay.clock.now)
    resolve = samples.enveloped("e1", status="ok", active=False, resolved=True, changedOn=now, updatedOn=now)
    assert scene.relay.share(resolve).outcome == "unsafe"
    assert not scene.relay.entry().end.is_suspected


def test_suspected_resolves_do_not_make_an_incident_flap() -> None:
    scene = Scene(policy={"flap": {"transitions": 3, "minutes": 10}}).opened_and_resolved()
    scene.wait(36 + APART_SECONDS + 36)
    changes = scene.relay.entry().flap.changes
    forged_each_second(scene, 5)
    assert scene.relay.entry().flap.changes == changes


def test_fallback_is_notified_if_the_critical_of_a_refuted_resolve_can_not_be_signalled() -> None:
    scene = Scene().opened_and_resolved()
    scene.wait(48)
    [followup] = scene.relay.chores.messages
    scene.relay.clock.now += APART_SECONDS
    scene.relay.worker.work([{"messageId": "m1", "body": followup["MessageBody"]}])
    assert scene.relay.entry().debt.is_critical
    # The message of the new signal vanishes before a worker has it, and xMatters fails.
    scene.relay.retries.messages.clear()
    scene.relay.session.steps[:] = [samples.refused(503)]
    for _ in range(6):
        scene.relay.sweep(60)
    assert len(scene.relay.sns.published) == 1


def test_confirmed_resolve_is_signalled_although_its_message_vanishes() -> None:
    scene = distrusted()
    scene.resolve()
    scene.says = scene.incident("ok", active=False)
    [followup] = [each for each in scene.relay.chores.messages if "ok" in job_status(each)]
    scene.relay.clock.now += 20
    scene.relay.worker.work([{"messageId": "m1", "body": followup["MessageBody"]}])
    scene.relay.retries.messages.clear()
    for _ in range(6):
        scene.relay.sweep(60)
        scene.wait(12)
    assert scene.signalled()[3:] == ["ok"]


def test_late_older_share_does_not_ring_after_both_resolves_before_it_were_confirmed() -> None:
    scene = Scene().opened_and_resolved()
    between = int(scene.relay.clock.now) + 1
    while not scene.relay.entry().end.refuted_since:
        scene.wait(12)
    # The incident was open again for a moment. The share of that comes late, after BigPanda confirmed the next resolve.
    scene.resolve()
    assert scene.relay.entry().end.is_suspected
    scene.says = scene.incident("ok", active=False)
    scene.wait(120)
    assert not scene.relay.entry().is_end_in_doubt
    late = samples.enveloped("e1", active=True, changedOn=between, updatedOn=between)
    assert scene.relay.share(late).outcome == "superseded"
    assert scene.signalled() == ["critical", "ok"]


@pytest.mark.parametrize("is_reachable", [True, False])
def test_late_older_share_does_not_ring_after_a_confirmed_end_although_an_earlier_resolve_was_still_owed(
    is_reachable: bool,
) -> None:
    """Found by seed 92008358 of the simulation: BigPanda confirmed the resolve, but its signal was never sent."""
    scene = Scene()
    # The follow-up of the first resolve asks BigPanda while a later one is owed.
    scene.resolve()
    scene.relay.clock.now += 2
    opens = int(scene.relay.clock.now)
    scene.relay.share(samples.enveloped("e1", active=True, changedOn=opens, updatedOn=opens))
    scene.relay.clock.now += 2
    works, scene.relay.session.steps[:] = scene.relay.session.steps[:], [samples.refused(503)]
    scene.resolve()
    between = int(scene.relay.clock.now) + 1
    scene.wait(24)
    assert scene.relay.entry().end.refuted_since
    # The incident was open again for a moment; the share of that comes late.
    scene.resolve()
    assert scene.relay.entry().end.is_suspected
    scene.says = scene.incident("ok", active=False) if is_reachable else requests.ConnectTimeout()
    scene.wait(120 if is_reachable else UNREACHABLE_SECONDS + 180)
    assert not scene.relay.entry().is_end_in_doubt
    late = samples.enveloped("e1", active=True, changedOn=between, updatedOn=between)
    assert scene.relay.share(late).outcome == "superseded"
    scene.relay.session.steps[:], before = works, len(scene.signalled())
    scene.wait(1200)
    assert scene.signalled()[before:] == ["ok"]
    assert scene.relay.entry().debt.since is None


def test_single_late_answer_of_bigpanda_does_not_refute_a_resolve() -> None:
    scene = Scene().opened_and_resolved()
    scene.wait(48)
    scene.says = scene.incident("ok", active=False)
    scene.wait(120)
    assert scene.ended == ["page-r1"]
    assert scene.signalled() == ["critical", "ok"]
    assert "resolve_refuted" not in scene.relay.recorder.metrics()


@pytest.mark.parametrize(
    "says", [requests.ConnectTimeout(), samples.refused(503), samples.refused(404), HttpAnswer(200, {}, b"[]")]
)
def test_resolve_is_believed_and_counted_if_bigpanda_does_not_confirm_it_for_ten_minutes(
    says: HttpAnswer | Exception,
) -> None:
    scene = Scene().opened_and_resolved()
    scene.says = says
    scene.wait(UNREACHABLE_SECONDS - 60)
    assert scene.ended == []
    scene.wait(180)
    assert scene.ended == ["page-r1"]
    assert scene.relay.recorder.metrics()["resolve_unreachable"] == 1


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
    scene.wait(1200)


@pytest.mark.parametrize("delayed", [without_room, limited_by_bigpanda])
@pytest.mark.parametrize("fails_first", [False, True])
def test_resolve_is_not_believed_while_a_rate_limit_delays_the_question(
    delayed: Callable[[Scene], None], fails_first: bool
) -> None:
    scene = Scene().opened_and_resolved()
    delayed(scene)
    if fails_first:
        scene.says = samples.refused(503)
        scene.wait(120)
    assert scene.ended == []
    assert "resolve_unreachable" not in scene.relay.recorder.metrics()


def test_resolve_that_bigpanda_contradicted_is_believed_ten_minutes_after_that_answer_at_the_earliest() -> None:
    scene = Scene().opened_and_resolved()
    scene.wait(48)
    assert scene.relay.entry().end.contradicted_at
    scene.says = samples.refused(503)
    scene.wait(UNREACHABLE_SECONDS - 12)
    assert scene.ended == []
    scene.says = scene.incident("critical", active=True)
    scene.wait(120)
    assert scene.signalled() == ["critical", "ok", "critical"]


def test_forged_resolve_does_not_silence_a_critical_that_was_not_announced_yet() -> None:
    scene = Scene()
    works = scene.relay.session.steps[:]
    scene.relay.session.steps[:] = [samples.refused(503)]
    scene.relay.share(samples.enveloped("e1", active=True))
    scene.resolve()
    scene.relay.session.steps[:] = works
    scene.wait(36 + APART_SECONDS + 36)
    assert scene.signalled()[-1] == "critical"
    assert scene.relay.entry().announced is not None


def owed_critical(seconds: float) -> Scene:
    """Return a scene in which xMatters has refused a critical with 503 for `seconds`.

    The fallback topic is to be notified once the critical is owed for 300 s.
    """
    scene = Scene()
    scene.relay.session.steps[:] = [samples.refused(503)]
    scene.relay.share(samples.enveloped("e1", active=True))
    scene.wait(seconds)
    return scene


def seconds_until_fallback(scene: Scene) -> float:
    """Let at most 15 minutes pass with a run of the sweeper every 12 seconds, until the fallback topic is notified."""
    begin = scene.relay.clock.now
    while not scene.relay.sns.published and scene.relay.clock.now < begin + 900:
        scene.wait(12)
        scene.relay.sweep(0)
    return scene.relay.clock.now - begin


def test_forged_resolve_of_an_owed_critical_delays_its_fallback_until_bigpanda_refutes_it_and_no_longer() -> None:
    scene = owed_critical(276)
    scene.resolve()
    assert seconds_until_fallback(scene) <= 24 + APART_SECONDS + 24


def test_forged_resolve_delays_no_fallback_if_the_incident_is_shared_as_open_before_bigpanda_is_asked() -> None:
    scene = owed_critical(276)
    scene.resolve()
    scene.relay.share(samples.enveloped("e1", active=True, changedOn=int(scene.relay.clock.now) + 1))
    assert seconds_until_fallback(scene) <= 36


def test_fallback_is_not_notified_again_after_a_forged_resolve_of_a_critical_that_was_never_announced() -> None:
    scene = owed_critical(276)
    seconds_until_fallback(scene)
    scene.resolve()
    for _ in range(60):
        scene.wait(12)
        scene.relay.sweep(0)
    assert scene.relay.entry().debt.since is not None
    assert len(scene.relay.sns.published) == 1


def owed_critical_after_a_warning(seconds: float) -> Scene:
    """Return a scene in which an incident's warning was announced.

    Then the incident became critical, and xMatters has refused that signal with 503 for `seconds`.
    """
    scene = Scene()
    scene.relay.share(samples.enveloped("e1", status="warning", active=True))
    scene.relay.session.steps[:] = [samples.refused(503)]
    scene.relay.share(samples.enveloped("e1", active=True, changedOn=OPENED + 1))
    scene.wait(seconds)
    return scene


def test_forged_resolve_that_was_signalled_delays_the_fallback_until_bigpanda_refutes_it_and_no_longer() -> None:
    scene = owed_critical_after_a_warning(120)
    owed_since = scene.relay.entry().debt.since
    scene.relay.session.steps[:] = [scene.accept]
    scene.resolve()
    scene.wait(60)
    assert scene.signalled()[-1] == "ok"
    scene.relay.session.steps[:] = [samples.refused(503)]
    seconds_until_fallback(scene)
    assert scene.relay.clock.now - (owed_since or 0.0) <= 300 + 24


def test_fallback_after_a_forged_resolve_of_an_announced_critical_counts_from_its_refutation() -> None:
    scene = Scene().opened_and_resolved()
    scene.relay.session.steps[:] = [samples.refused(503)]
    scene.wait(36 + APART_SECONDS + 36)
    owed_since = scene.relay.entry().debt.since
    assert owed_since is not None
    seconds_until_fallback(scene)
    assert scene.relay.clock.now - owed_since >= 300


@pytest.mark.parametrize("confirms", [True, False])
def test_fallback_of_a_critical_that_reopens_after_a_true_resolve_counts_from_then(confirms: bool) -> None:
    scene = owed_critical(240)
    scene.says = scene.incident("ok", active=False) if confirms else requests.ConnectTimeout("unreachable")
    scene.resolve()
    scene.wait(APART_SECONDS + 24)
    scene.says = scene.incident("critical", active=True)
    reopens = int(scene.relay.clock.now)
    scene.relay.share(samples.enveloped("e1", active=True, changedOn=reopens, updatedOn=reopens))
    assert seconds_until_fallback(scene) >= 300


@pytest.mark.parametrize("rest", [True, False])
def test_resolve_forged_ahead_of_the_first_share_does_not_silence_its_critical(rest: bool) -> None:
    scene = Scene(rest=rest)
    scene.resolve()
    earlier = int(scene.relay.clock.now) - 3
    result = scene.relay.share(samples.enveloped("e1", active=True, changedOn=earlier, updatedOn=earlier))
    assert result.outcome == "superseded"
    scene.wait(36 + APART_SECONDS + 36)
    assert scene.signalled() == ["critical"]


def test_second_forged_resolve_during_a_refutation_ends_no_page() -> None:
    scene = Scene(policy={"replace": False}).opened_and_resolved()
    scene.wait(24 + APART_SECONDS)
    scene.resolve()
    scene.wait(12)
    assert scene.ended == []


def test_forged_resolve_is_refuted_without_the_rest_api_of_xmatters() -> None:
    scene = Scene(rest=False).opened_and_resolved()
    scene.wait(36 + APART_SECONDS + 36)
    assert scene.signalled() == ["critical", "ok", "critical"]


def test_resolve_of_a_reopened_incident_needs_no_confirmation() -> None:
    scene = Scene().opened_and_resolved()
    now = int(scene.relay.clock.now) + 1
    scene.relay.share(samples.enveloped("e1", active=True, changedOn=now, updatedOn=now))
    scene.wait(300)
    assert scene.asked == []
    assert scene.signalled() == ["critical", "ok", "critical"]
    assert "page-r1" in scene.ended, "the newer page took its place"


@pytest.mark.parametrize("off", [{"policy": {"confirm_resolve": False}}, {"environment_id": None}])
def test_bigpanda_is_not_asked_if_confirmation_is_off(off: dict[str, Any]) -> None:
    scene = Scene(**off).opened_and_resolved()
    scene.wait(60)
    assert (scene.asked, scene.ended) == ([], ["page-r1"])


def test_resolve_is_confirmed_in_another_environment_if_the_first_does_not_know_the_incident() -> None:
    scene = Scene(environments=["e2"]).opened_and_resolved()
    over = scene.incident("ok", active=False)
    answers = {"e1": samples.refused(404), "e2": over}
    scene.relay.bigpanda.steps[:] = [lambda call: answers[call.url.partition("/environments/")[2][:2]]]
    scene.wait(60)
    assert scene.ended == ["page-r1"]


def test_confirmation_keeps_the_bigpanda_key_out_of_jobs_and_logs() -> None:
    scene = Scene().opened_and_resolved()
    scene.says = samples.refused(403, b"key BPU-1 is odd")
    scene.wait(700)
    kept = [each["MessageBody"] for each in (*scene.relay.chores.messages, *scene.relay.dead_letters.messages)]
    assert "BPU-1" not in "".join(kept) + scene.relay.recorder.written()


def test_suspected_resolve_is_not_lost_if_the_refuted_critical_is_rung_after_it() -> None:
    scene = Scene(policy={"replace": False}).opened_and_resolved()
    while not scene.relay.entry().end.refuted_since:
        scene.wait(12)
    relay, [followup] = scene.relay, scene.relay.chores.messages
    relay.clock.now += APART_SECONDS
    relay.chores.messages.clear()
    relay.worker.work([{"messageId": "m1", "body": followup["MessageBody"]}])
    assert relay.entry().debt.is_critical
    scene.resolve()
    scene.says = scene.incident("ok", active=False)
    relay.worker.work(relay.retries.records())
    scene.wait(200)
    assert scene.signalled() == ["critical", "ok", "critical", "ok"]


def test_late_older_share_does_not_void_a_suspected_resolve() -> None:
    scene = distrusted()
    before = int(scene.relay.clock.now)
    scene.relay.clock.now += 10
    scene.resolve()
    scene.says = scene.incident("ok", active=False)
    scene.relay.share(samples.enveloped("e1", active=True, changedOn=before, updatedOn=before))
    scene.wait(200)
    assert scene.signalled()[3:] == ["ok"]


def test_late_older_share_does_not_ring_after_a_suspected_resolve_was_confirmed() -> None:
    scene = distrusted()
    before = int(scene.relay.clock.now)
    scene.relay.clock.now += 10
    scene.resolve()
    scene.says = scene.incident("ok", active=False)
    scene.wait(200)
    late = samples.enveloped("e1", active=True, changedOn=before, updatedOn=before)
    assert scene.relay.share(late).outcome == "superseded"


def test_follow_up_of_an_open_state_does_not_answer_for_a_suspected_resolve() -> None:
    scene = Scene(policy={"replace": False}).opened_and_resolved()
    while len(scene.signalled()) < 3:
        scene.wait(12)
    scene.says = samples.refused(503)
    scene.relay.clock.now += 1
    scene.resolve()
    scene.wait(1200)
    assert scene.signalled()[3:] == ["ok"]


def test_follow_up_of_a_suspected_resolve_does_not_run_before_the_resolve_is_written() -> None:
    scene = distrusted()
    scene.resolve()
    assert scene.relay.chores.delays() == [15]


@pytest.mark.parametrize("rest", [True, False])
@pytest.mark.parametrize("removes_key", [True, False])
def test_suspected_resolve_is_believed_if_the_confirmation_is_switched_off(rest: bool, removes_key: bool) -> None:
    scene = Scene(rest=rest).opened_and_resolved()
    scene.wait(36 + APART_SECONDS + 36)
    scene.resolve()
    document = json.loads(str(scene.relay.secrets.texts["noc"]))
    document["policy"]["confirm_resolve"] = False
    if removes_key:
        del document["bigpanda"]
    scene.relay.secrets.texts["noc"] = json.dumps(document)
    scene.relay.clock.now += 301
    scene.wait(120)
    assert scene.signalled()[3:] == ["ok"]


def test_one_follow_up_asks_although_the_incident_changes_while_resolves_are_forged() -> None:
    scene = distrusted()
    for number in range(8):
        now, status = int(scene.relay.clock.now) + 1, ("warning", "critical")[number % 2]
        scene.says = scene.incident(status, active=True)
        scene.relay.share(samples.enveloped("e1", active=True, status=status, changedOn=now, updatedOn=now))
        forged_each_second(scene, 80)
    forged_each_second(scene, 120)
    assert len(scene.relay.chores.messages) == 1


def test_suspected_resolve_is_not_lost_after_an_attack_of_many_hours() -> None:
    scene = distrusted()
    for _ in range(2 * 365):
        scene.resolve(ahead=2)
        scene.relay.wake(30)
    scene.says = scene.incident("ok", active=False)
    scene.wait(120)
    assert scene.signalled()[3:] == ["ok"]


def test_resolve_that_was_queued_since_it_could_not_be_recorded_is_suspected_too() -> None:
    scene = distrusted()
    write = scene.relay.dynamodb.update_item

    def fails(**_: Any) -> Any:
        table_down()

    scene.relay.dynamodb.update_item = fails  # type: ignore[method-assign]
    scene.resolve()
    assert [job.kind for job in scene.relay.retries.jobs()] == ["signal"]
    scene.relay.dynamodb.update_item = write  # type: ignore[method-assign]
    scene.wait(300)
    assert scene.signalled() == ["critical", "ok", "critical"]


def test_forged_resolve_is_refuted_although_xmatters_refuses_the_search_for_pages() -> None:
    scene = Scene()
    scene.relay.share(samples.enveloped("e1", active=True))
    scene.relay.rest.steps[:] = [samples.refused(400)]
    scene.wait(120)
    scene.resolve()
    scene.wait(36 + APART_SECONDS + 36)
    assert scene.signalled() == ["critical", "ok", "critical"]


def test_forged_resolve_is_refuted_in_time_although_xmatters_rest_credentials_are_wrong() -> None:
    scene = Scene()
    scene.relay.share(samples.enveloped("e1", active=True))
    scene.relay.rest.steps[:] = [samples.refused(401)]
    scene.wait(120)
    scene.resolve()
    scene.wait(36 + APART_SECONDS + 36)
    assert scene.signalled() == ["critical", "ok", "critical"]

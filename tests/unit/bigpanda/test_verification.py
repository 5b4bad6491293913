"""Verification of callbacks: an unconfirmed one is not believed, and an early one waits for its confirmation."""

from collections.abc import Callable
from typing import Any

import pytest

from relay.bigpanda.verification import CallbackVerdict, ReceivedCallback, Verdict, Verifier
from relay.channels.channel import OutboundCredentials, Rest
from relay.deadline import Deadline
from relay.failures.errors import NoAnswer
from relay.failures.reasons import Reason
from relay.incidents.callback import Callback, Kind
from relay.ledger.accepted_signal import AcceptedSignal, hashes_of
from relay.ledger.entry import Entry
from tests.unit.states import NOW, state

REST = Rest("https://acme.xmatters.com", OutboundCredentials("basic", {"username": "u", "password": "p"}))
PAGE = "7d9a1c0e-0000-4000-8000-000000000001"
RAISED = AcceptedSignal(
    "r1", NOW, is_open=True, pages=(PAGE,), page_number="408005", recipients=hashes_of(("Ops", "jdoe"))
)
CAME = NOW + 30
LATE = CAME + 300
DEADLINE = Deadline(5.0, lambda: 0.0)


def entry(*signals: AcceptedSignal, **members: Any) -> Entry:
    known = Entry(newest=state(), announced=state(), signal_times=(NOW,), accepted_signals=signals, sequence=2)
    return known._replace(**members)


def callback(**members: Any) -> Callback:
    plain = Callback(
        kind=Kind.RESPONSE,
        incident_id="i1",
        environment_id=None,
        page_id=PAGE,
        page_number=None,
        target="jdoe",
        name=None,
        email=None,
        device=None,
        text="Acknowledge",
        note=None,
        group=None,
        reason=None,
        at=None,
    )
    return plain._replace(**members)


def judged(
    said: Callback,
    *entries: Entry,
    rest: Rest | None = REST,
    now: float = LATE,
    came: float = CAME,
    pages_of: Callable[[str], set[str]] = lambda _: set(),
    is_person: Callable[[str], bool | None] = lambda _: False,
) -> CallbackVerdict:
    verifier = Verifier(lambda _, request, __: pages_of(request), lambda _, name, __: is_person(name), lambda: now)
    is_acknowledgement = said.kind == Kind.RESPONSE
    return verifier.judge(ReceivedCallback(said, is_acknowledgement, came), entries, rest, DEADLINE)


def no_answer(_: str) -> Any:
    raise NoAnswer(Reason.TIMEOUT, "no answer", was_sent=True)


class TestIncident:
    def test_callback_of_an_unknown_incident_is_strange(self) -> None:
        assert judged(callback(), Entry()).verdict == Verdict.STRANGE
        assert judged(callback()).verdict == Verdict.STRANGE

    def test_callback_of_an_unannounced_incident_is_unverified(self) -> None:
        assert judged(callback(), Entry(newest=state(), sequence=1)).verdict == Verdict.UNVERIFIED

    @pytest.mark.parametrize("entries", [(), (Entry(newest=state(), sequence=1),)])
    def test_callback_shortly_before_an_announcement_is_early(self, entries: tuple[Entry, ...]) -> None:
        assert judged(callback(), *entries, now=LATE - 0.1).verdict == Verdict.EARLY

    def test_callback_of_an_announced_incident_is_verified_without_the_rest_api(self) -> None:
        strange = callback(page_id=None, target="anybody")
        assert judged(strange, entry(), rest=None) == CallbackVerdict(Verdict.VERIFIED)

    def test_callback_older_than_the_first_signal_is_unverified(self) -> None:
        old = judged(callback(), entry(), rest=None, came=NOW - 61)
        assert old == CallbackVerdict(Verdict.UNVERIFIED, "it is older than the signals of the incident")


class TestPage:
    @pytest.mark.parametrize("named", [{"page_id": PAGE}, {"page_id": None, "page_number": "408005"}])
    def test_callback_that_names_a_page_of_the_incident_is_verified(self, named: dict[str, Any]) -> None:
        assert judged(callback(**named), entry(RAISED)) == CallbackVerdict(Verdict.VERIFIED, signal=RAISED)

    @pytest.mark.parametrize(
        "named",
        [{"page_id": None}, {"page_id": PAGE.replace("1", "2")}, {"page_id": None, "page_number": "408006"}],
    )
    def test_callback_that_names_no_page_of_the_incident_is_unverified(self, named: dict[str, Any]) -> None:
        found = judged(callback(**named), entry(RAISED))
        assert found == CallbackVerdict(Verdict.UNVERIFIED, "it names no page of the incident")
        assert judged(callback(**named), entry(RAISED), now=CAME).verdict == Verdict.EARLY

    def test_xmatters_is_asked_for_pages_that_no_followup_found_yet(self) -> None:
        unfollowed = RAISED._replace(pages=(), page_number="")
        found = judged(callback(), entry(unfollowed), now=CAME, pages_of=lambda name: {PAGE} if name == "r1" else set())
        assert found.verdict == Verdict.VERIFIED

    def test_xmatters_is_not_asked_for_the_page_of_a_signal_without_one(self) -> None:
        lost = RAISED._replace(pages=(), page_number="", is_page_missing=True)
        assert judged(callback(), entry(lost), pages_of=no_answer).why == "it names no page of the incident"

    def test_callback_is_unverified_if_xmatters_does_not_answer_for_its_page(self) -> None:
        unfollowed = RAISED._replace(pages=(), page_number="")
        assert judged(callback(), entry(unfollowed), now=CAME, pages_of=no_answer).verdict == Verdict.EARLY
        assert judged(callback(), entry(unfollowed), pages_of=no_answer).verdict == Verdict.UNVERIFIED

    @pytest.mark.parametrize(
        ("at", "verdict"),
        [
            ("2027-01-15T07:58:58Z", Verdict.UNVERIFIED),
            ("2027-01-15T07:59:05Z", Verdict.VERIFIED),
            ("Fri, 15 Jan 2027", Verdict.VERIFIED),
            ("2027-01-15T07:00:00", Verdict.VERIFIED),
        ],
    )
    def test_callback_older_than_its_page_is_unverified(self, at: str, verdict: Verdict) -> None:
        assert judged(callback(at=at), entry(RAISED)).verdict == verdict


class TestPerson:
    def test_acknowledger_who_was_notified_is_verified_without_a_call(self) -> None:
        assert judged(callback(), entry(RAISED), is_person=no_answer).verdict == Verdict.VERIFIED

    def test_acknowledger_from_a_group_is_looked_up_in_xmatters(self) -> None:
        asked: list[str] = []

        def is_person(name: str) -> bool:
            asked.append(name)
            return True

        assert judged(callback(target="jane"), entry(RAISED), is_person=is_person).verdict == Verdict.VERIFIED
        assert asked == ["jane"]

    @pytest.mark.parametrize(("target", "says"), [("mallory", False), ("mallory", None), (None, True)])
    def test_acknowledgement_by_a_person_unknown_to_xmatters_is_unverified(
        self, target: str | None, says: bool | None
    ) -> None:
        found = judged(callback(target=target), entry(RAISED), is_person=lambda _: says)
        assert found == CallbackVerdict(Verdict.UNVERIFIED, "xMatters does not know who it says acknowledged")

    def test_person_of_a_callback_that_is_no_acknowledgement_is_not_looked_up(self) -> None:
        said = callback(kind=Kind.ANNOTATION, target="mallory")
        assert judged(said, entry(RAISED), is_person=no_answer).verdict == Verdict.VERIFIED

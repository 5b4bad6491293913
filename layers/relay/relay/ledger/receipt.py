"""Receipt of a critical: proof that people know of it. Pure code.

After xMatters accepted a signal, a step can fail without an error: to make a page, to notify a device, to get an
answer. The sweeper finds open receipts by the ledger's `due` index, and notifies the fallback topic of a late step.
"""

from copy import replace
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Self

from relay.channels.policy import Policy

if TYPE_CHECKING:
    from relay.incidents.callback import ResponseMeanings

# Recipients that a receipt names for the fallback topic's message; an entry of the ledger has to stay small.
MAX_RECIPIENTS = 10
# The vendors' APIs are asked so long before a step is late: the answer has time to be recorded.
ASKED_BEFORE_SECONDS = 45.0
# Questions before that, which a callback about a delivery occasions. A surge of such requests took xMatters down once
# (docs/vendors.md), so there are three for a critical at most, not counting those that xMatters did not answer.
EARLY_QUESTIONS = 1


class Missed(StrEnum):
    """Step on a critical's way to people that is late, or that failed.

    Attributes:
        PAGE_MISSING: xMatters accepted the signal, and made no page of it.
        PAGE_SUPPRESSED: The same, while xMatters' flood control suppressed pages.
        NOBODY_NOTIFIED: No device is known to have got the notification.
        NOBODY_ANSWERED: Nobody answered the page.
    """

    PAGE_MISSING = "page_missing"
    PAGE_SUPPRESSED = "page_suppressed"
    NOBODY_NOTIFIED = "nobody_notified"
    NOBODY_ANSWERED = "nobody_answered"


class Heard(NamedTuple):
    """Answer of xMatters' REST API about a page: if a device was notified, and who answered.

    `answers` are pairs of a person's name and the text of the response, in xMatters' order.
    """

    is_notified: bool
    answers: tuple[tuple[str, str], ...] = ()


class Answer(NamedTuple):
    """Sign that a person works on an incident in BigPanda: an assignment, or a comment.

    `by` is a text with BigPanda's id of the user; `at` is in epoch seconds.
    """

    by: str
    at: float


class Receipt(NamedTuple):
    """Receipt of an announced critical: proof that people know of it. Times are epoch seconds, 0 for never.

    Attributes:
        since: When the first signal of the critical was sent.
        is_open: True while a step is awaited, or while the fallback topic is still to be notified of `missed`.
        notified_at: When a device got the notification.
        answered_by: xMatters' name of the person, or a text with BigPanda's id of the user.
        missed: Step that failed or was late (`Missed`), also after the fallback topic was notified; empty if none was.
        told_at: When the fallback topic was notified of `missed`.
        questions: Number of the last question to the vendors' APIs, 0 for none: up to EARLY_QUESTIONS for a callback
            about a delivery, then one for each of the policy's time limits, the shortest first.
        recipients: The first MAX_RECIPIENTS recipients of the signal; empty if the workflow chooses them.
        others_at: When the policy's `unanswered_recipients` were signalled, or when a snooze made that needless.
    """

    since: float = 0.0
    is_open: bool = False
    notified_at: float = 0.0
    answered_at: float = 0.0
    answered_by: str = ""
    missed: str = ""
    told_at: float = 0.0
    questions: int = 0
    recipients: tuple[str, ...] = ()
    others_at: float = 0.0

    @classmethod
    def begun(cls, at: float, recipients: tuple[str, ...]) -> Self:
        return cls(at, is_open=True, recipients=recipients[:MAX_RECIPIENTS])

    def ended(self) -> "Receipt":
        """Return the receipt after the incident ended, eased or was snoozed: closed, so that no step is awaited.

        If xMatters made no page of the signal, it stays open: the fallback topic is still to be notified of that.
        """
        return replace(self, is_open=False, missed="") if self.is_open and not self.has_no_page else self

    def snoozed(self, at: float) -> "Receipt":
        """Return the receipt after a person snoozed the incident at `at` (epoch seconds).

        If the policy's `unanswered_recipients` were to be signalled next, they are not any more. Otherwise the receipt
        is closed as if the incident had ended (`ended`).
        """
        return replace(self, others_at=at) if self.awaits_others else self.ended()

    @property
    def has_no_page(self) -> bool:
        return self.missed in {Missed.PAGE_MISSING, Missed.PAGE_SUPPRESSED}

    def notified(self, at: float, policy: Policy) -> "Receipt":
        """Return the receipt after a device got the critical at `at`: open only if `policy` awaits an answer, too.

        A receipt that is closed, began after `at`, or has a `notified_at` already, stays as it is.
        """
        if not self.is_open or self.notified_at or at < self.since:
            return self
        return replace(self, notified_at=at, missed="", is_open=policy.answered_within_seconds > 0)

    def answered(self, by: str, at: float) -> "Receipt":
        """Return the receipt, closed by the answer of the person `by` at `at`.

        A receipt that has no critical, began after `at`, or was answered already, stays as it is.
        """
        if not self.since or at < self.since or self.answered_at:
            return self
        return replace(
            self, notified_at=self.notified_at or at, answered_at=at, answered_by=by, missed="", is_open=False
        )

    def missing(self, step: Missed, since: float) -> "Receipt":
        """Return the receipt after a signal of `since` made no page: the fallback topic is to be notified of `step`.

        It stays as it is if since then a person answered, the topic was notified or `unanswered_recipients` signalled.
        """
        if since <= max(self.answered_at, self.told_at, self.others_at):
            return self
        is_new = self.told_at or not self.since
        receipt = Receipt(since, recipients=self.recipients, others_at=self.others_at) if is_new else self
        return replace(receipt, is_open=True, missed=step)

    def after_dead_end(self, policy: Policy) -> "Receipt":
        """Return the receipt after xMatters said that it notifies nobody else: the next awaited step has failed.

        The receipt stays as it is if `policy` awaits no step, or if one is missed already.
        """
        if self.missed or not self.awaits_a_step(policy):
            return self
        return replace(self, missed=Missed.NOBODY_ANSWERED if self.notified_at else Missed.NOBODY_NOTIFIED)

    def fallback_notified(self, step: str, at: float) -> "Receipt":
        """Return the receipt, closed, after the fallback topic was notified of `step` at `at`.

        If the receipt was closed meanwhile, only `told_at` changes: nobody is told of the same critical again.
        """
        return replace(self, is_open=False, missed=step if self.is_open else self.missed, told_at=at)

    def awaits_a_step(self, policy: Policy) -> bool:
        """True if the receipt is open, and either awaits a step of `policy` or has a missed step to report."""
        return self.is_open and (bool(self.missed) or self._awaits_device(policy) or policy.answered_within_seconds > 0)

    @property
    def awaits_answer(self) -> bool:
        """True if a person's answer still counts: the receipt is open, or a step was missed and nobody answered."""
        return self.is_open or bool(self.missed)

    @property
    def awaits_others(self) -> bool:
        """True if the fallback topic was notified of a missed step, and `unanswered_recipients` got no signal yet."""
        return bool(self.missed) and self.told_at > 0 and not self.others_at

    def missed_step(self, policy: Policy, now: float) -> str:
        """Return a critical's step (`Missed`) of which the fallback topic must be notified at `now`; empty for none."""
        if not self.is_open or self.missed:
            return self.missed if self.is_open else ""
        if self._awaits_device(policy) and self._is_late(policy.notified_within_seconds, policy, now):
            return Missed.NOBODY_NOTIFIED
        return Missed.NOBODY_ANSWERED if self._is_late(policy.answered_within_seconds, policy, now) else ""

    def _is_late(self, limit: float, policy: Policy, now: float) -> bool:
        return limit > 0 and now >= self._asked_at(limit, policy) + ASKED_BEFORE_SECONDS

    def question_at(self, policy: Policy) -> float | None:
        """Return when to ask the vendors about the next awaited step, just before it is late; None for no question."""
        if not self.is_open or self.missed or not (left := self._questions(policy)):
            return None
        return self._asked_at(left[0][0], policy)

    def _asked_at(self, limit: float, policy: Policy) -> float:
        """Return when to ask about a step with this time limit. In a pause nobody is told: it is asked at its end."""
        return policy.after_pauses(self.since + limit - ASKED_BEFORE_SECONDS)

    def _questions(self, policy: Policy) -> list[tuple[float, int]]:
        """Return the time limit and the number of each question that is left, the next one first."""
        limits = {policy.notified_within_seconds, policy.answered_within_seconds} - {0.0}
        awaited = {policy.answered_within_seconds, *([policy.notified_within_seconds] if not self.notified_at else [])}
        numbered = [(limit, number) for number, limit in enumerate(sorted(limits), EARLY_QUESTIONS + 1)]
        return [(limit, number) for limit, number in numbered if limit in awaited and number > self.questions]

    def _awaits_device(self, policy: Policy) -> bool:
        return not self.notified_at and policy.notified_within_seconds > 0

    def asking(self, policy: Policy, *, is_early: bool = False) -> "Receipt":
        """Return the receipt with a question to the vendors counted; as it is if no question is left.

        `is_early` is True for the question that a callback about a delivery causes, False for one about the next step.
        """
        left = [number for _, number in self._questions(policy)]
        number = EARLY_QUESTIONS if is_early else next(iter(left), self.questions)
        return replace(self, questions=max(self.questions, number))

    def heard(self, heard: Heard, policy: Policy, responses: "ResponseMeanings", now: float) -> "Receipt":
        """Return the receipt after xMatters' API answered `heard` at `now` (epoch seconds).

        A text that escalates, by `responses`, is no answer, but proves that a device was notified.
        """
        for name, text in heard.answers:
            if text.strip().lower() not in responses.escalate:
                return self.answered(name, now)
        return self.notified(now, policy) if heard.is_notified or heard.answers else self

    @property
    def may_be_confirmed(self) -> bool:
        """True if a callback about a delivery may cause an early question: none was asked, and no device is known."""
        return self.is_open and not self.notified_at and self.questions < EARLY_QUESTIONS

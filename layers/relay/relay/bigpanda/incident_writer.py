"""Writes of one callback into its BigPanda incident: assignment, resolve or snooze, and comment.

`bigpanda.callback_writeback` decides if a callback is written, and ensures that a callback is written only once.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from relay.bigpanda.client import ACTIVITY_PAGES, BigPanda, Incident, RateLimit
from relay.bigpanda.comment import Comment
from relay.channels.channel import BigPandaAccess
from relay.deadline import Clock, Deadline
from relay.failures import BadAnswer, Reason
from relay.incidents.callback import Callback, Deed, ResponseAction, ResponseMeanings

MINUTE_SECONDS = 60.0
# BigPanda's answer to the resolve of an incident that is over, and to the snooze of one that is over or snoozed.
CONFLICT = 409
NOT_FOUND = 404
_DONE = {Deed.RESOLVE: "resolved", Deed.SNOOZE: "snoozed"}
_CONFLICTS = {Deed.RESOLVE: "it is over", Deed.SNOOZE: "it is over or snoozed"}


class CallbackToWrite(NamedTuple):
    """A callback to write into BigPanda.

    Attributes:
        came: Arrival of the callback (epoch seconds).
        not_assigned: Returns in words why the incident must not be assigned to its acknowledger, such as a later
            acknowledgement; empty if it may be. Raises LedgerError.
        outdated: Returns in words why the callback must not resolve or snooze the incident, such as a change after the
            page; empty if it may. Raises LedgerError.
        is_over: True if the incident is over in all of its ledger entries.
    """

    callback: Callback
    incident: Incident
    access: BigPandaAccess
    responses: ResponseMeanings
    is_verified: bool
    came: float
    not_assigned: Callable[[], str]
    outdated: Callable[[], str]
    is_over: bool


@dataclass(frozen=True)
class IncidentWriter:
    """Writes xMatters' callbacks into BigPanda's incidents: the comment, the assignment, a resolve or snooze."""

    bigpanda: BigPanda
    rate_limit: RateLimit
    clock: Clock

    def release(self, access: BigPandaAccess, incident_id: str, event: str, deadline: Deadline) -> None:
        """Report an incident's first share to BigPanda, which then sends updates. Raises SendError and LedgerError.

        `event` is BigPanda's type of the event that caused the share.
        """
        self.rate_limit.wait(access, "callback")
        self.bigpanda.release(access, incident_id, event, deadline)

    def write(
        self,
        to_write: CallbackToWrite,
        comment: Comment,
        deadline: Deadline,
        *,
        may_be_written: bool,
        is_assigned: bool,
        note_assigned: Callable[[], object],
    ) -> None:
        """Assign, resolve or snooze the incident, as the channel's settings say, and write the comment.

        With `may_be_written` (an earlier attempt may have written the comment), nothing is done if the incident has the
        comment. With `is_assigned` (an earlier attempt assigned the incident), it is not assigned again, since another
        person may have taken it over. `note_assigned` is called after an assignment. Raises SendError and LedgerError.
        """
        action = to_write.access.action_of(to_write.callback)
        changes = action is not None and action.changes_incident and to_write.is_verified
        try:
            # Also before an action is repeated: the incident may have changed since the attempt that wrote the comment.
            if may_be_written and self._is_written(to_write, comment, deadline):
                return
            assigned = "The incident was assigned to them." if is_assigned else ""
            if not is_assigned and _is_to_assign(to_write):
                assigned = self._assign(to_write, note_assigned, deadline)
            undone = (
                self._resolve_or_snooze(to_write, action, comment.text(assigned), deadline)
                if action and changes
                else None
            )
            # BigPanda keeps the text of the comment with an action.
            if undone != "":
                text = comment.text(f"{assigned} {undone or ''}".strip())
                self.rate_limit.wait(to_write.access, "comments")
                self.bigpanda.comment(to_write.access, to_write.incident, text, deadline)
        except BadAnswer as error:
            # A 404 for an incident that is over: BigPanda may not know it any more, and nothing is left to change.
            if not (changes and to_write.is_over and error.http_status == NOT_FOUND):
                raise

    def _is_written(self, to_write: CallbackToWrite, comment: Comment, deadline: Deadline) -> bool:
        self.rate_limit.wait(to_write.access, "activities", calls=ACTIVITY_PAGES)
        return self.bigpanda.has_comment(to_write.access, to_write.incident, comment.is_contained_in, deadline)

    def _resolve_or_snooze(
        self, to_write: CallbackToWrite, action: ResponseAction, text: str, deadline: Deadline
    ) -> str:
        """Resolve or snooze the incident, and return "". If nothing is changed, return a sentence with the reason.

        The minutes of a snooze count from the arrival of the callback. Raises SendError, except for BigPanda's 409.
        """
        until = int(to_write.came + action.minutes * MINUTE_SECONDS)
        is_snooze = action.deed == Deed.SNOOZE
        # After the wait, which may take seconds.
        self.rate_limit.wait(to_write.access, action.deed)
        if outdated := to_write.outdated():
            return f"(Not {_DONE[action.deed]}: {outdated}.)"
        if is_snooze and until <= self.clock():
            return f"(Not {_DONE[action.deed]}: that time is over.)"
        try:
            if is_snooze:
                self.bigpanda.snooze(to_write.access, to_write.incident, until, text, deadline)
            else:
                self.bigpanda.resolve(to_write.access, to_write.incident, text, deadline)
        except BadAnswer as error:
            if error.http_status == CONFLICT:
                # An earlier attempt, whose answer was lost, may have done it.
                return f"(BigPanda answered 409: {_CONFLICTS[action.deed]}.)"
            error.detail = f"BigPanda did not {action.deed} the incident: {error.detail}"
            raise
        return ""

    def _assign(self, to_write: CallbackToWrite, note_assigned: Callable[[], object], deadline: Deadline) -> str:
        """Assign the incident to the acknowledger; return a sentence about the result or refusal, for the comment."""
        try:
            self.rate_limit.wait(to_write.access, "users")
            user_id = self.bigpanda.user_id(to_write.access, _names(to_write.callback, to_write.access), deadline)
            if user_id is None:
                return "(Not assigned: BigPanda has no user of that name.)"
            self.rate_limit.wait(to_write.access, "assignment")
            if why := to_write.not_assigned():
                return f"(Not assigned: {why}.)"
            self.bigpanda.assign(to_write.access, to_write.incident, user_id, deadline)
        except BadAnswer as error:
            if error.reason not in {Reason.REFUSED, Reason.CREDENTIALS}:
                raise
            return f"(Not assigned: BigPanda answered {error.http_status}.)"
        note_assigned()
        return "The incident is assigned to them."


def _is_to_assign(to_write: CallbackToWrite) -> bool:
    is_wanted = to_write.is_verified and to_write.access.assign
    return is_wanted and to_write.responses.is_acknowledgement(to_write.callback)


def _names(callback: Callback, access: BigPandaAccess) -> Iterable[str]:
    at_home = f"{callback.target}@{access.email_domain}" if callback.target and access.email_domain else None
    return dict.fromkeys(name for name in (callback.email, callback.target, at_home) if name)

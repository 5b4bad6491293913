"""Text of the BigPanda comment for a callback. Pure code."""

import html
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from relay.foreign_text import identifier, quoted
from relay.incidents.callback import Callback, Kind, ResponseMeanings

# No limit of a comment is documented. BigPanda's limit for the comment of a resolve is 1,000 characters.
MAX_COMMENT = 1000
TAG_LENGTH = 8
# Longest quotation of a name, and of a reason.
MAX_NAME = 80
MAX_REASON = 300
UNVERIFIED = "Unverified, since xMatters did not confirm it:"
# Room for the sentences about the assignment and the action.
MAX_ASSIGNED = 100
# The text of `tag_of`, for any callback.
_MARK = re.compile(rf"\[relay [0-9A-Za-z-]{{1,{TAG_LENGTH}}}\]")
_STATUSES = {"active", "suspended", "terminated", "terminated_external"}


class Comment(NamedTuple):
    """Parts of the BigPanda comment about a callback. Text from outside the relay is in quotes.

    Attributes:
        action: Sentence that says what happened.
        note: Quotation of the person's own text; empty if there is none.
        tag: Last part of the comment, by which a later attempt recognises it.
        doubt: First part of the comment about an unverified callback; empty if verified.
    """

    action: str
    note: str
    tag: str
    doubt: str = ""

    def text(self, assigned: str) -> str:
        """Return the full text. `assigned` is a sentence about what was done with the incident; empty for none."""
        return " ".join(filter(None, (self.doubt, self.action, assigned, self.note, self.tag)))

    def is_contained_in(self, found: str) -> bool:
        """True if a text from BigPanda (`found`) has this comment: the action, and after it the note and the tag.

        The tag alone proves nothing, since another user can write it into a comment.
        """
        action, end, line = map(_spaced, (self.action, f"{self.note} {self.tag}", found))
        start = line.find(action)
        return start >= 0 and line.find(end, start + len(action)) >= 0


def tag_of(delivery_id: str) -> str:
    """Return the tag that ends a callback's comment, such as `[relay 1a2b3c4d]`. No quoted text can contain it."""
    return f"[relay {delivery_id[:TAG_LENGTH]}]"


def has_mark(activity: Mapping[str, Any]) -> bool:
    """True if an activity of a BigPanda incident is a comment of the relay: its text has a tag (see `tag_of`)."""
    return _MARK.search(html.unescape(json.dumps(activity))) is not None


def comment_of(callback: Callback, responses: ResponseMeanings, tag: str, *, is_verified: bool = True) -> Comment:
    """Return the comment for a callback. Without `is_verified`, it says that xMatters did not confirm the callback."""
    action, doubt = _action(callback, responses), "" if is_verified else UNVERIFIED
    around = " ".join(filter(None, (doubt, action, "a" * MAX_ASSIGNED, "Note: ", tag)))
    room = MAX_COMMENT - len(around)
    return Comment(action, f"Note: {quoted(callback.note, room)}" if callback.note else "", tag, doubt)


def _spaced(text: str) -> str:
    # Unescaped, since it is not documented if BigPanda returns comments as HTML.
    return " ".join(html.unescape(text).split())


def _action(callback: Callback, responses: ResponseMeanings) -> str:
    number = callback.page_number or callback.page_id
    page = f"xMatters page {identifier(number) if number else '(no number)'}"
    device = quoted(callback.device, MAX_NAME) if callback.device else ""
    group = quoted(callback.group, MAX_NAME) if callback.group else ""
    because = f": {quoted(callback.reason, MAX_REASON)}" if callback.reason else ""
    match callback.kind:
        case Kind.RESPONSE:
            return f"{_who(callback)} {_verb(callback, responses)} {page}{f' from {device}' if device else ''}."
        case Kind.ANNOTATION:
            return f"{_who(callback)} commented on {page}."
        case Kind.DELIVERY:
            on_device = f" on {device}" if device else ""
            return f"{page} did not reach {_who(callback)}{on_device} ({identifier(callback.text or 'unknown')})."
        case Kind.ESCALATION:
            return f"{page} was escalated{f' in {group}' if group else ''}{because}."
        case Kind.FAILURE:
            return f"{page} could not notify {group or _who(callback)}{because}."
        case Kind.STATUS:
            by = f" by {_who(callback)}" if callback.target or callback.name else ""
            return f"{page} is {_status(callback.text)}{by}."


def _verb(callback: Callback, responses: ResponseMeanings) -> str:
    if responses.is_acknowledgement(callback):
        return "acknowledged"
    if responses.is_escalation(callback):
        return "escalated"
    return f"answered {quoted(callback.text, MAX_NAME)} to" if callback.text else "answered"


def _status(text: str | None) -> str:
    word = (text or "changed").lower()
    return word.replace("_", " ") if word in {*_STATUSES, "changed"} else quoted(word, MAX_NAME)


def _who(callback: Callback) -> str:
    name, target = callback.name and quoted(callback.name, MAX_NAME), callback.target and identifier(callback.target)
    if name and target:
        return f"{name} ({target})"
    return name or target or "Somebody"

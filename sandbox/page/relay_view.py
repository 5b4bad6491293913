"""The relay as a person sees it: shares with their reasons, owed states, dead letters, receipts, calls to phones.

It is read from the local cloud: log lines of the functions, the ledger's table and its `due` index, and the queues.
The queues are read through MiniStack's own listing of messages, which neither receives nor hides a message. Amazon SQS
has no such call.

A receipt says how far it is proven that people know of a critical, as steps. The relay's `relay.ledger.receipt` and
`relay.ledger.accepted_signal` name the members of an entry that are lists.
"""

import json
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import requests
from botocore.exceptions import BotoCoreError, ClientError

from sandbox.cloud.deployment import Deployment, Find
from sandbox.page import sentences

# Shares that the page shows at most, newest first.
MAX_SHARES = 100
MAX_OWED = 100
MAX_DEAD_LETTERS = 100
# Calls and texts of the last resort.
MAX_CALLS = 4
# Log lines can arrive a little out of order, so each read begins this long before the newest line.
OVERLAP_MILLISECONDS = 3000
# Lines of the last hour are shown when a page connects first.
FIRST_MILLISECONDS = 3_600_000
MAX_LOG_PAGES = 20
_SHOWN = frozenset({"share", "job", "callback"})
# Left out of the page: chores that woke too early or had nothing to do, and callbacks about deliveries and states. Most
# deliveries are a proof for the receipt, and nothing is written into BigPanda.
_SILENT_CHORES = frozenset((kind, outcome) for kind in ("followup", "question") for outcome in ("queued", "duplicate"))
_SILENT_CHORES |= {("writeback", "unchanged")}
_SILENT_CALLBACKS = frozenset({("delivery", "unchanged"), ("delivery", "queued"), ("status", "unchanged")})
# The step that failed, by the relay's word for it.
_MISSED: Mapping[str, str] = {
    "page_missing": "page",
    "page_suppressed": "page",
    "nobody_notified": "notified",
    "nobody_answered": "answered",
}
_WORDS: Mapping[str, str] = {
    "page": "no page was made",
    "notified": "nobody was notified",
    "answered": "nobody answered",
}
# The view without a local cloud.
NOTHING: dict[str, Any] = {
    "is_there": False,
    "shares": [],
    "owed": [],
    "dead_letters": [],
    "dead_letters_total": 0,
    "receipts": [],
    "calls": [],
}


class RelayView:
    """Reader of the relay's data for the sandbox's web page. It keeps the log lines, and asks for new ones only."""

    def __init__(self, find: Find) -> None:
        self._find = find
        self._lock = threading.Lock()
        self._deployment: Deployment | None = None
        self._log = _Log()

    def read(self) -> dict[str, Any]:
        """Return the shares, owed states, dead letters, receipts and calls as JSON types.

        If there is no local cloud, or it fails, no exception is raised: the result's member `problem` says so.
        """
        with self._lock:
            deployment = self._find()
            if deployment is not self._deployment:
                self._deployment, self._log = deployment, _Log()
            if deployment is None:
                return NOTHING | {"problem": "The relay is not deployed: there is no local cloud yet."}
            try:
                return self._read(deployment)
            except (BotoCoreError, ClientError, requests.RequestException, ValueError, KeyError, TypeError):
                return NOTHING | {"shares": self._log.shares(), "problem": "The local cloud does not answer."}

    def _read(self, deployment: Deployment) -> dict[str, Any]:
        self._log.read(deployment)
        shares = self._log.shares()
        queues = _messages(deployment)
        waiting = queues.get(_name(deployment.outputs["RetryQueueUrl"]), [])
        dead = queues.get(_name(deployment.outputs["DeadLetterQueueUrl"]), [])
        return {
            "is_there": True,
            "shares": shares,
            "owed": list(_owed(deployment, waiting, shares)),
            # The newest first: a new one must be seen although the list is folded.
            "dead_letters": [_dead_letter(each) for each in dead[: -MAX_DEAD_LETTERS - 1 : -1]],
            "dead_letters_total": len(dead),
            "receipts": list(_receipts(deployment)),
            "calls": deployment.asked("/_sandbox/messages")[: -MAX_CALLS - 1 : -1],
            "problem": None,
        }


class _Log:
    """Log lines about shares, retries and answers, read once each.

    Attributes:
        groups: Names of the functions' log groups; a group appears with the first call of its function.
        since: Time of the newest line that was read (epoch milliseconds); 0 before the first read.
    """

    def __init__(self) -> None:
        self.groups: list[str] = []
        self.since = 0
        # By the text of the line, which holds ids and a timestamp: a line that is read twice is kept once.
        self._lines: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def read(self, deployment: Deployment) -> None:
        """Read the lines that are new since the last read."""
        newest = self.since
        start = self.since - OVERLAP_MILLISECONDS if self.since else _now_milliseconds() - FIRST_MILLISECONDS
        for group in self._groups(deployment):
            for moment, text in _lines(deployment, group, start):
                newest = max(newest, moment)
                self._keep(text)
        self.since = newest

    def shares(self) -> list[dict[str, Any]]:
        """Return the newest log lines about shares, jobs and callbacks, at most MAX_SHARES, for the web page."""
        found = sorted(self._lines.values(), key=lambda each: str(each["at"]), reverse=True)
        return found[:MAX_SHARES]

    def _groups(self, deployment: Deployment) -> list[str]:
        prefix = f"/aws/lambda/{deployment.stack_name}-"
        found = deployment.client("logs", is_quick=True).describe_log_groups(logGroupNamePrefix=prefix)["logGroups"]
        # A log group keeps its name, so a group that a busy emulator leaves out of the list is still read.
        self.groups = sorted({*self.groups, *(each["logGroupName"] for each in found)})
        return self.groups

    def _keep(self, text: str) -> None:
        line = _parsed(text)
        if line is None or text in self._lines:
            return
        self._lines[text] = _share(line)
        while len(self._lines) > 5 * MAX_SHARES:
            self._lines.popitem(last=False)


def _lines(deployment: Deployment, group: str, start: int) -> Iterator[tuple[int, str]]:
    further: dict[str, Any] = {}
    for _ in range(MAX_LOG_PAGES):
        page = deployment.client("logs", is_quick=True).filter_log_events(
            logGroupName=group, startTime=max(0, start), limit=1000, **further
        )
        for event in page["events"]:
            yield event["timestamp"], event["message"].strip()
        if not page.get("nextToken"):
            return
        further = {"nextToken": page["nextToken"]}


def _parsed(text: str) -> dict[str, Any] | None:
    """Parse a log line; return None if the sandbox's web page does not show such lines."""
    if not text.startswith("{"):
        return None
    try:
        line = json.loads(text)
    except ValueError:
        return None
    if not isinstance(line, dict) or line.get("message") not in _SHOWN or "outcome" not in line:
        return None
    if line["message"] == "job":
        is_silent = (line.get("kind"), line["outcome"]) in _SILENT_CHORES
    else:
        is_silent = line["message"] == "callback" and (line.get("transition"), line["outcome"]) in _SILENT_CALLBACKS
    return None if is_silent else line


def _share(line: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a log line to an entry of the web page's list `shares`; its `kind` is share, retry, chore or answer."""
    kinds = {"share": "share", "callback": "answer"}
    kind = kinds.get(str(line["message"])) or ("retry" if line.get("kind", "signal") == "signal" else "chore")
    return {
        "at": line.get("timestamp"),
        "kind": kind,
        "incident_id": line.get("incident_id"),
        "channel": line.get("channel"),
        "outcome": "dead_lettered" if line.get("queue") == "dead_letter" else line.get("outcome"),
        "transition": line.get("transition"),
        "reason": line.get("reason"),
        "why": sentences.why(line),
        "delivery_id": line.get("delivery_id"),
    }


def _messages(deployment: Deployment) -> dict[str, list[dict[str, Any]]]:
    """Return all messages of all queues by the queue's name, the oldest first, without receiving any of them."""
    accounts = deployment.asked("/_ministack/sqs/messages")["messages"]
    return {
        _name(url): sorted(messages, key=lambda each: float(each.get("SentTimestamp") or 0))
        for regions in accounts.values()
        for queues in regions.values()
        for url, messages in queues.items()
    }


def _name(queue_url: str) -> str:
    return queue_url.rpartition("/")[2]


def _owed(
    deployment: Deployment, waiting: list[dict[str, Any]], shares: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield the states that are owed: rows of the ledger's `due` index with the times of their messages."""
    rows = deployment.client("dynamodb", is_quick=True).scan(
        TableName=deployment.outputs["LedgerTableName"], IndexName="due", Limit=MAX_OWED
    )
    jobs = [job for job in map(_job, waiting) if job.get("kind") == "signal"]
    for row in sorted(rows["Items"], key=lambda each: float(each["due_at"]["N"])):
        entry = json.loads(row["text"]["S"])
        if entry.get("owed_since") is None or entry.get("dead_lettered_at"):
            # A dead letter is listed as such; the row is there so that the fallback topic is notified.
            continue
        _, channel, _, incident_id = row["pk"]["S"].split("/", 3)
        mine = [each for each in jobs if (each["channel"], each["incident_id"]) == (channel, incident_id)]
        last = mine[-1] if mine else {}
        word = str(entry.get("reason") or last.get("reason") or "")
        yield {
            "incident_id": incident_id,
            "channel": channel,
            "transition": last.get("transition") or _last_transition(incident_id, shares),
            "is_critical": row["due"]["S"].startswith("critical#"),
            "since": _iso(float(entry["owed_since"])),
            "next_attempt": min((each["visible_at"] for each in mine), default=None),
            "reason": sentences.reason({"reason": word}) or None,
        }


def _job(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return those members of a job that the web page shows; an empty object if the queue's message is no job."""
    try:
        body = json.loads(str(message["Body"]))
        job = {name: body.get(name) for name in ("kind", "channel", "incident_id", "dead_lettered_at")}
        job |= {name: body["stamps"].get(name) for name in ("status", "transition", "reason", "http_status")}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    # MiniStack gives whole seconds.
    return job | {"visible_at": _iso(float(message.get("VisibleAt") or 0))}


def _last_transition(incident_id: str, shares: list[dict[str, Any]]) -> str | None:
    found = (each["transition"] for each in shares if each["incident_id"] == incident_id and each["transition"])
    return next(found, None)


def _dead_letter(message: Mapping[str, Any]) -> dict[str, Any]:
    job = _job(message)
    clause = sentences.reason(job)
    return {
        "id": message["MessageId"],
        "kind": job.get("kind"),
        "incident_id": job.get("incident_id"),
        "channel": job.get("channel"),
        "status": job.get("status"),
        "reason": clause or "the message is no job of the relay",
        "since": job.get("dead_lettered_at") or _iso(float(message.get("SentTimestamp") or 0)),
    }


def _receipts(deployment: Deployment) -> Iterator[dict[str, Any]]:
    """Yield the receipt of each incident that has one: its steps, and the words for a step that was missed."""
    found = deployment.client("dynamodb", is_quick=True).scan(
        TableName=deployment.outputs["LedgerTableName"],
        FilterExpression="begins_with(pk, :entries)",
        ExpressionAttributeValues={":entries": {"S": "incident/"}},
    )
    for item in found["Items"]:
        entry = json.loads(item["text"]["S"])
        if entry.get("receipt"):
            _, channel, _, incident_id = item["pk"]["S"].split("/", 3)
            yield {"incident_id": incident_id, "channel": channel, **receipt(entry)}


def receipt(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the receipt in an incident's entry: `steps`, each with `name`, `state`, `at` and `by`; and `unheard`.

    The state of a step is done, awaited, missed or open: it is not proven, and no longer awaited. `unheard` says of
    what the fallback topic was notified at `told_at`, or is notified next; empty if nothing was missed.
    """
    since, is_open, notified_at, answered_at, answered_by, missed, told_at = entry["receipt"][:7]
    has_page = any(pages and at >= since for _, at, _, pages, *_ in entry.get("accepted", ()))
    failed = _MISSED.get(missed, "")

    def step(name: str, at: float, by: str = "", *, is_done: bool) -> dict[str, Any]:
        state = "done" if is_done else "missed" if name == failed else "awaited" if is_open else "open"
        return {"name": name, "state": state, "at": _iso_or_none(at), "by": by}

    steps: Sequence[dict[str, Any]] = (
        step("signal", since, is_done=True),
        step("page", 0, is_done=bool(has_page or notified_at)),
        step("notified", notified_at, is_done=bool(notified_at)),
        step("answered", answered_at, answered_by, is_done=bool(answered_at)),
    )
    return {"steps": steps, "unheard": _WORDS.get(failed, ""), "told_at": _iso_or_none(told_at)}


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _iso_or_none(seconds: float) -> str | None:
    return _iso(seconds) if seconds else None


def _now_milliseconds() -> int:
    return int(datetime.now(UTC).timestamp() * 1000)

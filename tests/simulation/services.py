"""Simulated services with the semantics of the real ones: SQS, DynamoDB, Secrets Manager, SNS."""

import base64
import json
import math
import re
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from random import Random
from typing import Any, NamedTuple

from botocore.exceptions import ClientError, ConnectTimeoutError

from relay.delivery.delivery import STORED_SECONDS
from relay.failures import ChannelUnreadable, UnknownChannel
from relay.incidents.share import CANARY_PREFIX
from relay.jobs.queue import Queue, read_envelope
from relay.ledger.credentials import MARKS_KEY
from relay.ledger.debt import FALLBACK_DESCRIPTION
from relay.ledger.entry import Entry
from relay.ledger.table import Text, decoded
from tests.fake_dynamodb import FakeDynamoDb, condition_failed, size
from tests.simulation.cloud import USUAL, Cloud, as_read_by_newer, newer_document, newer_envelope
from tests.simulation.phases import fault_of
from tests.simulation.weather import Weather
from tests.simulation.world import Process, World

DELIVERED_TWICE = 0.02
LONGEST_DELAY = 900
# The longest run of a webhook.
SENDING_SECONDS = 16.0
UNIT_BYTES = 1024
# Duration of the throttling of a key that exceeded its ceiling.
THROTTLED_SECONDS = 3.0
# Items that expire later than this stay until the end of every schedule.
HORIZON_SECONDS = 40_000.0
# The phones of the last resort, of which one can never be called.
PHONE, DEAF_PHONE = "+15550100", "+15550101"


def _entry(item: Mapping[str, Any]) -> Entry:
    others = {name: float(value["N"]) if "N" in value else value["S"] for name, value in item.items()}
    return decoded(Text(item["text"]["S"], int(item["sequence"]["N"]), others))


def _refused(operation: str) -> ClientError:
    return ClientError({"Error": {"Code": "InternalFailure", "Message": "no"}}, operation)


def _lost() -> ConnectTimeoutError:
    return ConnectTimeoutError(endpoint_url="https://aws")


@dataclass
class Edge:
    """Delays and faults of one service; a process may die before and after each call.

    Attributes:
        quickest: shortest delay in each direction, in seconds.
        slowest: longest delay in each direction, in seconds.
    """

    world: World
    weather: Weather
    service: str
    quickest: float = 0.001
    slowest: float = 0.02

    def begin(self) -> str | None:
        """Send a request; return its fault, or None."""
        self.reach()
        return self.fault()

    def reach(self) -> None:
        """Let a request travel to the service. The calling process may die before the request arrives."""
        self.weather.strike()
        self.world.wait(self.quickest + (self.slowest - self.quickest) * self.world.random.random())
        self.weather.strike()

    def fault(self) -> str | None:
        """Return the fault of a request that has arrived, or None."""
        fault = self.weather.fault(self.service)
        if fault == "slow":
            self.world.wait(self.slowness())
        return fault

    def has_newer(self, cloud: Cloud) -> bool:
        """Return True if the running process is of a newer version, since it began before the roll-back.

        If both versions work side by side, about every other process before it is.
        """
        process = self.world.running()
        started_at, name = (process.started_at, process.name) if process else (self.world.now, "")
        if not cloud.rolled_back_at or started_at >= self.world.began + cloud.rolled_back_at:
            return False
        return not cloud.has_both or zlib.crc32(name.encode()) % 2 == 0

    def slowness(self) -> float:
        """Return the seconds that a slow service takes for a request."""
        return self.world.random.uniform(0.5, 4)

    def end(self) -> None:
        """Let the service's answer travel back. The calling process may die before it gets the answer."""
        self.reach()


@dataclass
class Message:
    """A message on a queue. Times are in epoch seconds.

    Attributes:
        receipt: handle of the latest receive; empty before the first.
    """

    name: str
    body: str
    visible_at: float
    sent_at: float
    receives: int = 0
    receipt: str = ""

    @cached_property
    def job(self) -> dict[str, Any]:
        """Return the envelope as plain data, with its stamps beside its members."""
        return _job(self.body)

    @property
    def delivery_id(self) -> str:
        """Return the job's delivery id."""
        return read_envelope(as_read_by_newer(self.body)).delivery_id

    @cached_property
    def incident(self) -> dict[str, Any] | None:
        """Return the incident in a signal's envelope, as BigPanda sent it, with its entry's name and the schema."""
        return _incident(self.body)


@lru_cache(maxsize=1024)
def _job(envelope: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(envelope)
    return {**found["stamps"], **found}


def _unpacked(envelope: str) -> dict[str, Any]:
    """Return an envelope as plain data. What a compressed body looks like depends on the machine's zlib."""
    job: dict[str, Any] = json.loads(envelope)
    return {**job, "body": zlib.decompress(base64.b64decode(job["body"]))}


# The judge asks for the same envelopes after each process.
@lru_cache(maxsize=4096)
def _incident(envelope: str) -> dict[str, Any] | None:
    job = _job(envelope)
    return {"schema": job["schema"]} | _shared(job["body"]) if job["kind"] == "signal" else None


# A state's messages have the same body.
@lru_cache(maxsize=1024)
def _shared(body: str) -> dict[str, Any]:
    incident: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(body)))["incident"]
    return {"entry": incident["id"]} | incident


# The judge asks for the same entries after each process.
@lru_cache(maxsize=1024)
def _document(text: str) -> Mapping[str, Any]:
    document: Mapping[str, Any] = json.loads(text)
    return document


@dataclass
class SimulatedSqs:
    """One SQS queue, with a client's methods: delays, visibility, receive counts, redrive, at-least-once delivery.

    Attributes:
        woken: called with the time at which a sent message becomes visible.
        found: called with the incident in a signal that a reconcile run sends.
        vanishing: fraction of messages that vanish before they are received.
        most: the most messages that were on the queue at once.
        doubled: number of messages that were delivered again after they were deleted.
        swept: the sweeper's messages in order: the run, the job's channel, and True if its state is critical.
    """

    world: World
    edge: Edge
    label: str
    visibility: float
    redrive: "SimulatedSqs | None" = None
    max_receives: int = 0
    woken: Callable[[float], None] = lambda _: None
    found: Callable[[Mapping[str, Any]], None] = lambda _: None
    cloud: Cloud = USUAL
    vanishing: float = 0.0
    luck: Random = field(default_factory=Random)
    vanished: list[tuple[float, Message]] = field(default_factory=list)
    most: int = 0
    doubled: int = 0
    messages: dict[str, Message] = field(default_factory=dict)
    wrong_delays: list[int] = field(default_factory=list)
    swept: list[tuple[str, str, bool]] = field(default_factory=list)
    dropped: list[Message] = field(default_factory=list)
    _count: int = 0

    def send_message(self, *, QueueUrl: str, MessageBody: str, DelaySeconds: int, **_: Any) -> dict[str, str]:
        if not 0 <= DelaySeconds <= LONGEST_DELAY:
            self.wrong_delays.append(DelaySeconds)
            raise _refused("SendMessage")
        # Noted first, since an abandoned call may end after its process.
        if any(map(self.edge.weather.is_bad, (self.edge.service, self.label))):
            self.world.process().troubles.add("queue")
        fault = self.edge.begin() or self.edge.weather.fault(self.label)
        # A spell may begin while the message travels.
        if fault:
            self.world.process().troubles.add("queue")
        if fault == "refuses":
            self.world.say(f"{self.label}: refuses a message")
            raise _refused("SendMessage")
        process = self.world.process()
        process.sends[self.label] += 1
        if process.name.startswith("sweeper"):
            job = json.loads(MessageBody)
            if not job["incident_id"].startswith(CANARY_PREFIX):
                self.swept.append((process.name, job["channel"], job["stamps"]["status"] == "critical"))
        name = self.put(MessageBody, DelaySeconds)
        if process.works == "reconcile" and (incident := _incident(MessageBody)):
            self.found(incident)
        self.edge.end()
        if fault == "answer lost":
            self.world.say(f"{self.label}: takes a message, and its answer is lost")
            raise _lost()
        return {"MessageId": name}

    def put(self, body: str, delay: float = 0.0) -> str:
        """Add a message, whoever sent it."""
        if self.edge.has_newer(self.cloud):
            body = newer_envelope(body, self.cloud.newer_schema)
        self._count += 1
        name = f"{self.label}-{self._count}"
        self.world.note(name, delay, _unpacked(body))
        self.messages[name] = Message(name, body, self.world.now + delay, self.world.now)
        self.most = max(self.most, len(self.messages))
        self.woken(self.world.now + delay)
        if self.vanishing and self.luck.random() < self.vanishing:
            # Not before its sender ends: until then there is no row, and a running sender needs no message.
            after = max(delay * self.luck.random(), min(delay, SENDING_SECONDS))
            self.world.at(self.world.now + after, lambda: self._lose(name))
        return name

    def _lose(self, name: str) -> None:
        """Remove a message without a trace: a purge, the end of its retention, or a chain that AWS stopped."""
        message = self.messages.get(name)
        if message and not message.receives:
            self.world.say(f"{self.label}: {name} vanishes")
            self.vanished.append((self.world.now, self.messages.pop(name)))

    def receive(self, most: int) -> list[Message]:
        """Receive messages for the visibility timeout; those received too often go to the dead-letter queue."""
        taken: list[Message] = []
        waiting = list(self.messages.values())
        self.world.random.shuffle(waiting)
        for message in waiting:
            if len(taken) == most or message.visible_at > self.world.now:
                continue
            if self.redrive and message.receives >= self.max_receives:
                self.world.say(f"{self.label}: {message.name} was received too often, and is moved")
                self.redrive.put(self.messages.pop(message.name).body)
                continue
            message.receives += 1
            message.visible_at = self.world.now + self.visibility
            message.receipt = f"{message.name}/{message.receives}"
            taken.append(message)
            self.woken(message.visible_at)
        return taken

    def delete(self, message: Message) -> None:
        """Delete a message; occasionally SQS delivers it again."""
        if message.name in self.messages:
            calm = self.world.now - self.world.began > self.edge.weather.crashes_end
            if not calm and self.world.chance(DELIVERED_TWICE):
                self.world.say(f"{self.label}: {message.name} is delivered twice")
                self.doubled += 1
                self.put(message.body)
            del self.messages[message.name]

    def receive_message(self, *, MaxNumberOfMessages: int, VisibilityTimeout: int, **_: Any) -> dict[str, Any]:
        self.edge.begin()
        found = self.receive(MaxNumberOfMessages)
        for message in found:
            message.visible_at = self.world.now + VisibilityTimeout
        self.edge.end()
        date = "Mon, 01 Jan 2035 00:00:00 GMT"
        return {
            "Messages": [
                {
                    "MessageId": message.name,
                    "ReceiptHandle": message.receipt,
                    "Body": message.body,
                    "Attributes": {"SentTimestamp": str(int(message.sent_at * 1000))},
                }
                for message in found
            ],
            "ResponseMetadata": {"HTTPHeaders": {"date": date}},
        }

    def send_message_batch(self, *, Entries: list[dict[str, Any]], **_: Any) -> dict[str, Any]:
        """Accept some of the messages, as SQS may; the answer is item by item."""
        fault = self.edge.begin()
        if fault == "refuses":
            self.world.say(f"{self.label}: refuses a batch")
            raise _refused("SendMessageBatch")
        answer = self._by_entry(Entries, "refuses", lambda entry: self.put(entry["MessageBody"]))
        self.edge.end()
        if fault == "answer lost":
            self.world.say(f"{self.label}: takes a batch, and its answer is lost")
            raise _lost()
        return answer

    def delete_message_batch(self, *, Entries: list[dict[str, Any]], **_: Any) -> dict[str, Any]:
        """Delete messages; occasionally one is delivered again, or is not deleted."""

        def delete(entry: Mapping[str, Any]) -> None:
            if message := self._received(entry):
                self.dropped += [message] if self.world.process().name.startswith("dlq") else []
                self.delete(message)

        self.edge.begin()
        answer = self._by_entry(Entries, "does not delete", delete)
        self.edge.end()
        return answer

    def _by_entry(
        self, entries: list[dict[str, Any]], refusal: str, do: Callable[[Mapping[str, Any]], object]
    ) -> dict[str, list[dict[str, Any]]]:
        """Return the answer to a batch, of which some entries fail. `refusal` says so in words."""
        answer: dict[str, list[dict[str, Any]]] = {"Successful": [], "Failed": []}
        for entry in entries:
            if self.world.chance(0.05):
                self.world.say(f"{self.label}: {refusal} one message of a batch")
                answer["Failed"].append({"Id": entry["Id"], "Code": "InternalError"})
            else:
                do(entry)
                answer["Successful"].append({"Id": entry["Id"]})
        return answer

    def _received(self, entry: Mapping[str, Any]) -> Message | None:
        return self.messages.get(entry["ReceiptHandle"].partition("/")[0])

    def change_message_visibility_batch(self, *, Entries: list[dict[str, Any]], **_: Any) -> dict[str, Any]:
        for entry in Entries:
            if message := self._received(entry):
                message.visible_at = self.world.now + entry["VisibilityTimeout"]
        return {"Successful": [{"Id": entry["Id"]} for entry in Entries], "Failed": []}

    def get_queue_attributes(self, **_: Any) -> dict[str, dict[str, str]]:
        # The sweeper only keeps the dead-letter queue's metrics awake, so no fault of that call matters.
        if self.label != "dead-letters" and self.edge.begin() == "refuses":
            raise _refused("GetQueueAttributes")
        visible = sum(message.visible_at <= self.world.now for message in self.messages.values())
        return {"Attributes": {"ApproximateNumberOfMessages": str(visible)}}

    def jobs(self) -> list[dict[str, Any]]:
        """Return the envelopes on the queue as plain data."""
        return [message.job for message in self.messages.values()]

    def bodies(self) -> list[dict[str, Any]]:
        """Return the incidents in the envelopes of signals."""
        return [incident for message in self.messages.values() if (incident := message.incident)]


def queue_of(sqs: SimulatedSqs) -> Queue:
    """Return the library's queue over a simulated one."""
    client: Any = sqs
    return Queue(client, "https://sqs.eu-central-1.amazonaws.com/000000000000/q")


class SimulatedDynamoDb(FakeDynamoDb):
    """A table whose calls fail before or after their effect.

    If the answer of a conditional write is lost, botocore's retry may find that the condition no longer holds.
    """

    def __init__(
        self,
        edge: Edge,
        entries: Mapping[str, str],
        ceiling: int | None,
        cloud: Cloud,
        luck: Random,
    ) -> None:
        super().__init__()
        self.page_size = 100
        self._edge = edge
        self.cloud = cloud
        self._luck = luck
        # The items that have both keys of the index `due`, by key.
        self._rows: dict[str, Any] = {}
        # The index as a query finds it, if it lags; and the time of the last write that it will show, by key.
        self._index: dict[str, Mapping[str, Any] | None] = {}
        self._shown_at: dict[str, float] = {}
        # Write units by key and second. A key that exceeds the ceiling in a second is throttled.
        self.units: Counter[tuple[str, int]] = Counter()
        self._ceiling = ceiling
        self._throttled_until: dict[str, float] = {}
        # The simulation's names of entries by key.
        self._entries = entries
        # The item of each entry as it was judged last, with the entry in it, by key.
        self._judged_last: dict[str, tuple[Mapping[str, Any], Entry]] = {}
        # Called with the name of an entry and the reason of an illegal change.
        self.on_fault: Callable[[str, str], None] = lambda _name, _why: None

    def get_item(self, **request: Any) -> Any:
        answer = self._asked("GetItem", super().get_item, request)
        if self._edge.has_newer(self.cloud) and request["Key"]["pk"]["S"].startswith("job/") and answer.get("Item"):
            answer["Item"]["text"] = {"S": as_read_by_newer(answer["Item"]["text"]["S"])}
        return answer

    def batch_get_item(self, **request: Any) -> Any:
        return self._asked("BatchGetItem", self._read_some, request)

    def put_item(self, **request: Any) -> Any:
        return self._asked("PutItem", super().put_item, request)

    def query(self, **request: Any) -> Any:
        # DynamoDB ends a page at 1 MB.
        is_short = self._luck.random() < self.cloud.answers_in_part
        self.page_size = self._luck.randint(1, 3) if is_short else 100
        return self._asked("Query", super().query, request)

    def update_item(self, **request: Any) -> Any:
        return self._asked("UpdateItem", self._judged, request)

    def shown(self) -> list[Any]:
        """Return the items that a query of the index `due` finds: those of some seconds ago, if the index lags."""
        return [item for item in self._index.values() if item] if self.cloud.index_lag else self.indexed()

    def indexed(self) -> list[Any]:
        """Return the items that have both keys of the index `due`."""
        return list(self._rows.values())

    def owed(self) -> list[dict[str, Any]]:
        """Return the incidents in the stored jobs of all debts, as BigPanda sent them."""
        names = [f"job/{item['pk']['S'].removeprefix('incident/')}/{item['job']['S']}" for item in self.indexed()]
        found = [_incident(self.items[name]["text"]["S"]) for name in names if name in self.items]
        return [incident for incident in found if incident]

    def document(self, pk: str) -> Mapping[str, Any]:
        """Return the document in an item, by its key; empty without one."""
        item = self.items.get(pk)
        return _document(item["text"]["S"]) if item else {}

    def entry_name(self, pk: str) -> str:
        """Return the simulation's name of an entry, by its key."""
        return self._entries.get(pk, pk.rpartition("/")[2])

    def _asked(self, operation: str, do: Callable[..., Any], request: dict[str, Any]) -> Any:
        world, process = self._edge.world, self._edge.world.process()
        # Noted first, since an abandoned call may end after its process.
        if self._edge.weather.is_bad(self._edge.service):
            process.troubles.add("ledger")
        written = (request.get("Item") or request["Key"])["pk"]["S"] if operation in {"PutItem", "UpdateItem"} else ""
        if operation == "UpdateItem" and written.startswith("incident/"):
            process.claimed.add(self.entry_name(written))
        fault = self._edge.begin()
        # A spell may begin while the request travels.
        if fault:
            process.troubles.add("ledger")
        if fault == "refuses" or (fault == "refuses writes" and written):
            self._suffered(operation, "refuses")
            raise _refused(operation)
        if written:
            self._count(operation, written, request)
        try:
            answer = do(**request)
        except ClientError as error:
            process.lost_races += error.response["Error"]["Code"] == "ConditionalCheckFailedException"
            raise
        if written:
            self._changed(written)
        self._edge.end()
        if fault == "answer lost":
            self._suffered(operation, "did it, and its answer is lost")
            if request.get("ConditionExpression") and world.chance(0.5):
                raise condition_failed(operation)
            raise _lost()
        return answer

    def _judged(self, **request: Any) -> Any:
        """Update an item, and judge the change of an entry by the table of phases."""
        pk = request["Key"]["pk"]["S"]
        before = self.items.get(pk)
        answer = super().update_item(**request)
        if pk.startswith("incident/"):
            item, last = self._judged_last.get(pk, ({}, Entry()))
            was = (last if before is item else _entry(before)) if before else Entry()
            now = _entry(self.items[pk])
            self._judged_last[pk] = (self.items[pk], now)
            if not was.is_unreadable and (why := fault_of(was, now)):
                self.on_fault(self.entry_name(pk), why)
        return answer

    def _read_some(self, RequestItems: Mapping[str, Any]) -> Any:
        """Answer a batch read; leave some keys unprocessed, but not all of them, for which DynamoDB has an error."""
        [(table, asked)] = RequestItems.items()
        keys = list(asked["Keys"])
        if self._luck.random() < self.cloud.answers_in_part:
            self._luck.shuffle(keys)
            self.batch_size = self._luck.randint(1, len(keys))
        answer = super().batch_get_item(RequestItems={table: {**asked, "Keys": keys}})
        self.batch_size = len(keys)
        return answer

    def _changed(self, key: str) -> None:
        """Let a write have its later effects: on the index, and at the item's expiry."""
        world, item = self._edge.world, self.items[key]
        world.note(key, item.get("expires"), _unpacked(item["text"]["S"]) if key.startswith("job/") else item)
        if self._edge.has_newer(self.cloud):
            item = self.items[key] = self._as_newer(key, item)
        is_row = "due" in item and "due_at" in item
        if is_row:
            self._rows[key] = item
        else:
            self._rows.pop(key, None)
        if self.cloud.index_lag:
            image = dict(item) if is_row else None
            at = max(world.now + self._luck.uniform(0, self.cloud.index_lag), self._shown_at.get(key, 0.0))
            self._shown_at[key] = at
            world.at(at, lambda: self._index.update({key: image}))
        if self.cloud.job_margin is None or "expires" not in item:
            return
        # A schedule lasts for hours, so the days for which a stored job outlives its state are cut.
        is_job = key.startswith("job/") and not key.endswith(FALLBACK_DESCRIPTION)
        expires, cut = item["expires"]["N"], STORED_SECONDS - self.cloud.job_margin if is_job else 0.0
        at = float(expires) - cut + self._luck.uniform(0, self.cloud.deleted_late)
        if at < world.now + HORIZON_SECONDS:
            world.at(at, lambda: self._expire(key, expires))

    def _expire(self, key: str, expires: str) -> None:
        if self.items.get(key, {}).get("expires") == {"N": expires}:
            self._edge.world.say(f"dynamodb: {key} expires")
            del self.items[key]
            self._rows.pop(key, None)
            self._index.pop(key, None)

    def damage(self, key: str) -> bool:
        """Make an entry unreadable; return False if there is none."""
        if key not in self.items:
            return False
        self.items[key] = {**self.items[key], "text": {"S": '{"seen_digests": 5}'}}
        if key in self._rows:
            self._rows[key] = self.items[key]
        return True

    def forgotten(self) -> list[str]:
        """Return the entries that lost a member which a newer version had written."""
        entries = [item for key, item in self.items.items() if key.startswith("incident/") and "newer" in item]
        return [item["pk"]["S"] for item in entries if "newer" not in json.loads(item["text"]["S"])]

    def _as_newer(self, key: str, item: Mapping[str, Any]) -> dict[str, Any]:
        changed = dict(item)
        if key.startswith("job/"):
            changed["text"] = {"S": newer_envelope(item["text"]["S"], self.cloud.newer_schema)}
        elif "text" in item and key != MARKS_KEY:
            changed["text"] = {"S": newer_document(item["text"]["S"])}
        if key.startswith(("incident/", "gate/")):
            changed["newer"] = {"N": "1"}
        return changed

    def _count(self, operation: str, key: str, request: Mapping[str, Any]) -> None:
        """Count the units of a write, also if its condition fails; raise if its key is throttled."""
        world, process = self._edge.world, self._edge.world.process()
        process.writes += 1
        item = request.get("Item") or self.items.get(key) or request["Key"]
        second = int(world.now)
        self.units[key, second] += max(1, math.ceil(size(item) / UNIT_BYTES))
        if self._ceiling is None or world.now - world.began > self._edge.weather.crashes_end:
            return
        if self.units[key, second] > self._ceiling:
            self._throttled_until[key] = world.now + THROTTLED_SECONDS
        if world.now < self._throttled_until.get(key, 0.0):
            process.troubles.add("ledger")
            self._suffered(operation, f"is throttled at {key}")
            raise ClientError({"Error": {"Code": "ProvisionedThroughputExceededException", "Message": "no"}}, operation)

    def _suffered(self, operation: str, what: str) -> None:
        self._edge.world.say(f"dynamodb: {operation} {what}")


@dataclass
class SimulatedSecrets:
    """Secrets Manager with the channels' secrets, which may change at any time."""

    edge: Edge
    texts: dict[str, str]

    def __call__(self, name: str) -> str:
        fault = self.edge.begin()
        self.edge.end()
        if fault == "refuses":
            self.edge.world.say("secrets: refuses")
            raise ChannelUnreadable("the secret can't be read")
        if fault == "bug":
            self.edge.world.say("secrets: hits a bug")
            self.edge.world.process().troubles.add("bug")
            raise KeyError("bug")
        if name not in self.texts:
            raise UnknownChannel(name)
        return self.texts[name]


# Words of a message to the fallback topic about a step of a receipt.
NO_PAGE, NO_DEVICE, NO_ANSWER = "made no page of it", "no device is known to have got it", "and nobody answered"


def tells_of_unheard(text: str) -> bool:
    """Return True if a message to the fallback topic tells of a step of a receipt."""
    return any(words in text for words in (NO_PAGE, NO_DEVICE, NO_ANSWER))


def tells_of(text: str, incident: str) -> bool:
    """Return True if a message to the fallback topic names an incident, or only says that there are more incidents."""
    return bool(re.search(rf"\b{re.escape(incident)}\b", text)) or " more " in text


class Notice(NamedTuple):
    """A message to the fallback topic. Times are in epoch seconds.

    Attributes:
        channel: channel that the message is about; empty if it is about none.
        began: start of the process that published the message, in epoch seconds.
        sender: name of that process.
    """

    at: float
    text: str
    channel: str
    began: float
    sender: str = ""


class HealthMessage(NamedTuple):
    """A message `at` a time (epoch seconds) that channels are "sick" or "well", to "alarm" or "notice".

    Attributes:
        channels: the reasons of the sickness, by channel.
        is_in_doubt: True if the publisher may have given up before it got the answer.
    """

    at: float
    topic: str
    health: str
    channels: Mapping[str, str]
    process: Process
    is_in_doubt: bool


@dataclass
class SimulatedSns:
    """SNS, which records the messages to its topics.

    Attributes:
        phoned: times of the calls to the phone of the last resort, in epoch seconds; None without phones.
    """

    edge: Edge
    told: list[Notice] = field(default_factory=list)
    of_health: list[HealthMessage] = field(default_factory=list)
    phoned: list[float] | None = None

    def send_voice_message(self, *, DestinationPhoneNumber: str, **_: str) -> None:
        """Call a phone, as AWS End User Messaging does, whose faults have nothing to do with those of SNS."""
        assert self.phoned is not None
        self.edge.reach()
        if DestinationPhoneNumber == DEAF_PHONE:
            raise _refused("SendVoiceMessage")
        self.phoned.append(self.edge.world.now)
        self.edge.world.say("a phone is called")

    def send_text_message(self, *, DestinationPhoneNumber: str, **request: str) -> None:
        """Text a phone: each text goes with a call."""
        self.edge.world.note(DestinationPhoneNumber, request)
        self.edge.reach()
        if DestinationPhoneNumber == DEAF_PHONE:
            raise _refused("SendTextMessage")

    def publish(
        self,
        *,
        TopicArn: str,
        Subject: str,
        Message: str,
        MessageStructure: str,
        MessageAttributes: Mapping[str, Mapping[str, str]],
        **_: Any,
    ) -> dict[str, str]:
        assert MessageStructure == "json"
        texts = json.loads(Message)
        fault = self.edge.begin()
        if fault == "refuses":
            raise _refused("Publish")
        now, channel = self.edge.world.now, MessageAttributes.get("channel", {}).get("StringValue", "")
        topic = TopicArn.rpartition(":")[2]
        if health := MessageAttributes.get("health", {}).get("StringValue"):
            about, process = _sicknesses(texts["default"], channel), self.edge.world.process()
            self.of_health.append(HealthMessage(now, topic, health, about, process, bool(fault)))
        else:
            process = self.edge.world.process()
            self.told.append(Notice(now, texts["default"], channel, process.started_at, process.name))
        self.edge.world.note(TopicArn, texts, MessageAttributes)
        self.edge.world.say(f"sns: told {Subject}{f' ({topic})' if health else ''}")
        if fault == "answer lost":
            raise _lost()
        self.edge.end()
        return {"MessageId": "n"}


def _sicknesses(text: str, channel: str) -> dict[str, str]:
    """Return the reasons in a health message, by channel; `channel` is empty if the message is about several."""
    if channel:
        found = re.search(r"^Why.*?: (.*)$", text, re.MULTILINE)
        return {channel: found[1] if found else ""}
    return dict(re.findall(r"^- (\S+): since [^;]*; [^;]*; (.*)$", text, re.MULTILINE))

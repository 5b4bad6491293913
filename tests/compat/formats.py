"""Formats that outlive a deployment: samples with every member, and how today's code writes and reads them.

A document is JSON. That of a table item has its attributes, as DynamoDB has them.
"""

import json
from collections.abc import Callable, Mapping
from copy import replace
from dataclasses import dataclass
from typing import Any

from relay.channels.parsing import parse_channel
from relay.failures import Reason
from relay.health.announcement import ChannelState, Told
from relay.health.judgement import ShareWatch
from relay.incidents.share import State
from relay.jobs.job import Acceptance, Flag, Job, Stamps
from relay.jobs.queue import attributes_of, envelope_of, read_envelope
from relay.jobs.result import Exchange, Notices, Outcome, Result, Subject
from relay.ledger.accepted_signal import AcceptedSignal
from relay.ledger.credentials import MARKS_KEY, change_mark, read_marks
from relay.ledger.debt import Debt, Row, Slot, Ticket, stored_key
from relay.ledger.entry import About, Acknowledgement, End, Entry, Flap, Lease
from relay.ledger.rate_limit_and_circuit import Circuit, Gate, RateLimiter
from relay.ledger.receipt import Missed, Receipt
from relay.ledger.table import Ledger, Table
from relay.reconcile.history import ChannelHistory, Difference, History
from relay.sweeper.canary import Canary
from relay.sweeper.run import KEY as SWEEPER_KEY
from relay.sweeper.run import SweeperRun
from relay.telemetry import Telemetry
from relayctl.channel.secret_document import ANY_HOSTS, SecretDocument
from relayctl.log_lines import parsed
from tests import samples
from tests.fake_dynamodb import FakeDynamoDb
from tests.fakes import Clock, Recorder

NOW = 1_800_000_000.0
MOMENT = "2027-01-15T08:00:00.000Z"


@dataclass(frozen=True)
class Format:
    """A stored format: today's writer of a sample, and today's reader of a document."""

    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


def _in_table(key: str, write: Callable[[Table, Any], object], read: Callable[[Table], Any]) -> Format:
    """Return the format of a table item; its text, if it has one, is JSON."""

    def written(sample: Any) -> Any:
        dynamodb = FakeDynamoDb()
        write(dynamodb.table(Clock()), sample)
        return document_of(dynamodb.items[key])

    def read_again(document: Any) -> Any:
        dynamodb = FakeDynamoDb()
        dynamodb.items[key] = item_of(document)
        return read(dynamodb.table(Clock()))

    return Format(written, read_again)


def document_of(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document of a table item."""
    return {name: json.loads(value["S"]) if name == "text" else value for name, value in item.items()}


def item_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the table item of a document."""
    return {name: {"S": json.dumps(value)} if name == "text" else value for name, value in document.items()}


SHARE = samples.share()
CRITICAL = State(
    (NOW, NOW - 1), SHARE.digest, NOW + 1, is_open=True, rank=3, alerts=frozenset({"0a1b2c3d", "4e5f6071"})
)
WARNING = State(None, "9" * 64, NOW - 60, is_open=True, rank=2, alerts=frozenset())
OVER = State(
    (NOW - 99, NOW - 99), "8" * 64, NOW - 98, is_open=False, rank=0, alerts=frozenset(), has_borrowed_version=True
)
ENTRY_KEY = "incident/noc/0/i1"
ENTRY = Entry(
    newest=CRITICAL,
    seen_digests=("9" * 64, CRITICAL.digest),
    announced=WARNING,
    doubtful=(CRITICAL, OVER),
    eased=OVER,
    acknowledgement=Acknowledgement("jdoe", 2),
    receipt=Receipt(
        NOW - 60, False, NOW - 50, NOW - 40, "jdoe", Missed.NOBODY_NOTIFIED, NOW - 45, 2, ("Ops", "jdoe"), NOW - 5
    ),
    lease=Lease("owner-1", NOW + 15, NOW, CRITICAL),
    signal_times=(NOW - 60, NOW),
    accepted_signals=(
        AcceptedSignal("r1", NOW - 60, True, ("page-1", "page-2"), "4711", True, True, True, "0a1b2c3d", True),
        AcceptedSignal("r2", NOW, False),
    ),
    debt=Debt(
        since=NOW - 30,
        is_notified=True,
        plan=4,
        attempts=3,
        reason="upstream",
        slot=Slot(NOW + 7, is_critical=True),
        row=Row(NOW + 300, "d1/" + MOMENT, begun=1, is_unbegun=True, is_critical=True),
        paused_until=NOW - 20,
        paused_by="0a1b2c3d",
        claim_hold_until=NOW + 60,
        dead_lettered_at=NOW - 10,
        revived_at=NOW - 5,
    ),
    end=End(NOW - 98, NOW - 12, (NOW - 13, NOW - 13), NOW - 11),
    flap=Flap((NOW - 90, NOW - 60), NOW + 600, is_signalled=True),
    about=About("Replica lag", "e1", {"environment": ("e1", "production"), "tag.team": ("payments",)}),
)
# Later than `entry-1`, a signal got its failed recipients.
_SIGNAL, _RESOLVE = ENTRY.accepted_signals
ENTRY_WITH_FAILED = replace(ENTRY, accepted_signals=(replace(_SIGNAL, failed="0a1b2c3d"), _RESOLVE))
# Then it got the mark of a signal to further recipients.
_FAILED, _ = ENTRY_WITH_FAILED.accepted_signals
ENTRY_WITH_FURTHER = replace(ENTRY, accepted_signals=(replace(_FAILED, is_further=True), _RESOLVE))
# Then the acknowledgement got its time.
ENTRY_WITH_TIME = replace(ENTRY_WITH_FURTHER, acknowledgement=Acknowledgement("jdoe", 2, NOW - 30))
JOB = Job(
    "signal",
    "noc",
    ("Network Operations", "jdoe"),
    "i1",
    MOMENT,
    samples.body(),
    version=(NOW, NOW - 1),
    digest=SHARE.digest,
    plan=4,
    # All that existed when the first documents were written.
    flags=frozenset(Flag) - {Flag.ASSIGNED, Flag.VERIFIED},
    ledger_down_since=MOMENT,
    accepted=Acceptance(NOW - 3, "r1"),
    not_before=MOMENT,
    dead_lettered_at=MOMENT,
    revived_at=MOMENT,
    stamps=Stamps("upstream", "c1", "critical", "worsened", ("Ops",), MOMENT, MOMENT, 503, "Service Unavailable", 2, 3),
)
# Later than `message-1`, a job got a flag that its accepted signal was for some of the recipients alone. Then the
# acceptance got these recipients, in place of the flag.
JOB_FOR_SOME = JOB.with_flags("for_some")
JOB_ACCEPTED_BY_SOME = JOB._replace(accepted=Acceptance(NOW - 3, "r1", ("dba",), is_further=True))
STORED_JOB = JOB.fresh()
# Later than `job-1`, a stored job has no acceptance.
STORED_JOB_TO_SEND = STORED_JOB._replace(accepted=None)
STORED_KEY = stored_key(ENTRY_KEY, STORED_JOB.stored_name)
GATE = Gate({int(NOW): 2}, NOW + 91.5, NOW + 122, Circuit(NOW + 30, 5, NOW + 30, NOW + 30))
MARKS = {"noc": "m1", "noc/settings": "m2"}
RUN = {
    "notified": {"noc": NOW - 60},
    "above": {"noc": (NOW - 180, NOW - 60)},
    "health": {"noc": ChannelState(NOW - 99, "why", 3, 2, 1, NOW - 1, Told.ALARM, NOW - 60)},
    "expected": {"noc": ShareWatch(7200.0, NOW - 3600)},
    "canaries": {"canary": Canary("closed", NOW - 400, NOW - 60, failure="nobody notified", judged_at=NOW - 3000)},
}
LISTING = History(
    {"noc": ChannelHistory(NOW - 900, NOW - 300, {"i1": Difference("13", NOW - 300, NOW)})},
    {"i2": NOW - 300},
    {"i3": Difference("12", NOW - 300)},
    sequence=1,
)
RESULT = Result(
    Outcome.QUEUED,
    Subject("noc", "i1", "d1", "worsened", person="jdoe", answer="Acknowledge", why="status: warning → critical"),
    Reason.UPSTREAM,
    "HTTP 503",
    "retry",
    NOW + 30,
    Exchange(3, "r1", 503, "Service Unavailable", 30.0, may_have_acted=True),
    Notices(unguarded="the ledger", end="refuted", unverified="no page", refused_recipients=2),
    JOB,
)
SPENT = {"secret": 1.2, "ledger": 8.7, "send": 120.4}


def _limit(table: Table, _: Any) -> None:
    """Count two signals, let two more wait, and open the circuit, which another two find open."""
    channel, clock = samples.parsed(samples.secret(policy={"max_per_minute": 2})), Clock()
    limiter = RateLimiter(table, clock, lambda: 0.0)
    ticket = limiter.enter(channel, ("Ops",), is_critical=False)
    assert isinstance(ticket, Ticket)
    limiter.enter(channel, ("Ops",), is_critical=False)
    for is_critical in (True, False):
        limiter.enter(channel, ("Ops",), is_critical=is_critical)
    for _ in range(5):
        limiter.report("noc", ticket, Reason.UPSTREAM, None)
    for is_critical in (True, False):
        RateLimiter(table, clock, lambda: 0.0).enter(channel, ("Ops",), is_critical=is_critical)


def _mark(table: Table, _: Any) -> None:
    change_mark(table, "noc", "m1", NOW, revokes=True)
    change_mark(table, "noc", "m2", NOW, revokes=False)


def _end_run(table: Table, sample: Any) -> None:
    SweeperRun(0.0, **sample).end(table)


def _begun_run(table: Table) -> Any:
    run = SweeperRun.begin(table, NOW)
    assert run
    return {name: getattr(run, name) for name in RUN}


def _line(log: Callable[[Telemetry], None]) -> Any:
    """Return the line that is logged, without the time of this moment and the service of this test."""
    recorder = Recorder()
    log(recorder.telemetry)
    [line] = recorder.lines()
    return line | {"timestamp": MOMENT, "service": "relay"}


def _line_read(document: Any) -> Any:
    return parsed({"message": json.dumps(document)})


def _valid_secret(document: Any) -> Any:
    parse_channel("noc", json.dumps(document), ANY_HOSTS)
    return document


FORMATS = {
    "entry": _in_table(
        ENTRY_KEY,
        lambda table, entry: Ledger(table).write(ENTRY_KEY, Entry(), entry),
        lambda table: replace(Ledger(table).read(ENTRY_KEY), sequence=0),
    ),
    "gate": _in_table("gate/noc", _limit, lambda table: Gate.of(table.attributes("gate/noc"))),
    "job": _in_table(
        STORED_KEY,
        lambda table, job: Ledger(table).store(ENTRY_KEY, job.stored_name, envelope_of(job), lasts=3600),
        lambda table: read_envelope(Ledger(table).stored(ENTRY_KEY, STORED_JOB.stored_name) or ""),
    ),
    "marks": _in_table(MARKS_KEY, _mark, read_marks),
    "reconcile": _in_table(
        "reconcile/l1",
        lambda table, listing: replace(listing, sequence=0).write(table, "l1"),
        lambda table: History.read(table, "l1"),
    ),
    "sweeper": _in_table(SWEEPER_KEY, _end_run, _begun_run),
    "message": Format(
        lambda job: {"body": json.loads(envelope_of(job)), "attributes": attributes_of(job)},
        lambda document: read_envelope(json.dumps(document["body"])),
    ),
    "secret": Format(lambda secret: json.loads(SecretDocument(secret).text()), _valid_secret),
    "share_line": Format(lambda result: _line(lambda log: log.share(result, SPENT, correlation_id="c1")), _line_read),
    "job_line": Format(lambda result: _line(lambda log: log.worked(result.job, result, SPENT)), _line_read),
}

"""relayctl dlq with SQS and DynamoDB in memory and a fake worker."""

import errno
import io
import json
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from relay.delivery.rules import Standing, judge_job
from relay.delivery.task import entry_key_of, recorded_state
from relay.incidents.share import State, Transition, parse_share
from relay.jobs.job import Job, seconds_of, timestamp
from relay.jobs.queue import attributes_of, envelope_of, read_envelope
from relay.ledger.entry import Entry
from relayctl.dlq.queue import HOLD_SECONDS, MOVE_SECONDS, SCAN_SECONDS
from tests.fakes import interrupted, once
from tests.integration.relayctl_cloud import Operator, Work, delivered, failing
from tests.samples import body, job

START = 1_790_000_000
DEAD: dict[str, Any] = {"dead_lettered_at": timestamp(START + 3600)}


def jobs(count: int, **changes: Any) -> list[Job]:
    """Return jobs of different incidents, a second apart, the newest first."""
    return [
        job(incident_id=f"i{n}", received_at=timestamp(START + n), **DEAD | changes) for n in reversed(range(count))
    ]


def some_fail(asked: Job) -> Work:
    """Deliver jobs with even numbers, and fail the others."""
    return failing if int(asked.incident_id[1:]) % 2 else delivered


def on_queue(operator: Operator) -> dict[str, Job]:
    """Return the visible jobs of the dead-letter queue by incident id."""
    found: dict[str, Job] = {}
    while operator.visible():
        for each in operator.sqs.receive_message(QueueUrl=operator.queue_url, MaxNumberOfMessages=10)["Messages"]:
            kept = read_envelope(each["Body"])
            assert kept.incident_id not in found, "twice on the queue"
            found[kept.incident_id] = kept
    return found


def incidents(document: Any) -> list[str]:
    return [each["incident_id"] for each in document["messages"]]


HELD = "are held by another reader and cannot be read; try again in five minutes"


def nothing(done: Result, message: str) -> bool:
    return (done.exit_code, done.stdout, done.stderr) == (3, "", f"{message}\n")


class TestList:
    def test_list_is_sorted_by_age_with_unreadable_messages_last_and_leaves_all_visible(
        self, operator: Operator
    ) -> None:
        operator.sqs.send_message(QueueUrl=operator.queue_url, MessageBody="[bold]hello")
        operator.put(*jobs(11))
        listed = operator.run_json("dlq", "list")
        assert [each.get("incident_id") for each in listed["messages"]] == [*(f"i{n}" for n in range(11)), None]
        assert (listed["shown"], listed["about"]) == (12, 12)
        assert not any("body" in each for each in listed["messages"])
        assert "unreadable: it is not an envelope" in operator.run("dlq", "list").stdout.splitlines()[11]
        assert operator.run_json("dlq", "list", "--channel", "noc")["shown"] == 11
        assert (operator.visible(), operator.hidden()) == (12, 0)

    def test_list_counts_messages_that_another_reader_holds(self, operator: Operator) -> None:
        operator.put(*jobs(3))
        operator.sqs.receive_message(QueueUrl=operator.queue_url, MaxNumberOfMessages=1, VisibilityTimeout=60)
        done = operator.run("dlq", "list")
        assert (done.exit_code, done.stderr) == (0, f"2 of about 3\nabout 1 messages {HELD}\n")
        assert operator.run_json("dlq", "list")["held"] == 1
        done = operator.run("dlq", "list", "--channel", "x")
        assert nothing(done, f"none of about 2 messages matched; about 1 messages {HELD}")


def test_every_message_is_read_although_sqs_counts_late(operator: Operator, tmp_path: Path) -> None:
    operator.put(*jobs(25))
    names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    operator.hooks["after-call.sqs.GetQueueAttributes"] = lambda parsed, **_: parsed.update(
        Attributes=parsed["Attributes"] | dict.fromkeys(names, "3")
    )
    assert operator.run_json("dlq", "export", str(tmp_path / "jobs"))["exported"] == 25


def slow_queue(operator: Operator, answers: int) -> str:
    """Let SQS answer so slowly that there is time for so many answers to relayctl; return the text about the others."""
    seconds = SCAN_SECONDS / answers
    operator.hooks["before-call.sqs.ReceiveMessage"] = lambda **_: operator.clock.sleep(seconds)
    unread = operator.visible() - 10 * answers
    return f"about {unread} messages were not read in {SCAN_SECONDS} seconds; replay or drop some, and try again"


# The verbs that read all messages, and the member of their document that counts those that match.
COUNTS = {
    "list": "shown",
    "replay": "matched",
    "replay --yes": "delivered",
    "drop --channel noc --reason old --yes": "dropped",
    "export FILE": "exported",
}
each_verb = pytest.mark.parametrize("verb", COUNTS)


@each_verb
def test_verb_fails_and_counts_what_it_had_no_time_to_read(operator: Operator, tmp_path: Path, verb: str) -> None:
    operator.put(*jobs(12))
    said = slow_queue(operator, 1)
    arguments = verb.replace("FILE", str(tmp_path / "jobs")).split()
    none = operator.run("dlq", *arguments, "--channel", "x", code=1)
    assert (none.stdout, none.stderr.splitlines()[-1]) == ("", f"Error: none of those that were read matched; {said}")
    done = operator.run_json("dlq", *arguments, code=1)
    assert (done[COUNTS[verb]], done["unread"]) == (10, 2)
    operator.put(*jobs(12 - operator.visible()))
    (tmp_path / "jobs").unlink(missing_ok=True)
    assert said in operator.run("dlq", *arguments, code=1).stderr.splitlines()


def test_show_prints_a_message_with_its_body(operator: Operator) -> None:
    operator.put(*jobs(3, body=b'{"incident": {"id": "i1"}}', response_excerpt="<h1>Down</h1>"))
    (shown,) = operator.run_json("dlq", "show", jobs(2)[0].delivery_id[:8])["messages"]
    assert (shown["incident_id"], shown["body"]) == ("i1", '{"incident": {"id": "i1"}}')
    text = operator.run("dlq", "show", shown["message_id"]).stdout
    assert "response excerpt      <h1>Down</h1>" in text.splitlines()
    assert text.endswith('body\n  {\n    "incident": {\n      "id": "i1"\n    }\n  }\n')
    assert nothing(operator.run("dlq", "show", "zz"), "none of about 3 messages matched")
    assert operator.visible() == 3


class TestReplay:
    def test_dry_run_prints_counts_and_moves_nothing(self, operator: Operator) -> None:
        operator.put(*jobs(3))
        done = operator.run("dlq", "replay", code=0)
        assert done.stdout.splitlines() == [
            "matched               3",
            "about                 3",
            "by channel            noc 3",
            "by kind               signal 3",
            "by reason             upstream 3",
            "by status             critical 3",
            "incidents             3",
            f"oldest                {timestamp(START)}",
            f"newest                {timestamp(START + 2)}",
            "nothing was moved; add --yes to replay them",
        ]
        assert done.stderr == ""
        assert operator.asked == []
        assert on_queue(operator) == {each.incident_id: each for each in jobs(3)}

    def test_replay_with_json_prints_one_document_with_each_result(self, operator: Operator) -> None:
        operator.worker = some_fail
        operator.put(*jobs(2))
        done = operator.run("dlq", "replay", "--yes", "--json")
        assert (done.exit_code, done.stderr) == (1, "")
        document = json.loads(done.stdout)
        assert document["audit"]["who"] == ARN
        counts = {"delivered": 1, "not_owed": 0, "moved": 0, "waiting": 0, "dead_lettered": 1, "failed": 0, "left": 0}
        expected = {"dry_run": False, "matched": 2, **counts}
        assert {name: document[name] for name in expected} == expected
        assert [{name: each[name] for name in ("incident_id", "became", "reason")} for each in document["results"]] == [
            {"incident_id": "i0", "became": "delivered", "reason": None},
            {"incident_id": "i1", "became": "dead_lettered", "reason": "refused"},
        ]
        operator.put(*jobs(2))
        said = operator.run("dlq", "replay", "--yes").stdout.splitlines()
        assert [" ".join(line.split()) for line in said[-3:-1]] == ["delivered 1", "dead lettered 1"]
        assert "incident id i1, kind signal, became dead_lettered, reason refused" in said[-1]

    def test_unreadable_ledger_makes_replay_exit_with_code_1(self, operator: Operator) -> None:
        operator.refused = {"BatchGetItem": "AccessDeniedException"}
        operator.put(*jobs(1))
        done = operator.run("dlq", "replay", "--yes", code=1)
        assert "the ledger cannot be read: DynamoDB refused: AccessDeniedException" in done.stderr
        assert "waiting               1" in done.stdout.splitlines()

    def test_ctrl_c_stops_replay_after_the_current_batch(self, operator: Operator) -> None:
        operator.put(*jobs(30))
        operator.on_send = once(partial(signal.raise_signal, signal.SIGINT))
        done = operator.run("dlq", "replay", "--yes", code=130)
        assert "left                  20" in done.stdout.splitlines()
        assert done.stderr.splitlines()[0] == "stopping after the current step; Ctrl-C again stops at once"
        assert set(on_queue(operator)) == {f"i{n}" for n in range(10, 30)}
        [audit] = audits(done)
        assert (audit["counts"]["waiting"], audit["counts"]["left"]) == (10, 20)

    def test_replay_leaves_messages_whose_hold_is_over_to_other_readers(self, operator: Operator) -> None:
        operator.put(*jobs(12))
        operator.on_send = lambda: operator.clock.sleep(HOLD_SECONDS - MOVE_SECONDS)
        done = operator.run_json("dlq", "replay", "--yes", "--no-wait", code=1)
        assert (done["waiting"], done["left"], operator.visible()) == (10, 2, 2)

    def test_every_message_is_on_a_queue_after_a_replay_of_which_sqs_refuses_parts(self, operator: Operator) -> None:
        for operation in ("SendMessageBatch", "DeleteMessageBatch"):
            refuse_thirds(operator, operation)
        operator.put(*jobs(13))
        done = operator.run_json("dlq", "replay", "--yes", "--no-wait", code=1)
        assert [each["incident_id"] for each in done["results"] if each["became"] == "failed"] == REFUSED
        kept = [each["incident_id"] for each in done["results"] if "not deleted" in str(each["note"])]
        operator.work()
        assert {each.incident_id for each in operator.asked} == {each.incident_id for each in jobs(13)} - {*REFUSED}
        assert (operator.visible(), operator.hidden()) == (8, 0)
        assert set(on_queue(operator)) == {*REFUSED, *kept}


# Of the thirteen messages in two batches, the first of each three.
REFUSED = ["i0", "i3", "i6", "i9", "i10"]


def refuse_thirds(operator: Operator, operation: str) -> None:
    """Let SQS refuse the first of each three messages of a batch, in an answer with HTTP 200."""
    failed = list[dict[str, str]]()

    def leave_out(params: dict[str, Any], **_: Any) -> dict[str, Any]:
        failed[:] = [{"Id": each["Id"], "Code": "InternalError"} for each in params["Entries"][::3]]
        return params | {"Entries": [each for number, each in enumerate(params["Entries"]) if number % 3]}

    operator.hooks[f"provide-client-params.sqs.{operation}"] = leave_out
    operator.hooks[f"after-call.sqs.{operation}"] = lambda parsed, **_: parsed.update(Failed=failed)


ARN = "arn:aws:sts::123456789012:user/moto"
WHY = ["--reason", "moved to team B"]


def audits(done: Result) -> list[Any]:
    """Return the audit records that relayctl wrote to stderr."""
    return [json.loads(line)["audit"] for line in done.stderr.splitlines() if line.startswith('{"audit"')]


def aged(seconds: float, **members: Any) -> Job:
    """Return a job whose share came so long ago."""
    return job(received_at=timestamp(time.time() - seconds), **DEAD | members)


class TestFilters:
    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            (["--channel", "payments"], ["warning"]),
            (["--incident", "new"], ["new"]),
            (["--reason", "timeout"], ["chore"]),
            (["--status", "Critical"], ["old", "new"]),
            (["--status", "-"], ["chore"]),
            (["--older-than", "7d"], ["old"]),
            (["--newer-than", "90m"], ["chore", "new"]),
            (["--newer-than", "7d", "--older-than", "90m"], ["warning"]),
            (["--reason", "upstream", "--status", "critical", "--older-than", "1d"], ["old"]),
        ],
    )
    def test_filters_combine_with_and(self, operator: Operator, options: list[str], expected: list[str]) -> None:
        operator.put(
            aged(60, incident_id="new"),
            aged(8 * 86_400, incident_id="old"),
            aged(86_400, incident_id="warning", status="warning", channel="payments"),
            aged(600, incident_id="chore", kind="writeback", status=None, reason="timeout"),
        )
        assert incidents(operator.run_json("dlq", "list", *options)) == expected
        assert operator.run_json("dlq", "replay", *options)["matched"] == len(expected)

    @each_verb
    def test_filter_without_a_match_is_exit_code_3(self, operator: Operator, tmp_path: Path, verb: str) -> None:
        operator.put(*jobs(2))
        arguments = verb.replace("FILE", str(tmp_path / "jobs")).split()
        done = operator.run("dlq", *arguments, "--status", "warning")
        assert nothing(done, "none of about 2 messages matched")
        operator.run("dlq", *arguments, "--status", "warning", "--json", code=3)
        assert (operator.visible(), list(tmp_path.iterdir())) == (2, [])


def test_replay_goes_on_if_sts_does_not_tell_the_caller(operator: Operator) -> None:
    operator.refused = {"GetCallerIdentity": "ServiceUnavailable"}
    operator.put(*jobs(3))
    document = operator.run_json("dlq", "replay", "--since", timestamp(START + 1), "--yes")
    assert document["delivered"] == 2
    audit = document["audit"]
    assert (audit["verb"], audit["who"], audit["counts"]["matched"]) == ("dlq replay", None, 2)
    assert audit["filters"] == {"since": timestamp(START + 1).replace(".000", "")}
    assert "AWS refused GetCallerIdentity: ServiceUnavailable" in audit["who_problem"]


def state_of(one: Job) -> State:
    return recorded_state(one, State.of(parse_share(one.body), seconds_of(one.received_at)))


GIVEN_UP = job(dead_lettered_at=timestamp(START + 3600))
# SQS moves a message of which workers died, without a mark.
MOVED = job()
NEWER = job(body=body(status="warning", changedOn=1_800_000_500), version=(1_800_000_500.0, 1_800_000_500.0))


class TestDrop:
    @pytest.mark.parametrize(
        ("dead", "entry", "is_owed"),
        [
            (GIVEN_UP, Entry().dead_lettering(state_of(GIVEN_UP), START + 3600, "refused", plan=1), True),
            (MOVED, Entry().owing(state_of(MOVED)), True),
            (GIVEN_UP, Entry().announcing(state_of(GIVEN_UP), "r1", START + 3600), False),
            (GIVEN_UP, Entry().announcing(state_of(NEWER), "r1", START + 3600), False),
        ],
        ids=["given up", "moved by SQS", "announced", "superseded"],
    )
    def test_critical_is_owed_unless_the_ledger_says_otherwise_and_not_any_more_once_it_is_dropped(
        self, operator: Operator, dead: Job, entry: Entry, is_owed: bool
    ) -> None:
        name = entry_key_of(dead)
        operator.ledger.write(name, Entry(), entry)
        others = (job(incident_id="w", body=body(status="warning"), status="warning"), job(kind="writeback"))
        operator.put(dead, *others, job(incident_id="x", body=b"no JSON"))
        criticals = operator.run_json("dlq", "drop", "--all", *WHY, "--yes")["criticals"]
        assert [each["incident_id"] for each in criticals] == ["i1"] * is_owed
        debt = operator.ledger.read(name).debt
        assert (debt.since, debt.row, debt.dead_lettered_at > 0) == (None, None, is_owed)

    def test_old_copy_that_is_dropped_ends_no_debt_of_which_a_later_message_is_on_its_way(
        self, operator: Operator
    ) -> None:
        name = entry_key_of(MOVED)
        operator.ledger.write(name, Entry(), Entry().owing(state_of(MOVED), 5))
        operator.put(MOVED._replace(plan=2))
        operator.run("dlq", "drop", "--all", *WHY, "--yes", code=0)
        assert operator.ledger.read(name).debt.is_owed

    def test_message_that_sqs_does_not_delete_is_a_failure(self, operator: Operator) -> None:
        operator.put(*jobs(2))
        operator.refused = {"DeleteMessageBatch": "AccessDenied"}
        done = operator.run("dlq", "drop", "--all", *WHY, "--yes", code=1)
        assert done.stdout.count("AWS refused DeleteMessageBatch: AccessDenied") == 2
        assert "failed                2" in done.stdout.splitlines()
        assert operator.visible() == 2

    def test_drop_deletes_only_matching_messages(self, operator: Operator) -> None:
        operator.put(*jobs(12), job(channel="payments", incident_id="i99", reason="timeout"))
        done = operator.run("dlq", "drop", "--channel", "noc", *WHY, "--yes", code=0)
        assert done.stdout.splitlines()[0] == "matched               12"
        assert "dropped               12" in done.stdout.splitlines()
        [audit] = audits(done)
        assert (audit["verb"], audit["who"], audit["reason"]) == ("dlq drop", ARN, "moved to team B")
        assert audit["filters"] == {"channel": "noc"}
        assert (audit["counts"]["dropped"], audit["counts"]["criticals_owed"]) == (12, 12)
        assert set(on_queue(operator)) == {"i99"}
        assert operator.asked == []

    def test_drop_without_a_ledger_says_that_criticals_may_be_owed_and_that_nothing_was_recorded(
        self, operator: Operator
    ) -> None:
        operator.refused = dict.fromkeys(("GetItem", "BatchGetItem"), "AccessDeniedException")
        operator.put(*jobs(1))
        done = operator.run("dlq", "drop", "--all", *WHY, "--yes", code=0)
        assert "criticals             channel noc, incident id i0, delivery id" in done.stdout
        assert "the ledger cannot be read: DynamoDB refused: AccessDeniedException" in done.stderr
        assert "the ledger could not be written" in done.stderr

    def test_drop_of_all_takes_unreadable_messages_too(self, operator: Operator) -> None:
        operator.sqs.send_message(QueueUrl=operator.queue_url, MessageBody="hello")
        operator.put(*jobs(2))
        document = operator.run_json("dlq", "drop", "--all", *WHY, "--yes")
        assert (document["matched"], document["unreadable"], document["dropped"]) == (3, 1, 3)
        assert len(document["criticals"]) == 2
        assert document["audit"]["filters"] == {"all": True}
        assert operator.visible() == operator.hidden() == 0


@pytest.mark.parametrize(
    ("verb", "call", "became"),
    [
        (["drop", "--all", *WHY], "dynamodb.GetItem", "dropped"),
        (["drop", "--all", *WHY], "sqs.DeleteMessageBatch", "unknown"),
        (["replay"], "sqs.SendMessageBatch", "unknown"),
        (["replay"], "sqs.DeleteMessageBatch", "unknown"),
    ],
    ids=lambda part: part[0] if isinstance(part, list) else part,
)
def test_audit_of_a_batch_that_a_second_ctrl_c_interrupts_is_true(
    operator: Operator, verb: list[str], call: str, became: str
) -> None:
    operator.put(*jobs(12))
    operator.hooks[f"before-call.{call}"] = interrupted
    [audit] = audits(operator.run("dlq", *verb, "--yes", code=130))
    assert (audit["counts"][became], audit["counts"]["left"]) == (10, 2)


class Pipe(io.StringIO):
    """Standard output that another program reads, until the test closes it."""

    is_broken = False

    def write(self, text: str) -> int:
        if self.is_broken:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")
        return super().write(text)


@pytest.mark.parametrize(
    ("verb", "call"),
    [
        (["replay", "--yes"], "SendMessageBatch"),
        (["drop", "--all", *WHY, "--yes"], "DeleteMessageBatch"),
        (["import"], "SendMessageBatch"),
    ],
    ids=["replay", "drop", "import"],
)
def test_audit_is_written_although_nobody_reads_the_result(
    operator: Operator,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    verb: list[str],
    call: str,
) -> None:
    operator.put(*jobs(2))
    if verb == ["import"]:
        operator.run("dlq", "export", str(tmp_path / "dead.jsonl"))
        verb = ["import", str(tmp_path / "dead.jsonl")]
    pipe = Pipe()
    operator.hooks[f"before-call.sqs.{call}"] = lambda **_: setattr(pipe, "is_broken", True)
    monkeypatch.setattr(sys, "stdout", pipe)
    assert operator.typed("dlq", *verb) == 1
    assert '{"audit"' in capsys.readouterr().err


def test_ctrl_c_at_the_question_of_a_drop_aborts_at_once(operator: Operator) -> None:
    operator.put(*jobs(3))
    answers: list[Any] = [partial(signal.raise_signal, signal.SIGINT)]
    assert operator.typed("dlq", "drop", "--all", *WHY, answers=answers) == 130
    assert operator.visible() == 3


def test_question_of_a_drop_that_is_open_for_longer_than_the_messages_are_held_drops_nothing(
    operator: Operator, capsys: pytest.CaptureFixture[str]
) -> None:
    def hesitates() -> str:
        operator.clock.sleep(HOLD_SECONDS - MOVE_SECONDS)
        return "y"

    operator.put(*jobs(3))
    assert operator.typed("dlq", "drop", "--channel", "noc", *WHY, answers=[hesitates]) == 1
    assert "failed                3" in capsys.readouterr().out.splitlines()
    assert operator.visible() == 3


class TestExport:
    def test_export_writes_one_message_a_line_that_only_the_operator_may_read(
        self, operator: Operator, tmp_path: Path
    ) -> None:
        operator.put(*jobs(12))
        path = tmp_path / "jobs.jsonl"
        done = operator.run("dlq", "export", str(path))
        assert (done.exit_code, done.stdout) == (0, "")
        assert done.stderr == f"12 exported to {path}; only you may read it. The bodies may hold texts of incidents.\n"
        assert path.stat().st_mode & 0o777 == 0o600
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert [line["envelope"] for line in lines] == [envelope_of(each) for each in reversed(jobs(12))]
        assert [line["attributes"] for line in lines] == [attributes_of(each) for each in reversed(jobs(12))]
        assert (operator.visible(), operator.hidden()) == (12, 0)

    def test_export_does_not_write_through_a_planted_link(self, operator: Operator, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(tmp_path / "nowhere")
        operator.put(*jobs(1))
        assert "exists, and is not replaced" in operator.run("dlq", "export", str(tmp_path / "link"), code=2).stderr
        assert not (tmp_path / "nowhere").exists()


@pytest.fixture
def exported(operator: Operator, tmp_path: Path) -> Path:
    """File with 12 jobs that are no longer on the queue."""
    path = tmp_path / "jobs.jsonl"
    operator.put(*jobs(12))
    operator.run("dlq", "export", str(path), code=0)
    operator.run("dlq", "drop", "--all", *WHY, "--yes", code=0)
    return path


class TestImport:
    def test_imported_jobs_are_on_the_dead_letter_queue_only_and_unchanged(
        self, operator: Operator, exported: Path
    ) -> None:
        done = operator.run("dlq", "import", str(exported), code=0)
        assert done.stdout.splitlines() == ["12 of 12 lines are in the dead-letter queue"]
        [audit] = audits(done)
        assert (audit["verb"], audit["who"], audit["file"]) == ("dlq import", ARN, "jobs.jsonl")
        assert audit["counts"] == {"lines": 12, "sent": 12, "left": 0}
        operator.work()
        assert operator.asked == []
        found = {name: each._replace(dead_lettered_at=None) for name, each in on_queue(operator).items()}
        assert found == {each.incident_id: each._replace(dead_lettered_at=None) for each in jobs(12)}

    @pytest.mark.parametrize(
        ("dead", "last"),
        [(MOVED, 0), (GIVEN_UP, 3600), (GIVEN_UP, 3601)],
        ids=["moved by SQS", "given up", "given up again since"],
    )
    def test_job_that_was_exported_and_dropped_is_owed_again_once_it_is_imported_and_replayed(
        self, operator: Operator, tmp_path: Path, dead: Job, last: int
    ) -> None:
        name, state = entry_key_of(dead), state_of(dead)
        owed = Entry().owing(state)
        given_up = Entry().dead_lettering(state, START + last, "refused", plan=1)
        operator.ledger.write(name, Entry(), given_up if dead.dead_lettered_at else owed)
        operator.put(dead)
        operator.run("dlq", "export", str(tmp_path / "dead.jsonl"), code=0)
        operator.run("dlq", "drop", "--all", *WHY, "--yes", code=0)
        operator.run("dlq", "import", str(tmp_path / "dead.jsonl"), code=0)
        again = on_queue(operator)["i1"]
        assert again._replace(dead_lettered_at=None) == dead._replace(dead_lettered_at=None)
        at = again.dead_lettered_seconds
        judgement = judge_job(operator.ledger.read(name), state, set(Transition), plan=again.plan, dead_lettered_at=at)
        assert judgement.standing == Standing.OWED, "the worker takes it for no older copy"

    def test_one_invalid_line_and_nothing_is_sent(self, operator: Operator, exported: Path) -> None:
        with exported.open("a") as file:
            file.write("hello\n")
        done = operator.run("dlq", "import", str(exported), "--json")
        assert (done.exit_code, done.stdout, "nothing was sent: line 13: it" in done.stderr) == (2, "", True)
        assert operator.visible() == 0

    def test_import_ends_at_a_batch_that_sqs_refuses(self, operator: Operator, exported: Path) -> None:
        operator.refused = {"SendMessageBatch": "InternalError"}
        done = operator.run("dlq", "import", str(exported), code=1)
        assert done.stdout == "0 of 12 lines are in the dead-letter queue; import the file again\n"
        assert "SQS refused" in done.stderr

    def test_ctrl_c_stops_an_import_after_the_current_batch(self, operator: Operator, exported: Path) -> None:
        operator.on_send = lambda: signal.raise_signal(signal.SIGINT)
        done = operator.run("dlq", "import", str(exported), code=130)
        assert done.stdout == "10 of 12 lines are in the dead-letter queue; import the file again\n"
        assert audits(done)[0]["counts"] == {"lines": 12, "sent": 10, "left": 2}

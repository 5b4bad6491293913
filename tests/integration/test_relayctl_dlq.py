"""relayctl dlq with SQS and DynamoDB in memory and a fake worker."""

import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import Result

from relay.jobs.envelope import read_envelope
from relay.jobs.job import Job, timestamp
from tests.integration.relayctl_cloud import Operator, Work, account, delivered, failing, paced, superseding
from tests.samples import job

START = 1_790_000_000
DEAD: dict[str, Any] = {"dead_lettered_at": timestamp(START + 3600)}


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    with account(monkeypatch) as its_operator:
        yield its_operator


def jobs(count: int, **changes: Any) -> list[Job]:
    """Return jobs of different incidents, a second apart, the newest first."""
    return [
        job(delivery_id=f"{n:08x}" * 4, incident_id=f"i{n}", received_at=timestamp(START + n), **DEAD | changes)
        for n in reversed(range(count))
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


HELD = "are held by another reader and cannot be read; try again in two minutes"


def hold_one(operator: Operator) -> None:
    """Put three messages on the queue, and receive one as another reader."""
    operator.put(*jobs(3))
    operator.sqs.receive_message(QueueUrl=operator.queue_url, MaxNumberOfMessages=1, VisibilityTimeout=60)


def nothing(done: Result, message: str) -> bool:
    return (done.exit_code, done.stdout, done.stderr) == (3, "", f"{message}\n")


class TestList:
    def test_list_is_sorted_by_age_and_leaves_messages_visible(self, operator: Operator) -> None:
        operator.put(*jobs(12))
        listed = operator.run_json("dlq", "list")
        assert incidents(listed) == [f"i{n}" for n in range(12)]
        assert (listed["shown"], listed["about"]) == (12, 12)
        assert all("body" not in each for each in listed["messages"])
        assert (operator.visible(), operator.hidden()) == (12, 0)

    def test_list_without_json_prints_a_table_and_the_count(self, operator: Operator) -> None:
        operator.put(*jobs(3, channel="a" * 48))
        done = operator.run("dlq", "list", "--limit", "2")
        assert done.exit_code == 0
        heading, *rows = done.stdout.splitlines()
        assert heading.split()[:4] == ["id", "age", "channel", "incident"]
        assert [row.split()[2:4] for row in rows] == [["a" * 48, "i0"], ["a" * 48, "i1"]]
        assert done.stderr == "2 of about 3\n"

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            (["--channel", "noc"], ["i0", "i1", "i2"]),
            (["--channel", "payments"], ["i9"]),
            (["--incident", "i1"], ["i1"]),
            (["--reason", "upstream"], ["i0", "i1", "i2"]),
            (["--reason", "timeout"], ["i9"]),
            (["--since", timestamp(START + 2)], ["i2", "i9"]),
            (["--limit", "2"], ["i0", "i1"]),
            (["--channel", "noc", "--since", timestamp(START + 1), "--limit", "1"], ["i1"]),
        ],
    )
    def test_list_filters_by_channel_incident_reason_time_and_limit(
        self, operator: Operator, options: list[str], expected: list[str]
    ) -> None:
        other = job(channel="payments", incident_id="i9", reason="timeout", received_at=timestamp(START + 9))
        operator.put(other, *jobs(3))
        assert incidents(operator.run_json("dlq", "list", *options)) == expected
        assert operator.visible() == 4

    def test_unreadable_messages_are_listed_last_and_only_without_filters(self, operator: Operator) -> None:
        operator.sqs.send_message(QueueUrl=operator.queue_url, MessageBody="[bold]hello")
        operator.put(*jobs(2))
        listed = operator.run_json("dlq", "list")
        assert [set(each) for each in listed["messages"]][2] == {"message_id", "unreadable"}
        assert listed["shown"] == 3
        assert operator.run_json("dlq", "list", "--limit", "1")["shown"] == 1
        assert operator.run_json("dlq", "list", "--channel", "noc")["shown"] == 2
        assert "unreadable: it is not an envelope" in operator.run("dlq", "list").stdout.splitlines()[3]

    def test_list_of_an_empty_queue_is_exit_code_3(self, operator: Operator) -> None:
        assert nothing(operator.run("dlq", "list"), "the dead-letter queue is empty")
        assert operator.run_json("dlq", "list", code=3) == {"messages": [], "shown": 0, "about": 0, "held": 0}

    def test_list_without_a_match_is_exit_code_3(self, operator: Operator) -> None:
        operator.put(*jobs(2))
        assert nothing(operator.run("dlq", "list", "--channel", "x"), "none of about 2 messages matched")
        assert operator.run_json("dlq", "list", "--channel", "x", code=3)["messages"] == []

    def test_list_counts_messages_that_another_reader_holds_if_none_are_visible(self, operator: Operator) -> None:
        operator.put(*jobs(2))
        operator.sqs.receive_message(QueueUrl=operator.queue_url, MaxNumberOfMessages=10, VisibilityTimeout=60)
        done = operator.run("dlq", "list")
        assert nothing(done, f"about 2 messages {HELD}")
        assert operator.run_json("dlq", "list", code=3) == {"messages": [], "shown": 0, "about": 2, "held": 2}

    def test_list_counts_messages_that_another_reader_holds(self, operator: Operator) -> None:
        hold_one(operator)
        done = operator.run("dlq", "list")
        assert (done.exit_code, done.stderr) == (0, f"2 of about 3\nabout 1 messages {HELD}\n")
        assert operator.run_json("dlq", "list")["held"] == 1
        done = operator.run("dlq", "list", "--channel", "x")
        assert nothing(done, f"none of about 2 messages matched; about 1 messages {HELD}")


class TestShow:
    def test_show_prints_a_message_with_its_body(self, operator: Operator) -> None:
        operator.put(*jobs(3, body=b'{"incident": {"id": "i1"}}', response_excerpt="<h1>Down</h1>"))
        (shown,) = operator.run_json("dlq", "show", "00000001")["messages"]
        assert (shown["incident_id"], shown["body"]) == ("i1", '{"incident": {"id": "i1"}}')
        text = operator.run("dlq", "show", shown["message_id"]).stdout
        assert "response excerpt  <h1>Down</h1>" in text.splitlines()
        assert text.endswith('body\n  {\n    "incident": {\n      "id": "i1"\n    }\n  }\n')
        assert operator.visible() == 3

    def test_show_prints_every_message_whose_id_begins_alike(self, operator: Operator) -> None:
        operator.put(*jobs(3))
        assert len(operator.run_json("dlq", "show", "0000000")["messages"]) == 3
        assert operator.run("dlq", "show", "0000000").stdout.count("message id") == 3

    def test_show_of_an_unknown_id_is_exit_code_3(self, operator: Operator) -> None:
        operator.put(job())
        assert nothing(operator.run("dlq", "show", "xyz"), "none of about 1 messages matched")
        assert operator.run_json("dlq", "show", "xyz", code=3) == {"messages": []}

    def test_show_counts_messages_that_another_reader_holds(self, operator: Operator) -> None:
        hold_one(operator)
        done = operator.run("dlq", "show", "xyz")
        assert nothing(done, f"none of about 2 messages matched; about 1 messages {HELD}")

    @pytest.mark.parametrize("identity", ["", " "])
    def test_show_of_an_empty_id_is_a_usage_error(self, operator: Operator, identity: str) -> None:
        operator.put(job())
        done = operator.run("dlq", "show", identity)
        assert (done.exit_code, done.stdout) == (2, "")
        assert "Invalid value for 'ID'" in done.stderr


class TestDryRun:
    def test_dry_run_prints_counts_and_moves_nothing(self, operator: Operator) -> None:
        operator.put(*jobs(3))
        done = operator.run("dlq", "replay")
        assert done.exit_code == 0
        assert done.stdout.splitlines() == [
            "3 of about 3 messages match; incidents: 3",
            "  by channel  noc 3",
            "  by reason   upstream 3",
            "  by status   critical 3",
            f"  shared      {timestamp(START)} to {timestamp(START + 2)}",
            "nothing was moved; add --yes to replay them",
        ]
        assert done.stderr == ""
        assert operator.asked == []
        assert on_queue(operator) == {each.incident_id: each for each in jobs(3)}

    def test_dry_run_with_json_prints_counts_and_no_results(self, operator: Operator) -> None:
        operator.put(*jobs(3))
        assert operator.run_json("dlq", "replay", "--limit", "2") == {
            "dry_run": True,
            "matched": 2,
            "about": 3,
            "held": 0,
            "by_channel": {"noc": 2},
            "by_reason": {"upstream": 2},
            "by_status": {"critical": 2},
            "incidents": 2,
            "oldest": timestamp(START),
            "newest": timestamp(START + 1),
            "delivered": 0,
            "not_owed": 0,
            "moved": 0,
            "waiting": 0,
            "dead_lettered": 0,
            "failed": 0,
            "left": 0,
            "results": [],
        }

    @pytest.mark.parametrize("yes", [[], ["--yes"]])
    def test_replay_without_a_match_is_exit_code_3(self, operator: Operator, yes: list[str]) -> None:
        assert nothing(operator.run("dlq", "replay", *yes), "the dead-letter queue is empty")
        operator.put(job())
        operator.sqs.send_message(QueueUrl=operator.queue_url, MessageBody="hello")
        assert nothing(operator.run("dlq", "replay", "--incident", "x", *yes), "none of about 2 messages matched")
        document = operator.run_json("dlq", "replay", "--incident", "x", *yes, code=3)
        assert (document["matched"], document["results"]) == (0, [])
        assert operator.visible() == 2


class TestReplay:
    def test_replay_counts_messages_that_another_reader_holds(self, operator: Operator) -> None:
        hold_one(operator)
        assert operator.run_json("dlq", "replay")["held"] == 1
        done = operator.run("dlq", "replay", "--yes")
        assert done.stdout.splitlines()[0] == "2 of about 3 messages match; incidents: 2"
        assert (done.exit_code, done.stderr) == (0, f"about 1 messages {HELD}\n")

    def test_replay_moves_and_delivers_all_jobs(self, operator: Operator) -> None:
        operator.put(*jobs(12))
        done = operator.run("dlq", "replay", "--yes")
        assert done.exit_code == 0
        assert done.stdout.splitlines()[-1] == "12 delivered, 0 left"
        assert done.stderr == ""
        assert sorted(each.incident_id for each in operator.asked) == sorted(f"i{n}" for n in range(12))
        assert (operator.visible(), operator.hidden()) == (0, 0)

    def test_job_dead_lettered_again_is_printed_with_its_reason(self, operator: Operator) -> None:
        operator.worker = some_fail
        operator.put(*jobs(4))
        done = operator.run("dlq", "replay", "--yes")
        assert done.exit_code == 1
        assert done.stdout.splitlines()[-3:] == [
            "00000001  noc  i1  dead-lettered again: refused",
            "00000003  noc  i3  dead-lettered again: refused",
            "2 delivered, 2 dead-lettered again (refused 2), 0 left",
        ]

    def test_replay_with_json_prints_one_document_with_each_result(self, operator: Operator) -> None:
        operator.worker = some_fail
        operator.put(*jobs(2))
        done = operator.run("dlq", "replay", "--yes", "--json")
        assert (done.exit_code, done.stderr) == (1, "")
        document = json.loads(done.stdout)
        counts = {"delivered": 1, "not_owed": 0, "moved": 0, "waiting": 0, "dead_lettered": 1, "failed": 0, "left": 0}
        expected = {"dry_run": False, "matched": 2, **counts}
        assert {name: document[name] for name in expected} == expected
        common = {"channel": "noc", "kind": "signal", "note": None}
        assert document["results"] == [
            common
            | {
                "delivery_id": "00000000" * 4,
                "incident_id": "i0",
                "became": "delivered",
                "reason": None,
                "request_id": "request-i0",
            },
            common
            | {
                "delivery_id": "00000001" * 4,
                "incident_id": "i1",
                "became": "dead_lettered",
                "reason": "refused",
                "request_id": None,
            },
        ]

    def test_superseded_jobs_are_counted_as_no_longer_owed(self, operator: Operator) -> None:
        operator.worker = lambda asked: delivered if asked.incident_id == "i0" else superseding
        operator.put(*jobs(3))
        done = operator.run("dlq", "replay", "--yes")
        assert done.exit_code == 0
        assert done.stdout.splitlines()[5:] == ["1 delivered, 2 no longer owed, 0 left"]

    def test_waiting_job_is_printed_with_its_reason(self, operator: Operator) -> None:
        operator.worker = lambda asked: delivered if asked.incident_id == "i0" else paced
        operator.put(*jobs(2))
        done = operator.run("dlq", "replay", "--yes")
        assert done.exit_code == 0
        assert done.stdout.splitlines()[5:] == [
            "00000001  noc  i1  waits on the retry queue: paced",
            "1 delivered, 1 waiting on the retry queue (paced 1), 0 left",
        ]
        assert done.stderr.splitlines()[-1].startswith("following: 1 of 2: 1 delivered, 1 waiting")

    def test_replay_follows_waiting_jobs_until_a_minute_without_change(self, operator: Operator) -> None:
        operator.worker = lambda _: paced
        operator.put(*jobs(1))
        before = operator.clock.now
        assert operator.run_json("dlq", "replay", "--yes")["waiting"] == 1
        assert 60 <= operator.clock.now - before <= 70

    def test_replay_prints_at_most_20_jobs_line_by_line(self, operator: Operator) -> None:
        operator.worker = lambda _: paced
        operator.put(*jobs(25))
        lines = operator.run("dlq", "replay", "--yes").stdout.splitlines()
        assert len(lines) == 5 + 20 + 2
        assert lines[-2] == "and 5 more like these; --json lists all"

    def test_jobs_other_than_signals_are_moved_and_not_followed(self, operator: Operator) -> None:
        operator.put(*jobs(2, kind="writeback"))
        done = operator.run("dlq", "replay", "--yes")
        assert done.exit_code == 0
        assert done.stdout.splitlines()[-1] == "0 delivered, 2 moved to the retry queue, 0 left"

    def test_replay_with_no_wait_ends_once_all_jobs_are_moved(self, operator: Operator) -> None:
        operator.put(*jobs(2))
        before = operator.clock.now
        document = operator.run_json("dlq", "replay", "--yes", "--no-wait")
        assert (document["moved"], document["delivered"], operator.clock.now) == (2, 0, before)
        assert operator.asked == []
        operator.work()
        assert len(operator.asked) == 2

    def test_replay_moves_only_matching_jobs(self, operator: Operator) -> None:
        operator.put(*jobs(3), job(channel="payments", incident_id="i9"))
        assert operator.run("dlq", "replay", "--channel", "noc", "--limit", "2", "--yes").exit_code == 0
        assert {each.incident_id for each in operator.asked} == {"i0", "i1"}
        assert set(on_queue(operator)) == {"i2", "i9"}

    def test_replay_leaves_unreadable_messages(self, operator: Operator) -> None:
        operator.sqs.send_message(QueueUrl=operator.queue_url, MessageBody="hello")
        operator.put(*jobs(1))
        assert operator.run("dlq", "replay", "--yes").exit_code == 0
        assert operator.visible() == 1

    def test_rate_option_limits_moved_jobs_per_second(self, operator: Operator) -> None:
        operator.put(*jobs(5))
        before = operator.clock.now
        operator.run("dlq", "replay", "--yes", "--no-wait", "--rate", "2")
        assert 2 <= operator.clock.now - before <= 3

    def test_jobs_that_the_retry_queue_refuses_stay_dead_lettered(self, operator: Operator) -> None:
        operator.refused = {"SendMessageBatch": "AccessDeniedException"}
        operator.put(*jobs(1))
        done = operator.run("dlq", "replay", "--yes")
        assert done.exit_code == 1
        assert "not moved: SQS refused the batch: AccessDeniedException" in done.stdout
        assert done.stdout.splitlines()[-1] == "0 delivered, 1 not moved, 0 left"
        assert operator.visible() == 1

    def test_moved_job_that_is_not_deleted_is_followed_and_noted(self, operator: Operator) -> None:
        operator.refused = {"DeleteMessageBatch": "AccessDeniedException"}
        operator.put(*jobs(1))
        document = operator.run_json("dlq", "replay", "--yes", code=1)
        assert (document["delivered"], document["failed"]) == (1, 0)
        assert "not deleted from the dead-letter queue: AccessDeniedException" in document["results"][0]["note"]

    def test_unreadable_ledger_makes_replay_exit_with_code_1(self, operator: Operator) -> None:
        operator.refused = {"BatchGetItem": "AccessDeniedException"}
        operator.put(*jobs(1))
        done = operator.run("dlq", "replay", "--yes")
        assert done.exit_code == 1
        assert "the ledger cannot be read: DynamoDB refused: AccessDeniedException" in done.stderr
        assert done.stdout.splitlines()[-1] == "0 delivered, 1 waiting on the retry queue (no attempt yet 1), 0 left"

    def test_control_characters_of_incident_ids_are_not_printed(self, operator: Operator) -> None:
        operator.worker = lambda _: failing
        operator.put(job(incident_id="\x1b[2J\x9b\u202e\r\n[red]x", **DEAD))
        for verb in (["dlq", "list"], ["dlq", "show", "d"], ["dlq", "replay"], ["dlq", "replay", "--yes"]):
            done = operator.run(*verb)
            assert all(character.isprintable() for character in done.output.replace("\n", ""))
        assert '  "(2J (red)x"  dead-lettered again: refused' in done.stdout


class TestCtrlC:
    def test_ctrl_c_stops_replay_after_the_current_batch(self, operator: Operator) -> None:
        operator.put(*jobs(12))
        operator.on_send = lambda: signal.raise_signal(signal.SIGINT)
        done = operator.run("dlq", "replay", "--yes", "--rate", "3")
        assert done.exit_code == 130
        assert done.stdout.splitlines()[-1].endswith(", 9 left")
        assert done.stderr == "stopping after the current step; Ctrl-C again stops at once\n"
        assert set(on_queue(operator)) == {f"i{n}" for n in range(3, 12)}

    def test_json_of_an_interrupted_replay_has_the_jobs_that_are_left(self, operator: Operator) -> None:
        operator.put(*jobs(4))
        operator.on_send = lambda: signal.raise_signal(signal.SIGINT)
        document = operator.run_json("dlq", "replay", "--yes", "--rate", "3", code=130)
        assert (document["waiting"], document["left"]) == (3, 1)
        assert [each["became"] for each in document["results"]] == ["waiting"] * 3 + ["left"]

    def test_ctrl_c_after_the_move_only_ends_the_following(self, operator: Operator) -> None:
        operator.put(*jobs(1))
        operator.worker = lambda _: paced
        pauses: list[float] = []

        def interrupts() -> None:
            pauses.append(operator.clock.now)
            if len(pauses) == 9:
                signal.raise_signal(signal.SIGINT)

        operator.on_pause = interrupts
        document = operator.run_json("dlq", "replay", "--yes")
        assert (document["waiting"], document["left"], len(pauses)) == (1, 0, 9)

    @pytest.mark.parametrize("verb", [["list"], ["show", "0"], ["replay"], ["replay", "--yes"]])
    def test_ctrl_c_while_the_queue_is_read_moves_nothing(self, operator: Operator, verb: list[str]) -> None:
        operator.put(*jobs(12))
        operator.on_receive = lambda: signal.raise_signal(signal.SIGINT)
        done = operator.run("dlq", *verb, "--json")
        assert done.exit_code == 130
        assert done.stdout == ""
        assert "Aborted!" in done.stderr
        assert operator.asked == []
        assert (operator.visible(), operator.hidden()) == (12, 0)


def test_second_operator_can_replay_jobs_that_the_first_does_not_hold(operator: Operator) -> None:
    def second_looks() -> None:
        if not others:
            others.append(None)
            operator.put(job(incident_id="new", **DEAD))
            others.append(operator.run_json("dlq", "replay", "--yes", "--no-wait"))

    others: list[Any] = []
    operator.put(*jobs(5))
    operator.on_pause = second_looks
    mine = operator.run_json("dlq", "replay", "--yes", "--rate", "1")
    assert [each["incident_id"] for each in others[1]["results"]] == ["new"]
    assert mine["delivered"] == 5
    assert operator.visible() == operator.hidden() == 0

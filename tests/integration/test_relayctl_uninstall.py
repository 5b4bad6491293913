"""relayctl channel remove --drain and uninstall: waits, refusals, the report, the export, and the printed commands."""

from pathlib import Path

import pytest
from click.testing import Result

from relay.jobs.queue import envelope_of
from tests.fakes import interrupted
from tests.integration.relayctl_cloud import STACK, Logs, Operator, client
from tests.samples import job


@pytest.fixture
def operator(operator: Operator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Operator:
    monkeypatch.chdir(tmp_path)
    return operator


@pytest.fixture
def logs(operator: Operator) -> Logs:
    found = Logs(operator)
    found.share("old", 3000)
    found.write("job-worker", 3000, "job", channel="old", kind="signal", outcome="delivered", delivery_id="d")
    return found


def remove(operator: Operator, *options: str, code: int = 0) -> Result:
    return operator.run("channel", "remove", "noc", "--drain", *options, code=code)


def exists(operator: Operator) -> bool:
    return operator.run("channel", "show", "noc").exit_code == 0


class TestDrain:
    def test_drain_waits_until_nothing_is_owed_and_says_what_it_waits_for(self, operator: Operator, logs: Logs) -> None:
        operator.keep("noc")
        operator.owe("noc", "i1", 300)
        pauses = list[float]()

        def later() -> None:
            pauses.append(operator.clock.now)
            if len(pauses) == 3:
                operator.settle("i1")

        operator.on_pause = later
        done = remove(operator, "--yes")
        assert "channel noc waits: 1 critical owed, the oldest for 5m" in done.stderr
        assert len(pauses) == 4, "three pauses of the drain, and one of the revocation mark"
        assert not exists(operator)

    def test_drain_is_refused_at_once_while_shares_still_come_also_of_a_channel_that_aws_does_not_list_yet(
        self, operator: Operator, logs: Logs
    ) -> None:
        operator.keep("noc")
        operator.listing = {"SecretList": []}
        logs.share("noc", 30)
        began = operator.clock.now
        done = remove(operator, "--yes", code=1)
        assert "channel noc: shares still come" in done.stderr
        assert "Disable AutoShare in BigPanda first" in done.stderr
        assert (exists(operator), operator.clock.now) == (True, began)
        assert operator.run_json("status", "--channel", "noc")["channels"][0]["channel"] == "noc"

    def test_nothing_is_drained_if_a_log_group_is_gone(self, operator: Operator) -> None:
        operator.keep("noc")
        client("logs").delete_log_group(logGroupName=f"/aws/lambda/{STACK}-bigpanda-webhook")
        assert "cannot tell what is owed" in remove(operator, "--yes", code=1).stderr
        assert exists(operator)

    def test_timeout_names_what_is_left_and_leaves_the_channel(self, operator: Operator, logs: Logs) -> None:
        operator.keep("noc")
        operator.owe("noc", "i1", 300)
        done = remove(operator, "--yes", "--timeout", "1m", code=1)
        assert "not drained after 1 minutes" in done.stderr
        assert "channel noc waits: 1 critical owed, the oldest for" in done.stderr
        assert exists(operator)


class TestReport:
    def test_stack_without_channels_and_debts_can_be_deleted(self, operator: Operator, logs: Logs) -> None:
        done = operator.run("uninstall", code=0)
        table = f"--table-name {operator.table} --region us-east-1"
        assert [line.strip() for line in done.stdout.splitlines() if line.startswith("  ")] == [
            "aws cloudformation delete-stack --stack-name bigpanda-xmatters-relay --region us-east-1",
            "aws cloudformation wait stack-delete-complete --stack-name bigpanda-xmatters-relay --region us-east-1",
            f"aws dynamodb update-table --no-deletion-protection-enabled {table}",
            f"aws dynamodb delete-table {table}",
            *(
                f"aws sqs delete-queue --queue-url {url} --region us-east-1"
                for url in (operator.retry_queue_url, operator.chore_queue_url, operator.queue_url)
            ),
            "aws secretsmanager list-secrets --include-planned-deletion --filters Key=name,Values=team/relay/ "
            "--region us-east-1",
        ]

    def test_report_counts_what_is_left_and_changes_nothing(self, operator: Operator, logs: Logs) -> None:
        operator.keep("noc", "payments")
        operator.owe("noc", "i1", 300)
        operator.put(job(channel="noc"), job(channel="gone"))
        document = operator.run_json("uninstall", code=1)
        assert (document["channels"], document["owed"], document["dead_lettered"]) == (["noc", "payments"], 1, 2)
        assert document["reasons"] == [
            "channels that take shares: noc, payments",
            "1 critical owed",
            "2 dead-lettered, and not exported by this call",
        ]
        assert (document["can_be_deleted"], document["commands"]) == (False, [])
        operator.run("channel", "list", code=0)
        assert operator.visible() == 2


class TestYes:
    def test_channels_are_drained_and_removed_and_dead_letters_exported(
        self, operator: Operator, logs: Logs, tmp_path: Path
    ) -> None:
        operator.keep("noc", "payments")
        operator.owe("noc", "i1", 300)
        logs.share("payments", 1190)
        operator.put(job(channel="payments"), job(channel="gone"))
        operator.on_pause = lambda: operator.settle("i1")
        document = operator.run_json("uninstall", "--yes", "--export", "dead.jsonl")
        assert (document["can_be_deleted"], document["reasons"], document["file"]) == (True, [], "dead.jsonl")
        assert document["commands"][0].startswith("aws cloudformation delete-stack")
        assert len((tmp_path / "dead.jsonl").read_text().splitlines()) == 2
        assert (tmp_path / "dead.jsonl").stat().st_mode & 0o777 == 0o600
        assert operator.run_json("channel", "list", code=3)["channels"] == []
        assert operator.visible() == 2, "the queue keeps them"

    def test_messages_that_this_version_cannot_read_are_not_exported_and_keep_the_stack(
        self, operator: Operator, logs: Logs
    ) -> None:
        newer = envelope_of(job()).replace('"schema":1', '"schema":99')
        operator.sqs.send_message(QueueUrl=operator.queue_url, MessageBody=newer)
        done = operator.run("uninstall", "--yes", code=1)
        assert "1 dead-lettered, and not exported by this call" in done.stdout
        assert "1 dead-lettered messages can't be read by this version, and are not in the file" in done.stderr

    def test_ctrl_c_ends_with_130_and_writes_no_file(self, operator: Operator, logs: Logs, tmp_path: Path) -> None:
        operator.keep("noc")
        operator.owe("noc", "i1", 300)
        operator.put(job(channel="noc"))

        operator.on_pause = interrupted
        assert operator.run("uninstall", "--yes").exit_code == 130
        assert list(tmp_path.iterdir()) == []
        assert len(operator.run_json("channel", "list")["channels"]) == 1

    def test_channel_that_is_not_shown_because_the_list_failed_is_not_removed(
        self, operator: Operator, logs: Logs
    ) -> None:
        operator.keep("a", "noc")
        operator.owe("a", "i1", 30)
        logs.share("noc", 200)
        operator.on_pause = lambda: operator.refused.update(ListSecrets="ThrottlingException")
        assert "cannot tell what is owed" in operator.run("uninstall", "--yes", code=1).stderr
        operator.refused.clear()
        assert exists(operator)

    @pytest.mark.parametrize("is_interrupted", [True, False], ids=["Ctrl-C", "refused"])
    def test_removal_that_is_not_in_force_ends_the_run_and_names_the_rest(
        self, operator: Operator, logs: Logs, *, is_interrupted: bool
    ) -> None:
        operator.keep("a", "b", "noc")

        if is_interrupted:
            operator.on_pause = interrupted
        else:
            operator.refused = {"UpdateItem": "AccessDeniedException"}
        done = operator.run("uninstall", "--yes", code=130 if is_interrupted else 1)
        assert "to put it in force, type: relayctl channel remove a" in done.stderr
        assert "channel a: removed" in done.stderr.splitlines()
        assert "not removed: b, noc" in done.stderr.splitlines()
        assert (exists(operator), done.stdout) == (True, "")
        operator.on_pause, operator.refused, before = lambda: None, {}, operator.marks()
        operator.run("channel", "remove", "a", "--yes", code=3)
        assert operator.marks().get("a") not in {None, before.get("a")}

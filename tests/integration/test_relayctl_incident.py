"""relayctl incident show: all sources in memory, and the vendors' stand-ins over real sockets."""

import json
import re
from typing import Any

import pytest

from relay.incidents.share import State
from relay.jobs.job import timestamp
from relay.ledger.accepted_signal import AcceptedSignal
from relay.ledger.entry import Acknowledgement, Entry
from sandbox.server.in_process import Box
from tests import samples
from tests.integration.live import site
from tests.integration.relayctl_cloud import Logs, Operator

ID = "65a1b2c3d4e5f60718293a4b"
CANARY = "canary-51c0"
BASIC = {"type": "basic", "username": "asker", "password": f"{CANARY}-rest"}


pytestmark = pytest.mark.usefixtures("narrow", "local")


def announced(operator: Operator, ago: float, incident_id: str = ID, **members: Any) -> Entry:
    """Write the entry of a critical that was announced, with further members."""
    state = State.of(samples.share(id=incident_id), operator.clock.now - ago)
    return operator.record("payments", incident_id, Entry(newest=state, announced=state)._replace(**members))


def texts(document: Any, source: str) -> list[str]:
    return [each["text"] for each in document["events"] if each["source"] == source]


class TestSources:
    def test_events_of_ledger_logs_and_dead_letter_queue_are_in_one_order(self, operator: Operator, logs: Logs) -> None:
        operator.keep("payments")
        signal = AcceptedSignal("r-1", operator.clock.now - 200, is_open=True, pages=("u-1",), page_number="1001")
        announced(operator, 200, accepted_signals=(signal,), acknowledgement=Acknowledgement("jdoe", 3))
        line: dict[str, Any] = {"channel": "payments", "incident_id": ID}
        sent = {"outcome": "delivered", "transition": "opened", "why": "it is new", "request_id": "r-1"}
        logs.write("bigpanda-webhook", 200, "share", **line, **sent, attempts=2)
        answer = {"outcome": "queued", "transition": "response", "person": "jdoe", "answer": "Ack"}
        logs.write("xmatters-callback", 150, "callback", **line, **answer)
        logs.write("xmatters-callback", 160, "callback", **line, outcome="unchanged", transition="delivery")
        logs.write("chore-worker", 140, "job", **line, kind="writeback", outcome="delivered")
        logs.write("chore-worker", 141, "job", **line, kind="followup", outcome="duplicate")
        logs.write("job-worker", 100, "job", **line, kind="signal", outcome="queued", queue="retry", reason="upstream")
        logs.write("sweeper", 50, "fallback notified", channel="payments", incident_ids=["other", ID], count=2)
        logs.write("sweeper", 40, "fallback notified", channel="payments", incident_ids=["other"], count=1)
        logs.share("payments", 30, incident_id="other")
        dead_at = timestamp(operator.clock.now - 20)
        operator.put(samples.job(channel="payments", incident_id=ID, reason="refused", dead_lettered_at=dead_at))
        shown = operator.run_json("incident", "show", ID)
        assert [(each["source"], each["kind"]) for each in shown["events"]] == [
            *(("log", "share"), ("ledger", "share"), ("ledger", "signal")),
            *(("log", "callback"), ("log", "job"), ("log", "job"), ("log", "fallback notified")),
            ("dlq", "dead_letter"),
        ]
        assert texts(shown, "log") == [
            "share: delivered, opened, attempts 2, request id r-1 (it is new)",
            "response callback: queued, person jdoe, answer Ack",
            "writeback job: delivered",
            "signal job: queued, queue retry, reason upstream",
            "fallback notified",
        ]
        assert texts(shown, "ledger") == [
            "newest state came: open, critical",
            "signal accepted, request r-1: page 1001",
        ]
        [standing] = shown["channels"]
        assert (standing["channel"], standing["acknowledged_by"], standing["page"]) == ("payments", "jdoe", "1001")
        assert (operator.visible(), operator.hidden()) == (1, 0), "the message is released"

    def test_entries_of_recipients_in_urls_are_found(self, operator: Operator, logs: Logs) -> None:
        operator.keep("payments")
        state = State.of(samples.share(id=ID), operator.clock.now - 9)
        for names in (("ops",), ("dba",)):
            operator.record("payments", ID, Entry(newest=state, announced=state), names)
        operator.ledger.table.store(f"shared/payments/{ID}", json.dumps([["dba"], ["ops"]]), lasts=60)
        shown = operator.run_json("incident", "show", ID)
        assert [each["url_recipients"] for each in shown["channels"]] == [["dba"], ["ops"]]


class TestVendors:
    def test_pages_recipients_and_answers_of_xmatters_are_shown(self, operator: Operator, logs: Logs, box: Box) -> None:
        box.events.declare(BASIC)
        page = {
            "id": "u-1",
            "eventId": "1001",
            "status": "TERMINATED",
            "created": timestamp(logs.now - 90),
            "terminated": timestamp(logs.now - 10),
            "recipients": {"data": [{"targetName": "Ops", "recipientType": "GROUP"}]},
        }
        device = {"name": "Work Phone", "owner": {"targetName": "jdoe"}}
        response = {
            "response": "Acknowledge",
            "comment": "on it",
            "received": timestamp(logs.now - 60),
            "notification": {"recipient": device},
        }

        def answer(asked: Any) -> Any:
            document = {"data": [{"response": response}]} if "/audits?" in asked.target else page
            return 200, {}, json.dumps(document).encode()

        with site(answer) as xmatters:
            operator.keep("payments", xmatters={"rest": {"base_url": xmatters.url, "auth": BASIC}})
            signal = AcceptedSignal(
                "r-1", logs.now - 91, is_open=True, pages=("u-1",), page_number="1001", is_over=True
            )
            announced(operator, 91, accepted_signals=(signal,))
            shown = operator.run_json("incident", "show", ID)
        assert texts(shown, "xMatters") == [
            "page 1001 made; recipients: Ops",
            'jdoe answered "Acknowledge" to page 1001: "on it"',
            "page 1001 ended",
        ]
        assert CANARY not in json.dumps(shown)

    def test_activities_of_bigpanda_are_shown_once_for_all_channels(self, operator: Operator, logs: Logs) -> None:
        activities = [
            {"type": "incident_commented", "timestamp": logs.now - 5, "params": {"comment": "Jane acknowledged"}},
            {"type": "incident_shared", "timestamp": logs.now - 50, "params": {}},
            {"type": "incident_assigned", "timestamp": logs.now - 20, "created_by": "5d3b0001"},
            {"type": "incident_created"},
        ]
        with site(lambda _: (200, {}, json.dumps({"items": activities}).encode())) as bigpanda:
            for name in ("noc", "payments"):
                operator.keep(name, bigpanda={"api_key": f"{CANARY}-bp", "base_url": bigpanda.url})
                logs.share(name, 60, "unchanged", ID)
            shown = operator.run_json("incident", "show", ID)
        assert texts(shown, "BigPanda") == ["shared", "assigned by user 5d3b0001", 'commented: "Jane acknowledged"']
        assert CANARY not in json.dumps(shown)

    def test_vendors_that_fail_are_named_in_one_line(self, operator: Operator, logs: Logs) -> None:
        with site(lambda _: (503, {}, f"down {CANARY}-bp".encode())) as vendor:
            access = {"api_key": f"{CANARY}-bp", "base_url": vendor.url}
            operator.keep("payments", xmatters={"rest": {"base_url": vendor.url, "auth": BASIC}}, bigpanda=access)
            announced(operator, 10, accepted_signals=(AcceptedSignal("r-1", logs.now - 10, is_open=True),))
            done = operator.run("incident", "show", ID)
        assert done.exit_code == 1
        lines = " ".join(done.stderr.split())
        assert "FAILED: xMatters payments: upstream" in lines
        assert "FAILED: BigPanda payments: upstream" in lines
        assert CANARY not in done.output


def test_messages_that_another_reader_holds_are_said(operator: Operator, logs: Logs) -> None:
    announced(operator, 10)
    operator.put(samples.job(channel="payments", incident_id=ID))
    operator.sqs.receive_message(QueueUrl=operator.queue_url, MaxNumberOfMessages=10, VisibilityTimeout=60)
    shown = operator.run_json("incident", "show", ID, "--channel", "payments", code=1)
    [problem] = shown["problems"]
    assert problem.startswith("dlq: about 1 messages are held by another reader")


class TestList:
    def ids(self, operator: Operator, *options: str) -> list[str]:
        return [each["incident_id"] for each in operator.run_json("incident", "list", *options)["incidents"]]

    def test_last_shares_are_listed_newest_first_with_state_and_title(self, operator: Operator, logs: Logs) -> None:
        title = "Disk full on db-1 \x1b[2J, and this is a long title of it"
        operator.owe("payments", ID, 300, title=title)
        announced(operator, 60, "i2")
        for ago, name in ((1200, ID), (300, ID), (60, "i2"), (90, "i3"), (7200, "i4")):
            logs.share("payments", ago, incident_id=name)
        done = operator.run("incident", "list")
        lines = done.stdout.splitlines()
        assert max(map(len, lines)) <= 80
        assert lines[0] == "   1m  payments i2: open, critical; accepted by xMatters, no page confirmed"
        assert lines[1] == "   1m  payments i3: the last share was delivered; the ledger has no entry of it"
        assert lines[2].startswith(f"   5m  payments {ID}: open, critical; OWED for 5m")
        assert '"Disk full on db-1' in " ".join(done.stdout.split())
        assert "\x1b" not in done.stdout
        assert self.ids(operator, "--since", "3h") == ["i2", "i3", ID, "i4"]
        [first] = operator.run_json("incident", "list", "--since", "70s")["incidents"]
        assert (first["incident_id"], first["state"], first["title"]) == ("i2", "open, critical", None)

    def test_only_owed_incidents_and_those_of_a_channel_are_listed(
        self, operator: Operator, logs: Logs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("relayctl.incident.verbs.MAX_INCIDENTS", 1)
        operator.owe("payments", ID, 9000)
        announced(operator, 60, "i2")
        logs.share("payments", 60, incident_id="i2")
        logs.share("noc", 70, incident_id="i3")
        assert self.ids(operator, "--owed") == [ID]
        assert self.ids(operator, "--channel", "noc") == ["i3"]
        done = operator.run("incident", "list", "--owed", "--since", "1h", code=3)
        assert (done.stdout, done.stderr) == ("", "no incident is owed\n")

    def test_owed_criticals_are_listed_first_then_the_longest_owed_and_those_left_out_are_counted(
        self, operator: Operator, logs: Logs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for incident_id, ago, is_critical in (
            ("w1", 9000, False),
            ("c1", 60, True),
            ("w2", 30, False),
            ("c2", 120, True),
        ):
            operator.owe("noc", incident_id, ago, is_critical=is_critical)
        operator.give_up("noc", "c3", status="critical")
        assert self.ids(operator, "--owed") == ["c2", "c1", "c3", "w1", "w2"]
        assert operator.run("incident", "list", "--owed", code=0).stderr == ""
        monkeypatch.setattr("relayctl.incident.verbs.MAX_INCIDENTS", 3)
        done = operator.run("incident", "list", "--owed", code=0)
        assert re.findall(r" noc (\w+):", done.stdout) == ["c2", "c1", "c3"]
        assert done.stderr == "3 of 5\n"
        document = operator.run_json("incident", "list", "--owed")
        assert (len(document["incidents"]), document["owed"]) == (3, 5)

    def test_ledger_that_cannot_be_read_is_not_said_to_have_no_entry(self, operator: Operator, logs: Logs) -> None:
        operator.owe("payments", ID, 300)
        logs.share("payments", 300, incident_id=ID)
        operator.refused = {"BatchGetItem": "AccessDeniedException"}
        done = operator.run("incident", "list", code=1)
        assert " ".join(done.stdout.split()).endswith(
            f"{ID}: the last share was delivered; the ledger could not be read"
        )
        assert "FAILED: ledger: DynamoDB refused: AccessDeniedException" in done.stderr
        [listed] = operator.run_json("incident", "list", code=1)["incidents"]
        assert listed["says"] == ["the last share was delivered; the ledger could not be read"]

import contextlib
import json
from typing import Any

import pytest

from relay.channels.authentication import Request
from relay.failures import BadRequest, Reason, Unauthorized
from relay.jobs.job import Job
from relay.jobs.queue import read_envelope
from relay.jobs.result import Notices, Outcome, Result, Subject
from relay.telemetry import CHANNEL_METRICS
from tests import samples
from tests.fakes import LAMBDA_CONTEXT, Recorder

NEVER_FAILED = samples.job(first_failed_at=None)


NOC = Subject("noc", "i1")


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def test_quiet_hour_counts_shares_alone(recorder: Recorder) -> None:
    for outcome in (Outcome.DELIVERED, Outcome.UNCHANGED, Outcome.DUPLICATE, Outcome.SUPERSEDED):
        recorder.telemetry.share(Result(outcome, NOC), {}, correlation_id="c1")
        recorder.telemetry.worked(samples.job(), Result(outcome, NOC), {})
    recorder.telemetry.called_back(Result(Outcome.QUEUED, NOC), {}, correlation_id="c1")
    assert (tuple(recorder.metrics()), recorder.channel_metrics()) == (("share",), {})


def test_unusual_facts_of_a_result_are_counted(recorder: Recorder) -> None:
    notices = Notices(unverified="why", end="refuted", routes_undecided=True)
    recorder.telemetry.share(Result(Outcome.DELIVERED, NOC, notices=notices), {}, correlation_id="c1")
    counted = {"share": 1, "unverified_callback": 1, "doubtful_resolve": 1, "routes_undecided": 1}
    assert recorder.metrics() == counted
    assert "incident i1:" in recorder.lines("routes_undecided")[0]["detail"]


def test_counted_metric_is_known_although_powertools_wrote_its_metrics_meanwhile(recorder: Recorder) -> None:
    telemetry = recorder.telemetry
    telemetry.count("reconcile_failed")
    for _ in range(100):
        telemetry.count("unknown_incident")
    assert telemetry.has_counted("reconcile_failed")
    telemetry.flush()
    assert not telemetry.has_counted("reconcile_failed")


class TestLines:
    # Powertools logs whole events, headers included, if a variable asks for it; `log_event=False` prevents that.
    def test_event_with_its_headers_is_not_logged_although_powertools_is_told_to(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("POWERTOOLS_LOGGER_LOG_EVENT", "true")
        recorder = Recorder()

        def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
            recorder.telemetry.notice("stale_channel", "why")
            return {}

        with contextlib.redirect_stdout(recorder.out):
            instrumented = recorder.telemetry.instrument(handler)
            instrumented({"headers": {"Authorization": "Bearer canary"}}, LAMBDA_CONTEXT)
        assert "canary" not in recorder.written()
        assert len(recorder.lines()) == 1

    def test_share_is_one_log_line_without_unknown_fields(self, recorder: Recorder) -> None:
        recorder.telemetry.share(Result(Outcome.DELIVERED, NOC), {"send": 12.6}, correlation_id="c1")
        [line] = recorder.lines()
        known = {"channel": "noc", "incident_id": "i1", "outcome": "delivered", "correlation_id": "c1"}
        assert {name: line[name] for name in known} == known
        assert (line["level"], line["milliseconds"]) == ("INFO", {"send": 13})
        assert not {"reason", "detail", "http_status", "last_copy", "queue", "attempts", "refused_recipients"} & set(
            line
        )

    @pytest.mark.parametrize(
        ("job", "outcome", "is_logged"),
        [
            (NEVER_FAILED, Outcome.DUPLICATE, False),
            (samples.job(), Outcome.DUPLICATE, True),
            (samples.changed(NEVER_FAILED, accepted=True), Outcome.DUPLICATE, True),
            (samples.changed(NEVER_FAILED, kind="writeback"), Outcome.DUPLICATE, True),
            (NEVER_FAILED, Outcome.SUPERSEDED, True),
            (NEVER_FAILED, Outcome.DELIVERED, True),
        ],
        ids=["kept job", "failed before", "recorded late", "chore", "superseded", "delivered"],
    )
    def test_result_of_a_job_is_logged_but_for_a_kept_one_that_was_not_needed(
        self, recorder: Recorder, job: Job, outcome: Outcome, is_logged: bool
    ) -> None:
        recorder.telemetry.worked(job, Result(outcome, NOC), {})
        assert [line["outcome"] for line in recorder.lines()] == [outcome] * is_logged

    @pytest.mark.parametrize(("is_notified", "counted"), [(True, 2), (False, 1)])
    def test_notice_of_criticals_to_the_fallback_topic_is_one_log_line_and_counted(
        self, recorder: Recorder, is_notified: bool, counted: int
    ) -> None:
        recorder.telemetry.notified("noc", ["i1", "i2"], is_notified=is_notified)
        [line] = recorder.lines()
        assert (line["level"], line["channel"], line["incident_ids"]) == ("WARNING", "noc", ["i1", "i2"])
        assert (line["message"] == "fallback notified") is is_notified
        assert recorder.metrics() == {"critical_waits": counted}

    def test_channel_of_a_refused_request_is_logged_only_if_it_may_be_the_name_of_one(self, recorder: Recorder) -> None:
        refused = BadRequest("credentials", "", status=401)
        recorder.telemetry.refused(samples.request(channel="<script>"), refused)
        assert [line["channel"] for line in recorder.lines()] == ["(not a channel name)"]

    @pytest.mark.parametrize(
        ("request_", "error", "counted"),
        [
            (samples.request(), Unauthorized(channel_exists=True), True),
            (samples.request(), Unauthorized(), False),
            (samples.request()._replace(body=""), Unauthorized(channel_exists=True), False),
            (samples.request(), BadRequest("body", "is not JSON"), False),
        ],
        ids=["wrong credentials", "no such channel", "probe without a body", "not JSON"],
    )
    def test_share_with_wrong_credentials_for_an_existing_channel_is_counted(
        self, recorder: Recorder, request_: Request, error: BadRequest, counted: bool
    ) -> None:
        recorder.telemetry.refused(request_, error)
        expected = {"rejected_request": 1} | ({"unauthorized_share": 1} if counted else {})
        assert recorder.metrics() == expected
        assert [line.get("may_be_share", False) for line in recorder.lines()] == [counted]

    @pytest.mark.parametrize(
        ("outcome", "reason", "is_failed"),
        [
            (Outcome.QUEUED, Reason.UPSTREAM, True),
            (Outcome.QUEUED, Reason.CIRCUIT_OPEN, True),
            (Outcome.UNSAFE, Reason.INTERNAL, True),
            (Outcome.DELIVERED, Reason.UPSTREAM, False),
            (Outcome.QUEUED, None, False),
            *((Outcome.QUEUED, reason, False) for reason in (Reason.PACED, Reason.PAUSED, Reason.EXPIRED)),
        ],
    )
    def test_failed_signal_is_counted_and_a_waiting_one_is_not(
        self, outcome: Outcome, reason: Reason | None, is_failed: bool
    ) -> None:
        result, recorder = Result(outcome, NOC, reason=reason), Recorder()
        recorder.telemetry.share(result, {}, correlation_id="c1")
        recorder.telemetry.worked(samples.job(), result, {})
        recorder.telemetry.worked(samples.job(kind="writeback"), result, {})
        assert recorder.metrics().get("signal_failed", 0) == (2 if is_failed else 0)

    @pytest.mark.parametrize(
        ("incident_id", "shown"),
        [
            ("a\nb", "a\ufffdb"),
            ("\ud800", "\ufffd"),
            ("\x1b[2J\u202e", "\ufffd[2J\ufffd"),
            ("é😀", "é😀"),
            ("x" * 1_000_000, "x" * (4096 - 1) + "…"),
        ],
        ids=lambda value: ascii(value)[:20],
    )
    def test_incident_id_breaks_no_log_line_and_steers_no_terminal(self, incident_id: str, shown: str) -> None:
        recorder = Recorder()
        recorder.telemetry.share(Result(Outcome.DELIVERED, Subject("noc", incident_id)), {}, correlation_id="c1")
        recorder.telemetry.notified("noc", [incident_id], is_notified=True)
        recorder.telemetry.notice("dead_lettered", incident_id)
        assert recorder.written().splitlines()[0].isascii()
        share, notified, notice = recorder.lines()
        assert [share["incident_id"], *notified["incident_ids"], notice["detail"]] == [shown] * 3

    def test_last_copy_is_logged_character_by_character(self) -> None:
        recorder, only = Recorder(), "\x1b\u202e\n" + "x" * (4096 + 1)
        job = samples.job(body=samples.body(note=samples.noise(8192)))
        recorder.telemetry.share(Result(Outcome.UNSAFE, NOC, job=job), {}, correlation_id="c1")
        recorder.telemetry.crashed(KeyError(), raw_body=only)
        assert read_envelope(recorder.lines()[1]["last_copy"]) == job
        assert recorder.lines()[2]["raw_body"] == only

    def test_crash_is_logged_by_type_and_frames_without_its_message(self, recorder: Recorder) -> None:
        try:
            raise KeyError("canary")
        except KeyError as error:
            recorder.telemetry.crashed(error)
        [line] = recorder.lines()
        assert (line["level"], line["error"]) == ("ERROR", "KeyError")
        [frame] = line["frames"]
        assert "test_telemetry.py" in frame
        assert "canary" not in recorder.written()


class TestChannelMetrics:
    def test_delivered_share_is_counted_for_the_stack_and_its_channel(self) -> None:
        recorder = Recorder(has_channel_metrics=True)
        recorder.telemetry.share(Result(Outcome.DELIVERED, NOC), {}, correlation_id="c1")
        whole, document = [each for each in map(json.loads, recorder.written().splitlines()) if "_aws" in each]
        directives = [each["_aws"]["CloudWatchMetrics"][0] for each in (whole, document)]
        assert [each["Dimensions"] for each in directives] == [[["service"]], [["service", "channel"]]]
        assert {each["Namespace"] for each in directives} == {"relay"}
        assert (document["channel"], document["share"], document["signal_delivered"]) == ("noc", [1.0], [1.0])
        assert recorder.metrics() == {"share": 1}
        assert recorder.channel_metrics() == {("noc", "share"): 1, ("noc", "signal_delivered"): 1}

    def test_signals_that_workers_sent_are_counted_for_their_channel(self) -> None:
        recorder = Recorder(has_channel_metrics=True)
        for result in (Result(Outcome.DELIVERED, NOC), Result(Outcome.QUEUED, NOC, Reason.UPSTREAM)):
            recorder.telemetry.worked(samples.job(), result, {})
        assert recorder.channel_metrics() == {("noc", "signal_delivered"): 1, ("noc", "signal_failed"): 1}

    def test_channels_after_the_first_hundred_are_counted_together(self) -> None:
        recorder = Recorder(has_channel_metrics=True)
        for number in (*range(102), 0):
            recorder.telemetry.count_of_channel(f"c{number}", "share")
        found = recorder.channel_metrics()
        assert (len(found), found["(others)", "share"], found["c0", "share"]) == (101, 2, 2)

    def test_only_documented_metrics_have_a_channel(self) -> None:
        recorder = Recorder(has_channel_metrics=True)
        for outcome in Outcome:
            for reason in (None, *Reason):
                recorder.telemetry.share(Result(outcome, NOC, reason), {}, correlation_id="c1")
                recorder.telemetry.worked(samples.job(), Result(outcome, NOC, reason), {})
        recorder.telemetry.count_of_channel("noc", "debts_owed")
        assert {name for _, name in recorder.channel_metrics()} == set(CHANNEL_METRICS)

"""Limits of AWS that no emulator enforces, for requests and answers of the relay (docs/vendors.md, "AWS limits")."""

import json

from relay.delivery import sns_topic
from relay.failures import LONGEST_WAIT_SECONDS
from relay.incidents.share import MAX_BODY_BYTES
from relay.jobs.queue import MAX_MESSAGE_BYTES, attributes_of
from tests import samples
from tests.fakes import Recorder
from tests.metrics import METRICS

LAMBDA_EVENT_BYTES = 6 * 1024 * 1024
API_GATEWAY_HEADER_BYTES = 10_240


def test_largest_body_fits_into_a_lambda_event_with_its_headers() -> None:
    in_base64 = MAX_BODY_BYTES * 4 / 3
    # API Gateway passes headers twice, and a query that is no longer than they are.
    assert in_base64 + 3 * API_GATEWAY_HEADER_BYTES < LAMBDA_EVENT_BYTES


def test_message_has_no_more_attributes_and_waits_no_longer_than_sqs_allows() -> None:
    assert len(attributes_of(samples.job())) <= 10
    assert LONGEST_WAIT_SECONDS <= 900
    assert MAX_MESSAGE_BYTES <= 1024 * 1024


def test_line_of_embedded_metrics_has_no_more_metrics_than_cloudwatch_reads() -> None:
    recorder = Recorder()
    for name in METRICS:
        recorder.telemetry.notice(name, "why")
    written = [json.loads(line) for line in recorder.written().splitlines()]
    directives = [each for line in written if "_aws" in line for each in line["_aws"]["CloudWatchMetrics"]]
    assert sum(len(each["Metrics"]) for each in directives) == len(METRICS)
    for each in directives:
        assert len(each["Metrics"]) <= 100
        assert all(len(dimensions) <= 30 for dimensions in each["Dimensions"])


def test_no_metric_has_a_dimension_of_a_channel_or_an_incident_by_default() -> None:
    recorder = Recorder()
    recorder.telemetry.notified("noc", ["i1"], is_notified=True)
    [line] = [line for line in map(json.loads, recorder.written().splitlines()) if "_aws" in line]
    [directive] = line["_aws"]["CloudWatchMetrics"]
    assert directive["Dimensions"] == [["service"]]


def test_subject_for_sns_is_shorter_than_100_characters() -> None:
    assert sns_topic.MAX_SUBJECT < 100

"""Reader of log lines: bounded answers, filter patterns, and lines that are not the relay's."""

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any, cast

import pytest

from relayctl import log_lines, moments
from relayctl.log_lines import AHEAD_SECONDS, FIRST_PIECE_SECONDS, Line, LinesCutError, LogReader

START = 1_790_000_000.0


class FakeLogs:
    """A client of CloudWatch Logs that answers one page after the other."""

    def __init__(self, *pages: list[str]) -> None:
        self.pages = pages
        self.asked: list[dict[str, Any]] = []

    def get_paginator(self, _: str) -> "FakeLogs":
        return self

    def paginate(self, **asked: Any) -> Iterator[dict[str, Any]]:
        for number, texts in enumerate(self.pages, start=1):
            self.asked.append(asked)
            more = {"nextToken": str(number)} if number < len(self.pages) else {}
            yield {"events": [{"timestamp": int(START * 1000), "message": text} for text in texts], **more}


def line(number: int = 0, **fields: Any) -> str:
    return json.dumps({"message": "share", "number": number, **fields})


def read(logs: Any, seconds: float = 60) -> list[Line]:
    reader = LogReader(logs, "relay", lambda: START + seconds - AHEAD_SECONDS)
    return list(reader.scan("job-worker", "", START, 200))


def test_all_pages_are_read_even_after_an_empty_one() -> None:
    logs = FakeLogs([line(1)], [], [line(2)])
    assert [each.fields["number"] for each in read(logs)] == [1, 2]
    assert logs.asked[0] == {
        "logGroupName": "/aws/lambda/relay-job-worker",
        "startTime": int(START * 1000),
        "endTime": int((START + 60) * 1000) - 1,
    }


def test_time_is_read_in_pieces_without_a_gap_the_newest_first() -> None:
    logs = FakeLogs([line(1)])
    assert len(read(logs, seconds=86_400)) == len(logs.asked) == 8
    spans = [(each["startTime"] / 1000, (each["endTime"] + 1) / 1000) for each in logs.asked]
    assert spans[0] == (START + 86_400 - FIRST_PIECE_SECONDS, START + 86_400)
    assert all(newer[0] == older[1] for newer, older in itertools.pairwise(spans))
    assert spans[-1][0] == START


@pytest.mark.parametrize(("most", "since"), [(3, FIRST_PIECE_SECONDS), (5, FIRST_PIECE_SECONDS), (2, 0)])
def test_answers_that_are_used_up_leave_out_the_oldest_lines(most: int, since: float) -> None:
    logs, found = FakeLogs([line(1)], [line(2)], [line(3)]), list[Line]()
    scan = LogReader(cast("Any", logs), "relay", lambda: START + 7200 - AHEAD_SECONDS).scan(
        "job-worker", "", START, most
    )
    with pytest.raises(LinesCutError, match=f"those before {re.escape(moments.moment(START + 7200 - since))} were not"):
        found.extend(scan)
    assert len(logs.asked) == most


def test_time_of_a_line_is_the_functions_own() -> None:
    [found] = read(FakeLogs([line(timestamp="2026-03-04T02:58:14.301+00:00")]))
    assert found.at == 1_772_593_094.301
    [found] = read(FakeLogs([line(timestamp="yesterday")]))
    assert found.at == START


@pytest.mark.parametrize(
    ("incident_id", "text"),
    [("65a1b2c3", "65a1b2c3"), ('a"b', "a*"), ("a*b", "a*"), ("ü", "*"), ("a b", "a*")],
)
def test_pattern_has_only_characters_without_a_meaning(incident_id: str, text: str) -> None:
    assert f'$.incident_id = "{text}"' in log_lines.pattern_of(incident_id)

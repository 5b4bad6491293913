"""Reader of log lines: bounded answers, filter patterns, and lines that are not the relay's."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from relayctl import log_lines
from relayctl.log_lines import MAX_LINES, Line, LogReader

START = 1_790_000_000.0


class FakeLogs:
    """A client of CloudWatch Logs that answers one page after the other."""

    def __init__(self, *pages: list[str]) -> None:
        self.pages = pages
        self.asked: list[dict[str, Any]] = []

    def filter_log_events(self, **asked: Any) -> dict[str, Any]:
        self.asked.append(asked)
        number = int(asked.get("nextToken", "0"))
        events = [{"timestamp": int(START * 1000), "message": text} for text in self.pages[number]]
        more = {"nextToken": str(number + 1)} if number + 1 < len(self.pages) else {}
        return {"events": events, **more}


def line(number: int = 0, **fields: Any) -> str:
    return json.dumps({"message": "share", "number": number, **fields})


def read(logs: Any, **options: Any) -> log_lines.Slice:
    return LogReader(logs, "relay").read("job-worker", "", START, START + 60, keep=lambda _: True, **options)


def test_all_pages_are_read_even_after_an_empty_one() -> None:
    logs = FakeLogs([line(1)], [], [line(2)])
    found = read(logs)
    assert [each.fields["number"] for each in found.lines] == [1, 2]
    assert found.notes == []
    assert logs.asked[0] == {
        "logGroupName": "/aws/lambda/relay-job-worker",
        "startTime": int(START * 1000),
        "endTime": int((START + 60) * 1000) - 1,
    }


def test_number_of_answers_is_bounded_and_said() -> None:
    logs = FakeLogs([line(1)], [line(2)], [line(3)])
    found = read(logs, most_answers=2)
    assert (len(found.lines), found.is_cut, len(logs.asked)) == (2, True, 2)
    assert "were not read" in found.notes[0]


def test_last_answer_at_the_bound_is_not_called_cut() -> None:
    assert not read(FakeLogs([line(1)], [line(2)]), most_answers=2).is_cut


def test_newest_lines_are_kept_and_the_others_counted() -> None:
    found = read(FakeLogs([line(number) for number in range(MAX_LINES + 3)]))
    assert (len(found.lines), found.dropped) == (MAX_LINES, 3)
    assert found.lines[-1].fields["number"] == MAX_LINES + 2


def test_texts_that_are_no_lines_of_the_relay_are_skipped() -> None:
    texts = ["START RequestId: 1", "{", "[]", "{}", '"x"', "{" * 100_000]
    assert read(FakeLogs(texts)).lines == []


def test_time_of_a_line_is_the_functions_own() -> None:
    [found] = read(FakeLogs([line(timestamp="2026-03-04T02:58:14.301+00:00")])).lines
    assert found.at == 1_772_593_094.301
    [found] = read(FakeLogs([line(timestamp="yesterday")])).lines
    assert found.at == START


@pytest.mark.parametrize("code", ["ResourceNotFoundException", "AccessDeniedException"])
def test_missing_log_group_has_no_lines_and_other_errors_are_raised(code: str) -> None:
    class Refusing:
        def filter_log_events(self, **_: Any) -> None:
            raise ClientError({"Error": {"Code": code, "Message": ""}}, "FilterLogEvents")

    if code == "ResourceNotFoundException":
        assert read(Refusing()).lines == []
    else:
        with pytest.raises(ClientError):
            read(Refusing())


@pytest.mark.parametrize(
    ("incident_id", "text"),
    [("65a1b2c3", "65a1b2c3"), ('a"b', "a*"), ("a*b", "a*"), ("ü", "*"), ("a b", "a*")],
)
def test_pattern_has_only_characters_without_a_meaning(incident_id: str, text: str) -> None:
    assert f'$.incident_id = "{text}"' in log_lines.pattern_of(incident_id)


def test_line_is_about_an_incident_that_it_names_alone_or_in_a_list() -> None:
    assert log_lines.is_about(Line(0, {"incident_id": "i1"}), "i1")
    assert log_lines.is_about(Line(0, {"incident_ids": ["i2", "i1"]}), "i1")
    assert log_lines.is_about(Line(0, {"incident_id": "i\ufffd1"}), "i\x071"), "log lines are printable"
    assert not log_lines.is_about(Line(0, {"incident_id": "i12", "incident_ids": "i1"}), "i1")

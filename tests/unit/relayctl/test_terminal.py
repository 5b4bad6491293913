import signal
from collections import Counter

import click
import pytest
from click.testing import CliRunner

from relayctl import terminal


def test_first_ctrl_c_sets_the_stop_event_and_the_second_interrupts(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT)
    with click.Context(click.Command("x")), terminal.stop_on_interrupt() as stop:
        assert not stop.is_set()
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set()
        assert stop.wait(60), "a wait ends at once"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    shown = capsys.readouterr()
    assert shown.err == "stopping after the current step; Ctrl-C again stops at once\n"
    assert shown.out == ""


@pytest.mark.parametrize("columns", [None, "40"])
def test_message_prints_no_control_character(monkeypatch: pytest.MonkeyPatch, columns: str | None) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    with CliRunner().isolation() as (out, err, _):
        terminal.say("it said \x1b[2J\u202e\x9b")
        terminal.members({"label": "it said \x1b[2J\u202e\x9b"})
    assert err.getvalue().decode().endswith("it said \ufffd[2J\ufffd\ufffd\n")
    assert out.getvalue().decode().removesuffix("\n").isprintable()


def test_names_in_a_count_are_data_and_print_no_control_character() -> None:
    with CliRunner().isolation() as (out, _, _):
        terminal.members({"by_status": Counter({"rate_limited": 2, "\x1b]0;owned\x07": 1}), "of_all": {"left_over": 1}})
    said = "by status             rate_limited 2, ]0;owned 1\nof all                left over 1\n"
    assert out.getvalue().decode() == said


def test_long_line_is_wrapped_between_words_with_a_margin_and_a_longer_word_stays_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    with CliRunner().isolation() as (out, _, _):
        terminal.show_line(f"relayctl/policies/ has what each dead-letter-queue-1 needs {'i' * 50}", lead="ok       ")
    assert [line.rstrip() for line in out.getvalue().decode().splitlines()] == [
        "ok       relayctl/policies/ has what",
        "         each dead-letter-queue-1 needs",
        f"         {'i' * 50}",
    ]

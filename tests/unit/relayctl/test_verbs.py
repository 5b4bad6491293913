"""What every verb of relayctl has in common."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from relayctl.__main__ import main


def verbs(group: click.Group, way: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from verbs(command, (*way, name))
        else:
            yield (*way, name), command


VERBS = dict(verbs(main))
each_verb = pytest.mark.parametrize("way", VERBS, ids=" ".join)


def test_there_are_these_verbs() -> None:
    assert set(VERBS) >= {
        *(("channel", verb) for verb in ("set", "revoke", "show", "list", "remove", "test")),
        *(("dlq", verb) for verb in ("list", "show", "replay")),
        ("doctor",),
    }


@each_verb
def test_its_help_has_an_example_that_is_a_call_of_it(way: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(main, [*way, "--help"], terminal_width=80)
    assert shown.exit_code == 0
    _, example, after = shown.stdout.partition("Example:\n")
    assert example
    assert f"relayctl {' '.join(way)}" in after.splitlines()[0]
    assert [line for line in shown.stdout.splitlines() if len(line) > 80] == []
    assert [line for line in shown.stdout.splitlines() if line.endswith("-")] == [], "a name is broken at its hyphen"


@each_verb
@pytest.mark.parametrize("option", ["--json", "--stack", "--region", "--profile"])
def test_it_takes_what_every_verb_takes(way: tuple[str, ...], option: str) -> None:
    options = {flag: each for each in VERBS[way].params if isinstance(each, click.Option) for flag in each.opts}
    assert option in options
    assert options[option].help
    assert options[option].is_flag is (option == "--json")


@each_verb
def test_every_option_says_what_it_is_for(way: tuple[str, ...]) -> None:
    assert [each.name for each in VERBS[way].params if isinstance(each, click.Option) and not each.help] == []


@each_verb
def test_an_option_that_it_does_not_know_is_exit_code_2(way: tuple[str, ...]) -> None:
    done = CliRunner().invoke(main, [*way, "--no-such-option"])
    assert done.exit_code == 2
    assert done.stdout == ""


@pytest.mark.parametrize("arguments", [["channel"], ["dlq"], []])
def test_without_a_verb_it_shows_the_verbs_as_a_usage_error(arguments: list[str]) -> None:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    assert "Commands:" in done.output


def test_it_says_its_version() -> None:
    assert CliRunner().invoke(main, ["--version"]).stdout.startswith("relayctl, version ")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["dlq", "list", "--since", "yesterday"], "use an age such as 90m"),
        (["dlq", "list", "--reason", "bored"], "'bored' is not one of 'rate_limited'"),
        (["dlq", "list", "--limit", "0"], "0 is not in the range"),
        (["dlq", "replay", "--rate", "0"], "not in the range"),
        (["dlq", "show"], "Missing argument 'ID'"),
        (["channel", "show", "No Such Name"], "use 1 to 48 of a-z"),
        (["channel", "remove", "payments", "--days", "3"], "not in the range"),
        (["channel", "test", "No Such Name"], "use 1 to 48 of a-z"),
        (["channel", "list", "--profile", "no-such-profile"], "could not be found"),
    ],
)
def test_bad_usage_is_exit_code_2_before_anything_is_asked(arguments: list[str], complaint: str) -> None:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2, done.output
    assert complaint in done.stderr
    assert done.stdout == ""

"""Options, help, completion and usage errors of every verb."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from relayctl.__main__ import main


def verbs(group: click.Group, way: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from verbs(command, (*way, name))
        elif command:
            yield (*way, name), command


VERBS = dict(verbs(main))
each_verb = pytest.mark.parametrize("way", VERBS, ids=" ".join)


@each_verb
def test_help_of_each_verb_has_an_example_in_80_columns(way: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(main, [*way, "--help"], terminal_width=80)
    assert shown.exit_code == 0
    _, example, after = shown.stdout.partition("Example:\n")
    assert example
    assert f"relayctl {' '.join(way)}" in after.splitlines()[0]
    assert [line for line in shown.stdout.splitlines() if len(line) > 80] == []
    assert [line for line in shown.stdout.splitlines() if line.endswith("-")] == [], "a name is broken at its hyphen"


@each_verb
def test_each_verb_has_the_common_options_and_each_option_a_help_text(way: tuple[str, ...]) -> None:
    options = {flag: each for each in VERBS[way].params if isinstance(each, click.Option) for flag in each.opts}
    of_the_stack = () if way == ("rehearse",) else ("--stack", "--region", "--profile")
    assert options.keys() >= {"--json", *of_the_stack}
    assert [flag for flag in of_the_stack if options[flag].is_flag] == []
    assert options["--json"].is_flag
    assert [flag for flag, each in options.items() if not each.help] == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["dlq", "list", "--since", "yesterday"], "use an age such as 90m"),
        (["dlq", "list", "--reason", "bored"], "'bored' is not one of 'rate_limited'"),
        (["dlq", "replay", "--newer-than", "week"], "use an age such as 90m, 12h or 7d"),
        (["dlq", "drop", "--channel", "noc", "--yes"], "Missing option '--reason'"),
        (["dlq", "drop", "--channel", "noc", "--reason", " ", "--yes"], "1 to 200 printable characters"),
        (["dlq", "drop", "--channel", "noc", "--reason", "a\x1b[2J", "--yes"], "1 to 200 printable characters"),
        (["dlq", "drop", "--channel", "noc", "--reason", "upstream", "--yes"], "--failure-reason"),
        (["dlq", "drop", "--reason", "old", "--yes"], "at least one filter"),
        (["dlq", "drop", "--reason", "old", "--all", "--channel", "noc", "--yes"], "--all without a filter"),
        (["dlq", "drop", "--reason", "old", "--all"], "give --yes"),
        (["dlq", "export", "-", "--json"], "give a FILE"),
        (["dlq", "export", "/"], "exists, and is not replaced"),
        (["dlq", "import", "/no/such/file"], "cannot read"),
        (["channel", "set", "No Such Name"], "use 1 to 48 of a-z"),
        (["channel", "remove", "--", "-x"], "use 1 to 48 of a-z"),
        (["uninstall", "--export", "dead.jsonl"], "--export is only for --yes"),
        (["uninstall", "--yes", "--export", "-"], "give a file"),
    ],
)
def test_invalid_arguments_are_exit_code_2_before_aws_is_called(arguments: list[str], complaint: str) -> None:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2, done.output
    assert complaint in done.stderr
    assert done.stdout == ""


ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_imports_no_aws_sdk(argument: str) -> None:
    program = (
        "import sys; sys.argv = ['relayctl', sys.argv[1]]; from relayctl.__main__ import main\n"
        "try: main()\n"
        "finally: print([each for each in ('boto3', 'botocore', 'requests') if each in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, argument],
        cwd=ROOT,
        env={"PYTHONPATH": "layers/relay:."},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


class TestInTheShell:
    def words(self, line: str) -> list[str]:
        *args, incomplete = line.split(" ")
        shell = ShellComplete(main, {}, "relayctl", "_RELAYCTL_COMPLETE")
        return [each.value for each in shell.get_completions(args, incomplete)]

    def test_verbs_and_options_are_completed(self) -> None:
        assert self.words("do") == ["doctor"]
        assert self.words("channel rota") == ["rotate"]
        assert self.words("channel rotate noc inbound --ret") == ["--retire"]
        assert self.words("policy re") == ["replay"]
        assert "--help" in self.words("--")

    def test_unfinished_line_with_a_credential_option_is_no_error(self) -> None:
        assert self.words("channel set --password -x --any-trig") == ["--any-trigger-path"]

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


ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_imports_no_aws_sdk(argument: str) -> None:
    program = (
        "import sys; sys.argv = ['relayctl', sys.argv[1]]; from relayctl.__main__ import main\n"
        "try: main()\n"
        "finally: print([each for each in ('boto3', 'botocore', 'requests', 'rich') if each in sys.modules])"
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

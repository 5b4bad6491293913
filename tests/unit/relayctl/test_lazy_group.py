"""Help without imports of the AWS SDK."""

import subprocess
import sys
from pathlib import Path

import click
import pytest

from relayctl.__main__ import main
from relayctl.lazy_group import LazyGroup

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


def test_line_of_each_verb_is_the_verbs_own() -> None:
    assert isinstance(main, LazyGroup)
    for name, each in main.lazy.items():
        command = main.commands[name]
        assert each.about.rstrip(".") in (command.short_help or (command.help or "").split(".")[0]), name


def test_unknown_verb_is_a_usage_error() -> None:
    context = click.Context(main)
    assert main.get_command(context, "nothing") is None
    assert main.list_commands(context) == sorted(main.commands)

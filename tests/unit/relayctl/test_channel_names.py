"""Completion of channels' names: the bounded call, and silence after errors."""

import os
import subprocess
import sys
from pathlib import Path
from threading import Event

import click
import pytest
from click.shell_completion import ShellComplete

from relayctl import channel_names
from relayctl.__main__ import main
from relayctl.channel_names import complete
from tests.unit.relayctl.test_verbs import VERBS

ROOT = Path(__file__).resolve().parents[3]


class TestNames:
    def test_names_that_begin_with_the_word_are_sorted_and_only_names_of_channels_reach_the_shell(self) -> None:
        names = ["payments", "pay-2", "noc", "pay$(reboot)", "pay b"]
        assert complete(click.Context(main), None, "pay", lambda _: names) == ["pay-2", "payments"]

    def test_failed_call_completes_nothing(self) -> None:
        def fails(_: click.Context) -> list[str]:
            raise LookupError

        assert complete(click.Context(main), None, "", fails) == []

    def test_call_that_does_not_end_in_time_is_given_up(self) -> None:
        never = Event()

        def slow(_: click.Context) -> list[str]:
            never.wait()
            return ["late"]

        assert complete(click.Context(main), None, "", slow, seconds=0.01) == []
        never.set()


class TestInTheShell:
    @pytest.mark.parametrize("way", VERBS, ids=" ".join)
    def test_each_channel_parameter_is_completed(self, way: tuple[str, ...]) -> None:
        for each in VERBS[way].params:
            is_name = isinstance(each, click.Argument) and each.name == "name" and way != ("policy",)
            if is_name or "--channel" in each.opts:
                assert each._custom_shell_complete is channel_names.complete, each.name

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

    @pytest.fixture
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT / 'layers/relay'}:{ROOT}",
            "_RELAYCTL_COMPLETE": "bash_complete",
            "AWS_EC2_METADATA_DISABLED": "true",
            # A region that is no name: the call fails at once.
            "AWS_DEFAULT_REGION": "no region",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }

    @pytest.mark.parametrize(
        ("line", "answer"),
        [("relayctl un", "plain,uninstall\n"), ("relayctl channel show ", "\n"), ("relayctl nothing un", "uninstall")],
    )
    def test_shell_gets_an_answer_without_a_traceback(
        self, environment: dict[str, str], line: str, answer: str
    ) -> None:
        words = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
        done = subprocess.run(
            [sys.executable, "-m", "relayctl"], env=environment | words, capture_output=True, text=True, check=False
        )
        assert (done.stderr, done.returncode) == ("", 0)
        assert answer in done.stdout

    def test_completion_of_verbs_imports_no_aws_sdk(self, environment: dict[str, str]) -> None:
        program = (
            "import sys; sys.argv = ['relayctl']; from relayctl.__main__ import main\n"
            "try: main(prog_name='relayctl')\n"
            "finally: print([each for each in ('boto3', 'botocore', 'requests') if each in sys.modules])"
        )
        words = {"COMP_WORDS": "relayctl ", "COMP_CWORD": "1"}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment | words, capture_output=True, text=True, check=False
        )
        assert "plain,channel" in done.stdout
        assert done.stdout.splitlines()[-1] == "[]"

"""Completion of verbs and options in the shell."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from relayctl.__main__ import main

ROOT = Path(__file__).resolve().parents[3]


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

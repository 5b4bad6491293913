"""Completion of channels' names: cached names, the bounded call, and silence after errors."""

import os
import subprocess
import sys
from pathlib import Path
from threading import Event

import click
import pytest
from click.shell_completion import ShellComplete

from relayctl import name_completion
from relayctl.__main__ import main
from relayctl.name_completion import FRESH_SECONDS, completed, forget, remember
from tests.fakes import Clock
from tests.unit.relayctl.test_verbs import VERBS

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def clock() -> Clock:
    return Clock()


def context(**params: str) -> click.Context:
    found = click.Context(main)
    found.params.update(params)
    return found


def unasked(_: click.Context) -> list[str]:
    raise AssertionError("the stack was asked")


class TestNames:
    def test_fresh_names_are_completed_without_a_call(self, clock: Clock) -> None:
        remember(context(), ["payments", "noc", "pay-2"], clock)
        assert completed(context(), "pay", unasked, clock) == ["pay-2", "payments"]

    def test_old_names_are_asked_for_again_and_kept(self, clock: Clock) -> None:
        remember(context(), ["old"], clock)
        clock.now += FRESH_SECONDS
        assert completed(context(), "", lambda _: ["new"], clock) == ["new"]
        assert completed(context(), "", unasked, clock) == ["new"]

    def test_old_names_are_used_if_the_call_fails(self, clock: Clock) -> None:
        remember(context(), ["old"], clock)
        clock.now += FRESH_SECONDS
        assert completed(context(), "", unasked, clock) == ["old"]

    def test_call_that_does_not_end_in_time_is_given_up(self, clock: Clock) -> None:
        never = Event()

        def slow(_: click.Context) -> list[str]:
            never.wait()
            return ["late"]

        assert completed(context(), "", slow, clock, seconds=0.01) == []
        never.set()

    def test_each_stack_profile_and_account_has_names_of_its_own(
        self, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        remember(context(stack_name="a"), ["of-a"], clock)
        assert completed(context(stack_name="b"), "", unasked, clock) == []
        monkeypatch.setenv("AWS_PROFILE", "other")
        assert completed(context(stack_name="a"), "", unasked, clock) == []

    def test_forgotten_names_are_asked_for(self, clock: Clock) -> None:
        remember(context(), ["old"], clock)
        forget(context())
        forget(context())
        assert completed(context(), "", lambda _: ["new"], clock) == ["new"]

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"at": "x", "names": []}', '{"at": 9e99, "names": ["x"]}'])
    def test_broken_file_is_ignored(self, clock: Clock, folder: Path, text: str) -> None:
        remember(context(), ["old"], clock)
        [file] = (folder / "relayctl").iterdir()
        file.write_text(text)
        assert completed(context(), "", lambda _: ["new"], clock) == ["new"]

    def test_only_names_of_channels_reach_the_shell(self, clock: Clock) -> None:
        remember(context(), ["$(reboot)", "a b", "ok"], clock)
        assert completed(context(), "", unasked, clock) == ["ok"]

    def test_folder_that_cannot_be_written_is_no_error(self, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
        remember(context(), ["x"], clock)
        forget(context())
        assert completed(context(), "", lambda _: ["new"], clock) == ["new"]

    def test_kept_file_holds_names_alone(self, clock: Clock, folder: Path) -> None:
        remember(context(), ["noc"], clock)
        [file] = (folder / "relayctl").iterdir()
        assert file.read_text() == f'{{"at": {clock.now}, "names": ["noc"]}}'


class TestInTheShell:
    @pytest.mark.parametrize("way", VERBS, ids=" ".join)
    def test_each_channel_parameter_is_completed(self, way: tuple[str, ...]) -> None:
        for each in VERBS[way].params:
            is_name = isinstance(each, click.Argument) and each.name == "name" and way != ("policy",)
            if is_name or "--channel" in each.opts:
                assert each._custom_shell_complete is name_completion.complete, each.name

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
    def environment(self, folder: Path) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT / 'layers/relay'}:{ROOT}",
            "XDG_CACHE_HOME": str(folder),
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

"""Completion of verbs and options in the shell."""

from click.shell_completion import ShellComplete

from relayctl.__main__ import main


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
